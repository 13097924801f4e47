"""Tables on Delta Lake: append only, one writer by file lock, read as of any time or version.

A read collects, filters in memory and sorts by the table's key, so that what is computed from it has the
same bits however the files lie.
"""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

import polars as pl
from filelock import FileLock

from quant_assets.contract import Table
from quant_assets.errors import ConflictingRow


class DeltaStore:
    """The Store port on a folder of Delta tables, partitioned by the year of the event column."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: Table) -> Path:
        """The folder of a table."""
        return self.root / table.name

    def exists(self, table: Table) -> bool:
        """Whether anything was ever committed to the table."""
        return any(self.path(table).glob("_delta_log/*.json"))

    def version(self, table: Table) -> int:
        """The table's current version; -1 where it does not exist yet."""
        if not self.exists(table):
            return -1
        from deltalake import DeltaTable

        return DeltaTable(self.path(table)).version()

    def read(
        self, table: Table, *, as_of: datetime | None, first: date | None = None, last: date | None = None, where: Mapping[str, str | int] | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """See the port. `version` reads the table as it stood after that commit."""
        if (version is not None and version < 0) or not self.exists(table):
            return table.empty()
        scan = pl.scan_delta(str(self.path(table)), version=version)
        event = pl.col(table.event)
        if first is not None:
            scan = scan.filter(pl.col("year") >= first.year, event >= first)
        if last is not None:
            scan = scan.filter(pl.col("year") <= last.year, event <= last)
        if as_of is not None:
            scan = scan.filter(pl.col("known_at") <= as_of)
        for column, value in (where or {}).items():
            scan = scan.filter(pl.col(column) == value)
        return scan.select(*table.schema).collect(engine="in-memory").sort(table.key)

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        rows = table.conform(frame)
        if rows.is_empty():
            return 0
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f".{table.name}.lock"):
            rows = self._unwritten(table, rows)
            if rows.height:
                self._commit(table, rows)
        return rows.height

    def _unwritten(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that do not stand yet. Raises ConflictingRow where a key stands with another content."""
        event = rows[table.event]
        standing = self.read(table, as_of=None, first=event.min(), last=event.max())  # pyright: ignore[reportArgumentType]  # a Series' bounds are typed by no dtype
        if standing.is_empty():
            return rows
        same_key = standing.join(rows.select(table.key), on=table.key, how="semi")
        if same_key.is_empty():
            return rows
        content = list(table.content)
        new_content = rows.join(same_key.select(content), on=content, how="anti", nulls_equal=True)
        conflicts = new_content.join(same_key.select(table.key), on=table.key, how="semi")
        if conflicts.height:
            key = conflicts.select(table.key).row(0, named=True)
            ours, theirs = (f.filter(pl.all_horizontal(pl.col(c) == v for c, v in key.items())).row(0, named=True) for f in (conflicts, same_key))
            differ = {c: (theirs[c], ours[c]) for c in content if theirs[c] != ours[c]}
            raise ConflictingRow(f"{table.name}: {conflicts.height} row(s) stand already with another content; {key}: (stands, given) {differ}")
        return new_content

    def _commit(self, table: Table, rows: pl.DataFrame) -> None:
        from deltalake import ColumnProperties, CommitProperties, WriterProperties, write_deltalake

        write_deltalake(
            str(self.path(table)),
            rows.with_columns(year=pl.col(table.event).dt.year()).to_arrow(),
            mode="append",
            partition_by=["year"],
            writer_properties=WriterProperties(compression="ZSTD", compression_level=1, default_column_properties=ColumnProperties(dictionary_enabled=False)),
            commit_properties=CommitProperties(custom_metadata={"rows": str(rows.height)}),
        )
