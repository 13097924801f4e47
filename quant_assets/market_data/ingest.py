"""Captures become bars, actions, listings and quarantine, in the order of their labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.contract import UTC_MICROS, Table
from quant_assets.errors import CaptureUnreadable, ConfigurationError, ContractViolation
from quant_assets.market_data import datasets
from quant_assets.market_data.absorb import Absorbed, Delivery, absorb
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.known import Known
from quant_assets.market_data.observations import Observations, Stamp, remarked
from quant_assets.market_data.retaking import Retaking
from quant_assets.market_data.taken import outstanding
from quant_assets.ports import MarketDataSource, Progress, Store, quiet
from quant_assets.records import Capture, StageReport
from quant_assets.tables import ACTIONS, BARS, CAPTURES, DATA_FINDINGS, LISTINGS, PROPOSED_ACTIONS, QUARANTINE, VERDICTS

CHUNK, ROWS = 250, 200_000  # captures, or rows, that are judged and committed together
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


def ingest(
    source: MarketDataSource,
    store: Store,
    cuts_latest: datetime | None,
    now: datetime,
    labels: Sequence[date],
    calendar: Calendar,
    progress: Progress = quiet,
    evidence: Evidence = EVIDENCE,
) -> StageReport:
    """Take in the captures of `labels`: those never taken in, ascending, then those that were; what says the same as
    then, and what arrives after `now`, is passed over.

    `cuts_latest`: the latest cut that anything has read; what was declared known by then is known at `now`, and so is
    what a label says otherwise than it did (`redelivery`). `evidence`: what must be known before an action that nobody
    declared counts. An unreadable capture is named in the report, which is then `refused`, and the others go on. So it
    is where of rows that came none was kept.
    """
    known = Known(store, source.name, calendar, evidence)
    others = Observations(store)
    stamp = partial(effective, cuts_latest=cuts_latest, now=now)
    numbers = Counter[str]()
    unreadable: list[str] = []
    waiting: list[Delivery] = []

    def settle() -> None:
        if waiting:
            taken = take(known, others, waiting, stamp, calendar)
            _commit(store, known, others, taken.tables)
            numbers.update(taken.numbers)
            waiting.clear()

    todo, rows = sorted(labels), 0
    before = [label for label in todo if label in known.taken]
    known.changed = before
    for i, label in enumerate((label for label in todo if label not in known.taken), 1):
        try:
            capture = source.fetch(label)
        except (CaptureUnreadable, ContractViolation, ConfigurationError) as error:
            unreadable.append(f"{label}: {error}")
            continue
        if capture.known_at <= now:
            waiting.append(Delivery(capture, known_at(capture.known_at, cuts_latest, now, known.moment)))
            known.done(*waiting[-1])
            rows += _size(capture)
        if len(waiting) == CHUNK or rows > ROWS:
            settle()
            rows = 0
        progress(i, len(todo), f"capture {label}")
    settle()
    if before:
        retaking = Retaking(source, store, known.taken, others, calendar, evidence)
        unreadable += _again(retaking, store, known, others, before, cuts_latest, now, numbers, progress)
    nothing = numbers["quarantined"] > 0 and not numbers["kept"]
    state = "refused" if unreadable or nothing else "done" if numbers["captures"] else "empty"
    reason = (
        f"{len(unreadable)} capture(s) unreadable"
        if unreadable
        else f"all {numbers['quarantined']:,} rows were quarantined: `quant quarantine list` says why"
        if nothing
        else ""
    )
    first, last = (todo[0], todo[-1]) if todo else (now.date(), now.date())
    return StageReport(
        stage=f"ingest {source.name}",
        first=first,
        last=last,
        state=state,
        reason=reason,
        rows=int(numbers["bars"] + numbers["observed"]),
        numbers={name: float(numbers[name]) for name in COUNTED},
        notes=tuple(unreadable),
    )


def _size(capture: Capture) -> int:
    """Rows."""
    return capture.prices.height + capture.malformed.height + sum(f.height for f in capture.others.values())


def _again(
    retaking: Retaking,
    store: Store,
    known: Known,
    others: Observations,
    labels: Sequence[date],
    cuts_latest: datetime | None,
    now: datetime,
    numbers: Counter[str],
    progress: Progress,
) -> list[str]:
    """Take in labels of which a delivery was taken in before: all that differs is known at arrival.

    Returns what could not be read, and why.
    """
    batch = list[Mapping[str, pl.DataFrame]]()
    own = list[Mapping[str, object]]()
    wrong: list[str] = []

    def settle() -> None:
        if own:
            names = {name: [b[name] for b in batch if name in b] for name in dict.fromkeys(n for b in batch for n in b)}
            tables = {name: pl.concat(frames) for name, frames in names.items()}
            _commit(store, known, others, {**tables, CAPTURES.name: pl.DataFrame(own, schema=dict(CAPTURES.schema))})
            retaking.committed()
            batch.clear()
            own.clear()

    for i, label in enumerate(labels, 1):
        try:
            again = retaking.take(label, known_at(now, cuts_latest, now, known.moment), now)
        except (CaptureUnreadable, ContractViolation, ConfigurationError) as error:
            wrong.append(f"{label}: {error}")
            continue
        if again:
            rows = again.capture.prices.height
            known.done(again.capture, again.moment)
            own.append(_own(known, Delivery(again.capture, again.moment), rows, again.refused))
            batch.append(again.frames)
            kept = max(_size(again.capture) - again.refused, 0)
            numbers.update(Counter(captures=1, rows=rows, quarantined=again.refused, kept=kept) + Counter(again.counts))
        if len(own) == CHUNK or sum(f.height for b in batch for f in b.values()) > ROWS:
            settle()
        progress(i, len(labels), f"capture {label}, which changed")
    settle()
    return wrong


def pending(source: MarketDataSource, store: Store, last: date) -> list[date]:
    """The labels up to `last`, ascending, of which no delivery was taken in yet, or which say something else than when
    one was.
    """
    return list(outstanding(source, store, last).labels)


def known_at(declared: datetime, cuts_latest: datetime | None, now: datetime, before: datetime | None) -> datetime:
    """When a capture is known: as declared, but at arrival (`now`, and after the cut) where a cut has read past that,
    and after the capture taken in before it.
    """
    behind = cuts_latest is not None and declared <= cuts_latest
    moment = max(now, cuts_latest + timedelta(microseconds=1)) if cuts_latest and behind else declared
    return moment if before is None or moment > before else before + timedelta(microseconds=1)


def take(
    known: Known, others: Observations, deliveries: Sequence[Delivery], stamp: Stamp, calendar: Calendar
) -> Absorbed:
    """What deliveries add to each table: of bars, of other datasets, and the row of each in CAPTURES, which counts what
    its own dataset brought and what was refused of it. `known` and `others` learn it.
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
        for name, said in sorted(capture.others.items()):
            taken = others.take(dataset(name), capture, stamp)
            for table, frame in taken.frames.items():
                tables.setdefault(table, []).append(frame)
            wrong, new = taken.frames[QUARANTINE.name].height, taken.frames[name].height
            numbers += Counter(
                rows=said.height, quarantined=wrong, observed=new, repeated=taken.repeated, kept=new + taken.repeated
            )
            if name == capture.dataset:
                rows, bad = rows + said.height, bad + wrong
        arrived.append(_own(known, Delivery(capture, moment), rows, bad))
    tables[CAPTURES.name] = [pl.DataFrame(arrived, schema=dict(CAPTURES.schema))]
    return Absorbed({name: pl.concat(frames) for name, frames in tables.items()}, numbers)


def _own(known: Known, delivery: Delivery, rows: int, refused: int) -> Mapping[str, object]:
    """The row of a delivery in CAPTURES, which `known` notes."""
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


def effective(declared: pl.Expr, *, cuts_latest: datetime | None, now: datetime) -> pl.Expr:
    """When rows are known: as declared, but at arrival where a cut has read past that; see `known_at`."""
    if cuts_latest is None:
        return declared
    return (
        pl.when(declared <= cuts_latest)
        .then(pl.lit(max(now, cuts_latest + timedelta(microseconds=1)), UTC_MICROS))
        .otherwise(declared)
    )


def _commit(store: Store, known: Known, others: Observations, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write, table by table in `_order`.

    Rows that an interrupted run left there already are recognised by their content, whatever it took for their time.
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
    """A capture counts as taken in once its row in CAPTURES stands: last."""
    return (
        QUARANTINE,
        DATA_FINDINGS,
        VERDICTS,
        *(d.table for d in datasets.DATASETS),
        LISTINGS,
        ACTIONS,
        PROPOSED_ACTIONS,
        BARS,
        CAPTURES,
    )
