"""A ledger as the last release without migrations made it: its schema's text, kept, and a row or more in each table."""

import sqlite3
from contextlib import closing
from pathlib import Path

STATES = "'PENDING', 'SUBMITTING', 'UNKNOWN', 'HELD', 'ACKED', 'PARTIAL', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED'"
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS cuts (as_of TEXT NOT NULL PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS bindings (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, decision_set_id TEXT NOT NULL,
    bound_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session)) STRICT;
CREATE TABLE IF NOT EXISTS divergences (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, decision_set_id TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session, decision_set_id)) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    client_order_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, strategy TEXT NOT NULL, decided TEXT NOT NULL,
    session TEXT NOT NULL,
    good_till TEXT NOT NULL CHECK (good_till >= session), slot TEXT NOT NULL, sid INTEGER NOT NULL,
    leg TEXT NOT NULL, symbol TEXT NOT NULL,
    side INTEGER NOT NULL CHECK (side IN (-1, 1)), quantity INTEGER NOT NULL CHECK (quantity > 0),
    reference_price TEXT NOT NULL, decision_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ({STATES})), filled INTEGER NOT NULL CHECK (filled BETWEEN 0 AND quantity),
    broker_order_id TEXT,
    UNIQUE (book, strategy, decided, slot, sid, leg),
    FOREIGN KEY (book, strategy, decided) REFERENCES bindings (book, strategy, session)) STRICT;
CREATE TABLE IF NOT EXISTS order_events (
    seq INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL REFERENCES orders (client_order_id),
    state TEXT NOT NULL CHECK (state IN ({STATES})),
    filled INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS order_events_of ON order_events (client_order_id);
CREATE TABLE IF NOT EXISTS fills (
    book TEXT NOT NULL, exec_id TEXT NOT NULL, client_order_id TEXT NOT NULL, session TEXT NOT NULL,
    sid INTEGER NOT NULL, side INTEGER NOT NULL CHECK (side IN (-1, 1)),
    quantity INTEGER NOT NULL CHECK (quantity > 0), price TEXT NOT NULL, fee TEXT NOT NULL,
    arrival_price TEXT NOT NULL, ts TEXT NOT NULL,
    PRIMARY KEY (book, exec_id)) STRICT;
CREATE TABLE IF NOT EXISTS kill_switch (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)), reason TEXT NOT NULL) STRICT;
INSERT INTO kill_switch (one, is_on, reason) VALUES (1, 0, '') ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS breaks (
    break_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, session TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('order', 'fill', 'position', 'cash')),
    subject TEXT NOT NULL, ours TEXT NOT NULL, theirs TEXT NOT NULL, opened_at TEXT NOT NULL, resolved_at TEXT,
    resolved_by TEXT, resolution TEXT) STRICT;
CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, act TEXT NOT NULL,
    subject TEXT NOT NULL, by TEXT NOT NULL CHECK (by <> ''), reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS leases (account TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL,
    until TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY) STRICT;
INSERT INTO schema_version (version) VALUES (1);
"""
AT = "2024-01-04T14:15:00.000000+00:00"
ROWS = f"""
INSERT INTO cuts VALUES ('{AT}');
INSERT INTO bindings VALUES ('desk', 's', '2024-01-04', 'set', '{AT}');
INSERT INTO divergences VALUES ('desk', 's', '2024-01-04', 'other', '{AT}');
INSERT INTO orders VALUES ('c1', 'desk', 's', '2024-01-04', '2024-01-05', '2024-01-08', 'open', 1, 'exit', 'S', 1, 100,
    '10.10', 'd', 'PARTIAL', 40, 'B1');
INSERT INTO order_events (client_order_id, state, filled, reason, at) VALUES ('c1', 'PENDING', 0, '', '{AT}');
INSERT INTO order_events (client_order_id, state, filled, reason, at) VALUES ('c1', 'PARTIAL', 40, '', '{AT}');
INSERT INTO fills VALUES ('desk', 'e1', 'c1', '2024-01-05', 1, 1, 40, '10.1234', '1.00', '10', '{AT}');
UPDATE kill_switch SET is_on = 1, reason = 'drill';
INSERT INTO breaks VALUES ('b1', 'desk', '2024-01-04', 'cash', 'USD', '1', '2', '{AT}', NULL, NULL, NULL);
INSERT INTO audit (at, act, subject, by, reason) VALUES ('{AT}', 'kill-switch on', 'all books', 'ops', 'drill');
INSERT INTO leases VALUES ('A1', 'elsewhere/1/0f', 7, '2999-01-01T00:00:00.000000+00:00');
"""


def make_old(path: Path) -> Path:
    """An old ledger at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA + ROWS)
    return path


def dump(path: Path) -> list[str]:
    """All that a database holds, as SQL."""
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())
