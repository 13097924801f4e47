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
Floats = npt.NDArray[np.float32]


def family(feature: str) -> str:
    """What a feature is one of: KBAR, price, or the name without its window."""
    if re.fullmatch(r"K(MID|LEN|UP|LOW|SFT)2?", feature):
        return "KBAR"
    return "price" if re.fullmatch(r"(OPEN|HIGH|LOW|VWAP)0", feature) else feature.rstrip("0123456789")


def compare(ours: pl.DataFrame, answer: Path, features: Sequence[str]) -> pl.DataFrame:
    """A row a feature: cells, mask_differs (one has a number, the other none), most (the largest difference), beyond (cells
    over the tolerance) and beyond_relative (those that are so relative to the value too). Rows must be the same in both.
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
    lines = ["| family | features | cells | mask differs | max difference | relative | cells > 1e-5 | relative too |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    lines.extend(
        f"| {r['family']} | {r['features']} | {r['cells']:,} | {r['mask_differs']:,} | {r['most']:.1e} | {r['most_relative']:.1e} | {r['beyond']:,} | {r['beyond_relative']:,} |"
        for r in pl.concat([families, found.select(pl.lit("all").alias("family"), *total)]).iter_rows(named=True)
    )
    return "\n".join(lines)


def _statistics(values: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """Mean and sample deviation, the root to fifty digits."""
    mean = sum(values, Fraction(0)) / len(values)
    variance = sum(((v - mean) ** 2 for v in values), Fraction(0)) / (len(values) - 1)
    with localcontext(prec=50):
        return mean, Fraction((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())


def exact(feature: str, close: Floats, volume: Floats) -> float:
    """WVMA, VSTD or, for any other feature, the deviation of the close, at the last row of one name's float32 values.

    By rational arithmetic from what Qlib's first step gives: prices, volumes, |return| × volume in float32, NaN where missing.
    """
    window, which = int(feature.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")), family(feature)
    moves = np.abs(close[1:] / close[:-1] - np.float32(1)) * volume[1:]
    source = {"WVMA": np.append(np.float32(np.nan), moves), "VSTD": volume}.get(which, close)
    rows = source[-window:]
    if np.isfinite(rows).sum() < 2:
        return float("nan")
    mean, deviation = _statistics([Fraction(float(x)) for x in rows[np.isfinite(rows)]])
    if which == "WVMA":
        return float(deviation / (mean + Fraction(1e-12)))
    return float(deviation / Fraction(float(volume[-1] + np.float32(1e-12)))) if which == "VSTD" else float(deviation)


class Apart(NamedTuple):
    """A cell in which the answers differ; `exact` as the function of that name says."""

    what: str
    ours: float
    qlib: float
    exact: float


def _apart(features: Sequence[str], panel: pl.DataFrame, ours: pl.DataFrame, answer: Path) -> list[Apart]:
    """The cells of `features` in which one answer has a number and the other none, or that are further apart than the tolerance."""
    start = panel["series"].search_sorted(panel["series"].unique().sort()).to_numpy()
    close, volume = (panel[c].cast(pl.Float32).fill_null(float("nan")).to_numpy() for c in ("close", "volume"))
    out: list[Apart] = []
    for feature in features:
        mine, theirs = ours[feature].to_numpy().astype(float), pl.read_parquet(answer, columns=[feature])[feature].to_numpy().astype(float)
        both = np.isfinite(mine) & np.isfinite(theirs)
        differs = (np.isfinite(mine) | np.isfinite(theirs)) & ~(both & (np.abs(np.where(both, mine - theirs, 0.0)) <= TOLERANCE))
        for at in np.flatnonzero(differs).tolist():
            first = int(start[np.searchsorted(start, at, side="right") - 1])
            value = exact(feature, close[first : at + 1], volume[first : at + 1])
            out.append(Apart(f"{feature} of name {panel['sid'][at]} in session {panel['i'][at]}", float(mine[at]), float(theirs[at]), value))
    return out


def verdicts(found: pl.DataFrame, panel: pl.DataFrame, ours: pl.DataFrame, answer: Path) -> list[str]:
    """A line on each family that differs: of how many of its cells the exact value is ours and of how many Qlib's, and the worst
    of them; or, where a standing price makes a value missing, in how many the close's exact deviation is under Qlib's limit.
    """
    lines: list[str] = []
    for (which,), rows in found.filter((pl.col("beyond") > 0) | (pl.col("mask_differs") > 0)).group_by("family", maintain_order=True):
        cells = _apart(rows["feature"].to_list(), panel, ours, answer)
        if which in {"RSQR", "CORR"}:
            lines.append(f"{which}: in {sum(c.exact <= 2e-5 for c in cells):,} of {len(cells):,} cells that differ the close's exact deviation is at most 2e-5")
        elif which in {"WVMA", "VSTD"}:
            right, theirs = (sum(abs(v - c.exact) <= TOLERANCE * max(1.0, abs(c.exact)) for c, v in ((c, getattr(c, who)) for c in cells)) for who in ("ours", "qlib"))
            worst = max(cells, key=lambda c: abs(c.ours - c.qlib))
            lines.append(
                f"{which}: of {len(cells):,} cells that differ ours has the exact value in {right:,}, Qlib in {theirs:,}; {worst.what}: Qlib {worst.qlib:.9g}, ours {worst.ours:.9g}, exact {worst.exact:.9g}"
            )
        else:
            lines.append(f"{which}: {len(cells):,} cells differ, and nothing excuses them")
    return lines
