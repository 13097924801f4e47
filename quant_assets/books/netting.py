"""Several books trade one account: what they want of a name becomes one order, and what is filled is theirs again.

What one book sells and another buys crosses between them, at one price and without a venue. The rest is ordered. Each
execution of it is shared by what each book still wants, so that counts and fees add up exactly.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from quant_assets.books.terms import TICK
from quant_assets.records import Fill, Frozen


class Netted(Frozen, frozen=True):
    """Of one name, in signed counts by book: what crosses between them (it sums to zero), and what is `left` to be
    ordered, all of one side.
    """

    crossed: Mapping[str, int]
    left: Mapping[str, int]

    @property
    def order(self) -> int:
        """The signed quantity that the account orders."""
        return sum(self.left.values())


def netted(wanted: Mapping[str, int]) -> Netted:
    """What the books want of one name, by book and signed: the smaller side crosses whole, each book of the larger one
    in proportion to what it wants.
    """
    net = sum(wanted.values())
    side = 1 if net >= 0 else -1
    smaller = {book: q for book, q in sorted(wanted.items()) if q * side < 0}
    larger = {book: q for book, q in sorted(wanted.items()) if q * side > 0}
    given = apportioned(sum(map(abs, smaller.values())), [abs(q) for q in larger.values()])
    crossed = smaller | {book: side * n for book, n in zip(larger, given, strict=True) if n}
    left = {book: q - crossed.get(book, 0) for book, q in larger.items()}
    return Netted(crossed=dict(sorted(crossed.items())), left={book: q for book, q in left.items() if q})


def allocated(left: Mapping[str, int], fills: Sequence[Fill]) -> dict[str, list[Fill]]:
    """The executions of an account's order as fills of the books that it was for, in the order given; the same id in
    each book. A book never gets more than what it still wants.

    `left`: as `netted` has it. Raises ValueError where more was executed than ordered, or on the other side.
    """
    open_, found = {book: abs(q) for book, q in sorted(left.items())}, {book: list[Fill]() for book in sorted(left)}
    for fill in fills:
        if fill.quantity > sum(open_.values()) or any(q * fill.side < 0 for q in left.values()):
            raise ValueError(f"{fill.exec_id}: {fill.side * fill.quantity} executed, the books want {left}")
        counts = apportioned(fill.quantity, list(open_.values()))
        fees = apportioned(int(fill.fee / TICK), counts)
        for book, count, fee in zip(open_, counts, fees, strict=True):
            if count:
                open_[book] -= count
                found[book].append(_part(fill, count, fee * TICK))
    return found


def _part(fill: Fill, quantity: int, fee: Decimal) -> Fill:
    return msgspec.structs.replace(fill, quantity=quantity, fee=fee)


def apportioned(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts by weight: largest remainders first, the earlier of equal ones. They add up to it; where
    there is no weight nothing is given.
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [total * w // whole for w in weights]
    rest = [total * w % whole for w in weights]
    for n in sorted(range(len(weights)), key=lambda i: (-rest[i], i))[: total - sum(parts)]:
        parts[n] += 1
    return parts
