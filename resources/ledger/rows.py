"""Records as rows: money is decimal text and times are UTC text of one width, so nothing is rounded."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from sqlite3 import Connection, Row
from typing import TypeVar

import msgspec

from quant_assets.records import Break, Entry, Fill, Order, Part

T = TypeVar("T", Order, Fill, Entry, Part)


def utc(at: datetime) -> str:
    """A time as text of fixed width, so that text order is time order. Raises ValueError where it has no zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no zone; times are UTC")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def columns(record: Order | Fill | Break | Entry | Part) -> dict[str, object]:
    """The values of a record by column, as SQLite stores them."""
    return {f: _plain(getattr(record, f)) for f in record.__struct_fields__}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return utc(value)
    return f"{value:f}" if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else value


def record(row: Row, kind: type[T]) -> T:
    """The record that a row holds."""
    return msgspec.convert({f: row[f] for f in kind.__struct_fields__}, kind)


def order_hash(row: Mapping[str, object] | Row) -> str:
    """SHA-256 of what an order is, from its stored values; what became of it is no part. 64 hex digits."""
    return hashlib.sha256(msgspec.json.encode([row[f] for f in Order.__struct_fields__])).hexdigest()


def insert(tx: Connection, table: str, values: Mapping[str, object]) -> None:
    """Insert one row."""
    names, marks = ", ".join(values), ", ".join("?" for _ in values)
    tx.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
