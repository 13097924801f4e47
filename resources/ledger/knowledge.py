"""The KnowledgeLog port: the cuts that were read."""

from datetime import datetime

from resources.ledger.database import Database
from resources.ledger.rows import utc


class SqliteKnowledgeLog:
    """See the port. What arrives in one market is behind the cuts that were read of it, and of no other one: `market`
    is its calendar, or empty for the deployment's own.
    """

    def __init__(self, database: Database, market: str = "") -> None:
        self._db = database
        self._market = market

    def note_cut(self, as_of: datetime) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            if self._market:
                values = (self._market, utc(as_of))
                tx.execute("INSERT INTO market_cuts (market, as_of) VALUES (?, ?) ON CONFLICT DO NOTHING", values)
            else:
                tx.execute("INSERT INTO cuts (as_of) VALUES (?) ON CONFLICT DO NOTHING", (utc(as_of),))

    def latest_cut(self) -> datetime | None:
        """See the port."""
        query = "SELECT max(as_of) FROM market_cuts WHERE market = ?"
        found = self._db.rows(query, self._market) if self._market else self._db.rows("SELECT max(as_of) FROM cuts")
        (latest,) = found[0]
        return None if latest is None else datetime.fromisoformat(latest)
