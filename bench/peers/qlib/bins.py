"""Qlib's binary market data, written from bars of ours, so that a peer needs to download nothing."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

FIELDS = ("open", "high", "low", "close", "volume", "vwap", "factor")


def instrument(sid: int) -> str:
    """What Qlib knows a name as: no symbol, because file names forget case and Windows forbids some."""
    return f"S{sid:06}"


def write_bins(bars: pl.DataFrame, sessions: Sequence[date], folder: Path) -> None:
    """Write `bars` (sid, i, open, high, low, close, volume; i a position in `sessions`) in the layout that Qlib reads.

    calendars/day.txt has a session a line, instruments/all.txt a name with its first and last session, and
    features/<name>/<field>.day.bin little-endian float32: the position of the first value, then a value a session, NaN
    where the name did not trade. vwap is the typical price, factor is 1. Values are rounded to float32, as the format
    is.
    """
    for part in ("calendars", "instruments", "features"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "calendars" / "day.txt").write_text("".join(f"{s}\n" for s in sessions))
    fields = bars.with_columns(vwap=(pl.col("high") + pl.col("low") + pl.col("close")) / 3, factor=pl.lit(1.0)).sort(
        "sid", "i"
    )
    lines: list[str] = []
    for (sid,), rows in fields.group_by("sid", maintain_order=True):
        at = rows["i"].to_numpy()
        name, first, last = instrument(int(str(sid))), int(at[0]), int(at[-1])
        (folder / "features" / name.lower()).mkdir(exist_ok=True)
        for field in FIELDS:
            dense = np.full(last - first + 2, np.nan, "<f4")
            dense[0] = first
            dense[1 + at - first] = rows[field].cast(pl.Float32).to_numpy()
            dense.tofile(folder / "features" / name.lower() / f"{field}.day.bin")
        lines.append(f"{name}\t{sessions[first]}\t{sessions[last]}\n")
    (folder / "instruments" / "all.txt").write_text("".join(lines))
