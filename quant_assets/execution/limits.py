"""Pre-trade limits of a book. An order beyond them is refused whole and reported; nothing is resized."""

from collections.abc import Sequence

from quant_assets.records import Book, Frozen, Order


class Refused(Frozen, frozen=True):
    """An order that may not go out, and why."""

    order: Order
    reason: str


def within_limits(book: Book, orders: Sequence[Order]) -> tuple[list[Order], list[Refused]]:
    """The orders that the book's limits let through, in the order given, and the refused ones. Sales come first where
    the number of orders is limited.
    """
    refused = [
        Refused(
            order=o,
            reason=f"notional {o.quantity * o.reference_price} is above the book's {book.max_order_notional} per order",
        )
        for o in orders
        if o.quantity * o.reference_price > book.max_order_notional
    ]
    too_large = {r.order.client_order_id for r in refused}
    ranked = sorted((o for o in orders if o.client_order_id not in too_large), key=lambda o: (o.side, o.sid))
    refused += [
        Refused(order=o, reason=f"the book may send {book.max_orders} orders per session, this is number {n}")
        for n, o in enumerate(ranked, 1)
        if n > book.max_orders
    ]
    out = {r.order.client_order_id for r in refused}
    return [o for o in orders if o.client_order_id not in out], refused
