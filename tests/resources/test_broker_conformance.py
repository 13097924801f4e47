"""One suite for every venue: the promises of the Broker port, on paper and on one with the habits of a real venue."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from quant_assets.errors import CursorUnknown, OrderRejected
from quant_assets.execution.corrections import in_force
from quant_assets.ports import Advances, Broker
from quant_assets.records import Coverage, Order, OrderState
from tests.execution.small_market import CUTS, PAPER, SESSIONS, desk, stored
from tests.stubs.venue import WeekVenue

D = SESSIONS[1]
S = OrderState


def order(key: str = "c1", side: int = 1, quantity: int = 100) -> Order:
    return Order(
        client_order_id=key,
        book=PAPER.name,
        strategy="hand",
        decided=SESSIONS[0],
        session=D,
        good_till=D,
        slot="open",
        sid=1,
        leg="rebalance",
        symbol="S1",
        side=side,
        quantity=quantity,
        reference_price=Decimal(27),
        decision_id="d",
    )


@dataclass
class Venue:
    """A venue and how a test makes it trade all that is open at the open of D."""

    broker: Broker
    trade: Callable[[], None]


def paper(root: Path) -> Venue:
    broker = desk(stored(root / "tables"), root / "brokers").open(PAPER)
    assert isinstance(broker, Advances)
    broker.advance(SESSIONS[0])
    return Venue(broker, lambda: broker.advance(D))


def week(_root: Path) -> Venue:
    broker = WeekVenue(CUTS.of(SESSIONS[0]), cash=PAPER.capital)

    def trade() -> None:
        broker.now = CUTS.calendar.open(D)
        for held in broker.open_orders():
            execution = broker.execute(held.client_order_id, held.quantity, "27.1234")
            broker.charge(execution.exec_id, "1.00")

    return Venue(broker, trade)


VENUES = {"paper": paper, "a week, commissions apart, repetitions": week}


@pytest.fixture(params=VENUES)
def venue(request: pytest.FixtureRequest, tmp_path: Path) -> Venue:
    return VENUES[request.param](tmp_path)


def test_a_new_account_holds_its_cash_and_nothing_else(venue):
    """Before anything happens there is a name, a settle window, the capital, and no event but a cursor."""
    broker, events = venue.broker, venue.broker.events(None)
    assert (broker.cash(), dict(broker.positions()), list(broker.open_orders())) == (PAPER.capital, {}, [])
    assert (events.executions, events.commissions, events.orders) == ((), (), ())
    assert broker.name
    assert broker.settle_window >= timedelta(0)
    assert broker.find("c1") is None


def test_an_order_is_found_under_its_client_id_until_and_after_it_trades(venue):
    """What was sent is open, then filled; the venue's id is the same wherever it is reported."""
    broker_order_id = venue.broker.submit(order())
    (held,) = venue.broker.open_orders()
    assert held == venue.broker.find("c1")
    assert (held.broker_order_id, held.state, held.filled) == (broker_order_id, S.ACKED, 0)
    venue.trade()
    assert list(venue.broker.open_orders()) == []
    found = venue.broker.find("c1")
    assert found is not None
    assert (found.broker_order_id, found.state, found.filled) == (broker_order_id, S.FILLED, 100)


def test_events_since_a_cursor_hold_all_that_happened_after_it(venue):
    """Executions and state changes after a cursor are reported under the next one, whatever else is repeated."""
    venue.broker.submit(order())
    before = venue.broker.events(None)
    assert [o.state for o in before.orders] == [S.ACKED]
    venue.trade()
    after = venue.broker.events(before.cursor)
    assert {e.client_order_id for e in after.executions} == {"c1"}
    assert [o.state for o in after.orders if o.client_order_id == "c1"] == [S.FILLED]
    assert after.cursor != before.cursor
    assert {e.exec_id for e in venue.broker.events(None).executions} >= {e.exec_id for e in after.executions}


