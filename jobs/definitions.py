"""What Dagster loads: everything of one workspace, merged."""

import os
import warnings
from collections.abc import Mapping
from datetime import date

import dagster as dg

from desk.queries import tables
from desk.workspace import Workspace
from jobs import daily, intraday, maintenance, markets, post_trade, research, sensors
from jobs.hours import at_slots
from jobs.lanes import Part, called, in_lane, key
from jobs.left import left_lately
from jobs.resources import build as resources
from quant_assets.assets import quarter_partitions, session_partitions
from quant_assets.backtest import assets as backtest_assets
from quant_assets.chain import HISTORY, STAGES
from quant_assets.errors import ConfigurationError
from quant_assets.execution import assets as execution_assets
from quant_assets.features import assets as features_assets
from quant_assets.features import checks as features_checks
from quant_assets.features.catalogue import find_set, find_sets
from quant_assets.features.explorer import assets as explorer_assets
from quant_assets.features.sets import DAILY
from quant_assets.market_data import assets as market_data_assets
from quant_assets.market_data import checks as market_data_checks
from quant_assets.market_data.datasets import dataset
from quant_assets.models import assets as models_assets
from quant_assets.ports import Progress, quiet
from quant_assets.post_trade import assets as post_trade_assets
from quant_assets.signals import assets as signals_assets
from quant_assets.strategy import sets_of
from quant_assets.today import assets as today_assets
from quant_assets.today import checks as today_checks
from resources.tables.maintenance import Retention

# backfill policies are what makes a range one run; a job of assets with different ones takes the strictest, as meant
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
warnings.filterwarnings("ignore", message="Asset job .* materializes assets with varying BackfillPolicies")


def build(ws: Workspace, progress: Progress = quiet) -> dg.Definitions:
    """Assets, checks, jobs, schedules, sensors and resources of a workspace, of all its lanes. Long stages report to
    `progress`.
    """
    parts = [_lane(lane) for lane in ws.lanes]
    upkeep = maintenance.build(
        ws.tables,
        lambda: ws.ledger.audit,
        lambda: [t for t in tables(ws.tables).values() if ws.tables.exists(t)],
        ws.reports,
        Retention(),
    )
    return dg.Definitions(
        assets=[a for part in parts for a in part.assets],
        asset_checks=[c for part in parts for c in part.checks],
        jobs=[*(j for part in parts for j in part.jobs), upkeep],
        schedules=[*(s for part in parts for s in part.schedules), maintenance.schedule(upkeep)],
        sensors=[*(s for part in parts for s in part.sensors), sensors.notices(ws.home)],
        resources=resources(ws, progress),
        executor=dg.in_process_executor,
    )


def _lane(ws: Workspace) -> Part:
    """Of one lane: its keys and names are the deployment's own behind those of the lane."""
    if not ws.deployment.strategies:
        return markets.build(ws)
    strategies, first, last, lane = ws.deployment.strategies, *ws.span, ws.name
    # what lies before the start is history, by quarters: no key for it, so nothing can send it
    sessions = session_partitions(ws.cuts.calendar, min(ws.deployment.start, last or ws.deployment.start), last)
    quarters = quarter_partitions(first, last)
    read = [find_set(name) for name in sets_of(strategies)]
    if at_slots(ws):
        return _hourly(ws)
    if on_bars := [f.name for f in read if f.frequency != DAILY]:
        raise ConfigurationError(
            f"strategies that decide once a session read sets of sessions; {on_bars} have a value for each bar. "
            "Sets on bars are declared under bars: in the deployment"
        )
    names = [f.table.name for f in read]
    by_session = [f for f in find_sets().values() if f.frequency == DAILY]
    fed = [dataset(name) for name in ws.feeds]
    run_daily, deliver, day_status, data_docs = daily.jobs(names, list(ws.feeds), lane)
    backfill, retrain = research.jobs(names, lane)
    (after_delivery,) = post_trade.jobs(lane)
    jobs_on_bars, (bar_sets, bar_checks) = intraday.jobs(ws.deployment.bars), _on_bars(ws)
    start = ws.deployment.start.isoformat()

    def live(one: str) -> bool:
        return one >= start  # what lies before is history: nothing of it is ever sent

    def unfinished() -> Mapping[date, str]:
        return {day: called(job, lane) for day, job in left_lately(ws, daily.CATCH_UP).items()}

    ours = [run_daily, deliver, after_delivery, day_status, data_docs, backfill, retrain, *jobs_on_bars]
    timed = [
        daily.schedule(ws.cuts, run_daily, ws.deployment.start, ws.current_cuts, lane),
        *intraday.schedules(ws.deployment.bars, jobs_on_bars),
    ]
    watching = [
        sensors.follows(key("decisions", lane), deliver, called("new_decisions", lane), wanted=live),
        sensors.follows(key("orders", lane), after_delivery, called("orders_delivered", lane), wanted=live),
        sensors.follows(key("report", lane), day_status, called("report_published", lane)),
        sensors.unfinished([run_daily, deliver, after_delivery], unfinished, called("sessions_left", lane)),
    ]
    if ws.production:  # nothing is due, nothing is sent: a range is asked for, and its own tables are kept up
        ours, timed, watching = [backfill], [], []
    assets, checks = in_lane(
        [
            *market_data_assets.build(sessions, STAGES, fed),
            *features_assets.build(sessions, STAGES, read, strategies, list(ws.feeds)),
            *bar_sets,
            *explorer_assets.build(quarters, by_session, strategies),
            *models_assets.build(sessions, STAGES, strategies),
            *signals_assets.build(sessions, STAGES),
            *execution_assets.build(sessions, STAGES),
            *post_trade_assets.build(sessions, STAGES),
            *backtest_assets.build(quarters, STAGES, HISTORY, by_session, strategies),
            *today_assets.build(sessions),
        ],
        [
            *market_data_checks.build(ws.reports / "data_docs", fed, ws.rules),
            *features_checks.build(read, by_session, strategies),
            *bar_checks,
            *today_checks.build(),
        ],
        lane,
    )
    return Part(assets, checks, ours, timed, watching)


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the workspace in $QUANT_HOME. What a process that loads them writes is for its user alone."""
    os.umask(0o077)
    return build(Workspace.open())


def _hourly(ws: Workspace) -> Part:
    """The sets on bars of a lane that decides at slots, which `quant run daily` runs (`jobs.hours`)."""
    declared = ws.deployment.bars
    made, (bar_sets, bar_checks) = intraday.jobs(declared), _on_bars(ws)
    return Part(
        assets=bar_sets,
        checks=bar_checks,
        jobs=made,
        schedules=intraday.schedules(declared, made),
        sensors=[],
    )


def _on_bars(ws: Workspace) -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of the lane's sets on bars, and their checks."""
    declared = ws.deployment.bars
    return [*features_assets.of_bars(declared, *ws.span)], [*features_checks.of_bars(declared)]
