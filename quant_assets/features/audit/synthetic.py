"""A panel in which everything is that makes kernels stumble: halts, gaps, single values missing, flat stretches, ties,
splits, names that come and go.
"""

import numpy as np
import polars as pl

from quant_assets.contract import Schema
from quant_assets.features.sets import PRICES, FeatureSet
from quant_assets.frames import span

SERIES = 12
SEED = 20_240_229


def synthetic(feature_set: FeatureSet, rows: int) -> pl.DataFrame:
    """A panel as `blocks.panel` makes one, with the columns that the set reads and those its inputs bring; positions 0
    to `rows` - 1, every present row selected.
    """
    series = [_series(n, rows, np.random.default_rng([SEED, n])) for n in range(SERIES)]
    panel = pl.concat(series).sort("series", "i")
    kept = panel.select("series", "i", "sid", "present", *feature_set.columns, selected=pl.col("present"))
    for one in feature_set.inputs:
        if one.reads_panel:
            kept = kept.join(_brought(one.columns, rows), on="i", how="left", maintain_order="left")
    return kept


def sections(feature_set: FeatureSet, computed: pl.DataFrame) -> pl.DataFrame:
    """The rows that a cross-section gets, as `blocks.evaluate` makes them: those selected, sorted by (i, sid), with
    what the inputs bring.
    """
    rows = computed.filter("selected").drop("selected", "present", "series").sort("i", "sid")
    for one in feature_set.inputs:
        if not one.reads_panel:
            n = span(rows["i"], int)[1] + 1
            sids = rows["sid"].unique().sort()
            brought = pl.concat([_brought(one.columns, n, s).with_columns(sid=pl.lit(s, dtype=pl.Int64)) for s in sids])
            rows = rows.join(brought, on=["i", "sid"], how="left", maintain_order="left")
    return rows.with_columns(session=pl.col("i"))


def trimmed(panel: pl.DataFrame) -> pl.DataFrame:
    """`panel` without the rows before a series' first and after its last bar, of which a panel has none."""
    there = pl.col("i").filter(pl.col("present"))
    return panel.filter(pl.col("i").is_between(there.min().over("series"), there.max().over("series")))


def _series(n: int, rows: int, rng: np.random.Generator) -> pl.DataFrame:
    """One name, with every column there is. Its first and its last row are present."""
    first = {8: rows - min(rows // 4, 70), 9: rows // 3, 11: rows - 3}.get(n, 0)
    end = {9: rows - 40 if rows > 90 else rows, 10: rows // 2}.get(n, rows)
    size = end - first
    close = np.exp(np.log(3.0 * 1.6**n) + np.cumsum(rng.normal(0.0, 0.02, size)))
    close = np.round(close * 2) / 2 + 0.5 if n == 3 else np.round(close, 2)  # ties
    for begin in range(size // 3, size, max(60, size // 3)):
        if n in {1, 2, 5}:
            close[begin : begin + 9 + 14 * (n == 2)] = close[begin]
    flat = np.r_[False, close[1:] == close[:-1]] & (n in {1, 2})
    spread = np.where(flat, 0.0, np.round(close * np.abs(rng.normal(0.0, 0.012, size)), 2))
    open_ = np.where(flat, close, np.round(close + spread * rng.uniform(-0.9, 0.9, size), 2))
    values = {
        "open": open_,
        "high": np.maximum(close, open_) + spread,
        "low": np.maximum(np.minimum(close, open_) - spread, 0.01),
        "close": close,
    }
    volume = np.where(rng.random(size) < 0.01, 0.0, np.round(np.exp(rng.normal(11.0 + n / 4, 0.7, size))))
    growth = np.where(np.arange(size) >= size * 2 // 3, 2.0, 1.0) if n % 4 == 1 else np.ones(size)
    halted = np.zeros(size, dtype=bool)
    if n % 3 == 0:
        halted = rng.random(size) < 0.03
    if n in {4, 9}:
        for begin in range(size // 4, size, max(45, size // 4)):
            halted[begin : begin + 21] = True  # suspended for a month
    halted[[0, -1]] = False
    columns = {
        **values,
        "volume": volume * growth,
        **{f"raw_{c}": values[c] / growth for c in PRICES},
        "raw_volume": volume,
    }
    frame = pl.DataFrame({"i": np.arange(first, end), "present": ~halted, **columns}, schema_overrides={"i": pl.Int32})
    single = {c: pl.lit(pl.Series(rng.random(size) < 0.006)) if n in {6, 7} else pl.lit(value=False) for c in columns}
    shown = [pl.when(pl.col("present") & ~single[c]).then(pl.col(c)).alias(c) for c in columns]
    return frame.with_columns(*shown, series=pl.lit(n, dtype=pl.UInt32), sid=pl.lit(17 * n + 3, dtype=pl.Int64))


def _brought(columns: Schema, rows: int, sid: int = 0) -> pl.DataFrame:
    """What an input might bring for the positions 0 to `rows` - 1."""
    rng = np.random.default_rng([SEED, 99, sid])
    made: dict[str, pl.Series] = {"i": pl.Series(range(rows), dtype=pl.Int32)}
    for name, dtype in pl.Schema(columns).items():
        steps = np.repeat(rng.normal(0.0, 1.0, rows // 20 + 1), 20)[:rows]
        if dtype == pl.Boolean:
            values = pl.Series(steps > 0)
        elif dtype == pl.String:
            values = pl.Series([f"{'abc'[sid % 3]}" if rng.random() < 0.9 else "d" for _ in range(rows)])
        elif dtype.is_integer():
            values = pl.Series(np.round(np.exp(steps) * 10)).cast(dtype)
        elif dtype.is_float():
            values = pl.Series(rng.normal(0.0, 0.02, rows) + 0.01 * steps).cast(dtype)
        else:
            values = pl.Series([None] * rows, dtype=dtype)
        made[name] = values
    return pl.DataFrame(made)
