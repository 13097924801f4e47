"""A SQLite file that several processes and threads may use at once; every transaction is durable when it returns."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from quant_assets.errors import ConfigurationError

BUSY_SECONDS = 30.0


class Database:
    """An open file, made where there is none."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = RLock()
        self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self.connection.row_factory = sqlite3.Row
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self.connection.execute(f"PRAGMA {setting}")

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """One transaction that writes, alone: committed when the block ends, undone when it raises."""
        with self._lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock:
            return self.connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def open_versioned(path: Path, schema: str, version: int) -> Database:
    """The database with the tables of `schema`. Raises ConfigurationError where the file has another schema version."""
    database = Database(path)
    with database.transaction() as tx:
        for statement in filter(None, map(str.strip, schema.split(";"))):
            tx.execute(statement)
        tx.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY) STRICT")
        tx.execute(
            "INSERT INTO schema_version (version) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM schema_version)", (version,)
        )
        (found,) = tx.execute("SELECT version FROM schema_version").fetchone()
    if found != version:
        raise ConfigurationError(
            f"{path} has schema version {found}, this program writes {version}; "
            "migrate the file or use the release that made it"
        )
    return database
