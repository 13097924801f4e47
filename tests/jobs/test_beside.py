"""A long backfill under way delays no day, on its own home or in a research home beside it, and what is written is as
if each had been alone.
"""

import multiprocessing
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import polars as pl
import pytest

from desk.deployment import load
from desk.ledger import TABLES
from desk.queries import tables
from desk.workspace import Workspace
from quant_assets.records import frame_hash
from resources.tables.maintenance import Retention, maintain
from resources.tables.store import DeltaStore
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
    go = pieces  # it is there: this backfill stops for nothing but the day
    long = started(starter, beside.slowly, together, of_backfill, pieces, go, *BACKFILL)
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


MINE = """
production: ../{production}
strategies:
  - name: mine
    universe: {{name: mine, size: 12, lookback: 10, min_price: 1.0}}
    model:
      rounds: 20
      params: {{objective: regression, num_leaves: 7, learning_rate: 0.1, min_data_in_leaf: 10}}
      validation: 10
      min_sessions: 25
    limits: {{max_weight: 0.2, min_members: 5, max_psi: 9.0, min_coverage: 0.8}}
    holdings: 6
books:
  - {{name: mine, strategy: mine, account: M, capital: 250000}}
"""


def researcher(production: Path, name: str) -> Path:
    """A research home beside a production home, with a strategy and a universe that production has not."""
    home = production.with_name(name)
    home.mkdir()
    (home / "deployment.yaml").write_text(MINE.format(production=production.name))
    return home


def computed_in(home: Path) -> dict[str, str]:
    """The hash of what each of a research home's own tables holds."""
    ws = Workspace(home, load(home / "deployment.yaml"))
    own = [t for t in tables(ws.tables).values() if ws.tables.exists(t)]
    return {t.name: frame_hash(ws.tables.read(t, as_of=None).select(t.content).sort(pl.all())) for t in own}


def test_two_researchers_beside_the_day(by_day: Path, tmp_path: Path, starter: ForkServerContext) -> None:
    """Two backfills in homes of their own, the day of production, and its upkeep, all at once. The day ends while both
    are under way. Production is as after a day that nothing disturbed; each researcher has what one has alone.
    """
    production, quiet = homes(by_day, tmp_path, "production", "quiet")
    ours = [researcher(production, name) for name in ("ann", "bob")]
    running: list[tuple[ForkServerProcess, Path, Path]] = []
    go = tmp_path / "go"
    for home in ours:
        pieces, said = tmp_path / f"{home.name}.pieces", tmp_path / f"{home.name}.txt"
        pieces.touch()
        running.append((started(starter, beside.slowly, home, said, pieces, go, *BACKFILL), said, pieces))
    try:
        while any(pieces.stat().st_size < 3 for _, _, pieces in running):
            assert all(process.is_alive() for process, _, _ in running), [said.read_text() for _, said, _ in running]
            time.sleep(0.05)
        of_day = tmp_path / "day.txt"
        done(started(starter, beside.command, production, of_day, "run", "daily", "--session", str(DAY)), of_day)
        assert all(process.is_alive() for process, _, _ in running)
        kept = DeltaStore(production / TABLES)
        rewritten = maintain(kept, tables(kept).values(), [], Retention(keep_days=1), datetime.now(UTC))
        assert any(compacted.rows for compacted, _ in rewritten)
    finally:
        go.touch()
        for process, said, _ in running:
            done(process, said)

    expected = outcome(workspace(by_day.with_name(f"{by_day.name}-{LIVE[5]}")))
    found = outcome(workspace(production))
    assert {k for k in expected if found[k] != expected[k]} == set()
    alone = researcher(quiet, "alone")
    done(started(starter, beside.command, alone, tmp_path / "alone.txt", *BACKFILL), tmp_path / "alone.txt")
    undisturbed = computed_in(alone)
    assert {"universe", "models", "decisions", "nav"} <= set(undisturbed)
    assert not {"bars", "actions", "listings", "captures"} & set(undisturbed)
    for home in ours:
        assert computed_in(home) == undisturbed
