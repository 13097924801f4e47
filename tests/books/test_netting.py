"""What several books want of a name becomes one order of their account, and comes back to them whole."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.books.netting import apportioned, counts_of, fees_of, netted

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


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 10**9), min_size=1),
    st.lists(st.tuples(st.floats(0, 1), st.integers(-(10**6), 10**9)), max_size=5),
)
def test_executions_come_back_whole(wanted: dict[str, int], executed: list[tuple[float, int]]):
    """Counts and fees of the parts add up to those of each execution; no part gets more than it wants, and all get what
    they want where all is executed.
    """
    open_ = dict(wanted)
    for share, micros in [*executed, (1.0, 7)]:
        quantity, fee = int(sum(open_.values()) * share), Decimal(micros).scaleb(-6)
        counts = counts_of(quantity, open_, wanted)
        assert sum(counts.values()) == quantity
        assert sum(fees_of(fee, counts).values()) == (fee if quantity else 0)
        open_ = {name: open_[name] - counts[name] for name in open_}
        assert min(open_.values()) >= 0
    assert set(open_.values()) == {0}


def test_more_than_was_ordered_is_of_all_by_what_they_ordered():
    assert counts_of(14, {"a": 2, "b": 3}, {"a": 4, "b": 8}) == {"a": 5, "b": 9}
    assert counts_of(5, {"a": -1, "b": 3}, {"a": 1}, {"a": 1, "b": 1}) == {"a": 2, "b": 3}


def test_a_fee_finer_than_money_is_stored_is_not_lost():
    fee = Decimal("0.12345678")
    assert sum(fees_of(fee, {"a": 1, "b": 2, "c": 0}).values()) == fee


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**12), max_size=8))
def test_parts_add_up_and_are_within_one_of_their_share(total: int, weights: list[int]):
    parts, whole = apportioned(total, weights), sum(weights)
    assert sum(parts) == (total if whole else 0)
    assert all(abs(p * whole - total * w) < whole for p, w in zip(parts, weights, strict=True) if whole)
