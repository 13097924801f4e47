"""What several books want of a name becomes one order of their account, and comes back to them whole."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.books.netting import allocated, apportioned, netted
from quant_assets.records import Fill

CASES: dict[str, tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int]]] = {
    # wanted, crossed, left
    "one book": ({"a": 10}, {}, {"a": 10}),
    "one way": ({"a": 10, "b": 5}, {}, {"a": 10, "b": 5}),
    "against each other": ({"a": 10, "b": -10}, {"a": 10, "b": -10}, {}),
    "the smaller crosses whole": ({"a": 10, "b": -4}, {"a": 4, "b": -4}, {"a": 6}),
    "sales are left": ({"a": 3, "b": -10}, {"a": 3, "b": -3}, {"b": -7}),
    "in proportion": ({"a": 20, "b": 10, "c": -15}, {"a": 10, "b": 5, "c": -15}, {"a": 10, "b": 5}),
    "the largest remainder": ({"a": 1, "b": 1, "c": 2, "d": -3}, {"a": 1, "b": 1, "c": 1, "d": -3}, {"c": 1}),
    "nothing": ({"a": 0, "b": 0}, {}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_crosses_and_what_is_left(case: str):
    wanted, crossed, left = CASES[case]
    found = netted(wanted)
    assert (dict(found.crossed), dict(found.left)) == (crossed, left)


WANTED = st.dictionaries(st.sampled_from("abcdef"), st.integers(-(10**12), 10**12))


@given(WANTED)
def test_crosses_sum_to_zero_and_nobody_gets_what_it_did_not_want(wanted: dict[str, int]):
    found = netted(wanted)
    assert sum(found.crossed.values()) == 0
    assert found.order == sum(wanted.values())
    assert len({q > 0 for q in found.left.values()}) <= 1
    for book, quantity in wanted.items():
        got = found.crossed.get(book, 0)
        assert got + found.left.get(book, 0) == quantity
        assert min(0, quantity) <= got <= max(0, quantity)


def fill(n: int, side: int, quantity: int, fee: Decimal) -> Fill:
    """An execution of the account's order."""
    return Fill(
        exec_id=f"e{n}", client_order_id="c", session=date(2024, 1, 3), sid=1, side=side, quantity=quantity,
        price=Decimal("10.25"), fee=fee, arrival_price=Decimal(10), ts=datetime(2024, 1, 3, 14, 30, tzinfo=UTC),
    )  # fmt: skip


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 10**9), min_size=1),
    st.sampled_from((1, -1)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(-(10**6), 10**9)), max_size=5),
)
def test_executions_come_back_whole(wanted: dict[str, int], side: int, parts: list[tuple[float, int]]):
    """Counts, fees and worth of the parts add up to those of each execution; no book gets more than it wants."""
    left, fills = sum(wanted.values()), list[Fill]()
    for n, (part, fee) in enumerate(parts):
        if quantity := int(left * part):
            left -= quantity
            fills.append(fill(n, side, quantity, Decimal(fee).scaleb(-6)))
    found = allocated({book: side * q for book, q in wanted.items()}, fills)
    for one in fills:
        shares = [f for of_book in found.values() for f in of_book if f.exec_id == one.exec_id]
        assert sum(f.quantity for f in shares) == one.quantity
        assert sum(f.fee for f in shares) == one.fee
        assert {(f.side, f.price, f.ts) for f in shares} == {(one.side, one.price, one.ts)}
    for book, of_book in found.items():
        assert sum(f.quantity for f in of_book) <= wanted[book]
    if not left:
        assert {book: sum(f.quantity for f in of_book) for book, of_book in found.items()} == wanted


def test_more_than_was_ordered_is_no_part_of_anybody():
    with pytest.raises(ValueError, match="e0: 11 executed"):
        allocated({"a": 10}, [fill(0, 1, 11, Decimal(0))])
    with pytest.raises(ValueError, match="e0: -1 executed"):
        allocated({"a": 10}, [fill(0, -1, 1, Decimal(0))])


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**12), max_size=8))
def test_parts_add_up_and_are_within_one_of_their_share(total: int, weights: list[int]):
    parts, whole = apportioned(total, weights), sum(weights)
    assert sum(parts) == (total if whole else 0)
    assert all(abs(p * whole - total * w) < whole for p, w in zip(parts, weights, strict=True) if whole)
