"""Shorts that cannot be borrowed are not opened: the part of an order that sells what would have to be borrowed."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from quant_assets.books.accruals import STALE_AFTER, Borrow
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings
from quant_assets.books.valued import lending
from quant_assets.execution.limits import Refused
from quant_assets.execution.turns import Turn
from quant_assets.ports import Store
from quant_assets.records import Order, Working

NOTHING: Mapping[int, int] = {}


def lent_only(
    store: Store, orders: Sequence[Order], holdings: Holdings, working: Sequence[Working], past: Past, turn: Turn
) -> tuple[list[Order], list[Refused]]:
    """The orders as far as what they sell short can be borrowed, by what the cut of the turn knows; and what is left of
    the others, each with why. Where no feed ever brought a rate, everything can.
    """
    asked = {o.sid for o in orders if _opened(o, holdings, working)}
    lent = lending(store, asked, turn.cut, turn.decided) if asked else None
    if lent is None:
        return list(orders), []
    evening = past.evening(turn.booked).quantities  # an earlier slot borrowed of what the feed had then
    begun = {sid: max(0, _short(holdings.quantities, sid) - _short(evening, sid)) for sid in asked}
    return lendable(orders, holdings, working, lent, begun)


def _short(quantities: Mapping[int, int], sid: int) -> int:
    return max(0, -quantities.get(sid, 0))


def lendable(
    orders: Sequence[Order],
    holdings: Holdings,
    working: Sequence[Working],
    lent: Mapping[int, Borrow],
    begun: Mapping[int, int] = NOTHING,
) -> tuple[list[Order], list[Refused]]:
    """The same from what is `lent`: a rate of the last week, and no more than is available, less what was `begun` of it
    already. Of what is margined nothing is borrowed.
    """
    terms = holdings.terms
    kept: list[Order] = []
    refused: list[Refused] = []
    given = dict(begun)
    for order in orders:
        borrowed = 0 if terms.margined(order.sid) else _opened(order, holdings, [*working, *map(_at_work, kept)])
        most, why = _available(order, holdings, lent.get(order.sid))
        may = borrowed if most is None else min(borrowed, max(0, most - given.get(order.sid, 0)))
        given[order.sid] = given.get(order.sid, 0) + may
        left = order.quantity - (borrowed - may)
        if left:
            kept.append(msgspec.structs.replace(order, quantity=left))
        if borrowed > may:
            refused.append(Refused(order=msgspec.structs.replace(order, quantity=borrowed - may), reason=why))
    return kept, refused


def _at_work(order: Order) -> Working:
    return Working(order=order)


def _opened(order: Order, holdings: Holdings, working: Sequence[Working]) -> int:
    """How many counts the order sells that are not held once all that works is filled."""
    if order.side > 0:
        return 0
    under_way = sum(w.order.side * w.remaining for w in working if w.order.sid == order.sid)
    before = holdings.quantities.get(order.sid, 0) + under_way
    return max(0, order.quantity - max(0, before))


def _available(order: Order, holdings: Holdings, lent: Borrow | None) -> tuple[int | None, str]:
    """How many counts can be borrowed (None: any number), and why no more."""
    if lent is None:
        return 0, "BORROW: no rate of it is known, so it is not sold short"
    if holdings.session - lent.since > STALE_AFTER:
        return 0, f"BORROW: its last rate is of {lent.since}, so it is not sold short"
    if lent.available is None:
        return None, ""
    most = int(Decimal(lent.available) / holdings.terms.of(order.sid).step)
    return most, f"BORROW: {lent.available} can be borrowed"
