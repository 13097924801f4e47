"""Keeping the tables fast and small: compaction, vacuum, statistics. No version that somebody cites is ever lost.

Compaction writes small files together, in the order of their events; the files that it replaces still belong to
the versions before it. Vacuum deletes those that belong to no version which is cited, or stood lately.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import ConfigurationError, DataError, HomeDamaged
from quant_assets.ports import Progress, quiet
from quant_assets.records import Frozen
from resources.tables import log as delta
from resources.tables.citations import Commit, citations, history
from resources.tables.data_files import PARTITION, write
from resources.tables.faults import in_files
from resources.tables.store import DeltaStore

if TYPE_CHECKING:
    from deltalake import DeltaTable

# adjacent files of a size that are written as one; each row is rewritten log8(rows of a year / rows of a day) times
FANOUT = 8
TOGETHER = 32 << 20  # bytes that are read at once to be written together


class Retention(Frozen, frozen=True):
    """How long versions are kept that nobody cites. A running reader holds an old version for minutes: a day is the
    least.
    """

    keep_days: int = 30

    def __post_init__(self) -> None:
        if self.keep_days < 1:
            raise ConfigurationError(
                f"versions are kept for {self.keep_days} days; keep them for one at least, or a reader at work "
                "may lose its files"
            )


class Compacted(Frozen, frozen=True):
    """What compaction did to a table: files of the current version before and after, rows rewritten."""

    table: str
    before: int
    after: int
    rows: int


class Vacuumed(Frozen, frozen=True):
    """The files that belong to no version to be kept, with their bytes: deleted, or in a dry run to be deleted."""

    table: str
    files: tuple[str, ...]
    bytes: int


class Statistics(Frozen, frozen=True):
    """A table on disk. `files`, `rows`, `bytes`: of the current version; `small`: files that the next compaction
    writes together; `disk_*`: of all versions.

    `lost`: cited versions that cannot be read any more. There must be none.
    """

    table: str
    version: int
    files: int
    small: int
    rows: int
    bytes: int
    disk_files: int
    disk_bytes: int
    cited: int
    oldest_cited: int | None
    lost: tuple[int, ...]


def compact(store: DeltaStore, table: Table) -> Compacted:
    """Write adjacent small files of a table together. The rows and their order of reading stay as they are; killed
    anywhere, the table reads as before or as after.
    """
    with store.writing(table):
        at = store.open(table)
        if missing := {k: v for k, v in delta.CONFIGURATION.items() if at.metadata().configuration.get(k) != v}:
            settings = delta.altered(at, at.schema(), missing)
            at = store.open(table, store.commit(table, at.version() + 1, "SET TBLPROPERTIES", settings))
        before, rewritten = len(at.file_uris()), 0
        while run := next(
            iter(small_runs(_files(table, at))), None
        ):  # a run written may be the last that a larger one waited for
            rewritten += _together(store, table, at, run)
            at = store.open(table)
        if rewritten:
            delta.checkpoint(store.path(table))  # the next reader need not go through what was replaced
        return Compacted(table=table.name, before=before, after=len(at.file_uris()), rows=rewritten)


def _files(table: Table, at: "DeltaTable") -> list[dict[str, Any]]:
    """The data files of a version by partition and event: path, year, first, rows, bytes."""
    found = pl.DataFrame(at.get_add_actions(flatten=True))
    first = pl.col(f"min.{table.event}") if f"min.{table.event}" in found.columns else pl.lit(None)
    named = found.select("path", year=f"partition.{PARTITION}", first=first, rows="num_records", bytes="size_bytes")
    return named.sort("year", "first", "path", nulls_last=False).to_dicts()


def small_runs(files: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Stretches of at least FANOUT adjacent files of a partition that are of one order of magnitude or smaller, the
    smallest first; each of at most TOGETHER bytes.
    """
    runs: list[list[Mapping[str, Any]]] = []
    for level in sorted({_level(f) for f in files}):
        for (_, chosen), stretch in groupby(files, key=lambda f, level=level: (f[PARTITION], _level(f) <= level)):
            runs += [run for run in _pieces(stretch) if chosen and len(run) >= FANOUT]
    return runs


