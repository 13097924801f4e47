"""What several vendors say of the same bars: differences are findings, and a backup fills in what the source lacks.

At each cut the rows of other vendors (VENDOR_BARS) are matched to the instruments of the source, by the symbol in that
session as known then. The source wins where it has a bar. A bar that it lacks at the cut is a row of BARS from the
backup, known at that cut; what the source delivers later replaces it. A symbol that means no instrument is
quarantined: another vendor never makes a sid.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import UTC_MICROS, Table
from quant_assets.market_data.observations import turned_away
from quant_assets.market_data.securities import canonical, resolve, symbols
from quant_assets.market_data.vendors import BESIDE, Vendor
from quant_assets.ports import KnowledgeLog, Store
from quant_assets.records import Frozen, StageReport
from quant_assets.tables import BARS, DATA_FINDINGS, LISTINGS, QUARANTINE
from quant_assets.vendor_tables import VENDOR_BARS

UNMATCHED = "the source has no instrument of this symbol in that session"
BAR = ("sid", "session")
CELLS = ("open", "high", "low", "close", "volume", "adj_close")


class Stored(Frozen, frozen=True):
    """Versions of stored rows: of BARS and VENDOR_BARS in the sessions in question, of LISTINGS all, and the symbols
    (source, key) that were quarantined as unmatched before.
    """

    bars: pl.DataFrame
    theirs: pl.DataFrame
    listings: pl.DataFrame
    strange: pl.DataFrame


class Checked(Frozen, frozen=True):
    """Rows to write: of BARS, DATA_FINDINGS and QUARANTINE."""

    fills: pl.DataFrame
    findings: pl.DataFrame
    quarantined: pl.DataFrame


def cross_check(
    store: Store,
    knowledge: KnowledgeLog,
    cuts: Cuts,
    vendors: Sequence[Vendor],
    after: datetime | None,
    now: datetime,
    last: date,
) -> StageReport:
    """Compare and fill at each cut later than `after` (None: at all) up to that of session `last`, and store it; a cut
    that has not come by `now` is left for later.

    What is filled in counts as a cut that was read: a row of the source that arrives behind it is known at its arrival.
    """
    last, numbers = cuts.calendar.on_or_before(last), Counter[str](filled=0, findings=0, unmatched=0)
    until = min(cuts.of(last), now)
    listings = store.read(LISTINGS, as_of=until)
    held = store.read(QUARANTINE, as_of=None, where={"dataset": VENDOR_BARS.name, "reason": UNMATCHED})
    strange = held.select("source", key=canonical()).unique()
    for first, final in _spans(store, after, until, last):
        theirs = store.read(VENDOR_BARS, as_of=until, first=first, last=final)
        bars = store.read(BARS, as_of=until, first=first, last=final)
        frame = cuts.frame(first, last).filter(pl.col("cut") <= now)
        found = checked(Stored(bars, theirs, listings, strange), vendors, frame, after)
        strange = pl.concat([strange, found.quarantined.select("source", key=canonical())]).unique()
        if found.fills.height:
            knowledge.note_cut(frame["cut"][-1])
        for table, rows in ((QUARANTINE, found.quarantined), (DATA_FINDINGS, found.findings), (BARS, found.fills)):
            store.append(table, rows)
        for name, rows in (("filled", found.fills), ("findings", found.findings), ("unmatched", found.quarantined)):
            numbers[name] += rows.height
    return StageReport(
        stage="cross-check of vendors",
        first=last,
        last=last,
        state="done" if any(numbers.values()) else "empty",
        rows=numbers["filled"],
        numbers={name: float(n) for name, n in numbers.items()},
    )


def _spans(store: Store, after: datetime | None, until: datetime, last: date) -> list[tuple[date, date]]:
    """The first and last session of each year in which a bar of any vendor became known after `after`."""
    news: list[pl.DataFrame] = []
    for table in (VENDOR_BARS, BARS):
        known = store.read(table, as_of=until, last=last, columns=("session", "known_at"))
        news.append((known if after is None else known.filter(pl.col("known_at") > after)).select("session"))
    sessions = pl.concat(news).group_by(year=pl.col("session").dt.year())
    ends = sessions.agg(first=pl.col("session").min(), final=pl.col("session").max()).sort("year")
    return list(ends.select("first", "final").iter_rows())


def checked(stored: Stored, vendors: Sequence[Vendor], cuts: pl.DataFrame, after: datetime | None) -> Checked:
    """What follows at each cut later than `after` (None: at all) from what is known by that cut.

    `cuts`: session and cut, ascending, from the first session in question on. A range of cuts and each cut by itself
    give the same rows.
    """
    order = [v.name for v in vendors]
    ours = _at_cuts(stored.bars.filter(~pl.col("source").str.starts_with(BESIDE)), cuts, BAR)
    theirs = _at_cuts(stored.theirs.filter(pl.col("vendor").is_in(order)), cuts, ("vendor", "symbol", "session"))
    matched = _matched(theirs, ours, stored.listings)
    new = pl.lit(value=True) if after is None else pl.col("at") > after
    states = _states(matched.filter(pl.col("sid").is_not_null()), ours)
    bad = _strangers(matched.filter(pl.col("sid").is_null(), ~pl.col("withdrawn")), stored.strange).filter(new)
    quarantined = _conforming(QUARANTINE, bad)
    findings = pl.concat([_findings(states.filter(new), vendors), turned_away(quarantined)])
    fills = _fills(states, vendors).filter(new)
    return Checked(_conforming(BARS, _listed_as(fills, stored.listings)), findings, quarantined)


def _at_cuts(versions: pl.DataFrame, cuts: pl.DataFrame, subject: Sequence[str]) -> pl.DataFrame:
    """The versions that a cut knows, with `at`: the first such cut, from that of their session on. Of several at one
    cut the last.
    """
    own = cuts.select("session", own="cut")
    due = versions.join(own, on="session").with_columns(since=pl.max_horizontal("known_at", "own")).sort("since")
    at = cuts.select(at=pl.col("cut").cast(UTC_MICROS)).sort("at")
    found = due.join_asof(at, left_on="since", right_on="at", strategy="forward")
    found = found.filter(pl.col("at").is_not_null()).sort(*subject, "known_at")
    return found.unique([*subject, "at"], keep="last", maintain_order=True).drop("own", "since")


def _matched(theirs: pl.DataFrame, ours: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """`theirs` with key (the symbol as it is compared) and sid: of the source's bar of that symbol in that session,
    else of the listing in force; each as known at `at`. Null where there is none.
    """
    rows = theirs.with_columns(key=canonical()).with_row_index("row")
    named = ours.select("session", "sid", canonical().alias("key"), known="at").unique()
    by_bar = rows.join(named, on=["session", "key"]).filter(pl.col("known") <= pl.col("at"))
    by_bar = by_bar.sort("known", "sid").unique("row", keep="last").select("row", "sid")
    rows = rows.join(by_bar, on="row", how="left", maintain_order="left")
    ever = listings.select(canonical().alias("key")).unique()
    asked = rows.filter(pl.col("sid").is_null()).join(ever, on="key", how="semi").drop("sid")
    by_name = [
        resolve(part, listings, at).select("row", named="sid")
        for (at,), part in asked.partition_by("at", as_dict=True).items()
        if isinstance(at, datetime)
    ]
    found = pl.concat([pl.DataFrame(schema={"row": pl.UInt32, "named": pl.Int64}), *by_name])
    found = rows.join(found, on="row", how="left", maintain_order="left")
    return found.with_columns(sid=pl.coalesce("sid", "named")).drop("row", "named")


def _states(theirs: pl.DataFrame, ours: pl.DataFrame) -> pl.DataFrame:
    """What a vendor and the source have of a bar at each cut at which either changes: vendor, sid, session, at, the
    vendor's columns, and those of the source as our_close, our_volume, our_withdrawn (null: it never had the bar).

    `fresh`: whether the vendor's changed.
    """
    one = ("vendor", *BAR)
    mine = theirs.sort("known_at").unique([*one, "at"], keep="last").with_columns(fresh=pl.lit(value=True))
    held = ours.select(*BAR, "at", our_close="close", our_volume="volume", our_withdrawn="withdrawn")
    held = held.join(mine.select(*one).unique(), on=BAR)
    both = mine.join(held, on=[*one, "at"], how="full", coalesce=True).sort(*one, "at")
    carried = [c for c in both.columns if c not in (*one, "at", "fresh")]
    return both.with_columns(pl.col(carried).forward_fill().over(one), pl.col("fresh").fill_null(value=False))


def _findings(states: pl.DataFrame, vendors: Sequence[Vendor]) -> pl.DataFrame:
    """Rows of DATA_FINDINGS: what differs, with what the source has as `found` and what the vendor has as `expected`.

    A missing bar of a vendor is no finding: many cover less than the source.
    """
    there = states.filter(pl.col("withdrawn").eq(other=False))
    ours = ~pl.col("our_withdrawn").fill_null(value=True)
    parts = [DATA_FINDINGS.empty()]
    for vendor in vendors:
        of = there.filter(pl.col("vendor") == vendor.name)
        apart = {
            "vendor_missing": (~ours, None, "close", f"{vendor.name} has a bar, the source has none"),
            "vendor_close": (
                ours & _apart("close", vendor.close),
                "our_close",
                "close",
                f"{vendor.name} has another close, by more than {vendor.close:g}",
            ),
            "vendor_volume": (
                ours & (pl.lit(value=False) if vendor.volume is None else _apart("volume", vendor.volume)),
                "our_volume",
                "volume",
                f"{vendor.name} has another volume, by more than {vendor.volume or 0:g}",
            ),
        }
        for rule, (wrong, found, expected, message) in apart.items():
            shown = of.filter(wrong).select(
                "session",
                "symbol",
                table=pl.lit(BARS.name),
                rule=pl.lit(rule),
                severity=pl.lit("warn"),
                row=pl.struct(*BAR, "vendor").struct.json_encode(),
                found=pl.lit(None) if found is None else found,
                expected=expected,
                message=pl.lit(message),
                known_at="at",
            )
            parts.append(_conforming(DATA_FINDINGS, shown))
    return pl.concat(parts)


def _apart(column: str, tolerance: float) -> pl.Expr:
    ours = pl.col(f"our_{column}").cast(pl.Float64)
    return (pl.col(column) - ours).abs() > tolerance * ours


def _fills(states: pl.DataFrame, vendors: Sequence[Vendor]) -> pl.DataFrame:
    """The versions of backups that fill in a bar which the source never had by that cut, known then.

    The first backup that has a bar fills it in; another one does not replace it.
    """
    order = {v.name: n for n, v in enumerate(vendors) if v.role == "backup"}
    lacking = states.filter("fresh", pl.col("our_withdrawn").is_null(), pl.col("vendor").is_in(list(order)))
    place = pl.col("vendor").replace_strict(order, default=None, return_dtype=pl.Int64)
    ranked = lacking.with_columns(place=place).sort(*BAR, "at", "place")
    first = ranked.filter(~pl.col("withdrawn")).unique(BAR, keep="first", maintain_order=True)
    mine = ranked.join(first.select(*BAR, "vendor", begins="at"), on=[*BAR, "vendor"])
    return mine.filter(pl.col("at") >= pl.col("begins")).with_columns(
        source=pl.lit(BESIDE) + pl.col("vendor"), known_at="at"
    )


def _listed_as(fills: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """The fills under the symbol that the source lists, as known at the cut: another vendor may write it otherwise."""
    parts = [
        symbols(part.rename({"symbol": "theirs"}), listings, at).with_columns(symbol=pl.coalesce("symbol", "theirs"))
        for (at,), part in fills.partition_by("at", as_dict=True).items()
        if isinstance(at, datetime)
    ]
    return pl.concat(parts) if parts else fills


def _strangers(unmatched: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Rows of QUARANTINE, one for each symbol of a vendor: where it was seen first."""
    cells = [pl.col(c).cast(pl.String).fill_null("") for c in ("symbol", "session", *CELLS)]
    named = unmatched.join(before, on=["source", "key"], how="anti").sort("source", "key", "at", "session", "symbol")
    return named.unique(["source", "key"], keep="first", maintain_order=True).with_columns(
        dataset=pl.lit(VENDOR_BARS.name),
        reason=pl.lit(UNMATCHED),
        content=pl.concat_str(cells, separator=","),
        state=pl.lit("held"),
        by=pl.lit(None, pl.String),
        note=pl.lit(None, pl.String),
        known_at="at",
    )


def _conforming(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(c).cast(t) for c, t in table.schema.items())
