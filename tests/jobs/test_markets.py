"""A market that is declared without a strategy: its data is ingested and judged, by range and day by day."""

import shutil
from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest

from desk.day import derive, status
from desk.deployment import load
from desk.notebook import Notebook
from desk.workspace import Workspace
from jobs.definitions import build
from jobs.execute import runner
from jobs.live import due_in_order, run_backfill, run_daily
from quant_assets.errors import ConfigurationError
from quant_assets.tables import BARS, DECISIONS, LISTINGS, VERDICTS
from tests.jobs.commands import declare
from tests.jobs.small import Registry
from tests.jobs.two_venues import BOOKS, NEW_YORK, deployment, workspace

MINE = """
production: ../production
strategies:
  - name: mine
    calendar: XLON
    decide: {kind: before_close}
    universe: {name: mine, size: 12, lookback: 10, min_price: 1}
    label: {kind: traded_close_to_close, horizon: 1}
books:
  - {name: mine, strategy: mine, account: M, capital: 250000}
"""
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


def test_what_arrives_behind_its_cut_is_known_later(ran: Workspace) -> None:
    """As of a market that is traded: nothing that was read by a cut changes."""
    london = ran.lane_of("XLON")
    assert london.knowledge.latest_cut() == london.cuts.of(RUN[-1][1])
    assert ran.lanes[0].knowledge.latest_cut() is None


def test_a_research_home_trades_it_alone(ran: Workspace, tmp_path: Path) -> None:
    """Its strategies are all of London, which production only ingests; it reads as far as that was judged."""
    production = Path(shutil.copytree(ran.home, tmp_path / "production"))
    declare(production, ran.deployment)
    file = tmp_path / "research" / "deployment.yaml"
    file.parent.mkdir()
    file.write_text(MINE)
    ws = Notebook(file.parent, load(file), registry=Registry())
    (london,) = ws.lanes
    assert (london.name, london.until) == (ws.lanes[0].name, ws.until) == ("XLON", RUN[-1][1])
    sessions = london.cuts.calendar.between(date(2025, 10, 20), RUN[-1][1])
    list(derive(london, sessions))
    decided = london.store.read(DECISIONS, as_of=None)
    assert decided["session"].unique().sort().to_list() == sessions
    assert set(decided["reason"]) == {"MODEL_MISSING"}
    assert set(decided["sid"]) <= set(ran.lane_of("XLON").store.read(LISTINGS, as_of=None)["sid"])
    with pytest.raises(ConfigurationError, match="production has decided on what was known by 2025-10-29 16:15"):
        list(derive(london, [date(2025, 10, 29)]))
    assert build(ws).get_repository_def().has_job("backfill_XLON")


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
