from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.books.holdings import Holdings
from quant_assets.execution.limits import exposure_of, within_limits
from quant_assets.execution.orders import client_order_id, orders_for, target_counts, too_small
from quant_assets.records import Order, Working
from quant_assets.tables import DECISIONS
from tests.execution.small_market import CUTS, PAPER, SESSIONS, STRATEGY, decisions

D, NEXT = SESSIONS[2], SESSIONS[3]


def held(quantities: dict[int, int], cash: int = 100_000) -> Holdings:
    return Holdings(session=D, cash=Decimal(cash), quantities=quantities, marks=dict.fromkeys(quantities, Decimal(30)))


def wanted(rows: pl.DataFrame, holdings: Holdings, working: tuple[Working, ...] = ()) -> dict[int, tuple[int, str]]:
    orders = orders_for(PAPER, STRATEGY, rows, holdings, working, NEXT, CUTS.calendar, {9: "NINE"})
    return {o.sid: (o.side * o.quantity, o.leg) for o in orders}


def under_way(sid: int, quantity: int, filled: int = 0) -> Working:
    given = {"sid": sid, "side": 1 if quantity > 0 else -1, "quantity": abs(quantity)}
    made = orders_for(PAPER, STRATEGY, decisions(D, {1: 0.1}), held({}), (), NEXT, CUTS.calendar, {})[0]
    return Working(key=f"w{sid}{quantity}", order=msgspec.structs.replace(made, **given), filled=filled)


def test_difference_from_positions_and_open_orders():
    """What is held and what open orders still bring is not ordered again."""
    rows = decisions(D, {1: 0.2})
    target = target_counts(0.2, held({1: 100}).equity, Decimal(str(rows["reference_price"][0])))
    assert wanted(rows, held({1: 100})) == {1: (target - 100, "rebalance")}
    assert wanted(rows, held({1: 100}), (under_way(1, 80, filled=30),)) == {1: (target - 150, "rebalance")}
    assert wanted(rows, held({1: 100}), (under_way(1, target - 100),)) == {}


def test_what_is_followed():
    """TRADE rows are followed, NO_TRADE rows leave the name, a held name outside the set is closed.

    Without a TRADE row nothing is ordered.
    """
    holdings = held({1: 500, 2: 500, 3: 500, 9: 500})
    rows = decisions(D, {1: 0.0, 2: 0.0, 3: 0.0}, {2: "NO_TRADE", 3: "NO_TRADE"})
    assert wanted(rows, holdings) == {1: (-500, "exit"), 9: (-500, "exit")}
    assert wanted(rows.with_columns(verdict=pl.lit("NO_TRADE")), holdings) == {}
    assert wanted(DECISIONS.empty(), holdings) == {}


def test_small_differences_are_left_unless_they_close():
    """Below min_trade of equity nothing is ordered, except to leave a position."""
    rows = decisions(D, {1: 0.2, 2: 0.0})
    target = target_counts(0.2, Decimal(100_030), Decimal(str(rows["reference_price"][0])))
    of = {n: wanted(rows, held({1: target - n, 2: 1}, cash=100_000 - 30 * (target - n))).get(1) for n in (3, 30)}
    assert of == {3: None, 30: (30, "rebalance")}
    assert wanted(decisions(D, {2: 0.0}), held({2: 1})) == {2: (-1, "exit")}


def test_exit_without_a_price_uses_the_mark():
    """A name to be left whose bar is missing is still sold; one to be bought is not bought without a price."""
    rows = decisions(D, {1: 0.0, 2: 0.2}).with_columns(reference_price=pl.lit(None, dtype=pl.Float64))
    assert wanted(rows, held({1: 10})) == {1: (-10, "exit")}


@given(st.integers(0, 500), st.integers(-500, 500), st.floats(0, 1))
def test_long_only_never_sells_what_is_not_held(holding: int, open_shares: int, weight: float) -> None:
    """With weights ≥ 0, all open sales together are never more than what is held."""
    working = (under_way(1, open_shares),) if open_shares and open_shares >= -holding else ()
    order = wanted(decisions(D, {1: weight}), held({1: holding} if holding else {}), working).get(1, (0, ""))[0]
    sales = -min(order, 0) + sum(w.remaining for w in working if w.order.side < 0)
    assert sales <= holding


def test_no_equity_buys_nothing():
    """A book without equity only sells."""
    assert target_counts(0.5, Decimal(-1), Decimal(10)) == 0


def test_ids():
    """Ids are 22 of [a-z0-9], the same for the same intent and different in every part."""
    parts = ("book", "strategy", D, "open", 1, "exit")
    others = [
        ("b", *parts[1:]),
        (parts[0], "s", *parts[2:]),
        (*parts[:2], NEXT, *parts[3:]),
        (*parts[:3], "close", *parts[4:]),
        (*parts[:4], 2, "exit"),
        (*parts[:5], "rebalance"),
    ]
    ids = [client_order_id(*p) for p in [parts, *others]]
    assert len(set(ids)) == 7
    assert ids[0] == client_order_id(*parts)
    assert all(len(i) == 22 and i.isascii() and i.isalnum() and i.islower() for i in ids)


def test_good_till():
    """An order is decided in one session, due in the next, and good for as many sessions as the strategy says."""
    (order,) = orders_for(PAPER, STRATEGY, decisions(D, {1: 0.2}), held({}), (), NEXT, CUTS.calendar, {})
    assert (order.decided, order.session, order.good_till) == (
        D,
        NEXT,
        CUTS.calendar.shift(NEXT, STRATEGY.good_for_sessions - 1),
    )
    assert order.good_till - order.session < timedelta(days=7)


