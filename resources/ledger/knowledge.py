"""The KnowledgeLog port: the cuts that were read."""

from datetime import datetime

from resources.ledger.database import Database
from resources.ledger.rows import utc


class SqliteKnowledgeLog:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def note_cut(self, as_of: datetime) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute("INSERT INTO cuts (as_of) VALUES (?) ON CONFLICT DO NOTHING", (utc(as_of),))

    def latest_cut(self) -> datetime | None:
        """See the port."""
        (latest,) = self._db.rows("SELECT max(as_of) FROM cuts")[0]
        return None if latest is None else datetime.fromisoformat(latest)
