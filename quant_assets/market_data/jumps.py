"""Prices that jump by a simple ratio, as if the shares had been split or merged and no action reported it.

A move counts as such where it is large and near a ratio that companies choose. Real moves of that size exist: who asks
decides how long to wait for an explanation. Prices come as exact decimals, so that the answer is the same everywhere.
"""

from collections.abc import Iterator
from decimal import Decimal

UP, DOWN = Decimal("1.8"), Decimal("0.55")  # beyond these a move is far
NEAR = Decimal("0.05")  # a day's own move lies on top of the ratio
TIMES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 150, 200, 250, 300, 400, 500, 1000)
RATIOS = ((5, 2), (7, 2), *((n, 1) for n in TIMES))


def far(before: Decimal, now: Decimal) -> bool:
    """Whether a price moved further than names usually do in a day."""
    return before > 0 and not DOWN * before <= now <= UP * before


def jumped(before: Decimal, *now: Decimal) -> str:
    """The ratio by which a price jumped from `before`, as in 10:1, where all of `now` are far from it and one of them
    is near such a ratio; empty where it did not.
    """
    if not all(far(before, price) for price in now):
        return ""
    found = (f"{n}:{m}" for n, m in _both_ways() for price in now if abs(price * m - before * n) <= NEAR * before * n)
    return next(found, "")


def _both_ways() -> Iterator[tuple[int, int]]:
    for n, m in RATIOS:
        yield n, m
        yield m, n
