"""Backs a home up: the ledger, then the tables, then everything else, each file once.

In this order a backup is consistent whatever is written meanwhile: the ledger's marks are of tables that are at least
as new in the backup, and the venue knows at least what the ledger knows. Runs wait, by the home's lock.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from desk.backup.manifest import POINTER, Entry, Manifest, load, name_at, names, note_backup, object_path, save
from desk.backup.swap import ASIDE, STAGE
from desk.ledger import TABLES, ledger_of
from desk.lock import only_run
from quant_assets import durable
from quant_assets.errors import ConfigurationError, HomeDamaged
from quant_assets.ports import Progress, quiet
from quant_assets.records import Frozen
from resources.ledger.database import BUSY_SECONDS, PRIVATE_FOLDER, readable
from resources.ledger.open import FILE

CHUNK = 1 << 20
DATABASES = (".sqlite", ".db")
LEFT_OUT = (".lock", "-wal", "-shm", "-journal", ".part", ".tmp")


class Backup(Frozen, frozen=True):
    """A backup that was made; `copied` files with `bytes` were new, the others had been copied before."""

    manifest: Manifest
    copied: int
    bytes: int


class _Copies:
    """Copies files into a folder of backups, each content once."""

    def __init__(self, folder: Path, before: Mapping[str, Entry]) -> None:
        self._folder = folder
        self._before = before
        self._touched: set[Path] = set()
        self.copied = 0
        self.bytes = 0

    def entry(self, home: Path, path: Path) -> Entry:
        """The file's entry, its content copied unless it was before."""
        found, name = path.stat(), str(path.relative_to(home))
        known = self._before.get(name)
        unchanged = known and (known.size, known.modified, known.inode) == (
            found.st_size,
            found.st_mtime_ns,
            found.st_ino,
        )
        if known and unchanged and object_path(self._folder, known.sha256).exists():
            return known
        digest, size = self._copy(path)
        return Entry(path=name, sha256=digest, size=size, modified=found.st_mtime_ns, inode=found.st_ino)

    def database(self, home: Path, path: Path) -> Entry:
        """The entry of a SQLite file: of a copy of one moment, whoever writes meanwhile."""
        part = self._folder / f".{uuid4()}.part"
        try:
            with readable(path), closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as source:
                source.execute("VACUUM INTO ?", (str(part),))
            with closing(sqlite3.connect(part)) as copy:
                (answer,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
            if answer != "ok":
                raise HomeDamaged(f"{path} is damaged ({answer}); restore it first: `quant doctor` shows how")
            digest, size = self._copy(part)
        finally:
            part.unlink(missing_ok=True)
        return Entry(path=str(path.relative_to(home)), sha256=digest, size=size, modified=0, inode=0)

    def sync(self) -> None:
        """Make the names of all copies durable."""
        durable.sync(*sorted(self._touched))

    def _copy(self, path: Path) -> tuple[str, int]:
        part, digest, size = self._folder / f".{uuid4()}.part", sha256(), 0
        try:
            with path.open("rb") as source, part.open("wb") as copy:
                while piece := source.read(CHUNK):
                    digest.update(piece)
                    copy.write(piece)
                    size += len(piece)
                copy.flush()
                os.fsync(copy.fileno())
            to = object_path(self._folder, digest.hexdigest())
            if not to.exists() or to.stat().st_size != size:
                durable.make(to.parent)
                part.replace(to)
                self._touched.add(to.parent)
                self.copied, self.bytes = self.copied + 1, self.bytes + size
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest(), size


def backup(home: Path, folder: Path, now: datetime, progress: Progress = quiet) -> Backup:
    """Back a home up into a folder; durable when it returns. Killed anywhere, the next one goes on.

    Raises HomeDamaged where the ledger is lost or a database is damaged, ConfigurationError where there is no home or
    the folder lies in it.
    """
    if not home.is_dir():
        raise ConfigurationError(f"{home} does not exist: there is nothing to back up")
    if folder.resolve().is_relative_to(home.resolve()):
        raise ConfigurationError(f"{folder} lies in the home itself; name a folder outside of it, on another disk")
    with only_run(home):
        ledger_of(home)  # a home that has lost its ledger is no backup
        durable.make(folder)
        folder.chmod(PRIVATE_FOLDER)
        earlier = names(folder)
        name = name_at(now)
        if name in earlier:
            raise ConfigurationError(f"{folder} has a backup {name} already; wait a second")
        before = {e.path: e for e in load(folder, earlier[-1]).entries} if earlier else {}
        copies = _Copies(folder, before)
        manifest = Manifest(name=name, at=now, home=str(home), entries=tuple(_entries(home, copies, progress)))
        copies.sync()
        save(folder, manifest)
        note_backup(home, folder, manifest)
    return Backup(manifest=manifest, copied=copies.copied, bytes=copies.bytes)


def _entries(home: Path, copies: _Copies, progress: Progress) -> Iterator[Entry]:
    yield copies.database(home, home / FILE)
    tables = sorted(log.parent for log in (home / TABLES).glob("*/_delta_log"))
    for done, table in enumerate(tables):
        progress(done, len(tables), f"table {table.name}")
        with FileLock(table.with_name(f".{table.name}.lock")):  # no commit and no vacuum meanwhile
            files = [p for p in sorted(table.rglob("*")) if p.is_file() and not p.name.endswith(LEFT_OUT)]
            for path in files:
                yield copies.entry(home, path)
    others = [p for p in _others(home) if p != home / FILE]
    for done, path in enumerate(others):
        progress(done, len(others), str(path.relative_to(home)))
        if path.suffix in DATABASES:
            yield copies.database(home, path)
        elif path.exists():  # a page may be replaced meanwhile
            yield copies.entry(home, path)


def _others(home: Path) -> Iterator[Path]:
    """The files of a home outside its tables, without those that live only while a process does."""
    for top in sorted(home.iterdir()):
        if top.name in {TABLES, POINTER, STAGE} or top.name.startswith(ASIDE):
            continue
        for path in (top, *sorted(top.rglob("*"))):
            if path.is_file() and not path.is_symlink() and not path.name.endswith(LEFT_OUT):
                yield path
