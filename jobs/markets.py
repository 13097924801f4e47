"""A market without a strategy, in Dagster: its data is ingested and judged session by session, and over a range."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from desk.workspace import Workspace
from jobs import daily, sensors
from jobs.lanes import Part, called, chosen, in_lane, tagged
from jobs.left import left_lately
from jobs.research import BACKFILL, WORK
from quant_assets.assets import quarter_partitions, session_partitions
from quant_assets.backtest import assets as backtest_assets
from quant_assets.chain import HISTORY, UNTRADED
from quant_assets.market_data import assets as market_data_assets
from quant_assets.market_data import checks as market_data_checks
from quant_assets.market_data.assets import MARKET_DATA
from quant_assets.market_data.datasets import dataset

if TYPE_CHECKING:
    from jobs.daily import AssetJob


def build(ws: Workspace) -> Part:
    """Assets, checks, jobs, schedule and sensor of the lane of such a market."""
    first, last = ws.span
    sessions = session_partitions(ws.cuts.calendar, min(ws.deployment.start, last or ws.deployment.start), last)
    fed, lane = [dataset(name) for name in ws.feeds], ws.name
    slices = {name: [UNTRADED[s.name] for s in stages] for name, stages in HISTORY.items()}
    history, *_ = backtest_assets.build(quarter_partitions(first, last), UNTRADED, slices, [], [])
    docs = ws.reports / "data_docs"
    assets, checks = in_lane(
        [*market_data_assets.build(sessions, UNTRADED, fed), history],
        market_data_checks.build(docs, fed, ws.rules),
        lane,
    )

    def job(name: str, of: dg.AssetSelection, says: str, **tags: str) -> "AssetJob":
        return dg.define_asset_job(
            called(name, lane), of, description=says, executor_def=dg.in_process_executor, tags=tagged(lane, **tags)
        )

    def unfinished() -> Mapping[date, str]:
        return {day: called(one, lane) for day, one in left_lately(ws, daily.CATCH_UP).items()}

    heavy = daily.heavy(list(ws.feeds), lane)
    made = [*MARKET_DATA, *ws.feeds, "universe", "verdicts"]
    run_daily = job("daily", chosen(made, lane) - heavy, "One session: its data, ingested and judged.")
    suites = job("data_docs", heavy, "The Great Expectations suites on the last session, and their data docs.")
    backfill = job(
        BACKFILL,
        chosen(history.keys, lane),
        "The data of a range, ingested and judged.",
        **{WORK: "range", "dagster/priority": "-1"},
    )
    return Part(
        assets,
        checks,
        [run_daily, suites, backfill],
        [daily.schedule(ws.cuts, run_daily, ws.deployment.start, ws.current_cuts, lane, last_made="verdicts")],
        [sensors.unfinished([run_daily], unfinished, called("sessions_left", lane))],
    )
