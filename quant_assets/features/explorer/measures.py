"""What is measured of a feature set over a range: pure functions of its values and of forward returns."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from quant_assets.evaluation import newey_west
from quant_assets.features.drift import Reference, freeze, psi
from quant_assets.features.explorer.ranks import Floats
from quant_assets.features.explorer.session import LEVELS, Day, Walk
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Progress, quiet

HORIZONS, LAGS, QUANTILES = (1, 2, 5, 10, 20), (1, 2, 5, 10, 20), 5
EXTREMES = 8
REFERENCE, STRETCH = 63, 21  # sessions: a quarter of trading to compare with, a month to compare
LEVEL_NAMES = tuple(f"p{level * 100:.0f}" for level in LEVELS)
Part = tuple[pl.DataFrame, pl.DataFrame]


@dataclass(frozen=True)
class Measures:
    """The frames; `feature` is an Enum in the set's order, and null stands where nothing could be measured.

    `sessions`: session, rows. `daily` (session, feature): known, coverage (share of rows with a value), p1 … p99
    (quantiles of the values), turnover_low and turnover_high (share of the lowest and highest quantile's names that
    were not in it a session before), rank_autocorrelation (with the session before). `ic` (session, feature, horizon):
    ic, n. `excess` (session, feature, quantile from 1): excess, the mean forward return at the shortest horizon above
    that of all names, returns held within their session's 1st and 99th percentile. `decay` (feature, horizon): mean IC
    with error and t (Newey–West, horizon − 1 lags), ratio (mean over standard deviation, by session), hit (share of
    sessions above 0), n sessions. `quantiles` (feature, horizon, quantile): mean excess with error, t. `persistence`
    (feature, lag): rank_autocorrelation, turnover_low, turnover_high, means. `turnover` (feature, quantile): mean at
    lag 1. `drift` (session, feature): psi, noise, ks of the sessions up to it against the first ones (`drift.psi`).
    `correlation` (feature, other): mean over the sessions of the rank correlation. `summary` (feature): family,
    meaning, coverage, rank_autocorrelation, turnover (both outer quantiles), psi of the last stretch less its noise.
    `extremes`: the largest returns of the names that have rows, one for each name: session, sid, horizon, value.
    `families` (family, horizon): features, mean_abs_ic, best, best_ic, best_t.
    """

    feature_set: FeatureSet
    horizons: tuple[int, ...]
    lags: tuple[int, ...]
    buckets: int
    sessions: pl.DataFrame
    daily: pl.DataFrame
    ic: pl.DataFrame
    excess: pl.DataFrame
    decay: pl.DataFrame
    quantiles: pl.DataFrame
    persistence: pl.DataFrame
    turnover: pl.DataFrame
    drift: pl.DataFrame
    correlation: pl.DataFrame
    summary: pl.DataFrame
    families: pl.DataFrame
    extremes: pl.DataFrame

    @property
    def empty(self) -> bool:
        """Whether there was no row at all."""
        return self.sessions.is_empty()


def explore(
    feature_set: FeatureSet,
    values: pl.DataFrame,
    forward: pl.DataFrame,
    *,
    horizons: Sequence[int] = HORIZONS,
    quantiles: int = QUANTILES,
    lags: Sequence[int] = LAGS,
    families: Mapping[str, str] | None = None,
) -> Measures:
    """The measures of `values` (session, sid, the features) against `forward` (session, sid, horizon, value: simple
    returns), both held in memory.
    """
    return explore_parts(
        feature_set, [(values, forward)], horizons=horizons, quantiles=quantiles, lags=lags, families=families
    )


def explore_parts(
    feature_set: FeatureSet,
    parts: Iterable[Part],
    *,
    horizons: Sequence[int] = HORIZONS,
    quantiles: int = QUANTILES,
    lags: Sequence[int] = LAGS,
    families: Mapping[str, str] | None = None,
    progress: Progress = quiet,
) -> Measures:
    """As `explore`, of consecutive stretches of sessions (values, forward) of which one at a time is held.

    A lag counts the sessions that have rows. `families`: the family of each feature; by default the part of a set put
    together from others, or else the feature's name without the numbers at its end.
    """
    walk, drift, days, extremes = Walk(quantiles, tuple(lags)), Drifting(feature_set.features), list[Day](), _NO_RETURNS
    for values, forward in parts:
        extremes = _extremes(
            extremes,
            forward.filter(pl.col("horizon").is_in(list(horizons))).join(values, on=["session", "sid"], how="semi"),
        )
        for session, sids, matrix, returns in _by_session(feature_set.features, tuple(horizons), values, forward):
            days.append(walk.step(session, sids, matrix, returns))
            drift.add(session, matrix)
            progress(len(days), 0, f"{feature_set.name} {session}")
    return _measured(
        feature_set, days, tuple(horizons), walk, drift.frame(), families or family_of(feature_set), extremes
    )


_NO_RETURNS = pl.DataFrame(schema={"session": pl.Date, "sid": pl.Int64, "horizon": pl.Int64, "value": pl.Float64})


def _extremes(so_far: pl.DataFrame, forward: pl.DataFrame) -> pl.DataFrame:
    """The largest returns of both, one for each name: the shortest window that shows it."""
    both = pl.concat([so_far, forward.select(pl.col(c).cast(t) for c, t in so_far.schema.items())])
    return (
        both.sort(-pl.col("value").abs(), "horizon", "session", "sid", nulls_last=True)
        .unique("sid", keep="first", maintain_order=True)
        .head(EXTREMES)
    )


def family_of(feature_set: FeatureSet) -> dict[str, str]:
    """The family of each feature: the part of a set put together from others, else its name without the numbers at its
    end (`RSTR60` is of `RSTR`).
    """
    if feature_set.parts:
        return {f: part.name for part in feature_set.parts for f in part.features}
    return {f: re.sub(r"[_\d]+$", "", f) or f for f in feature_set.features}


def _by_session(
    features: tuple[str, ...], horizons: tuple[int, ...], values: pl.DataFrame, forward: pl.DataFrame
) -> Iterator[tuple[date, np.ndarray, Floats, Floats]]:
    """Session, sids ascending, features × names, horizons × names."""
    told = forward.filter(pl.col("horizon").is_in(list(horizons))).pivot(
        on="horizon", on_columns=list(horizons), index=["session", "sid"], values="value", aggregate_function=None
    )
    returns = (
        values.select("session", "sid")
        .join(told, on=["session", "sid"], how="left", maintain_order="left")
        .sort("session", "sid")
    )
    ordered = values.sort("session", "sid")
    start = 0
    for session, rows in ordered.group_by("session", maintain_order=True).len().iter_rows():
        held = ordered.slice(start, rows)
        matrix = np.ascontiguousarray(held.select(pl.col(f).cast(pl.Float64) for f in features).to_numpy().T)
        after = np.ascontiguousarray(
            returns.slice(start, rows).select(pl.col(str(h)).cast(pl.Float64) for h in horizons).to_numpy().T
        )
        yield (
            session,
            held["sid"].to_numpy(),
            np.where(np.isfinite(matrix), matrix, np.nan),
            np.where(np.isfinite(after), after, np.nan),
        )
        start += rows


class Drifting:
    """PSI of each stretch of sessions against the first ones; holds one stretch."""

    def __init__(self, features: tuple[str, ...]) -> None:
        self.features = features
        self.reference: Reference | None = None
        self.held: list[Floats] = []
        self.found: list[pl.DataFrame] = []
        self.last: date | None = None

    def add(self, session: date, matrix: Floats) -> None:
        """The values (features × names) of the next session."""
        self.held.append(matrix)
        self.last = session
        if len(self.held) == (REFERENCE if self.reference is None else STRETCH):
            self._close()

    def frame(self) -> pl.DataFrame:
        """Columns session (the stretch's last), feature, psi, noise, ks.

        What is left at the end counts from half a stretch on.
        """
        if self.reference is not None and len(self.held) > STRETCH // 2:
            self._close()
        empty = pl.DataFrame(
            schema={
                "session": pl.Date,
                "feature": pl.Enum(self.features),
                "psi": pl.Float64,
                "noise": pl.Float64,
                "ks": pl.Float64,
            }
        )
        return pl.concat([empty, *self.found])

    def _close(self) -> None:
        rows = pl.DataFrame(np.concatenate(self.held, axis=1).T, schema=list(self.features))
        self.held = []
        if self.reference is None:
            self.reference = freeze(rows, self.features)
        else:
            self.found.append(
                psi(self.reference, rows).select(
                    pl.lit(self.last).alias("session"),
                    pl.col("feature").cast(pl.Enum(self.features)),
                    "psi",
                    "noise",
                    "ks",
                )
            )


def _long(values: np.ndarray, axes: Mapping[str, pl.Series], name: str) -> pl.DataFrame:
    """An array as a frame with a column for each axis; NaN is null."""
    columns: dict[str, pl.Series] = {}
    for k, (axis, labels) in enumerate(axes.items()):
        places = np.broadcast_to(
            np.arange(values.shape[k]).reshape([-1 if j == k else 1 for j in range(values.ndim)]), values.shape
        ).ravel()
        columns[axis] = labels.gather(places)
    return pl.DataFrame(columns).with_columns(
        pl.Series(name, values.ravel()).fill_nan(None) if values.dtype.kind == "f" else pl.Series(name, values.ravel())
    )


def _stacked(days: Sequence[Day], name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([getattr(d, name) for d in days]) if days else np.empty((0, *shape))


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _estimates(values: np.ndarray, lags: Sequence[int]) -> dict[str, np.ndarray]:
    """mean, error, t and n over the first axis, by Newey–West with `lags` by the second-to-last… last axis of `values`:
    sessions × anything × horizons.
    """
    out = {c: np.full(values.shape[1:], np.nan) for c in ("mean", "error", "t")} | {
        "n": np.zeros(values.shape[1:], dtype=np.int64)
    }
    for at in np.ndindex(*values.shape[1:]):
        series = values[(slice(None), *at)]
        there = series[~np.isnan(series)]
        out["n"][at] = len(there)
        if len(there) > 1:
            found = newey_west(pl.Series(there), lags[at[-1]])
            out["mean"][at], out["error"][at] = found.mean, found.error
            out["t"][at] = np.nan if found.t is None else found.t
    return out


def _measured(
    feature_set: FeatureSet,
    days: list[Day],
    horizons: tuple[int, ...],
    walk: Walk,
    drift: pl.DataFrame,
    families: Mapping[str, str],
    extremes: pl.DataFrame,
) -> Measures:
    names = feature_set.features
    f, q = len(names), walk.quantiles
    feature, horizon = pl.Series(names, dtype=pl.Enum(names)), pl.Series(horizons, dtype=pl.Int64)
    quantile, lag = pl.Series(range(1, q + 1), dtype=pl.Int64), pl.Series(walk.lags, dtype=pl.Int64)
    session = pl.Series([d.session for d in days], dtype=pl.Date)
    ic, excess = _stacked(days, "ic", (f, len(horizons))), _stacked(days, "excess", (f, q, len(horizons)))
    turnover, autocorrelation = (
        _stacked(days, "turnover", (f, q, len(lag))),
        _stacked(days, "rank_autocorrelation", (f, len(lag))),
    )
    known, level = _stacked(days, "known", (f,)), _stacked(days, "levels", (f, len(LEVELS)))
    rows = np.array([d.rows for d in days], dtype=np.int64)
    overlap = [h - 1 for h in horizons]
    by_day = {"session": session, "feature": feature}

    daily = _long(known.astype(np.int64), by_day, "known").with_columns(
        coverage=(known / np.maximum(rows, 1)[:, None]).ravel(),
        **{name: pl.Series(level[..., k].ravel()).fill_nan(None) for k, name in enumerate(LEVEL_NAMES)},
        turnover_low=pl.Series(turnover[:, :, 0, 0].ravel()).fill_nan(None),
        turnover_high=pl.Series(turnover[:, :, -1, 0].ravel()).fill_nan(None),
        rank_autocorrelation=pl.Series(autocorrelation[:, :, 0].ravel()).fill_nan(None),
    )
    decay = _decay(ic, overlap, {"feature": feature, "horizon": horizon})
    spread = _estimates(excess, overlap)
    by_bucket = {"feature": feature, "quantile": quantile, "horizon": horizon}
    returned = _long(spread["mean"], by_bucket, "mean").with_columns(
        pl.Series(c, spread[c].ravel()).fill_nan(None) for c in ("error", "t")
    )
    lasting, moved = _mean(autocorrelation), _mean(turnover)
    persistence = _long(lasting, {"feature": feature, "lag": lag}, "rank_autocorrelation").with_columns(
        turnover_low=pl.Series(moved[:, 0].ravel()).fill_nan(None),
        turnover_high=pl.Series(moved[:, -1].ravel()).fill_nan(None),
    )
    with np.errstate(invalid="ignore"):
        pairs = walk.summed / np.where(walk.counted > 0, walk.counted, np.nan) if days else np.full((f, f), np.nan)
    summary = pl.DataFrame(
        {
            "feature": feature,
            "family": [families.get(n, n) for n in names],
            "meaning": [feature_set.meaning.get(n, "") for n in names],
            "coverage": pl.Series(known.sum(axis=0) / max(int(rows.sum()), 1)),
            "rank_autocorrelation": pl.Series(lasting[:, 0]).fill_nan(None),
            "turnover": pl.Series((moved[:, 0, 0] + moved[:, -1, 0]) / 2).fill_nan(None),
        }
    ).join(
        drift.sort("session").group_by("feature").agg(psi=(pl.col("psi") - pl.col("noise")).last().clip(0)),
        on="feature",
        how="left",
        maintain_order="left",
    )
    return Measures(
        feature_set=feature_set,
        horizons=horizons,
        lags=tuple(walk.lags),
        buckets=q,
        sessions=pl.DataFrame({"session": session, "rows": rows}),
        daily=daily,
        ic=_long(ic, by_day | {"horizon": horizon}, "ic").with_columns(
            n=_stacked(days, "n", (f, len(horizons))).astype(np.int64).ravel()
        ),
        excess=_long(excess[..., 0], by_day | {"quantile": quantile}, "excess"),
        decay=decay,
        quantiles=returned,
        persistence=persistence,
        turnover=_long(moved[:, :, 0], {"feature": feature, "quantile": quantile}, "turnover"),
        drift=drift,
        correlation=_long(pairs, {"feature": feature, "other": feature}, "correlation"),
        summary=summary,
        families=_families(summary, decay),
        extremes=extremes,
    )


def _decay(ic: np.ndarray, overlap: Sequence[int], axes: Mapping[str, pl.Series]) -> pl.DataFrame:
    found = _estimates(ic, overlap)
    positive = _mean(np.where(np.isnan(ic), np.nan, ic > 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(_mean((ic - _mean(ic)) ** 2))
        ratio = np.where(spread > 0, found["mean"] / spread, np.nan)
    columns = {**found, "ratio": ratio, "hit": positive}
    return _long(columns.pop("mean"), axes, "mean").with_columns(
        pl.Series(c, v.ravel()).fill_nan(None) if v.dtype.kind == "f" else pl.Series(c, v.ravel())
        for c, v in columns.items()
    )


def _families(summary: pl.DataFrame, decay: pl.DataFrame) -> pl.DataFrame:
    """By family, in the order of the features, and horizon."""
    both = decay.join(summary.select("feature", "family"), on="feature", how="left", maintain_order="left")
    best = pl.col("t").abs().fill_null(-1.0).arg_max()
    return both.group_by("family", "horizon", maintain_order=True).agg(
        features=pl.len().cast(pl.Int64),
        mean_abs_ic=pl.col("mean").abs().mean(),
        best=pl.col("feature").cast(pl.String).get(best),
        best_ic=pl.col("mean").get(best),
        best_t=pl.col("t").get(best),
    )
