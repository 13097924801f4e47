"""Where two frames that should have the same bits have not."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_assets.records import Frozen


class Difference(Frozen, frozen=True):
    """The first cell in which two frames differ: its column, its place, and the two values.

    `others`: how many more columns differ. `column` is empty if a row is in one frame alone; then the two values are "a
    row" and "none".
    """

    column: str
    at: date | int | None
    sid: int | str | None
    one: object
    other: object
    others: int = 0


def difference(
    one: pl.DataFrame, other: pl.DataFrame, columns: Sequence[str], where: str = "session", tolerance: float = 0.0
) -> Difference | None:
    """The first difference in `columns`, compared by bits, nulls included; None if there is none.

    Rows (by `where` and sid, unique) that are in one frame alone come first. With a `tolerance`, values are equal if
    they differ by no more than it, relative to the larger one or to the column's median size.
    """
    key = [where, "sid"]
    one, other = (f if f.select(key).equals(f.select(key).sort(key)) else f.sort(key) for f in (one, other))
    if not one.select(key).equals(other.select(key)):
        here, there = (a.select(key).join(b.select(key), on=key, how="anti") for a, b in ((one, other), (other, one)))
        at, sid = (here if here.height else there).row(0)
        return Difference(
            column="", at=at, sid=sid, one="a row" if here.height else "none", other="none" if here.height else "a row"
        )
    differing = {c: rows for c in columns if (rows := _differ(one[c], other[c], tolerance)).any()}
    if not differing:
        return None
    column, rows = next(iter(differing.items()))
    n = int(np.argmax(rows))
    at, sid = one.select(key).row(n)
    return Difference(
        column=column, at=at, sid=sid, one=one[column][n], other=other[column][n], others=len(differing) - 1
    )


def _differ(one: pl.Series, other: pl.Series, tolerance: float) -> npt.NDArray[np.bool_]:
    """Per row whether two columns differ."""
    if not one.dtype.is_float() or one.dtype != other.dtype:
        return one.ne_missing(other).to_numpy()
    missing = one.is_null().to_numpy() != other.is_null().to_numpy()
    a, b = (s.fill_null(0.0).to_numpy() for s in (one, other))
    if not tolerance:
        kind = f"u{a.dtype.itemsize}"
        return missing | (a.view(kind) != b.view(kind))
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.abs(b[(b != 0) & np.isfinite(b)])
    allowed = tolerance * np.maximum(np.maximum(np.abs(a), np.abs(b)), np.median(size) if len(size) else 0.0)
    return missing | ~((np.abs(a - b) <= allowed) | (np.isnan(a) & np.isnan(b)) | (a == b))
