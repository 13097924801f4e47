"""`0_today`: what a session's status says before, after and when something is wrong."""

import re
import shutil
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from desk.day import status
from desk.workspace import Workspace
from jobs import console
from jobs.commands import questions
from quant_assets.execution.outcome import came_to_nothing
from quant_assets.records import Break, Order, OrderState, Working
from quant_assets.today.status import Status
from tests.jobs.commands import MISSING, TRADED
from tests.jobs.small import CUTS, PAPER, live, workspace


@pytest.fixture
def before(by_day: Path, tmp_path: Path) -> Workspace:
    """The home as it was before `TRADED`."""
    return workspace(Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{TRADED}"), tmp_path / "home")))


def by_name(ws: Workspace, session: date, minutes: int = 0) -> dict[str, Status]:
    """The answers for a session, seen so many minutes after its cut."""
    return {s.name: s for s in status(ws, session, CUTS.of(session) + timedelta(minutes=minutes))}


def test_before_the_decision_time_everything_waits(before: Workspace):
    """A minute before the cut nobody has to act: what is not done is waiting, and says until when."""
    answers = by_name(before, TRADED, -1)
    assert all(s.fine for s in answers.values())
    assert answers["decisions_small"].state == "waiting"
    assert f"{CUTS.of(TRADED):%H:%M}" in answers["decisions_small"].answer


def test_at_the_decision_time_it_is_due(before: Workspace):
    """From the cut on what is missing is due, with the command that does it."""
    answers = by_name(before, TRADED)
    for name in ("data", "decisions_small", "orders_paper", "booked_paper", "report_paper"):
        assert (answers[name].state, answers[name].fine) == ("due", False), name
        assert str(TRADED) in answers[name].next_command


def test_after_the_run_the_day_is_fine(before: Workspace):
    """Once the day has run every question has a good answer."""
    live(before, [TRADED])
    answers = by_name(before, TRADED, 5)
    assert {s.state for s in answers.values()} == {"done"}


def test_a_break_and_the_kill_switch_block(before: Workspace):
    """An open break and the switch each say what to do, and nothing else changes."""
    live(before, [TRADED])
    before.ledger.breaks.open(Break("b1", PAPER.name, TRADED, "position", "1", "10", "11"), now=CUTS.of(TRADED))
    before.ledger.kill_switch.set(True, by="test", reason="drill", now=CUTS.of(TRADED))
    answers = by_name(before, TRADED, 5)
    assert [n for n, s in answers.items() if not s.fine] == ["breaks", "kill_switch"]
    assert answers["breaks"].next_command == "quant breaks list"
    assert "drill" in answers["kill_switch"].answer


def test_orders_that_are_all_beyond_the_limits_are_not_fine(before: Workspace, monkeypatch: pytest.MonkeyPatch):
    """Nothing was sent although the decisions asked for it: blocked, with the first reason; `quant why` lists all."""
    declared = before.deployment
    small = tuple(msgspec.structs.replace(b, max_order_notional=Decimal(1)) for b in declared.books)
    ws = workspace(before.home, msgspec.structs.replace(declared, books=small))
    live(ws, [TRADED])
    answer = by_name(ws, TRADED, 5)[f"orders_{PAPER.name}"]
    assert (answer.state, answer.fine, answer.next_command) == ("blocked", False, f"quant why {TRADED}")
    assert re.search("all [0-9]+ order.s. were beyond the book's limits: (buy|sell) ", answer.answer)
    shown: dict[str, list[str]] = {}
    monkeypatch.setattr(questions, "workspace", lambda: ws)
    monkeypatch.setattr(console, "explained", lambda _answers, left_out, *_, **__: shown.update(left_out))
    questions.why(TRADED)
    assert all("is above the book's 1 per order" in line for line in shown[PAPER.name])
    assert f"all {len(shown[PAPER.name])} order" in answer.answer


@pytest.mark.parametrize(
    ("slot", "state", "filled", "nothing"),
    [
        ("open", OrderState.EXPIRED, 0, True),
        ("open", OrderState.EXPIRED, 5, True),  # it worked for sessions
        ("close", OrderState.EXPIRED, 5, True),
        ("14:00", OrderState.EXPIRED, 5, False),  # its bar was thin, and the next slot decides anew
        ("14:00", OrderState.EXPIRED, 0, True),
        ("14:00", OrderState.REJECTED, 5, True),
        ("14:00", OrderState.FILLED, 10, False),
        ("open", OrderState.FILLED, 10, False),
    ],
)
def test_which_orders_came_to_nothing(slot: str, state: OrderState, filled: int, nothing: bool):
    """An order within a session that its bar filled in part is fine."""
    order = Order("c", "b", "s", TRADED, TRADED, TRADED, slot, 1, "rebalance", "AA", 1, 10, Decimal(1), "d")
    assert came_to_nothing(Working(order=order, state=state, filled=filled)) is nothing


def test_a_day_without_data_says_so(by_day: Path):
    """Of a session whose capture never came the data alone are not fine, and running it again is not what helps; it
    was decided and booked all the same.
    """
    answers = by_name(workspace(by_day), MISSING, 5)
    assert [n for n, s in answers.items() if not s.fine and n != "report_paper"] == ["data"]
    assert answers["data"].next_command == f"quant why {MISSING}"
    assert answers["decisions_small"].state == "done"
    assert "DATA_MISSING" in answers["decisions_small"].answer
