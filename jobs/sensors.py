"""What follows what. A trigger is a hint: each job it starts is idempotent, and exactly-once lives in the outbox."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

BATCH = 100
EVERY = 300  # seconds between two looks for what is left
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def follows(
    asset: dg.AssetKey, job: "AssetJob", name: str, *, wanted: Callable[[str], bool] = lambda _: True
) -> dg.SensorDefinition:
    """Starts `job` for each session in which `asset` is new and which is `wanted`; the cursor is the last event
    seen, so none is skipped.
    """

    @dg.sensor(name=name, job=job, minimum_interval_seconds=5, description=f"New {asset.path[-1]} start {job.name}.")
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        after = int(context.cursor) if context.cursor else None
        found = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset, after_storage_id=after), limit=BATCH, ascending=True
        )
        if not found.records:
            return dg.SkipReason(f"no new {asset.path[-1]}")
        newest: Mapping[str, int] = {
            r.partition_key: r.storage_id for r in found.records if r.partition_key and wanted(r.partition_key)
        }
        requests = [dg.RunRequest(partition_key=k, run_key=f"{name} {k} {newest[k]}") for k in sorted(newest)]
        return dg.SensorResult(run_requests=requests, cursor=str(found.records[-1].storage_id))

    return sensor


def unfinished(
    jobs: "Sequence[AssetJob]",
    left: Callable[[], Mapping[date, str]],
    name: str = "sessions_left",
    seconds: int = EVERY,
) -> dg.SensorDefinition:
    """Starts, for each session of which something is left, the job that goes on with it. It asks stored rows, so that a
    run that failed, or a delivery that was refused, is tried again; never while another run is under way.
    """

    @dg.sensor(
        name=name,
        jobs=jobs,
        minimum_interval_seconds=seconds,
        description="Goes on with sessions of which something is left.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if context.instance.get_runs_count(dg.RunsFilter(statuses=UNDER_WAY)):
            return dg.SkipReason("a run is under way")
        found, tick = left(), datetime.now(UTC)
        if not found:
            return dg.SkipReason("no session has anything left")
        requests = [
            dg.RunRequest(job_name=job, partition_key=day.isoformat(), run_key=f"left {day} {job} {tick:%Y%m%d%H%M}")
            for day, job in found.items()
        ]
        return dg.SensorResult(run_requests=requests)

    return sensor


def notices(home: Path) -> dg.SensorDefinition:
    """Sends the notices that wait, and repeats critical ones, once a minute; it starts no run."""

    @dg.sensor(
        name="notices_waiting",
        target=None,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends the notices that wait.",
    )
    def sensor(_: dg.SensorEvaluationContext) -> dg.SkipReason:
        from desk.workspace import channels_of
        from resources.notices.drain import drain

        done = drain(home, datetime.now(UTC), channels=partial(channels_of, home))
        return dg.SkipReason(f"{done.sent} sent, {done.failed} failed, {done.dead} given up, {done.waiting} waiting")

    return sensor
