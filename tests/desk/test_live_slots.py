"""An hourly strategy lived slot by slot on a paper venue: what research makes of the same sessions, to the bit."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import polars as pl
import pytest

from desk.day import arrive, derive, ports, run_day, run_slot, slots_in
from desk.workspace import Workspace
from quant_assets import chain
from quant_assets.errors import OrderUncertain
from quant_assets.records import OrderState, StageReport
from quant_assets.tables import DECISIONS, FILLS, JOURNAL, NAV, ORDERS, POSITIONS
from resources.brokers.paper import PaperBroker
from resources.clock import SessionClock
from tests.desk.live_slots import BOOK, SESSIONS, TRAINED, opened, reopened, rows


def lived(ws: Workspace) -> Iterator[StageReport]:
    """The sessions, slot by slot, each with its end; one slot in five is run twice."""
    for session in SESSIONS:
        for n, slot in enumerate(slots_in(ws, [session])):
            for _ in range(1 + (n % 5 == 0)):
                yield from run_slot(ws, slot)
        yield from run_day(ws, session)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home on the evening before its first slot."""
    ws = opened(tmp_path_factory.mktemp("begun"), live=True)
    list(run_day(ws, TRAINED))
    return ws.home


@pytest.fixture(scope="module")
def live(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Lived."""
    ws = reopened(copytree(begun, tmp_path_factory.mktemp("live") / "home"), live=True)
    assert not [report for report in lived(ws) if "failed" in report.reason]
    return ws


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same sessions in one range, in a research book of the same name."""
    ws = opened(tmp_path_factory.mktemp("range"), live=False)
    list(arrive(ws, SESSIONS[-1]))
    list(derive(ws, SESSIONS, train_at=[]))
    list(chain.RESEARCH.run(ports(ws, ws.clock) | {"sessions": [TRAINED, *SESSIONS]}))
    return ws


@pytest.mark.parametrize("table", [DECISIONS, ORDERS, FILLS, JOURNAL, POSITIONS, NAV], ids=lambda t: t.name)
def test_live_equals_the_range(live: Workspace, ranged: Workspace, table: Any) -> None:
    """The same decisions, orders, fills and cents."""
    one, other = rows(live, table), rows(ranged, table)
    assert one.height > 0
    assert one.equals(other), table.name


def test_no_break_is_open(live: Workspace) -> None:
    """The venue kept a record of its own, and it is ours."""
    assert live.ledger.breaks.listed(open_only=False) == []
    assert rows(live, FILLS).height > 20


def test_a_slot_that_is_missed_is_recorded_and_not_traded(begun: Path, tmp_path: Path) -> None:
    """Once its bar is over every decision of it is NO_TRADE(LATE), and nothing leaves."""
    home, clock = (
        copytree(begun, tmp_path / "home"),
        SessionClock(slots_in(reopened(begun, live=True), SESSIONS)[0].cut),
    )
    ws = reopened(home, live=True, clock=clock)
    slot = slots_in(ws, SESSIONS)[3]
    clock.set(slot.valid_until)
    list(run_slot(ws, slot))
    decided = rows(ws, DECISIONS)
    assert set(decided["slot"]) == {slot.slot}
    assert decided.filter(verdict="TRADE").is_empty()
    assert set(decided["reason"]) == {"LATE"}
    assert ws.ledger.outbox.orders(BOOK.name) == []
    refused = ws.ledger.facts.recorded(BOOK.name, slot.slot)[slot.session]["refused"]
    assert refused.startswith("EXPIRED")


def test_an_order_that_did_not_leave_in_its_bar_never_leaves(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue cannot be asked in the first slot: at the second one its orders are EXPIRED, and not at the venue."""
    ws = reopened(copytree(begun, tmp_path / "home"), live=True)
    first, second = slots_in(ws, SESSIONS)[:2]

    def silent(*_: object) -> None:
        raise OrderUncertain("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(PaperBroker, "find", silent)
        list(run_slot(ws, first))
    waiting = ws.ledger.outbox.orders(BOOK.name)
    assert waiting
    assert {w.state for w in waiting} == {OrderState.PENDING}
    list(run_slot(ws, second))
    after = {w.order.client_order_id: w.state for w in ws.ledger.outbox.orders(BOOK.name)}
    ids = {w.order.client_order_id for w in waiting}
    assert {after[i] for i in ids} == {OrderState.EXPIRED}
    there = {o.client_order_id for o in ws.brokers.open(BOOK).events(None).orders}
    assert there
    assert not there & ids


def test_the_slots_of_a_session_are_bound_each_by_itself(live: Workspace) -> None:
    """Each slot has a set in force, and its orders are of that set."""
    decided = rows(live, DECISIONS)
    for slot in slots_in(live, SESSIONS[:1])[:5]:
        bound = live.ledger.outbox.bound(BOOK.name, BOOK.strategy, slot.session, slot.slot)
        of_it = decided.filter(pl.col("session") == slot.session, pl.col("slot") == slot.slot)
        assert of_it["decision_set_id"].unique().to_list() == [bound]
