"""Opens the operational database of a home: six ports over one SQLite file."""

from dataclasses import dataclass
from pathlib import Path

from resources.ledger.audit import SqliteAudit
from resources.ledger.breaks import SqliteBreaks
from resources.ledger.database import Database
from resources.ledger.executions import SqliteExecutions
from resources.ledger.kill_switch import SqliteKillSwitch
from resources.ledger.knowledge import SqliteKnowledgeLog
from resources.ledger.outbox import SqliteOutbox
from resources.ledger.schema import SCHEMA, VERSION

FILE = "ledger.sqlite"


@dataclass(frozen=True)
class Ledger:
    """The ports of one database. No function takes it: each takes the ports that it uses."""

    knowledge: SqliteKnowledgeLog
    outbox: SqliteOutbox
    executions: SqliteExecutions
    kill_switch: SqliteKillSwitch
    breaks: SqliteBreaks
    audit: SqliteAudit


def open_ledger(home: Path) -> Ledger:
    """The ledger in a home, made where there is none. Raises ConfigurationError where it has another schema."""
    database = Database(home / FILE, SCHEMA, VERSION)
    return Ledger(
        knowledge=SqliteKnowledgeLog(database),
        outbox=SqliteOutbox(database),
        executions=SqliteExecutions(database),
        kill_switch=SqliteKillSwitch(database),
        breaks=SqliteBreaks(database),
        audit=SqliteAudit(database),
    )
