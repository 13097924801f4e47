"""What all assets share: their partitions, the asset of a stage, and how its report becomes what Dagster shows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import msgspec

from quant_assets.calendars import Calendar
from quant_assets.characters import markdown
from quant_assets.errors import DataError
from quant_assets.records import StageReport
from quant_assets.stage import Stage

NEW_YORK = "America/New_York"
OWNERS = ["team:quant"]

Result = dg.MaterializeResult[Any]
_Declared = Callable[[Callable[..., Any]], dg.AssetsDefinition]


UNDER_WAY = 1
"""Days after today: a session that is run while it lasts begins on the evening before in New York (Tokyo, UTC, FX)."""


def session_partitions(
    calendar: Calendar, first: date, last: date | None, ahead: int = 0
) -> dg.DailyPartitionsDefinition:
    """One partition a trading session: every day on which the venue trades, as its calendar knows; to `last`, or to
    today and `ahead` days, and never past the calendar's end.
    """
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
        end_offset=0 if last else 1 + ahead,
        exclusions=[*weekends, *holidays],
    )


def quarter_partitions(first: date, last: date | None) -> dg.TimeWindowPartitionsDefinition:
    """One partition a quarter of the calendar, from that of `first` on: for what is computed over a range, where an
    event
    for each session would cost more than the work.
    """
    return dg.TimeWindowPartitionsDefinition(
        cron_schedule="0 0 1 */3 *",
        start=quarter(first).isoformat(),
        end=_after(quarter(last)).isoformat() if last else None,
        fmt="%Y-%m-%d",
        timezone="UTC",
        end_offset=0 if last else 1,
    )


def quarter(day: date) -> date:
    """The first day of a day's quarter, which is the key of its partition."""
    return date(day.year, day.month - (day.month - 1) % 3, 1)


def _after(start: date) -> date:
    return quarter(start + timedelta(days=100))


def staged(
    stage: Stage,
    sessions: dg.PartitionsDefinition[str],
    *,
    each: bool = False,
    **shown: Any,
) -> dg.AssetsDefinition:
    """The live asset of a stage, partitioned by `sessions`; a run for `each` session where a venue is involved.

    It runs the stage's function with the resources named as the function's arguments, and shows its report. Steps
    that are
    ready run in the chain's order.
    """
    policy = dg.BackfillPolicy.multi_run(1) if each else dg.BackfillPolicy.single_run()
    ordered = {"dagster/priority": str(-stage.place)}

    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return result(merged(list(stage.run(given(stage, context, sessions_of(context))))))

    declared: _Declared = dg.asset(
        name=stage.name,
        partitions_def=sessions,
        backfill_policy=policy,
        required_resource_keys=resources_of(stage),
        op_tags=ordered,
        owners=OWNERS,
        **shown,
    )
    return declared(asset)


def ranged(
    key: Sequence[str], stages: Sequence[Stage], quarters: dg.PartitionsDefinition[str], **shown: Any
) -> dg.AssetsDefinition:
    """The asset of consecutive stages over a range, partitioned by `quarters`: any number of them is one run."""
    needed = set().union(*(resources_of(s) for s in stages)) | {"sessions_between", "progress"}

    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        days = sessions_of_quarters(context.run.tags, context.resources.sessions_between)
        reports: list[StageReport] = []
        for stage in stages:
            context.resources.progress(len(reports), len(stages), stage.name)  # between two stages others may go first
            reports.append(merged(list(stage.run(given(stage, context, days)))))
        if len(reports) > 1:  # numbers of different stages keep apart
            named = zip(stages, reports, strict=True)
            reports = [msgspec.structs.replace(r, numbers=_named(s.name, r.numbers)) for s, r in named]
        return result(merged(reports), extra={"first": days[0].isoformat(), "last": days[-1].isoformat()})

    declared: _Declared = dg.asset(
        key=list(key),
        partitions_def=quarters,
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys=needed,
        owners=OWNERS,
        **shown,
    )
    return declared(asset)


def _named(stage: str, numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"{stage}_{name}": n for name, n in numbers.items()}


