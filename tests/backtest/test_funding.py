"""Purchases are paid for: no book ends with twice what it is worth because a sale did not trade."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.backtest.funding import Purse, Trade, affordable
from quant_assets.tables import NAV
from tests.books.hand_made import S, bar, traded

P = Decimal(10)


@pytest.mark.parametrize(
    ("cash", "held", "trades", "filled"),
    [
        (1000, {}, [(1, 1, 100)], [100]),
        (1000, {}, [(1, 1, 60), (2, 1, 60)], [50, 50]),
        (1000, {}, [(1, 1, 150), (2, 1, 50)], [75, 25]),
        (0, {1: 100}, [(1, -1, 100), (2, 1, 100)], [100, 100]),
        (0, {1: 100}, [(1, -1, 40), (2, 1, 100)], [40, 40]),
        (-500, {1: 100}, [(1, -1, 40), (2, 1, 100)], [40, 0]),
        (0, {1: -30}, [(1, 1, 30), (2, 1, 10)], [30, 0]),
        (100, {1: -30}, [(1, 1, 50)], [30]),
        (0, {1: -30}, [(1, 1, 20), (1, 1, 20)], [20, 10]),
        (0, {}, [], []),
    ],
)
def test_what_can_be_paid(
    cash: int, held: dict[int, int], trades: list[tuple[int, int, int]], filled: list[int]
) -> None:
    """All at 10: cash and sales pay for purchases, in proportion where it is not enough; a short is always covered."""
    given_ = [Trade(sid, side, quantity, P) for sid, side, quantity in trades]
    assert affordable(given_, Purse(Decimal(cash), Decimal(0), held)) == filled


@given(
    st.integers(-500, 2000),
    st.integers(-300, 300),
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([-1, 1]), st.integers(0, 90), st.integers(1, 40)), max_size=6
    ),
)
def test_what_is_bought_leaves_the_least(cash: int, least: int, trades: list[tuple[int, int, int, int]]) -> None:
    """Whatever the orders of a book without shorts: the least is left, or nothing is bought."""
    wanted = [Trade(sid, side, quantity, Decimal(price)) for sid, side, quantity, price in trades]
    filled = affordable(wanted, Purse(Decimal(cash), Decimal(least), {}))
    left = cash - sum((t.side * n * t.price for t, n in zip(wanted, filled, strict=True)), Decimal(0))
    assert left >= least or not any(n for t, n in zip(wanted, filled, strict=True) if t.side > 0)
    assert all(n == t.quantity for t, n in zip(wanted, filled, strict=True) if t.side < 0)


@pytest.mark.parametrize("back", [6, None])
def test_a_rotation_whose_sale_halts_buys_what_there_is(tmp_path: Path, back: int | None) -> None:
    """All of a book turns from one name to another, which halts at the very open: cash never falls below what may be
    borrowed and gross stays within the limit, each session; once the name trades again, the rotation is finished.
    """
    days = S[:10]
    halted = range(3, back or len(days))
    bars = [bar(d, 1, 10) for n, d in enumerate(days) if n not in halted] + [bar(d, 2, 50) for d in days]
    wanted = {d: {1: 1.0, 2: 0.0} if n < 2 else {1: 0.0, 2: 1.0} for n, d in enumerate(days)}
    live = traded(tmp_path, bars, (), wanted)
    for row in live.read(NAV).iter_rows(named=True):
        assert row["cash"] >= Decimal("-0.051") * row["equity"], row["session"]
        assert row["long_value"] <= Decimal("1.06") * row["equity"], row["session"]
    held = live.held(days[-1])
    if back:
        assert (1 in held, held[2] * 50 > 99_000) == (False, True)
    else:
        assert (held[1] * 10 > 99_000, held[2] * 50 <= 5_100) == (True, True)


def test_a_halt_known_when_deciding_is_not_counted_on(tmp_path: Path) -> None:
    """The sale of a name without a bar in the session that decides pays for nothing."""
    days = S[:6]
    bars = [bar(d, 1, 10) for d in days[:2]] + [bar(d, 2, 50) for d in days]
    wanted = {d: {1: 1.0, 2: 0.0} if n < 1 else {1: 0.0, 2: 1.0} for n, d in enumerate(days) if n != 1}
    live = traded(tmp_path, bars, (), {d: wanted.get(d, {1: 1.0, 2: 0.0}) for d in days})
    bought = [q for sid, q, _, _ in live.orders() if sid == 2]
    assert sum(bought) * 50 <= 5_100
