"""Whether two answers to Alpha158 are the same, family by family; and who is right, by exact arithmetic."""

import re
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

TOLERANCE = 1e-5
NEAR = 1e-6  # of the exact value: float32 has seven digits
Floats = npt.NDArray[np.float32]


def family(feature: str) -> str:
    """What a feature is one of: KBAR, price, or the name without its window."""
    if re.fullmatch(r"K(MID|LEN|UP|LOW|SFT)2?", feature):
        return "KBAR"
    return "price" if re.fullmatch(r"(OPEN|HIGH|LOW|VWAP)0", feature) else feature.rstrip("0123456789")


def compare(ours: pl.DataFrame, answer: Path, features: Sequence[str]) -> pl.DataFrame:
    """A row a feature: cells, mask_differs (one has a number, the other none), most (the largest difference), beyond
    (cells over the tolerance) and beyond_relative (those that are so relative to the value too). Rows must be the same
    in both.
    """
    sids = pl.read_parquet(answer, columns=["instrument"])["instrument"].str.slice(1).cast(pl.Int64)
    if not sids.equals(ours["sid"].cast(pl.Int64)):
        raise SystemExit(f"bench: the answers have different rows: {ours.height:,} of ours, {len(sids):,} of Qlib's")
    rows: list[dict[str, object]] = []
    for feature in features:
        theirs = pl.read_parquet(answer, columns=[feature])[feature].to_numpy().astype(float)
        mine = ours[feature].to_numpy().astype(float)
        both = np.isfinite(mine) & np.isfinite(theirs)
        apart, size = np.abs(mine[both] - theirs[both]), np.maximum(np.abs(theirs[both]), 1.0)
        rows.append(
            {
                "family": family(feature),
                "feature": feature,
                "cells": len(mine),
                "mask_differs": int((np.isfinite(mine) != np.isfinite(theirs)).sum()),
                "most": float(apart.max(initial=0.0)),
                "most_relative": float((apart / size).max(initial=0.0)),
                "beyond": int((apart > TOLERANCE).sum()),
                "beyond_relative": int((apart > TOLERANCE * size).sum()),
            }
        )
    return pl.DataFrame(rows)


def table(found: pl.DataFrame) -> str:
    """The families of `compare` in Markdown, in order, and all together."""
    sums, most = ("cells", "mask_differs", "beyond", "beyond_relative"), ("most", "most_relative")
    total = [*(pl.col(c).sum() for c in sums), *(pl.col(c).max() for c in most), pl.len().alias("features")]
    families = found.group_by("family", maintain_order=True).agg(total)
    lines = [
        "| family | features | cells | mask differs | max difference | relative | cells > 1e-5 | relative too |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines.extend(
        (
            f"| {r['family']} | {r['features']} | {r['cells']:,} | {r['mask_differs']:,} | {r['most']:.1e} | "
            f"{r['most_relative']:.1e} | {r['beyond']:,} | {r['beyond_relative']:,} |"
        )
        for r in pl.concat([families, found.select(pl.lit("all").alias("family"), *total)]).iter_rows(named=True)
    )
    return "\n".join(lines)


