"""What Dagster loads: everything of one workspace, merged."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from desk.queries import tables
from desk.workspace import Workspace
from jobs import daily, intraday, maintenance, markets, post_trade, research, sensors, slots
from jobs.hours import at_slots
from jobs.lanes import Part, called, in_lane, key
from jobs.left import left_lately
from jobs.resources import build as resources
from quant_assets.assets import UNDER_WAY, quarter_partitions, session_partitions
from quant_assets.backtest import assets as backtest_assets
from quant_assets.backtest.slot_stages import read_by
from quant_assets.chain import AT_SLOTS, HISTORY, STAGES
from quant_assets.errors import ConfigurationError
from quant_assets.execution import assets as execution_assets
from quant_assets.features import assets as features_assets
from quant_assets.features import checks as features_checks
from quant_assets.features.catalogue import find_set, find_sets
from quant_assets.features.explorer import assets as explorer_assets
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import DAILY, FeatureSet
from quant_assets.market_data import assets as market_data_assets
from quant_assets.market_data import checks as market_data_checks
from quant_assets.market_data.datasets import dataset
from quant_assets.models import assets as models_assets
from quant_assets.moments import Every
from quant_assets.ports import Progress, quiet
from quant_assets.post_trade import assets as post_trade_assets
from quant_assets.signals import assets as signals_assets
from quant_assets.stage import Stages
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


@dataclass(frozen=True)
class Sets:
    """The feature sets of a lane and the stages of its chain: `names` are the assets of the sets that are read by
    session, `ranged` what a range publishes, `explored` the sets of which there is a page.
    """

    stages: Stages
    names: Sequence[str]
    assets: Sequence[dg.AssetsDefinition]
    checks: Sequence[dg.AssetChecksDefinition]
    ranged: Sequence[features_assets.Published]
    explored: Sequence[FeatureSet] = ()


def _lane(ws: Workspace) -> Part:
    """Of one lane: its keys and names are the deployment's own behind those of the lane."""
    if not ws.deployment.strategies:
        return markets.build(ws)
    strategies, first, last, lane = ws.deployment.strategies, *ws.span, ws.name
    # what lies before the start is history, by quarters: no key for it, so nothing can send it
    begins, ahead = min(ws.deployment.start, last or ws.deployment.start), UNDER_WAY if at_slots(ws) else 0
    sessions = session_partitions(ws.cuts.calendar, begins, last, ahead)
    quarters = quarter_partitions(first, last)
    sets = _at_slots(ws, sessions) if at_slots(ws) else _by_session(ws, sessions)
    stages, fed = sets.stages, [dataset(name) for name in ws.feeds]
    slices = {name: [stages[s.name] for s in some if s.name in stages] for name, some in HISTORY.items()}
    free, (bar_sets, bar_checks) = _free(ws), _on_bars(ws)
    assets, checks = in_lane(
        [
            *market_data_assets.build(sessions, stages, fed),
            *sets.assets,
            *bar_sets,
            *explorer_assets.build(quarters, sets.explored, strategies),
            *models_assets.build(sessions, stages, sets.names),
            *signals_assets.build(sessions, stages),
            *execution_assets.build(sessions, stages),
            *post_trade_assets.build(sessions, stages),
            *backtest_assets.build(quarters, stages, slices, sets.ranged, sets.names),
            *today_assets.build(sessions),
            *([slots.asset(ws, sessions)] if at_slots(ws) else []),
        ],
        [
            *market_data_checks.build(ws.reports / "data_docs", fed, ws.rules),
            *sets.checks,
            *bar_checks,
            *today_checks.build(),
        ],
        lane,
    )
    return Part(assets, checks, *_triggers(ws, sets, free))


