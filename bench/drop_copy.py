"""CPU seconds of a drop copy with nothing new on a long history: bench/drop_copy.py [FILLS]; target 0.1 for 40,000."""

import resource
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl

from quant_assets.backtest.fills import FillModel
from quant_assets.books.rows import fill_rows, order_rows
from quant_assets.calendars import Cuts, calendar
from quant_assets.execution.drop_copy import collect
from quant_assets.records import Book, Fill, Order, OrderState, Working
from quant_assets.tables import ACTIONS, BARS, FILLS, ORDERS
from resources.brokers.paper import PaperBroker
from resources.ledger.open import FILE, open_ledger
from resources.ledger.rows import columns
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
LAST = date(2025, 6, 30)
A_DAY = 80
BOOK = Book(name="desk", strategy="s", account="A1", capital=Decimal(10_000_000), broker="paper", armed=True)


def cpu() -> float:
    """User and system seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def order(session: date, sid: int) -> Order:
    """A day order of one name."""
    return Order(
        client_order_id=f"q{session:%Y%m%d}{sid:04}",
        book=BOOK.name,
        strategy=BOOK.strategy,
        decided=CUTS.calendar.before(session),
        session=session,
        good_till=session,
        slot="open",
        sid=sid,
        leg="rebalance",
        symbol=f"S{sid}",
        side=1,
        quantity=10,
        reference_price=Decimal(20),
        decision_id="d",
    )


def fill(of: Order) -> Fill:
    """It filled whole, at the open."""
    return Fill(
        exec_id=f"x{of.client_order_id}",
        client_order_id=of.client_order_id,
        session=of.session,
        sid=of.sid,
        side=of.side,
        quantity=of.quantity,
        price=Decimal(20),
        fee=Decimal(1),
        arrival_price=Decimal(20),
        ts=CUTS.calendar.open(of.session),
    )


def history(store: DeltaStore, ledger: Path, venue: Path, sessions: list[date]) -> None:
    """Orders and fills of every session, in the ledger's file, in the venue's and in the tables."""
    orders = [order(session, sid) for session in sessions for sid in range(A_DAY)]
    fills = [fill(o) for o in orders]
    with closing(sqlite3.connect(ledger)) as file, file:
        for table, rows in (
            ("orders", [{**columns(o), "state": OrderState.FILLED.value, "filled": o.quantity} for o in orders]),
            ("fills", [{"book": BOOK.name, **columns(f)} for f in fills]),
        ):
            named = ", ".join(rows[0])
            marks = ", ".join("?" for _ in rows[0])
            file.executemany(f"INSERT INTO {table} ({named}) VALUES ({marks})", [tuple(r.values()) for r in rows])
    with closing(sqlite3.connect(venue)) as file, file:
        executed = [(f.exec_id, f.session.isoformat(), msgspec.json.encode(f).decode()) for f in fills]
        file.executemany("INSERT INTO executions (exec_id, session, content) VALUES (?, ?, ?)", executed)
        sent = [(o.client_order_id, msgspec.json.encode(o).decode(), o.quantity) for o in orders]
        into = "INSERT INTO orders (client_order_id, content, state, filled, reason) VALUES (?, ?, 'FILLED', ?, '')"
        file.executemany(into, sent)
    done = [Working(order=o, state=OrderState.FILLED, filled=o.quantity) for o in orders]
    days = [done[i : i + A_DAY] for i in range(0, len(done), A_DAY)]
    store.append(ORDERS, pl.concat([order_rows(BOOK, s, d, CUTS.of(s)) for s, d in zip(sessions, days, strict=True)]))
    store.append(FILLS, fill_rows(BOOK, fills, CUTS.of(sessions[-1])))


def main(fills: int = 40_000) -> None:
    """A ledger of `fills` executions, and a paper venue that has nothing new."""
    last = CUTS.calendar.before(LAST)
    sessions = CUTS.calendar.between(CUTS.calendar.shift(last, 1 - fills // A_DAY), last)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store, ledger = DeltaStore(root / "tables"), open_ledger(root)
        path = root / "A1.sqlite"
        venue = PaperBroker(path, BOOK, lambda _: (BARS.empty(), ACTIONS.empty()), CUTS, FillModel())
        venue.advance(last)
        history(store, root / FILE, path, sessions)
        took: list[float] = []
        for _ in range(6):
            started = cpu()
            collect(store, ledger.outbox, ledger.executions, venue, BOOK, CUTS, LAST, CUTS.of(LAST))
            took.append(cpu() - started)
    first, *later = (f"{t:.3f}" for t in took)
    print(f"{fills:,} fills booked; CPU seconds: without a cursor {first}, then with nothing new {', '.join(later)}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
