"""A paper venue whose record is changed behind our cursor: withdrawn, restated in place, reported late."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quant_assets.books.by_hand import book_by_hand
from quant_assets.ports import Broker
from quant_assets.records import Act, Events, Execution, StageReport
from quant_assets.tables import COSTS, FILLS, NAV, POSITIONS
from tests.execution.small_market import CUTS, PAPER, SESSIONS, Home, desk
from tests.execution.test_books_apart import day

BY = {"by": "ann", "reason": "a call to the venue", "now": datetime(2024, 1, 5, tzinfo=UTC)}
D0, D1, D2, D3, D4 = SESSIONS[:5]


class Changed:
    """The paper venue, with executions left out of its record or restated in it, and its account moved as a test says.

    It is its own Brokers port.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.hidden: set[str] = set()
        self.restated: dict[str, Execution] = {}
        self.shares: dict[int, int] = {}
        self.money = Decimal(0)

    def open(self, book) -> Broker:
        """See the port Brokers."""
        self._venue: Any = desk(self._home.store, self._home.root / "brokers").open(book)
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    def advance(self, session) -> None:
        """See the port."""
        self._venue.advance(session)

    def events(self, since: str | None) -> Events:
        """See the port."""
        found = self._venue.events(since)
        shown = tuple(self.restated.get(e.exec_id, e) for e in found.executions if e.exec_id not in self.hidden)
        return msgspec.structs.replace(found, executions=shown)

    def positions(self) -> dict[int, int]:
        """See the port."""
        held = dict(self._venue.positions())
        moved = {sid: held.get(sid, 0) + self.shares.get(sid, 0) for sid in {*held, *self.shares}}
        return {sid: quantity for sid, quantity in moved.items() if quantity}

    def cash(self) -> Decimal:
        """See the port."""
        return self._venue.cash() + self.money

    def balances(self) -> dict[str, Decimal]:
        """See the port."""
        return {**self._venue.balances(), PAPER.currency: self.cash()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def venue(home: Home) -> Changed:
    return Changed(home)


def run(home: Home, venue: Changed, session) -> dict[str, StageReport]:
    """A day of the book, by stage."""
    return {r.stage: r for r in day(home, venue, [PAPER], session)}


def resolve(home: Home) -> None:
    for found in home.ledger.breaks.listed(PAPER.name):
        if found["state"] == "open":
            home.ledger.breaks.resolve(found["break_id"], **BY)


def first(home: Home, venue: Changed) -> Execution:
    """The first execution of the book, after two days that agreed."""
    for session in (D0, D1):
        assert run(home, venue, session)["reconcile"].numbers["breaks_open"] == 0
    return venue.events(None).executions[0]


def same_account(home: Home, venue: Changed, session) -> None:
    """The books hold what the venue holds, and COSTS has the fees of NAV."""
    nav = home.store.read(NAV, as_of=None)
    held = home.store.read(POSITIONS, as_of=None).filter(session=session).select("sid", "quantity")
    assert dict(held.iter_rows()) == venue.positions()
    assert nav["cash"][-1] == venue.cash()
    assert home.store.read(COSTS, as_of=None)["fees"].sum() == nav["fees"].sum()


def test_a_price_restated_in_place(home: Home, venue: Changed):
    """It blocks the book until it is explained, and is corrected by entries with the session that follows."""
    old = first(home, venue)
    venue.restated[old.exec_id] = msgspec.structs.replace(old, price=old.price - Decimal("0.01"))
    venue.money = old.side * old.quantity * Decimal("0.01")
    reports = run(home, venue, D2)
    assert {n.split()[0] for n in reports["reconcile"].notes} == {"fill", "cash"}
    assert reports["deliver"].state == "refused"
    resolve(home)
    reports = run(home, venue, D3)
    assert (reports["reconcile"].numbers["breaks_open"], reports["fills"].numbers["corrected"]) == (0, 1)
    assert reports["deliver"].state != "refused"
    corrected = home.store.read(FILLS, as_of=None).drop_nulls("corrects")
    assert set(corrected["corrects"]) == {old.exec_id}
    same_account(home, venue, D3)


def test_an_execution_withdrawn_without_a_word(home: Home, venue: Changed):
    """Resolved, the book trades no more all the same; booked by a person, it trades again from what is there."""
    lost = first(home, venue)
    venue.hidden.add(lost.exec_id)
    venue.shares[lost.sid] = -lost.side * lost.quantity
    assert lost.fee is not None
    venue.money = lost.side * lost.quantity * lost.price + lost.fee
    assert run(home, venue, D2)["deliver"].state == "refused"
    resolve(home)
    reports = run(home, venue, D3)
    assert (reports["deliver"].state, reports["reconcile"].numbers["breaks_open"]) == ("refused", 2)
    book_by_hand(
        home.store,
        home.ledger.executions,
        home.ledger.entries,
        CUTS,
        PAPER,
        session=D3,
        sid=lost.sid,
        quantity=-lost.side * lost.quantity,
        amount=venue.money,
        corrects=lost.exec_id,
        act=Act(by="ann", reason="withdrawn", at=BY["now"]),
    )
    reports = run(home, venue, D4)
    assert (reports["deliver"].state != "refused", reports["reconcile"].numbers["breaks_open"]) == (True, 0)
    same_account(home, venue, D4)


def test_a_fill_that_is_reported_a_day_late(home: Home, venue: Changed):
    """Though our cursor has passed it, it is booked on the day on which the venue has it, and costs what it cost."""
    run(home, venue, D0)
    venue.open(PAPER).advance(D1)
    late = venue.events(None).executions[0]
    venue.hidden.add(late.exec_id)
    reports = run(home, venue, D1)
    assert (reports["deliver"].state, reports["reconcile"].numbers["breaks_open"] > 0) == ("refused", True)
    resolve(home)
    venue.hidden.clear()
    reports = run(home, venue, D2)
    assert (reports["fills"].numbers["booked"] >= 1, reports["reconcile"].numbers["breaks_open"]) == (True, 0)
    assert reports["deliver"].state != "refused"
    same_account(home, venue, D2)
    costs = home.store.read(COSTS, as_of=None).filter(client_order_id=late.client_order_id)
    assert costs["filled"].sum() == sum(
        e.quantity for e in venue.events(None).executions if e.client_order_id == late.client_order_id
    )
