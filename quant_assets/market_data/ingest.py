"""Ingest deliveries in the order in which they were known: fetch, absorb, commit.

A delivery becomes bars, actions, listings, observations of other datasets, and quarantined rows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.contract import UTC_MICROS, Table
from quant_assets.errors import CaptureUnreadable, ConfigurationError, ContractViolation
from quant_assets.market_data import datasets
from quant_assets.market_data.absorb import Absorbed, Delivery, absorb
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.delivered import delivered, so_far
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.known import Known
from quant_assets.market_data.observations import Observations, Stamp, remarked
from quant_assets.market_data.retaking import Retaken, Retaking
from quant_assets.market_data.taken import outstanding
from quant_assets.ports import MarketDataSource, Progress, Store, quiet
from quant_assets.records import Capture, StageReport
from quant_assets.tables import ACTIONS, BARS, CAPTURES, DATA_FINDINGS, LISTINGS, PROPOSED_ACTIONS, QUARANTINE, VERDICTS

T = TypeVar("T")
CHUNK, ROWS = 250, 200_000  # deliveries, or rows, that are absorbed and committed together
UNREADABLE = (CaptureUnreadable, ContractViolation, ConfigurationError)
COUNTED = (
    "captures",
    "rows",
    "bars",
    "restated",
    "withdrawn",
    "quarantined",
    "instruments",
    "actions",
    "proposed",
    "observed",
    "repeated",
    "kept",
)


@dataclass(frozen=True)
class Arrival:
    """The time `now`, at which deliveries arrive, and the latest cut that anything has read."""

    now: datetime
    cuts_latest: datetime | None

    def known_at(self, declared: datetime, before: datetime | None) -> datetime:
        """When a delivery is known; see `known_at`."""
        return known_at(declared, self.cuts_latest, self.now, before)

    def effective(self, declared: pl.Expr) -> pl.Expr:
        """When rows are known: as declared; at arrival if a cut has read past that."""
        if self.cuts_latest is None:
            return declared
        arrived = pl.lit(max(self.now, self.cuts_latest + timedelta(microseconds=1)), UTC_MICROS)
        return pl.when(declared <= self.cuts_latest).then(arrived).otherwise(declared)


def ingest(
    source: MarketDataSource,
    store: Store,
    cuts_latest: datetime | None,
    now: datetime,
    labels: Sequence[date],
    calendar: Calendar,
    progress: Progress = quiet,
    evidence: Evidence = EVIDENCE,
    beyond: date | None = None,
) -> StageReport:
    """Ingest the deliveries of `labels`: new labels first, as they arrived, then labels ingested before, ascending. Of
    the label `beyond` no bars are ingested.

    A delivery that is unchanged, or that arrives after `now`, is skipped. `cuts_latest`: the latest cut that anything
    has read; a row declared known by then is known at `now`, and so is each difference of a label ingested before
    (`redelivery`). `evidence`: what a derived action needs before it counts. The report is `refused` if a delivery
    cannot be read (it is named in the notes; the others are ingested), or if all rows were quarantined.
    """
    arrival = Arrival(now, cuts_latest)
    known, others = Known(store, source.name, calendar, evidence), Observations(store)
    todo = sorted(labels)
    changed = known.changed = [label for label in todo if label in known.taken]
    fresh = [label for label in todo if label not in known.taken]
    numbers, unreadable = Counter[str](), list[str]()
    fetched = _fetched(source, fresh, arrival, unreadable, calendar, progress, beyond)
    for run, captures in groupby(_by_runs(in_order(fetched)), key=itemgetter(0)):
        if run:  # it meets what is stored, as it would have if nothing had been ingested with it
            known, others = Known(store, source.name, calendar, evidence), Observations(store)
            known.changed = changed
        for batch in _batches(_known(known, arrival, captures), lambda d: _size(d.capture)):
            absorbed = take(known, others, batch, arrival.effective, calendar)
            _commit(store, known, others, absorbed.tables)
            numbers.update(absorbed.numbers)
    if known.changed:
        retaking = Retaking(source, store, known.taken, others, calendar, evidence)
        for again in _batches(_fetched_again(retaking, known, arrival, unreadable, progress), lambda a: a.size):
            _commit(store, known, others, _tables(again))
            retaking.committed()
            for one in again:
                numbers.update(one.numbers)
    return _report(source.name, todo, now, numbers, unreadable)


def _batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in batches: a batch ends with CHUNK items, or when it holds more than ROWS rows."""
    batch, rows = list[T](), 0
    for item in items:
        batch.append(item)
        rows += size(item)
        if len(batch) == CHUNK or rows > ROWS:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def in_order(captures: Iterable[Capture]) -> Iterator[Capture]:
    """Deliveries in the order in which they were known: one that the next overtook comes after it."""
    held: list[Capture] = []
    for capture in captures:
        yield from sorted((h for h in held if h.known_at <= capture.known_at), key=lambda h: h.known_at)
        held = [*(h for h in held if h.known_at > capture.known_at), capture]
    yield from sorted(held, key=lambda h: h.known_at)


