"""What was read of each market up to when; several markets, moments and slots in one home."""

from alembic import op

revision = "0004"
down_revision = "0003"

_STATES = "'PENDING', 'SUBMITTING', 'UNKNOWN', 'HELD', 'ACKED', 'PARTIAL', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED'"
_ORDER = (
    "client_order_id, book, strategy, decided, session, good_till, slot, sid, leg, symbol, side, quantity, "
    "reference_price, decision_id, state, filled, broker_order_id, hash"
)
# a table that others refer to is made beside the old one and takes its name, so that they go on referring to that name
STATEMENTS = (
    """
CREATE TABLE market_cuts (
    market TEXT NOT NULL, as_of TEXT NOT NULL, PRIMARY KEY (market, as_of)) STRICT""",
    """
CREATE TABLE bindings_0004 (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, slot TEXT NOT NULL,
    decision_set_id TEXT NOT NULL, bound_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session, slot)) STRICT""",
    "INSERT INTO bindings_0004 SELECT book, strategy, session, 'open', decision_set_id, bound_at FROM bindings",
    "DROP TABLE bindings",
    "ALTER TABLE bindings_0004 RENAME TO bindings",
    """
CREATE TABLE divergences_0004 (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, slot TEXT NOT NULL,
    decision_set_id TEXT NOT NULL, seen_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session, slot, decision_set_id)) STRICT""",
    "INSERT INTO divergences_0004 SELECT book, strategy, session, 'open', decision_set_id, seen_at FROM divergences",
    "DROP TABLE divergences",
    "ALTER TABLE divergences_0004 RENAME TO divergences",
    f"""
CREATE TABLE orders_0004 (
    client_order_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, strategy TEXT NOT NULL, decided TEXT NOT NULL,
    session TEXT NOT NULL, good_till TEXT NOT NULL CHECK (good_till >= session), slot TEXT NOT NULL,
    sid INTEGER NOT NULL, leg TEXT NOT NULL, symbol TEXT NOT NULL,
    side INTEGER NOT NULL CHECK (side IN (-1, 1)), quantity INTEGER NOT NULL CHECK (quantity > 0),
    reference_price TEXT NOT NULL, decision_id TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ({_STATES})),
    filled INTEGER NOT NULL CHECK (filled BETWEEN 0 AND quantity), broker_order_id TEXT,
    hash TEXT NOT NULL DEFAULT '', decided_slot TEXT NOT NULL,
    UNIQUE (book, strategy, decided, slot, sid, leg),
    FOREIGN KEY (book, strategy, decided, decided_slot)
        REFERENCES bindings (book, strategy, session, slot)) STRICT""",
    f"INSERT INTO orders_0004 ({_ORDER}, decided_slot) SELECT {_ORDER}, 'open' FROM orders",
    "DROP TABLE orders",
    "ALTER TABLE orders_0004 RENAME TO orders",
    """
CREATE TABLE parts (
    client_order_id TEXT NOT NULL PRIMARY KEY, account TEXT NOT NULL, book TEXT NOT NULL, session TEXT NOT NULL,
    slot TEXT NOT NULL, sid INTEGER NOT NULL, side INTEGER NOT NULL CHECK (side IN (-1, 1)), parent TEXT NOT NULL,
    crossed INTEGER NOT NULL CHECK (crossed >= 0), ordered INTEGER NOT NULL CHECK (ordered >= 0)) STRICT""",
    "CREATE INDEX parts_of ON parts (account, session)",
    "ALTER TABLE entries ADD COLUMN currency TEXT NOT NULL DEFAULT ''",
)


def upgrade() -> None:
    """Add columns and tables; every row is kept."""
    for statement in STATEMENTS:
        op.execute(statement)
