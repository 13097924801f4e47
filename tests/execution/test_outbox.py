from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec
import pytest

from quant_assets.errors import OrderRejected, OrderUncertain
from quant_assets.execution.follow import follow
from quant_assets.execution.outbox import TRANSITIONS, recover, send
from quant_assets.ports import Broker
from quant_assets.records import BrokerOrder, Order, OrderState, Switch
from resources.clock import SessionClock
from resources.ledger.open import open_ledger
from tests.execution.small_market import CUTS, PAPER, SESSIONS, Told

D = SESSIONS[1]
NOW = CUTS.of(D)
OPEN = CUTS.calendar.open(CUTS.calendar.shift(D, 1))
MINUTE = timedelta(minutes=1)
S = OrderState


class Venue:
    """A venue that answers as told: `on_submit` and `on_find` may raise before or after what they do."""

    name = "told"

    def __init__(self) -> None:
        self.settle_window = timedelta(0)
        self.held: list[BrokerOrder] = []
        self.on_submit: Callable[[Order], None] = lambda _: None
        self.on_answer: Callable[[Order], None] = lambda _: None
        self.on_find: Callable[[str], None] = lambda _: None

    def submit(self, order: Order) -> str:
        """Accept, unless told to break before or after."""
        self.on_submit(order)
        self.held.append(
            BrokerOrder(
                client_order_id=order.client_order_id,
                broker_order_id=f"B{len(self.held)}",
                sid=order.sid,
                side=order.side,
                quantity=order.quantity,
                filled=0,
                state=S.ACKED,
            )
        )
        self.on_answer(order)
        return self.held[-1].broker_order_id

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """What is held."""
        self.on_find(client_order_id)
        return next((h for h in self.held if h.client_order_id == client_order_id), None)


class Desk:
    """An outbox with three orders, its venue, and a hand on the clock."""

    def __init__(self, path: Path) -> None:
        self.clock = SessionClock(NOW)
        self.ledger = open_ledger(path)
        self.outbox = self.ledger.outbox
        self.venue = Venue()
        self.told = Told()
        made = [self.order(sid, side) for sid, side in ((1, 1), (2, -1), (3, 1))]
        with self.outbox.lease(PAPER, 60) as writer:
            writer.bind(PAPER.name, "hand", D, "set", made, now=NOW)

    def order(self, sid: int, side: int) -> Order:
        """An order for the next open."""
        following = CUTS.calendar.shift(D, 1)
        return Order(
            client_order_id=f"c{sid}", book=PAPER.name, strategy="hand", decided=D, session=following,
            good_till=following, slot="open", sid=sid, leg="exit", symbol="S", side=side, quantity=10,
            reference_price=Decimal(10), decision_id="d",
        )  # fmt: skip

    def pump(self, settle: timedelta = timedelta(0)) -> int:
        """One turn: what is unsure, then what is pending."""
        self.venue.settle_window = settle
        with self.outbox.lease(PAPER, 60) as writer:
            about = (self.outbox, writer, cast("Broker", self.venue), PAPER)
            recover(*about, clock=self.clock, notifier=self.told)
            return send(*about, clock=self.clock, calendar=CUTS.calendar, notifier=self.told)

    def follow(self, *reported: BrokerOrder) -> None:
        """The states that the venue reported."""
        with self.outbox.lease(PAPER, 60) as writer:
            follow(self.outbox, writer, PAPER, reported, self.clock.now())

    def switch(self, *, on: bool, scope: str = "all") -> None:
        """A kill switch, turned."""
        self.ledger.kill_switch.set(on, scope=scope, by="ops", reason="drill", now=self.clock.now())

    def states(self) -> list[OrderState]:
        """By sid."""
        return [w.state for w in self.outbox.orders(PAPER.name)]

    def arrived(self) -> list[str]:
        """Client ids at the venue, in order of arrival."""
        return [h.client_order_id for h in self.venue.held]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def broken(error: Exception, of: str = "c1") -> Callable[[object], None]:
    def act(about: object) -> None:
        if (about.client_order_id if isinstance(about, Order) else about) == of:
            raise error

    return act


def test_the_machine_is_closed() -> None:
    """Every state that is not an end has a way on, and an end has none."""
    assert set(TRANSITIONS) == {s for s in S if not s.terminal}
    assert all(TRANSITIONS.values())


def test_sent_once_sales_first(desk: Desk) -> None:
    """Each pending order is sent once, sales first; again sends nothing."""
    assert desk.pump() == 3
    assert desk.arrived() == ["c2", "c1", "c3"]
    assert desk.pump() == 0
    assert desk.states() == [S.ACKED] * 3
    assert len(desk.arrived()) == 3


def test_kill_switch(desk: Desk) -> None:
    """With the switch on nothing leaves; off again, all of it."""
    desk.switch(on=True)
    assert desk.pump() == 0
    assert (desk.arrived(), desk.states()) == ([], [S.PENDING] * 3)
    desk.switch(on=False)
    assert desk.pump() == 3


def test_switched_in_between(desk: Desk) -> None:
    """The switch is read for each order: what is behind it when it turns on stays."""
    desk.venue.on_answer = lambda _: desk.switch(on=True)
    assert desk.pump() == 1
    assert desk.arrived() == ["c2"]


