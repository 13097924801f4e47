"""What holding costs or brings by the day: borrowed shares, and the funding of perpetual contracts."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from quant_assets.books.holdings import Holdings, Movement
from quant_assets.books.terms import TICK
from quant_assets.records import Frozen

YEAR = 360  # days, as lenders of shares count


class Borrow(Frozen, frozen=True):
    """What borrowing a name costs a year, as a fraction, and from which session that is known."""

    rate: Decimal
    since: date


class Funding(Frozen, frozen=True):
    """At `ts` (UTC) who is long pays `rate` of what the contract is worth to who is short; at `price`, None: the mark
    of the evening before.
    """

    sid: int
    ts: datetime
    rate: Decimal
    price: Decimal | None = None


def borrowed(before: Holdings, rates: Mapping[int, Borrow], session: date) -> list[Movement]:
    """What the shorts of the evening before cost until `session`: rate × days / 360 of what they were worth. What is
    margined is not borrowed, and a name without a rate costs nothing.
    """
    days = (session - before.session).days
    moved: list[Movement] = []
    for sid, quantity in before.quantities.items():
        if quantity < 0 and sid in rates and not before.terms.margined(sid):
            worth = before.terms.worth(sid, -quantity, before.marks[sid])
            cost = (worth * rates[sid].rate * days / YEAR).quantize(TICK)
            moved.append(
                Movement(sid=sid, kind="borrow", reference=f"{rates[sid].rate:f} for {days} days", amount=-cost)
            )
    return [m for m in moved if m.amount]


def funded(
    before: Holdings, after: Holdings, fundings: Sequence[Funding], traded_at: datetime | None
) -> list[Movement]:
    """What perpetual contracts pay or bring: on `before` up to the time of the session's trades, then on `after`."""
    moved: list[Movement] = []
    for one in sorted(fundings, key=lambda f: (f.sid, f.ts)):
        held = before if traded_at is None or one.ts <= traded_at else after
        price = one.price if one.price is not None else held.marks.get(one.sid, Decimal(0))
        amount = -(held.terms.worth(one.sid, held.quantities.get(one.sid, 0), price) * one.rate).quantize(TICK)
        if amount:
            moved.append(Movement(sid=one.sid, kind="funding", reference=f"{one.ts:%Y-%m-%d %H:%M:%S}", amount=amount))
    return moved
