from datetime import date, timedelta
from decimal import Decimal

import msgspec
import polars as pl
import pytest

from quant_assets.backtest.fills import FillModel, match
from quant_assets.calendars import Cuts, calendar
from quant_assets.calendars.auctions import closing
from quant_assets.execution.drop_copy import session_at
from quant_assets.records import Order, OrderState, Working
from tests.execution.small_market import CUTS, SESSIONS

D = SESSIONS[3]
MODEL = FillModel()


def order(cid: str, side: int = 1, quantity: int = 100, sid: int = 1, session: date = D, good_for: int = 3) -> Working:
    decided = CUTS.calendar.shift(session, -1)
    good_till = CUTS.calendar.shift(session, good_for - 1)
    made = Order(
        client_order_id=cid,
        book="b",
        strategy="s",
        decided=decided,
        session=session,
        good_till=good_till,
        slot="open",
        sid=sid,
        leg="rebalance",
        symbol="S",
        side=side,
        quantity=quantity,
        reference_price=Decimal(10),
        decision_id="d",
    )
    return Working(order=made)


def at_open(
    working: list[Working],
    opened: float | None = 10.0,
    volume: int | None = 100_000,
    session: date = D,
    splits: tuple[int, ...] = (),
    sid: int = 1,
):
    bars = pl.DataFrame(
        {"sid": [sid], "open": [opened], "volume": [volume]},
        schema={"sid": pl.Int64, "open": pl.Float64, "volume": pl.Int64},
    )
    return match(working, bars, splits, session, CUTS.calendar.open(session), MODEL)


@pytest.mark.parametrize(("side", "price"), [(1, "10.0062"), (-1, "9.9962")])
def test_price_moves_against_the_order(side, price):
    """A buy pays and a sale loses the slippage, to four decimals; arrival is the open; the fee is commission in
    cents.
    """
    (fill,), (update,) = at_open([order("a", side, 1_000)], 10.0012)
    assert (fill.price, fill.arrival_price, fill.fee, fill.quantity) == (
        Decimal(price),
        Decimal("10.0012"),
        Decimal("5.00"),
        1_000,
    )
    assert (update.state, update.filled) == (OrderState.FILLED, 1_000)


def test_minimum_commission():
    """Small fills pay the minimum."""
    assert at_open([order("a", quantity=3)])[0][0].fee == Decimal("1.00")


def test_cap_is_shared_and_the_rest_carries():
    """Orders of one name share the participation cap, the older first; the rest carries until good_till and then
    expires.
    """
    old, new = order("z", quantity=80, session=SESSIONS[2]), order("a", quantity=80)
    fills, updates = at_open([new, old], volume=2_000)
    assert [(f.client_order_id, f.quantity) for f in fills] == [("z", 80), ("a", 20)]
    assert [(u.key, u.state, u.filled) for u in updates] == [
        ("z", OrderState.FILLED, 80),
        ("a", OrderState.PARTIAL, 20),
    ]
    carried = Working(order=new.order, filled=20)
    fills, updates = at_open([carried], volume=200, session=new.order.good_till)
    assert [f.quantity for f in fills] == [10]
    assert [(u.state, u.filled, u.reason) for u in updates] == [(OrderState.EXPIRED, 30, "PARTICIPATION")]


@pytest.mark.parametrize(
    ("opened", "volume"), [(None, 100), (0.0, 100), (float("nan"), 100), (float("inf"), 100), (10.0, None), (10.0, 0)]
)
def test_no_market_no_fill(opened, volume):
    """Without an open or without volume nothing fills, and the order stays as it is."""
    assert at_open([order("a")], opened, volume) == ([], [])


def test_no_bar_expires_at_good_till():
    """A name that does not trade until good_till: the order expires."""
    (update,) = at_open([order("a", sid=2, good_for=1)])[1]
    assert (update.state, update.reason) == (OrderState.EXPIRED, "NO_MARKET")


def test_split_ends_orders():
    """An order counts old shares: on a split's ex-session it expires unfilled."""
    fills, (update,) = at_open([order("a")], splits=(1,))
    assert (fills, update.state, update.reason) == ([], OrderState.EXPIRED, "CORPORATE_ACTION")


def test_not_due_yet():
    """An order for a later session is not touched."""
    assert at_open([order("a", session=SESSIONS[4])]) == ([], [])


def test_execution_ids_are_content():
    """The same fill has the same id; another session or another order under the same client id has another."""
    one = order("a", quantity=1_000_000)
    again = Working(order=one.order, key="a#2")
    ids = [
        f.exec_id
        for f in at_open([one])[0] + at_open([one])[0] + at_open([one], session=SESSIONS[4])[0] + at_open([again])[0]
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_an_order_of_the_close_trades_at_the_close() -> None:
    """Its slot says at which auction: each at its own price and time, both of one name under one cap; without a close
    nothing fills.
    """
    at_close = Working(order=msgspec.structs.replace(order("c", quantity=50).order, slot="close"))
    bars = pl.DataFrame({"sid": [1], "open": [10.0], "close": [12.0], "volume": [2_000]})
    opens, closes = CUTS.calendar.open(D), closing(CUTS.calendar, D)
    fills, _ = match([order("o", quantity=80), at_close], bars, (), D, opens, MODEL, closing=closes)
    assert [(f.client_order_id, f.arrival_price, f.ts, f.quantity) for f in fills] == [
        ("c", Decimal("12.0"), closes, 50),
        ("o", Decimal("10.0"), opens, 50),
    ]
    nothing, _ = match([at_close], bars.with_columns(close=None), (), D, opens, MODEL, closing=closes)
    assert nothing == []


def test_a_close_that_is_the_next_open_belongs_to_the_session_that_ends() -> None:
    """In crypto and FX; where the venue rests it is the close itself."""
    for code, before in (("24/7", timedelta(microseconds=1)), ("XLON", timedelta(0))):
        venue = calendar(code)
        assert closing(venue, date(2025, 3, 4)) == venue.close(date(2025, 3, 4)) - before
        assert session_at(Cuts(venue), closing(venue, date(2025, 3, 4))) == date(2025, 3, 4)
