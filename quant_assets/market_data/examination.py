"""The whole history of the daily bars, examined for known vendor errors: levels a hundredfold off, splits missed or
doubled, payments that no price shows.

The quality rules look at a session and the one before it, as known at its cut. This module looks at the whole history,
with hindsight. So it only proposes: its findings are stored, and a person decides on its repairs.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from quant_assets.contract import in_force
from quant_assets.market_data.vendor_errors import diagnose, raw, split_adjusted
from quant_assets.tables import ACTIONS, BARS, DATA_FINDINGS

PRICES = ("open", "high", "low", "close")
SAME = 1e-9  # a repaired price nearer to the stored one has only been to another basis and back
TOLD = (
    "PRICE_BREAK",
    "ADJUSTMENT_UNEXPLAINED",
    "STALE_RUN",
)  # may be true: a crash, an undeclared split, a halt


def examine(bars: pl.DataFrame, actions: pl.DataFrame, known_at: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Findings (rows of DATA_FINDINGS, known at `known_at`) and repairs (rows of BARS in force, with the columns that
    would be right) of bars in force, given all versions of the actions known.
    """
    acts = in_force(actions, ACTIONS)
    ratio = (
        (pl.col("numerator") / pl.col("denominator"))
        .filter(pl.col("kind").is_in(["split", "stock_dividend"]))
        .product()
    )
    terms = acts.group_by("sid", "session").agg(
        split=ratio, dividend=pl.col("cash").filter(pl.col("kind") == "dividend").cast(pl.Float64).sum()
    )
    given = bars.select(
        "sid", "session", *PRICES, "volume", symbol=pl.col("sid").cast(pl.String), adj_close=pl.lit(None, pl.Float64)
    )
    given = (
        given.join(terms, on=["sid", "session"], how="left")
        .with_columns(pl.col("split").fill_null(1.0), pl.col("dividend").fill_null(0.0))
        .drop("sid")
        .sort("symbol", "session")
    )
    found, mended = diagnose(split_adjusted(given))
    return _findings(found, bars, known_at), _repairs(raw(mended, given), bars)


def _findings(found: pl.DataFrame, bars: pl.DataFrame, known_at: datetime) -> pl.DataFrame:
    named = (
        found.with_columns(pl.col("symbol").cast(pl.Int64).alias("sid"))
        .drop("symbol")
        .join(bars.select("sid", "session", "symbol"), on=["sid", "session"], how="left")
    )
    grave = pl.when(pl.col("rule").is_in(list(TOLD))).then(pl.lit("warn")).otherwise(pl.lit("block"))
    shown = named.select(
        "session",
        "symbol",
        "rule",
        table=pl.lit(BARS.name),
        severity=grave,
        row=pl.struct("sid", "session", "column").struct.json_encode(),
        found=pl.col("found").cast(pl.Float64),
        expected=pl.col("expected").cast(pl.Float64),
        message=pl.format("{} (confidence {})", pl.col("message"), pl.col("confidence").round(2)),
        known_at=pl.lit(known_at),
    )
    return DATA_FINDINGS.conform(
        shown.select(*DATA_FINDINGS.schema).unique(DATA_FINDINGS.key, keep="first", maintain_order=True)
    )


def _repairs(mended: pl.DataFrame, bars: pl.DataFrame, columns: Sequence[str] = (*PRICES, "volume")) -> pl.DataFrame:
    right = mended.select(
        "session",
        *(pl.col(c).cast(BARS.schema[c]).alias(f"right_{c}") for c in columns),
        sid=pl.col("symbol").cast(pl.Int64),
    )
    rows = bars.join(right, on=["sid", "session"], maintain_order="left")
    differs = pl.any_horizontal(
        ((pl.col(f"right_{c}") / pl.col(c) - 1).abs() > SAME).fill_null(value=True) for c in columns
    )
    return rows.filter(differs).with_columns(pl.col(f"right_{c}").alias(c) for c in columns).select(bars.columns)
