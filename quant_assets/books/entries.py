"""What a person books by hand moves shares and cash like an execution does, and is named in the journal."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from quant_assets.books.holdings import Holdings, Movement, changed
from quant_assets.books.terms import TICK, Terms
from quant_assets.records import Entry

KIND = "adjustment"


def apply_entries(holdings: Holdings, entries: Sequence[Entry]) -> tuple[Holdings, list[Movement]]:
    """The holdings after `entries`, and the cash that they moved: one movement each, of zero where it moves shares
    alone.

    A name that was not held begins at the price that its entry implies.
    """
    quantities, marks = dict(holdings.quantities), dict(holdings.marks)
    moved: list[Movement] = []
    for entry in sorted(entries, key=lambda e: e.entry_id):
        if entry.quantity:
            quantities[entry.sid] = quantities.get(entry.sid, 0) + entry.quantity
            marks.setdefault(entry.sid, implied(entry, holdings.terms))
        moved.append(
            Movement(sid=entry.sid, kind=KIND, reference=entry.entry_id, amount=entry.amount, currency=entry.currency)
        )
    return changed(holdings, moved, quantities, marks), moved


def implied(entry: Entry, terms: Terms) -> Decimal:
    """The price at which an entry moves its shares; 0 where it moves no cash."""
    return abs(entry.amount / entry.quantity / terms.unit(entry.sid)).quantize(TICK)


def gained(entries: Iterable[Entry], sid: int, last: Mapping[int, Decimal], terms: Terms) -> Decimal:
    """What the entries of a name added to equity, in its currency: their shares at the last price, and their cash."""
    return sum(
        (terms.worth(sid, e.quantity, last.get(sid, Decimal(0))) + e.amount for e in entries if e.sid == sid),
        Decimal(0),
    )
