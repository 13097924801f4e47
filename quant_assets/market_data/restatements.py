"""Restatements, withdrawals and late rows, and the tables as they would be had these been known in time.

A restatement is a later version of a subject (see `contract`). Decisions made before it never change. This module lists
the changes for a person, and selects the rows that an overlay store shows to compute what would have been decided.
"""

import json
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import UTC_MICROS, Schema, Table
from quant_assets.frames import span
from quant_assets.market_data import proposals
from quant_assets.market_data.datasets import datasets
from quant_assets.market_data.taken import ABSENT
from quant_assets.ports import Notifier, Store
from quant_assets.records import Frozen
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS

DERIVING = (BARS, ACTIONS, LISTINGS)  # what features, labels, universes and trades are made of
KINDS: Mapping[str, str] = {
    "restated": "a later version differs",
    "withdrawn": "a later version removes the row",
    "returned": "a version after a withdrawal brings the row back",
    "late": "the first version came after the cut of its own session",
}
CHANGES: Schema = {
    "table": pl.String,
    "session": pl.Date,
    "sid": pl.Int64,
    "symbol": pl.String,
    "kind": pl.String,
    "row": pl.String,
    "old": pl.String,
    "new": pl.String,
    "was_known_at": UTC_MICROS,
    "known_at": UTC_MICROS,
}
_STAMPS = {
    "known_at",
    "declared_known_at",
    "source",
    "capture",
    "file",
    "line",
    "origin",
    "confidence",
}  # the origin of a version, not its content
BACK = 25  # sessions before its label that a capture may be about
# sessions back in which each ingest looks for restatements: a quarter, so that a day costs the same whatever the
# history
LATELY = 63
TOLD = 3  # names in a notification


class Selection(Frozen, frozen=True):
    """Which later versions are meant: known in (since, until], of events in [first, last], of these instruments or
    symbols; None: all.
    """

    since: datetime | None = None
    until: datetime | None = None
    first: date | None = None
    last: date | None = None
    sids: tuple[int, ...] | None = None
    symbols: tuple[str, ...] | None = None

    def names(self, table: Table) -> pl.Expr:
        """Whether a row of `table` is about the names meant; a table without names is about none of them."""
        if self.sids is None and self.symbols is None:
            return pl.lit(value=True)
        if "sid" in table.schema:
            return pl.col("sid").is_in(list(self.sids or ()))
        return pl.col("symbol").is_in(list(self.symbols or ())) if "symbol" in table.schema else pl.lit(value=False)


@dataclass(frozen=True)
class AsIf:
    """One table had the chosen versions been known in time.

    `hidden`: the keys of the versions that would never have been in force. `shown`: the chosen ones as rows of the
    table, known when what they change was known (a late row: at the cut of its own session). `learnt`: when
    each of `shown` was known in truth.
    """

    hidden: pl.DataFrame
    shown: pl.DataFrame
    learnt: pl.Series


def changes(store: Store, cuts: Cuts, selection: Selection, tables: Sequence[Table] | None = None) -> pl.DataFrame:
    """The later versions meant, rows of `CHANGES`: `kind` is a key of `KINDS`, `old` and `new` are JSON of the columns
    that differ. Newest first. `tables`: all that vendors report, unless some are given.
    """
    names = store.read(LISTINGS, as_of=None).sort("known_at").unique("sid", keep="last").select("sid", listed="symbol")
    found = [pl.DataFrame(schema=dict(CHANGES))]
    for table in (*DERIVING, *(d.table for d in datasets())) if tables is None else tables:
        chosen = _versions(store, cuts, selection, table).filter("chosen")
        if chosen.height:
            found.append(_reported(table, chosen, names))
    return newest(pl.concat(found))


def newest(found: pl.DataFrame) -> pl.DataFrame:
    """Rows of `CHANGES`, newest first."""
    return found.sort("known_at", "table", "session", "row", descending=[True, False, False, False])


