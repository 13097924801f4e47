"""Several books trade one account: what they want of a name becomes one order, and what is filled is theirs again.

What one book sells and another buys crosses between them, at one price and without a venue. The rest is ordered. Each
execution of it is shared by what each book still wants, so that counts and fees add up exactly.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from quant_assets.books.terms import TICK
from quant_assets.records import Frozen


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


def counts_of(quantity: int, *claims: Mapping[str, int]) -> dict[str, int]:
    """How many of the counts that were executed each of the account's parts gets, by name; they add up.

    `claims`: one after another, each shared out in proportion as far as it goes; what is left goes by the last of them.
    What is below zero claims nothing.
    """
    names = sorted({name for claim in claims for name in claim})
    counts, left = dict.fromkeys(names, 0), quantity
    for place, claim in enumerate(claims, 1):
        weights = [max(0, claim.get(name, 0)) for name in names]
        given = left if place == len(claims) else min(left, sum(weights))
        for name, part in zip(names, apportioned(given, weights), strict=True):
            counts[name] += part
        left -= given
    return counts


def fees_of(fee: Decimal, counts: Mapping[str, int]) -> dict[str, Decimal]:
    """What each part pays of a fee, by what it got; the parts add up to it."""
    names = sorted(name for name, count in counts.items() if count)
    ticks = int(fee / TICK)
    parts = [n * TICK for n in apportioned(ticks, [counts[name] for name in names])]
    if parts:
        parts[0] += fee - ticks * TICK  # of a venue that charges finer
    return dict(zip(names, parts, strict=True))


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
