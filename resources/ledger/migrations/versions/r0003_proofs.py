"""Hashes of orders and acts, corrections of fills, what people book, facts of a session, high-water marks of tables."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE orders ADD COLUMN hash TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE fills RENAME TO fills_0002",
    """
CREATE TABLE fills (
    book TEXT NOT NULL, exec_id TEXT NOT NULL, client_order_id TEXT NOT NULL, session TEXT NOT NULL,
    sid INTEGER NOT NULL, side INTEGER NOT NULL CHECK (side IN (-1, 1)),
    quantity INTEGER NOT NULL CHECK (quantity >= 0), price TEXT NOT NULL, fee TEXT NOT NULL,
    arrival_price TEXT NOT NULL, ts TEXT NOT NULL, corrects TEXT NOT NULL,
    PRIMARY KEY (book, exec_id)) STRICT""",
    """
INSERT INTO fills
SELECT book, exec_id, client_order_id, session, sid, side, quantity, price, fee, arrival_price, ts, ''
FROM fills_0002""",
    "DROP TABLE fills_0002",
    "CREATE INDEX fills_by_correction ON fills (book, corrects)",
    "ALTER TABLE breaks ADD COLUMN differs INTEGER NOT NULL DEFAULT 0 CHECK (differs IN (0, 1))",
    "ALTER TABLE fees ADD COLUMN corrects TEXT NOT NULL DEFAULT ''",
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
    """Add columns and tables; every row is kept, and gets the hash that a row of today would have."""
    for statement in STATEMENTS:
        op.execute(statement)
    _chain_acts(op.get_bind())
    _hash_orders(op.get_bind())


def _chain_acts(connection: sa.Connection) -> None:
    """Each act's hash covers the act and the hash before it."""
    previous = "0" * 64
    for seq, *act in connection.execute(sa.text("SELECT seq, at, act, subject, by, reason FROM audit ORDER BY seq")):
        previous = _sha256([previous, *act])
        connection.execute(sa.text("UPDATE audit SET hash = :hash WHERE seq = :seq"), {"hash": previous, "seq": seq})


def _hash_orders(connection: sa.Connection) -> None:
    """Each order's hash covers what it is, not what became of it."""
    columns = (
        "client_order_id, book, strategy, decided, session, good_till, slot, sid, leg, symbol, side, quantity, "
        "reference_price, decision_id"
    )
    for order in connection.execute(sa.text(f"SELECT {columns} FROM orders")).fetchall():
        values = {"hash": _sha256(list(order)), "key": order[0]}
        connection.execute(sa.text("UPDATE orders SET hash = :hash WHERE client_order_id = :key"), values)


def _sha256(parts: list[object]) -> str:
    """Of the parts as JSON without spaces; as it was when this revision was written, whatever the program does now."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
