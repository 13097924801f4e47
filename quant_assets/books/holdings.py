"""What a book holds, and how executions, payments and closes change it: exact, with a record of every movement of cash.

Corporate actions are booked before the session's fills: `quant_assets.books.actions`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from quant_assets.books.terms import TICK, Terms
from quant_assets.records import Fill, Frozen

CENT = Decimal("0.01")
Action = Mapping[str, Any]  # a row of ACTIONS
ALIKE = Terms()  # all names are shares in the book's currency


class Movement(Frozen, frozen=True):
    """A movement of cash, a row of the journal: kind is trade | fee | dividend | spin_off | merger | delisting |
    cash_in_lieu | deposit | withdrawal | adjustment (what a person booked) | borrow | variation | funding | expiry; or
    transfer, of worth from name to name. `currency`: that of the name where it is empty.
    """

    sid: int
    kind: str
    reference: str
    amount: Decimal
    currency: str = ""


class Holdings(Frozen, frozen=True):
    """What a book holds at the end of `session`: counts by sid (no zeros), a mark for each name held (in its currency,
    for one whole unit), `cash` in the book's currency and in `others`; valued by `terms`.
    """

    session: date
    cash: Decimal
    quantities: Mapping[int, int]
    marks: Mapping[int, Decimal]
    others: Mapping[str, Decimal] = {}
    terms: Terms = ALIKE

    @property
    def values(self) -> dict[int, Decimal]:
        """What each position counts in the equity, in the book's currency."""
        return {sid: self.terms.value(sid, q, self.marks[sid]) for sid, q in self.quantities.items()}

    @property
    def balance(self) -> Decimal:
        """All cash, in the book's currency."""
        return self.cash + sum((self.terms.converted(c, amount) for c, amount in self.others.items()), Decimal(0))

    @property
    def equity(self) -> Decimal:
        """Cash and the marked positions, in the book's currency."""
        return self.balance + sum(self.values.values(), Decimal(0))


def currency_of(moved: Movement, terms: Terms) -> str:
    """In which currency cash moved; empty where in the book's own."""
    currency = moved.currency or terms.currency(moved.sid)
    return "" if currency == terms.base else currency


def exact(price: float) -> Decimal:
    """A vendor's float as the decimal it was printed as, at the scale at which money is stored."""
    return Decimal(str(price)).quantize(TICK)


def apply_fills(holdings: Holdings, fills: Sequence[Fill]) -> tuple[Holdings, list[Movement]]:
    """The holdings after `fills` and the cash they moved: per execution what the shares cost or brought (`trade`; of a
    margined name zero) and the `fee`, under its exec_id.
    """
    quantities, marks, terms = dict(holdings.quantities), dict(holdings.marks), holdings.terms
    moved: list[Movement] = []
    for fill in sorted(fills, key=lambda f: f.exec_id):
        quantities[fill.sid] = quantities.get(fill.sid, 0) + fill.side * fill.quantity
        marks.setdefault(fill.sid, fill.price)
        cost = Decimal(0) if terms.margined(fill.sid) else terms.worth(fill.sid, -fill.side * fill.quantity, fill.price)
        moved.append(Movement(sid=fill.sid, kind="trade", reference=fill.exec_id, amount=cost))
        moved.append(Movement(sid=fill.sid, kind="fee", reference=fill.exec_id, amount=-fill.fee))
    # a trade of nothing is kept where the name is margined: by the journal it is known that it is booked
    moved = [m for m in moved if m.amount or (m.kind == "trade" and terms.margined(m.sid))]
    return changed(holdings, moved, quantities, marks), moved


def move(holdings: Holdings, moved: Sequence[Movement]) -> Holdings:
    """The holdings after movements that change cash alone."""
    return changed(holdings, moved, holdings.quantities, holdings.marks)


def changed(
    holdings: Holdings, moved: Iterable[Movement], quantities: Mapping[int, int], marks: Mapping[int, Decimal]
) -> Holdings:
    """The holdings with other shares and marks, after movements, each in its currency; without the names of which
    nothing is left.
    """
    terms, balances = holdings.terms, {"": holdings.cash, **holdings.others}
    for m in moved:
        currency = currency_of(m, terms)
        balances[currency] = balances.get(currency, Decimal(0)) + m.amount
    kept = {sid: q for sid, q in sorted(quantities.items()) if q}
    return msgspec.structs.replace(
        holdings,
        cash=balances.pop(""),
        others={currency: amount for currency, amount in sorted(balances.items()) if amount},
        quantities=kept,
        marks={sid: marks.get(sid, Decimal(0)) for sid in kept},
    )


def fund(holdings: Holdings, capital: Decimal, paid: Decimal | None) -> tuple[Holdings, list[Movement]]:
    """The holdings before a session with what was paid in or out since, and its movement.

    `capital`: what the book declares; `paid`: what was paid in so far, None where the book begins (its holdings are the
    capital then). A capital that was edited is money that moves, never a gain or a loss.
    """
    amount = capital - (paid or Decimal(0))
    if not amount:
        return holdings, []
    kind = "deposit" if amount > 0 else "withdrawal"
    moved = [Movement(sid=0, kind=kind, reference="capital", amount=amount)]
    if paid is None:
        return holdings, moved
    return move(holdings, moved), moved


def mark(holdings: Holdings, session: date, closes: Mapping[int, float]) -> Holdings:
    """The holdings at the end of `session`, marked at its closes; a name without one keeps its mark."""
    marks = {sid: exact(closes[sid]) if sid in closes else old for sid, old in holdings.marks.items()}
    return msgspec.structs.replace(holdings, session=session, marks=marks)


def cents(amount: Decimal) -> Decimal:
    """The amount rounded to the cent, half away from zero."""
    return amount.quantize(CENT, ROUND_HALF_UP)
