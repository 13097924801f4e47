"""Killed anywhere within a slot and run again, an hourly book ends with the same orders, fills and cents."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from desk.day import run_day, run_slot, slots_in
from desk.workspace import Workspace
from quant_assets.tables import FILLS, NAV, ORDERS
from resources.brokers.paper import PaperBroker
from resources.ledger.executions import SqliteExecutions
from resources.ledger.outbox import SqliteWriter
from tests.desk.live_slots import SESSIONS, TRAINED, opened, reopened, rows
from tests.execution.killed import around

REPOSITORY = Path(__file__).parents[2]
POINTS: dict[str, Callable[[], None]] = {
    "after a slot's set is bound": lambda: around(SqliteWriter, "bind", before=False, hit=2),
    "between the venue's accept and our ack": lambda: around(PaperBroker, "submit", before=False, hit=2),
    "inside the venue's slot": lambda: around(PaperBroker, "_trade_slot", before=False, hit=3),
    "between two executions": lambda: around(SqliteExecutions, "book_fill", before=False, hit=2),
}


def live(ws: Workspace) -> None:
    """The first slots of a session, then the end of the session."""
    for slot in slots_in(ws, SESSIONS[:1])[:4]:
        list(run_slot(ws, slot))
    list(run_day(ws, SESSIONS[0]))


def killed(home: Path, point: str) -> None:
    """The same until a point, at which the process is killed."""
    POINTS[point]()
    live(reopened(home, live=True))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home on the evening before its first slot."""
    ws = opened(tmp_path_factory.mktemp("begun"), live=True)
    list(run_day(ws, TRAINED))
    return ws.home


@pytest.fixture(scope="module")
def whole(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Lived without a kill."""
    ws = reopened(copytree(begun, tmp_path_factory.mktemp("whole") / "home"), live=True)
    live(ws)
    return ws


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_within_a_slot(begun: Path, whole: Workspace, tmp_path: Path, point: str) -> None:
    """The venue has each order once, and the tables are the same to the bit."""
    home = copytree(begun, tmp_path / "home")
    code = f"from pathlib import Path; from {__name__} import killed; killed(Path({str(home)!r}), {point!r})"
    died = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert died.returncode == -9, died.stderr
    ws = reopened(home, live=True)
    live(ws)
    for table in (ORDERS, FILLS, NAV):
        one, other = rows(ws, table), rows(whole, table)
        assert one.height > 0
        assert one.equals(other), table.name
    assert ws.ledger.breaks.listed(open_only=False) == []
    assert ids(ws) == ids(whole)


def ids(ws: Workspace) -> list[Any]:
    """What the venue has: each order once."""
    book = ws.deployment.books[0]
    found = [o.client_order_id for o in ws.brokers.open(book).events(None).orders]
    assert len(found) == len(set(found)) > 2
    return sorted(found)
