"""Tables on Delta Lake: append only, one writer by file lock, read as of any time or version.

A read collects, filters in memory and sorts by the table's key, so that what is computed from it has the
same bits however the files lie. A writer commits onto the very version whose rows it compared with: where
another one came in between, lock or no lock, it compares again.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from filelock import FileLock

from quant_assets.contract import Table
from quant_assets.errors import ConflictingRow, ContractViolation
from resources.tables.data_files import PARTITION, write

if TYPE_CHECKING:
    from deltalake import DeltaTable, PostCommitHookProperties, Schema

CONFIGURATION = {
    "delta.checkpointInterval": "10",  # commits after which a checkpoint spares the next reader the log's small files
    "delta.enableExpiredLogCleanup": "false",  # or a checkpoint drops the log of every version older than thirty days
}
LOSSES = 100  # commits that may be lost to other writers before one gives up
SPANS = 8  # stretches of days that one comparison looks up apart


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
            and not _entry(self.log, self.version + 1).exists()
            and _identity(_entry(self.log, self.version)) == self.entry
        )


def _entry(log: Path, version: int) -> Path:
    return log / f"{version:020}.json"


def _identity(file: Path) -> tuple[int, int, int] | None:
    """Which file lies there, and when it was written; None where none does."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class DeltaStore:
    """The Store port on a folder of Delta tables, partitioned by the year of the event column."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[str, Opened] = {}  # by table: the version read last
        # by table: the version that `_unwritten` looked at, for `_commit`; used under the table's lock only
        self._compared: dict[str, DeltaTable] = {}

    def path(self, table: Table) -> Path:
        """The folder of a table."""
        return self.root / table.name

    def exists(self, table: Table) -> bool:
        """Whether anything was ever committed to the table."""
        log = self.path(table) / "_delta_log"
        # the first commit is kept for good; only a foreign tool drops it
        return _entry(log, 0).exists() or any(log.glob("*.json"))

    def version(self, table: Table) -> int:
        """The table's current version; -1 where it does not exist yet."""
        return self._latest(table).version() if self.exists(table) else -1

    def open(self, table: Table, version: int | None = None) -> "DeltaTable":
        """The Delta table as it stands, or stood after the commit `version`."""
        from deltalake import DeltaTable

        return DeltaTable(self.path(table), version=version)

    def _latest(self, table: Table) -> "DeltaTable":
        """The table as it stands, for readers: opened again only after a commit. Nobody may change what it returns."""
        kept = self._read.get(table.name)
        if kept and kept.is_latest():
            return kept.at
        at = self.open(table)
        log = self.path(table) / "_delta_log"
        self._read[table.name] = Opened(at, log, at.version(), _identity(_entry(log, at.version())))
        return at

    @contextmanager
    def writing(self, table: Table) -> Generator[None]:
        """Holds the table's lock: of the processes on this machine, one writes."""
        self.root.mkdir(parents=True, exist_ok=True)
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

        Raises ContractViolation where the stored columns are not the contract's; columns that the contract has added
        since are null.
        """
        if (version is not None and version < 0) or not self.exists(table):
            return table.empty().select(_projected(table, columns))
        keep = [_within(table, first, last)]
        if as_of is not None:
            keep.append(pl.col("known_at") <= as_of)
        keep += [pl.col(column) == pl.lit(value) for column, value in (where or {}).items()]
        at = self._latest(table) if version is None else self.open(table, version)
        return _collect(table, at, keep, _projected(table, columns))

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port. Raises ContractViolation where a row has no event time: it would belong to no year."""
        from deltalake.exceptions import CommitFailedError

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
                except CommitFailedError:  # somebody who does not hold our lock wrote first
                    if not left:
                        raise
                else:
                    return rows.height
        raise AssertionError  # pragma: no cover  # the loop returns or raises

    def _unwritten(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that do not stand yet. Raises ConflictingRow where a key stands with another content."""
        self._compared[table.name] = at = self.open(table) if self.exists(table) else self._create(table)
        standing = _collect(table, at, [pl.any_horizontal(_within(table, *span) for span in _spans(rows[table.event]))])
        same_key = standing.join(rows.select(table.key), on=table.key, how="semi")
        if same_key.is_empty():
            return rows
        content = list(table.content)
        new_content = rows.join(same_key.select(content), on=content, how="anti", nulls_equal=True)
        conflicts = new_content.join(same_key.select(table.key), on=table.key, how="semi")
        if conflicts.height:
            key = conflicts.select(table.key).row(0, named=True)
            ours, theirs = (
                f.filter(pl.all_horizontal(pl.col(c) == pl.lit(v) for c, v in key.items())).row(0, named=True)
                for f in (conflicts, same_key)
            )
            differ = {c: (theirs[c], ours[c]) for c in content if theirs[c] != ours[c]}
            raise ConflictingRow(
                f"{table.name}: {conflicts.height} row(s) stand already with another content; "
                f"{key}: (stands, given) {differ}"
            )
        return new_content

    def _commit(self, table: Table, rows: pl.DataFrame) -> None:
        """Write the rows onto the version they were compared with. Raises CommitFailedError where that is not the
        latest.
        """
        from deltalake import CommitProperties
        from deltalake.transaction import AddAction, RemoveAction

        at = self._compared.pop(table.name, None) or self._create(table)
        if added := set(_added(table, at)):
            at.alter.add_columns(
                [f for f in _fields(table).fields if f.name in added], post_commithook_properties=keep_log()
            )
        actions: list[AddAction | RemoveAction] = [*write(self.path(table), table, rows, new=True)]
        told = CommitProperties(custom_metadata={"rows": str(rows.height)}, max_commit_retries=0)
        at.create_write_transaction(
            actions, "append", at.schema(), [PARTITION], commit_properties=told, post_commithook_properties=keep_log()
        )

    def _create(self, table: Table) -> "DeltaTable":
        """The table, empty where it is new. Its log is kept for good: it is what old versions are read by."""
        from deltalake import DeltaTable

        return DeltaTable.create(
            self.path(table), _fields(table), mode="ignore", partition_by=[PARTITION], configuration=CONFIGURATION
        )


def keep_log() -> "PostCommitHookProperties":
    """For every commit to a table: left to itself, a checkpoint drops the log of all versions older than thirty days,
    the cited ones too.
    """
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(cleanup_expired_logs=False)


def _fields(table: Table) -> "Schema":
    """The stored columns of a table, as Delta names their types."""
    from deltalake import Schema

    return Schema.from_arrow(table.empty().with_columns(pl.lit(0, dtype=pl.Int32).alias(PARTITION)).to_arrow().schema)


def _within(table: Table, first: date | None, last: date | None) -> pl.Expr:
    """Whether a row's event lies in [first, last], said so that partitions and files without such a row are not
    opened.
    """
    event, instants = pl.col(table.event), isinstance(table.schema[table.event], pl.Datetime)
    keep = [pl.lit(value=True)]
    if first is not None:
        keep += [
            pl.col(PARTITION) >= first.year,
            event >= (datetime.combine(first, time.min, UTC) if instants else first),
        ]
    if last is not None:
        keep += [pl.col(PARTITION) <= last.year, event <= (datetime.combine(last, time.max, UTC) if instants else last)]
    return pl.all_horizontal(keep)


def _spans(events: pl.Series) -> list[tuple[date, date]]:
    """The stretches of days on which the events lie, at most SPANS: a late row of an old session must not make the
    years between be read.
    """
    days: list[date] = events.cast(pl.Date).unique().sort().to_list()
    widest = sorted(
        ((b - a, i) for i, (a, b) in enumerate(pairwise(days), 1) if b - a > timedelta(days=4)), reverse=True
    )
    cuts = sorted(i for _, i in widest[: SPANS - 1])
    return [(days[a], days[b - 1]) for a, b in zip([0, *cuts], [*cuts, len(days)], strict=True)]


def _added(table: Table, at: "DeltaTable") -> list[str]:
    """The columns that the contract has and the stored table has not, yet. Raises ContractViolation where the two
    cannot be brought together.
    """
    stored = {c: t for c, t in pl.Schema(at.schema()).items() if c != PARTITION}
    contract = pl.Schema(table.schema)
    added = [c for c in contract if c not in stored]
    wrong = {c: (stored[c], contract.get(c)) for c in stored if stored[c] != contract.get(c)}
    if wrong or set(added) & {*table.key, table.event}:
        raise ContractViolation(
            f"{table.name}: the stored table and its contract do not fit. "
            f"Stored, in version {at.version()}: {_told(stored)}; the contract: {_told(contract)}. "
            f"Otherwise stored (stored, contract): { ({c: (str(a), str(b)) for c, (a, b) in wrong.items()}) }; "
            f"not stored: {added}. A contract may only gain columns outside its key: use the release that wrote the "
            "table, or export it, rename the folder and append again under the new contract"
        )
    return added


def _told(schema: Mapping[str, pl.DataType]) -> str:
    return ", ".join(f"{c} {t}" for c, t in schema.items())


def _projected(table: Table, columns: Sequence[str] | None) -> list[str]:
    """`columns` and the key, or all, in stored order."""
    return [c for c in table.schema if columns is None or c in columns or c in table.key]


def _collect(table: Table, at: "DeltaTable", keep: list[pl.Expr], columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows that satisfy all of `keep`, in stored column order, sorted by key."""
    missing = _added(table, at)
    rows = (
        pl.scan_delta(at)
        .with_columns(pl.lit(None, dtype=table.schema[c]).alias(c) for c in missing)
        .filter(keep)
        .select(columns or list(table.schema))
    )
    return rows.collect(engine="in-memory").sort(table.key)