def _triggers(
    ws: Workspace, sets: Sets, free: Sequence[OnBars]
) -> tuple[list[Any], list[dg.ScheduleDefinition], list[dg.SensorDefinition]]:
    """The jobs, schedules and sensors of a lane; of a research home the range alone: nothing is due there."""
    lane, start = ws.name, ws.deployment.start.isoformat()
    run_daily, deliver, day_status, data_docs = daily.jobs(sets.names, list(ws.feeds), lane, sets.stages)
    backfill, retrain = research.jobs(sets.names, lane)
    if ws.production:  # its own tables are kept up
        return [backfill], [], []
    (after_delivery,) = post_trade.jobs(lane)
    on_bars = intraday.jobs(free)

    def live(one: str) -> bool:
        return one >= start  # what lies before is history: nothing of it is ever sent

    def unfinished() -> Mapping[date, str]:
        return left_lately(ws, daily.CATCH_UP)

    ours = [run_daily, deliver, after_delivery, day_status, data_docs, backfill, retrain, *on_bars]
    timed = [
        daily.schedule(ws.cuts, run_daily, ws.deployment.start, ws.current_cuts, lane),
        *intraday.schedules(free, on_bars),
    ]
    goes_on, every, what_is_left = [run_daily, deliver, after_delivery], sensors.EVERY, unfinished
    if isinstance(moment := ws.moment, Every):
        ours.append(at_each := slots.job(lane))
        timed.append(slots.schedule(ws, moment, at_each))
        goes_on, every, what_is_left = [*goes_on, at_each], slots.looks(moment), slots.left(ws, unfinished)
    watching = [
        sensors.follows(key("decisions", lane), deliver, called("new_decisions", lane), wanted=live),
        sensors.follows(key("orders", lane), after_delivery, called("orders_delivered", lane), wanted=live),
        sensors.follows(key("report", lane), day_status, called("report_published", lane)),
        sensors.unfinished(goes_on, lambda: _called(what_is_left(), lane), called("sessions_left", lane), every),
    ]
    return ours, timed, watching


def _called(found: Mapping[date, str], lane: str) -> Mapping[date, str]:
    return {day: called(job, lane) for day, job in found.items()}


def _by_session(ws: Workspace, sessions: dg.PartitionsDefinition[str]) -> Sets:
    """The sets of a lane that decides once a session. Raises ConfigurationError where one is on bars."""
    strategies = ws.deployment.strategies
    read = [find_set(name) for name in sets_of(strategies)]
    if on_bars := [f.name for f in read if f.frequency != DAILY]:
        raise ConfigurationError(
            f"strategies that decide once a session read sets of sessions; {on_bars} have a value for each bar. "
            "Sets on bars are declared under bars: in the deployment"
        )
    by_session = [f for f in find_sets().values() if f.frequency == DAILY]
    return Sets(
        stages=STAGES,
        names=[f.table.name for f in read],
        assets=features_assets.build(sessions, STAGES, read, strategies, list(ws.feeds)),
        checks=features_checks.build(read, by_session, strategies),
        ranged=features_assets.by_session(by_session, strategies, STAGES),
        explored=by_session,
    )


def _at_slots(ws: Workspace, sessions: dg.PartitionsDefinition[str]) -> Sets:
    """The sets on bars of a lane that decides at slots. Raises ConfigurationError where one is not declared."""
    strategies = ws.deployment.strategies
    stages = AT_SLOTS
    read = read_by(strategies, ws.on_bars)
    ranged = features_assets.at_slots(read, stages)
    return Sets(
        stages=stages,
        names=[one.stage.name for one in ranged],
        assets=features_assets.build_at_slots(sessions, stages, ranged, strategies),
        checks=features_checks.at_slots(list(dict.fromkeys(bars for _, bars in read))),
        ranged=ranged,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the workspace in $QUANT_HOME. What a process that loads them writes is for its user alone."""
    os.umask(0o077)
    return build(Workspace.open())


def _free(ws: Workspace) -> list[OnBars]:
    """The sets on bars that the lane declares and no strategy reads: those that one reads are published with it."""
    if not ws.deployment.bars:
        return []
    read = {bars for lane in ws.peers for _, bars in read_by(lane.deployment.strategies, ws.on_bars)}
    return [one for one in ws.deployment.bars if one not in read]


def _on_bars(ws: Workspace) -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of the lane's sets on bars that no strategy reads, and their checks."""
    free = _free(ws)
    return [*features_assets.of_bars(free, *ws.span)], [*features_checks.of_bars(free)]
