"""The Facts port."""

from collections.abc import Mapping
from datetime import date, datetime

from resources.ledger.database import Database
from resources.ledger.rows import utc

_RECORD = """
INSERT INTO facts (name, session, slot, fact, detail, at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET detail = excluded.detail, at = excluded.at"""
_RECORDED = "SELECT session, fact, detail FROM facts WHERE name = ? AND slot = ? ORDER BY session, fact"


class SqliteFacts:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, name: str, session: date, slot: str, fact: str, detail: str, *, now: datetime) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute(_RECORD, (name, session.isoformat(), slot, fact, detail, utc(now)))

    def recorded(self, name: str, slot: str) -> Mapping[date, Mapping[str, str]]:
        """See the port."""
        found: dict[date, dict[str, str]] = {}
        for row in self._db.rows(_RECORDED, name, slot):
            found.setdefault(date.fromisoformat(row["session"]), {})[row["fact"]] = row["detail"]
        return found
