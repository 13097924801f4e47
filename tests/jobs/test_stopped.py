"""Asked to stop, a run ends before its next stage or order, and the next one goes on as if nothing had happened."""

import multiprocessing
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from quant_assets.records import OrderState
from tests.jobs import stopped
from tests.jobs.commands import declare
from tests.jobs.small import LIVE, PAPER, deployment, live, outcome, workspace

DAY = LIVE[4]
SENDING = "between the commit and the send"


@pytest.fixture(scope="module")
def starter() -> ForkServerContext:
    """Starts processes that have imported everything and used nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.jobs.stopped"])
    return context


@pytest.fixture
def home(by_day: Path, tmp_path: Path) -> Path:
    """A home in which everything up to the session before `DAY` was run, and that the command line opens."""
    home = Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{DAY}"), tmp_path / "home"))
    declare(home, deployment())
    return home


def ended(starter: ForkServerContext, target: Callable[..., None], *args: object) -> int | None:
    """The exit code of a process."""
    process = starter.Process(target=target, args=args)
    process.start()
    process.join(120)
    process.kill()
    return process.exitcode


def at_venue(home: Path) -> set[str]:
    """The client order ids that the venue holds, none of them twice."""
    held = Counter(o.client_order_id for o in workspace(home).brokers.open(PAPER).events(None).orders)
    assert max(held.values(), default=1) == 1
    return set(held)


def undisturbed(home: Path, by_day: Path) -> None:
    """After the day is run again everything is as where nothing disturbed it."""
    ws = workspace(home)
    live(ws, [DAY])
    expected = outcome(workspace(by_day.with_name(f"{by_day.name}-{LIVE[5]}")))
    found = outcome(ws)
    assert {k for k in expected if found[k] != expected[k]} == set()


@pytest.mark.parametrize("point", stopped.MOMENTS)
def test_a_signal_anywhere_in_a_day(point: str, home: Path, by_day: Path, starter: ForkServerContext) -> None:
    """SIGTERM and SIGINT end the run with 143 and 130. Of the orders only that in flight is sent after the signal, and
    before the orders' own stage none is. Run again, the day ends as one that nothing disturbed.
    """
    before = at_venue(home)
    signum = (signal.SIGTERM, signal.SIGINT)[stopped.MOMENTS.index(point) % 2]
    assert ended(starter, stopped.run, home, DAY, point, signum) == 128 + signum
    sent = at_venue(home) - before
    if stopped.MOMENTS.index(point) < stopped.MOMENTS.index("between binding and sending"):
        assert sent == set()
    elif point in {SENDING, "between the venue's accept and our ack"}:
        orders = workspace(home).ledger.outbox.orders(PAPER.name, since=DAY)
        assert len(sent) == 2
        assert sent == {w.order.client_order_id for w in orders if w.state is OrderState.ACKED}
        assert {w.state for w in orders if w.order.client_order_id not in sent} == {OrderState.PENDING}
    undisturbed(home, by_day)


def test_a_second_signal_ends_at_once(home: Path, by_day: Path, starter: ForkServerContext) -> None:
    """In the middle of a send, as a kill would; and as after a kill nothing is lost or sent twice."""
    before = at_venue(home)
    twice = (signal.SIGTERM, signal.SIGTERM)
    assert ended(starter, stopped.run, home, DAY, SENDING, *twice) == 128 + signal.SIGTERM
    states = Counter(w.state for w in workspace(home).ledger.outbox.orders(PAPER.name, since=DAY))
    assert states[OrderState.SUBMITTING] == 1
    assert len(at_venue(home) - before) == 1
    undisturbed(home, by_day)


@pytest.mark.parametrize(
    ("point", "signum"),
    [
        ("between the bars and what says that their capture was taken in", signal.SIGINT),
        ("right after the commit of decisions", signal.SIGTERM),
        (SENDING, signal.SIGTERM),
    ],
)
def test_a_signal_while_dagster_runs_the_day(
    point: str, signum: int, home: Path, by_day: Path, starter: ForkServerContext
) -> None:
    """The same of `quant run daily`: no job follows the one in which the signal came."""
    before = at_venue(home)
    assert ended(starter, stopped.command, home, point, signum) == 128 + signum
    assert len(at_venue(home) - before) == (2 if point == SENDING else 0)
    undisturbed(home, by_day)
