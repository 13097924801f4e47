"""Killed anywhere in a day and run again, everything stands as if nothing had happened."""

import multiprocessing
import shutil
import signal
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tests.jobs import killed
from tests.jobs.small import CUTS, LIVE, PAPER, live, outcome, workspace

DAYS = (
    (LIVE[1], "between two tables of ingest", "between binding and sending"),
    (LIVE[3], "inside the write of bars", "between the venue's accept and our ack"),
    (LIVE[4], "between the bars and what says that their capture was taken in", "between the commit and the send"),
    (LIVE[5], "in the middle of the venue's session", "inside the write of decisions"),
    (LIVE[6], "between the ledger's fills and the table of fills", "right after the commit of decisions"),
    (LIVE[7], "between a model and its promotion", "before the page"),
    (LIVE[8], "between NAV and what comes before it", "between the features and the scores"),
    (LIVE[9], "right after the commit of NAV", "between the verdicts and the note of the cut"),
    (LIVE[10], "right after the last commit of ingest", "between the orders and their costs"),
    (LIVE[11], "between the journal and the P&L", "before the heartbeat"),
)


@pytest.fixture(scope="module")
def starter() -> multiprocessing.context.ForkServerContext:
    """Starts processes that have imported everything and used nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.jobs.killed"])
    return context


@pytest.mark.parametrize(("session", "first", "then"), DAYS, ids=[f"{first}, then {then}" for _, first, then in DAYS])
def test_killed_twice_and_run_again_is_undisturbed(
    session: date, first: str, then: str, by_day: Path, starter, tmp_path: Path
):
    """A day killed at one point, run again and killed at another, ends the third time with the rows, orders,
    executions and pages of a day that nothing disturbed.
    """
    home = tmp_path / "home"
    shutil.copytree(by_day.with_name(f"{by_day.name}-{session}"), home)
    for point in (first, then):
        process = starter.Process(target=killed.run, args=(home, session, point))
        process.start()
        process.join(120)
        process.kill()
        assert process.exitcode == -signal.SIGKILL, point
    ws = workspace(home)
    live(ws, [session])
    found, undisturbed = (
        outcome(ws),
        outcome(workspace(by_day.with_name(f"{by_day.name}-{CUTS.calendar.shift(session, 1)}"))),
    )
    assert {k for k in undisturbed if found[k] != undisturbed[k]} == set()
    assert max(Counter(o.client_order_id for o in ws.brokers.open(PAPER).events(None).orders).values()) == 1
    assert ws.ledger.breaks.listed(open_only=False) == []


def test_every_point_is_used():
    """Each named point is one of the days above."""
    assert {p for _, *points in DAYS for p in points} == set(killed.POINTS)
