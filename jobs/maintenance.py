"""Upkeep of the tables: compaction and vacuum, once a week, when no venue is open."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from quant_assets.contract import Table
from quant_assets.ports import Audit
from resources.tables.maintenance import Retention, maintain
from resources.tables.store import DeltaStore


def build(
    store: DeltaStore,
    audit: Callable[[], Audit],
    tables: Callable[[], Iterable[Table]],
    reports: Path,
    retention: Retention,
) -> dg.JobDefinition:
    """The job `maintenance`. It takes the tables' own locks, one after the other: a day that runs meanwhile waits
    for one table, not for the job.
    """

    @dg.op(
        description="Small files are written together; files of versions that nobody cites and that are older "
        "than the policy says are deleted."
    )
    def upkeep(context: dg.OpExecutionContext) -> None:
        now = datetime.now(UTC)  # wall time: the commits were made in it
        done = maintain(store, tables(), reports.glob("*.html"), retention, now)
        files, size = sum(len(v.files) for _, v in done), sum(v.bytes for _, v in done)
        if files:
            audit().record(
                "vacuum",
                f"{files} files, {size} bytes, older than {retention.keep_days} days",
                by="the maintenance job",
                reason="retention by policy",
                now=now,
            )
        context.add_output_metadata(
            {
                "tables": len(done),
                "files_before": sum(c.before for c, _ in done),
                "files_after": sum(c.after for c, _ in done),
                "files_deleted": files,
                "bytes_deleted": size,
            }
        )

    @dg.job(
        name="maintenance",
        executor_def=dg.in_process_executor,
        description="Compaction and vacuum of all tables. No version that a decision, a model or a report cites "
        "is ever lost.",
    )
    def maintenance() -> None:
        upkeep()

    return maintenance


def schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Saturdays at 06:00 UTC, when no venue is open and the week's sessions are decided."""
    return dg.ScheduleDefinition(
        name="weekly_maintenance", job=job, cron_schedule="0 6 * * 6", execution_timezone="UTC"
    )
