"""Between prices as traded (raw) and prices on the basis of the newest share (split-adjusted)."""

import polars as pl

PRICES = ("open", "high", "low", "close")

_LATER_SPLITS = (
    pl.when(pl.col("split") > 0)
    .then(pl.col("split"))
    .otherwise(1.0)
    .shift(-1, fill_value=1.0)
    .cum_prod(reverse=True)
    .over("symbol")
)  # a split does not count on its own ex-session


def split_adjusted(bars: pl.DataFrame) -> pl.DataFrame:
    """Raw `bars` on the basis of each name's newest share: prices and dividends divided, volume multiplied by the
    splits after the row. `adj_close` is taken to be adjusted already.
    """
    return _scaled(_in_order(bars).with_columns(_LATER_SPLITS.alias("_by")))


def raw(rows: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Split-adjusted `rows` (repairs, say) on the basis on which they traded.

    `bars` are the raw bars that were adjusted; their splits give the factors.
    """
    factors = _in_order(bars).select("symbol", "session", _by=1.0 / _LATER_SPLITS)
    return _scaled(rows.join(factors, on=["symbol", "session"], how="left", maintain_order="left"))


def _in_order(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.sort("symbol", "session")


def _scaled(rows: pl.DataFrame) -> pl.DataFrame:
    """Divide prices and payouts by `_by`, multiply volume."""
    money = [c for c in (*PRICES, "dividend", "capital_gains") if c in rows.columns]
    volume = pl.col("volume") * pl.col("_by")
    if rows.schema["volume"].is_integer():
        volume = volume.round().cast(rows.schema["volume"])
    return rows.with_columns(*(pl.col(c) / pl.col("_by") for c in money), volume=volume).drop("_by")
