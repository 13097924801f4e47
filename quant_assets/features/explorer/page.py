"""The explorer's page: one self-contained HTML file, the same bytes for the same measures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from quant_assets.features.explorer.measures import LEVEL_NAMES, REFERENCE, STRETCH, Measures
from quant_assets.features.explorer.ranks import Floats
from quant_assets.frames import bounds
from quant_assets.pages import rendering

if TYPE_CHECKING:
    from markupsafe import Markup

POINTS, SPARK_POINTS = 105, 40  # of a line over time
PAIRS, ALIKE, WILD = 14, 0.9, 1.0
BPS = 1e4
NAMED = 45  # so many features still have their names on the axes of the heat map; more have their families'


@dataclass(frozen=True)
class Heading:
    """The origin of the page.

    `audit`: the findings of the look-ahead audit, and whether it passed (None: it was not run). `symbols`: the names of
    instruments.
    """

    universe: str = ""
    cut: datetime | None = None
    assumed: bool = False
    audit: str = ""
    audit_passed: bool | None = None
    notice: str = ""
    symbols: Mapping[int, str] = field(default_factory=dict[int, str])


def write(measures: Measures, path: Path, *, heading: Heading | None = None, horizon: int | None = None) -> Path:
    """Write the page to `path` and return it.

    `horizon` is the one by which features are first shown and sorted: 5 sessions by default, or the middle one of those
    measured.
    """
    return rendering.write(path, page(measures, heading or Heading(), horizon))


def page(measures: Measures, heading: Heading, horizon: int | None = None) -> str:
    """The page's text. Raises ValueError for a horizon that was not measured."""
    from quant_assets.features.explorer import figures
    from quant_assets.pages.charts import bundle

    chosen = horizon or (5 if 5 in measures.horizons else measures.horizons[len(measures.horizons) // 2])
    if chosen not in measures.horizons:
        raise ValueError(f"horizon {chosen} was not measured; there are {list(measures.horizons)}")
    facts: dict[str, Any] = {
        "set": measures.feature_set,
        "heading": heading,
        "horizons": measures.horizons,
        "horizon": chosen,
        "lags": measures.lags,
        "empty": measures.empty,
        "reference": REFERENCE,
        "stretch": STRETCH,
    }
    if not measures.empty:
        features, families = _features(measures, chosen), _families(measures)
        drawn = figures.specs(measures.horizons, measures.buckets, _named(measures))
        facts |= {
            "features": features,
            "families": families,
            "figures": _figures(measures, features, chosen),
            "pairs": _pairs(measures),
            "payload": _inline({"charts": drawn, **_payload(measures, chosen)}),
            "bundle": bundle(),
            "window": _window(measures),
            "points": POINTS,
            "alike": ALIKE,
            "extremes": measures.extremes.filter(pl.col("value").abs() > WILD).rows(named=True),
        }
    return rendering.render("explorer.html.j2", facts, "quant_assets.features.explorer")


def _grid(measures: Measures, points: int) -> np.ndarray:
    """Positions of the sessions at which lines over time have a point."""
    return np.unique(
        np.linspace(0, measures.sessions.height - 1, min(points, measures.sessions.height)).round().astype(np.intp)
    )


def _cube(frame: pl.DataFrame, column: str, *shape: int) -> Floats:
    """A column of a frame as an array with an axis for each key; NaN for null."""
    return frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(shape)


def _stretches(values: Floats, ends: np.ndarray) -> Floats:
    """The mean of what is there over the sessions since the point before; NaN where nothing is."""
    there = ~np.isnan(values)
    starts = np.concatenate([[0], ends[:-1] + 1])
    count = np.add.reduceat(there, starts, axis=0, dtype=np.float64)
    return np.where(
        count > 0, np.add.reduceat(np.where(there, values, 0.0), starts, axis=0) / np.maximum(count, 1), np.nan
    )


def _summed(values: Floats) -> Floats:
    """The sum so far along the first axis, what is missing counted as nothing; NaN before the first and after the last
    value.
    """
    there = ~np.isnan(values)
    inside = np.maximum.accumulate(there, axis=0) & np.maximum.accumulate(there[::-1], axis=0)[::-1]
    return np.where(inside, np.cumsum(np.where(there, values, 0.0), axis=0), np.nan)


def _window(measures: Measures) -> int:
    """Sessions of the rolling mean: a quarter of trading, or a month where the range is short."""
    return 63 if measures.sessions.height >= 2 * 63 else 21


def _rolling(values: Floats, window: int) -> Floats:
    """The mean of the last `window` rows of which at least half are there."""
    there = ~np.isnan(values)
    sums, counts = (
        np.cumsum(np.concatenate([np.zeros((1, *values.shape[1:])), a]), axis=0)
        for a in (np.where(there, values, 0.0), there.astype(np.float64))
    )
    start = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    total, count = sums[1:] - sums[start], counts[1:] - counts[start]
    return np.where(there & (count >= window / 2), total / np.maximum(count, 1), np.nan)


def _short(values: Floats) -> list[Any]:
    """Nested lists with four significant digits; None for NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = 3 - np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** np.where(np.isfinite(digits), np.clip(digits, -12, 12), 0)
    rounded = (np.round(values * scale) / scale).astype(object)
    rounded[np.isnan(values)] = None
    return rounded.tolist()


def _inline(data: dict[str, Any]) -> "Markup":
    """JSON that no name in it can end the script with."""
    from markupsafe import Markup

    text = msgspec.json.encode(data).decode()
    # what could become markup is written as its code
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def _payload(measures: Measures, chosen: int) -> dict[str, Any]:
    """What the script draws: sessions, and of each feature its lines over time and its bars, features first."""
    s, f, h, q = measures.sessions.height, len(measures.feature_set.features), len(measures.horizons), measures.buckets
    at, daily = _grid(measures, POINTS), measures.daily
    ic, excess = _cube(measures.ic, "ic", s, f, h), _cube(measures.excess, "excess", s, f, q) / measures.horizons[0]
    fan = np.concatenate([excess, excess[:, :, -1:] - excess[:, :, :1]], axis=2)
    moved = np.stack([_cube(daily, c, s, f) for c in ("turnover_low", "turnover_high")], axis=2)
    level = np.stack([_cube(daily, c, s, f) for c in LEVEL_NAMES], axis=2)
    over_time = {
        "distribution": level[at],
        "coverage": _stretches(_cube(daily, "coverage", s, f), at),
        "rolling": _rolling(ic[:, :, measures.horizons.index(chosen)], _window(measures))[at],
        "cumulative": _summed(ic)[at],
        "spread": _summed(fan)[at] * BPS,
        "turnover": _stretches(moved, at),
    }
    decay = np.stack([_cube(measures.decay, c, f, h) for c in ("mean", "error", "t", "ratio", "hit")], axis=2)
    scale = np.array([BPS, BPS, 1.0]) / np.stack(
        [np.array(measures.horizons, dtype=np.float64)] * 2 + [np.ones(h)], axis=1
    )
    quantiles = np.stack([_cube(measures.quantiles, c, f, q, h) for c in ("mean", "error", "t")], axis=3) * scale
    lasting = np.stack(
        [
            _cube(measures.persistence, c, f, len(measures.lags))
            for c in ("rank_autocorrelation", "turnover_low", "turnover_high")
        ],
        axis=2,
    )
    stretches = measures.drift["session"].unique(maintain_order=True)
    drift = np.stack([_cube(measures.drift, c, len(stretches), f) for c in ("psi", "noise", "ks")], axis=2)
    pairs = np.round(_cube(measures.correlation, "correlation", f, f) * 1000)
    return {
        "sessions": [f"{d}T00:00:00" for d in measures.sessions["session"].gather(at)],
        "stretches": [f"{d}T00:00:00" for d in stretches],
        "horizons": [str(k) for k in measures.horizons],
        "lags": list(measures.lags),
        "features": measures.summary["feature"].cast(pl.String).to_list(),
        "families": measures.summary["family"].to_list(),
        "meaning": measures.summary["meaning"].to_list(),
        "over_time": {name: _short(np.swapaxes(values, 0, 1)) for name, values in over_time.items()},
        "decay": _short(decay),
        "quantiles": _short(quantiles),
        "persistence": _short(lasting),
        "by_quantile": _short(_cube(measures.turnover, "turnover", f, q)),
        "drift": _short(np.swapaxes(drift, 0, 1)),
        "correlation": [[None if np.isnan(c) else int(c) for c in row[:k]] for k, row in enumerate(pairs)],
        "order": _clustered(measures),
    }


def _features(measures: Measures, chosen: int) -> list[dict[str, Any]]:
    """A row of the table for each feature, the most certain IC at the chosen horizon first."""
    s, f, h, q = measures.sessions.height, len(measures.feature_set.features), len(measures.horizons), measures.buckets
    k = measures.horizons.index(chosen)
    at = _grid(measures, SPARK_POINTS)
    lines = _summed(_cube(measures.ic, "ic", s, f, h)[:, :, k])[at]
    mean, t, ratio = (_cube(measures.decay, c, f, h) for c in ("mean", "t", "ratio"))
    returned = _cube(measures.quantiles, "mean", f, q, h)
    spread = (returned[:, -1] - returned[:, 0]) * BPS / np.array(measures.horizons)
    widest = float(np.nanmax(np.abs(mean))) if np.isfinite(mean).any() else 1.0
    rows = [
        row
        | {
            "place": n,
            "ic": [_cell(v, widest) for v in mean[n]],
            "by_horizon": _short(np.stack([t[n], ratio[n], spread[n]])),
            "line": lines[:, n][~np.isnan(lines[:, n])].tolist(),
            "t": _known(t[n, k]),
            "ratio": _known(ratio[n, k]),
            "spread": _known(spread[n, k]),
        }
        for n, row in enumerate(measures.summary.with_columns(pl.col("feature").cast(pl.String)).iter_rows(named=True))
    ]
    return sorted(rows, key=lambda r: (-abs(r["t"] or 0.0), r["place"]))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _cell(value: float, widest: float) -> dict[str, Any]:
    """A value with the strength of its colour, in per cent."""
    return {
        "value": _known(value),
        "sign": "plus" if value > 0 else "minus",
        "strength": 0 if np.isnan(value) else round(abs(value) / (widest or 1.0) * 80),
    }


def _families(measures: Measures) -> list[dict[str, Any]]:
    """A row for each family, in the set's order: its mean |IC| by horizon, and its most certain feature at any."""
    _, widest = bounds(measures.families["mean_abs_ic"], float) or (0.0, 1.0)
    out: list[dict[str, Any]] = []
    for _, of in measures.families.group_by("family", maintain_order=True):
        best = of.sort(pl.col("best_t").abs(), descending=True, nulls_last=True).row(0, named=True)
        cells = [_cell(float("nan") if v is None else v, widest or 1.0) for v in of["mean_abs_ic"]]
        out.append(
            {
                "family": best["family"],
                "features": best["features"],
                "ic": cells,
                "best": best["best"],
                "at": best["horizon"],
                "best_ic": best["best_ic"],
                "best_t": best["best_t"],
            }
        )
    return sorted(out, key=lambda r: -max((c["value"] or 0.0) for c in r["ic"]))


def _figures(measures: Measures, features: list[dict[str, Any]], chosen: int) -> dict[str, Any]:
    """The figures on top."""
    known = [r for r in features if r["t"] is not None]
    summary = measures.summary
    return {
        "features": len(features),
        "families": summary["family"].n_unique(),
        "sessions": measures.sessions.height,
        "first": measures.sessions["session"][0],
        "last": measures.sessions["session"][-1],
        "rows": int(measures.sessions["rows"].sum()),
        # Polars types the median of no dtype
        "names": float(measures.sessions["rows"].cast(pl.Float64).median() or 0),  # pyright: ignore[reportArgumentType]
        "coverage": summary["coverage"].mean(),
        "least": summary.sort("coverage").select(pl.col("feature").cast(pl.String), "coverage").row(0),
        "best": known[0] if known else None,
        "certain": sum(abs(r["t"]) > 2 for r in known),
        "known": len(known),
        "by_chance": 0.0455 * len(known),
        "chosen": chosen,
        "autocorrelation": summary["rank_autocorrelation"].median(),
        "turnover": summary["turnover"].median(),
        "drifted": summary.filter(pl.col("psi") > 0.25).height,
        "measured": summary["psi"].drop_nulls().len(),
    }


def _pairs(measures: Measures) -> dict[str, Any]:
    """The most correlated pairs, and how many are nearly the same."""
    text = (
        measures.correlation.with_columns(
            pl.col("feature", "other").to_physical().name.suffix("_at"), pl.col("feature", "other").cast(pl.String)
        )
        .filter(pl.col("feature_at") < pl.col("other_at"))
        .drop_nulls("correlation")
    )
    strongest = text.sort(pl.col("correlation").abs(), "feature_at", "other_at", descending=[True, False, False])
    return {
        "shown": strongest.head(PAIRS).rows(named=True),
        "alike": strongest.filter(pl.col("correlation").abs() > ALIKE).height,
        "all": strongest.height,
    }


def _clustered(measures: Measures) -> list[int]:
    """Places of the features family by family, each family next to the one most like it: a walk from the first that
    goes on to the nearest not yet seen.
    """
    f = len(measures.feature_set.features)
    strength = np.abs(np.nan_to_num(_cube(measures.correlation, "correlation", f, f)))
    members = {
        name: of["place"].to_list()
        for (name,), of in measures.summary.with_row_index("place").group_by("family", maintain_order=True)
    }
    walk = [next(iter(members))]
    while len(walk) < len(members):
        here = members[walk[-1]]
        walk.append(
            max((m for m in members if m not in walk), key=lambda m: float(strength[np.ix_(here, members[m])].mean()))
        )
    return [place for name in walk for place in members[name]]


def _named(measures: Measures) -> dict[str, str]:
    """The marks on the axes of the heat map: the features, or if they are many the families of more than one at their
    middle member.
    """
    names = measures.summary["feature"].cast(pl.String).to_list()
    if len(names) <= NAMED:
        return dict(zip(names, names, strict=True))
    families = measures.summary.group_by("family", maintain_order=True).agg(of=pl.col("feature").cast(pl.String))
    return {of[len(of) // 2]: family for family, of in families.iter_rows() if len(of) > 1}
