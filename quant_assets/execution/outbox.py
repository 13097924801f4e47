"""The outbox: every order is a durable intent first, and leaves exactly once.

    PENDING ─commit─► SUBMITTING ─wire─► ACKED ─► PARTIAL ─► FILLED | CANCELED | REJECTED | EXPIRED
       │                  │ error or restart
       ▼                  ▼
    EXPIRED            UNKNOWN ─query by client order id─► ACKED …
    CANCELED              ├─ absent after the settle window ─► PENDING
    HELD (altered)        └─ cannot be proven ─► HELD (a person decides)

The venue is asked before an order is sent, for a ledger that was restored does not know what left after its copy: what
the venue has takes its state there and is not sent.
Only the transaction that takes an order from PENDING to SUBMITTING, and reads the kill switches there, allows one
send. Only the Writer of a lease in force has it. Whoever finds an order SUBMITTING or UNKNOWN did not see the answer,
and asks the venue before anything else.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from quant_assets.calendars import Calendar
from quant_assets.calendars.auctions import CLOSE, auction_time
from quant_assets.calendars.slots import Slot, slot_named
from quant_assets.errors import OrderHeld, OrderRejected, OrderUncertain
from quant_assets.moments import Every
from quant_assets.ports import Broker, Clock, Notifier, Outbox, Writer
from quant_assets.records import Book, Order, OrderState
from quant_assets.stopping import check

_S = OrderState
_ENDS = {_S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED}
TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    _S.PENDING: frozenset({_S.SUBMITTING, _S.HELD, _S.ACKED, _S.PARTIAL, *_ENDS}),
    _S.SUBMITTING: frozenset({_S.ACKED, _S.PARTIAL, *_ENDS, _S.UNKNOWN}),
    _S.UNKNOWN: frozenset({_S.ACKED, _S.PARTIAL, *_ENDS, _S.PENDING, _S.HELD}),
    _S.HELD: frozenset({_S.ACKED, _S.PARTIAL, *_ENDS, _S.PENDING}),
    _S.ACKED: frozenset({_S.PARTIAL, *_ENDS}),
    _S.PARTIAL: frozenset({_S.PARTIAL, *_ENDS}),
}
UNSURE = (_S.SUBMITTING, _S.UNKNOWN)
LEASE_SECONDS = 300.0
NO_TIME = timedelta(0)
OPEN = tuple(s for s in _S if not s.terminal)


Failed = defaultdict[str, list[str]]
"""What went wrong with orders: a line for each, by what it was."""
ALTERED = "are held: they are not what was bound"
Check = Callable[[Order], tuple[OrderState, str] | None]
"""Before an order leaves: None where it may, else what it becomes (HELD or CANCELED) and why."""


def as_bound(order: Order) -> None:  # the Check that finds nothing
    """The Check of orders that nothing but their hash can be compared with."""


def allowed(state: OrderState, then: OrderState) -> bool:
    """Whether the state machine has this transition."""
    return then in TRANSITIONS.get(state, frozenset())


def recover(outbox: Outbox, writer: Writer, broker: Broker, book: Book, *, clock: Clock, notifier: Notifier) -> int:
    """Settle what an interrupted run left unsure, by asking the venue; return how many orders are still unsure.

    Found: the order takes the venue's state. Absent for the venue's settle window since the last event: PENDING
    again. Where the venue cannot answer: HELD after that time, with one notice of all that are. `clock` is the one
    whose time the events have.
    """
    unsure, unproven = 0, list[str]()
    for item in outbox.orders(book.name, UNSURE):
        key, now = item.order.client_order_id, clock.now()
        if item.state is _S.SUBMITTING:
            writer.transition(key, _S.UNKNOWN, now=now, reason="the venue's answer was not seen")
        # without a window no time counts: an older release stamped events of a historical run by the wall's clock
        settle = broker.settle_window
        settled = settle <= NO_TIME or now - outbox.since(key) >= settle
        try:
            held = broker.find(key)
        except OrderUncertain as error:
            if settled:
                writer.transition(key, _S.HELD, now=now, reason=str(error))
                unproven.append(f"{_words(item.order)}: {error}")
            unsure += not settled
            continue
        if held is not None:
            writer.transition(
                key,
                held.state,
                now=now,
                filled=held.filled,
                broker_order_id=held.broker_order_id,
                reason="found at the venue",
            )
        elif settled:
            writer.transition(key, _S.PENDING, now=now, reason="the venue holds nothing under this id")
        unsure += held is None and not settled
    if unproven:
        lines = "\n".join(unproven)
        subject = f"{book.name}: {len(unproven)} order(s) are held, a person decides"
        notifier.notify("critical", subject, f"The venue cannot answer whether it has them:\n{lines}")
    return unsure


def send(
    outbox: Outbox,
    writer: Writer,
    broker: Broker,
    book: Book,
    *,
    clock: Clock,
    calendar: Calendar,
    notifier: Notifier,
    compare: Check = as_bound,
    slot: Slot | None = None,
) -> int:
    """Send what is PENDING, sales first; return how many orders the venue acknowledged.

    `slot`: send the orders of this slot alone, before its `valid_until`. The clock is asked before each order. An
    order whose open has passed, or does not come, is EXPIRED unsent; one that the venue has already takes its state.
    What `compare` finds not to be as it was bound is HELD, what it finds beyond the limits CANCELED. What a kill
    switch stops, or the venue cannot be asked about, remains PENDING. Raises LeaseLost where another process took the
    account over, Stopped between two orders where a signal asks for it.
    """
    sent, failed = 0, Failed(list)
    try:
        for order in _pending(outbox, book):
            if slot is not None and (order.session, order.slot) != (slot.session, slot.slot):
                continue
            check()  # what was committed is sent; the next is left PENDING
            now = clock.now()
            if (why := _too_late(order, calendar, now, slot)) is not None:
                _expire(writer, order, why, now, failed)
            elif _may_leave(writer, broker, order, compare(order), now, failed):
                sent += _submit(writer, broker, order, clock, failed)
    finally:
        _notify(notifier, book, failed)
    return sent


def _may_leave(
    writer: Writer, broker: Broker, order: Order, unlike: tuple[OrderState, str] | None, now: datetime, failed: Failed
) -> bool:
    """Whether an order became SUBMITTING: it is as it was bound, the venue does not have it, and no switch is on."""
    key = order.client_order_id
    if unlike is not None:
        state, why = unlike
        writer.transition(key, state, now=now, reason=why)
        failed[ALTERED if state is _S.HELD else "were not sent"].append(f"{_words(order)}: {why}")
        return False
    try:
        there = broker.find(key)
    except OrderUncertain as error:
        failed["were not sent, for the venue cannot be asked about them"].append(f"{_words(order)}: {error}")
        return False
    if there is None:
        try:
            return writer.begin_submit(key, now=now)
        except OrderHeld as error:
            failed[ALTERED].append(f"{_words(order)}: {error}")
            return False
    if (there.sid, there.side, there.quantity) != (order.sid, order.side, order.quantity):
        why = f"the venue has another order under its id: {there.side * there.quantity} of sid {there.sid}"
        writer.transition(key, _S.HELD, now=now, reason=why)
        failed[ALTERED].append(f"{_words(order)}: {why}")
        return False
    writer.transition(
        key,
        there.state,
        now=now,
        filled=there.filled,
        broker_order_id=there.broker_order_id,
        reason="the venue has it already",
    )
    return False


def expire(
    outbox: Outbox,
    writer: Writer,
    book: Book,
    *,
    clock: Clock,
    calendar: Calendar,
    notifier: Notifier,
    every: Every | None = None,
) -> None:
    """Record as EXPIRED what is PENDING and whose open has passed, or does not come. It sends nothing."""
    failed = Failed(list)
    for order in _pending(outbox, book):
        now = clock.now()
        slot = slot_named(calendar, every, order.session, order.slot) if every else None
        why = f"CLOSED: {order.session} has no slot {order.slot}" if every and slot is None else None
        if (why := why or _too_late(order, calendar, now, slot)) is not None:
            _expire(writer, order, why, now, failed)
    _notify(notifier, book, failed)


def _notify(notifier: Notifier, book: Book, failed: Failed) -> None:
    """One notice for each thing that went wrong, however many orders it met."""
    for what, lines in failed.items():
        severity = "critical" if what == ALTERED else "warning"
        notifier.notify(severity, f"{book.name}: {len(lines)} order(s) {what}", "\n".join(lines))


def _pending(outbox: Outbox, book: Book) -> list[Order]:
    """What is PENDING, sales first."""
    return sorted((w.order for w in outbox.orders(book.name, (_S.PENDING,))), key=lambda o: (o.decided, o.side, o.sid))


def _too_late(order: Order, calendar: Calendar, now: datetime, slot: Slot | None) -> str | None:
    """Why an order may not be sent at a time; None where it may."""
    if not calendar.is_session(order.session):
        return f"CLOSED: {order.session} is no session any more"
    if slot is not None:
        return f"not sent before {slot.valid_until:%H:%M} UTC" if now >= slot.valid_until else None
    auction = CLOSE if order.slot == CLOSE else "open"
    return f"not sent before its {auction}" if now >= auction_time(calendar, order.session, order.slot) else None


def _expire(writer: Writer, order: Order, why: str, now: datetime, failed: Failed) -> None:
    writer.transition(order.client_order_id, _S.EXPIRED, now=now, reason=why)
    failed["expired unsent"].append(f"{_words(order)}: {why}")


def _submit(writer: Writer, broker: Broker, order: Order, clock: Clock, failed: Failed) -> bool:
    key = order.client_order_id
    try:
        broker_order_id = broker.submit(order)
    except OrderRejected as error:
        writer.transition(key, _S.REJECTED, now=clock.now(), reason=str(error))
        failed["were rejected"].append(f"{_words(order)}: {error}")
    except Exception as error:  # noqa: BLE001  # whatever broke, the order may have arrived
        writer.transition(key, _S.UNKNOWN, now=clock.now(), reason=repr(error))
        failed["have no answer of the venue"].append(f"{_words(order)}: {error!r}")
    else:
        writer.transition(key, _S.ACKED, now=clock.now(), broker_order_id=broker_order_id)
        return True
    return False


def _words(order: Order) -> str:
    return f"{order.client_order_id} ({order.side * order.quantity} {order.symbol})"
