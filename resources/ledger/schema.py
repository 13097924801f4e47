"""The tables of the ledger."""

from quant_assets.records import OrderState

VERSION = 2
_STATES = ", ".join(f"'{s.value}'" for s in OrderState)
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS cuts (as_of TEXT NOT NULL PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS bindings (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, decision_set_id TEXT NOT NULL, bound_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session)) STRICT;
CREATE TABLE IF NOT EXISTS divergences (
    book TEXT NOT NULL, strategy TEXT NOT NULL, session TEXT NOT NULL, decision_set_id TEXT NOT NULL, seen_at TEXT NOT NULL,
    PRIMARY KEY (book, strategy, session, decision_set_id)) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    client_order_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, strategy TEXT NOT NULL, decided TEXT NOT NULL, session TEXT NOT NULL,
    good_till TEXT NOT NULL CHECK (good_till >= session), slot TEXT NOT NULL, sid INTEGER NOT NULL, leg TEXT NOT NULL, symbol TEXT NOT NULL,
    side INTEGER NOT NULL CHECK (side IN (-1, 1)), quantity INTEGER NOT NULL CHECK (quantity > 0), reference_price TEXT NOT NULL, decision_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ({_STATES})), filled INTEGER NOT NULL CHECK (filled BETWEEN 0 AND quantity), broker_order_id TEXT,
    UNIQUE (book, strategy, decided, slot, sid, leg),
    FOREIGN KEY (book, strategy, decided) REFERENCES bindings (book, strategy, session)) STRICT;
CREATE TABLE IF NOT EXISTS order_events (
    seq INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL REFERENCES orders (client_order_id), state TEXT NOT NULL CHECK (state IN ({_STATES})),
    filled INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS order_events_of ON order_events (client_order_id);
CREATE TABLE IF NOT EXISTS fills (
    book TEXT NOT NULL, exec_id TEXT NOT NULL, client_order_id TEXT NOT NULL, session TEXT NOT NULL, sid INTEGER NOT NULL, side INTEGER NOT NULL CHECK (side IN (-1, 1)),
    quantity INTEGER NOT NULL CHECK (quantity > 0), price TEXT NOT NULL, fee TEXT NOT NULL, arrival_price TEXT NOT NULL, ts TEXT NOT NULL,
    PRIMARY KEY (book, exec_id)) STRICT;
CREATE TABLE IF NOT EXISTS kill_switch (scope TEXT NOT NULL PRIMARY KEY, is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)), reason TEXT NOT NULL) STRICT;
INSERT INTO kill_switch (scope, is_on, reason) VALUES ('all', 0, '') ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS breaks (
    break_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, session TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('order', 'fill', 'position', 'cash')),
    subject TEXT NOT NULL, ours TEXT NOT NULL, theirs TEXT NOT NULL, opened_at TEXT NOT NULL, resolved_at TEXT, resolved_by TEXT, resolution TEXT) STRICT;
CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, act TEXT NOT NULL, subject TEXT NOT NULL, by TEXT NOT NULL CHECK (by <> ''), reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS leases (account TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, until TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS fees (book TEXT NOT NULL, exec_id TEXT NOT NULL, session TEXT NOT NULL, fee TEXT NOT NULL, PRIMARY KEY (book, exec_id)) STRICT;
CREATE TABLE IF NOT EXISTS cursors (book TEXT NOT NULL PRIMARY KEY, cursor TEXT NOT NULL) STRICT;
"""
