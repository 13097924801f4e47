"""One suite for every venue: the promises of the Broker port, on paper and on one with the habits of a real venue."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from quant_assets.errors import CursorUnknown, OrderRejected
from quant_assets.execution.corrections import in_force
from quant_assets.ports import Advances, Broker
from quant_assets.records import Coverage, Order
from quant_assets.testing import LAWS
from tests.execution.small_market import CUTS, PAPER, SESSIONS, desk, stored
from tests.stubs.venue import WeekVenue

D = SESSIONS[1]


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


@pytest.mark.parametrize("law", LAWS["broker"].values(), ids=LAWS["broker"])
def test_the_laws_of_a_venue_are_kept(venue, law):
    """Each law of the shipped suite."""
    law(lambda: venue.broker, trade=lambda _: venue.trade(), order=order())


def test_a_new_account_holds_the_books_capital(venue):
    """And nothing else."""
    assert venue.broker.cash() == PAPER.capital


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
