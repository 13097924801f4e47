"""The daily run: a session's data, what was traded, features, scores and decisions; in one process, in coarse steps."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from jobs.lanes import called, chosen, key, tagged
from quant_assets.calendars import Cuts
from quant_assets.calendars.schedules import asked, ticks
from quant_assets.chain import STAGES, between
from quant_assets.features.checks import REFUSES
from quant_assets.market_data.assets import MARKET_DATA
from quant_assets.stage import Stages

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

CATCH_UP = 10  # sessions that a schedule asks for again; more than that is `quant run daily`

DAILY = tuple(s.name for s in between("market_data", "decisions"))
# Great Expectations takes seconds to import: its suite runs in a job of its own, after the day
HEAVY = "great_expectations"


DELIVERED = ("orders",)
REPORTED = tuple(s.name for s in between("costs", "report"))


def assets_of(stages: Sequence[str], derived: Sequence[str], fed: Sequence[str]) -> list[str]:
    """The assets of stages: the tables of the feature sets that are read, the datasets that feeds bring; audits are
    checks.
    """
    made = {"market_data": (*MARKET_DATA, *fed), "features": derived, "no_look_ahead": ()}
    return [asset for stage in stages for asset in made.get(stage, (stage,))]


def heavy(fed: Sequence[str], lane: str = "") -> dg.AssetSelection:
    """The suites of the bars and of each dataset that a feed brings."""
    return dg.AssetSelection.checks(*(dg.AssetCheckKey(key(name, lane), HEAVY) for name in ("bars", *fed)))


def jobs(derived: Sequence[str], fed: Sequence[str], lane: str = "", stages: Stages = STAGES) -> "list[AssetJob]":
    """daily; deliver; today (day_status), which stays apart so that it tells of a day on which the others failed;
    data_docs. `derived`: the assets of the sets that are read; `stages`: those of the lane.
    """
    executor, day = dg.in_process_executor, [name for name in DAILY if name in stages]
    return [
        dg.define_asset_job(
            called("daily", lane),
            chosen(assets_of(day, derived, fed), lane) - heavy(fed, lane),
            description="One session, from its capture to its decisions.",
            executor_def=executor,
            tags=tagged(lane, **{REFUSES: "decisions"}),
        ),
        dg.define_asset_job(
            called("deliver", lane),
            chosen(DELIVERED, lane),
            description="Decisions become orders for the next open or close, exactly once.",
            executor_def=executor,
            tags=tagged(lane),
        ),
        dg.define_asset_job(
            called("today", lane),
            chosen(["day_status"], lane),
            description="Is today fine?",
            executor_def=executor,
            tags=tagged(lane),
        ),
        dg.define_asset_job(
            called("data_docs", lane),
            heavy(fed, lane),
            tags=tagged(lane),
            executor_def=executor,
            description="The Great Expectations suites on the last session, and their data docs.",
        ),
    ]


def schedule(
    cuts: Cuts,
    daily: "AssetJob",
    start: date,
    known: Callable[[], Cuts] | None = None,
    lane: str = "",
    last_made: str = "decisions",
) -> dg.ScheduleDefinition:
    """At the decision time of each session, on the venue's own clock; where none is due it says so. Sessions missed
    lately are asked for again, in order.

    `known` gives the cuts as they are known at the tick, where closures may have been announced since the
    definitions were loaded. `last_made`: the asset that shows that a session was run.
    """
    when = ticks(cuts)

    @dg.schedule(
        name=called("daily_at_decision_time", lane),
        job=daily,
        cron_schedule=when.crons[0] if len(when.crons) == 1 else list(when.crons),
        execution_timezone=when.zone,
    )
    def at_decision_time(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        now, by = context.scheduled_execution_time, known() if known else cuts
        session = asked(by, now)
        if session is None:
            last = by.due(now)
            return dg.SkipReason(
                f"the venue does not open today, or does at another time; "
                f"the last decision time was {by.of(last):%Y-%m-%d %H:%M} UTC, for session {last}"
            )
        if session < start:
            return dg.SkipReason(f"session {session} lies before {start}, the first that is traded day by day")
        done = context.instance.get_materialized_partitions(key(last_made, lane))
        earlier = [by.calendar.shift(session, -n).isoformat() for n in range(CATCH_UP, 0, -1)]
        missed = [k for k in earlier if done and min(done) < k and k not in done]
        return [dg.RunRequest(partition_key=k, run_key=f"daily {k}") for k in [*missed, session.isoformat()]]

    return at_decision_time
