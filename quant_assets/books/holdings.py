"""What a book holds, and how executions, payments and closes change it: exact, with a record of every movement of cash.

Corporate actions are booked before the session's fills: `quant_assets.books.actions`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from quant_assets.records import Fill, Frozen

CENT = Decimal("0.01")
TICK = Decimal("0.000001")  # the scale of MONEY: what is in memory is what is stored
Action = Mapping[str, Any]  # a row of ACTIONS


class Movement(Frozen, frozen=True):
    """A movement of cash, a row of the journal: kind is trade | fee | dividend | spin_off | merger | delisting |
    cash_in_lieu | deposit | withdrawal | adjustment (what a person booked); or transfer, of worth from name to name.
    """

    sid: int
    kind: str
    reference: str
    amount: Decimal


class Holdings(Frozen, frozen=True):
    """Shares by sid (no zeros), the cash, and a mark for each name held, at the end of `session`."""

    session: date
    cash: Decimal
    quantities: Mapping[int, int]
    marks: Mapping[int, Decimal]

    @property
    def equity(self) -> Decimal:
        """Cash and the marked positions."""
        return self.cash + sum((q * self.marks[sid] for sid, q in self.quantities.items()), Decimal(0))


def exact(price: float) -> Decimal:
    """A vendor's float as the decimal it was printed as, at the scale at which money is stored."""
    return Decimal(str(price)).quantize(TICK)


def apply_fills(holdings: Holdings, fills: Sequence[Fill]) -> tuple[Holdings, list[Movement]]:
    """The holdings after `fills` and the cash they moved: per execution what the shares cost or brought (`trade`) and
    the `fee`, under its exec_id.
    """
    quantities, marks = dict(holdings.quantities), dict(holdings.marks)
    moved: list[Movement] = []
    for fill in sorted(fills, key=lambda f: f.exec_id):
        quantities[fill.sid] = quantities.get(fill.sid, 0) + fill.side * fill.quantity
        marks.setdefault(fill.sid, fill.price)
        moved.append(
            Movement(sid=fill.sid, kind="trade", reference=fill.exec_id, amount=-fill.side * fill.quantity * fill.price)
        )
        moved.append(Movement(sid=fill.sid, kind="fee", reference=fill.exec_id, amount=-fill.fee))
    moved = [m for m in moved if m.amount]
    return holding(holdings.session, holdings.cash + total(moved), quantities, marks), moved


def move(holdings: Holdings, moved: Sequence[Movement]) -> Holdings:
    """The holdings after movements that change cash alone."""
    return holding(holdings.session, holdings.cash + total(moved), holdings.quantities, holdings.marks)


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
    return holding(session, holdings.cash, holdings.quantities, marks)


def holding(session: date, cash: Decimal, quantities: Mapping[int, int], marks: Mapping[int, Decimal]) -> Holdings:
    """Holdings without the names of which nothing is left."""
    kept = {sid: q for sid, q in sorted(quantities.items()) if q}
    return Holdings(
        session=session, cash=cash, quantities=kept, marks={sid: marks.get(sid, Decimal(0)) for sid in kept}
    )


def cents(amount: Decimal) -> Decimal:
    """The amount rounded to the cent, half away from zero."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def total(moved: Iterable[Movement]) -> Decimal:
    """The cash that moved."""
    return sum((m.amount for m in moved), Decimal(0))
