"""Our orders take the states that the venue reports; and what it changed its mind about after an order had ended.

The state machine of the outbox has no way out of an end. The venue has: it reports a fill of an order that it had
canceled, or busts one of an order that was filled. Such an order takes the venue's word, once the venue repeats it when
asked for that order, and the change is an event of the order like any other.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from quant_assets.errors import OrderUncertain
from quant_assets.execution.outbox import OPEN, allowed
from quant_assets.ports import Broker, Outbox, Writer
from quant_assets.records import Book, BrokerOrder, Fill, OrderState, Working

S = OrderState
AT_VENUE = frozenset({S.ACKED, S.PARTIAL, S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED})  # what a venue can report


def follow(outbox: Outbox, writer: Writer, book: Book, reported: Sequence[BrokerOrder], now: datetime) -> None:
    """Move our open orders to the states that the venue reported, as far as the state machine allows.

    An order of ours that never left, and a second one under the same id, are left to reconciliation.
    """
    ours = {w.order.client_order_id: w for w in outbox.orders(book.name, OPEN)} if reported else {}
    for theirs in last_reported(reported).values():
        item = ours.get(theirs.client_order_id)
        if item is None or item.state is S.PENDING or theirs.filled < item.filled:
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


def last_reported(reported: Iterable[BrokerOrder]) -> dict[str, BrokerOrder]:
    """By client order id the last state reported; where a venue holds several orders under one id, of the first."""
    found: dict[str, BrokerOrder] = {}
    for order in reported:
        if found.get(order.client_order_id, order).broker_order_id == order.broker_order_id:
            found[order.client_order_id] = order
    return found


def after_the_end(outbox: Outbox, book: Book, entered: Sequence[Fill], since: date) -> list[str]:
    """A sentence for each order that had ended when what was just booked of it was reported. To be asked before the
    orders follow.
    """
    open_orders = {w.order.client_order_id for w in outbox.orders(book.name, OPEN)} if entered else set[str]()
    late = [f for f in entered if not f.corrects and f.client_order_id not in open_orders]
    states = {w.order.client_order_id: w.state for w in outbox.orders(book.name, since=since)} if late else {}
    return [
        f"order {f.client_order_id} was {state} when {f.side * f.quantity} of it at {f.price:f} was reported"
        for f in late
        if (state := states.get(f.client_order_id))
    ]


def restate(
    outbox: Outbox,
    writer: Writer,
    broker: Broker,
    book: Book,
    reported: Sequence[BrokerOrder],
    entered: Sequence[Fill],
    since: date,
    now: datetime,
) -> list[str]:
    """Give the orders that had ended, or of which less is filled than was, the venue's word; a sentence for each.

    `entered`: what was booked just now, before `follow` moved the orders. One that we hold PENDING and that the venue
    executed is HELD: it must not be sent again. `since`: orders decided earlier are left as they are.
    """
    theirs = last_reported(reported)
    executed = {f.client_order_id for f in entered if not f.corrects}
    changed: list[str] = []
    for item in outbox.orders(book.name, since=since) if theirs or executed else ():
        key = item.order.client_order_id
        word = _reported(broker, item, theirs[key]) if key in theirs else None
        if item.state is S.PENDING and key in executed:
            word = _held(item)
        if word is not None and writer.restate(
            key, word.state, filled=word.filled, broker_order_id=word.broker_order_id, reason=word.reason, now=now
        ):
            changed.append(
                f"order {key} was {item.state} with {item.filled} of {item.order.quantity} filled; "
                f"by the venue's record it is {word.state} with {word.filled}"
            )
    return changed


def _reported(broker: Broker, item: Working, theirs: BrokerOrder) -> BrokerOrder | None:
    """The state that the venue reports, where it is another one and the venue repeats it when asked."""
    other = (theirs.state, theirs.filled) != (item.state, item.filled)
    if not other or item.state is S.PENDING or theirs.state not in AT_VENUE or theirs.filled > item.order.quantity:
        return None
    try:
        held = broker.find(theirs.client_order_id)
    except OrderUncertain:
        return None
    return held if held is not None and (held.state, held.filled) == (theirs.state, theirs.filled) else None


def _held(item: Working) -> BrokerOrder:
    order = item.order
    reason = "the venue executed it, and it was never sent from here; a person decides"
    return BrokerOrder(order.client_order_id, "", order.sid, order.side, order.quantity, 0, S.HELD, reason)
