"""What is wrong with a table on disk: entries of its log that are lost, empty or altered, checkpoints and data files
that are not what was written.

An entry names the hash of the one before it, the ledger's mark that of the newest, and an entry the hashes of its data
files: so one mark vouches for every byte that the table was reported to hold.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import msgspec
import polars as pl

from quant_assets.records import Frozen, Mark
from resources.tables import log as delta
from resources.tables.data_files import HASH

RESTORE = "`quant doctor` shows what else is, `quant restore FOLDER` brings a backup back"
UNREPORTED = (
    "the ledger has not seen it, so unless the ledger is a restored one no row of it was reported as stored: delete it"
)
REPEATS = "it only repeats the log: delete it and `_last_checkpoint` beside it"
CHECKPOINT = ".checkpoint.parquet"


class Fault(Frozen, frozen=True):
    """A file of a table that is not as it was written, by its path from the table's folder; what is wrong, and the way
    back.
    """

    table: str
    file: str
    wrong: str
    cure: str = RESTORE

    def __str__(self) -> str:
        return f"{self.table}: {self.file} {self.wrong}; {self.cure}"


class _Add(msgspec.Struct):
    path: str
    size: int
    tags: dict[str, str | None] | None = None


class _Remove(msgspec.Struct):
    path: str


class _Info(msgspec.Struct):
    previous: str | None = None


class _Action(msgspec.Struct):
    add: _Add | None = None
    remove: _Remove | None = None
    commitInfo: _Info | None = None  # noqa: N815  # the protocol's name


_ACTIONS = msgspec.json.Decoder(_Action)


class _Log(NamedTuple):
    """The names in a log: the commits and the checkpoints, by version."""

    entries: list[int]
    checkpoints: list[int]


def faults(folder: Path, mark: Mark | None) -> Iterator[Fault]:
    """Every fault of the table in `folder`; each of its files is read whole. `mark`: what the ledger has seen of it."""
    log = _log(folder)
    yield from _listed(folder, mark, log)
    yield from _entries(folder, mark, log.entries)
    yield from _checkpoints(folder, log)
    yield from _data_files(folder, log)


def in_log(folder: Path, mark: Mark | None, version: int | None = None) -> Iterator[Fault]:
    """The faults of what is read to open the table, or an earlier version of it: the entries since the last
    checkpoint. The data files are not looked at.
    """
    log = _log(folder)
    yield from _listed(folder, mark, log)
    newest = version if version is not None else max(log.entries, default=0)
    held = max((c for c in log.checkpoints if c <= newest), default=-1)
    yield from _entries(folder, mark, [n for n in log.entries if held < n <= newest or (mark and n == mark.version)])


def newest(folder: Path) -> Mark | None:
    """The mark of a table as it is on disk, for a ledger that has not seen it; None where it has no commit."""
    log = _log(folder)
    if not log.entries:
        return None
    return Mark(version=log.entries[-1], entry=delta.entry_hash((folder / _named(log.entries[-1])).read_bytes()))


def in_files(folder: Path, names: Collection[str]) -> Iterator[Fault]:
    """The faults of some data files, each read whole: before their rows are written elsewhere and vouched for anew."""
    yield from _data_files(folder, _log(folder), names)


def _log(folder: Path) -> _Log:
    try:
        with os.scandir(folder / delta.FOLDER) as files:
            names = [f.name for f in files if f.name[:20].isdecimal()]
    except (FileNotFoundError, NotADirectoryError):
        names = []
    return _Log(*(sorted(int(n[:20]) for n in names if n[20:] == ending) for ending in (".json", CHECKPOINT)))


def _named(number: int) -> str:
    return f"{delta.FOLDER}/{number:020}.json"


def _listed(folder: Path, mark: Mark | None, log: _Log) -> Iterator[Fault]:
    """What is seen from the names alone: a table that is gone or older than its mark, entries that are missing."""
    numbers = log.entries
    if mark and not numbers:
        gone = "is missing" if not folder.exists() else "has lost its log"
        yield Fault(folder.name, str(folder), f"{gone}, and held version {mark.version} by the ledger")
    elif mark and numbers[-1] < mark.version:
        older = f"is the newest commit, and the ledger has seen version {mark.version}"
        yield Fault(folder.name, _named(numbers[-1]), older)
    if not numbers:
        return
    kept = max(log.checkpoints, default=-1)  # what a foreign tool has dropped before a checkpoint is no loss
    first = 0 if numbers[0] > kept + 1 else numbers[0]
    for number in sorted({*range(first, numbers[-1])} - {*numbers}):
        yield Fault(folder.name, _named(number), "is missing")


def _entries(folder: Path, mark: Mark | None, numbers: Sequence[int]) -> Iterator[Fault]:
    """Entries that are empty, cannot be read, or are not those that the next entry or the mark names."""
    hashes: dict[int, str] = {}
    for number in numbers:
        unreported = mark is not None and number > mark.version and number == numbers[-1]
        cure = UNREPORTED if unreported else RESTORE
        content = (folder / _named(number)).read_bytes()
        hashes[number] = delta.entry_hash(content)
        if not content.strip():
            yield Fault(folder.name, _named(number), "is empty", cure)
            continue
        try:
            actions = _ACTIONS.decode_lines(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Fault(folder.name, _named(number), f"cannot be read ({error})", cure)
            continue
        named = next((a.commitInfo.previous for a in actions if a.commitInfo), None)
        if named is not None and number - 1 in hashes and hashes[number - 1] != named:
            yield Fault(folder.name, _named(number - 1), "is not as it was written: the commit after it names another")
    if mark and hashes.get(mark.version, mark.entry) != mark.entry:
        yield Fault(folder.name, _named(mark.version), "is not the commit that the ledger has seen")


def _checkpoints(folder: Path, log: _Log) -> Iterator[Fault]:
    for number in log.checkpoints:
        path = folder / delta.FOLDER / f"{number:020}{CHECKPOINT}"
        if wrong := _unreadable(path):
            yield Fault(folder.name, str(path.relative_to(folder)), wrong, REPEATS)
    last = delta.last_checkpoint(folder / delta.FOLDER)
    path = folder / delta.FOLDER / delta.LAST_CHECKPOINT
    if path.exists() and last not in log.checkpoints:
        yield Fault(folder.name, str(path.relative_to(folder)), "names no checkpoint that is there", "delete it")


def _data_files(folder: Path, log: _Log, only: Collection[str] | None = None) -> Iterator[Fault]:
    """Of the data files that the log names, those that are on disk with other bytes, and those of the current version
    that are missing.
    """
    added: dict[str, _Add] = {}
    live: set[str] = set()
    for number in log.entries:
        try:
            actions = _ACTIONS.decode_lines((folder / _named(number)).read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # reported already
        for action in actions:
            if action.remove:
                live.discard(action.remove.path)
            if action.add:
                added[action.add.path] = action.add
                live.add(action.add.path)
    for name, add in added.items() if only is None else ((n, added[n]) for n in only if n in added):
        path = folder / unquote(name)
        if not path.exists():
            if name in live:
                yield Fault(folder.name, name, "is missing")
        elif wrong := _altered(path, add):
            yield Fault(folder.name, name, wrong)


def _altered(path: Path, add: _Add) -> str:
    if (size := path.stat().st_size) != add.size:
        return f"is {size:,} bytes long and was {add.size:,}"
    wanted = (add.tags or {}).get(HASH)
    if wanted is None:  # written by a release before 0.3, or by another tool
        return _unreadable(path)
    return "" if sha256(path.read_bytes()).hexdigest() == wanted else "has other bytes than were written"


def _unreadable(path: Path) -> str:
    """Why a Parquet file cannot be read whole; empty where it can."""
    try:
        pl.read_parquet(path, hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        return f"cannot be read ({str(error).splitlines()[0]})" if str(error) else "cannot be read"
    return ""
