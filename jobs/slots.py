"""A lane of slots in Dagster: an asset whose run does the slots of a session that have come, its job, and the schedule
that asks by the venue's own clock. A session is a partition; a slot is a row of our tables.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from desk.workspace import Workspace
from jobs.hours import ASSET, JOB, run_slots, slots_due, slots_of_session
from jobs.lanes import called, chosen, tagged
from jobs.sensors import EVERY
from quant_assets.assets import OWNERS, result
from quant_assets.calendars import Cuts
from quant_assets.calendars.schedules import slot_ticks, slots_asked
from quant_assets.moments import Every

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

GROUP = "0_today"
SHOWN = 48  # of a session's slots in its table
GRACE = timedelta(minutes=2)  # after a cut: the schedule has its turn before the sensor goes on with what is left
LEAST = 30  # seconds between two looks for what is left


def asset(ws: Workspace, sessions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset `slots`, partitioned by `sessions`."""

    @dg.asset(
        name=ASSET,
        partitions_def=sessions,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        required_resource_keys={"store", "progress"},
        group_name=GROUP,
        owners=OWNERS,
        description="The slots of the session that have come: what was decided, sent and too late at each. A run does "
        "what is due and what an interrupted one left.\n\nRunbook: `quant why SESSION --slot HH:MM` explains a slot; a "
        "slot that was missed is NO_TRADE(LATE), and is recorded when the session is over.",
    )
    def session_slots(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        session = date.fromisoformat(context.partition_key)
        report = run_slots(ws, session, context.resources.progress, context.run.run_id)
        return result(report, extra={"table": dg.MetadataValue.md(_table(ws, session))})

    return session_slots


def _table(ws: Workspace, session: date) -> str:
    """The last slots of a session that have come, a line each."""
    found = slots_of_session(ws, session)[-SHOWN:]
    lines = [f"| {s.slot} | {s.cut:%H:%M:%S} | {s.state} | {s.trades} | {s.orders} | {s.filled} |" for s in found]
    return "\n".join(["| slot | cut (UTC) | state | trade | orders | filled |", "|---|---|---|---|---|---|", *lines])


def job(lane: str) -> "AssetJob":
    """The job `run_slots` of a lane."""
    return dg.define_asset_job(
        called(JOB, lane),
        chosen([ASSET], lane),
        description="The slots of a session that have come, each from its bars to its orders.",
        executor_def=dg.in_process_executor,
        tags=tagged(lane),
    )


def schedule(ws: Workspace, moment: Every, slots_job: "AssetJob") -> dg.ScheduleDefinition:
    """At the cut of each slot, on the venue's own clock, within the minute after it; off until somebody turns it on."""
    when = slot_ticks(ws.cuts.calendar, moment)

    @dg.schedule(
        name=called("slots_as_they_come", ws.name),
        job=slots_job,
        cron_schedule=when.crons[0] if len(when.crons) == 1 else list(when.crons),
        execution_timezone=when.zone,
    )
    def as_they_come(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now, calendar = context.scheduled_execution_time, ws.current_cuts().calendar
        come = slots_asked(calendar, moment, now)
        if not come:
            return dg.SkipReason(f"{calendar.code} has no slot that is decided now")
        last = come[-1]
        if last.session < ws.deployment.start:
            return dg.SkipReason(f"session {last.session} lies before {ws.deployment.start}, the first that is traded")
        return dg.RunRequest(
            partition_key=last.session.isoformat(), run_key=f"{called(JOB, ws.name)} {last.session} {last.slot}"
        )

    return as_they_come


def left(ws: Workspace, sessions_left: Callable[[], Mapping[date, str]]) -> Callable[[], Mapping[date, str]]:
    """`sessions_left`, and `run_slots` of the session under way where the schedule left a slot undone."""

    def found() -> Mapping[date, str]:
        cuts: Cuts = ws.current_cuts()
        due = [s for s in slots_due(ws, cuts) if ws.clock.now() - s.cut >= GRACE]
        return {**sessions_left(), **{s.session: JOB for s in due}}

    return found


def looks(moment: Every) -> int:
    """Seconds between two looks for what is left: four in a bar."""
    return max(LEAST, min(EVERY, moment.minutes * 15))
