"""A table's data files: written by Polars, described to Delta as its protocol asks, so that a reader knows what it
need not open.
"""

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import polars as pl

from quant_assets.contract import Table
from quant_assets.durable import make, sync

PARTITION = "year"
HASH = "sha256"  # the tag of a file in the log, with the hash of its bytes
SHORT = 32  # characters up to which a text's bounds are told; longer ones would have to be cut


def write(folder: Path, table: Table, rows: pl.DataFrame, *, new: bool) -> list[dict[str, Any]]:
    """Write the rows as a file for each year of their event; what Delta's log has to say of each, as actions of its
    protocol. `new`: rows, not files written together. Durable when it returns; until that is committed, nobody reads
    them.
    """
    paths: list[Path] = []
    actions: list[dict[str, Any]] = []
    for (year,), part in rows.group_by(pl.col(table.event).dt.year().alias(PARTITION), maintain_order=True):
        path = folder / f"{PARTITION}={year}" / f"part-{uuid4()}.zstd.parquet"
        make(path.parent)
        buffer = BytesIO()
        part.write_parquet(buffer)
        content = buffer.getbuffer()
        path.write_bytes(content)
        paths.append(path)
        action = {
            "path": path.relative_to(folder).as_posix(),
            "partitionValues": {PARTITION: str(year)},
            "size": len(content),
            "modificationTime": int(path.stat().st_mtime * 1_000),
            "dataChange": new,
            "stats": described(part),
            "tags": {HASH: sha256(content).hexdigest()},
        }
        actions.append({"add": action})
    sync(*paths, *sorted({p.parent for p in paths}))
    return actions


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
