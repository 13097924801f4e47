"""The tables of the ledger, as this release writes them. Imported to make a database or to migrate one.

Money is decimal text and times are UTC text of one width. `order_events` and `audit` are only ever appended to.
A change here needs a migration in `migrations/versions`; a test holds that both give the same schema.
"""

from collections.abc import Sequence

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from quant_assets.records import OrderState

_STATES = ", ".join(f"'{s.value}'" for s in OrderState)
_KINDS = "'order', 'fill', 'position', 'cash'"
METADATA = MetaData()


def _key(*names: str) -> list[Column[str]]:
    return [Column(name, Text, primary_key=True) for name in names]


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _text(name: str, check: str) -> Column[str]:
    return Column(name, Text, CheckConstraint(check), nullable=False)


def _whole(name: str, check: str) -> Column[int]:
    return Column(name, Integer, CheckConstraint(check), nullable=False)


def _added(name: str) -> Column[str]:
    """A text that a later revision added: rows from before have none."""
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _sequence() -> Column[int]:
    return Column("seq", Integer, primary_key=True, nullable=True)  # SQLite's row id


def _table(name: str, *parts: Column[str] | Column[int] | Unique | ForeignKeyConstraint | Index) -> Table:
    return Table(name, METADATA, *parts, sqlite_strict=True)


CUTS = _table("cuts", *_key("as_of"))
MARKET_CUTS = _table("market_cuts", *_key("market", "as_of"))
BINDINGS = _table("bindings", *_key("book", "strategy", "session", "slot"), *_texts("decision_set_id", "bound_at"))
DIVERGENCES = _table("divergences", *_key("book", "strategy", "session", "slot", "decision_set_id"), *_texts("seen_at"))
ORDERS = _table(
    "orders",
    *_key("client_order_id"),
    *_texts("book", "strategy", "decided", "session"),
    _text("good_till", "good_till >= session"),
    *_texts("slot"),
    _number("sid"),
    *_texts("leg", "symbol"),
    _whole("side", "side IN (-1, 1)"),
    _whole("quantity", "quantity > 0"),
    *_texts("reference_price", "decision_id"),
    _text("state", f"state IN ({_STATES})"),
    _whole("filled", "filled BETWEEN 0 AND quantity"),
    Column("broker_order_id", Text),
    _added("hash"),
    *_texts("decided_slot"),
    Unique("book", "strategy", "decided", "slot", "sid", "leg"),
    ForeignKeyConstraint(
        ["book", "strategy", "decided", "decided_slot"],
        ["bindings.book", "bindings.strategy", "bindings.session", "bindings.slot"],
    ),
)
PARTS = _table(
    "parts",
    *_key("client_order_id"),
    *_texts("account", "book", "session", "slot"),
    _number("sid"),
    _whole("side", "side IN (-1, 1)"),
    *_texts("parent"),
    _whole("crossed", "crossed >= 0"),
    _whole("ordered", "ordered >= 0"),
    Index("parts_of", "account", "session"),
)
ORDER_EVENTS = _table(
    "order_events",
    _sequence(),
    Column("client_order_id", Text, ForeignKey("orders.client_order_id"), nullable=False),
    _text("state", f"state IN ({_STATES})"),
    _number("filled"),
    *_texts("reason", "at"),
    Index("order_events_of", "client_order_id"),
)
FILLS = _table(
    "fills",
    *_key("book", "exec_id"),
    *_texts("client_order_id", "session"),
    _number("sid"),
    _whole("side", "side IN (-1, 1)"),
    _whole("quantity", "quantity >= 0"),
    *_texts("price", "fee", "arrival_price", "ts", "corrects"),
    Index("fills_by_correction", "book", "corrects"),
)
FEES = _table("fees", *_key("book", "exec_id"), *_texts("session", "fee"), _added("corrects"))
CURSORS = _table("cursors", *_key("book"), *_texts("cursor"))
KILL_SWITCH = _table("kill_switch", *_key("scope"), _whole("is_on", "is_on IN (0, 1)"), *_texts("reason"))
BREAKS = _table(
    "breaks",
    *_key("break_id"),
    *_texts("book", "session"),
    _text("kind", f"kind IN ({_KINDS})"),
    *_texts("subject", "ours", "theirs", "opened_at"),
    *(Column(name, Text) for name in ("resolved_at", "resolved_by", "resolution")),
    Column("differs", Integer, CheckConstraint("differs IN (0, 1)"), nullable=False, server_default=text("0")),
)
AUDIT = _table(
    "audit", _sequence(), *_texts("at", "act", "subject"), _text("by", "by <> ''"), *_texts("reason"), _added("hash")
)
ENTRIES = _table(
    "entries",
    *_key("entry_id"),
    *_texts("book", "session"),
    _number("sid"),
    _number("quantity"),
    *_texts("amount", "corrects"),
    _text("by", "by <> ''"),
    *_texts("reason", "at"),
    _added("currency"),
)
FACTS = _table("facts", *_key("name", "session", "slot", "fact"), *_texts("detail", "at"))
MARKS = _table("marks", *_key("name"), _number("version"), *_texts("entry"))
LEASES = _table(
    "leases",
    *_key("account"),
    _number("token"),
    *_texts("until", "holder", "host", "boot"),
    _number("pid"),
    *_texts("started"),
)


def create_statements() -> Sequence[str]:
    """The SQL that makes every table and its first rows."""
    dialect = sqlite.dialect()
    tables = METADATA.sorted_tables
    return [
        *(str(CreateTable(t).compile(dialect=dialect)) for t in tables),
        *(str(CreateIndex(i).compile(dialect=dialect)) for t in tables for i in t.indexes),
        "INSERT INTO kill_switch (scope, is_on, reason) VALUES ('all', 0, '')",
    ]
