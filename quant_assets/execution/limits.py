"""Pre-trade limits of a book, on its orders: their size, their number, and what the book may come to hold.

Nothing that only reduces is refused for its size: it leaves in slices (`quant_assets.execution.orders`). What increases
is refused whole beyond the size or the number, and cut to what fits the limits of the book.
"""

from collections.abc import Collection, Sequence

import msgspec

from quant_assets.books.holdings import Holdings
from quant_assets.books.limits import Exposure, Line, Wanted, allowed
from quant_assets.records import Book, Frozen, Order, Working


class Refused(Frozen, frozen=True):
    """An order, or the rest of one, that may not go out, and why."""

    order: Order
    reason: str


def exposure_of(
    holdings: Holdings, working: Sequence[Working], orders: Sequence[Order], trading: Collection[int]
) -> Exposure:
    """The book as limits see it: what it holds and has at work, at the prices of `orders`, else its marks, in the
    book's currency by the terms of its holdings. Raises RateUnknown.

    `trading`: the names that traded in the session that decided.
    """
    at_work = [w for w in working if w.remaining]
    prices = {w.order.sid: w.order.reference_price for w in at_work}
    prices |= dict(holdings.marks) | {o.sid: o.reference_price for o in orders}
    terms = holdings.terms

    def under_way(sid: int, side: int) -> int:
        return sum(w.remaining for w in at_work if (w.order.sid, w.order.side) == (sid, side))

    return Exposure(
        equity=holdings.equity,
        cash=holdings.balance,
        lines=tuple(
            Line(
                sid=sid,
                held=holdings.quantities.get(sid, 0),
                price=terms.each(sid, prices[sid]),
                buying=under_way(sid, 1),
                selling=under_way(sid, -1),
                trades=sid in trading,
                least=terms.converted(terms.currency(sid), terms.of(sid).min_notional),
                paid=not terms.margined(sid),
                margin=terms.margin(sid, prices[sid]),
            )
            for sid in sorted(prices)
        ),
    )


def within_limits(book: Book, orders: Sequence[Order], exposure: Exposure) -> tuple[list[Order], list[Refused]]:
    """The orders that the book's limits let through, in the order given, some of them cut; and what was refused.

    What reduces comes first where the number of orders is limited, then sales. One that is worth less than its venue
    takes is refused, whatever it does.
    """
    held, prices = ({n.sid: getattr(n, c) for n in exposure.lines} for c in ("held", "price"))
    worth = {o.client_order_id: o.quantity * prices[o.sid] for o in orders}
    reduces = {o.client_order_id for o in orders if o.side * held[o.sid] < 0}
    refused = [
        Refused(
            order=o,
            reason=f"notional {worth[o.client_order_id]} is above the book's {book.max_order_notional} per order",
        )
        for o in orders
        if worth[o.client_order_id] > book.max_order_notional and o.client_order_id not in reduces
    ]
    out = {r.order.client_order_id for r in refused}
    ranked = sorted(
        (o for o in orders if o.client_order_id not in out),
        key=lambda o: (o.client_order_id not in reduces, o.side, o.sid, len(o.leg), o.leg),
    )
    refused += [
        Refused(order=o, reason=f"the book may send {book.max_orders} orders per session, this is number {n}")
        for n, o in enumerate(ranked, 1)
        if n > book.max_orders
    ]
    out = {r.order.client_order_id for r in refused}
    kept, cut = _cut(book, [o for o in orders if o.client_order_id not in out], exposure)
    taken, small = _large_enough(book, kept, exposure)
    return taken, refused + cut + small


def _large_enough(book: Book, orders: Sequence[Order], exposure: Exposure) -> tuple[list[Order], list[Refused]]:
    """The orders that are worth what their venues take at the least, and the others."""
    taken: list[Order] = []
    refused: list[Refused] = []
    lines = {line.sid: line for line in exposure.lines}
    for order in orders:
        line = lines[order.sid]
        if (worth := order.quantity * line.price) >= line.least:
            taken.append(order)
        else:
            reason = f"worth {worth:,.6f} {book.currency}, and its venue takes nothing below {line.least:,.6f}"
            refused.append(Refused(order=order, reason=reason))
    return taken, refused


def _cut(book: Book, orders: Sequence[Order], exposure: Exposure) -> tuple[list[Order], list[Refused]]:
    """The orders as far as they fit the limits of the book, and the rest of those that do not."""
    wanted = [Wanted(id=o.client_order_id, sid=o.sid, side=o.side, quantity=o.quantity) for o in orders]
    kept: list[Order] = []
    refused: list[Refused] = []
    for order, may in zip(orders, allowed(book.limits, exposure, wanted), strict=True):
        if may.quantity:
            kept.append(msgspec.structs.replace(order, quantity=may.quantity))
        if may.quantity < order.quantity:
            rest = msgspec.structs.replace(order, quantity=order.quantity - may.quantity)
            reason = (
                f"{may.row}: the book would come to {may.value:,.2f} {book.currency} and may to {may.limit:,.2f}; "
                f"{may.quantity} of {order.quantity} shares are sent"
            )
            refused.append(Refused(order=rest, reason=reason))
    return kept, refused
