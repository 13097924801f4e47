"""A long backfill under way delays no day on its home, and what both write is as if one had come after the other."""

import multiprocessing
import shutil
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from quant_assets.records import frame_hash
from tests.jobs import beside
from tests.jobs.commands import declare
from tests.jobs.small import LIVE, POST_TRADE, RESEARCH, deployment, of_book, outcome, workspace

DAY = LIVE[4]
BACKFILL = ("backfill", "--from", "2024-01-02", "--to", str(LIVE[3]))


@pytest.fixture(scope="module")
def starter() -> ForkServerContext:
    """Starts processes that have imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.jobs.beside", "jobs.execute"])
    return context


def homes(by_day: Path, tmp_path: Path, *names: str) -> list[Path]:
    """Homes in which everything up to the session before `DAY` was run, and nothing traded for research."""
    made = [Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{DAY}"), tmp_path / name)) for name in names]
    for home in made:
        declare(home, deployment())
    return made


def started(starter: ForkServerContext, target: Callable[..., None], *args: object) -> ForkServerProcess:
    """A process that was started."""
    process = starter.Process(target=target, args=args)
    process.start()
    return process


def done(process: ForkServerProcess, said: Path) -> None:
    """Wait for the end of a process; it must be a good one."""
    process.join(300)
    alive = process.is_alive()
    process.kill()
    assert not alive
    assert process.exitcode in {0, 10}, said.read_text()


def test_a_day_goes_before_the_backfill_that_is_under_way(
    by_day: Path, tmp_path: Path, starter: ForkServerContext
) -> None:
    """The day ends while the backfill has pieces left. Tables, ledger, venue and pages are those of a home on which
    the two commands came one after the other.
    """
    together, after = homes(by_day, tmp_path, "together", "after")
    pieces, (of_backfill, of_day) = tmp_path / "pieces", [tmp_path / f"{n}.txt" for n in ("backfill", "day")]
    pieces.touch()
    long = started(starter, beside.slowly, together, of_backfill, pieces, *BACKFILL)
    try:
        while pieces.stat().st_size < 3:
            assert long.is_alive(), of_backfill.read_text()
            time.sleep(0.05)
        done(started(starter, beside.command, together, of_day, "run", "daily", "--session", str(DAY)), of_day)
        when_the_day_ended = pieces.stat().st_size
        assert long.is_alive()
    finally:
        done(long, of_backfill)
    assert pieces.stat().st_size > when_the_day_ended + 1

    done(started(starter, beside.command, after, of_day, "run", "daily", "--session", str(DAY)), of_day)
    done(started(starter, beside.command, after, of_backfill, *BACKFILL), of_backfill)
    found, expected = outcome(workspace(together)), outcome(workspace(after))
    assert {k for k in expected if found[k] != expected[k]} == set()
    for table in POST_TRADE:
        one, other = (of_book(workspace(home), table, RESEARCH) for home in (together, after))
        assert one.height > 0
        assert frame_hash(one) == frame_hash(other)
