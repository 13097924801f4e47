"""Kill switches by scope, leases that name their process, fees that come apart, cursors of the venues' records."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "ALTER TABLE kill_switch RENAME TO kill_switch_0001",
    """
CREATE TABLE kill_switch (
    scope TEXT NOT NULL PRIMARY KEY, is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)), reason TEXT NOT NULL) STRICT""",
    "INSERT INTO kill_switch (scope, is_on, reason) SELECT 'all', is_on, reason FROM kill_switch_0001",
    "DROP TABLE kill_switch_0001",
    "ALTER TABLE leases RENAME TO leases_0001",
    """
CREATE TABLE leases (
    account TEXT NOT NULL PRIMARY KEY, token INTEGER NOT NULL, until TEXT NOT NULL, holder TEXT NOT NULL,
    host TEXT NOT NULL, boot TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL) STRICT""",
    # released: whoever migrates holds the home's lock; tokens go on rising
    "INSERT INTO leases SELECT account, token, '', '', '', '', 0, '' FROM leases_0001",
    "DROP TABLE leases_0001",
    """
CREATE TABLE fees (
    book TEXT NOT NULL, exec_id TEXT NOT NULL, session TEXT NOT NULL, fee TEXT NOT NULL,
    PRIMARY KEY (book, exec_id)) STRICT""",
    "CREATE TABLE cursors (book TEXT NOT NULL PRIMARY KEY, cursor TEXT NOT NULL) STRICT",
    "DROP TABLE schema_version",
)


def upgrade() -> None:
    """Add and rewrite tables; every row that they held is kept."""
    for statement in STATEMENTS:
        op.execute(statement)
