"""Opens the operational database of a home: its ports over one SQLite file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Connection

from quant_assets.errors import ConfigurationError, HomeDamaged
from resources.ledger.audit import SqliteAudit
from resources.ledger.breaks import SqliteBreaks
from resources.ledger.database import Database, readable
from resources.ledger.entries import SqliteEntries
from resources.ledger.executions import SqliteExecutions
from resources.ledger.facts import SqliteFacts
from resources.ledger.kill_switch import SqliteKillSwitch
from resources.ledger.knowledge import SqliteKnowledgeLog
from resources.ledger.marks import SqliteMarks
from resources.ledger.outbox import SqliteOutbox

FILE = "ledger.sqlite"
REVISION = "0004"  # the newest migration; without Alembic here, whose import costs a second
TABLES = frozenset(
    {"cuts", "bindings", "divergences", "orders", "order_events", "fills", "fees", "cursors", "kill_switch", "breaks"}
    | {"audit", "entries", "facts", "marks", "leases", "market_cuts", "parts"}
)
_VERSIONS = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'schema_version')"
_NAMES = "SELECT name FROM sqlite_master WHERE type = 'table'"
_STAMP = (
    "CREATE TABLE alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


@dataclass(frozen=True)
class Ledger:
    """The ports of one database. No function takes it: each takes the ports that it uses. `knowledge_of`: what was read
    of a market that is not the deployment's own, by its calendar.
    """

    knowledge: SqliteKnowledgeLog
    outbox: SqliteOutbox
    executions: SqliteExecutions
    kill_switch: SqliteKillSwitch
    breaks: SqliteBreaks
    entries: SqliteEntries
    audit: SqliteAudit
    facts: SqliteFacts
    marks: SqliteMarks
    knowledge_of: Callable[[str], SqliteKnowledgeLog]


def open_ledger(home: Path) -> Ledger:
    """The ledger in a home, made where there is none.

    Raises ConfigurationError where it has another schema, HomeDamaged where it cannot be read or has lost tables.
    """
    database = Database(home / FILE)
    with readable(database.path):
        found = revision(database.connection)
    if found is None:
        with database.transaction() as tx:
            if revision(tx) is None:  # no other process was first
                _create(tx)
    elif found != REVISION:
        database.close()
        raise ConfigurationError(
            f"{database.path} has schema {found}, this release writes {REVISION}: "
            + ("run `quant migrate`" if found < REVISION else "use the release that wrote it")
        )
    elif lost := TABLES - {name for (name,) in database.rows(_NAMES)}:
        database.close()
        raise HomeDamaged(
            f"{database.path} has lost its tables {', '.join(sorted(lost))}; restore it from a backup with "
            "`quant restore FOLDER --only ledger.sqlite`"
        )
    return Ledger(
        knowledge=SqliteKnowledgeLog(database),
        outbox=SqliteOutbox(database),
        executions=SqliteExecutions(database),
        kill_switch=SqliteKillSwitch(database),
        breaks=SqliteBreaks(database),
        entries=SqliteEntries(database),
        audit=SqliteAudit(database),
        facts=SqliteFacts(database),
        marks=SqliteMarks(database),
        knowledge_of=partial(SqliteKnowledgeLog, database),
    )


def revision(connection: Connection) -> str | None:
    """The schema that a database has; None where it is empty. `0001` was written before migrations existed."""
    names = {name for (name,) in connection.execute(_VERSIONS).fetchall()}
    if "alembic_version" in names:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None
    if "schema_version" in names:
        row = connection.execute("SELECT version FROM schema_version").fetchone()
        return f"{row[0]:04d}" if row else None
    return None


def _create(tx: Connection) -> None:
    from resources.ledger.schema import create_statements

    for statement in (*create_statements(), _STAMP):
        tx.execute(statement)
    tx.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (REVISION,))