def test_executions_and_fees_explain_cash_and_positions(venue):
    """Each execution once, by its id, and each fee once, given with it or apart, add up to the account."""
    venue.broker.submit(order())
    venue.broker.submit(order("c2", -1, 30))
    venue.trade()
    events = venue.broker.events(None)
    executions = {e.exec_id: e for e in events.executions}.values()
    apart = {c.exec_id: c.fee for c in events.commissions}
    fees = [apart[e.exec_id] if e.fee is None else e.fee for e in executions]
    assert venue.broker.cash() == PAPER.capital - sum(e.side * e.quantity * e.price for e in executions) - sum(fees)
    assert venue.broker.positions() == {1: sum(e.side * e.quantity for e in executions)} == {1: 70}


def test_cancel(venue):
    """An open order becomes CANCELED, is reported so and never trades; one that is not open is refused."""
    venue.broker.submit(order())
    cursor = venue.broker.events(None).cursor
    venue.broker.cancel("c1")
    assert [o.state for o in venue.broker.events(cursor).orders] == [S.CANCELED]
    for key in ("c1", "never sent"):
        with pytest.raises(OrderRejected):
            venue.broker.cancel(key)
    venue.trade()
    assert venue.broker.events(None).executions == ()


def test_replace(venue):
    """The old order is canceled, the new one is open under its own id; nothing is sent where nothing was open."""
    venue.broker.submit(order())
    broker_order_id = venue.broker.replace("c1", order("c2", quantity=60))
    assert [(o.client_order_id, o.broker_order_id) for o in venue.broker.open_orders()] == [("c2", broker_order_id)]
    old = venue.broker.find("c1")
    assert old is not None
    assert old.state is S.CANCELED
    with pytest.raises(OrderRejected):
        venue.broker.replace("c1", order("c3"))
    assert venue.broker.find("c3") is None


def test_a_venue_says_what_it_vouches_for(venue):
    """The coverage is stated whatever was asked, and what is reported lies within it."""
    venue.broker.submit(order())
    venue.trade()
    events = venue.broker.events(None)
    since = events.coverage.executions_since
    assert all(since is None or e.ts >= since for e in events.executions)
    assert (events.coverage == Coverage()) == isinstance(venue.broker, Advances)


def test_a_cursor_that_is_not_known_is_an_error(tmp_path: Path):
    """It is refused by name, never read as another place in the record."""
    broker = paper(tmp_path).broker
    for cursor in ("999", "x", "-1"):
        with pytest.raises(CursorUnknown):
            broker.events(cursor)
    other = WeekVenue(CUTS.of(D))
    cursor = other.events(None).cursor
    other.forget()
    with pytest.raises(CursorUnknown):
        other.events(cursor)


def test_a_replacement_that_is_refused_leaves_the_order_open(tmp_path: Path):
    """On paper cancel and submit are one commit."""
    broker = paper(tmp_path).broker
    broker.submit(order())
    with pytest.raises(OrderRejected, match="past"):
        broker.replace("c1", msgspec.structs.replace(order("c2"), session=SESSIONS[0]))
    assert [o.client_order_id for o in broker.open_orders()] == ["c1"]


def test_executions_in_force_explain_an_account_that_was_corrected(tmp_path: Path):
    """One execution is corrected and one is a bust: each names the one before, and what is in force adds up."""
    venue = week(tmp_path)
    for key in ("c1", "c2", "c3"):
        venue.broker.submit(order(key))
    venue.trade()
    broker = venue.broker
    assert isinstance(broker, WeekVenue)
    first, second, third = sorted({e.exec_id: e for e in broker.events(None).executions})
    corrected = broker.correct(first, quantity=60)
    broker.charge(corrected.exec_id, "0.60")
    broker.correct(second, quantity=0)
    found = in_force(broker.events(None).executions)
    assert set(found) == {corrected.exec_id, third}
    assert (corrected.corrects, broker.positions()) == (first, {1: 160})
    paid = sum((e.side * e.quantity * e.price for e in found.values()), Decimal("1.60"))
    assert broker.cash() == PAPER.capital - paid