def as_if_known(
    store: Store, cuts: Cuts, selection: Selection, tables: Sequence[Table] = DERIVING
) -> Mapping[str, AsIf]:
    """By table name, what an overlay hides and shows; tables without a version meant are left out."""
    found: dict[str, AsIf] = {}
    for table in tables:
        versions = _versions(store, cuts, selection, table)
        subject, known = list(table.subject), pl.col("known_at")
        chosen = versions.filter("chosen").group_by(subject).agg(earliest=known.min(), latest=known.max())
        if chosen.is_empty():
            continue
        of = versions.join(chosen, on=subject)
        before = of.filter(known < pl.col("earliest")).group_by(subject).agg(before=known.max())
        of = of.join(before, on=subject, how="left", nulls_equal=True).filter(
            known <= pl.col("latest"), (known >= pl.col("before")).fill_null(value=True)
        )
        shown = of.filter(known == pl.col("latest")).with_columns(
            as_if=pl.coalesce("before", pl.min_horizontal("known_at", "cut"), "known_at")
        )
        found[table.name] = AsIf(
            of.select(table.key), shown.with_columns(known_at="as_if").select(*table.schema), shown["latest"]
        )
    return found


def seen(cuts: Cuts, as_if: Mapping[str, AsIf]) -> tuple[date, date] | None:
    """The first and the last session at whose cut the tables would have read otherwise; None where no cut fell between
    what was known first and what is known now.
    """
    spans = [(then, now) for a in as_if.values() for then, now in zip(a.shown["known_at"], a.learnt, strict=True)]
    between = [
        (first, cuts.calendar.shift(after, -1))
        for then, now in sorted(set(spans))
        if (first := _first_cut(cuts, then)) < (after := _first_cut(cuts, now))
    ]
    return (min(f for f, _ in between), max(u for _, u in between)) if between else None


def tell(store: Store, cuts: Cuts, notifier: Notifier, since: datetime | None, first: date | None = None) -> int:
    """Notify of versions known after `since` of rows known before, of events from `first` on; return how many.

    A warning, or a note if nothing but volumes of bars changed. Rows that are merely late are no restatement.
    """
    news = changes(store, cuts, Selection(since=since, first=first)).filter(pl.col("kind") != "late")
    if news.is_empty():
        return 0
    volume_alone = (
        (pl.col("table") == BARS.name)
        & (pl.col("kind") == "restated")
        & pl.col("new").str.contains(r'^\{"volume": [^,]*\}$')
    )
    grave = news.filter(~volume_alone)
    counted = ", ".join(
        f"{n} {kind} in {table}"
        for (table, kind), n in sorted(Counter(news.select("table", "kind").iter_rows()).items())
    )
    sample = "; ".join(
        f"{r['symbol'] or r['row']} {r['session']}: {r['old']} -> {r['new']}"
        for r in grave.head(TOLD).iter_rows(named=True)
    )
    asked = "" if since is None else f" --since {since:%Y-%m-%dT%H:%M:%S.%f}"
    body = (
        f"{sample or 'only volumes changed'}. What was decided stays; quant restatement list{asked} shows them, "
        f"quant restatement show{asked} what they would have changed."
    )
    notifier.notify(
        "warning" if grave.height else "info", f"{news.height} rows of the past were changed: {counted}", body
    )
    return news.height


@contextmanager
def watching(store: Store, cuts: Cuts, notifier: Notifier, last: date) -> Generator[None]:
    """Around an ingest up to session `last`: notify of its changes in the `LATELY` sessions before, in older ones whose
    deliveries it ingested again, and of the actions that it proposes.

    The first ingest of a home changes nothing.
    """
    before = store.read(CAPTURES, as_of=None)["known_at"].max()
    yield
    proposals.tell(store, notifier, before if isinstance(before, datetime) else None)
    if isinstance(before, datetime):
        calendar = cuts.calendar
        lately = calendar.at(max(0, calendar.index(calendar.on_or_before(last)) - LATELY))
        fresh = store.read(CAPTURES, as_of=None).filter(pl.col("known_at") > before)
        old = fresh.filter(pl.col("capture") < lately, ~pl.col("sha256").str.ends_with(ABSENT))["capture"].to_list()
        first = calendar.on_or_before(max(calendar.first, min([lately, *old])))
        tell(store, cuts, notifier, before, calendar.at(max(0, calendar.index(first) - BACK)) if old else lately)


