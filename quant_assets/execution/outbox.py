"""The outbox: every order is a durable intent first, and leaves exactly once.

    PENDING ─commit─► SUBMITTING ─wire─► ACKED ─► PARTIAL ─► FILLED | CANCELED | REJECTED | EXPIRED
       │                  │ error or restart
       ▼                  ▼
    EXPIRED            UNKNOWN ─query by client order id─► ACKED …
    CANCELED              ├─ absent after the settle window ─► PENDING
                          └─ cannot be proven ─► HELD (a person decides)

Only the transaction that takes an order from PENDING to SUBMITTING, and reads the kill switches there, allows one
send. Only the Writer of a lease in force has it. Whoever finds an order SUBMITTING or UNKNOWN did not see the answer,
and asks the venue before anything else.
"""

from collections.abc import Mapping
from datetime import timedelta

from quant_assets.calendars import Calendar
from quant_assets.errors import OrderRejected, OrderUncertain
from quant_assets.ports import Broker, Clock, Notifier, Outbox, Writer
from quant_assets.records import Book, Order, OrderState

_S = OrderState
_ENDS = {_S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED}
TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    _S.PENDING: frozenset({_S.SUBMITTING, _S.CANCELED, _S.EXPIRED}),
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


def allowed(state: OrderState, then: OrderState) -> bool:
    """Whether the state machine has this transition."""
    return then in TRANSITIONS.get(state, frozenset())


def recover(outbox: Outbox, writer: Writer, broker: Broker, book: Book, *, clock: Clock, notifier: Notifier) -> int:
    """Settle what an interrupted run left unsure, by asking the venue; return how many orders are still unsure.

    Found: the order takes the venue's state. Absent for the venue's settle window since the last event: PENDING
    again. Where the venue
    cannot answer: HELD after that time, and somebody is notified. `clock` is the one whose time the events have.
    """
    unsure = 0
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
                notifier.notify(
                    "critical",
                    f"{book.name}: order {key} is held",
                    f"The venue cannot say whether it has it: {error}. A person decides.",
                )
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
) -> int:
    """Send what is PENDING, sales first; return how many orders the venue acknowledged.

    The clock is asked before each order. An order whose open has passed, or does not come, is EXPIRED unsent. What a
    kill switch stops remains PENDING. Raises LeaseLost where another process took the account over.
    """
    sent = 0
    pending = sorted(
        (w.order for w in outbox.orders(book.name, (_S.PENDING,))), key=lambda o: (o.decided, o.side, o.sid)
    )
    for order in pending:
        key, now = order.client_order_id, clock.now()
        if not calendar.is_session(order.session):
            why = f"CLOSED: {order.session} is no session any more"
            writer.transition(key, _S.EXPIRED, now=now, reason=why)
            notifier.notify("warning", f"{order.book}: order {key} expired unsent", why)
        elif now >= calendar.open(order.session):
            writer.transition(key, _S.EXPIRED, now=now, reason="not sent before its open")
        elif writer.begin_submit(key, now=now):
            sent += _submit(writer, broker, order, clock, notifier)
    return sent


def _submit(writer: Writer, broker: Broker, order: Order, clock: Clock, notifier: Notifier) -> bool:
    key = order.client_order_id
    about = f"{order.book}: order {key} ({order.side * order.quantity} {order.symbol})"
    try:
        broker_order_id = broker.submit(order)
    except OrderRejected as error:
        writer.transition(key, _S.REJECTED, now=clock.now(), reason=str(error))
        notifier.notify("warning", f"{about} was rejected", str(error))
    except Exception as error:  # noqa: BLE001  # whatever broke, the order may have arrived
        writer.transition(key, _S.UNKNOWN, now=clock.now(), reason=repr(error))
        notifier.notify("warning", f"{about}: the venue did not answer", repr(error))
    else:
        writer.transition(key, _S.ACKED, now=clock.now(), broker_order_id=broker_order_id)
        return True
    return False
