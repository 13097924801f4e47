"""How good scores were: rank IC by session with its error, by month, and the spread between deciles."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from quant_assets.records import Frozen

_ROUNDING = 1e-12  # of the mean: equal values have a mean that misses them by the last bits


class Estimate(Frozen, frozen=True):
    """A mean with its standard error; `t` = mean / error, None where nothing varies, for then it has no error.
    `n` observations, `lags` autocovariances counted.
    """

    mean: float
    error: float
    t: float | None
    n: int
    lags: int


def moment(frame: pl.DataFrame) -> str:
    """The column whose rows are compared with each other: `ts` of bars, else `session`."""
    return "ts" if "ts" in frame.columns else "session"


def rank_ic(frame: pl.DataFrame, score: str = "score", value: str = "value", minimum: int = 2) -> pl.DataFrame:
    """Columns session, ic, n: Spearman's correlation of `score` and `value` over the rows of each session, ascending;
    of bars over those of each bar, with its `ts` as session.

    Ties share the mean rank. Rows where either is missing do not count; sessions in which either is constant
    have no IC and are left out, and so are those with fewer than `minimum` rows: the correlation of two names is
    always 1 or -1 (`left_out` counts both). Sums of doubled ranks are whole numbers, so the order of rows changes no
    bit.
    """
    at = moment(frame)
    known = frame.filter(pl.all_horizontal(pl.col(score, value).is_not_null() & pl.col(score, value).is_not_nan()))
    x, y = pl.col("x"), pl.col("y")
    doubled = [
        (2 * pl.col(c).rank("average").over(at)).cast(pl.Int64).alias(a) for c, a in ((score, "x"), (value, "y"))
    ]
    sums = (
        known.select(pl.col(at).alias("session"), *doubled)
        .group_by("session")
        .agg(n=pl.len().cast(pl.Int64), x=x.sum(), y=y.sum(), xy=(x * y).sum(), xx=(x * x).sum(), yy=(y * y).sum())
    )
    n = pl.col("n")
    vx, vy = ((n * pl.col(square) - pl.col(c) * pl.col(c)).cast(pl.Float64) for square, c in (("xx", "x"), ("yy", "y")))
    ic = (n * pl.col("xy") - x * y).cast(pl.Float64) / (vx.sqrt() * vy.sqrt())
    return sums.filter(vx > 0, vy > 0, n >= minimum).select("session", ic=ic, n=n).sort("session")


def left_out(frame: pl.DataFrame, ics: pl.DataFrame) -> int:
    """How many sessions of `frame` have no row in `ics`: too few names, or nothing that varies."""
    return frame.select(pl.col(moment(frame)).n_unique()).item() - ics.height


def newey_west(values: Sequence[float] | pl.Series, lags: int) -> Estimate:
    """The mean of an autocorrelated series and its error: Var = (γ₀ + 2 Σ (1 − l/(L+1)) γ_l)/n, γ_l = Σ e_t e_{t−l} /
    n.

    Newey & West (1987), Bartlett weights, L = `lags` (at most n − 1). Raises ValueError for fewer than two values or
    values not finite.
    """
    series = np.asarray(values, dtype=np.float64)
    n = len(series)
    if n < 2 or not np.isfinite(series).all():
        raise ValueError(f"a standard error needs at least two finite values; there are {n}")
    lags = min(lags, n - 1)
    mean = math.fsum(series) / n
    e = series - mean
    gammas = [math.fsum(e[lag:] * e[: n - lag]) / n for lag in range(lags + 1)]
    variance = gammas[0] + 2 * math.fsum((1 - lag / (lags + 1)) * gammas[lag] for lag in range(1, lags + 1))
    error = math.sqrt(max(variance, 0.0) / n)
    return Estimate(mean=mean, error=error, t=mean / error if error > _ROUNDING * abs(mean) else None, n=n, lags=lags)


def ic_estimate(ics: pl.DataFrame, horizon: int) -> Estimate:
    """The mean of `ic` with its Newey–West error at `horizon` − 1 lags: labels of neighbouring sessions overlap so
    far.
    """
    return newey_west(ics.sort("session")["ic"], horizon - 1)


def ic_by_month(ics: pl.DataFrame) -> pl.DataFrame:
    """Columns month (its first day), ic (mean over its sessions), sessions; ascending."""
    month = pl.col("session").dt.truncate("1mo")
    return (
        ics.sort("session")
        .group_by(month.alias("month"), maintain_order=True)
        .agg(ic=pl.col("ic").mean(), sessions=pl.len())
    )


def decile_spread(frame: pl.DataFrame, score: str = "score", value: str = "value", buckets: int = 10) -> pl.DataFrame:
    """Columns session, spread: mean `value` of the tenth with the highest `score` minus that with the lowest,
    ascending.

    Sessions with fewer rows than `buckets` are left out; ties go by sid.
    """
    ordered = (
        frame.drop_nulls([score, value])
        .with_columns(session=pl.col(moment(frame)))
        .sort("session", score, "sid")
        .with_columns(n=pl.len().over("session"), place=pl.int_range(pl.len()).over("session"))
    )
    bucket = pl.col("place") * buckets // pl.col("n")
    low, high = (pl.col(value).filter(bucket == b).mean().over("session") for b in (0, buckets - 1))
    return ordered.filter(pl.col("n") >= buckets).select("session", spread=high - low).unique("session").sort("session")
