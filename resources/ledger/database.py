"""A SQLite file that several processes and threads may use at once; every transaction is durable when it returns."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock

from quant_assets.durable import make
from quant_assets.errors import ConfigurationError, HomeDamaged

BUSY_SECONDS = 30.0
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600  # what a home holds is for its owner alone
_WAYS = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked; wait for it, or stop it",
    sqlite3.SQLITE_FULL: "the disk is full; free some space and run the command again, nothing half was stored",
    sqlite3.SQLITE_READONLY: "it cannot be written; make the file and its folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; make the file and its folder readable and writable for this user",
    sqlite3.SQLITE_IOERR: "the disk failed or is full; look at the system's log, then run `quant doctor`",
}
_DAMAGED = "it is damaged; `quant doctor` shows what else is, `quant restore FOLDER` brings a backup back"


class Database:
    """An open file, made where there is none, readable by its owner alone.

    Raises HomeDamaged where it is no database, is damaged or cannot be written; so do its methods.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RLock()
        with readable(path):
            make(path.parent, PRIVATE_FOLDER)
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self.connection.row_factory = sqlite3.Row
            with suppress(OSError):  # another user's, or on a disk that is read only: opening it shows what is wrong
                path.chmod(PRIVATE_FILE)  # SQLite gives its other files the same mode
            for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self.connection.execute(f"PRAGMA {setting}")

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """One transaction that writes, alone: committed when the block ends, undone when it raises."""
        with self._lock, readable(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk has ended it already
                    self.connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock, readable(self.path):
            return self.connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


@contextmanager
def readable(path: Path) -> Generator[None]:
    """Raises HomeDamaged, with the file and the way back, for what SQLite or the disk answers about the file.

    An IntegrityError is about a row and passes.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except (sqlite3.DatabaseError, OSError) as error:
        code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_CANTOPEN
        raise HomeDamaged(f"{path}: {_WAYS.get(code & 0xFF, _DAMAGED)} ({error})") from error


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
