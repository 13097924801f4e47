"""What actions make of an account is not what they make of its books one by one: fractions of shares and of cents are
rounded. The difference is of the book that holds the most of the name.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import msgspec

from quant_assets.books.carry import Carried
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, Movement, changed

Members = Mapping[str, tuple[Holdings, Past]]
"""By name, what each book of an account held the evening before, and earlier."""
Carry = Callable[[Holdings, Past], Carried]


def pooled(held: Iterable[Holdings]) -> Holdings:
    """What books hold together."""
    first, *others = held
    quantities: dict[int, int] = defaultdict(int)
    for one in (first, *others):
        for sid, quantity in one.quantities.items():
            quantities[sid] += quantity
    marks = {sid: mark for one in (first, *others) for sid, mark in one.marks.items()}
    known = {sid: i for one in (first, *others) for sid, i in one.terms.instruments.items()}
    kept = {sid: q for sid, q in sorted(quantities.items()) if q}
    return msgspec.structs.replace(
        first,
        quantities=kept,
        marks={sid: marks[sid] for sid in kept},
        terms=msgspec.structs.replace(first.terms, instruments=known),
    )


def with_account(book: str, members: Members, carry: Carry) -> Carried:
    """The book after the actions of a session, with its part of what they make of the account and not of its books."""
    past = members[book][1]
    each = {name: carry(held, own) for name, (held, own) in sorted(members.items())}
    together = Past(lambda session: pooled(own.evening(session) for _, own in members.values()), past.bars)
    pool = carry(pooled(held for held, _ in members.values()), together)
    mine = each[book]
    quantities, marks = dict(mine.held.quantities), dict(mine.held.marks)
    for sid in {*pool.held.quantities, *(s for one in each.values() for s in one.held.quantities)}:
        missing = pool.held.quantities.get(sid, 0) - sum(one.held.quantities.get(sid, 0) for one in each.values())
        if missing and _most(sid, members, each) == book:
            quantities[sid] = quantities.get(sid, 0) + missing
            if sid not in marks:
                marks[sid] = pool.held.marks[sid]
    left = {key: m for key, m in _left(pool, each).items() if _most(m.sid, members, each) == book}
    moved = [
        msgspec.structs.replace(m, amount=m.amount + left.pop(_key(m)).amount) if _key(m) in left else m
        for m in mine.moved
    ]
    added = [m for m in (*moved, *left.values()) if m.amount]
    start = members[book][0]
    held = changed(msgspec.structs.replace(mine.held, cash=start.cash, others=start.others), added, quantities, marks)
    return msgspec.structs.replace(mine, held=held, moved=tuple(added))


def _left(pool: Carried, each: Mapping[str, Carried]) -> dict[tuple[int, str, str, str], Movement]:
    """What moves in the account beyond what moves in its books."""
    found = {_key(m): m for m in pool.moved}
    for moved in (m for one in each.values() for m in one.moved):
        key = _key(moved)
        before = found.get(key, msgspec.structs.replace(moved, amount=moved.amount * 0))
        found[key] = msgspec.structs.replace(before, amount=before.amount - moved.amount)
    return {key: m for key, m in found.items() if m.amount}


def _key(moved: Movement) -> tuple[int, str, str, str]:
    return moved.sid, moved.kind, moved.reference, moved.currency


def _most(sid: int, members: Members, each: Mapping[str, Carried]) -> str:
    """The book that held the most of a name, or holds the most of what was handed out; of equal ones the first."""

    def size(name: str) -> tuple[int, int]:
        now = abs(each[name].held.quantities.get(sid, 0))
        return now, abs(members[name][0].quantities.get(sid, 0))

    return max(sorted(each), key=size)
