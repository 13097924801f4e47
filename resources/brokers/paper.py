"""The paper venue: a stranger with its own record, its own commits and its own bookkeeping.

It fills with the one fill model. A second order under a client order id that it holds already is another order to it,
so that a duplicate shows. Every commit counts up by one, and each row carries the count at which it last changed:
that is the cursor of its events.
"""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any

import msgspec
import polars as pl

from quant_assets.backtest.fills import match
from quant_assets.backtest.funding import purse
from quant_assets.backtest.slots import fill_slot
from quant_assets.books.accruals import PLAINLY, Valuation
from quant_assets.books.carry import carry
from quant_assets.books.day import Day, live, priced
from quant_assets.books.due import paid_out, stopped
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, apply_fills, fund
from quant_assets.books.valued import handed_out
from quant_assets.calendars import Cuts, auctions
from quant_assets.calendars.beside import opened
from quant_assets.calendars.slots import Slot
from quant_assets.errors import ConfigurationError, CursorUnknown, OrderRejected
from quant_assets.execution.slots import SlotMarket
from quant_assets.ports import CostModel
from quant_assets.records import (
    Book,
    BrokerOrder,
    Coverage,
    Events,
    Execution,
    Fill,
    Order,
    OrderState,
    Working,
)
from resources.ledger.database import BUSY_SECONDS, open_versioned, readable

VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL, content TEXT NOT NULL, state TEXT NOT NULL,
    filled INTEGER NOT NULL, reason TEXT NOT NULL, changed INTEGER NOT NULL DEFAULT 1) STRICT;
CREATE INDEX IF NOT EXISTS orders_by_client ON orders (client_order_id);
CREATE TABLE IF NOT EXISTS executions (
    id INTEGER PRIMARY KEY, exec_id TEXT NOT NULL UNIQUE, session TEXT NOT NULL, content TEXT NOT NULL,
    changed INTEGER NOT NULL DEFAULT 1) STRICT;
CREATE TABLE IF NOT EXISTS evenings (session TEXT NOT NULL PRIMARY KEY, holdings TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS capital (session TEXT NOT NULL PRIMARY KEY, paid TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS orders_by_change ON orders (changed);
CREATE INDEX IF NOT EXISTS executions_by_change ON executions (changed)
"""
_SINCE_FIRST_SCHEMA = """
ALTER TABLE orders ADD COLUMN changed INTEGER NOT NULL DEFAULT 1;
ALTER TABLE executions ADD COLUMN changed INTEGER NOT NULL DEFAULT 1;
CREATE INDEX orders_by_change ON orders (changed);
CREATE INDEX executions_by_change ON executions (changed);
UPDATE schema_version SET version = 2
"""
_COUNT = (
    "SELECT max((SELECT coalesce(max(changed), 0) FROM orders), (SELECT coalesce(max(changed), 0) FROM executions))"
)
_OPEN = tuple(s.value for s in OrderState if not s.terminal)
_ARE_OPEN = f"state IN ({', '.join('?' for _ in _OPEN)})"
_WORKING = f"""
SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY client_order_id ORDER BY id) AS nth FROM orders)
WHERE {_ARE_OPEN} ORDER BY id"""
_CHANGE = "UPDATE orders SET state = ?, filled = ?, reason = ?, changed = ? WHERE id = ?"

Market = Callable[[date], tuple[pl.DataFrame, pl.DataFrame]]
"""Session to its bars (sid, symbol, open, close, volume) and all ACTIONS versions, as known at the session's cut."""
Valued = Callable[[Book, date, Holdings, Collection[int]], Valuation]
"""By what an account is valued and charged in a session: what it held before, the names that count."""


def plainly(_book: Book, _session: date, _held: Holdings, _sids: Collection[int]) -> Valuation:
    """All names are shares in the account's currency, borrowed for nothing."""
    return PLAINLY


def outdated(path: Path) -> str | None:
    """The schema of a paper venue's record, where it is an older one than this release writes."""
    found = _version(path)
    return f"{found:04d}" if found is not None and found < VERSION else None


def is_opened(path: Path) -> bool:
    """Whether a paper venue has a record in this file."""
    return _version(path) is not None


def upgrade(path: Path) -> bool:
    """Bring the record of a paper venue to the present schema, in one transaction; False where it has it already."""
    if outdated(path) is None:
        return False
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        (found,) = db.execute("SELECT version FROM schema_version").fetchone()
        if found == 1:  # else another process was faster
            for statement in _SINCE_FIRST_SCHEMA.split(";"):
                db.execute(statement)
        db.execute("COMMIT")
    return found == 1


def _version(path: Path) -> int | None:
    """The schema version of a venue's file; None where there is no file or nothing in it."""
    if not path.exists():
        return None
    with readable(path), closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone():
            return None
        row = db.execute("SELECT version FROM schema_version").fetchone()
    return row[0] if row else None


class PaperBroker:
    """The Broker port on one file, Advances and TradesSlots. `hours`: on what it trades at slots, where its book does.

    The account opens with the book's capital on the first session that is traded; where the book declares another
    capital later, the difference is paid in or out before the next session. Raises ConfigurationError for a file of
    an older release, before `quant migrate`.
    """

    name = "paper"
    settle_window = timedelta(0)

    def __init__(
        self,
        path: Path,
        book: Book,
        market: Market,
        cuts: Cuts,
        model: CostModel,
        valued: Valued = plainly,
        hours: SlotMarket | None = None,
    ) -> None:
        if found := outdated(path):
            raise ConfigurationError(
                f"{path} has schema {found}, this release writes {VERSION:04d}: run `quant migrate`"
            )
        self._db = open_versioned(path, SCHEMA, VERSION)
        self._book = book
        self._market = market
        self._cuts = cuts
        self._model = model
        self._valued = valued
        self._hours = hours

    def advance(self, session: date) -> None:
        """See the port. Every session not traded yet, in order, each in one commit."""
        last = self._evening().session
        first = (
            self._cuts.calendar.after(last)
            if last > date.min
            else min([session, *(w.order.session for _, w in self._working())])
        )
        for day in self._cuts.calendar.between(first, session):
            self._trade(day)

    def trade(self, asked: Sequence[Slot]) -> None:
        """See the port; each slot in one commit. Its orders end with it."""
        for slot in asked:
            self._trade_slot(slot)

    def submit(self, order: Order) -> str:
        """See the port. OrderRejected where the session of the order is over."""
        with self._db.transaction() as tx:
            return self._insert(tx, order)

    def cancel(self, client_order_id: str) -> None:
        """See the port; all of them, where several are open under this id."""
        with self._db.transaction() as tx:
            self._cancel(tx, client_order_id)

    def replace(self, client_order_id: str, order: Order) -> str:
        """See the port; in one commit."""
        with self._db.transaction() as tx:
            self._cancel(tx, client_order_id)
            return self._insert(tx, order)

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """See the port; the first, where there are several."""
        found = self._db.rows("SELECT * FROM orders WHERE client_order_id = ? ORDER BY id LIMIT 1", client_order_id)
        return _reported(found[0]) if found else None

    def open_orders(self) -> list[BrokerOrder]:
        """See the port; in the order of arrival."""
        return [_reported(r) for r in self._db.rows(f"SELECT * FROM orders WHERE {_ARE_OPEN} ORDER BY id", *_OPEN)]

    def events(self, since: str | None) -> Events:
        """See the port; in the order of arrival. It vouches for everything since the account was opened."""
        (count,) = self._db.rows(_COUNT)[0]
        if since is not None and not (since.isdecimal() and int(since) <= count):
            raise CursorUnknown(f"{self._book.account}: the record counts {count} commits, cursor {since} is not of it")
        span = (int(since or 0), count)  # what is committed meanwhile counts more, and comes with the next cursor
        where = "WHERE changed > ? AND changed <= ? ORDER BY id"
        executed = self._db.rows(f"SELECT content FROM executions {where}", *span)
        return Events(
            cursor=str(count),
            executions=tuple(msgspec.json.decode(r["content"], type=Execution) for r in executed),
            orders=tuple(_reported(r) for r in self._db.rows(f"SELECT * FROM orders {where}", *span)),
            coverage=Coverage(),
        )

    def positions(self) -> Mapping[int, int]:
        """See the port."""
        return dict(self._evening().quantities)

    def cash(self) -> Decimal:
        """See the port."""
        return self._evening().cash

    def balances(self) -> Mapping[str, Decimal]:
        """See the port."""
        evening = self._evening()
        return {self._book.currency: evening.cash, **evening.others}

    def _insert(self, tx: Connection, order: Order) -> str:
        traded = self._evening().session
        if order.session <= traded:
            raise OrderRejected(f"the open of {order.session} is past; traded up to {traded}")
        values = (order.client_order_id, msgspec.json.encode(order).decode(), OrderState.ACKED.value, _next(tx))
        row = tx.execute(
            "INSERT INTO orders (client_order_id, content, state, filled, reason, changed) VALUES (?, ?, ?, 0, '', ?)",
            values,
        )
        return f"P{row.lastrowid:08d}"

    def _cancel(self, tx: Connection, client_order_id: str) -> None:
        done = tx.execute(
            f"UPDATE orders SET state = ?, changed = ? WHERE client_order_id = ? AND {_ARE_OPEN}",
            (OrderState.CANCELED.value, _next(tx), client_order_id, *_OPEN),
        )
        if not done.rowcount:
            raise OrderRejected(f"no order {client_order_id} is open")

    def _trade_slot(self, slot: Slot) -> None:
        assert self._hours is not None  # noqa: S101  # the venue of a book that trades at slots
        with self._db.transaction() as tx:
            named = (slot.session, slot.slot)
            ids = {w.key: (n, w) for n, w in self._working() if (w.order.session, w.order.slot) == named}
            evening = self._evening()
            if not ids or evening.session >= slot.session:
                return
            begin, _ = fund(evening, self._book.capital, self._paid())
            done, names = self._traded_in(slot.session), [w.order.sid for _, w in ids.values()]
            begin = self._hours.with_terms(begin, [*names, *(f.sid for f in done)], slot.session)
            held, _ = apply_fills(begin, done)
            market, actions = self._hours.opens([slot])[named], self._market(slot.session)[1]
            working = [w for _, w in ids.values()]
            fills, ended = fill_slot(working, market, actions, self._book, held, self._cuts, slot, self._model)
            _record(tx, slot.session, fills, ended, ids, _next(tx))

    def _traded_in(self, session: date) -> list[Fill]:
        """What was executed in a session so far."""
        rows = self._db.rows("SELECT content FROM executions WHERE session = ?", session.isoformat())
        return [_as_fill(msgspec.json.decode(r["content"], type=Execution), session) for r in rows]

    def _trade(self, session: date) -> None:
        if self._hours is not None:
            self.trade(self._hours.slots(session))
        bars, actions = self._market(session)
        with self._db.transaction() as tx:
            evening = self._evening()
            if evening.session >= session:
                return  # another process traded it
            since = evening.session if evening.session > date.min else self._cuts.booked_before(session)
            before, count = self._funded(tx, evening, session), _next(tx)
            past = Past(self._evening, self._bars)
            ids = {w.key: (row_id, w) for row_id, w in self._working()}
            done = self._traded_in(session) if self._hours is not None else []
            names = {*(w.order.sid for _, w in ids.values()), *(f.sid for f in done)}
            valued = {*evening.quantities, *names, *handed_out(actions, bars)}
            by = self._valued(self._book, session, before, valued)
            day = Day(session=session, bars=bars, actions=actions, fills=(), by=by)
            carried = carry(priced(before, by), actions, bars, session, self._cuts, past)
            fills, changed = match(
                [w for _, w in ids.values() if self._hours is None],
                bars,
                stopped(actions, self._cuts, session, names, since, dict(bars.select("symbol", "sid").iter_rows())),
                session,
                self._cuts.calendar.open(session),
                self._model,
                paid_out(actions, self._cuts, session, names),
                purse(self._book, before),
                auctions.closing(self._cuts.calendar, session),
                by.terms,
                opened(self._cuts, session),
            )
            if self._hours is not None:  # what is left is of slots that did not come
                late = [w for _, w in ids.values() if w.order.session <= session]
                changed = [msgspec.structs.replace(w, state=OrderState.EXPIRED, reason="CLOSED") for w in late]
            day = msgspec.structs.replace(day, fills=[*fills, *done])
            evening, _ = live(before, carried, day, self._cuts, past)
            _record(tx, session, fills, changed, ids, count)
            content = msgspec.json.encode(_kept(evening)).decode()
            tx.execute("INSERT INTO evenings (session, holdings) VALUES (?, ?)", (session.isoformat(), content))

    def _bars(self, session: date) -> pl.DataFrame:
        return self._market(session)[0]

    def _funded(self, tx: Connection, evening: Holdings, session: date) -> Holdings:
        """The account after what is paid in or out before `session`.

        The capital of an account from before this was recorded counts as paid.
        """
        before, moved = fund(evening, self._book.capital, self._paid())
        if moved:
            values = (session.isoformat(), str(self._book.capital))
            tx.execute("INSERT INTO capital (session, paid) VALUES (?, ?)", values)
        return before

    def _paid(self) -> Decimal | None:
        """The capital that was paid in so far, where that is recorded."""
        found = self._db.rows("SELECT paid FROM capital ORDER BY session DESC LIMIT 1")
        return Decimal(found[0]["paid"]) if found else None

    def _working(self) -> list[tuple[int, Working]]:
        """The open orders by row id; of several under one client id, each later one has a key of its own."""
        working: list[tuple[int, Working]] = []
        for row in self._db.rows(_WORKING, *_OPEN):
            order = msgspec.json.decode(row["content"], type=Order)
            key = order.client_order_id if row["nth"] == 1 else f"{order.client_order_id}#{row['nth']}"
            state = OrderState(row["state"])
            working.append((row["id"], Working(order=order, state=state, filled=row["filled"], key=key)))
        return working

    def _evening(self, session: date = date.max) -> Holdings:
        """The account after the last session traded up to `session`."""
        found = self._db.rows(
            "SELECT holdings FROM evenings WHERE session <= ? ORDER BY session DESC LIMIT 1", session.isoformat()
        )
        return (
            msgspec.json.decode(found[0]["holdings"], type=Holdings)
            if found
            else Holdings(session=date.min, cash=self._book.capital, quantities={}, marks={})
        )


def _record(
    tx: Connection,
    session: date,
    fills: Sequence[Fill],
    changed: Sequence[Working],
    ids: Mapping[str, tuple[int, Working]],
    count: int,
) -> None:
    """Record executions, and the orders that they changed."""
    for fill in fills:
        values = (fill.exec_id, session.isoformat(), _executed(fill), count)
        tx.execute("INSERT INTO executions (exec_id, session, content, changed) VALUES (?, ?, ?, ?)", values)
    for after in changed:
        tx.execute(_CHANGE, (after.state.value, after.filled, after.reason, count, ids[after.key][0]))


def _as_fill(execution: Execution, session: date) -> Fill:
    """An execution of ours as a book takes it."""
    values: dict[str, Any] = {f: getattr(execution, f) for f in Execution.__struct_fields__}
    values["fee"] = execution.fee or Decimal(0)
    return Fill(**values, session=session, arrival_price=execution.price)


def _next(tx: Connection) -> int:
    """The count of this commit."""
    return tx.execute(_COUNT).fetchone()[0] + 1


def _kept(evening: Holdings) -> Holdings:
    """The account as its record has it: with the terms of what it holds."""
    known = {sid: one for sid, one in evening.terms.instruments.items() if sid in evening.quantities}
    return msgspec.structs.replace(evening, terms=msgspec.structs.replace(evening.terms, instruments=known))


def _executed(fill: Fill) -> str:
    """The execution as its record has it. Files of older releases have fields beside these, which are not read."""
    return msgspec.json.encode(Execution(**{f: getattr(fill, f) for f in Execution.__struct_fields__})).decode()


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
