"""The bars that Alpha158 is compared on: synthetic ones with everything that has gone wrong somewhere, and the real
panel.
"""

import os
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from quant_assets.calendars import calendar

VALUES = ("open", "high", "low", "close", "volume")
Market = tuple[pl.DataFrame, list[date]]
"""Bars (sid, i, open, high, low, close, volume) sorted by (sid, i), and the sessions that i counts.

The values are those of float32, which is what Qlib stores: what is compared is arithmetic on the same numbers."""


def _stretches(random: np.random.Generator, shape: tuple[int, int], share: float, longest: int) -> np.ndarray:
    """A mask whose rows hold stretches of True of 2 to `longest` cells, some `share` of all."""
    names, sessions = shape
    out = np.zeros(shape, bool)
    for _ in range(int(names * sessions * share / (longest / 2))):
        start = random.integers(sessions)
        out[random.integers(names), start : start + random.integers(2, longest + 1)] = True
    return out


def synthetic(names: int, sessions: int, late: float = 0.25, early: float = 0.1) -> Market:
    """A market of `names` over `sessions`, the same each time.

    Every name is halted now and then; a share is listed late, one ends early.

    Of eight names one trades on a coarse grid (ties), one lies flat for up to 90 sessions at a time, without volume,
    with the same or with a changing one, one is halted for up to 90 sessions at a time, and one costs tenths of a cent.
    """
    random, shape = np.random.default_rng(7), (names, sessions)
    kind = np.arange(names) % 8
    flat = _stretches(random, shape, 0.3, 90) & (kind == 5)[:, None]
    steps = np.where(flat, 0.0, random.normal(0, 0.02, shape))
    level = np.where(kind == 7, 0.004, np.exp(random.normal(3.3, 0.9, names)))[:, None]
    tick = np.where(kind == 4, 0.25, np.where(kind == 7, 0.00001, 0.01))[:, None]
    walk = level * np.exp(np.cumsum(steps, axis=1))
    close = np.maximum(np.round(walk / tick), 1) * tick
    before = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    open_ = np.where(
        flat, close, np.maximum(np.round(before * np.exp(random.normal(0, 0.006, shape)) / tick), 1) * tick
    )
    reach = np.where(flat, 0.0, np.abs(random.normal(0, 0.008, (2, *shape))))
    high = np.maximum(np.maximum(open_, close), np.round(np.maximum(open_, close) * (1 + reach[0]) / tick) * tick)
    low = np.minimum(
        np.minimum(open_, close), np.maximum(np.round(np.minimum(open_, close) * (1 - reach[1]) / tick), 1) * tick
    )
    volume = np.round(np.exp(random.normal(12.5, 0.7, shape) + random.normal(0, 1.2, (names, 1))))
    volume = np.where((kind == 4)[:, None], np.ceil(volume / 1e5) * 1e5, volume)
    still = _stretches(random, shape, 0.3, 60)
    volume = np.where(flat & still, np.where(np.arange(sessions) // 200 % 2, 0.0, 12_345.0), volume)
    halted = (random.random(shape) < 0.004) | (_stretches(random, shape, 0.3, 90) & (kind == 6)[:, None])
    position = np.arange(sessions)
    listed = np.where(random.random(names) < late, random.integers(0, sessions - 5, names), 0)[:, None]
    ended = np.where(random.random(names) < early, random.integers(sessions // 2, sessions, names), sessions)[:, None]
    there = ~halted & (position >= listed) & (position < np.maximum(ended, listed + 5))
    sid, i = np.nonzero(there)
    arrays = dict(zip(VALUES, (open_, high, low, close, volume), strict=True))
    bars = pl.DataFrame(
        {
            "sid": sid,
            "i": i.astype(np.int32),
            **{c: a[there].astype(np.float32).astype(float) for c, a in arrays.items()},
        }
    )
    return bars, [date(2001, 1, 1) + timedelta(days=int(d)) for d in range(sessions)]


def real() -> Market | None:
    """The raw prices of the real panel as known at its end, a name a symbol; None where the data is not there."""
    data = Path(os.environ.get("QUANT_SHARED_DATA", "../shared/data")) / "pystock" / "prices_20150323_20160630.parquet"
    if not data.exists():
        return None
    rows = pl.read_parquet(data).sort("captured_on").unique(["symbol", "date"], keep="last", maintain_order=True)
    sessions = list(calendar("XNYS").between(date(2015, 3, 20), date(2016, 6, 30)))
    located = rows.join(pl.DataFrame({"date": sessions}).with_row_index("i"), on="date").with_columns(
        pl.col("i").cast(pl.Int32), sid=pl.col("symbol").rank("dense").cast(pl.Int64)
    )
    return located.select("sid", "i", *(pl.col(c).cast(pl.Float32).cast(pl.Float64) for c in VALUES)).sort(
        "sid", "i"
    ), sessions


def panel_of(bars: pl.DataFrame) -> pl.DataFrame:
    """What a kernel is given: a series a name, a row a session from its first bar to its last, all selected that
    traded. `bars` sorted by (sid, i).
    """
    sid, i = bars["sid"].to_numpy(), bars["i"].to_numpy()
    start = np.concatenate([[0], np.flatnonzero(np.diff(sid)) + 1])
    rows, bars_of = np.subtract(i[np.append(start[1:], len(i)) - 1], i[start]) + 1, np.diff(np.append(start, len(i)))
    offset = np.cumsum(rows) - rows - i[start]  # of a series: where its row of session 0 would stand
    at = i + np.repeat(offset, bars_of)
    present = np.zeros(int(rows.sum()), bool)
    present[at] = True
    columns: dict[str, pl.Series] = {}
    for name in VALUES:
        dense = np.full(len(present), np.nan)
        dense[at] = bars[name].to_numpy()
        columns[name] = pl.Series(dense, nan_to_null=True)
    series = np.repeat(np.arange(len(rows), dtype=np.uint32), rows)
    session = np.arange(len(present)) - np.repeat(offset, rows)
    return pl.DataFrame(
        {
            "series": series,
            "i": session.astype(np.int32),
            "sid": np.repeat(sid[start], rows),
            "present": present,
            **columns,
            "raw_close": columns["close"],
            "selected": present,
        }
    )