def test_rejected_is_definite(desk: Desk) -> None:
    """A refusal ends the order and is told; nothing is sent again."""
    desk.venue.on_submit = broken(OrderRejected("no"))
    assert desk.pump() == 2
    assert desk.states() == [S.REJECTED, S.ACKED, S.ACKED]
    assert any("rejected" in t for t in desk.told.subjects)
    assert desk.pump() == 0


@pytest.mark.parametrize(
    "error", [OrderUncertain("timeout"), ConnectionError("gone"), ValueError("a bug of the adapter")]
)
def test_uncertain_after_accept_is_found(desk: Desk, error: Exception) -> None:
    """The venue took it and the answer was lost: it is found there, not sent again."""
    desk.venue.on_answer = broken(error)
    desk.pump()
    assert desk.states()[0] is S.UNKNOWN
    assert desk.pump(settle=MINUTE) == 0
    assert desk.states() == [S.ACKED] * 3
    assert sorted(desk.arrived()) == ["c1", "c2", "c3"]


def test_uncertain_and_absent_waits_for_the_settle_window(desk: Desk) -> None:
    """The venue shows nothing: asked again until the window has passed, only then sent again."""
    desk.venue.on_submit = broken(OrderUncertain("timeout"))
    desk.pump()
    desk.venue.on_submit = lambda _: None
    desk.clock.advance(timedelta(seconds=59))
    assert desk.pump(settle=MINUTE) == 0
    assert desk.states()[0] is S.UNKNOWN
    desk.clock.advance(timedelta(seconds=1))
    assert desk.pump(settle=MINUTE) == 1
    assert sorted(desk.arrived()) == ["c1", "c2", "c3"]


def test_without_a_window_no_time_counts(desk: Desk) -> None:
    """An order of unknown fate that was stamped by a clock ahead of this one is settled all the same."""
    desk.clock.advance(timedelta(days=500))
    with desk.outbox.lease(PAPER, 60) as writer:
        writer.begin_submit("c1", now=desk.clock.now())
    desk.clock.set(NOW)
    assert desk.pump() == 3


def test_what_cannot_be_proven_is_held(desk: Desk) -> None:
    """Where the venue cannot say after the window, a person decides; nothing is sent meanwhile."""
    desk.venue.on_submit = broken(OrderUncertain("timeout"))
    desk.pump()
    desk.venue.on_find = broken(OrderUncertain("no such query"))
    desk.pump()
    assert desk.states()[0] is S.HELD
    assert any("held" in t for t in desk.told.subjects)
    assert (desk.pump(), len(desk.arrived())) == (0, 2)


def test_crash_between_commit_and_send(desk: Desk) -> None:
    """An order that was committed as SUBMITTING and never sent goes out once."""
    with desk.outbox.lease(PAPER, 60) as writer:
        writer.begin_submit("c1", now=NOW)
    assert desk.pump() == 3
    assert sorted(desk.arrived()) == ["c1", "c2", "c3"]


def test_never_after_its_open(desk: Desk) -> None:
    """What was not sent before its open expires unsent."""
    desk.clock.set(OPEN)
    assert desk.pump() == 0
    assert (desk.states(), desk.arrived()) == ([S.EXPIRED] * 3, [])


def test_the_clock_is_asked_before_each_order(desk: Desk) -> None:
    """Where the open comes while orders go out, those behind it stay."""
    desk.venue.on_answer = lambda _: desk.clock.set(OPEN)
    assert desk.pump() == 1
    assert desk.states() == [S.EXPIRED, S.ACKED, S.EXPIRED]


@pytest.mark.parametrize("scope", ["all", f"account {PAPER.account}", f"book {PAPER.name}"])
def test_each_scope_stops_the_book(desk: Desk, scope: str) -> None:
    """A switch for all, for the account or for the book: nothing leaves; off again, all of it."""
    desk.switch(on=True, scope=scope)
    assert desk.ledger.kill_switch.state(PAPER) == Switch(on=True, reason="drill", scope=scope)
    assert (desk.pump(), desk.states()) == (0, [S.PENDING] * 3)
    desk.switch(on=False, scope=scope)
    assert desk.pump() == 3


def test_a_switch_of_others_stops_nothing(desk: Desk) -> None:
    """Another account and another book are not this one."""
    desk.switch(on=True, scope="account other")
    desk.switch(on=True, scope="book other")
    assert desk.pump() == 3


def test_our_orders_follow_the_venues(desk: Desk) -> None:
    """What the machine allows is taken; an order we never sent or a second one under an id waits for reconciliation."""
    desk.pump()
    held = {h.client_order_id: h for h in desk.venue.held}
    stranger = msgspec.structs.replace(held["c1"], client_order_id="x", state=S.FILLED)
    part = msgspec.structs.replace(held["c1"], filled=4, state=S.PARTIAL)
    second = msgspec.structs.replace(held["c3"], broker_order_id="B9", filled=10, state=S.FILLED)
    desk.follow(part, held["c2"], held["c3"], second, stranger)
    assert [(w.state, w.filled) for w in desk.outbox.orders(PAPER.name)] == [(S.PARTIAL, 4), (S.ACKED, 0), (S.ACKED, 0)]
    desk.follow(held["c1"])
    assert desk.outbox.orders(PAPER.name)[0].filled == 4
