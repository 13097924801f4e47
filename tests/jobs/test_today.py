"""`0_today`: what a session's status says before, after and when something is wrong."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from desk.day import status
from desk.workspace import Workspace
from quant_assets.records import Break
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


def test_a_day_without_data_says_so(by_day: Path):
    """Of a session whose capture never came the data alone are not fine, and running it again is not what helps; it
    was decided and booked all the same.
    """
    answers = by_name(workspace(by_day), MISSING, 5)
    assert [n for n, s in answers.items() if not s.fine and n != "report_paper"] == ["data"]
    assert answers["data"].next_command == f"quant why {MISSING}"
    assert answers["decisions_small"].state == "done"
    assert "DATA_MISSING" in answers["decisions_small"].answer
