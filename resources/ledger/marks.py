"""The Marks port."""

from collections.abc import Mapping

from quant_assets.records import Mark
from resources.ledger.database import Database

_OF = "SELECT version, entry FROM marks WHERE name = ?"
_LISTED = "SELECT name, version, entry FROM marks ORDER BY name"
_ADVANCE = """
INSERT INTO marks (name, version, entry) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, entry = excluded.entry
WHERE excluded.version >= marks.version"""


class SqliteMarks:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, table: str) -> Mark | None:
        """See the port."""
        found = self._db.rows(_OF, table)
        return Mark(version=found[0]["version"], entry=found[0]["entry"]) if found else None

    def listed(self) -> Mapping[str, Mark]:
        """See the port."""
        return {r["name"]: Mark(version=r["version"], entry=r["entry"]) for r in self._db.rows(_LISTED)}

    def advance(self, table: str, mark: Mark) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute(_ADVANCE, (table, mark.version, mark.entry))

    def replace(self, marks: Mapping[str, Mark]) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute("DELETE FROM marks")
            tx.executemany(_ADVANCE, [(name, m.version, m.entry) for name, m in marks.items()])
