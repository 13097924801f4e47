"""Hashes of orders and acts, corrections of fills, what people book, facts of a session, high-water marks of tables."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE orders ADD COLUMN hash TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE fills ADD COLUMN corrects TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT ''",
    """
CREATE TABLE entries (
    entry_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, session TEXT NOT NULL, sid INTEGER NOT NULL,
    quantity INTEGER NOT NULL, amount TEXT NOT NULL, corrects TEXT NOT NULL, by TEXT NOT NULL CHECK (by <> ''),
    reason TEXT NOT NULL, at TEXT NOT NULL) STRICT""",
    """
CREATE TABLE facts (
    name TEXT NOT NULL, session TEXT NOT NULL, slot TEXT NOT NULL, fact TEXT NOT NULL, detail TEXT NOT NULL,
    at TEXT NOT NULL, PRIMARY KEY (name, session, slot, fact)) STRICT""",
    "CREATE TABLE marks (name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, entry TEXT NOT NULL) STRICT",
)


def upgrade() -> None:
    """Add columns and tables; every row is kept."""
    for statement in STATEMENTS:
        op.execute(statement)
