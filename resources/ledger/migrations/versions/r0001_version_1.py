"""The ledger before it had migrations: `schema_version` 1."""

from alembic import op

revision = "0001"
down_revision = None

_STATES = "'PENDING', 'SUBMITTING', 'UNKNOWN', 'HELD', 'ACKED', 'PARTIAL', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED'"
STATEMENTS = (
    "CREATE TABLE cuts (as_of TEXT NOT NULL PRIMARY KEY) STRICT",
    """
CREATE TABLE bindings (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, decision_set_id TEXT NOT NULL,
    bound_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session)) STRICT""",
    """
CREATE TABLE divergences (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, decision_set_id TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session, decision_set_id)) STRICT""",
    f"""
CREATE TABLE orders (
    client_order_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, strategy TEXT NOT NULL, decided TEXT NOT NULL,
    session TEXT NOT NULL, good_till TEXT NOT NULL CHECK (good_till >= session), slot TEXT NOT NULL,
    sid INTEGER NOT NULL, leg TEXT NOT NULL, symbol TEXT NOT NULL,
    side INTEGER NOT NULL CHECK (side IN (-1, 1)), quantity INTEGER NOT NULL CHECK (quantity > 0),
    reference_price TEXT NOT NULL, decision_id TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ({_STATES})),
    filled INTEGER NOT NULL CHECK (filled BETWEEN 0 AND quantity), broker_order_id TEXT,
    UNIQUE (book, strategy, decided, slot, sid, leg),
    FOREIGN KEY (book, strategy, decided) REFERENCES bindings (book, strategy, session)) STRICT""",
    f"""
CREATE TABLE order_events (
    seq INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL REFERENCES orders (client_order_id),
    state TEXT NOT NULL CHECK (state IN ({_STATES})), filled INTEGER NOT NULL, reason TEXT NOT NULL,
    at TEXT NOT NULL) STRICT""",
    "CREATE INDEX order_events_of ON order_events (client_order_id)",
    """
CREATE TABLE fills (
    book TEXT NOT NULL, exec_id TEXT NOT NULL, client_order_id TEXT NOT NULL, session TEXT NOT NULL,
    sid INTEGER NOT NULL, side INTEGER NOT NULL CHECK (side IN (-1, 1)),
    quantity INTEGER NOT NULL CHECK (quantity > 0), price TEXT NOT NULL, fee TEXT NOT NULL,
    arrival_price TEXT NOT NULL, ts TEXT NOT NULL,
    PRIMARY KEY (book, exec_id)) STRICT""",
    """
CREATE TABLE kill_switch (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    reason TEXT NOT NULL) STRICT""",
    "INSERT INTO kill_switch (one, is_on, reason) VALUES (1, 0, '')",
    """
CREATE TABLE breaks (
    break_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, session TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('order', 'fill', 'position', 'cash')), subject TEXT NOT NULL,
    ours TEXT NOT NULL, theirs TEXT NOT NULL, opened_at TEXT NOT NULL, resolved_at TEXT, resolved_by TEXT,
    resolution TEXT) STRICT""",
    """
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, act TEXT NOT NULL, subject TEXT NOT NULL,
    by TEXT NOT NULL CHECK (by <> ''), reason TEXT NOT NULL) STRICT""",
    """
CREATE TABLE leases (
    account TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, until TEXT NOT NULL) STRICT""",
    "CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY) STRICT",
    "INSERT INTO schema_version (version) VALUES (1)",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