def _pieces(files: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    pieces, size = [list[Mapping[str, Any]]()], 0
    for file in files:
        if (size := size + file["bytes"]) > TOGETHER and pieces[-1]:
            pieces.append([])
            size = file["bytes"]
        pieces[-1].append(file)
    return pieces


def _level(file: Mapping[str, Any]) -> int:
    level, rows = 0, file["rows"] or 0
    while rows >= FANOUT:
        level, rows = level + 1, rows // FANOUT
    return level


def _together(store: DeltaStore, table: Table, at: "DeltaTable", run: Sequence[Mapping[str, Any]]) -> int:
    """Write the rows of `run` as one file, in one commit that changes no row; their number."""
    folder = store.path(table)
    for fault in in_files(folder, [f["path"] for f in run]):
        raise HomeDamaged(str(fault))
    stored = {c: t for c, t in pl.Schema(at.schema()).items() if c != PARTITION}
    parts = [
        pl.read_parquet(folder / f["path"], hive_partitioning=False, missing_columns="insert", schema=stored)
        for f in run
    ]
    rows = pl.concat(parts).sort(table.event, *table.key)
    if rows.height != sum(f["rows"] for f in run):
        raise DataError(
            f"{table.name}: {len(run)} files hold {rows.height} rows and the log says "
            f"{sum(f['rows'] for f in run)}; nothing was changed. Look at {run[0]['path']} and those after it"
        )
    now = int(datetime.now(UTC).timestamp() * 1_000)
    removed: list[dict[str, Any]] = [
        {
            "remove": {
                "path": f["path"],
                "dataChange": False,
                "deletionTimestamp": now,
                "extendedFileMetadata": True,
                "partitionValues": {PARTITION: str(f[PARTITION])},
                "size": f["bytes"],
            }
        }
        for f in run
    ]
    actions = [*write(folder, table, rows, new=False), *removed]
    store.commit(table, at.version() + 1, "WRITE", actions, compacted=str(len(run)), rows=str(rows.height))
    return rows.height


def vacuum(
    store: DeltaStore, table: Table, cited: set[int], retention: Retention, now: datetime, *, dry_run: bool
) -> Vacuumed:
    """Delete the data files that belong to no version which is cited, or stood within the days of retention; in a
    dry run say which they are.

    A decision made meanwhile cites a version that stands now, and such a version keeps all its files.
    """
    folder, before = store.path(table), now - timedelta(days=retention.keep_days)
    with store.writing(table):
        commits, live = history(folder), _live(store.open(table))
        known = set(live).union(*(c.added | c.removed for c in commits))
        gone = [folder / path for path in _unneeded(commits, cited, before) - live]
        torn = [
            p
            for p in _on_disk(folder)
            if str(p.relative_to(folder)) not in known and datetime.fromtimestamp(p.stat().st_mtime, UTC) < before
        ]
        files = sorted(p for p in (*gone, *torn) if p.exists())
        size = sum(p.stat().st_size for p in files)
        for path in files if not dry_run else ():
            path.unlink()
    return Vacuumed(table=table.name, files=tuple(str(p.relative_to(folder)) for p in files), bytes=size)


def _live(at: "DeltaTable") -> set[str]:
    return set(pl.DataFrame(at.get_add_actions())["path"])


def _on_disk(folder: Path) -> list[Path]:
    """Everything that is or was to become a data file, or a commit."""
    return [*folder.glob(f"{PARTITION}=*/*.parquet"), *(folder / "_delta_log").glob("*.tmp")]


def _unneeded(commits: Sequence[Commit], cited: set[int], before: datetime) -> set[str]:
    """The files that were taken out before a time and that no cited version holds: version v holds a file that was
    added by v and not yet removed at v.
    """
    added = {path: c.version for c in commits for path in c.added}
    out: set[str] = set()
    for commit in commits:
        if commit.at < before:
            out |= {path for path in commit.removed if not any(added.get(path, 0) <= v < commit.version for v in cited)}
    return out


def statistics(store: DeltaStore, table: Table, cited: set[int]) -> Statistics:
    """How a table lies on disk, and whether every cited version still can be read."""
    at, folder = store.open(table), store.path(table)
    files, commits = _files(table, at), history(folder)
    disk = [p for p in _on_disk(folder) if p.suffix == ".parquet"]
    return Statistics(
        table=table.name,
        version=at.version(),
        files=len(files),
        small=len({f["path"] for run in small_runs(files) for f in run}),
        rows=sum(f["rows"] for f in files),
        bytes=sum(f["bytes"] for f in files),
        disk_files=len(disk),
        disk_bytes=sum(p.stat().st_size for p in disk),
        cited=len(cited),
        oldest_cited=min(cited, default=None),
        lost=_lost(commits, cited, {str(p.relative_to(folder)) for p in disk}, at.version()),
    )


def lost_versions(folder: Path, cited: set[int]) -> tuple[int, ...]:
    """The cited versions of the table in `folder` of which the log or a file is missing."""
    commits = history(folder)
    there = {str(p.relative_to(folder)) for p in _on_disk(folder)}
    return _lost(commits, cited, there, commits[-1].version if commits else -1)


def _lost(commits: Sequence[Commit], cited: set[int], there: set[str], latest: int) -> tuple[int, ...]:
    """The cited versions of which the log or a file is missing."""
    removed = {path: c.version for c in commits for path in c.removed}
    absent = [(c.version, removed.get(path, latest + 1)) for c in commits for path in c.added if path not in there]
    first = commits[0].version if commits else latest + 1
    return tuple(v for v in sorted(cited) if v < first or v > latest or any(a <= v < b for a, b in absent))


def maintain(
    store: DeltaStore,
    tables: Iterable[Table],
    pages: Iterable[Path],
    retention: Retention,
    now: datetime,
    progress: Progress = quiet,
) -> list[tuple[Compacted, Vacuumed]]:
    """Compact and vacuum every table. Raises DataError before anything is deleted where a citation cannot be read."""
    cited, standing = citations(store, pages), [t for t in tables if store.exists(t)]
    out: list[tuple[Compacted, Vacuumed]] = []
    for done, table in enumerate(standing):
        progress(done, len(standing), table.name)
        out.append(
            (compact(store, table), vacuum(store, table, cited.get(table.name, set()), retention, now, dry_run=False))
        )
    return out