OF_SESSIONS = {"clock": "clock_of", "asked": "slots_of"}
"""What a stage takes of the sessions of its run, and the resource that gives it."""
WHERE_DECLARED = (
    "progress",
    "evidence",
    "vendors",
    "announced",
    "on_bars",
    "strategies",
    "rules",
    "shared",
    "market",
    "worth",
)
"""What a stage can do without, and is given all the same."""


def resources_of(stage: Stage) -> set[str]:
    """The resources that a stage takes, by name; its clock is that of the sessions."""
    taken = {*stage.needs, *WHERE_DECLARED} & {*stage.takes}
    given_by = {by for name, by in OF_SESSIONS.items() if name in taken}
    return (taken | given_by) - {"sessions", *OF_SESSIONS}


def given(stage: Stage, context: dg.AssetExecutionContext, sessions: Sequence[date]) -> Mapping[str, object]:
    """What a run gives to a stage: the resources that it takes, the sessions with their clock and their slots, and the
    run's id.
    """
    ports = {name: getattr(context.resources, name) for name in resources_of(stage)}
    clock = {"clock": ports["clock_of"](max(sessions))} if "clock_of" in ports else {}
    slots = {"asked": ports["slots_of"](sessions)} if "slots_of" in ports else {}
    return {**ports, **clock, **slots, "sessions": sessions, "run_id": context.run.run_id}


FIRST, LAST = "quant/first", "quant/last"  # tags of a run over quarters: the first and the last session that are meant


def sessions_of(context: dg.AssetExecutionContext) -> list[date]:
    """The sessions of this run, ascending."""
    return sorted(date.fromisoformat(k) for k in context.partition_keys)


def sessions_of_quarters(tags: Mapping[str, str], between: Callable[[date, date], Sequence[date]]) -> Sequence[date]:
    """The sessions of a run over quarters, ascending: all of them, or those that its tags name.

    Raises DataError where there is none.
    """
    keys = [tags[k] for k in _KEYS if k in tags]
    first = max(date.fromisoformat(min(keys)), date.fromisoformat(tags.get(FIRST, min(keys))))
    end = _after(date.fromisoformat(max(keys))) - timedelta(days=1)
    found = between(first, min(end, date.fromisoformat(tags[LAST])) if LAST in tags else end)
    if not found:
        raise DataError(f"no session lies in {first} to {end} whose data can be there; choose other quarters")
    return found


_KEYS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def result(report: StageReport, *, key: dg.AssetKey | None = None, extra: Mapping[str, Any] | None = None) -> Result:
    """The report as a materialisation: state, reason and numbers under stable names, links as links."""
    links = {
        name: dg.MetadataValue.url(link) if "://" in link else dg.MetadataValue.path(link)
        for name, link in report.links.items()
    }
    notes = (
        {"notes": dg.MetadataValue.md("\n".join(f"- {markdown(n)}" for n in report.notes[:50]))} if report.notes else {}
    )
    return dg.MaterializeResult(asset_key=key, metadata={**report.metadata(), **links, **notes, **(extra or {})})


def merged(reports: Sequence[StageReport]) -> StageReport:
    """Reports of one stage, one for each book or strategy, as one: numbers add up, reasons are listed, measures are
    kept where one report alone has them; refused where any was, empty where there is none.
    """
    if not reports:
        reason = "the deployment has no book or strategy that this is done for"
        return StageReport(stage="", first=date.min, last=date.min, state="empty", reason=reason)
    names, measured = sorted({k for r in reports for k in r.numbers}), [r.measures for r in reports if r.measures]
    states = {r.state for r in reports}
    return StageReport(
        stage=reports[0].stage,
        first=min(r.first for r in reports),
        last=max(r.last for r in reports),
        state="refused" if "refused" in states else states.pop() if len(states) == 1 else "done",
        reason="; ".join(dict.fromkeys(r.reason for r in reports if r.reason)),
        rows=sum(r.rows for r in reports),
        numbers={k: sum(r.numbers.get(k, 0.0) for r in reports) for k in names},
        notes=tuple(n for r in reports for n in r.notes),
        links={k: v for r in reports for k, v in r.links.items()},
        measures=measured[0] if len(measured) == 1 else {},
    )
