"""Captures become bars, actions, listings and quarantine, in the order of their labels."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial

import polars as pl

from quant_assets.contract import UTC_MICROS, Table
from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data import actions, datasets, listings, proposals
from quant_assets.market_data.calendars import Calendar
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.derivation import PROPOSAL, Derived, derive, pairs
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.identity import REUSE_AFTER, Identified, identify
from quant_assets.market_data.known import SAYS, Known
from quant_assets.market_data.observations import Observations, Stamp, turned_away
from quant_assets.market_data.retaking import Retaking
from quant_assets.market_data.screening import screen
from quant_assets.market_data.taken import outstanding
from quant_assets.ports import MarketDataSource, Progress, Store, quiet
from quant_assets.records import Capture, StageReport
from quant_assets.tables import (
    ACTIONS,
    BARS,
    CAPTURES,
    DATA_FINDINGS,
    LISTINGS,
    PROPOSED_ACTIONS,
    QUARANTINE,
    VERDICTS,
)

CHUNK, ROWS = 40, 2_000_000  # captures, or rows, per commit
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
)
Absorbed = dict[str, pl.DataFrame]  # by table name


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
    """Take in the captures of `labels`: those never taken in, ascending, then those that were; what says the same as then, and what arrives after `now`, is passed over.

    `cuts_latest`: the latest cut that anything has read; what was declared known by then is known at `now`, and so is what a
    label says otherwise than it did (`redelivery`). `evidence`: what must be known before an action that nobody declared
    counts. An unreadable capture is named in the report, which is then `refused`, and the others go on.
    """
    known = Known(store, source.name, calendar, evidence)
    others = Observations(store)
    batch: list[Absorbed] = []
    numbers: dict[str, float] = dict.fromkeys(COUNTED, 0.0)
    unreadable: list[str] = []
    todo = sorted(labels)
    before = [label for label in todo if label in known.taken]
    known.changed = before
    for i, label in enumerate((label for label in todo if label not in known.taken), 1):
        try:
            capture = source.fetch(label)
        except CaptureUnreadable as error:
            unreadable.append(f"{label}: {error}")
            continue
        if capture.known_at <= now:
            moment = known_at(capture.known_at, cuts_latest, now, known.moment)
            absorbed = (
                absorb(known, capture, moment, calendar, numbers)
                if capture.dataset == BARS.name
                else arrived(known, capture, moment, numbers)
            )
            batch.append(
                observe(others, capture, absorbed, partial(effective, cuts_latest=cuts_latest, now=now), numbers)
            )
        if len(batch) == CHUNK or sum(f.height for b in batch for f in b.values()) > ROWS:
            _commit(store, known, others, batch)
            batch.clear()
        progress(i, len(todo), f"capture {label}")
    _commit(store, known, others, batch)
    if before:
        retaking = Retaking(source, store, known.taken, others, calendar, evidence)
        unreadable += _again(retaking, store, known, others, before, cuts_latest, now, numbers, progress)
    state = "refused" if unreadable else "done" if numbers["captures"] else "empty"
    reason = f"{len(unreadable)} capture(s) unreadable" if unreadable else ""
    first, last = (todo[0], todo[-1]) if todo else (now.date(), now.date())
    return StageReport(
        stage=f"ingest {source.name}",
        first=first,
        last=last,
        state=state,
        reason=reason,
        rows=int(numbers["bars"] + numbers["observed"]),
        numbers=numbers,
        notes=tuple(unreadable),
    )


def _again(
    retaking: Retaking,
    store: Store,
    known: Known,
    others: Observations,
    labels: Sequence[date],
    cuts_latest: datetime | None,
    now: datetime,
    numbers: dict[str, float],
    progress: Progress,
) -> list[str]:
    """Take in labels of which a delivery was taken in before: all that differs is known at arrival. Returns what could not be read, and why."""
    batch: list[Absorbed] = []
    wrong: list[str] = []
    for i, label in enumerate(labels, 1):
        try:
            again = retaking.take(label, known_at(now, cuts_latest, now, known.moment), now)
        except CaptureUnreadable as error:
            wrong.append(f"{label}: {error}")
            continue
        if again:
            own = arrived(known, again.capture, again.moment, numbers, refused=again.refused)
            batch.append({**again.frames, **own})
            for name, n in again.counts.items():
                numbers[name] += n
        if len(batch) == CHUNK or sum(f.height for b in batch for f in b.values()) > ROWS:
            _commit(store, known, others, batch)
            retaking.committed()
            batch.clear()
        progress(i, len(labels), f"capture {label}, which changed")
    _commit(store, known, others, batch)
    return wrong


def pending(source: MarketDataSource, store: Store, last: date) -> list[date]:
    """The labels up to `last`, ascending, of which no delivery was taken in yet, or which say something else than when one was."""
    return list(outstanding(source, store, last).labels)


def known_at(declared: datetime, cuts_latest: datetime | None, now: datetime, before: datetime | None) -> datetime:
    """When a capture is known: as declared, but at arrival (`now`, and after the cut) where a cut has read past that, and after the capture taken in before it."""
    behind = cuts_latest is not None and declared <= cuts_latest
    moment = max(now, cuts_latest + timedelta(microseconds=1)) if cuts_latest and behind else declared
    return moment if before is None or moment > before else before + timedelta(microseconds=1)


def absorb(known: Known, capture: Capture, moment: datetime, calendar: Calendar, numbers: dict[str, float]) -> Absorbed:
    """What one capture adds to each table, given what is known; `known` learns it, `numbers` count it."""
    origin = {"source": capture.source, "capture": capture.label}
    stamp = {"known_at": moment, "declared_known_at": capture.known_at}
    day = calendar.on_or_before(capture.label)
    rows, rejected = screen(capture, calendar)
    sessions = rows["session"].unique().sort().to_list()
    standing = pl.concat([known.days(day, day).clear(), *(known.day(s) for s in sessions)])
    assigned = _identify(known, capture, rows, standing, day, calendar)
    rows = rows.join(assigned.assigned.select("symbol", "sid"), on="symbol", maintain_order="left")

    bars = _versions(rows, standing, assigned)
    if (
        capture.assumed
    ):  # what it says of sessions whose own label changed was not known when it is assumed to have been
        bars = bars.filter((pl.col("session") == day) | ~pl.col("session").is_in(known.changed))
    known.learn(BARS, bars)
    changed = listings.changes(known, assigned, rows, standing, capture.listings, capture.label, calendar)
    listed = changed.drop("event").with_columns(capture=pl.lit(capture.label), known_at=pl.lit(moment))
    known.learn(LISTINGS, listed)
    (given, unexplained, unsure), evidence = _actions(known, capture, rows, calendar)
    happened, wrong = listings.events(known, changed, given, rows)
    told = actions.news(
        pl.concat([given, happened], how="diagonal"),
        evidence,
        known.actions,
        unsure.select(proposals.SUBJECT),
        proposals.rejected(known.proposals),
    )
    news = pl.concat([told, wrong]).unique(actions.KEY, keep="first", maintain_order=True)
    held = {"dataset": capture.dataset, "state": "held", "by": None, "note": None}

    def stamped_as(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            **{k: pl.lit(v) for k, v in {**origin, **stamp, **(held if table is QUARANTINE else {})}.items()}
        )

    stamped = {
        t.name: stamped_as(t, f)
        for t, f in ((BARS, bars), (ACTIONS, news), (QUARANTINE, pl.concat([rejected, unexplained])))
    }
    known.learn(ACTIONS, stamped[ACTIONS.name])
    asked = stamped_as(PROPOSED_ACTIONS, proposals.news(unsure, evidence, known.proposals, known.actions))
    known.learn(PROPOSED_ACTIONS, asked)
    stamped[PROPOSED_ACTIONS.name] = asked
    quarantine = stamped[QUARANTINE.name]
    restated = bars.join(standing, on=["sid", "session"], how="semi").height
    for name, n in {
        "bars": bars.height,
        "restated": restated,
        "actions": news.height,
        "proposed": proposals.opened(asked).height,
        "instruments": assigned.of("new", "replaced", "reused").height,
    }.items():
        numbers[name] += n
    frames = {**stamped, DATA_FINDINGS.name: turned_away(quarantine), LISTINGS.name: listed}
    conformed = {
        t.name: frames[t.name].select(pl.col(c).cast(d) for c, d in t.schema.items())
        for t in _order()
        if t.name in frames
    }
    return conformed | arrived(known, capture, moment, numbers, refused=quarantine.height)


def arrived(
    known: Known, capture: Capture, moment: datetime, numbers: dict[str, float], *, refused: int = 0
) -> Absorbed:
    """The capture's own row, with `refused` of its rows in quarantine; `known` marks it as absorbed."""
    taken = {
        "source": capture.source, "capture": capture.label, "dataset": capture.dataset, "location": capture.location, "sha256": known.taken.sha256(capture), "rows": capture.prices.height,
        "quarantined": refused, "assumed": capture.assumed, "known_at": moment, "declared_known_at": capture.known_at, "fingerprint": capture.fingerprint,
    }  # fmt: skip
    known.done(capture, moment)
    known.taken.note(taken)
    for name, n in {"captures": 1, "rows": capture.prices.height, "quarantined": refused}.items():
        numbers[name] += n
    return {CAPTURES.name: pl.DataFrame([taken], schema=dict(CAPTURES.schema))}


