"""The Executions port: what the venue executed, booked once, and up to where its record is booked."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from sqlite3 import Connection

from quant_assets.errors import ExecutionError
from quant_assets.records import Commission, Fill
from resources.ledger.database import Database
from resources.ledger.rows import columns, insert, record

_FILLS = "SELECT * FROM fills WHERE book = ? AND session BETWEEN ? AND ? ORDER BY session, exec_id"
_TRADES = """
WITH RECURSIVE trade (exec_id) AS (
    SELECT value FROM json_each(?)
    UNION SELECT f.exec_id FROM trade JOIN fills AS f ON f.book = ? AND f.corrects = trade.exec_id
    UNION SELECT f.corrects FROM trade JOIN fills AS f ON f.book = ? AND f.exec_id = trade.exec_id
        WHERE f.corrects <> '')
SELECT * FROM fills WHERE book = ? AND exec_id IN (SELECT exec_id FROM trade) ORDER BY session, exec_id"""
_FEES = "SELECT * FROM fees WHERE book = ? AND session BETWEEN ? AND ? ORDER BY session, exec_id"
_ADVANCE = """
INSERT INTO cursors (book, cursor) VALUES (?, ?) ON CONFLICT (book) DO UPDATE SET cursor = excluded.cursor"""


class SqliteExecutions:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def book_fill(self, book: str, fill: Fill) -> bool:
        """See the port."""
        with self._db.transaction() as tx:
            return _booked(tx, book, fill)

    def book_shares(self, shares: Mapping[str, Sequence[Fill]]) -> int:
        """See the port."""
        with self._db.transaction() as tx:
            return sum(_booked(tx, book, fill) for book, fills in shares.items() for fill in fills)

    def book_fee(self, book: str, commission: Commission, *, session: date) -> bool:
        """See the port."""
        about = (book, commission.exec_id)
        with self._db.transaction() as tx:
            found = tx.execute("SELECT fee FROM fees WHERE book = ? AND exec_id = ?", about).fetchone()
            if found is None:
                values = {"fee": f"{commission.fee:f}", "session": session.isoformat(), "corrects": commission.corrects}
                insert(tx, "fees", {"book": book, "exec_id": commission.exec_id, **values})
            elif Decimal(found["fee"]) != commission.fee:
                raise ExecutionError(
                    f"the fee of execution {commission.exec_id} of {book} is booked as {found['fee']} "
                    f"and now reported as {commission.fee}; a difference needs its own exec_id"
                )
        return found is None

    def fills(self, book: str, first: date | None = None, last: date | None = None) -> list[Fill]:
        """See the port."""
        return [record(r, Fill) for r in self._db.rows(_FILLS, book, *_edges(first, last))]

    def trades(self, book: str, exec_ids: Collection[str]) -> list[Fill]:
        """See the port."""
        return [record(r, Fill) for r in self._db.rows(_TRADES, json.dumps(sorted(exec_ids)), book, book, book)]

    def fees(self, book: str, first: date | None = None, last: date | None = None) -> list[tuple[date, Commission]]:
        """See the port."""
        return [
            (date.fromisoformat(r["session"]), Commission(r["exec_id"], Decimal(r["fee"]), r["corrects"]))
            for r in self._db.rows(_FEES, book, *_edges(first, last))
        ]

    def cursor(self, book: str) -> str | None:
        """See the port."""
        found = self._db.rows("SELECT cursor FROM cursors WHERE book = ?", book)
        return found[0]["cursor"] if found else None

    def advance(self, book: str, cursor: str) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute(_ADVANCE, (book, cursor))


def _booked(tx: Connection, book: str, fill: Fill) -> bool:
    """Book a fill once: False where it is there."""
    found = tx.execute("SELECT * FROM fills WHERE book = ? AND exec_id = ?", (book, fill.exec_id)).fetchone()
    if found is None:
        insert(tx, "fills", {"book": book, **columns(fill)})
    elif (booked := record(found, Fill)) != fill:
        raise ExecutionError(
            f"execution {fill.exec_id} of {book} is booked as {booked} and now reported as {fill}; "
            "a correction needs its own exec_id"
        )
    return found is None


def _edges(first: date | None, last: date | None) -> tuple[str, str]:
    return (first or date.min).isoformat(), (last or date.max).isoformat()
