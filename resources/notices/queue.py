"""The queue of notices in a home: a small database of its own, apart from the ledger. Putting a notice in is one local
write; nothing is sent by it.

A notice that comes again while its cause is recent is counted on the first one.
"""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quant_assets.errors import ConfigurationError
from quant_assets.records import Frozen, Notice, content_id

FILE = "notices.sqlite"
BUSY_SECONDS = 2.0
SAME = timedelta(minutes=30)  # a cause that comes again within this time is no other notice
TRIGGER, ACKNOWLEDGE = "trigger", "acknowledge"
_TABLES = (
    """CREATE TABLE IF NOT EXISTS notices (
    id TEXT NOT NULL PRIMARY KEY, at TEXT NOT NULL, last TEXT NOT NULL, severity TEXT NOT NULL, subject TEXT NOT NULL,
    body TEXT NOT NULL, times INTEGER NOT NULL, by TEXT NOT NULL DEFAULT '') STRICT""",
    """CREATE TABLE IF NOT EXISTS sends (
    id TEXT NOT NULL, channel TEXT NOT NULL, what TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL,
    due TEXT NOT NULL, error TEXT NOT NULL, PRIMARY KEY (id, channel, what)) STRICT""",
)
_SUBJECT = (
    "SELECT id FROM notices WHERE severity = ? AND subject = ? AND by = '' AND last >= ? ORDER BY at DESC LIMIT 1"
)
_WAITING = """
SELECT n.*, s.channel, s.what, s.tries, s.error FROM sends s JOIN notices n USING (id)
WHERE s.state = 'waiting' AND s.due <= ? ORDER BY n.severity = 'critical' DESC, n.at, s.channel"""
_OPEN = "SELECT * FROM notices WHERE severity = 'critical' AND by = '' ORDER BY at"
_PUT = """
INSERT INTO sends (id, channel, what, state, tries, due, error) VALUES (?, ?, ?, 'waiting', 0, ?, '')
ON CONFLICT DO UPDATE SET state = 'waiting', tries = 0, due = excluded.due"""
_LISTED = """
SELECT n.*, (SELECT group_concat(channel || ' ' || state, ', ') FROM sends s WHERE s.id = n.id) sent
FROM notices n ORDER BY at DESC LIMIT ?"""


class Sending(Frozen, frozen=True):
    """A notice that waits for a channel, and how often it was tried; `error` is that of the last try."""

    notice: Notice
    channel: str
    what: str
    tries: int
    error: str


class Queue:
    """The notices of a home."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            for statement in _TABLES:
                db.execute(statement)
            db.execute("BEGIN IMMEDIATE")
            with db:
                yield db

    def put(self, severity: str, subject: str, body: str, channel: str | None, now: datetime) -> str:
        """Store a notice, to be sent by a channel if there is one; return its id, or that of the first of its cause."""
        at = _text(now)
        with self._open() as db:
            found = db.execute(_SUBJECT, (severity, subject, _text(now - SAME))).fetchone()
            if found is not None:
                change = "UPDATE notices SET last = ?, body = ?, times = times + 1 WHERE id = ?"
                db.execute(change, (at, body, found["id"]))
                return found["id"]
            key = content_id(severity, subject, at, length=10)
            db.execute(
                "INSERT OR IGNORE INTO notices (id, at, last, severity, subject, body, times) VALUES (?,?,?,?,?,?,1)",
                (key, at, at, severity, subject, body),
            )
            if channel is not None:
                db.execute(_PUT, (key, channel, TRIGGER, at))
            return key

    def waiting(self, now: datetime) -> Sequence[Sending]:
        """What is due to be sent, critical ones first."""
        if not self.path.exists():
            return []
        with self._open() as db:
            rows = db.execute(_WAITING, (_text(now),)).fetchall()
        return [Sending(_notice(r), r["channel"], r["what"], r["tries"], r["error"]) for r in rows]

    def unanswered(self) -> Sequence[Notice]:
        """Critical notices that are not acknowledged, oldest first."""
        if not self.path.exists():
            return []
        with self._open() as db:
            return [_notice(r) for r in db.execute(_OPEN).fetchall()]

    def again(self, key: str, channel: str, *, before: datetime, now: datetime) -> None:
        """Put a notice in again for a channel, unless it waits there or was sent after `before`."""
        with self._open() as db:
            row = db.execute(
                "SELECT state, due FROM sends WHERE id = ? AND channel = ? AND what = ?", (key, channel, TRIGGER)
            ).fetchone()
            if row is None or (row["state"] != "waiting" and row["due"] <= _text(before)):
                db.execute(_PUT, (key, channel, TRIGGER, _text(now)))

    def mark(self, one: Sending, state: str, *, tries: int, due: datetime, error: str) -> None:
        """Record how a try ended: sent, waiting (until `due`) or dead."""
        with self._open() as db:
            db.execute(
                "UPDATE sends SET state = ?, tries = ?, due = ?, error = ? WHERE id = ? AND channel = ? AND what = ?",
                (state, tries, _text(due), error, one.notice.id, one.channel, one.what),
            )

    def acknowledge(self, key: str, by: str, now: datetime, pagers: Sequence[str]) -> Notice:
        """Record who looks after a notice; where it was sent by a pager, that is to be informed.

        Raises ConfigurationError where no such notice is open.
        """
        if self.path.exists():
            with self._open() as db:
                found = db.execute("SELECT * FROM notices WHERE id = ? AND by = ''", (key,)).fetchone()
                if found is not None:
                    db.execute("UPDATE notices SET by = ? WHERE id = ?", (by, key))
                    sent = db.execute("SELECT channel FROM sends WHERE id = ? AND state = 'sent'", (key,)).fetchall()
                    db.execute("DELETE FROM sends WHERE id = ? AND state = 'waiting'", (key,))
                    for channel in {r["channel"] for r in sent} & set(pagers):
                        db.execute(_PUT, (key, channel, ACKNOWLEDGE, _text(now)))
                    return _notice(found)
        raise ConfigurationError(f"no open notice has the id {key!r}; `quant notices` lists them")

    def listed(self, limit: int = 100) -> Sequence[dict[str, object]]:
        """The latest notices, newest first, with where each was sent."""
        if not self.path.exists():
            return []
        with self._open() as db:
            return [dict(r) for r in db.execute(_LISTED, (limit,)).fetchall()]


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _notice(row: sqlite3.Row) -> Notice:
    return Notice(
        row["id"],
        datetime.fromisoformat(row["at"]),
        datetime.fromisoformat(row["last"]),
        row["severity"],
        row["subject"],
        row["body"],
        row["times"],
        row["by"],
    )
