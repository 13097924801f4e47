from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.records import Break, OrderState
from quant_assets.tables import ACTIONS, BARS, DECISIONS, VERDICTS
from resources.ledger.open import open_ledger
from resources.tables.store import DeltaStore
from tests.execution.small_market import (
    CUTS,
    PAPER,
    RESEARCH,
    SESSIONS,
    STRATEGY,
    Home,
    bars,
    decisions,
    verdict,
    weights,
)

D = SESSIONS[0]
NOW = CUTS.of(D)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path, SESSIONS[:2])
    made.settle(D)
    return made


def test_delivered_once(home):
    """The decisions become orders at the venue; delivering again sends nothing."""
    report = home.deliver(D)
    assert (report.state, report.numbers["sent"], len(home.broker.events(None).orders)) == (
        "done",
        report.rows,
        report.rows,
    )
    assert report.rows > 0
    again = home.deliver(D)
    assert (again.state, again.rows, again.numbers["sent"]) == ("done", report.rows, 0)
    assert len(home.broker.events(None).orders) == report.rows


def test_a_day_without_trades_is_bound_too(home):
    """A set that asks for nothing binds as well; the day is empty, not refused."""
    home.store = _with_decisions(home, decisions(D, {1: 0.2}, {1: "NO_TRADE"}))
    assert home.deliver(D).state == "empty"
    assert home.ledger.outbox.bound(PAPER.name, STRATEGY.name, D) is not None


def _with_decisions(home: Home, *sets: pl.DataFrame, judged: pl.DataFrame | None = None) -> DeltaStore:
    store = DeltaStore(home.root / f"tables{len(list(home.root.iterdir()))}")
    store.append(BARS, bars())
    store.append(ACTIONS, ACTIONS.empty())
    for one in sets:
        store.append(DECISIONS, one)
    if judged is None or judged.height:
        store.append(VERDICTS, verdict(D) if judged is None else judged)
    return store


def refused(home: Home, reason: str, **changes: object) -> None:
    """Delivery is refused for `reason`, somebody is told, and nothing is at the venue or in the outbox."""
    book = msgspec.structs.replace(PAPER, **changes)
    report = home.deliver(D, book)
    assert (report.state, report.reason.split(":")[0]) == ("refused", reason)
    assert any(reason in t for t in home.told.subjects)
    assert (home.broker.events(None).orders, home.ledger.outbox.orders(PAPER.name)) == ((), [])


def test_research_book(home):
    """A research book is never delivered."""
    assert home.deliver(D, RESEARCH).reason.startswith("RESEARCH_BOOK")
    refused(home, "RESEARCH_BOOK", broker="research")


def test_not_armed(home):
    """A book that is not armed sends nothing and says why; as that was declared, nobody is called."""
    report = home.deliver(D, msgspec.structs.replace(PAPER, armed=False))
    assert (report.state, report.reason.split(":")[0]) == ("empty", "NOT_ARMED")
    assert home.told.subjects == []
    assert (home.broker.events(None).orders, home.ledger.outbox.orders(PAPER.name)) == ((), [])


def test_kill_switch(home):
    """With the switch on nothing is bound and nothing leaves; off again, it is delivered."""
    home.ledger.kill_switch.set(on=True, by="ops", reason="drill", now=NOW)
    refused(home, "KILL_SWITCH")
    assert home.ledger.outbox.bound(PAPER.name, STRATEGY.name, D) is None
    home.ledger.kill_switch.set(on=False, by="ops", reason="over", now=NOW)
    assert home.deliver(D).state == "done"


def test_expired(home):
    """Decisions whose open has come are not delivered."""
    at = CUTS.calendar.open(SESSIONS[1])
    report = home.deliver(D, now=at)
    assert (report.state, report.reason[:7]) == ("refused", "EXPIRED")
    assert home.broker.events(None).orders == ()


def test_no_decisions(home):
    """Without a decision set there is nothing to deliver."""
    home.store = _with_decisions(home)
    refused(home, "NO_DECISIONS")


