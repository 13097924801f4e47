"""The outbox: every order is a durable intent first, and leaves exactly once.

    PENDING ─commit─► SUBMITTING ─wire─► ACKED ─► PARTIAL ─► FILLED | CANCELED | REJECTED | EXPIRED
       │                  │ error or restart
       ▼                  ▼
    EXPIRED            UNKNOWN ─query by client order id─► ACKED …
    CANCELED              ├─ absent after the settle window ─► PENDING
                          └─ cannot be proven ─► HELD (a person decides)

Only the transaction that takes an order from PENDING to SUBMITTING, and reads the kill switch there, allows one send.
Whoever finds an order SUBMITTING or UNKNOWN did not see the answer, and asks the venue before anything else.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from quant_assets.calendars import Calendar
from quant_assets.errors import OrderRejected, OrderUncertain
from quant_assets.ports import Broker, Ledger, Notifier
from quant_assets.records import Book, Fill, Order, OrderState

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
OPEN = tuple(s for s in _S if not s.terminal)


def allowed(state: OrderState, then: OrderState) -> bool:
    """Whether the state machine has this transition."""
    return then in TRANSITIONS.get(state, frozenset())


def recover(
    ledger: Ledger, broker: Broker, book: Book, *, now: datetime, settle_seconds: float, notifier: Notifier
) -> int:
    """Settle what an interrupted run left unsure, by asking the venue; return how many orders are still unsure.

    Found: the venue's word. Absent for `settle_seconds` since we last tried: PENDING again. The venue cannot say: HELD
    after that time, and somebody is told.
    """
    unsure = 0
    for item in ledger.orders(book.name, UNSURE):
        order = item.order
        if item.state is _S.SUBMITTING:
            ledger.transition(order.client_order_id, _S.UNKNOWN, reason="the venue's answer was not seen")
        settled = settle_seconds <= 0 or now - ledger.since(order.client_order_id) >= timedelta(seconds=settle_seconds)
        try:
            held = broker.find(order.client_order_id)
        except OrderUncertain as error:
            if settled:
                ledger.transition(order.client_order_id, _S.HELD, reason=str(error))
                notifier.notify(
                    "critical",
                    f"{book.name}: order {order.client_order_id} is held",
                    f"The venue cannot say whether it has it: {error}. A person decides.",
                )
            unsure += not settled
            continue
        if held is not None:
            ledger.transition(
                order.client_order_id,
                held.state,
                filled=held.filled,
                broker_order_id=held.broker_order_id,
                reason="found at the venue",
            )
        elif settled:
            ledger.transition(order.client_order_id, _S.PENDING, reason="the venue holds nothing under this id")
        unsure += held is None and not settled
    return unsure


def send(ledger: Ledger, broker: Broker, book: Book, *, now: datetime, calendar: Calendar, notifier: Notifier) -> int:
    """Send what is PENDING, sales first; return how many orders the venue acknowledged. An order whose open has passed, or does not come, is EXPIRED unsent.

    Stops where the kill switch is on. Raises LeaseLost where another process writes the account.
    """
    sent = 0
    pending = sorted(
        (w.order for w in ledger.orders(book.name, (_S.PENDING,))), key=lambda o: (o.decided, o.side, o.sid)
    )
    for order in pending:
        if not calendar.is_session(order.session):
            why = f"CLOSED: {order.session} is no session any more"
            ledger.transition(order.client_order_id, _S.EXPIRED, reason=why)
            notifier.notify("warning", f"{order.book}: order {order.client_order_id} expired unsent", why)
        elif now >= calendar.open(order.session):
            ledger.transition(order.client_order_id, _S.EXPIRED, reason="not sent before its open")
        elif ledger.begin_submit(order.client_order_id):
            sent += _submit(ledger, broker, order, notifier)
    return sent


def _submit(ledger: Ledger, broker: Broker, order: Order, notifier: Notifier) -> bool:
    about = f"{order.book}: order {order.client_order_id} ({order.side * order.quantity} {order.symbol})"
    try:
        broker_order_id = broker.submit(order)
    except OrderRejected as error:
        ledger.transition(order.client_order_id, _S.REJECTED, reason=str(error))
        notifier.notify("warning", f"{about} was rejected", str(error))
    except Exception as error:  # noqa: BLE001  # whatever broke, the order may have arrived
        ledger.transition(order.client_order_id, _S.UNKNOWN, reason=repr(error))
        notifier.notify("warning", f"{about}: the venue did not say", repr(error))
    else:
        ledger.transition(order.client_order_id, _S.ACKED, broker_order_id=broker_order_id)
        return True
    return False


def pump(
    ledger: Ledger,
    broker: Broker,
    book: Book,
    *,
    now: datetime,
    calendar: Calendar,
    notifier: Notifier,
    settle_seconds: float = 0,
) -> int:
    """`recover`, then `send`; return how many orders the venue acknowledged. Any number of times, killed anywhere: each order arrives once."""
    recover(ledger, broker, book, now=now, settle_seconds=settle_seconds, notifier=notifier)
    return send(ledger, broker, book, now=now, calendar=calendar, notifier=notifier)


def drop_copy(ledger: Ledger, broker: Broker, book: Book, first: date | None = None) -> list[Fill]:
    """Bring the venue's record home: book its executions from session `first` on, move our orders to its states; return the executions that were new.

    What the state machine does not allow (an order of ours that never left, a second one under the same id) is left to reconciliation.
    """
    new = [fill for fill in broker.executions(first) if ledger.book_fill(book.name, fill)]
    ours = {w.order.client_order_id: (w.state, w.filled) for w in ledger.orders(book.name)}
    for theirs in broker.orders():
        state, filled = ours.pop(theirs.client_order_id, (_S.PENDING, 0))
        news = (state, filled) != (theirs.state, theirs.filled) and theirs.filled >= filled
        if news and state is not _S.PENDING and allowed(state, theirs.state):
            ledger.transition(
                theirs.client_order_id,
                theirs.state,
                filled=theirs.filled,
                broker_order_id=theirs.broker_order_id,
                reason=theirs.reason,
            )
    return new
