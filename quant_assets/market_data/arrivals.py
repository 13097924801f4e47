"""Ingest every outstanding delivery of a source: new or changed. A notification lists what could not be read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
import polars as pl

from quant_assets.calendars import Calendar, Cuts
from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CalendarUnknown, CaptureUnreadable, ConfigurationError, ContractViolation
from quant_assets.frames import span
from quant_assets.market_data.announced import Announced, announce
from quant_assets.market_data.cross_check import cross_check
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.restatements import watching
from quant_assets.market_data.taken import ABSENT, outstanding
from quant_assets.market_data.vendors import BESIDE, Vendor
from quant_assets.ports import Clock, KnowledgeLog, MarketDataSource, Notifier, PartlyRead, Progress, Store, quiet
from quant_assets.records import StageReport
from quant_assets.stopping import undivided
from quant_assets.tables import CAPTURES
from quant_assets.vendor_tables import ANNOUNCEMENTS

SHOWN = 3  # notes in a notification


@dataclass(frozen=True)
class Shared:
    """Sources, by their `names`, that several lanes read: of datasets that are of no market, such as rates, and those
    of a market whose bars features of another one read. Each of these lanes ingests them before it decides, into the
    same `store`, on the market's own `calendar`. `latest`: the latest cut at which any of them read.
    """

    names: frozenset[str]
    store: Store
    calendar: Calendar
    latest: Callable[[], datetime | None]


def arrivals(
    source: MarketDataSource,
    store: Store,
    notifier: Notifier,
    cuts_latest: datetime | None,
    now: datetime,
    last: date,
    calendar: Calendar,
    progress: Progress = quiet,
    evidence: Evidence = EVIDENCE,
) -> StageReport:
    """Ingest every outstanding delivery up to `last`, and notify if one cannot be read: the report is then `refused`.

    A source that cannot be read at all, or whose columns are not the declared ones, gives a refused report and no
    error: the sources after it are ingested. A delivery that has disappeared is reported once; its rows stay in force.
    """
    absent: list[date] = []
    try:
        found = outstanding(source, store, last)
        absent = list(found.absent)
        report = ingest(source, store, cuts_latest, now, found.labels, calendar, progress, evidence, found.beyond)
        unread = source.unread if isinstance(source, PartlyRead) else ()
        notes = [*report.notes, *unread, *_missed(store, source, absent, now)]
    except (CaptureUnreadable, ContractViolation, ConfigurationError, CalendarUnknown) as error:
        report, notes = StageReport(stage=f"ingest {source.name}", first=last, last=last, state="refused"), [str(error)]
    if not notes and report.state != "refused":
        return report
    reason = report.reason or notes[0]
    notifier.notify(
        "warning",
        f"{source.name}: {len(notes)} delivery(s) could not be ingested" if notes else f"{source.name}: {reason}",
        "; ".join(notes[:SHOWN]),
    )
    return msgspec.structs.replace(report, state="refused", reason=reason, notes=tuple(notes))


def _missed(store: Store, source: MarketDataSource, absent: Sequence[date], now: datetime) -> list[str]:
    """Notes on deliveries that have disappeared since the last ingest.

    The loss is recorded in CAPTURES, so each note is sent once.
    """
    rows = store.read(CAPTURES, as_of=None, where={"source": source.name})
    latest = (
        rows.filter(pl.col("capture").is_in(absent))
        .sort("capture", "known_at")
        .unique("capture", keep="last", maintain_order=True)
    )
    fresh = latest.filter(~pl.col("sha256").str.ends_with(ABSENT))
    if fresh.is_empty():
        return []
    _, last = span(rows["known_at"], datetime)
    after = pl.lit(max(now, last + timedelta(microseconds=1)), UTC_MICROS)
    known_at = after + pl.duration(microseconds=pl.int_range(pl.len()))
    store.append(CAPTURES, fresh.with_columns(pl.col("sha256") + ABSENT, known_at=known_at))
    first, final = fresh["capture"][0], fresh["capture"][-1]
    return [f"{fresh.height} ingested delivery(s) have disappeared, {first} to {final}; their rows stay in force"]


def ingest_deliveries(
    sources: Sequence[MarketDataSource],
    store: Store,
    knowledge: KnowledgeLog,
    clock: Clock,
    notifier: Notifier,
    cuts: Cuts,
    sessions: Sequence[date],
    evidence: Evidence = EVIDENCE,
    progress: Progress = quiet,
    vendors: Sequence[Vendor] = (),
    announced: Announced | None = None,
    shared: Sequence[Shared] = (),
    market: Store | None = None,
) -> Iterator[StageReport]:
    """Ingest every delivery up to the last of `sessions` that has arrived by now; a report for each of `sources`, one
    of what was `announced` and one of the comparison with other `vendors`, if their sources are among them.

    `market`: the tables with the rows of its market alone, where `store` shows names of others too.

    A notification is sent if rows changed on which sessions were decided.
    """
    last, now, before = max(sessions), clock.now(), knowledge.latest_cut()
    store = store if market is None else market
    # what instruments and deliveries are known is held in memory from one delivery to the next
    with undivided(), watching(store, cuts, notifier, last):
        for source in sources:
            group = next((g for g in shared if source.name in g.names), None)
            where, hours = (group.store, group.calendar) if group else (store, cuts.calendar)
            latest = group.latest() if group else knowledge.latest_cut()
            # elsewhere there may be sessions between the last one here and its cut
            until = max(last, cuts.of(last).date()) if group else last
            yield arrivals(source, where, notifier, latest, now, until, hours, progress, evidence)
        if announced and any(source.name.startswith(f"{ANNOUNCEMENTS.name}/") for source in sources):
            yield announce(store, knowledge, cuts, announced, before, now, last)
        if vendors and any(source.name.startswith(BESIDE) for source in sources):
            yield cross_check(store, knowledge, cuts, vendors, before, now, last)
