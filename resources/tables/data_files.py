"""A table's data files: written by Polars, described to Delta as its protocol asks, so that a reader knows what it
need not open.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import polars as pl

from quant_assets.contract import Table

if TYPE_CHECKING:
    from deltalake.transaction import AddAction

PARTITION = "year"
SHORT = 32  # characters up to which a text's bounds are told; longer ones would have to be cut


def write(folder: Path, table: Table, rows: pl.DataFrame, *, new: bool) -> "Iterator[AddAction]":
    """Write the rows as a file for each year of their event; what Delta's log has to say of each. `new`: rows, not
    files written together. Until that is committed, nobody reads them.
    """
    from deltalake.transaction import AddAction

    for (year,), part in rows.group_by(pl.col(table.event).dt.year().alias(PARTITION), maintain_order=True):
        path = folder / f"{PARTITION}={year}" / f"part-{uuid4()}.zstd.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_parquet(path)
        found = path.stat()
        yield AddAction(
            str(path.relative_to(folder)),
            found.st_size,
            {PARTITION: str(year)},
            int(found.st_mtime * 1_000),
            new,
            described(part),
        )


def described(rows: pl.DataFrame) -> str:
    """Number of rows, and of each column with an order that a filter may use its bounds and nulls, as JSON of the
    Delta protocol (instants cut to the millisecond, as it says).
    """
    ordered = [
        c
        for c, t in rows.schema.items()
        if t.is_integer() or t.is_temporal() or (t == pl.String and not (rows[c].str.len_bytes() > SHORT).any())
    ]
    instants = [c for c in ordered if isinstance(rows.schema[c], pl.Datetime)]
    some = rows.select(ordered)

    def told(frame: pl.DataFrame) -> dict[str, Any]:
        (values,) = frame.with_columns(pl.col(instants).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).to_dicts()
        return {c: v for c, v in values.items() if v is not None}

    return msgspec.json.encode(
        {
            "numRecords": rows.height,
            "minValues": told(some.min()),
            "maxValues": told(some.max()),
            "nullCount": some.null_count().row(0, named=True),
        }
    ).decode()
