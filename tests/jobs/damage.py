"""What can happen to the files of a home: each kind of damage as a function of the home's folder."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from resources.ledger.open import FILE
from tests.jobs.small import PAPER

Harm = Callable[[Path], object]
VENUE = f"brokers/{PAPER.account}.sqlite"
PARQUET, ENTRY, LOG = "tables/{}/year=*/*.parquet", "tables/{}/_delta_log/*.json", "tables/{}/_delta_log"


def _flip(path: Path, at: float, width: int = 64) -> None:
    """Some bytes of a file are others."""
    content = bytearray(path.read_bytes())
    begin = min(int(len(content) * at), max(len(content) - width, 0))
    for n in range(begin, min(begin + width, len(content))):
        content[n] ^= 0xFF
    path.write_bytes(content)


def _of(home: Path, pattern: str, index: int) -> Path:
    """One of the files that match, in their order."""
    return sorted(home.glob(pattern))[index]


def flipped(pattern: str, at: float = 0.5, index: int = -1) -> Harm:
    """Bytes of a file are others; where SQLite has a log beside it, that is gone."""

    def harm(home: Path) -> None:
        path = _of(home, pattern, index)
        _settle(path)
        _flip(path, at)

    return harm


def cut(pattern: str, at: float = 0.5, index: int = -1) -> Harm:
    """A file ends early; at 0 it is empty."""

    def harm(home: Path) -> None:
        path = _of(home, pattern, index)
        _settle(path)
        os.truncate(path, int(path.stat().st_size * at))

    return harm


def gone(pattern: str, index: int = -1) -> Harm:
    """A file or folder is deleted."""

    def harm(home: Path) -> None:
        path = _of(home, pattern, index)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return harm


def filled(pattern: str, content: bytes, index: int = -1) -> Harm:
    """A file holds something else."""

    def harm(home: Path) -> None:
        path = _of(home, pattern, index) if "*" in pattern else home / pattern
        path.parent.mkdir(parents=True, exist_ok=True)
        _settle(path)
        path.write_bytes(content)

    return harm


def _settle(path: Path) -> None:
    """What SQLite keeps beside a database goes into it, so that the damage is what is read."""
    if path.suffix in {".sqlite", ".db"} and path.exists() and path.stat().st_size:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)


def folder_instead(pattern: str) -> Harm:
    """There is a folder where a file should be."""

    def harm(home: Path) -> None:
        path = home / pattern
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)

    return harm


GARBAGE = b"\x00\xff not what it was \xfe" * 400
KINDS: Mapping[str, Harm] = {
    "ledger garbage": filled(FILE, GARBAGE),
    "ledger deleted": gone(f"{FILE}"),
    "ledger empty": cut(FILE, 0),
    "ledger header flipped": flipped(FILE, 0),
    "ledger middle flipped": flipped(FILE, 0.5),
    "ledger cut off": cut(FILE, 0.6),
    "ledger is a folder": folder_instead(FILE),
    "venue garbage": filled(VENUE, GARBAGE),
    "venue deleted": gone(VENUE),
    "venue flipped": flipped(VENUE, 0.5),
    "venue cut off": cut(VENUE, 0.5),
    "data file truncated": cut(PARQUET.format("bars")),
    "data file empty": cut(PARQUET.format("bars"), 0, 0),
    "data file flipped": flipped(PARQUET.format("bars")),
    "data file of decisions flipped": flipped(PARQUET.format("decisions"), 0.3),
    "data file of nav deleted": gone(PARQUET.format("nav")),
    "model flipped": flipped(PARQUET.format("models"), 0.4),
    "model file cut off": cut(PARQUET.format("models"), 0.7),
    "log entry truncated": cut(ENTRY.format("bars")),
    "log entry empty": cut(ENTRY.format("nav"), 0),
    "log entry flipped": flipped(ENTRY.format("decisions"), 0.5),
    "first log entry empty": cut(ENTRY.format("bars"), 0, 0),
    "log entry deleted": gone(ENTRY.format("captures")),
    "log folder deleted": gone(LOG.format("bars")),
    "table deleted": gone("tables/features_*", 0),
    "table of decisions deleted": gone("tables/decisions"),
    "all tables deleted": gone("tables"),
    "checkpoint flipped": flipped("tables/*/_delta_log/*.checkpoint.parquet"),
    "last checkpoint garbage": filled("tables/*/_delta_log/_last_checkpoint", GARBAGE),
    "heartbeat garbage": filled("heartbeat.json", GARBAGE),
    "heartbeat empty": cut("heartbeat.json", 0),
    "notifications garbage": filled("notifications.jsonl", GARBAGE),
    "notifications is a folder": folder_instead("notifications.jsonl"),
    "deployment.yaml garbage": filled("deployment.yaml", GARBAGE),
    "deployment.yaml flipped": flipped("deployment.yaml"),
    "deployment.yaml empty": cut("deployment.yaml", 0),
    "dagster.yaml garbage": filled("dagster/dagster.yaml", b"storage: [\n"),
    "dagster.yaml bytes": filled("dagster/dagster.yaml", GARBAGE),
    "dagster history garbage": filled("dagster/**/index.db", GARBAGE),
    "dagster runs garbage": filled("dagster/**/runs.db", GARBAGE),
    "a page is garbage": filled("reports/*.html", GARBAGE),
    "lock is a folder": folder_instead(".run.lock"),
}
"""The catalogue, by name."""
