"""The Audit port: every act of a person, appended."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from sqlite3 import Connection

from quant_assets.errors import ExecutionError
from resources.ledger.database import Database
from resources.ledger.rows import insert, utc


def record(tx: Connection, act: str, subject: str, *, by: str, reason: str, now: datetime) -> None:
    """Append an act in the transaction that carries it out. Raises ExecutionError where nobody is named."""
    if not by.strip():
        raise ExecutionError(f"{act}: say who does it (by); every act of a person is on record")
    insert(tx, "audit", {"at": utc(now), "act": act, "subject": subject, "by": by, "reason": reason})


class SqliteAudit:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, act: str, subject: str, *, by: str, reason: str, now: datetime) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            record(tx, act, subject, by=by, reason=reason, now=now)

    def acts(self) -> Sequence[Mapping[str, str]]:
        """See the port."""
        return [dict(r) for r in self._db.rows("SELECT at, act, subject, by, reason FROM audit ORDER BY seq")]