@pytest.mark.parametrize(
    "judged",
    [
        VERDICTS.empty(),
        verdict(D, passed=False),
        verdict(SESSIONS[1]),
        verdict(D).with_columns(content_hash=pl.lit("another")),
    ],
)
def test_data_not_released(home, judged):
    """A failed verdict, none, one of another session or of other content: nothing leaves."""
    home.store = _with_decisions(home, decisions(D, weights(0)), judged=judged)
    refused(home, "DATA")


def test_open_break_blocks_this_book(home):
    """A break of the book blocks it until a person resolves it; one of another book does not."""
    for break_id, book in (("b0", "other"), ("b1", PAPER.name)):
        found = Break(break_id=break_id, book=book, session=D, kind="cash", subject="USD", ours="1", theirs="2")
        home.ledger.breaks.open(found, now=NOW)
    refused(home, "OPEN_BREAKS")
    home.ledger.breaks.resolve("b1", by="ops", reason="fee", now=NOW)
    assert home.deliver(D).state == "done"


def test_not_booked(home):
    """Orders are sized from the holdings of the very session that was decided."""
    home.broker.advance(SESSIONS[1])
    report = home.deliver(SESSIONS[1])
    assert report.reason.startswith("NOT_BOOKED")
    assert home.broker.events(None).orders == ()


def test_another_writer(home):
    """While another process writes the account, this one does not."""
    with open_ledger(home.root).outbox.lease(PAPER, 60):
        assert home.deliver(D).state == "refused"
        assert home.broker.events(None).orders == ()
    assert home.deliver(D).state == "done"


def test_diverged_orders_nothing(home):
    """After the first set is bound, another one for the same session is recorded, told, and orders nothing."""
    first = home.deliver(D)
    other = decisions(D, {8: 0.9}).with_columns(recorded_at=pl.col("recorded_at") - timedelta(hours=1))
    home.store.append(DECISIONS, other)
    again = home.deliver(D)
    assert (again.numbers["sent"], again.rows, len(home.broker.events(None).orders)) == (0, first.rows, first.rows)
    assert [d["decision_set_id"] for d in home.ledger.outbox.divergences(PAPER.name)] == [other["decision_set_id"][0]]
    assert any("DIVERGED" in t for t in home.told.subjects)


def test_limits_refuse_and_tell(home):
    """An order beyond the book's limits is not sent, is reported, and the others go."""
    report = home.deliver(D, msgspec.structs.replace(PAPER, max_orders=1))
    assert (report.rows, len(home.broker.events(None).orders)) == (1, 1)
    assert report.numbers["over_limit"] == len(report.notes) > 0
    assert any("limits" in t for t in home.told.subjects)


def test_interrupted_day_is_resumed_by_the_next(home):
    """Orders that an interrupted day left unsent do not go out a day late: they expire, and count no more."""
    home.deliver(D)
    stale = home.ledger.outbox.orders(PAPER.name)[0].order
    left = msgspec.structs.replace(
        stale, client_order_id="left", sid=99, decided=CUTS.calendar.shift(D, -1), session=D, good_till=D
    )
    with home.ledger.outbox.lease(PAPER, 60) as writer:
        writer.bind(PAPER.name, STRATEGY.name, left.decided, "older", [left], now=NOW)
    home.settle(SESSIONS[1])
    report = home.deliver(SESSIONS[1])
    assert report.state in {"done", "empty"}, report.reason
    assert [w.state for w in home.ledger.outbox.orders(PAPER.name) if w.order.client_order_id == "left"] == [
        OrderState.EXPIRED
    ]
    assert home.broker.find("left") is None


def test_capital_sizes_the_first_orders(home):
    """A book that has only its capital trades its target weights of it."""
    home.deliver(D)
    notional = sum(w.order.quantity * w.order.reference_price for w in home.ledger.outbox.orders(PAPER.name))
    asked = sum(w for w in weights(0).values())
    assert abs(notional / PAPER.capital - Decimal(str(asked))) < Decimal("0.01")
