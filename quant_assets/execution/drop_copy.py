"""The venue's record becomes ours: what it reported since our cursor is booked once, and our orders take its states.

One way, once: ask the venue → book its executions → book fees that came apart → move our orders → write FILLS and
ORDERS → advance the cursor. The cursor comes last, so a run that is killed anywhere asks again for what it did not
finish.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec
import polars as pl

from quant_assets.books.booking import record_fills, record_orders
from quant_assets.books.holdings import exact
from quant_assets.calendars import Calendar, Cuts
from quant_assets.contract import in_force, known_by
from quant_assets.errors import CursorUnknown
from quant_assets.execution.outbox import LEASE_SECONDS, OPEN, allowed
from quant_assets.ports import Advances, Broker, Brokers, Clock, Executions, Outbox, Store, Writer
from quant_assets.records import (
    Book,
    BrokerOrder,
    Commission,
    Events,
    Execution,
    Fill,
    Order,
    OrderState,
    StageReport,
    Working,
)
from quant_assets.tables import BARS, ORDERS

RECENT = timedelta(days=31)  # orders decided within it are compared with ORDERS, and older ones that were open last


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
    """Book what the venue reported up to `session` and write FILLS and ORDERS. Again: a no-op.

    A venue that can advance (paper) trades up to the close of `session` first. What belongs to a later session stays at
    the venue until that session is collected. Raises LeaseLost where another process writes the account, ExecutionError
    where an execution or fee is booked with other content.
    """
    if isinstance(broker, Advances):
        broker.advance(session)
    with outbox.lease(book, LEASE_SECONDS) as writer:
        events = _asked(broker, executions.cursor(book.name))
        due = [e for e in events.executions if session_at(cuts.calendar, e.ts) <= session]
        booked = _booked(executions, book, cuts, due)
        fills = booked | {f.exec_id: f for f in _new_fills(store, outbox, book, cuts, due, booked)}
        new = [f for f in fills.values() if f.exec_id not in booked and executions.book_fill(book.name, f)]
        later = {e.exec_id for e in events.executions} - {e.exec_id for e in due}
        fees = [c for c in events.commissions if c.exec_id not in later]
        _book_fees(executions, book, session, fees)
        follow(outbox, writer, book, events.orders, now)
        known = _known_fees(executions, book, fills.values())
        paid = [msgspec.structs.replace(f, fee=f.fee + known.get(f.exec_id, Decimal(0))) for f in fills.values()]
        written = record_fills(store, book, paid, cuts.of(session))
        written += record_orders(store, book, session, _to_record(store, outbox, book, session), cuts.of(session))
        if not later and events.cursor != executions.cursor(book.name):
            executions.advance(book.name, events.cursor)
    today = executions.fills(book.name, session, session)
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
    """Collect what each book's venue reported in the sessions, in order."""
    for session in sessions:
        for book in books:
            broker = brokers.open(book)
            yield collect(store, outbox, executions, broker, book, cuts, session, clock.now())


def session_at(calendar: Calendar, ts: datetime) -> date:
    """The session to which an execution at `ts` belongs: the last one that had opened by then."""
    session = calendar.on_or_before(calendar.local(ts).date())
    if calendar.open(session) > ts:
        return calendar.before(session)
    following = calendar.after(session)  # of futures, it opens on the evening before
    return following if calendar.open(following) <= ts else session


def _asked(broker: Broker, cursor: str | None) -> Events:
    """What the venue reported since the cursor; or all that it vouches for where it does not know the cursor."""
    try:
        return broker.events(cursor)
    except CursorUnknown:
        return broker.events(None)


def _booked(executions: Executions, book: Book, cuts: Cuts, reported: Sequence[Execution]) -> dict[str, Fill]:
    """Those of the reported executions that are booked already. Raises ExecutionError where one has other content."""
    if not reported:
        return {}
    sessions = [session_at(cuts.calendar, e.ts) for e in reported]
    found = {f.exec_id: f for f in executions.fills(book.name, min(sessions), max(sessions))}
    again = {e.exec_id: (found[e.exec_id], e) for e in reported if e.exec_id in found}
    for fill, execution in again.values():
        repeated = _fill(execution, fill.session, fill.arrival_price, fee=fill.fee)
        if repeated != fill:
            executions.book_fill(book.name, repeated)  # which raises, and names both
    return {exec_id: fill for exec_id, (fill, _) in again.items()}


