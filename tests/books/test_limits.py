"""Limits of the book: the table of cases, and what holds for any book."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.books.limits import ROWS, Cut, Exposure, Line, Wanted, allowed
from quant_assets.records import BookLimits

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("limits_cases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["why"])
def test_cases(case: dict[str, Any]) -> None:
    """What may leave of each order, which row cut it, and its numbers."""
    limits, exposure = msgspec.convert(case["limits"], BookLimits), msgspec.convert(case["exposure"], Exposure)
    found = allowed(limits, exposure, msgspec.convert(case["wanted"], list[Wanted]))
    assert found == msgspec.convert(case["allowed"], list[Cut])


def test_every_row_has_a_case() -> None:
    """A row without one would be read wrongly by another language and nothing would fail."""
    assert {c.get("row") for case in CASES for c in case["allowed"]} - {None} == set(ROWS)


def test_cases_are_integers_and_texts() -> None:
    """A float would be another number elsewhere."""

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(map(plain, value.values()))  # pyright: ignore[reportUnknownArgumentType]
        return all(map(plain, value)) if isinstance(value, list) else isinstance(value, int | str)  # pyright: ignore[reportUnknownArgumentType]

    assert plain(CASES)


_BOOKS = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(0, 30), st.integers(0, 30), st.integers(1, 90), st.booleans()),
    min_size=1,
    max_size=5,
)
_ORDERS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1, 1]), st.integers(1, 80)), max_size=6)


@given(_BOOKS, _ORDERS, st.integers(-2000, 4000))
def test_what_only_reduces_leaves_whole_and_nothing_grows(
    book: list[tuple[int, int, int, int, bool]], orders: list[tuple[int, int, int]], cash: int
) -> None:
    """For any book and orders: no order grows, and as many shares as take a position towards zero always leave."""
    lines = tuple(Line(n, h, Decimal(p), b, s, t) for n, (h, b, s, p, t) in enumerate(book))
    equity = cash + sum((n.held * n.price for n in lines), Decimal(0))
    wanted = [Wanted(str(i), sid % len(lines), side, q) for i, (sid, side, q) in enumerate(orders)]
    found = allowed(BookLimits(), Exposure(equity, Decimal(cash), lines), wanted)
    assert all(0 <= c.quantity <= w.quantity for c, w in zip(found, wanted, strict=True))
    for line in lines:
        for side, left in ((-1, max(0, line.held - line.selling)), (1, max(0, -line.held - line.buying))):
            mine = [(c, w) for c, w in zip(found, wanted, strict=True) if (w.sid, w.side) == (line.sid, side)]
            assert sum(c.quantity for c, _ in mine) >= min(left, sum(w.quantity for _, w in mine))


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 90)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 200)), max_size=6),
    st.integers(-2000, 4000),
)
def test_purchases_are_paid_for(book: list[tuple[int, int]], buys: list[tuple[int, int]], cash: int) -> None:
    """Of a book without shorts: after the purchases that leave, cash and gross are within limits, or none leaves."""
    lines = tuple(Line(n, held, Decimal(price)) for n, (held, price) in enumerate(book))
    value = sum((n.held * n.price for n in lines), Decimal(0))
    equity, limits = cash + value, BookLimits()
    wanted = [Wanted(str(i), sid % len(lines), 1, q) for i, (sid, q) in enumerate(buys)]
    found = allowed(limits, Exposure(equity, Decimal(cash), lines), wanted)
    spent = sum((c.quantity * lines[w.sid].price for c, w in zip(found, wanted, strict=True)), Decimal(0))
    assert not spent or cash - spent >= limits.min_cash * equity
    assert not spent or value + spent <= limits.max_gross * equity
