"""The venue's own record comes home: executions are booked once, orders take the state that the venue gives them."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from quant_assets.books.booking import record_fills, record_orders
from quant_assets.calendars import Cuts
from quant_assets.execution.outbox import LEASE_SECONDS, drop_copy
from quant_assets.ports import Broker, Brokers, Clock, Executions, Outbox, Store
from quant_assets.records import Book, StageReport


def collect(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    broker: Broker,
    book: Book,
    cuts: Cuts,
    session: date,
    now: datetime,
) -> StageReport:
    """Book the venue's executions up to `session` in the ledger, write FILLS and ORDERS. Again: a no-op.

    Raises LeaseLost where another process writes the account.
    """
    with outbox.lease(book, LEASE_SECONDS) as writer:
        new = drop_copy(outbox, writer, executions, broker, book, now=now)
    fills = [f for f in executions.fills(book.name) if f.session <= session]
    written = record_fills(store, book, fills, cuts.of(session)) + record_orders(
        store, book, session, outbox.orders(book.name), cuts.of(session)
    )
    today = [f for f in fills if f.session == session]
    return StageReport(
        stage="fills",
        first=session,
        last=session,
        state="done" if today else "empty",
        reason="" if today else "the venue executed nothing in this session",
        rows=written,
        numbers={"fills": len(today), "booked": len(new), "notional": float(sum(f.quantity * f.price for f in today))},
    )


def collect_fills(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    brokers: Brokers,
    books: Sequence[Book],
    cuts: Cuts,
    clock: Clock,
    sessions: Sequence[date],
) -> Iterator[StageReport]:
    """Bring home what each book's venue did in the sessions; a venue that is simulated trades them first."""
    for session in sessions:
        for book in books:
            broker = brokers.open(book)
            broker.sync(session)
            yield collect(store, outbox, executions, broker, book, cuts, session, clock.now())
