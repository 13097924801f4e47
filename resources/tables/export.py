"""A table as of a time, as one file that stands for itself, beside a manifest that says what it is."""

from datetime import datetime
from pathlib import Path

import msgspec

from quant_assets import durable
from quant_assets.characters import spreadsheet
from quant_assets.contract import Table
from quant_assets.errors import ConfigurationError
from quant_assets.records import Frozen, frame_hash
from resources.tables.store import DeltaStore


class Manifest(Frozen, frozen=True):
    """What an exported file holds: every row of the table known by `as_of`, read from `version`. `frame_hash` is
    that of `records.frame_hash` over the rows in key order.
    """

    table: str
    version: int
    as_of: datetime
    rows: int
    frame_hash: str
    file: str
    columns: dict[str, str]


def export(store: DeltaStore, table: Table, as_of: datetime, to: Path) -> Manifest:
    """Write all rows known by `as_of` to a .parquet or .csv file, then `<file>.manifest.json`: where that stands,
    the file is whole. In a CSV file a text that a spreadsheet would take for a formula has a `'` before it; the hash is
    that of the rows as they are. Raises ConfigurationError on another ending.
    """
    if to.suffix not in {".parquet", ".csv"}:
        raise ConfigurationError(f"an export is a .parquet or a .csv file, {to.name!r} is neither")
    version = store.version(table)
    rows = store.read(table, as_of=as_of, version=version)
    manifest = Manifest(
        table=table.name,
        version=version,
        as_of=as_of,
        rows=rows.height,
        frame_hash=frame_hash(rows),
        file=to.name,
        columns={c: str(t) for c, t in rows.schema.items()},
    )
    told = to.with_name(f"{to.name}.manifest.json")
    durable.make(to.parent)
    told.unlink(missing_ok=True)
    written = to.with_name(f".{to.name}.part")
    if to.suffix == ".csv":
        spreadsheet(rows).write_csv(written, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    else:
        rows.write_parquet(written)
    durable.put(written, to)
    durable.write(told, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest
