"""The Outbox port and its Writer. `order_events` is only ever appended to."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from sqlite3 import Connection, Row

from quant_assets.errors import ExecutionError, OrderHeld
from quant_assets.execution.outbox import allowed
from quant_assets.records import SLOT, Book, Order, OrderState, Part, Working
from resources.ledger.database import Database
from resources.ledger.kill_switch import in_force
from resources.ledger.leases import Lease
from resources.ledger.rows import columns, insert, order_hash, record, utc

_BOUND = "SELECT decision_set_id FROM bindings WHERE book = ? AND strategy = ? AND session = ? AND slot = ?"
_DIVERGED = """
INSERT INTO divergences (book, strategy, session, slot, decision_set_id, seen_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
_DIVERGENCES = "SELECT * FROM divergences WHERE book = ? ORDER BY session, slot, decision_set_id"
_SINCE = "SELECT at FROM order_events WHERE client_order_id = ? ORDER BY seq DESC LIMIT 1"
_EVENTS = "SELECT state, filled, reason, at FROM order_events WHERE client_order_id = ? ORDER BY seq"
_TAMPERED = "TAMPERED: its row in the ledger is not the order that was bound"
_PARTS = "SELECT * FROM parts WHERE account = ? AND session >= ? ORDER BY client_order_id"
_CHANGE = "UPDATE orders SET state = ?, filled = ?, broker_order_id = ? WHERE client_order_id = ?"


class SqliteWriter:
    """See the port. Every method checks the lease in the transaction in which it writes."""

    def __init__(self, database: Database, book: Book, lease: Lease) -> None:
        self._db = database
        self._book = book
        self._lease = lease

    @contextmanager
    def _writing(self) -> Generator[Connection]:
        with self._db.transaction() as tx:
            self._lease.check(tx)
            yield tx

    def bind(
        self,
        book: str,
        strategy: str,
        session: date,
        decision_set_id: str,
        orders: Sequence[Order],
        *,
        now: datetime,
        slot: str = SLOT,
        parts: Sequence[Part] = (),
    ) -> str:
        """See the port."""
        self._own(book)
        about = (book, strategy, session.isoformat(), slot)
        with self._writing() as tx:
            bound = _set_id(tx.execute(_BOUND, about).fetchall())
            if bound is None:
                keys = dict(zip(("book", "strategy", "session", "slot"), about, strict=True))
                insert(tx, "bindings", {**keys, "decision_set_id": decision_set_id, "bound_at": utc(now)})
                for order in orders:
                    self._own(order.book)
                    values = columns(order)
                    began = {"state": OrderState.PENDING.value, "filled": 0, "hash": order_hash(values)}
                    insert(tx, "orders", {**values, **began, "decided_slot": slot})
                    self._event(tx, order.client_order_id, OrderState.PENDING, 0, "", now)
                for part in parts:
                    insert(tx, "parts", columns(part))
            elif bound != decision_set_id:
                tx.execute(_DIVERGED, (*about, decision_set_id, utc(now)))
        return bound or decision_set_id

    def begin_submit(self, client_order_id: str, *, now: datetime) -> bool:
        """See the port."""
        with self._writing() as tx:
            order = self._one(tx, client_order_id)
            if (
                in_force(self._db.rows, self._book).on or order["state"] != OrderState.PENDING
            ):  # within this transaction
                return False
            whole = order["hash"] == order_hash(order)
            state, reason = (OrderState.SUBMITTING, "") if whole else (OrderState.HELD, _TAMPERED)
            self._change(tx, order, state, order["filled"], None, reason, now)
        if not whole:
            raise OrderHeld(_TAMPERED)
        return True

    def transition(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        now: datetime,
        filled: int | None = None,
        broker_order_id: str | None = None,
        reason: str = "",
    ) -> None:
        """See the port."""
        with self._writing() as tx:
            order = self._one(tx, client_order_id)
            done = order["filled"] if filled is None else filled
            if (order["state"], order["filled"]) == (state.value, done):
                return
            if done < order["filled"] or not allowed(OrderState(order["state"]), state):
                raise ExecutionError(
                    f"order {client_order_id} is {order['state']} with {order['filled']} filled; "
                    f"it cannot become {state} with {done}"
                )
            self._change(tx, order, state, done, broker_order_id, reason, now)

    def restate(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        filled: int,
        broker_order_id: str,
        reason: str,
        now: datetime,
    ) -> bool:
        """See the port."""
        with self._writing() as tx:
            order = self._one(tx, client_order_id)
            held_as = order["broker_order_id"]
            another = bool(held_as and broker_order_id and held_as != broker_order_id)
            if another or (order["state"], order["filled"]) == (state.value, filled):
                return False
            self._change(tx, order, state, filled, broker_order_id or None, reason, now)
        return True

    def _own(self, book: str) -> None:
        if book != self._book.name:
            raise ExecutionError(f"the writer of {self._book.name} cannot write an order of {book}")

    def _one(self, tx: Connection, client_order_id: str) -> Row:
        found = tx.execute("SELECT * FROM orders WHERE client_order_id = ?", (client_order_id,)).fetchone()
        if found is None:
            raise ExecutionError(f"the outbox holds no order {client_order_id}")
        self._own(found["book"])
        return found

    def _change(
        self,
        tx: Connection,
        order: Row,
        state: OrderState,
        filled: int,
        broker_order_id: str | None,
        reason: str,
        now: datetime,
    ) -> None:
        client_order_id = order["client_order_id"]
        tx.execute(_CHANGE, (state.value, filled, broker_order_id or order["broker_order_id"], client_order_id))
        self._event(tx, client_order_id, state, filled, reason, now)

    def _event(
        self, tx: Connection, client_order_id: str, state: OrderState, filled: int, reason: str, now: datetime
    ) -> None:
        values = {"state": state.value, "filled": filled, "reason": reason, "at": utc(now)}
        insert(tx, "order_events", {"client_order_id": client_order_id, **values})


class SqliteOutbox:
    """See the port. It reads; what it leases out is the Writer."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def bound(self, book: str, strategy: str, session: date, slot: str = SLOT) -> str | None:
        """See the port."""
        return _set_id(self._db.rows(_BOUND, book, strategy, session.isoformat(), slot))

    def divergences(self, book: str) -> Sequence[Mapping[str, str]]:
        """Decision sets that came after the one that binds: book, strategy, session, slot,
        decision_set_id, seen_at.
        """
        return [dict(r) for r in self._db.rows(_DIVERGENCES, book)]

    def orders(
        self, book: str, states: Sequence[OrderState] | None = None, *, since: date | None = None
    ) -> list[Working]:
        """See the port."""
        wanted = [s.value for s in (OrderState if states is None else states)]
        marks = ", ".join("?" for _ in wanted)
        query = f"SELECT * FROM orders WHERE book = ? AND decided >= ? AND state IN ({marks}) ORDER BY client_order_id"
        found = self._db.rows(query, book, (since or date.min).isoformat(), *wanted)
        return [Working(record(r, Order), OrderState(r["state"]), r["filled"]) for r in found]

    def parts(self, account: str, *, since: date | None = None) -> list[Part]:
        """See the port."""
        return [record(r, Part) for r in self._db.rows(_PARTS, account, (since or date.min).isoformat())]

    def altered(self) -> Sequence[str]:
        """The client order ids of rows that are not the orders that were bound, in order."""
        found = self._db.rows("SELECT * FROM orders ORDER BY client_order_id")
        return [row["client_order_id"] for row in found if row["hash"] != order_hash(row)]

    def since(self, client_order_id: str) -> datetime:
        """See the port."""
        return datetime.fromisoformat(self._db.rows(_SINCE, client_order_id)[0]["at"])

    def events(self, client_order_id: str) -> Sequence[Mapping[str, str | int]]:
        """What happened to an order: state, filled, reason, at; oldest first."""
        return [dict(r) for r in self._db.rows(_EVENTS, client_order_id)]

    @contextmanager
    def lease(self, book: Book, seconds: float) -> Generator[SqliteWriter]:
        """See the port."""
        lease = Lease(self._db, book, seconds)
        try:
            yield SqliteWriter(self._db, book, lease)
        finally:
            lease.release()


def _set_id(found: Sequence[Row]) -> str | None:
    return found[0]["decision_set_id"] if found else None
