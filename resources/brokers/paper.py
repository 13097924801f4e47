"""The paper venue: a stranger with its own record, its own commits and its own bookkeeping.

It fills with the one fill model, and takes a second order under a client order id that it has seen for what it is,
another order; so a duplicate shows.
"""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from sqlite3 import Connection, Row

import msgspec
import polars as pl

from quant_assets.backtest.fills import FillModel, match
from quant_assets.books.due import corrections, due_actions, entitlements, splits_ex
from quant_assets.books.holdings import Holdings, apply_actions, apply_fills, fund, mark
from quant_assets.calendars import Cuts
from quant_assets.errors import OrderRejected
from quant_assets.records import Book, BrokerOrder, Fill, Order, OrderState, Working
from resources.ledger.database import open_versioned

VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL, content TEXT NOT NULL, state TEXT NOT NULL, filled INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS orders_by_client ON orders (client_order_id);
CREATE TABLE IF NOT EXISTS executions (id INTEGER PRIMARY KEY, exec_id TEXT NOT NULL UNIQUE, session TEXT NOT NULL, content TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS evenings (session TEXT NOT NULL PRIMARY KEY, holdings TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS capital (session TEXT NOT NULL PRIMARY KEY, paid TEXT NOT NULL) STRICT
"""

Market = Callable[[date], tuple[pl.DataFrame, pl.DataFrame]]
"""Session to its bars (sid, symbol, open, close, volume) and all ACTIONS versions, as known at the session's cut."""


class PaperBroker:
    """The Broker port on one file. The account opens with the book's capital on the first session that is matched;
    where the book declares another one later, the difference is paid in or out before the next session.
    """

    name = "paper"

    def __init__(self, path: Path, book: Book, market: Market, cuts: Cuts, model: FillModel) -> None:
        self._db = open_versioned(path, SCHEMA, VERSION)
        self._book = book
        self._market = market
        self._cuts = cuts
        self._model = model

    def sync(self, session: date) -> None:
        """See the port. Every session not matched yet, in order, each in one commit."""
        last = self._evening().session
        first = (
            self._cuts.calendar.after(last)
            if last > date.min
            else min([session, *(w.order.session for _, w in self._working())])
        )
        for day in self._cuts.calendar.between(first, session):
            self._match(day)

    def submit(self, order: Order) -> str:
        """See the port. OrderRejected where the session of the order is over."""
        with self._db.transaction() as tx:
            matched = self._evening().session
            if order.session <= matched:
                raise OrderRejected(f"the open of {order.session} is past; matched up to {matched}")
            values = (order.client_order_id, msgspec.json.encode(order).decode(), OrderState.ACKED.value)
            row = tx.execute(
                "INSERT INTO orders (client_order_id, content, state, filled, reason) VALUES (?, ?, ?, 0, '')", values
            )
            return f"P{row.lastrowid:08d}"

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """See the port; the first, where there are several."""
        found = self._db.rows("SELECT * FROM orders WHERE client_order_id = ? ORDER BY id LIMIT 1", client_order_id)
        return _reported(found[0]) if found else None

    def orders(self) -> list[BrokerOrder]:
        """See the port; in the order of arrival."""
        return [_reported(r) for r in self._db.rows("SELECT * FROM orders ORDER BY id")]

    def executions(self, first: date | None = None) -> list[Fill]:
        """See the port."""
        found = self._db.rows(
            "SELECT content FROM executions WHERE session >= ? ORDER BY id", (first or date.min).isoformat()
        )
        return [msgspec.json.decode(r["content"], type=Fill) for r in found]

    def positions(self) -> Mapping[int, int]:
        """See the port."""
        return dict(self._evening().quantities)

    def cash(self) -> Decimal:
        """See the port."""
        return self._evening().cash

    def _match(self, session: date) -> None:
        bars, actions = self._market(session)
        last = self._evening().session
        due = due_actions(actions, self._cuts, session, last if last > date.min else None)
        splits = splits_ex(actions, self._cuts, session)
        closes = {sid: close for sid, close in bars.select("sid", "close").iter_rows() if close is not None}
        with self._db.transaction() as tx:
            evening = self._evening()
            if evening.session >= session:
                return  # another process matched it
            before = self._funded(tx, evening, session)
            entitled = entitlements(due, self._cuts, lambda day: self._evening(day).quantities)
            ids = {w.key: (row_id, w) for row_id, w in self._working()}
            fills, changed = match(
                [w for _, w in ids.values()], bars, splits, session, self._cuts.calendar.open(session), self._model
            )
            corrected = corrections(actions, self._cuts, session, self._evening)
            sids = dict(bars.select("symbol", "sid").iter_rows())
            acted, _ = apply_actions(before, due, entitled, sids, corrected)
            filled, _ = apply_fills(acted, fills)
            for fill in fills:
                tx.execute(
                    "INSERT INTO executions (exec_id, session, content) VALUES (?, ?, ?)",
                    (fill.exec_id, session.isoformat(), msgspec.json.encode(fill).decode()),
                )
            for after in changed:
                tx.execute(
                    "UPDATE orders SET state = ?, filled = ?, reason = ? WHERE id = ?",
                    (after.state.value, after.filled, after.reason, ids[after.key][0]),
                )
            evening = mark(filled, session, closes)
            tx.execute(
                "INSERT INTO evenings (session, holdings) VALUES (?, ?)",
                (session.isoformat(), msgspec.json.encode(evening).decode()),
            )

    def _funded(self, tx: Connection, evening: Holdings, session: date) -> Holdings:
        """The account after what is paid in or out before `session`. The capital of an account from before this was
        recorded counts as paid.
        """
        found = tx.execute("SELECT paid FROM capital ORDER BY session DESC LIMIT 1").fetchone()
        before, moved = fund(evening, self._book.capital, Decimal(found["paid"]) if found else None)
        if moved:
            values = (session.isoformat(), str(self._book.capital))
            tx.execute("INSERT INTO capital (session, paid) VALUES (?, ?)", values)
        return before

    def _working(self) -> list[tuple[int, Working]]:
        """The open orders by row id; of several under one client id, each later one has a key of its own."""
        seen: dict[str, int] = {}
        working: list[tuple[int, Working]] = []
        for row in self._db.rows("SELECT * FROM orders ORDER BY id"):
            client = row["client_order_id"]
            seen[client] = seen.get(client, 0) + 1
            key = client if seen[client] == 1 else f"{client}#{seen[client]}"
            if not OrderState(row["state"]).terminal:
                order = msgspec.json.decode(row["content"], type=Order)
                state = OrderState(row["state"])
                working.append((row["id"], Working(order=order, state=state, filled=row["filled"], key=key)))
        return working

    def _evening(self, session: date = date.max) -> Holdings:
        """The account after the last session matched up to `session`."""
        found = self._db.rows(
            "SELECT holdings FROM evenings WHERE session <= ? ORDER BY session DESC LIMIT 1", session.isoformat()
        )
        return (
            msgspec.json.decode(found[0]["holdings"], type=Holdings)
            if found
            else Holdings(session=date.min, cash=self._book.capital, quantities={}, marks={})
        )


def _reported(row: Row) -> BrokerOrder:
    order = msgspec.json.decode(row["content"], type=Order)
    return BrokerOrder(
        client_order_id=row["client_order_id"],
        broker_order_id=f"P{row['id']:08d}",
        sid=order.sid,
        side=order.side,
        quantity=order.quantity,
        filled=row["filled"],
        state=OrderState(row["state"]),
        reason=row["reason"],
    )
