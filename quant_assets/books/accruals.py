"""What holding costs or brings by the day: borrowed shares, and the funding of perpetual contracts."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from quant_assets.books.holdings import ALIKE, Holdings, Movement
from quant_assets.books.netting import apportioned
from quant_assets.books.terms import TICK, Terms
from quant_assets.records import Frozen

YEAR = 360  # days, as lenders of shares count
STALE_AFTER = timedelta(days=7)


class Borrow(Frozen, frozen=True):
    """What borrowing a name costs a year, as a fraction; the session of which that is; and how many whole units can be
    had (None: the vendor does not report it).
    """

    rate: Decimal
    since: date
    available: int | None = None


class Funding(Frozen, frozen=True):
    """At `ts` (UTC) who is long pays `rate` of what the contract is worth to who is short; at `price`, None: the mark
    of the evening before.
    """

    sid: int
    ts: datetime
    rate: Decimal
    price: Decimal | None = None


class Valuation(Frozen, frozen=True):
    """By what a book is valued and charged in a session: the terms of its names, what shorts cost (None: no feed
    reports it), and what perpetual contracts paid since the session before. `account`: what each book of its account
    held the evening before, by name, where several trade it, itself (`book`) among them.
    """

    terms: Terms = ALIKE
    lent: Mapping[int, Borrow] | None = None
    funding: Sequence[Funding] = ()
    book: str = ""
    account: Mapping[str, Mapping[int, int]] = {}


PLAINLY = Valuation()  # shares in the book's currency, borrowed for nothing


def borrowed(before: Holdings, by: Valuation, session: date) -> list[Movement]:
    """What the shorts of the evening before cost until `session`: rate × days / 360 of what they were worth. What is
    margined is not borrowed, and a name of which no rate was ever known costs nothing.

    An account borrows what its books are short of together. So a book pays for all of its short, and what the account
    need not pay of that goes to the books that are long of it: they lend it.
    """
    days = (session - before.session).days
    moved: list[Movement] = []
    for sid, held in before.quantities.items():
        if by.terms.margined(sid) or not (lent := (by.lent or {}).get(sid)):
            continue
        mark, yearly = before.marks[sid], lent.rate * days / YEAR

        def cost(short: int, sid: int = sid, mark: Decimal = mark, yearly: Decimal = yearly) -> Decimal:
            return (by.terms.worth(sid, short, mark) * yearly).quantize(TICK) if short > 0 else Decimal(0)

        amount = _within(sid, by, cost) - cost(-held)
        moved.append(Movement(sid=sid, kind="borrow", reference=f"{lent.rate:f} for {days} days", amount=amount))
    return [m for m in moved if m.amount]


def _within(sid: int, by: Valuation, cost: Callable[[int], Decimal]) -> Decimal:
    """What a book gets of what the books of its account pay for their shorts and the account does not."""
    held = {name: quantities.get(sid, 0) for name, quantities in sorted(by.account.items())}
    short = {name: -q for name, q in held.items() if q < 0}
    lenders = {name: q for name, q in held.items() if q > 0}
    left = sum(map(cost, short.values()), Decimal(0)) - cost(sum(short.values()) - sum(lenders.values()))
    those = lenders or short  # without a lender it is what was rounded
    parts = dict(zip(those, apportioned(int(left / TICK), list(those.values())), strict=True))
    return parts.get(by.book, 0) * TICK


def shorts(held: Holdings, terms: Terms) -> list[int]:
    """The names that are borrowed."""
    return [sid for sid, quantity in held.quantities.items() if quantity < 0 and not terms.margined(sid)]


def doubtful_rates(before: Holdings, by: Valuation, session: date) -> list[str]:
    """A sentence for each short whose rate is old or was never known, where a feed reports rates."""
    if by.lent is None:
        return []
    found: list[str] = []
    for sid in shorts(before, by.terms):
        lent = by.lent.get(sid)
        if lent is None:
            found.append(f"no borrow rate of sid {sid} was ever known: its short costs nothing")
        elif session - lent.since > STALE_AFTER:
            found.append(f"the last borrow rate of sid {sid} is of {lent.since}: its short costs what it cost then")
    return found


def funded(by: Valuation, holder: Callable[[datetime], Holdings]) -> list[Movement]:
    """What perpetual contracts pay or bring, on what was held (`holder`) at each time."""
    moved: list[Movement] = []
    for one in sorted(by.funding, key=lambda f: (f.sid, f.ts)):
        held = holder(one.ts)
        price = one.price if one.price is not None else held.marks.get(one.sid, Decimal(0))
        amount = -(by.terms.worth(one.sid, held.quantities.get(one.sid, 0), price) * one.rate).quantize(TICK)
        moved.append(Movement(sid=one.sid, kind="funding", reference=f"{one.ts:%Y-%m-%d %H:%M:%S}", amount=amount))
    return [m for m in moved if m.amount]
