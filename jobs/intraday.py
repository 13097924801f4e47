"""Feature sets on intraday bars: a job for each, and a schedule that asks while the venue is open."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from quant_assets.calendars import calendar
from quant_assets.features.assets import asset_of_bars
from quant_assets.features.intraday import OnBars

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

EVERY = 15  # minutes: a run costs seconds, and publishes all bars that ended since the last one


def jobs(declared: Sequence[OnBars]) -> "list[AssetJob]":
    """A job for each set on bars."""
    made = ((asset_of_bars(one), one) for one in declared)
    return [
        dg.define_asset_job(
            f"publish_{name}",  # a job that is called like the step of its asset cannot be loaded beside it
            dg.AssetSelection.assets(name),
            description=f"{one.feature_set} of {one.venue}, as far as its bars have ended.",
            executor_def=dg.in_process_executor,
        )
        for name, one in made
    ]


def schedules(declared: Sequence[OnBars], made: "Sequence[AssetJob]") -> list[dg.ScheduleDefinition]:
    """Each job every `EVERY` minutes while its venue is open and once after its close; off until somebody turns it
    on.
    """
    return [_schedule(one, job) for one, job in zip(declared, made, strict=True)]


def _schedule(one: OnBars, job: "AssetJob") -> dg.ScheduleDefinition:
    hours = calendar(one.calendar)

    @dg.schedule(name=f"{asset_of_bars(one)}_while_open", job=job, cron_schedule=f"*/{EVERY} * * * *")
    def while_open(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time
        day = timedelta(days=1)  # what ended at midnight was yesterday's; FX opens on the evening before
        for session in hours.between(hours.on_or_before(now.date() - day), hours.on_or_after(now.date() + day)):
            seconds_over = (now - hours.close(session)).total_seconds()
            if hours.open(session) < now and seconds_over <= EVERY * 60 + one.delay:
                return dg.RunRequest(partition_key=session.isoformat(), run_key=f"{now:%Y-%m-%d %H:%M}")
        return dg.SkipReason(f"{one.venue} is closed")

    return while_open