def _versions(store: Store, cuts: Cuts, selection: Selection, table: Table) -> pl.DataFrame:
    """All versions of the subjects of which one is meant.

    Columns: the table's, change (a key of KINDS; null for an unchanged version), chosen, was_known_at, cut (of its
    session), and before_<column>.
    """
    subject, known = list(table.subject), pl.col("known_at")
    rows = store.read(table, as_of=selection.until, first=selection.first, last=selection.last).filter(
        selection.names(table)
    )
    recent = pl.lit(value=True) if selection.since is None else known > selection.since
    rows = rows.join(rows.filter(recent).select(subject).unique(), on=subject, how="semi").sort(*subject, "known_at")
    gone = pl.col("withdrawn") if "withdrawn" in table.schema else pl.lit(value=False)
    says = _says(table)
    before = [pl.col(c).shift(1).over(subject).alias(f"before_{c}") for c in says]
    rows = rows.with_columns(*before, gone=gone).with_columns(
        was_gone=pl.col("gone").shift(1).over(subject), was_known_at=known.shift(1).over(subject)
    )
    rows = _with_cuts(rows, table, cuts)
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"before_{c}")) for c in says)
    first, was, now = pl.col("was_known_at").is_null(), pl.col("was_gone"), pl.col("gone")
    change = (
        pl.when(first & ~now & (known > pl.col("cut"))).then(pl.lit("late"))
        .when(~first & ~was & now).then(pl.lit("withdrawn"))
        .when(~first & was & ~now).then(pl.lit("returned"))
        .when(~first & ~was & ~now & differs).then(pl.lit("restated"))
    )  # fmt: skip
    return (
        rows.with_columns(change=change)
        .with_columns(chosen=pl.col("change").is_not_null() & recent)
        .filter(pl.col("chosen").any().over(subject))
    )


def _says(table: Table) -> list[str]:
    """The columns with the content of a version."""
    return [c for c in table.content if c not in {*table.key, *_STAMPS, "withdrawn"}]


def _with_cuts(rows: pl.DataFrame, table: Table, cuts: Cuts) -> pl.DataFrame:
    """The rows with the cut of their session, where one of a first version may come late: bars and actions, but for
    endings that only absence shows.
    """
    if table not in (BARS, ACTIONS) or rows.is_empty():
        return rows.with_columns(cut=pl.lit(None, dtype=UTC_MICROS))
    last = cuts.due(span(rows["known_at"], datetime)[1])
    first = max(cuts.calendar.first, min(last, span(rows["session"], date)[0]))
    found = rows.join(cuts.frame(first, last).select("session", "cut"), on="session", how="left", maintain_order="left")
    inferred = (
        (pl.col("kind") == "delisting") & (pl.col("origin") == "derived") if table is ACTIONS else pl.lit(value=False)
    )
    return found.with_columns(cut=pl.when(~inferred).then("cut"))


def _reported(table: Table, chosen: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Rows of CHANGES."""
    says, about = _says(table), [c for c in table.subject if c not in {"sid", table.event}]
    known = (
        chosen.join(names, on="sid", how="left", maintain_order="left")
        if "sid" in chosen.columns
        else chosen.with_columns(sid=None, listed=None)
    )
    out: list[dict[str, object]] = []
    for row in known.iter_rows(named=True):
        old = None if row["change"] in {"late", "returned"} else {c: row[f"before_{c}"] for c in says}
        new = None if row["change"] == "withdrawn" else {c: row[c] for c in says}
        columns = [c for c in says if (old[c] != new[c] if old and new else (old or new or {})[c] is not None)]
        at = row[table.event]
        out.append(
            {
                "table": table.name,
                "session": at.date() if isinstance(at, datetime) else at,
                "sid": row["sid"],
                "symbol": row.get("symbol") or row["listed"],
                "kind": row["change"],
                "row": " ".join(str(row[c]) for c in about) or table.name,
                "old": _json(old, columns),
                "new": _json(new, columns),
                "was_known_at": row["was_known_at"],
                "known_at": row["known_at"],
            }
        )
    return pl.DataFrame(out, schema=dict(CHANGES))


def _json(values: Mapping[str, object] | None, columns: Sequence[str]) -> str | None:
    return None if values is None else json.dumps({c: values[c] for c in columns}, default=str)


def _first_cut(cuts: Cuts, known_at: datetime) -> date:
    """The first session whose cut knows what is known at `known_at`."""
    due = cuts.due(known_at)
    return due if cuts.of(due) == known_at else cuts.calendar.after(due)
