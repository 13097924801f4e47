"""The operational database on SQLite: outbox, bindings, executions booked, cuts, kill switch, breaks, audit, leases.

Money is decimal text and times are UTC text, so nothing is rounded. The SQL is standard but for STRICT, so that
PostgreSQL can take its place. `order_events` and `audit` are only ever appended to.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from sqlite3 import Connection, Row
from typing import TypeVar
from uuid import uuid4

import msgspec

from quant_assets.errors import ExecutionError, LeaseLost
from quant_assets.execution.outbox import allowed
from quant_assets.records import Book, Break, Fill, Order, OrderState, Working
from resources.ledger.database import Database

VERSION = 1
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
CREATE TABLE IF NOT EXISTS kill_switch (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)), reason TEXT NOT NULL) STRICT;
INSERT INTO kill_switch (one, is_on, reason) VALUES (1, 0, '') ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS breaks (
    break_id TEXT NOT NULL PRIMARY KEY, book TEXT NOT NULL, session TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('order', 'fill', 'position', 'cash')),
    subject TEXT NOT NULL, ours TEXT NOT NULL, theirs TEXT NOT NULL, opened_at TEXT NOT NULL, resolved_at TEXT, resolved_by TEXT, resolution TEXT) STRICT;
CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, act TEXT NOT NULL, subject TEXT NOT NULL, by TEXT NOT NULL CHECK (by <> ''), reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS leases (account TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, until TEXT NOT NULL) STRICT;
"""


def _wall() -> datetime:
    return datetime.now(UTC)


