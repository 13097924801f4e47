from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from quant_assets.books.booking import holdings_of
from quant_assets.errors import ConfigurationError, OrderRejected
from quant_assets.execution.orders import orders_for
from quant_assets.records import Order, OrderState
from tests.execution.small_market import CUTS, PAPER, RESEARCH, SESSIONS, STRATEGY, Home, decisions, desk, stored


def orders(session: int, weights: dict[int, float], home: Home) -> list[Order]:
    holdings = holdings_of(home.store, PAPER, SESSIONS[session])
    return orders_for(
        PAPER, STRATEGY, decisions(SESSIONS[session], weights), holdings, (), SESSIONS[session + 1], CUTS.calendar, {}
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_account_opens_with_the_capital(home):
    """Before anything happens the account holds its capital and nothing else."""
    home.broker.sync(SESSIONS[0])
    assert (home.broker.cash(), home.broker.positions(), home.broker.orders(), home.broker.executions()) == (
        Decimal(100_000),
        {},
        [],
        [],
    )


def test_fills_and_books_on_its_own(home):
    """What it reports of executions explains its cash and positions; syncing again changes nothing."""
    home.broker.sync(SESSIONS[0])
    sent = {o.client_order_id: home.broker.submit(o) for o in orders(0, {1: 0.3, 5: 0.3}, home)}
    home.broker.sync(SESSIONS[3])
    fills = home.broker.executions()
    assert home.broker.cash() == Decimal(100_000) - sum(f.side * f.quantity * f.price + f.fee for f in fills)
    assert home.broker.positions() == {sid: sum(f.side * f.quantity for f in fills if f.sid == sid) for sid in (1, 5)}
    assert {o.client_order_id: o.broker_order_id for o in home.broker.orders()} == sent
    assert {o.sid: o.state for o in home.broker.orders()} == {1: OrderState.FILLED, 5: OrderState.EXPIRED}
    home.broker.sync(SESSIONS[2])
    home.broker.sync(SESSIONS[3])
    assert home.broker.executions() == fills
    assert home.broker.executions(SESSIONS[2]) == [f for f in fills if f.session >= SESSIONS[2]]


def test_a_duplicate_is_a_second_order(home):
    """The same client id twice is two orders that both fill: a duplicate would be seen."""
    home.broker.sync(SESSIONS[0])
    (order,) = orders(0, {1: 0.1}, home)
    assert home.broker.submit(order) != home.broker.submit(order)
    home.broker.sync(SESSIONS[1])
    assert [o.state for o in home.broker.orders()] == [OrderState.FILLED] * 2
    assert len({f.exec_id for f in home.broker.executions()}) == 2
    assert home.broker.positions() == {1: 2 * order.quantity}


def test_past_opens_are_rejected(home):
    """An order for a session that is over is definitely not taken."""
    (order,) = orders(0, {1: 0.1}, home)
    home.broker.sync(SESSIONS[1])
    with pytest.raises(OrderRejected, match="past"):
        home.broker.submit(order)
    assert home.broker.find(order.client_order_id) is None


def test_syncing_late_is_syncing_daily(tmp_path: Path):
    """Every session in between is matched as known at its own cut, whenever it is caught up."""
    homes = [Home(tmp_path / name) for name in ("daily", "late")]
    for home in homes:
        home.broker.sync(SESSIONS[0])
        for order in orders(0, {1: 0.3, 2: 0.2, 4: 0.2, 6: 0.2}, home):
            home.broker.submit(order)
    for session in SESSIONS[1:]:
        homes[0].broker.sync(session)
    homes[1].broker.sync(SESSIONS[-1])
    daily, late = ((h.broker.cash(), h.broker.positions(), h.broker.orders(), h.broker.executions()) for h in homes)
    assert daily == late
    assert 6 not in daily[1]


def test_reopened_is_the_same(home):
    """The record is durable: another process sees the same account."""
    home.broker.sync(SESSIONS[0])
    (order,) = orders(0, {1: 0.1}, home)
    home.broker.submit(order)
    again = desk(home.store, home.root / "brokers").open(PAPER)
    assert again.find(order.client_order_id) == home.broker.find(order.client_order_id)
    again.sync(SESSIONS[1])
    assert home.broker.positions() == {1: order.quantity}


def test_desk_names_what_exists(tmp_path: Path):
    """Research books have no venue, and an unknown venue is an error that names those there are."""
    opened = desk(stored(tmp_path / "t"), tmp_path / "b")
    with pytest.raises(ConfigurationError, match="research"):
        opened.open(RESEARCH)
    with pytest.raises(ConfigurationError, match="there is paper"):
        opened.open(msgspec.structs.replace(PAPER, broker="moon"))
