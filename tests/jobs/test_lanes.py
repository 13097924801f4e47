"""Two strategies of two venues in one home, through Dagster: New York at the open, London at the close, over the weeks
in which both change their clocks.
"""

from datetime import date

import polars as pl
import pytest

from desk.day import what_is_done
from desk.workspace import Workspace
from jobs.definitions import build
from jobs.execute import runner
from jobs.live import due_in_order, run_backfill, run_daily
from quant_assets.backtest.loop import run
from quant_assets.tables import DECISIONS, FILLS, NAV, POSITIONS
from tests.jobs.two_venues import workspace

UNTIL = date(2025, 11, 4)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A home whose history was computed by ranges, and which then ran day by day, whatever is next in either lane."""
    ws = workspace(tmp_path_factory.mktemp("two"))
    with runner(ws) as started:
        for lane in ws.lanes:
            first, before = lane.span[0], lane.cuts.calendar.shift(lane.deployment.start, -1)
            list(run_backfill(started, first, before, lane.name))
        cuts: list[tuple[object, str]] = []
        while (todo := due_in_order(ws, None)) and todo[0][1] <= UNTIL:
            ((lane, session),) = todo
            cuts.append((lane.cuts.of(session), lane.name))
            steps = list(run_daily(started, todo))
            assert [s.job for s in steps] == [
                f"{job}_{lane.name}" if lane.name else job for job in ("daily", "deliver", "post_trade", "today")
            ]
    assert cuts == sorted(cuts), "in the order of their decision times"
    assert {name for _, name in cuts} == {"", "XLON"}
    return ws


def test_every_session_of_each_lane_is_done(ran: Workspace) -> None:
    """Decided, delivered, booked, compared and published, each on its own calendar."""
    for lane in ran.lanes:
        sessions = lane.cuts.calendar.between(lane.deployment.start, UNTIL)
        done = what_is_done(lane, sessions)
        assert {book: [s for s in days if days[s].next_job] for book, days in done.items()} == {
            book: [] for book in done
        }
        assert list(due_in_order(ran, sessions[0], lane.name)) == [(lane, sessions[0])]


def test_london_trades_at_its_close(ran: Workspace) -> None:
    """Each fill has the time and price of its auction: the clocks of the two venues change a week apart."""
    fills = ran.store.read(FILLS, as_of=None)
    own, london = ran.lanes
    late = fills.filter(book="late_paper")
    assert late.height
    assert fills.filter(book="paper").height
    for session, ts in late.select("session", "ts").unique().iter_rows():
        assert ts == london.cuts.calendar.close(session)
    for session, ts in fills.filter(book="paper").select("session", "ts").unique().iter_rows():
        assert ts == own.cuts.calendar.open(session)
    assert set(ran.store.read(DECISIONS, as_of=None).select("strategy", "slot").unique().rows()) == {
        ("small", "open"),
        ("late", "close"),
    }


def test_a_range_is_its_days(ran: Workspace) -> None:
    """The research book of each lane, traded over the days at once, has the fills and cents of the live one."""
    for lane, research, live in zip(ran.lanes, ("research", "late_research"), ("paper", "late_paper"), strict=True):
        book, sessions = lane.deployment.book(research), lane.cuts.calendar.between(lane.deployment.start, UNTIL)
        run(lane.store, lane.strategy_of(book), book, lane.cuts, sessions)
        for table, columns in (
            (NAV, ("session", "equity", "cash")),
            (POSITIONS, ("session", "sid", "quantity", "value")),
            (FILLS, ("session", "sid", "side", "quantity", "price", "fee", "arrival_price", "ts")),
        ):
            rows = lane.store.read(table, as_of=None).filter(pl.col("session") >= lane.deployment.start)
            here, there = (rows.filter(book=b).select(columns).sort(columns) for b in (research, live))
            assert here.height
            assert here.equals(there), table.name


def test_the_assets_of_a_lane_are_under_its_name(ran: Workspace) -> None:
    """The deployment's own have the keys and jobs that they always had."""
    repository = build(ran).get_repository_def()
    keys = {k.to_user_string() for k in repository.asset_graph.get_all_asset_keys()}
    assert {"decisions", "XLON/decisions", "history/decisions", "XLON/history/decisions"} <= keys
    jobs = {j.name for j in repository.get_all_jobs()}
    assert {"daily", "daily_XLON", "deliver_XLON", "backfill_XLON", "maintenance"} <= jobs
    assert {"daily_at_decision_time", "daily_at_decision_time_XLON"} <= {s.name for s in repository.schedule_defs}
