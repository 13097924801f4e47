"""The platform's own first feature set: momentum, reversal, volatility, range, volume and liquidity over up to 60
sessions.
"""

import polars as pl

from quant_assets.features.sets import FeatureSet
from quant_assets.portable import ln

SERIES = "series"


def _lag(column: str, by: int) -> pl.Expr:
    return pl.col(column).shift(by).over(SERIES)


def _mean(expr: pl.Expr, window: int) -> pl.Expr:
    return expr.rolling_mean(window, min_samples=window // 2).over(SERIES)


def _std(expr: pl.Expr, window: int) -> pl.Expr:
    return expr.rolling_std(window, min_samples=window // 2).over(SERIES)


def kernel(panel: pl.DataFrame) -> pl.DataFrame:
    """The per-name features; all but the liquidity ones are ratios of adjusted prices or volumes, free of their
    scale.
    """
    close, high, low = pl.col("close"), pl.col("high"), pl.col("low")
    dollars = pl.col("raw_close") * pl.col("raw_volume")
    returns = panel.with_columns(ret_1=close / _lag("close", 1) - 1, dollars=dollars, span=(high - low) / close)
    ret = pl.col("ret_1")
    return returns.with_columns(
        *[(close / _lag("close", n) - 1).alias(f"ret_{n}") for n in (5, 10, 20, 60)],
        *[_std(ret, n).alias(f"vol_{n}") for n in (5, 20, 60)],
        *[(close / _mean(close, n) - 1).alias(f"to_mean_{n}") for n in (5, 20, 60)],
        overnight=pl.col("open") / _lag("close", 1) - 1,
        intraday=close / pl.col("open") - 1,
        range_20=_mean(pl.col("span"), 20),
        max_ret_20=ret.rolling_max(20, min_samples=10).over(SERIES),
        min_ret_20=ret.rolling_min(20, min_samples=10).over(SERIES),
        to_high_60=close / high.rolling_max(60, min_samples=30).over(SERIES) - 1,
        volume_shock=pl.col("volume") / _mean(pl.col("volume"), 20) - 1,
        volume_trend=_mean(pl.col("volume"), 5) / _mean(pl.col("volume"), 20) - 1,
        log_dollars_20=ln(_mean(pl.col("dollars"), 20)),
        illiquidity_20=_mean(ret.abs() / pl.col("dollars"), 20) * 1e9,
    )


RANKED = ("ret_1", "ret_5", "ret_20", "vol_20", "volume_shock")


def cross_section(rows: pl.DataFrame) -> pl.DataFrame:
    """Ranks among the members of the session, in (0, 1]; ties share their mean rank."""
    return rows.with_columns(
        (pl.col(f).rank("average") / pl.col(f).count()).over("session").alias(f"rank_{f}") for f in RANKED
    )


FEATURES = (
    "ret_1",
    "ret_5",
    "ret_10",
    "ret_20",
    "ret_60",
    "vol_5",
    "vol_20",
    "vol_60",
    "to_mean_5",
    "to_mean_20",
    "to_mean_60",
    "overnight",
    "intraday",
    "range_20",
    "max_ret_20",
    "min_ret_20",
    "to_high_60",
    "volume_shock",
    "volume_trend",
    "log_dollars_20",
    "illiquidity_20",
    *(f"rank_{f}" for f in RANKED),
)

MEANING = {
    **{f"ret_{n}": f"Return over {n} session{'s' if n > 1 else ''}, a fraction." for n in (1, 5, 10, 20, 60)},
    **{f"vol_{n}": f"Standard deviation of daily returns over {n} sessions." for n in (5, 20, 60)},
    **{f"to_mean_{n}": f"Close over its mean of {n} sessions, less 1." for n in (5, 20, 60)},
    "overnight": "Open over the close before, less 1.",
    "intraday": "Close over open, less 1.",
    "range_20": "Mean of (high − low) / close over 20 sessions.",
    "max_ret_20": "Largest daily return of 20 sessions (Bali, Cakici, Whitelaw 2011).",
    "min_ret_20": "Smallest daily return of 20 sessions.",
    "to_high_60": "Close over the highest high of 60 sessions, less 1 (after George, Hwang 2004).",
    "volume_shock": "Volume over its mean of 20 sessions, less 1.",
    "volume_trend": "Mean volume of 5 sessions over that of 20, less 1.",
    "log_dollars_20": "Natural log of the mean dollar volume of 20 sessions.",
    "illiquidity_20": "Mean of |return| / dollar volume over 20 sessions, per billion dollars (Amihud 2002).",
    **{f"rank_{f}": f"Rank of {f} among the members of the session, in (0, 1]." for f in RANKED},
}

PRICE_VOLUME = FeatureSet(
    name="price_volume",
    version="1",
    features=FEATURES,
    columns=("open", "high", "low", "close", "volume", "raw_close", "raw_volume"),
    lookback=60,
    kernel=kernel,
    cross_section=cross_section,
    doc="Momentum, reversal, volatility, range, volume and liquidity over up to 60 sessions, and ranks of some "
    "among the members.",
    meaning=MEANING,
)
