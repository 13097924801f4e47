"""Tables on Delta Lake: append only, one writer by file lock, read as of any time or version.

A read collects, filters in memory and sorts by the table's key, so that what is computed from it has the
same bits however the files lie. A writer commits onto the very version whose rows it compared with: where
another one came in between, lock or no lock, it compares again.
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import polars as pl
from filelock import FileLock

from quant_assets.contract import Table
from quant_assets.durable import make
from quant_assets.errors import ConflictingRow, ContractViolation, HomeDamaged
from quant_assets.ports import Marks
from quant_assets.records import Mark
from resources.tables import log as delta
from resources.tables.data_files import PARTITION, write
from resources.tables.faults import Fault, faults, in_log
from resources.tables.rows import collect, conflict, fields, gained, projected, spans, within

if TYPE_CHECKING:
    from deltalake import DeltaTable, Field

LOSSES = 100  # commits that may be lost to other writers before one gives up


class Opened(NamedTuple):
    """A table opened at a version, and the log entry that made the version."""

    at: "DeltaTable"
    log: Path
    version: int
    entry: tuple[int, int, int] | None

    def is_latest(self) -> bool:
        """Whether the log ends with the same entry still: no commit came, and no other table was put in the place."""
        return (
            self.entry is not None
            and not delta.entry(self.log, self.version + 1).exists()
            and _identity(delta.entry(self.log, self.version)) == self.entry
        )


def _identity(file: Path) -> tuple[int, int, int] | None:
    """Which file lies there, and when it was written; None where none does."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class DeltaStore:
    """The Store port on a folder of Delta tables, partitioned by the year of the event column."""

    def __init__(self, root: Path, marks: Marks | None = None) -> None:
        self.root = root
        self._marks = marks
        self._read: dict[str, Opened] = {}  # by table: the version read last
        # by table: the version that `_unwritten` looked at, for `_commit`; used under the table's lock only
        self._compared: dict[str, DeltaTable] = {}

    def path(self, table: Table) -> Path:
        """The folder of a table."""
        return self.root / table.name

    def exists(self, table: Table) -> bool:
        """Whether anything was ever committed to the table. Raises HomeDamaged where nothing is there and
        the ledger has seen a commit.
        """
        log = self.path(table) / delta.FOLDER
        # the first commit is kept for good; only a foreign tool drops it
        found = delta.entry(log, 0).exists() or bool(list(log.glob("*.json")))
        if not found:
            self._check(table)
        return found

    def version(self, table: Table) -> int:
        """The table's current version; -1 where it does not exist yet."""
        return self._latest(table).version() if self.exists(table) else -1

    def versions(self, tables: Collection[Table]) -> dict[str, int]:
        """The current version of each table, by its name."""
        return {t.name: self.version(t) for t in tables}

    def open(self, table: Table, version: int | None = None) -> "DeltaTable":
        """The Delta table as it stands, or stood after the commit `version`. Raises HomeDamaged, which names the file,
        where the log is not whole or behind the ledger's mark.
        """
        from deltalake import DeltaTable

        self._check(table, version)
        with self.readable(table):
            return DeltaTable(self.path(table), version=version)

    def mark(self, table: Table) -> Mark | None:
        """How far the ledger has seen the table come."""
        return self._marks.of(table.name) if self._marks else None

    def faults(self, table: Table) -> Iterator[Fault]:
        """Everything that is wrong with a table on disk; each of its files is read whole."""
        return faults(self.path(table), self.mark(table))

    def _check(self, table: Table, version: int | None = None) -> None:
        for fault in in_log(self.path(table), self.mark(table), version):
            raise HomeDamaged(str(fault))

    def _check_sizes(self, table: Table, at: "DeltaTable") -> None:
        """What is cut off is found before Polars opens it: it would panic on the terminal."""
        files = pl.DataFrame(at.get_add_actions()).select("path", "size_bytes")
        for name, size in files.iter_rows():
            found = _identity(self.path(table) / unquote(name))
            if found and found[2] != size:
                fault = next(self.faults(table), None)
                raise HomeDamaged(str(fault or f"{table.name}: {name} is not as it was written"))

    @contextmanager
    def readable(self, table: Table) -> Generator[None]:
        """Turns what a library makes of a damaged file into a HomeDamaged that names the file and the way back."""
        try:
            yield
        except BaseException as error:
            if not _from_a_file(error):
                raise
            if fault := next(self.faults(table), None):
                raise HomeDamaged(str(fault)) from error
            if not isinstance(error, FileNotFoundError):
                raise
            raise HomeDamaged(
                f"{table.name}: the version asked for has lost data files ({str(error).splitlines()[0]}); `quant "
                "storage vacuum` deletes those that nobody cites, a backup of before may hold them"
            ) from error

    def _latest(self, table: Table) -> "DeltaTable":
        """The table as it stands, for readers: opened again only after a commit. Nobody may change what it returns."""
        kept = self._read.get(table.name)
        if kept and kept.is_latest():
            return kept.at
        at = self.open(table)
        self._check_sizes(table, at)
        log = self.path(table) / delta.FOLDER
        self._read[table.name] = Opened(at, log, at.version(), _identity(delta.entry(log, at.version())))
        return at

    @contextmanager
    def writing(self, table: Table) -> Generator[None]:
        """Holds the table's lock: of the processes on this machine, one writes."""
        make(self.root)
        with FileLock(self.root / f".{table.name}.lock"):
            yield

    def read(
        self,
        table: Table,
        *,
        as_of: datetime | None,
        first: date | None = None,
        last: date | None = None,
        where: Mapping[str, str | int] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        """See the port. `version` reads the table as of that commit. Days are days in UTC where the event is a time.

        Raises ContractViolation where the stored columns are not the contract's, and for what another market sees,
        which only a lane among several has; columns that the contract has added since are null.
        """
        if table.market:
            raise ContractViolation(
                f"{table.name}: there is no market of {table.market} here; declare its source under `markets`"
            )
        if (version is not None and version < 0) or not self.exists(table):
            return table.empty().select(projected(table, columns))
        keep = [within(table, first, last)]
        if as_of is not None:
            keep.append(pl.col("known_at") <= as_of)
        keep += [pl.col(column) == pl.lit(value) for column, value in (where or {}).items()]
        at = self._latest(table) if version is None else self.open(table, version)
        with self.readable(table):
            return collect(table, at, keep, projected(table, columns))

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port. Raises ContractViolation where a row has no event time: it would belong to no year."""
        given = table.conform(frame)
        if given.is_empty():
            return 0
        if nowhere := given[table.event].null_count():
            raise ContractViolation(
                f"{table.name}: {nowhere} of {given.height} rows have no {table.event}; "
                "every row is about a time, leave those out that are not"
            )
        with self.writing(table):
            for left in reversed(range(LOSSES)):
                try:
                    rows = self._unwritten(table, given)
                    if rows.height:
                        self._commit(table, rows)
                except delta.OtherCommit:  # somebody who does not hold our lock wrote first
                    if not left:
                        raise
                else:
                    return rows.height
        raise AssertionError  # pragma: no cover  # the loop returns or raises

    def _unwritten(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that do not stand yet. Raises ConflictingRow where a key stands with another content."""
        self._compared[table.name] = at = self.open(table) if self.exists(table) else self._create(table)
        with self.readable(table):
            standing = collect(
                table, at, [pl.any_horizontal(within(table, *span) for span in spans(rows[table.event]))]
            )
        same_key = standing.join(rows.select(table.key), on=table.key, how="semi")
        if same_key.is_empty():
            return rows
        content = list(table.content)
        new_content = rows.join(same_key.select(content), on=content, how="anti", nulls_equal=True)
        conflicts = new_content.join(same_key.select(table.key), on=table.key, how="semi")
        if conflicts.height:
            raise ConflictingRow(conflict(table, same_key, conflicts))
        return new_content

    def _commit(self, table: Table, rows: pl.DataFrame) -> None:
        """Write the rows onto the version they were compared with. Raises OtherCommit where that is not the latest."""
        at = self._compared.pop(table.name, None) or self._create(table)
        version = at.version()
        if lacking := set(gained(table, at)):
            version = self._alter(table, at, [f for f in fields(table).fields if f.name in lacking])
        actions = write(self.path(table), table, rows, new=True)
        self.commit(table, version + 1, "WRITE", actions, rows=str(rows.height))

    def _alter(self, table: Table, at: "DeltaTable", added: "Sequence[Field]") -> int:
        """Add columns; the version that has them."""
        from deltalake import Schema

        return self.commit(
            table, at.version() + 1, "ADD COLUMN", delta.altered(at, Schema([*at.schema().fields, *added]), {})
        )

    def commit(
        self, table: Table, version: int, operation: str, actions: Sequence[Mapping[str, Any]], **metadata: str
    ) -> int:
        """Commit actions of Delta's protocol as this version, and return it; durable when it returns. Hold the table's
        lock. Raises OtherCommit where the version is there already.
        """
        made = delta.commit(self.path(table) / delta.FOLDER, version, operation, actions, **metadata)
        self._advance(table, version, made)
        if (version + 1) % delta.INTERVAL == 0:
            delta.checkpoint(self.path(table))
        return version

    def _create(self, table: Table) -> "DeltaTable":
        """The table, empty where it is new. Its log is kept for good: it is what old versions are read by."""
        with suppress(delta.OtherCommit):
            made = delta.create(self.path(table), fields(table), PARTITION, delta.CONFIGURATION)
            self._advance(table, 0, made)
        return self.open(table)

    def _advance(self, table: Table, version: int, entry: str) -> None:
        if self._marks:
            self._marks.advance(table.name, Mark(version=version, entry=entry))


def _from_a_file(error: BaseException) -> bool:
    """Whether a library may have met a damaged file. A panic of one written in Rust is no Exception, and of a class
    that cannot be imported.
    """
    from deltalake.exceptions import DeltaError

    named = isinstance(error, DeltaError | pl.exceptions.PolarsError | OSError)
    return named or type(error).__name__ == "PanicException"
