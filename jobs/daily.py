"""The daily run: a session's data, what was traded, features, scores and decisions; in one process, in coarse steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import dagster as dg

from quant_assets.assets import NEW_YORK
from quant_assets.features.checks import REFUSES
from quant_assets.market_data.calendars import Cuts

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

CATCH_UP = 10  # sessions that a schedule asks for again; more than that is `quant run daily`

DAILY = (
    "bars",
    "actions",
    "listings",
    "quarantine",
    "verdicts",
    "fills",
    "positions",
    "reconciliation",
    "universe",
    "labels",
    "scores",
    "feature_drift",
    "decisions",
)
# Great Expectations takes seconds to import: its suite runs in a job of its own, after the day
HEAVY = "great_expectations"


def heavy(fed: Sequence[str]) -> dg.AssetSelection:
    """The suites of the bars and of each dataset that a feed brings."""
    return dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(name), HEAVY) for name in ("bars", *fed)))


def jobs(derived: Sequence[str], fed: Sequence[str]) -> "list[AssetJob]":
    """daily; deliver; today (day_status), which stays apart so that it tells of a day on which the others failed; data_docs."""
    executor = dg.in_process_executor
    return [
        dg.define_asset_job(
            "daily",
            dg.AssetSelection.assets(*DAILY, *fed, *derived) - heavy(fed),
            description="One session, from its capture to its decisions.",
            executor_def=executor,
            tags={REFUSES: "decisions"},
        ),
        dg.define_asset_job(
            "deliver",
            dg.AssetSelection.assets("orders"),
            description="Decisions become orders for the next open, exactly once.",
            executor_def=executor,
        ),
        dg.define_asset_job(
            "today", dg.AssetSelection.assets("day_status"), description="Is today fine?", executor_def=executor
        ),
        dg.define_asset_job(
            "data_docs",
            heavy(fed),
            executor_def=executor,
            description="The Great Expectations suites on the last session, and their data docs.",
        ),
    ]


def schedule(cuts: Cuts, daily: "AssetJob") -> dg.ScheduleDefinition:
    """Every weekday at the decision time; on days without one it says so. Sessions missed lately are asked for again, in order."""
    at = cuts.of(cuts.calendar.shift(cuts.calendar.last, -2)).astimezone(ZoneInfo(NEW_YORK))

    @dg.schedule(
        name="daily_at_decision_time",
        job=daily,
        cron_schedule=f"{at.minute} {at.hour} * * 1-5",
        execution_timezone=NEW_YORK,
    )
    def at_decision_time(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        now = context.scheduled_execution_time
        session = cuts.due(now)
        if cuts.of(session).astimezone(ZoneInfo(NEW_YORK)).date() != now.astimezone(ZoneInfo(NEW_YORK)).date():
            return dg.SkipReason(
                f"the venue does not open today; the last decision time was {cuts.of(session):%Y-%m-%d %H:%M} UTC, for session {session}"
            )
        done = context.instance.get_materialized_partitions(dg.AssetKey("decisions"))
        earlier = [cuts.calendar.shift(session, -n).isoformat() for n in range(CATCH_UP, 0, -1)]
        missed = [k for k in earlier if done and min(done) < k and k not in done]
        return [dg.RunRequest(partition_key=k, run_key=f"daily {k}") for k in [*missed, session.isoformat()]]

    return at_decision_time
