"""The Audit port: every act of a person, appended to a chain of hashes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from sqlite3 import Connection

from quant_assets.acts import BEGINNING, chained
from quant_assets.errors import ExecutionError
from resources.ledger.database import Database
from resources.ledger.rows import insert, utc


def record(tx: Connection, act: str, subject: str, *, by: str, reason: str, now: datetime) -> None:
    """Append an act in the transaction that carries it out. Raises ExecutionError where nobody is named."""
    if not by.strip():
        raise ExecutionError(f"{act}: say who does it (by); every act of a person is on record")
    last = tx.execute("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    values = {"at": utc(now), "act": act, "subject": subject, "by": by, "reason": reason}
    insert(tx, "audit", {**values, "hash": chained(last["hash"] if last else BEGINNING, values)})


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
        return [dict(r) for r in self._db.rows("SELECT at, act, subject, by, reason, hash FROM audit ORDER BY seq")]
