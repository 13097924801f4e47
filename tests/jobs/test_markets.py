"""A market that is declared without a strategy: its data is ingested and judged, by range and day by day."""

from datetime import date

import msgspec
import polars as pl
import pytest

from desk.day import status
from desk.workspace import Workspace
from jobs.definitions import build
from jobs.execute import runner
from jobs.live import due_in_order, run_backfill, run_daily
from quant_assets.tables import BARS, DECISIONS, VERDICTS
from tests.jobs.two_venues import BOOKS, NEW_YORK, deployment, workspace

RUN = [("XLON", date(2025, 10, 24)), ("XLON", date(2025, 10, 27)), ("XLON", date(2025, 10, 28))]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """New York is traded, London only declared: two weeks by range, then three sessions of London as they are due."""
    declared = msgspec.structs.replace(deployment(), strategies=(NEW_YORK,), books=BOOKS[:2])
    ws = workspace(tmp_path_factory.mktemp("quiet"), declared)
    with runner(ws) as started:
        london = ws.lane_of("XLON")
        before = london.cuts.calendar.shift(london.deployment.start, -1)
        list(run_backfill(started, date(2025, 10, 10), before, london.name))
        done: list[tuple[str, date]] = []
        while len(done) < len(RUN):
            todo = due_in_order(ws, None, "XLON")
            done += [(lane.name, session) for lane, session in todo if isinstance(session, date)]
            assert [s.job for s in run_daily(started, todo)] == ["daily_XLON"]
    assert done == RUN
    return ws


def test_its_data_is_ingested_and_judged(ran: Workspace) -> None:
    """Every session has bars and a verdict; nothing is decided, and the day's questions ask for the data alone."""
    own, london = ran.lanes
    sessions = london.cuts.calendar.between(date(2025, 10, 10), RUN[-1][1])
    bars = london.store.read(BARS, as_of=london.cuts.of(sessions[-1]), first=sessions[0])
    assert bars["session"].unique().sort().to_list() == sessions
    judged = london.store.read(VERDICTS, as_of=None, first=sessions[0])
    assert judged["session"].unique().sort().to_list() == sessions
    assert judged.filter(~pl.col("passed"), severity="block").is_empty()
    assert own.store.read(BARS, as_of=None).is_empty()
    assert ran.store.read(DECISIONS, as_of=None).is_empty()
    (data,) = status(london, london.latest())
    assert (data.name, data.state, london.latest()) == ("data", "done", RUN[-1][1])


def test_what_is_due_is_due_by_its_own_cuts(ran: Workspace) -> None:
    """The next of all lanes is the earlier one: that of New York, which was not run yet."""
    assert due_in_order(ran, None) == [(ran.lanes[0], date(2025, 10, 24))]
    assert due_in_order(ran, None, "XLON") == [(ran.lanes[1], date(2025, 10, 29))]


def test_it_has_a_schedule_and_no_decisions_in_dagster(ran: Workspace) -> None:
    """Assets for its data, a job, a schedule and a sensor of its own, and nothing that could trade."""
    repository = build(ran).get_repository_def()
    keys = {k.to_user_string() for k in repository.asset_graph.get_all_asset_keys() if k.path[0] == "XLON"}
    assert keys == {
        f"XLON/{name}"
        for name in ("bars", "actions", "listings", "quarantine", "universe", "verdicts", "history/market_data")
    }
    assert {j.name for j in repository.get_all_jobs() if j.name.endswith("XLON")} == {
        "daily_XLON",
        "data_docs_XLON",
        "backfill_XLON",
    }
    assert "daily_at_decision_time_XLON" in {s.name for s in repository.schedule_defs}