def _by_runs(captures: Iterable[Capture]) -> Iterator[tuple[int, Capture]]:
    """The deliveries, each with the number of its run: one that was overtaken is a run of its own."""
    run, highest, behind = 0, date.min, False
    for capture in captures:
        was, behind = behind, capture.label < highest
        run, highest = run + (was or behind), max(highest, capture.label)
        yield run, capture


def _known(known: Known, arrival: Arrival, captures: Iterable[tuple[int, Capture]]) -> Iterator[Delivery]:
    """Each delivery with when it is known; `known` learns that it came."""
    for _, capture in captures:
        delivery = Delivery(capture, arrival.known_at(capture.known_at, known.moment))
        known.done(*delivery)
        yield delivery


def _fetched(
    source: MarketDataSource,
    labels: Sequence[date],
    arrival: Arrival,
    unreadable: list[str],
    calendar: Calendar,
    progress: Progress,
    beyond: date | None,
) -> Iterator[Capture]:
    """The deliveries of new labels that have arrived; `unreadable` collects those that cannot be read. Of `beyond`, of
    which nothing may have come yet, no error counts.
    """
    for i, label in enumerate(labels, 1):
        try:
            capture = delivered(source, label, calendar)
        except UNREADABLE as error:
            unreadable += [f"{label}: {error}"] if label != beyond else []
            continue
        if label == beyond and capture.dataset == BARS.name:
            continue
        if arrived := so_far(capture, arrival.now):
            yield arrived
        progress(i, len(labels), f"delivery {label}")


@dataclass(frozen=True)
class _Again:
    """What a label ingested before adds, with its row of CAPTURES."""

    retaken: Retaken
    own: Mapping[str, object]

    @property
    def size(self) -> int:
        """Rows to write."""
        return sum(f.height for f in self.retaken.frames.values())

    @property
    def numbers(self) -> Counter[str]:
        """Rows by what became of them."""
        rows, refused = self.retaken.capture.prices.height, self.retaken.refused
        kept = max(_size(self.retaken.capture) - refused, 0)
        return Counter(captures=1, rows=rows, quarantined=refused, kept=kept) + Counter(self.retaken.counts)


def _fetched_again(
    retaking: Retaking, known: Known, arrival: Arrival, unreadable: list[str], progress: Progress
) -> Iterator[_Again]:
    """What differs in labels ingested before, known at arrival; `unreadable` collects those that cannot be read."""
    for i, label in enumerate(known.changed, 1):
        try:
            retaken = retaking.take(label, arrival.known_at(arrival.now, known.moment), arrival.now, arrival.effective)
        except UNREADABLE as error:
            unreadable.append(f"{label}: {error}")
            continue
        if retaken:
            known.done(retaken.capture, retaken.moment)
            delivery = Delivery(retaken.capture, retaken.moment)
            yield _Again(retaken, _own(known, delivery, retaken.capture.prices.height, retaken.refused))
        progress(i, len(known.changed), f"delivery {label}, which changed")


def _tables(again: Sequence[_Again]) -> Mapping[str, pl.DataFrame]:
    """The rows to write by table, the deliveries' own rows included."""
    frames: dict[str, list[pl.DataFrame]] = {}
    for one in again:
        for name, frame in one.retaken.frames.items():
            frames.setdefault(name, []).append(frame)
    own = pl.DataFrame([one.own for one in again], schema=dict(CAPTURES.schema))
    return {**{name: pl.concat(some) for name, some in frames.items()}, CAPTURES.name: own}


def _report(
    source: str, todo: Sequence[date], now: datetime, numbers: Counter[str], unreadable: Sequence[str]
) -> StageReport:
    """The report of an ingest."""
    nothing = numbers["quarantined"] > 0 and not numbers["kept"]
    reason = (
        f"{len(unreadable)} capture(s) unreadable"
        if unreadable
        else f"all {numbers['quarantined']:,} rows were quarantined: `quant quarantine list` shows why"
        if nothing
        else ""
    )
    first, last = (todo[0], todo[-1]) if todo else (now.date(), now.date())
    return StageReport(
        stage=f"ingest {source}",
        first=first,
        last=last,
        state="refused" if reason else "done" if numbers["captures"] else "empty",
        reason=reason,
        rows=int(numbers["bars"] + numbers["observed"]),
        numbers={name: float(numbers[name]) for name in COUNTED},
        notes=tuple(unreadable),
    )


