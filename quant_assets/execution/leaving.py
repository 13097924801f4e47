"""What must hold of a stored order when it leaves: it brings the book no further than the set that binds wants it, and
the limits of the book hold again.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal

import msgspec
import polars as pl

from quant_assets.books.holdings import Holdings
from quant_assets.execution.limits import exposure_of, within_limits
from quant_assets.execution.orders import targets
from quant_assets.execution.outbox import Check
from quant_assets.ports import Outbox
from quant_assets.records import Book, Order, OrderState, Working

Target = tuple[int, Decimal, str, str]
UNSENT = (OrderState.PENDING, OrderState.HELD)  # one of these that was altered does not count against the others


def leaving(
    outbox: Outbox,
    book: Book,
    decisions: pl.DataFrame,
    holdings: Holdings,
    following: date,
    good_till: date,
    trading: Collection[int],
    symbols: Mapping[int, str],
) -> Check:
    """The check of orders for the open of `following`, good until `good_till`, that were bound to `decisions`
    (DECISIONS rows that were derived again) from `holdings`; `trading` names traded in the session that decided,
    `symbols` names those held that the set does not mention.
    """
    wanted = targets(decisions, holdings, symbols)
    when = (holdings.session, following, good_till, decisions["strategy"][0])

    def check(order: Order) -> tuple[OrderState, str] | None:
        if (order.decided, order.session, order.good_till, order.strategy) != when:
            return OrderState.HELD, "TAMPERED: it is not of the set that binds"
        others = [
            w
            for w in _others(outbox.orders(book.name), order)
            if w.state not in UNSENT or not _unlike(w.order, wanted.get(w.order.sid), holdings, ())
        ]
        if why := _unlike(order, wanted.get(order.sid), holdings, others):
            return OrderState.HELD, f"TAMPERED: {why}"
        _, refused = within_limits(book, [order], exposure_of(holdings, others, [order], trading))
        return (OrderState.CANCELED, refused[0].reason) if refused else None

    return check


def _unlike(order: Order, target: Target | None, holdings: Holdings, others: Sequence[Working]) -> str:
    """In what an order is not what the set wants; empty where in nothing."""
    if target is None:
        return f"the set that binds does not trade sid {order.sid}"
    shares, *about = target
    found = [order.reference_price, order.symbol, order.decision_id]
    if found != about:
        return f"its price, symbol and decision are {found}, those of the set are {about}"
    under_way = sum(w.order.side * w.remaining for w in others if w.order.sid == order.sid)
    after = holdings.quantities.get(order.sid, 0) + under_way + order.side * order.quantity
    if order.side * (after - shares) > 0:
        return f"it would bring sid {order.sid} to {after} shares, the set that binds wants {shares}"
    return ""


def _others(orders: Sequence[Working], order: Order) -> list[Working]:
    """The other orders as they were when the set was bound: of its own what was filled since counts as under way."""
    found: list[Working] = []
    for item in orders:
        left = 0 if item.state.terminal else item.remaining
        if item.order.client_order_id == order.client_order_id:
            continue
        if (item.order.decided, item.order.slot) == (order.decided, order.slot):
            left += item.filled
        if left:
            found.append(Working(order=msgspec.structs.replace(item.order, quantity=left), state=item.state))
    return found