def observe(
    others: Observations, capture: Capture, absorbed: Absorbed, stamp: Stamp, numbers: dict[str, float]
) -> Absorbed:
    """`absorbed`, and what the capture says of other datasets; its own row counts those of the dataset that it is of, so that the share refused is that dataset's."""
    for name, rows in sorted(capture.others.items()):
        taken = others.take(dataset(name), capture, stamp)
        absorbed = absorbed | {t: pl.concat([absorbed[t], f]) if t in absorbed else f for t, f in taken.frames.items()}
        refused = taken.frames[QUARANTINE.name].height
        if name == capture.dataset:
            absorbed[CAPTURES.name] = absorbed[CAPTURES.name].with_columns(
                rows=pl.col("rows") + rows.height, quarantined=pl.col("quarantined") + refused
            )
        for counted, n in {
            "rows": rows.height,
            "quarantined": refused,
            "observed": taken.frames[name].height,
            "repeated": taken.repeated,
        }.items():
            numbers[counted] += n
    return absorbed


def effective(declared: pl.Expr, *, cuts_latest: datetime | None, now: datetime) -> pl.Expr:
    """When rows are known: as declared, but at arrival where a cut has read past that; see `known_at`."""
    if cuts_latest is None:
        return declared
    return (
        pl.when(declared <= cuts_latest)
        .then(pl.lit(max(now, cuts_latest + timedelta(microseconds=1)), UTC_MICROS))
        .otherwise(declared)
    )


