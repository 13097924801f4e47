"""The rows that a book's day writes: what is in memory, as the tables have it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from quant_assets.books.holdings import ALIKE, Movement, currency_of
from quant_assets.books.terms import Terms
from quant_assets.contract import Table
from quant_assets.records import Book, Fill, Working
from quant_assets.tables import FILLS, JOURNAL, ORDERS

_OF_ORDER = ("strategy", "decided", "sid", "leg", "decision_id", "client_order_id", "side", "quantity", "slot")
_OF_FILL = tuple(c for c in FILLS.schema if c not in {"book", "known_at"})


def rows(table: Table, values: Sequence[Mapping[str, Any]], stamp: Mapping[str, Any]) -> pl.DataFrame:
    """Rows of `table`: each of `values` with the columns of `stamp`."""
    return table.conform(pl.DataFrame([{**stamp, **row} for row in values], schema=dict(table.schema)))


def movements(
    book: Book, session: date, known_at: datetime, moved: Sequence[Movement], terms: Terms = ALIKE
) -> pl.DataFrame:
    """The movements of cash as JOURNAL rows, each in its currency (null: the book's)."""
    values = [
        {
            "sid": m.sid,
            "kind": m.kind,
            "reference": m.reference,
            "amount": m.amount,
            "currency": currency_of(m, terms) or None,
        }
        for m in moved
    ]
    return rows(JOURNAL, values, {"session": session, "book": book.name, "known_at": known_at})


def fill_rows(book: Book, fills: Sequence[Fill], known_at: datetime) -> pl.DataFrame:
    """The executions as FILLS rows; the record of a bust is none, for the entry that reverses has the quantity."""
    values = [{c: getattr(f, c) for c in _OF_FILL} | {"corrects": f.corrects or None} for f in fills if f.quantity]
    return rows(FILLS, values, {"book": book.name, "known_at": known_at})


def order_rows(book: Book, session: date, orders: Sequence[Working], known_at: datetime) -> pl.DataFrame:
    """The orders that could trade by `session`, in their present state, as ORDERS rows of it."""
    values = [
        {c: getattr(w.order, c) for c in _OF_ORDER}
        | {"filled": w.filled, "state": w.state.value, "reference_price": float(w.order.reference_price)}
        for w in orders
        if w.order.session <= session
    ]
    return rows(ORDERS, values, {"session": session, "book": book.name, "known_at": known_at})
