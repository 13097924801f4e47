"""Killed anywhere in a day of a second market and run again, both lanes are as if nothing had happened."""

import multiprocessing
import shutil
import signal
from collections import Counter
from datetime import date
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from desk.day import run_day
from tests.jobs import killed
from tests.jobs.small import outcome
from tests.jobs.two_venues import BOOKS, CHRISTMAS, lived, workspace

DAY = date(2025, 12, 23)
TRADED = [book for book in BOOKS if not book.research]
SAMPLE = (
    ("inside the write of bars", "between the venue's accept and our ack"),
    ("between the ledger's fills and the table of fills", "inside the write of decisions"),
)
OTHERS = (
    ("between two tables of ingest", "between binding and sending"),
    ("between the bars and what says that their capture was taken in", "between the commit and the send"),
    ("right after the last commit of ingest", "right after the commit of decisions"),
    ("in the middle of the venue's session", "between the orders and their costs"),
    ("between the journal and the P&L", "before the page"),
    ("between NAV and what comes before it", "between the features and the scores"),
    ("right after the commit of NAV", "before the heartbeat"),
    ("between the verdicts and the note of the cut",),
)


def run(home: Path, point: str) -> None:
    """London's day in `home`, until `point`."""
    killed.POINTS[point]()
    list(run_day(workspace(home, CHRISTMAS).lane_of("XLON"), DAY))


@pytest.fixture(scope="module")
def starter() -> ForkServerContext:
    """Starts processes that have imported everything and used nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.jobs.test_kill_lanes"])
    return context


@pytest.mark.parametrize(
    "points", [*SAMPLE, *(pytest.param(p, marks=pytest.mark.slow) for p in OTHERS)], ids=", then ".join
)
def test_a_day_of_london_killed_and_run_again(
    points: tuple[str, ...],
    christmas: Path,
    starter: ForkServerContext,
    tmp_path: Path,
) -> None:
    """It ends with the rows, orders, executions and pages of a day that nothing disturbed; and so does New York's day
    after it.
    """
    home = tmp_path / "home"
    shutil.copytree(christmas.with_name("christmas-22"), home)
    for point in points:
        process = starter.Process(target=run, args=(home, point))
        process.start()
        process.join(120)
        process.kill()
        assert process.exitcode == -signal.SIGKILL, point
    ws = workspace(home, CHRISTMAS)
    assert lived(ws, DAY)[-1] == ("", DAY)  # London's is due no more where only the heartbeat was missing
    found, undisturbed = outcome(ws, TRADED), outcome(workspace(christmas, CHRISTMAS), TRADED)
    assert {k for k in undisturbed if found[k] != undisturbed[k]} == set()
    for book in TRADED:
        sent = Counter(o.client_order_id for o in ws.brokers.open(book).events(None).orders)
        assert max(sent.values()) == 1
    assert ws.ledger.breaks.listed(open_only=False) == []


def test_every_point_is_used() -> None:
    """Each of the first lane's, but for the promotion of a model, which is none on that day."""
    used = {p for points in (*SAMPLE, *OTHERS) for p in points}
    assert used == set(killed.POINTS) - {"between a model and its promotion"}