@pytest.mark.parametrize(
    ("limits", "kept", "why"),
    [
        ({"max_orders": 2}, [2, 4], "2 orders per session"),
        ({"max_order_notional": Decimal(500)}, [1, 2, 4], "per order"),
    ],
)
def test_limits_refuse_whole_orders(limits: dict[str, Any], kept: list[int], why: str) -> None:
    """Beyond its size or their number an order is refused with the reason, not resized; what reduces comes first, and
    is never refused for its size.
    """
    quantities = {1: 10, 2: -10, 3: 20, 4: -20}
    orders: list[Order] = [
        msgspec.structs.replace(under_way(sid, n).order, client_order_id=f"c{sid}", reference_price=Decimal(30))
        for sid, n in quantities.items()
    ]
    exposure = exposure_of(held({2: 10, 4: 20}), (), orders, set(quantities))
    allowed, refused = within_limits(msgspec.structs.replace(PAPER, **limits), orders, exposure)
    assert [o.sid for o in allowed] == kept
    assert {r.order.sid for r in refused} == set(quantities) - set(kept)
    assert all(why in r.reason for r in refused)
    assert [o for o in orders if o in allowed] == allowed


def test_the_limits_of_the_book_cut_what_increases() -> None:
    """What a halted sale would have paid for is not bought, and the rest is reported by row with its numbers."""
    rows = decisions(D, {1: 0.0, 2: 0.9})
    holdings = held({1: 3_000}, cash=0)
    orders = orders_for(PAPER, STRATEGY, rows, holdings, (), NEXT, CUTS.calendar, {})
    cases: list[tuple[set[int], Decimal]] = [(set(), Decimal("0.05")), ({1, 2}, Decimal("0.9"))]
    for trading, share in cases:
        kept, refused = within_limits(PAPER, orders, exposure_of(holdings, (), orders, trading))
        bought = sum(o.quantity * o.reference_price for o in kept if o.side > 0)
        assert bought <= share * holdings.equity
        assert [o.quantity for o in kept if o.side < 0] == [3_000]
        assert [r.reason.partition(":")[0] for r in refused] == ([] if trading else ["min_cash"])


@pytest.mark.parametrize(
    ("shares", "most", "slices"),
    [
        (500, 1_000, {"exit": 33, "exit-2": 33, "exit-3": 33}),
        (500, 15_000, {"exit": 500}),
        (100, 2_999, {"exit": 99, "exit-2": 1}),
        (3, 10, {"exit": 1, "exit-2": 1, "exit-3": 1}),  # one share is dearer than an order may be
    ],
)
def test_an_exit_leaves_in_slices(shares: int, most: int, slices: dict[str, int]) -> None:
    """None larger than an order may be, all with ids of their own, together what is held; none is refused."""
    book = msgspec.structs.replace(PAPER, max_order_notional=Decimal(most))
    rows = decisions(D, {1: 0.0}).with_columns(reference_price=pl.lit(30.0))
    holdings = held({1: shares})
    orders = orders_for(book, STRATEGY, rows, holdings, (), NEXT, CUTS.calendar, {})
    legs = {o.leg: o.quantity for o in orders}
    assert {leg: legs[leg] for leg in slices} == slices
    assert (sum(legs.values()), len({o.client_order_id for o in orders})) == (shares, len(orders))
    assert within_limits(book, orders, exposure_of(holdings, (), orders, {1})) == (orders, [])
    assert orders[0].client_order_id == client_order_id("desk", "hand", D, "open", 1, "exit")


def test_a_part_of_a_position_leaves_in_slices_and_a_purchase_does_not() -> None:
    """A reduction is sliced as an exit is; from long to short the part that reduces is, and the rest is one order."""
    book = msgspec.structs.replace(PAPER, max_order_notional=Decimal(3_000))
    rows = decisions(D, {1: 0.1, 2: 0.9, 3: -0.1}).with_columns(reference_price=pl.lit(30.0))
    orders = orders_for(book, STRATEGY, rows, held({1: 600, 3: 250}, cash=0), (), NEXT, CUTS.calendar, {})
    sizes = {(o.sid, o.leg): o.side * o.quantity for o in orders}
    assert [n for (sid, _), n in sizes.items() if sid == 1] == [-100] * 5 + [-15]
    assert [n for (sid, _), n in sizes.items() if sid == 3] == [-100, -100, -50, -85]
    assert [n for (sid, _), n in sizes.items() if sid == 2] == [765]


@pytest.mark.parametrize(
    ("weights", "capital", "smallest"),
    [
        ({1: 0.05, 2: 0.05}, 10_000, "14,000.00"),
        ({1: 0.05, 2: 0.05}, 14_000, ""),
        ({1: 0.05}, 100_000, "1,200,000.00"),
        ({1: 0.0, 2: 0.0}, 10, ""),
        ({2: 0.0019, 1: 0.003}, 10_000, "20,000,000.00"),  # below min_trade a weight is never traded
        ({2: 0.07}, 0, "10,000.00"),
    ],
)
def test_capital_that_buys_no_share_is_named_with_the_smallest_that_would(
    weights: dict[int, float], capital: int, smallest: str
) -> None:
    """Names at 60,000 and 700: the least equity of which one of the weights is a whole share."""
    prices = pl.col("sid").replace_strict({1: 60_000.0, 2: 700.0}, return_dtype=pl.Float64)
    rows = decisions(D, weights).with_columns(reference_price=prices)
    why = too_small(STRATEGY, rows, held({}, cash=capital))
    assert (why.partition(":")[0], smallest in why) == ("CAPITAL_TOO_SMALL" if smallest else "", True)
    if smallest:
        enough = held({}, cash=int(float(smallest.replace(",", ""))))
        assert too_small(STRATEGY, rows, enough) == ""
        assert orders_for(PAPER, STRATEGY, rows, enough, (), NEXT, CUTS.calendar, {}) != []
