"""Announcements become actions, where the deployment declares what a vendor's words mean.

At each cut the announcements in force (ANNOUNCEMENTS) that are confirmed, of a kind that is declared, and whose symbol
means an instrument in their ex-session as known then, are actions of origin `announced`, known at that cut. One that is
changed, moved to another day or withdrawn changes or withdraws its action. What a source declares or a person confirmed
stays; what was derived from prices gives way, and each contradiction is a finding.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple

import polars as pl
from msgspec import Meta

from quant_assets.calendars import Cuts
from quant_assets.contract import UTC_MICROS, Table, known_by
from quant_assets.currencies import paid_in
from quant_assets.market_data.actions import COLUMNS
from quant_assets.market_data.adjustment import ADJUSTING, SPLITS
from quant_assets.market_data.proposals import opened
from quant_assets.market_data.securities import canonical, resolve
from quant_assets.ports import KnowledgeLog, Store
from quant_assets.records import Currency, Frozen, StageReport
from quant_assets.tables import ACTIONS, DATA_FINDINGS, LISTINGS, PROPOSED_ACTIONS
from quant_assets.vendor_tables import ANNOUNCEMENTS

ORIGIN = "announced"
LARGEST = 1_000_000  # of a ratio's numbers; more is a typing error
EVENT = ("event_id", "symbol", "venue")
Kind = Literal["split", "stock_dividend", "bonus", "dividend"]
Subject = tuple[int, date, str]


class Announced(Frozen, frozen=True, forbid_unknown_fields=True):
    """What the words of announcements mean; a kind or a status that is not named makes no action.

    A ratio of split and stock_dividend is shares after for shares before, of bonus additional shares for shares held.
    """

    kinds: Annotated[
        Mapping[str, Kind],
        Meta(description="What a vendor's kind is: split, stock_dividend, bonus (additional shares) or dividend."),
    ]
    confirmed: Annotated[
        tuple[str, ...], Meta(min_length=1, description="The vendor's words for an event that is sure to happen.")
    ] = ("confirmed",)
    venues: Annotated[
        tuple[str, ...], Meta(description="The venues whose listings are ours; without one, all are.")
    ] = ()
    confidence: Annotated[float, Meta(gt=0, le=1, description="How far such an action is believed.")] = 1.0
    currency: Annotated[Currency, Meta(description="Of the dividends that are booked; others are findings.")] = "USD"


class Terms(NamedTuple):
    """What an action is: shares after for shares before, or cash a share; and the row that it comes from."""

    numerator: int | None
    denominator: int | None
    cash: Decimal | None
    place: Mapping[str, Any]

    @property
    def alone(self) -> tuple[int | None, int | None, Decimal | None]:
        """The terms alone."""
        return self.numerator, self.denominator, self.cash

    @property
    def size(self) -> float:
        """Shares after for one before, or cash a share."""
        return float(self.cash) if self.cash is not None else (self.numerator or 0) / (self.denominator or 1)


class News(NamedTuple):
    """Rows to write: of ACTIONS, PROPOSED_ACTIONS and DATA_FINDINGS."""

    actions: pl.DataFrame
    proposals: pl.DataFrame
    findings: pl.DataFrame


def announce(
    store: Store,
    knowledge: KnowledgeLog,
    cuts: Cuts,
    announced: Announced,
    after: datetime | None,
    now: datetime,
    last: date,
) -> StageReport:
    """Make actions of what is announced, at each cut later than `after` up to that of session `last`, and store them.

    What is written counts as a cut that was read.
    """
    last = cuts.calendar.on_or_before(last)
    until = min(cuts.of(last), now)
    events, listings = store.read(ANNOUNCEMENTS, as_of=until), store.read(LISTINGS, as_of=until)
    moments = _moments(events, listings, cuts, after, until, last)
    actions, proposals = store.read(ACTIONS, as_of=until), store.read(PROPOSED_ACTIONS, as_of=until)
    findings = store.read(DATA_FINDINGS, as_of=None, where={"table": ACTIONS.name})
    parts: list[News] = []
    for moment in moments:
        found = news(events, listings, actions, proposals, announced, moment)
        content = [c for c in DATA_FINDINGS.schema if c != "known_at"]
        found = found._replace(findings=found.findings.join(findings, on=content, how="anti", nulls_equal=True))
        actions, proposals = pl.concat([actions, found.actions]), pl.concat([proposals, found.proposals])
        findings = pl.concat([findings, found.findings])
        parts.append(found)
    if any(f.height for part in parts for f in part):
        knowledge.note_cut(moments[-1])
    for part in parts:
        store.append(DATA_FINDINGS, part.findings)
        store.append(PROPOSED_ACTIONS, part.proposals)
        store.append(ACTIONS, part.actions)
    written = sum(p.actions.height for p in parts)
    return StageReport(
        stage="announced actions",
        first=last,
        last=last,
        state="done" if written else "empty",
        rows=written,
        numbers={"announced": float(written), "announced_findings": float(sum(p.findings.height for p in parts))},
    )


def _moments(
    events: pl.DataFrame, listings: pl.DataFrame, cuts: Cuts, after: datetime | None, until: datetime, last: date
) -> list[datetime]:
    """The cuts at which an announcement, or a listing of a symbol that is announced, is known for the first time."""
    if events.is_empty():
        return []
    names = events.select(key=canonical()).unique()
    listed = listings.with_columns(key=canonical()).join(names, on="key", how="semi").select("known_at")
    new = pl.concat([events.select("known_at"), listed]).unique().sort("known_at")
    if after is not None:
        new = new.filter(pl.col("known_at") > after)
    if new.is_empty():
        return []
    first = cuts.calendar.on_or_before(min(new["known_at"][0].date(), last))
    frame = cuts.frame(cuts.calendar.shift(first, -1), last).select(cut=pl.col("cut").cast(UTC_MICROS)).sort("cut")
    found = new.join_asof(frame, left_on="known_at", right_on="cut", strategy="forward")["cut"].drop_nulls()
    return [c for c in found.unique().sort() if c <= until]


def news(
    events: pl.DataFrame,
    listings: pl.DataFrame,
    actions: pl.DataFrame,
    proposals: pl.DataFrame,
    announced: Announced,
    cut: datetime,
) -> News:
    """What changes at a cut, given all versions of the tables that are known by it."""
    wanted, bad = _wanted(events, listings, announced, cut)
    latest = known_by(actions, cut).sort("known_at").unique(["sid", "session", "kind"], keep="last")
    held = {(r["sid"], r["session"], r["kind"]): r for r in latest.iter_rows(named=True)}
    days = {(sid, day) for sid, day, _ in wanted}
    rows, findings = list[dict[str, Any]](), list(bad)
    for key, terms in wanted.items():
        was = held.get(key)
        if was is not None and not was["withdrawn"]:
            same = (was["numerator"], was["denominator"], was["cash"]) == terms.alone
            if not same and was["origin"] != ORIGIN:
                findings.append(_contradiction(key, was, terms))
            if same or was["origin"] not in {ORIGIN, "derived"}:
                continue
        rows.append(_action(key, terms, announced.confidence))
    for key, was in held.items():
        if was["withdrawn"] or key in wanted:
            continue
        beside = was["origin"] == "derived" and key[:2] in days and key[2] in ADJUSTING
        if was["origin"] == ORIGIN or beside:
            rows.append({**{c: was[c] for c in ACTIONS.schema}, "withdrawn": True})
            if beside:
                findings.append(_contradiction(key, was, None))
    return News(_table(ACTIONS, rows, cut), _settled(proposals, days, cut), _table(DATA_FINDINGS, findings, cut))


def _wanted(
    events: pl.DataFrame, listings: pl.DataFrame, announced: Announced, cut: datetime
) -> tuple[dict[Subject, Terms], list[dict[str, Any]]]:
    """The actions that the announcements in force at a cut are, and findings on those that cannot be one.

    Of an event's versions the last counts, though it names another day. Dividends of one day add up.
    """
    known = known_by(events, cut).sort("known_at").unique(EVENT, keep="last", maintain_order=True)
    sure = known.filter(
        ~pl.col("withdrawn"),
        pl.col("status").is_in(list(announced.confirmed)),
        pl.col("kind").is_in(list(announced.kinds)),
        pl.col("venue").is_in(list(announced.venues)) if announced.venues else pl.lit(value=True),
    )
    meant = resolve(sure, listings, cut).filter(pl.col("sid").is_not_null()).sort("sid", "session", *EVENT)
    found, bad = dict[Subject, Terms](), list[dict[str, Any]]()
    for row in meant.iter_rows(named=True):
        kind = announced.kinds[row["kind"]]
        terms = _terms(row, kind, announced.currency)
        key = (row["sid"], row["session"], "stock_dividend" if kind == "bonus" else kind)
        before = found.get(key)
        if isinstance(terms, str):
            bad.append(_finding(key, row["symbol"], "announced_incomplete", None, None, terms))
        elif before is None or before.place["event_id"] == row["event_id"]:
            found[key] = terms
        elif kind == "dividend":
            found[key] = terms._replace(cash=(before.cash or Decimal(0)) + (terms.cash or Decimal(0)))
        elif before.alone != terms.alone:
            bad.append(
                _finding(key, row["symbol"], "announced_twice", before.size, terms.size, "two events have other terms")
            )
    return found, bad


def _terms(row: Mapping[str, Any], kind: Kind, currency: str) -> Terms | str:
    """The terms of an announcement, or why it has none that can be booked."""
    place = {c: row[c] for c in ("event_id", "source", "capture", "file", "line", "declared_known_at")}
    if kind == "dividend":
        if row["cash"] is None or row["cash"] <= 0:
            return "a dividend without an amount"
        (paid, each), (booked, unit) = paid_in(row["currency"] or currency), paid_in(currency)
        if paid != booked:
            return f"a dividend in {row['currency']}, which is not booked in {currency}"
        return Terms(None, None, (Decimal(str(row["cash"])) * each / unit).quantize(Decimal("0.000001")), place)
    new, old = row["numerator"], row["denominator"]
    if not new or not old or new < 0 or old < 0:
        return "a ratio that is not there"
    exact = Fraction(str(new)) / Fraction(str(old)) + (1 if kind == "bonus" else 0)
    if exact == 1 or max(exact.numerator, exact.denominator) > LARGEST:
        return f"a ratio of {new:g} to {old:g}, which changes nothing or is no ratio of shares"
    return Terms(exact.numerator, exact.denominator, None, place)


def _action(key: Subject, terms: Terms, confidence: float) -> dict[str, Any]:
    sid, session, kind = key
    return {
        **dict.fromkeys(COLUMNS),
        **{c: terms.place[c] for c in ("source", "capture", "file", "line", "declared_known_at")},
        "sid": sid,
        "session": session,
        "kind": kind,
        "origin": ORIGIN,
        "confidence": confidence,
        "numerator": terms.numerator,
        "denominator": terms.denominator,
        "cash": terms.cash,
        "withdrawn": False,
    }


def _contradiction(key: Subject, was: Mapping[str, Any], terms: Terms | None) -> dict[str, Any]:
    """A finding on an action that an announcement contradicts: what it was, and what is announced."""
    ratio = key[2] in SPLITS
    size = was["numerator"] / was["denominator"] if ratio else float(was["cash"] or was["value"] or 0)
    what = f"{was['origin']} {key[2]}, and announced is {'none' if terms is None else 'another'}"
    return _finding(key, None, "announced_conflict", size, None if terms is None else terms.size, what)


def _finding(
    key: Subject, symbol: str | None, rule: str, found: float | None, expected: float | None, message: str
) -> dict[str, Any]:
    sid, session, kind = key
    return {
        "session": session,
        "table": ACTIONS.name,
        "rule": rule,
        "severity": "warn",
        "symbol": symbol,
        "row": f'{{"sid":{sid},"session":"{session}","kind":"{kind}"}}',
        "found": found,
        "expected": expected,
        "message": message,
    }


def _settled(proposals: pl.DataFrame, days: Iterable[tuple[int, date]], cut: datetime) -> pl.DataFrame:
    """Open proposals on the days of announced actions, withdrawn."""
    where = pl.DataFrame(sorted(days), schema={"sid": pl.Int64, "session": pl.Date}, orient="row")
    latest = known_by(proposals, cut).sort("known_at").unique(["sid", "session"], keep="last", maintain_order=True)
    done = opened(latest).join(where, on=["sid", "session"], how="semi")
    note = pl.lit("an announcement settled it")
    closed = done.with_columns(note=note, withdrawn=pl.lit(value=True), known_at=pl.lit(cut, UTC_MICROS))
    return PROPOSED_ACTIONS.conform(closed)


def _table(table: Table, rows: Sequence[Mapping[str, Any]], cut: datetime) -> pl.DataFrame:
    """The rows, known at the cut, one of each key."""
    frame = pl.DataFrame([{**row, "known_at": cut} for row in rows], schema=dict(table.schema))
    return table.conform(frame.unique(table.key, keep="first", maintain_order=True))