def _new_fills(
    store: Store,
    outbox: Outbox,
    book: Book,
    cuts: Cuts,
    reported: Sequence[Execution],
    booked: Mapping[str, Fill],
) -> list[Fill]:
    """The executions that are not booked yet, with what is ours of them: the session and the arrival price.

    The arrival price is the open of the session's bar as known at its cut; where there is none the order's reference
    price, and for an order that we do not know the price of the execution itself.
    """
    new = {e.exec_id: (session_at(cuts.calendar, e.ts), e) for e in reported if e.exec_id not in booked}
    if not new:
        return []
    opens = _opens(store, cuts, {session for session, _ in new.values()})
    lacking = any((session, e.sid) not in opens for session, e in new.values())
    orders = {w.order.client_order_id: w.order for w in outbox.orders(book.name)} if lacking else {}
    return [_fill(e, s, opens.get((s, e.sid)) or _reference(orders, e)) for s, e in new.values()]


def _reference(orders: Mapping[str, Order], execution: Execution) -> Decimal:
    order = orders.get(execution.client_order_id)
    return execution.price if order is None else order.reference_price


def _opens(store: Store, cuts: Cuts, sessions: set[date]) -> dict[tuple[date, int], Decimal]:
    """The opens by session and sid, as known at the cut of each session."""
    first, last = min(sessions), max(sessions)
    bars = store.read(BARS, as_of=cuts.of(last), first=first, last=last).partition_by("session", as_dict=True)
    opens: dict[tuple[date, int], Decimal] = {}
    for session in sessions:
        known = in_force(known_by(bars.get((session,), BARS.empty()), cuts.of(session)), BARS)
        usable = known.filter(pl.col("open").is_finite(), pl.col("open") > 0)
        opens |= {(session, sid): exact(opened) for sid, opened in usable.select("sid", "open").iter_rows()}
    return opens


def _fill(execution: Execution, session: date, arrival: Decimal, fee: Decimal = Decimal(0)) -> Fill:
    """The execution as ours. `fee`: where the venue reports it apart."""
    return Fill(
        exec_id=execution.exec_id,
        client_order_id=execution.client_order_id,
        session=session,
        sid=execution.sid,
        side=execution.side,
        quantity=execution.quantity,
        price=execution.price,
        fee=fee if execution.fee is None else execution.fee,
        arrival_price=arrival,
        ts=execution.ts,
    )


def _book_fees(executions: Executions, book: Book, session: date, reported: Sequence[Commission]) -> None:
    """Book fees that came apart, each once, in the session that saw it first."""
    if reported:
        for commission in {c.exec_id: c for c in reported}.values():
            executions.book_fee(book.name, commission, session=session)


def _known_fees(executions: Executions, book: Book, fills: Collection[Fill]) -> dict[str, Decimal]:
    """The fees that came apart, of these fills: none is seen before the session of its execution."""
    if not fills:
        return {}
    return {c.exec_id: c.fee for _, c in executions.fees(book.name, min(f.session for f in fills))}


def follow(outbox: Outbox, writer: Writer, book: Book, reported: Sequence[BrokerOrder], now: datetime) -> None:
    """Move our open orders to the states that the venue reported.

    What the state machine does not allow (an order of ours that never left, a second one under the same id) is left to
    reconciliation.
    """
    ours = {w.order.client_order_id: w for w in outbox.orders(book.name, OPEN)} if reported else {}
    for theirs in reported:
        item = ours.pop(theirs.client_order_id, None)
        if item is None or item.state is OrderState.PENDING or theirs.filled < item.filled:
            continue
        if (item.state, item.filled) != (theirs.state, theirs.filled) and allowed(item.state, theirs.state):
            writer.transition(
                theirs.client_order_id,
                theirs.state,
                now=now,
                filled=theirs.filled,
                broker_order_id=theirs.broker_order_id,
                reason=theirs.reason,
            )


def _to_record(store: Store, outbox: Outbox, book: Book, session: date) -> Sequence[Working]:
    """The orders that may have a row of `session` to be written: the recent ones, and those open when rows were last
    written.
    """
    first = session - RECENT
    rows = store.read(ORDERS, as_of=None, first=first, last=session, where={"book": book.name})
    if rows.is_empty():
        return outbox.orders(book.name)
    ended = [s.value for s in OrderState if s.terminal]
    last = rows.filter(pl.col("session") == pl.col("session").max(), ~pl.col("state").is_in(ended))
    return outbox.orders(book.name, since=min([first, *last["decided"].to_list()]))