def _statistics(values: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """Mean and sample deviation, the root to fifty digits."""
    mean = sum(values, Fraction(0)) / len(values)
    variance = sum(((v - mean) ** 2 for v in values), Fraction(0)) / (len(values) - 1)
    with localcontext(prec=50):
        return mean, Fraction((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())


def _window(feature: str) -> int:
    return int(feature.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def deviation(feature: str, close: Floats) -> float:
    """The exact deviation of the close at the last row, over the feature's window: RSQR and CORR are missing where it
    is small. NaN of fewer than two.
    """
    rows = close[-_window(feature) :]
    return (
        float(_statistics([Fraction(float(x)) for x in rows[np.isfinite(rows)]])[1])
        if np.isfinite(rows).sum() > 1
        else float("nan")
    )


def exact(feature: str, close: Floats, volume: Floats) -> float:
    """WVMA, VSTD or CORR at the last row of one name's float32 values, NaN of fewer than two.

    Rational arithmetic from what Qlib's first step gives in float32 (prices, volumes, |return| × volume), NaN where
    missing; roots and logarithms to fifty digits.
    """
    window, which = _window(feature), family(feature)
    if which == "CORR":
        return _correlation(
            [
                (float(c), float(v + np.float32(1)))
                for c, v in zip(close[-window:], volume[-window:], strict=True)
                if np.isfinite(c) and np.isfinite(v)
            ]
        )
    moves = np.append(np.float32(np.nan), np.abs(close[1:] / close[:-1] - np.float32(1)) * volume[1:])
    rows = (moves if which == "WVMA" else volume)[-window:]
    if np.isfinite(rows).sum() < 2:
        return float("nan")
    mean, spread = _statistics([Fraction(float(x)) for x in rows[np.isfinite(rows)]])
    return float(
        spread / (mean + Fraction(1e-12) if which == "WVMA" else Fraction(float(volume[-1] + np.float32(1e-12))))
    )


def _correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Of x and log y."""
    if len(pairs) < 2:
        return float("nan")
    with localcontext(prec=50):
        xs, ys = [Decimal(x) for x, _ in pairs], [Decimal(y).ln() for _, y in pairs]
        dx, dy = [x - sum(xs, Decimal(0)) / len(xs) for x in xs], [y - sum(ys, Decimal(0)) / len(ys) for y in ys]
        both = sum((x * y for x, y in zip(dx, dy, strict=True)), Decimal(0))
        size = (sum((x * x for x in dx), Decimal(0)) * sum((y * y for y in dy), Decimal(0))).sqrt()
        return float(both / size) if size else float("nan")


EXACT = {"WVMA", "VSTD", "CORR"}


class Apart(NamedTuple):
    """A cell in which the answers differ.

    `exact` is the value, or where one has none the close's deviation, by exact arithmetic.
    """

    what: str
    ours: float
    qlib: float
    exact: float


def _apart(
    features: Sequence[str], panel: pl.DataFrame, ours: pl.DataFrame, answer: Path
) -> tuple[list[Apart], list[Apart]]:
    """The cells of `features` in which one answer has a number and the other none, and those whose values are further
    apart than the tolerance.
    """
    start = panel["series"].search_sorted(panel["series"].unique().sort()).to_numpy()
    close, volume = (panel[c].cast(pl.Float32).fill_null(float("nan")).to_numpy() for c in ("close", "volume"))
    masks: list[Apart] = []
    values: list[Apart] = []
    for feature in features:
        mine, theirs = (
            ours[feature].to_numpy().astype(float),
            pl.read_parquet(answer, columns=[feature])[feature].to_numpy().astype(float),
        )
        one = np.isfinite(mine) != np.isfinite(theirs)
        far = (
            np.isfinite(mine) & np.isfinite(theirs) & (np.abs(np.nan_to_num(mine) - np.nan_to_num(theirs)) > TOLERANCE)
        )
        for at in np.flatnonzero(one | far).tolist():
            first = int(start[np.searchsorted(start, at, side="right") - 1])
            named = f"{feature} of name {panel['sid'][at]} in session {panel['i'][at]}"
            if one[at]:
                masks.append(
                    Apart(named, float(mine[at]), float(theirs[at]), deviation(feature, close[first : at + 1]))
                )
            else:
                value = (
                    exact(feature, close[first : at + 1], volume[first : at + 1])
                    if family(feature) in EXACT
                    else float("nan")
                )
                values.append(Apart(named, float(mine[at]), float(theirs[at]), value))
    return masks, values


def verdicts(found: pl.DataFrame, panel: pl.DataFrame, ours: pl.DataFrame, answer: Path) -> list[str]:
    """A line on each family whose masks differ (in how many cells the close's exact deviation is under Qlib's limit)
    and on each whose values do (of how many the exact value is ours, of how many Qlib's, and the worst).
    """
    lines: list[str] = []
    for (which,), rows in found.filter((pl.col("beyond") > 0) | (pl.col("mask_differs") > 0)).group_by(
        "family", maintain_order=True
    ):
        masks, values = _apart(rows["feature"].to_list(), panel, ours, answer)
        if masks:
            lines.append(
                f"{which}: in {sum(c.exact <= 2e-5 for c in masks):,} of {len(masks):,} cells where one has "
                f"a number and the other none the close's exact deviation is at most 2e-5"
            )
        if values:
            right, theirs = (
                sum(abs(x - c.exact) <= NEAR * max(1.0, abs(c.exact)) for c, x in pairs)
                for pairs in ([(c, c.ours) for c in values], [(c, c.qlib) for c in values])
            )
            worst = max(values, key=lambda c: abs(c.ours - c.qlib))
            lines.append(
                f"{which}: of {len(values):,} values that differ the exact one is ours in {right:,}, Qlib's "
                f"in {theirs:,}; "
                f"{worst.what}: Qlib {worst.qlib:.9g}, ours {worst.ours:.9g}, exact {worst.exact:.9g}"
            )
    return lines
