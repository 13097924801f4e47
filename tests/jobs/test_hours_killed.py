"""`quant run daily` of an hourly strategy, killed or asked to stop in the middle of a session and given again: nothing
is sent twice, and what was late is recorded once.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from shutil import copytree

import pytest

from desk.day import run_day, slots_in
from desk.workspace import Workspace
from jobs.execute import runner
from jobs.live import due_in_order, run_daily
from quant_assets.stopping import Stopped, listening
from quant_assets.tables import DECISIONS, FILLS, NAV, ORDERS
from resources.brokers.paper import PaperBroker
from resources.clock import SessionClock
from resources.ledger.outbox import SqliteWriter
from resources.notices.queue import Queue
from tests.desk.live_slots import BOOK, SESSIONS, TRAINED, opened, reopened, rows
from tests.execution.killed import around

REPOSITORY = Path(__file__).parents[2]


def _stop_at(owner: type, name: str, hit: int) -> None:
    """Send SIGTERM to this process as the `hit`-th call of `owner.name` ends."""
    real, count = getattr(owner, name), iter(range(1, 1_000_000))

    def call(*args: object, **kwargs: object) -> object:
        answer = real(*args, **kwargs)
        if next(count) == hit:
            os.kill(os.getpid(), signal.SIGTERM)
        return answer

    setattr(owner, name, call)


POINTS: dict[str, tuple[Callable[[], None], int]] = {
    "killed after the second slot's set is bound": (lambda: around(SqliteWriter, "bind", before=False, hit=2), -9),
    "killed between the venue's accept and our ack": (lambda: around(PaperBroker, "submit", before=False, hit=2), -9),
    "asked to stop as the second slot is bound": (lambda: _stop_at(SqliteWriter, "bind", 2), 7),
}


def lived(home: Path) -> Workspace:
    """Three slots as they come, a fourth is missed with the rest of the day, then the session's end."""
    planned = slots_in(reopened(home, live=True), SESSIONS)
    clock = SessionClock(planned[0].cut)
    ws = reopened(home, live=True, clock=clock)
    with listening(), runner(ws) as started:
        for slot in (*planned[:3], planned[24]):
            clock.set(slot.cut + timedelta(seconds=5))
            list(run_daily(started, due_in_order(ws, None)))
    return ws


def interrupted(home: Path, point: str) -> None:
    """The same until a point; exit code 7 where the run stopped by itself."""
    POINTS[point][0]()
    try:
        lived(home)
    except Stopped:
        sys.exit(7)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home on the evening before its first slot."""
    ws = opened(tmp_path_factory.mktemp("begun"), live=True)
    list(run_day(ws, TRAINED))
    return ws.home


@pytest.fixture(scope="module")
def whole(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Lived without an interruption."""
    return lived(copytree(begun, tmp_path_factory.mktemp("whole") / "home"))


@pytest.mark.parametrize("point", POINTS)
def test_a_session_interrupted_and_run_again(begun: Path, whole: Workspace, tmp_path: Path, point: str) -> None:
    """The same decisions, orders, fills and cents; the venue has each order once, and one notice speaks of the slots
    that were too late.
    """
    home = copytree(begun, tmp_path / "home")
    code = f"from pathlib import Path; from {__name__} import interrupted; interrupted(Path({str(home)!r}), {point!r})"
    died = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert died.returncode == POINTS[point][1], died.stderr
    ws = lived(home)
    for table in (DECISIONS, ORDERS, FILLS, NAV):
        one, other = rows(ws, table), rows(whole, table)
        assert one.height > 0
        assert one.equals(other), table.name
    late = rows(ws, DECISIONS).filter(reason="LATE").select("session", "slot", "sid")
    assert late["slot"].n_unique() == 21
    assert late.is_unique().all()
    assert venue(ws) == venue(whole)
    about = f"slot(s) of {SESSIONS[0]}"
    late_ones = [n.subject for n in Queue(ws.home).unanswered() if about in n.subject]
    assert late_ones == [f"{BOOK.name}: 21 {about} were too late"]


def venue(ws: Workspace) -> list[str]:
    """The orders that the venue has, each once."""
    found = [o.client_order_id for o in ws.brokers.open(ws.deployment.books[0]).events(None).orders]
    assert len(found) == len(set(found)) > 2
    return sorted(found)