def _size(capture: Capture) -> int:
    """Rows."""
    return capture.prices.height + capture.malformed.height + sum(f.height for f in capture.others.values())


def pending(source: MarketDataSource, store: Store, last: date) -> list[date]:
    """The labels up to `last`, ascending, that were never ingested, or whose content changed since."""
    return list(outstanding(source, store, last).labels)


def known_at(declared: datetime, cuts_latest: datetime | None, now: datetime, before: datetime | None) -> datetime:
    """When a delivery is known: as declared; at arrival (`now`, and after the cut) if a cut has read past that.

    Always later than `before`, when the delivery ingested before it is known.
    """
    behind = cuts_latest is not None and declared <= cuts_latest
    moment = max(now, cuts_latest + timedelta(microseconds=1)) if cuts_latest and behind else declared
    return moment if before is None or moment > before else before + timedelta(microseconds=1)


def take(
    known: Known, others: Observations, deliveries: Sequence[Delivery], stamp: Stamp, calendar: Calendar
) -> Absorbed:
    """What deliveries add to each table: bars, other datasets, and a row of CAPTURES for each delivery.

    The row of CAPTURES counts the rows of the delivery's own dataset, and those refused. `known` and `others` learn it.
    """
    barred = [d for d in deliveries if d.capture.dataset == BARS.name]
    absorbed = absorb(known, barred, calendar) if barred else Absorbed({}, Counter())
    tables = {name: [frame] for name, frame in absorbed.tables.items()}
    numbers = absorbed.numbers + Counter(captures=len(deliveries))
    refused = Counter(tables[QUARANTINE.name][0]["capture"].to_list()) if barred else Counter[date]()
    arrived = list[Mapping[str, object]]()
    for capture, moment in deliveries:
        rows, bad = capture.prices.height, refused[capture.label]
        numbers += Counter(rows=rows, quarantined=bad)
        if capture.remarks is not None:
            tables.setdefault(DATA_FINDINGS.name, []).append(remarked(capture, moment))
        for name, given in sorted(capture.others.items()):
            taken = others.take(dataset(name), capture, stamp)
            for table, frame in taken.frames.items():
                tables.setdefault(table, []).append(frame)
            wrong, new = taken.frames[QUARANTINE.name].height, taken.frames[name].height
            numbers += Counter(
                rows=given.height, quarantined=wrong, observed=new, repeated=taken.repeated, kept=new + taken.repeated
            )
            if name == capture.dataset:
                rows, bad = rows + given.height, bad + wrong
        arrived.append(_own(known, Delivery(capture, moment), rows, bad))
    tables[CAPTURES.name] = [pl.DataFrame(arrived, schema=dict(CAPTURES.schema))]
    return Absorbed({name: pl.concat(frames) for name, frames in tables.items()}, numbers)


def _own(known: Known, delivery: Delivery, rows: int, refused: int) -> Mapping[str, object]:
    """The row of a delivery in CAPTURES; `known` learns it."""
    capture, moment = delivery
    row = {
        "source": capture.source,
        "capture": capture.label,
        "dataset": capture.dataset,
        "location": capture.location,
        "sha256": known.taken.sha256(capture),
        "rows": rows,
        "quarantined": refused,
        "assumed": capture.assumed,
        "known_at": moment,
        "declared_known_at": capture.known_at,
        "fingerprint": capture.fingerprint,
    }
    known.taken.note(row)
    return row


def _commit(store: Store, known: Known, others: Observations, tables: Mapping[str, pl.DataFrame]) -> None:
    """Append the rows, table by table in `_order`.

    Rows that an interrupted run has written are recognised by their content, whatever their time, and not appended.
    """
    for table in _order():
        if (rows := tables.get(table.name)) is None:
            continue
        if table.name in known.unfinished:
            content = [c for c in table.schema if c != "known_at"]
            rows = rows.join(known.unfinished[table.name], on=content, how="anti", nulls_equal=True)
        store.append(table, rows)
    known.committed()
    others.committed()


def _order() -> tuple[Table, ...]:
    """CAPTURES comes last: a delivery is ingested once its row there is stored."""
    return (
        QUARANTINE,
        DATA_FINDINGS,
        VERDICTS,
        *(d.table for d in datasets.datasets()),
        LISTINGS,
        ACTIONS,
        PROPOSED_ACTIONS,
        BARS,
        CAPTURES,
    )
