"""A live session that is decided only after the open that it was to trade."""

from datetime import timedelta
from pathlib import Path

import msgspec
import polars as pl

from desk.day import run_day
from desk.workspace import Workspace
from quant_assets.tables import DECISIONS
from resources.clock import SessionClock
from tests.jobs.small import CUTS, START, Registry, deployment, live, workspace

DAY = CUTS.calendar.shift(START, 1)  # the capture of the first live session is a thin one


def decided(home: Path, minutes_after_cut: int) -> tuple[set[tuple[str, str]], dict[str, str], int]:
    """Run `DAY` so long after its cut, by the wall; returns verdicts with reasons, states of the stages, orders."""
    live(workspace(home), [START])
    clock = SessionClock(CUTS.of(DAY) + timedelta(minutes=minutes_after_cut))
    ws = Workspace(home, msgspec.structs.replace(deployment(), clock="system"), clock=clock, registry=Registry())
    states = {r.stage: r.state for r in run_day(ws, DAY)}
    rows = ws.store.read(DECISIONS, as_of=None, first=DAY, last=DAY)
    return set(rows.select("verdict", "reason").iter_rows()), states, len(ws.ledger.outbox.orders("paper"))


def test_after_the_open_everything_is_late(home: Path):
    """Decided an hour after its cut, every row of the session is NO_TRADE(LATE), nothing is ordered, and somebody
    was told.
    """
    verdicts, states, orders = decided(home, 60)
    assert verdicts == {("NO_TRADE", "LATE")}
    assert states["deliver"] in {"refused", "empty"}
    assert orders == 0
    assert "LATE" in (home / "notifications.jsonl").read_text()


def test_what_was_decided_in_time_stays(home: Path):
    """A rerun after the open finds the decisions made in time and makes no other set of them."""
    in_time, _, orders = decided(home, 5)
    assert ("TRADE", "SELECTED") in in_time
    again, states, still = decided(home, 60)
    assert again == in_time
    assert still == orders
    assert states["decisions"] == "done"


def test_the_late_session_does_not_hinder_the_next(home: Path):
    """The session after a late one trades."""
    decided(home, 60)
    following = CUTS.calendar.shift(DAY, 1)
    clock = SessionClock(CUTS.of(following))
    ws = Workspace(home, msgspec.structs.replace(deployment(), clock="system"), clock=clock, registry=Registry())
    list(run_day(ws, following))
    rows = ws.store.read(DECISIONS, as_of=None, first=following, last=following)
    assert rows.filter(pl.col("reason") == "LATE").is_empty()
