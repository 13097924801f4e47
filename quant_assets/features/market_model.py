"""A name's returns, alone and against the market's: what the style and cross-sectional kernels share."""

import polars as pl

from quant_assets.features.cross_section import finite

SERIES = "series"
STALE = 5  # sessions for which the last close replaces a missing one
BETA = 60  # sessions of the market model
ENOUGH = BETA // 2  # of them have to be there


def mean(column: str, window: int) -> pl.Expr:
    """The mean over the last `window` sessions, of which half have to be there."""
    return pl.col(column).rolling_mean(window, min_samples=window // 2).over(SERIES)


def last_close(back: int) -> pl.Expr:
    """The adjusted close `back` sessions ago, or the last one of the five sessions before that: of use from `back` + 5
    rows on.
    """
    return pl.col("close").forward_fill(STALE).shift(back).over(SERIES)


def with_market_model(panel: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """`panel` (series, close, raw_close, raw_volume, market) with, each name after `prefix`:

    daily: simple return from the session before, null after a session without a close; dollars: raw close × raw volume;
    beta: slope of least squares of daily on market over 60 sessions, with a constant, of the 30 or more that have both;
    residual: standard deviation of what it leaves (÷ n). Sharpe (1964); as in every rolling sum, its bits are those of
    the anchor.
    """
    y, x, xx, xy, yy = (f"{prefix}{c}" for c in ("y", "x", "xx", "xy", "yy"))
    daily, there = f"{prefix}daily", pl.col(f"{prefix}daily").is_not_null() & pl.col("market").is_not_null()
    rows = panel.with_columns(
        (pl.col("close") / pl.col("close").shift(1).over(SERIES) - 1).alias(daily),
        (pl.col("raw_close") * pl.col("raw_volume")).alias(f"{prefix}dollars"),
    )
    rows = rows.with_columns(finite(daily)).with_columns(
        pl.when(there).then(daily).alias(y), pl.when(there).then("market").alias(x)
    )
    rows = rows.with_columns(
        (pl.col(x) * pl.col(x)).alias(xx), (pl.col(x) * pl.col(y)).alias(xy), (pl.col(y) * pl.col(y)).alias(yy)
    )
    rows = rows.with_columns(pl.col(c).rolling_mean(BETA, min_samples=ENOUGH).over(SERIES) for c in (y, x, xx, xy, yy))
    own, common = pl.col(yy) - pl.col(y) * pl.col(y), pl.col(xx) - pl.col(x) * pl.col(x)
    rows = rows.with_columns(
        pl.when(common > 0).then((pl.col(xy) - pl.col(x) * pl.col(y)) / common).alias(f"{prefix}beta")
    )
    left = pl.col(f"{prefix}beta") * pl.col(f"{prefix}beta") * common
    return rows.with_columns((own - left).clip(0.0).sqrt().alias(f"{prefix}residual")).drop(y, x, xx, xy, yy)