def _identify(
    known: Known, capture: Capture, rows: pl.DataFrame, standing: pl.DataFrame, day: date, calendar: Calendar
) -> Identified:
    names = capture.listings
    if names is not None:
        # where a vendor lists a symbol under several names, the one it is known by counts, else the first by name
        known_names = known.instruments.select("symbol", "name").unique().with_columns(held=pl.lit(value=True))
        names = (
            names.join(known_names, on=["symbol", "name"], how="left")
            .sort("symbol", "held", "name", nulls_last=True)
            .unique("symbol", keep="first", maintain_order=True)
            .drop("held")
        )
    first: date = min(rows["session"].min() or day, day)  # pyright: ignore[reportArgumentType, reportAssignmentType]  # a Series' bounds are typed by no dtype
    recent = known.days(calendar.shift(first, -REUSE_AFTER), day).filter(~pl.col("withdrawn"))["sid"].unique()
    overlap = standing.filter(~pl.col("withdrawn")).select("sid", "session", "close")
    declared = (pl.col("kind") == "delisting") & (pl.col("origin") == "declared") & ~pl.col("withdrawn")
    delisted = known.actions.filter(declared).group_by("sid").agg(ended=pl.col("session").max())
    return identify(
        rows, names, known.instruments, overlap, recent, delisted, known.last_session, capture.label, calendar
    )


def _versions(rows: pl.DataFrame, standing: pl.DataFrame, assigned: Identified) -> pl.DataFrame:
    """New versions of bars: rows that say something new, and the withdrawal of those filed under an instrument that a symbol does not mean any more."""
    latest = standing.rename({c: f"was_{c}" for c in SAYS})
    joined = rows.join(latest, on=["sid", "session"], how="left", maintain_order="left")
    changed = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"was_{c}")) for c in SAYS) | pl.col("withdrawn")
    new = joined.filter(changed).with_columns(withdrawn=pl.lit(value=False)).select(*rows.columns, "withdrawn")
    replaced = rows.join(assigned.of("replaced").select("symbol", "old_sid"), on="symbol")
    if replaced.is_empty():
        return new
    standing = standing.join(
        rows, on=["sid", "session"], how="anti"
    )  # unless it is filed under that instrument again, by its new symbol
    gone = standing.filter(~pl.col("withdrawn")).join(
        replaced.select("session", "file", "line", sid="old_sid"), on=["sid", "session"]
    )
    return pl.concat(
        [new, gone.with_columns(adj_close=pl.lit(None, pl.Float64), withdrawn=pl.lit(value=True)).select(new.columns)]
    )


def _actions(known: Known, capture: Capture, rows: pl.DataFrame, calendar: Calendar) -> tuple[Derived, pl.DataFrame]:
    """The capture's actions, what could not be explained and what is not sure; and the evidence they were derived from. A vendor that declares actions is taken at its word."""
    evidence = pairs(rows, calendar)
    if capture.actions is None:
        return derive(evidence, known.evidence), evidence
    holders = known.instruments.sort("listed", "known_at", "sid").unique("symbol", keep="last").select("symbol", "sid")
    given, rejected = actions.declared(capture.actions, holders)
    nothing = pl.DataFrame(schema={c: PROPOSED_ACTIONS.schema[c] for c in PROPOSAL})
    return Derived(given, rejected, nothing), evidence.clear()


def _commit(store: Store, known: Known, others: Observations, batch: Sequence[Absorbed]) -> None:
    """Write a batch, table by table in `_order`. Rows that an interrupted run left there already are recognised by their content, whatever it took for their time."""
    for table in _order() if batch else ():
        parts = [p[table.name] for p in batch if table.name in p]
        if not parts:
            continue
        rows = pl.concat(parts)
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