class SqliteLedger:
    """The Ledger port on one file. `clock` stamps events; leases always run on the wall clock, for they guard processes."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = _wall) -> None:
        self._db = Database(path, SCHEMA, VERSION)
        self._clock = clock
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex}"
        self._leases: dict[str, tuple[str, int]] = {}  # book -> account, token

    def note_cut(self, as_of: datetime) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute("INSERT INTO cuts (as_of) VALUES (?) ON CONFLICT DO NOTHING", (_utc(as_of),))

    def latest_cut(self) -> datetime | None:
        """See the port."""
        (latest,) = self._db.rows("SELECT max(as_of) FROM cuts")[0]
        return None if latest is None else datetime.fromisoformat(latest)

    def bind(self, book: str, strategy: str, session: date, decision_set_id: str, orders: Sequence[Order]) -> str:
        """See the port."""
        about, at = (book, strategy, session.isoformat()), self._now()
        with self._db.transaction() as tx:
            bound = _bound(tx.execute(_BOUND, about).fetchall())
            if bound is None:
                tx.execute(
                    "INSERT INTO bindings (book, strategy, session, decision_set_id, bound_at) VALUES (?, ?, ?, ?, ?)",
                    (*about, decision_set_id, at),
                )
                for order in orders:
                    _insert(tx, "orders", {**_plain(order), "state": OrderState.PENDING.value, "filled": 0})
                    self._event(tx, order.client_order_id, OrderState.PENDING, 0, "")
            elif bound != decision_set_id:
                tx.execute(
                    "INSERT INTO divergences (book, strategy, session, decision_set_id, seen_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (*about, decision_set_id, at),
                )
        return bound or decision_set_id

    def bound(self, book: str, strategy: str, session: date) -> str | None:
        """See the port."""
        return _bound(self._db.rows(_BOUND, book, strategy, session.isoformat()))

    def divergences(self, book: str) -> list[dict[str, str]]:
        """Decision sets that came after the one that binds: book, strategy, session, decision_set_id, seen_at."""
        return [
            dict(r)
            for r in self._db.rows("SELECT * FROM divergences WHERE book = ? ORDER BY session, decision_set_id", book)
        ]

    def orders(self, book: str, states: Sequence[OrderState] | None = None) -> list[Working]:
        """See the port."""
        wanted = tuple(OrderState) if states is None else tuple(states)
        marks = ", ".join("?" for _ in wanted)
        found = self._db.rows(
            f"SELECT * FROM orders WHERE book = ? AND state IN ({marks}) ORDER BY client_order_id",
            book,
            *(s.value for s in wanted),
        )
        return [Working(order=_record(r, Order), state=OrderState(r["state"]), filled=r["filled"]) for r in found]

    def since(self, client_order_id: str) -> datetime:
        """See the port."""
        (at,) = self._db.rows(
            "SELECT at FROM order_events WHERE client_order_id = ? ORDER BY seq DESC LIMIT 1", client_order_id
        )[0]
        return datetime.fromisoformat(at)

    def events(self, client_order_id: str) -> list[dict[str, str | int]]:
        """What happened to an order: state, filled, reason, at; oldest first."""
        return [
            dict(r)
            for r in self._db.rows(
                "SELECT state, filled, reason, at FROM order_events WHERE client_order_id = ? ORDER BY seq",
                client_order_id,
            )
        ]

    def begin_submit(self, client_order_id: str) -> bool:
        """See the port."""
        with self._db.transaction() as tx:
            order = _one(tx, client_order_id)
            self._still_ours(tx, order["book"])
            switch = tx.execute("SELECT is_on FROM kill_switch").fetchone()
            if switch is None or switch["is_on"] or order["state"] != OrderState.PENDING:
                return False
            self._change(tx, order, OrderState.SUBMITTING, order["filled"], None, "")
        return True

    def transition(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        filled: int | None = None,
        broker_order_id: str | None = None,
        reason: str = "",
    ) -> None:
        """See the port. Saying again what is known already is a no-op."""
        with self._db.transaction() as tx:
            order = _one(tx, client_order_id)
            now_filled = order["filled"] if filled is None else filled
            if (order["state"], order["filled"]) == (state.value, now_filled):
                return
            if now_filled < order["filled"] or not allowed(OrderState(order["state"]), state):
                raise ExecutionError(
                    f"order {client_order_id} is {order['state']} with {order['filled']} filled; it cannot become {state} with {now_filled}"
                )
            self._change(tx, order, state, now_filled, broker_order_id, reason)

    def lease(self, book: Book, seconds: float) -> int:
        """See the port."""
        now = _wall()
        with self._db.transaction() as tx:
            held = tx.execute("SELECT holder, token, until FROM leases WHERE account = ?", (book.account,)).fetchone()
            if (
                held is not None
                and held["holder"] != self._holder
                and held["until"] > _utc(now)
                and not _dead(held["holder"])
            ):
                raise LeaseLost(
                    f"another process writes account {book.account} until {held['until']}; wait for it, or stop it"
                )
            token = 1 if held is None else held["token"] + (held["holder"] != self._holder)
            values = (self._holder, token, _utc(now + timedelta(seconds=seconds)), book.account)
            tx.execute(
                "INSERT INTO leases (holder, token, until, account) VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET holder = excluded.holder, token = excluded.token, until = excluded.until",
                values,
            )
        self._leases[book.name] = (book.account, token)
        return token

    def release(self, book: Book) -> None:
        """See the port."""
        _, token = self._leases.pop(book.name, ("", -1))
        with self._db.transaction() as tx:
            tx.execute(
                "UPDATE leases SET until = '' WHERE account = ? AND holder = ? AND token = ?",
                (book.account, self._holder, token),
            )

    def book_fill(self, book: str, fill: Fill) -> bool:
        """See the port. Raises ExecutionError where the exec_id is booked with another content."""
        with self._db.transaction() as tx:
            standing = tx.execute("SELECT * FROM fills WHERE book = ? AND exec_id = ?", (book, fill.exec_id)).fetchone()
            if standing is None:
                _insert(tx, "fills", {"book": book, **_plain(fill)})
            elif _record(standing, Fill) != fill:
                raise ExecutionError(
                    f"execution {fill.exec_id} of {book} is booked as {_record(standing, Fill)} and now reported as {fill}; a correction needs its own exec_id"
                )
        return standing is None

    def fills(self, book: str, first: date | None = None, last: date | None = None) -> list[Fill]:
        """See the port; by session and exec_id."""
        edges = ((first or date.min).isoformat(), (last or date.max).isoformat())
        found = self._db.rows(
            "SELECT * FROM fills WHERE book = ? AND session BETWEEN ? AND ? ORDER BY session, exec_id", book, *edges
        )
        return [_record(r, Fill) for r in found]

    def kill_switch(self) -> tuple[bool, str]:
        """See the port; an unreadable switch is on."""
        found = self._db.rows("SELECT is_on, reason FROM kill_switch")
        return (bool(found[0]["is_on"]), found[0]["reason"]) if found else (True, "the switch's state is missing")

    def set_kill_switch(self, on: bool, *, by: str, reason: str) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            tx.execute(
                "INSERT INTO kill_switch (one, is_on, reason) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET is_on = excluded.is_on, reason = excluded.reason",
                (int(on), reason),
            )
            self._audit(tx, f"kill-switch {'on' if on else 'off'}", "all books", by, reason)

    def open_break(self, found: Break) -> bool:
        """See the port."""
        with self._db.transaction() as tx:
            done = tx.execute("SELECT 1 FROM breaks WHERE break_id = ?", (found.break_id,)).fetchone()
            if done is None:
                _insert(tx, "breaks", {**_plain(found), "opened_at": self._now()})
        return done is None

    def breaks(self, book: str | None = None, *, open_only: bool = True) -> list[dict[str, str]]:
        """See the port."""
        found = self._db.rows(
            "SELECT * FROM breaks WHERE (? IS NULL OR book = ?) AND (? = 0 OR resolved_at IS NULL) ORDER BY session, opened_at, break_id",
            book,
            book,
            int(open_only),
        )
        return [{k: r[k] or "" for k in r.keys()} for r in found]  # noqa: SIM118  # a Row iterates over values

    def resolve_break(self, break_id: str, *, by: str, reason: str) -> None:
        """See the port. Raises ExecutionError where no such break is open."""
        with self._db.transaction() as tx:
            values = (self._now(), by, reason, break_id)
            done = tx.execute(
                "UPDATE breaks SET resolved_at = ?, resolved_by = ?, resolution = ? WHERE break_id = ? AND resolved_at IS NULL",
                values,
            )
            if done.rowcount != 1:
                raise ExecutionError(f"no open break {break_id}; `quant breaks list` shows them")
            self._audit(tx, "resolve break", break_id, by, reason)

    def audit(self, act: str, subject: str, *, by: str, reason: str) -> None:
        """See the port."""
        with self._db.transaction() as tx:
            self._audit(tx, act, subject, by, reason)

    def audited(self) -> list[dict[str, str]]:
        """Every human act: at, act, subject, by, reason; oldest first."""
        return [dict(r) for r in self._db.rows("SELECT at, act, subject, by, reason FROM audit ORDER BY seq")]

    def _now(self) -> str:
        return _utc(self._clock())

    def _audit(self, tx: Connection, act: str, subject: str, by: str, reason: str) -> None:
        if not by.strip():
            raise ExecutionError(f"{act}: say who does it (by); every act of a person is on record")
        tx.execute(
            "INSERT INTO audit (at, act, subject, by, reason) VALUES (?, ?, ?, ?, ?)",
            (self._now(), act, subject, by, reason),
        )

    def _change(
        self, tx: Connection, order: Row, state: OrderState, filled: int, broker_order_id: str | None, reason: str
    ) -> None:
        values = (state.value, filled, broker_order_id or order["broker_order_id"], order["client_order_id"])
        tx.execute("UPDATE orders SET state = ?, filled = ?, broker_order_id = ? WHERE client_order_id = ?", values)
        self._event(tx, order["client_order_id"], state, filled, reason)

    def _event(self, tx: Connection, client_order_id: str, state: OrderState, filled: int, reason: str) -> None:
        tx.execute(
            "INSERT INTO order_events (client_order_id, state, filled, reason, at) VALUES (?, ?, ?, ?, ?)",
            (client_order_id, state.value, filled, reason, self._now()),
        )

    def _still_ours(self, tx: Connection, book: str) -> None:
        if book not in self._leases:
            return
        account, token = self._leases[book]
        held = tx.execute("SELECT holder, token FROM leases WHERE account = ?", (account,)).fetchone()
        if held is None or (held["holder"], held["token"]) != (self._holder, token):
            raise LeaseLost(f"another process became the writer of account {account}; nothing more is sent from here")


_BOUND = "SELECT decision_set_id FROM bindings WHERE book = ? AND strategy = ? AND session = ?"


def _bound(found: Sequence[Row]) -> str | None:
    return found[0]["decision_set_id"] if found else None


def _dead(holder: str) -> bool:
    """Whether a process of this machine is gone; of another machine nothing is known, its lease has to run out."""
    host, pid, _ = holder.split("/")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _one(tx: Connection, client_order_id: str) -> Row:
    found = tx.execute("SELECT * FROM orders WHERE client_order_id = ?", (client_order_id,)).fetchone()
    if found is None:
        raise ExecutionError(f"the outbox holds no order {client_order_id}")
    return found


def _insert(tx: Connection, table: str, values: Mapping[str, object]) -> None:
    tx.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' for _ in values)})", tuple(values.values())
    )


def _plain(record: Order | Fill | Break) -> dict[str, object]:
    """The record as SQLite takes it: dates, times and decimals as text."""
    return {f: _text(getattr(record, f)) for f in record.__struct_fields__}


def _text(value: object) -> object:
    if isinstance(value, datetime):
        return _utc(value)
    return f"{value:f}" if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else value


T = TypeVar("T", Order, Fill)


def _record(row: Row, kind: type[T]) -> T:
    return msgspec.convert({f: row[f] for f in kind.__struct_fields__}, kind)


def _utc(at: datetime) -> str:
    """Fixed width, so that text order is time order."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
