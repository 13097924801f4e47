"""What all assets share: their partitions, and how a stage's report becomes what Dagster shows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from quant_assets.calendars import Calendar
from quant_assets.records import StageReport

NEW_YORK = "America/New_York"
OWNERS = ["team:quant"]

Result = dg.MaterializeResult[Any]


def session_partitions(calendar: Calendar, first: date, last: date | None) -> dg.DailyPartitionsDefinition:
    """One partition a trading session: every day on which the venue trades, as its calendar knows; to `last`, or to today, and never past the calendar's end."""
    end = last or calendar.last
    known = set(calendar.between(first, end))
    days = (first + timedelta(days=n) for n in range((end - first).days + 1))
    weekends = () if any(d.weekday() >= 5 for d in known) else ("0 0 * * 0,6",)  # Saturday; some venues never close
    holidays = [
        datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(NEW_YORK))
        for d in days
        if d not in known and not (weekends and d.weekday() >= 5)
    ]
    return dg.DailyPartitionsDefinition(
        start_date=first.isoformat(),
        end_date=(end + timedelta(days=1)).isoformat(),
        timezone=NEW_YORK,
        end_offset=0 if last else 1,
        exclusions=[*weekends, *holidays],
    )


def month_end_partitions(sessions: Sequence[date]) -> dg.StaticPartitionsDefinition:
    """One partition for each month's last session: where models are cut."""
    return dg.StaticPartitionsDefinition([s.isoformat() for s in sessions])


def staged(
    group: str, sessions: dg.PartitionsDefinition[str], *, each: bool = False, **shown: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declares an asset of a stage, partitioned by `sessions`: a range is one run, or one run for `each` session where a venue is involved."""
    policy = dg.BackfillPolicy.multi_run(1) if each else dg.BackfillPolicy.single_run()
    return dg.asset(partitions_def=sessions, backfill_policy=policy, group_name=group, owners=OWNERS, **shown)


def sessions_of(context: dg.AssetExecutionContext) -> list[date]:
    """The sessions of this run, ascending."""
    return sorted(date.fromisoformat(k) for k in context.partition_keys)


def result(report: StageReport, *, key: dg.AssetKey | None = None, extra: Mapping[str, Any] | None = None) -> Result:
    """The report as a materialisation: state, reason and numbers under stable names, links as links."""
    links = {name: dg.MetadataValue.url(url) for name, url in report.links.items()}
    notes = {"notes": dg.MetadataValue.md("\n".join(f"- {n}" for n in report.notes[:50]))} if report.notes else {}
    return dg.MaterializeResult(asset_key=key, metadata={**report.metadata(), **links, **notes, **(extra or {})})


def merged(reports: Sequence[StageReport]) -> StageReport:
    """Reports of one stage, one for each book or strategy, as one: numbers add up, reasons are listed; refused where any was, empty where there is none."""
    if not reports:
        reason = "the deployment has no book or strategy that this is done for"
        return StageReport(stage="", first=date.min, last=date.min, state="empty", reason=reason)
    names = sorted({k for r in reports for k in r.numbers})
    states = {r.state for r in reports}
    return StageReport(
        stage=reports[0].stage,
        first=min(r.first for r in reports),
        last=max(r.last for r in reports),
        state="refused" if "refused" in states else states.pop() if len(states) == 1 else "done",
        reason="; ".join(r.reason for r in reports if r.reason),
        rows=sum(r.rows for r in reports),
        numbers={k: sum(r.numbers.get(k, 0.0) for r in reports) for k in names},
        notes=tuple(n for r in reports for n in r.notes),
        links={k: v for r in reports for k, v in r.links.items()},
    )
