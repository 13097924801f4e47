"""The end of a book's session: marks, what margined names settle in cash, and what expires; the same for a research
book, a live one and the paper venue.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from quant_assets.books.holdings import Holdings, Movement, changed, mark
from quant_assets.records import Entry, Fill

_ZERO = Decimal(0)


def evening(
    carried: Holdings,
    traded: Holdings,
    session: date,
    closes: Mapping[int, float],
    fills: Sequence[Fill] = (),
    entries: Sequence[Entry] = (),
) -> tuple[Holdings, list[Movement]]:
    """The holdings at the end of `session` and the cash that settled.

    `carried`: those before its `fills` and `entries`, after its actions; `traded`: those after them. `variation` is
    what a margined name gained from mark to mark and from each fill to its mark. What has come to its expiry is paid
    out at its last mark (`expiry`; of a margined name zero, for all is settled).
    """
    marked = mark(traded, session, closes)
    moved = [
        Movement(sid=sid, kind="variation", reference=str(session), amount=amount)
        for sid in sorted({*carried.quantities, *marked.quantities, *(f.sid for f in fills)})
        if marked.terms.margined(sid) and (amount := _gain(carried, marked, sid, fills, entries))
    ]
    over = [sid for sid in marked.quantities if (end := marked.terms.of(sid).expiry) is not None and end <= session]
    moved += [Movement(sid=sid, kind="expiry", reference=str(session), amount=_paid(marked, sid)) for sid in over]
    left = {sid: q for sid, q in marked.quantities.items() if sid not in over}
    return changed(marked, moved, left, marked.marks) if moved else marked, moved


def _gain(carried: Holdings, marked: Holdings, sid: int, fills: Sequence[Fill], entries: Sequence[Entry]) -> Decimal:
    """What a margined name gained since the evening before, in its currency. What a person books comes at the mark."""
    terms, began = marked.terms, carried.marks.get(sid)
    ended = marked.marks.get(sid, began if began is not None else _ZERO)
    entered = began if began is not None else ended
    gain = terms.worth(sid, marked.quantities.get(sid, 0), ended)
    gain -= terms.worth(sid, carried.quantities.get(sid, 0), began or _ZERO)
    gain -= sum((terms.worth(sid, f.side * f.quantity, f.price) for f in fills if f.sid == sid), _ZERO)
    return gain - sum((terms.worth(sid, e.quantity, entered) for e in entries if e.sid == sid), _ZERO)


def _paid(marked: Holdings, sid: int) -> Decimal:
    if marked.terms.margined(sid):
        return _ZERO
    return marked.terms.worth(sid, marked.quantities[sid], marked.marks[sid])
