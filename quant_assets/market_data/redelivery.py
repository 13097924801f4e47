"""A label that was ingested before has changed: its differences, known from now on.

`differences` finds what differs; here it becomes versions of bars, actions and listings. The instrument of a symbol is
the one of that session, never only of today: a symbol may have changed hands since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.contract import Table
from quant_assets.market_data import actions, proposals
from quant_assets.market_data.derivation import PROPOSAL, derive, pairs
from quant_assets.market_data.differences import Following, otherwise, said_before, stood, vanished
from quant_assets.market_data.evidence import Evidence
from quant_assets.market_data.explanations import Pair
from quant_assets.market_data.identity import content_sid
from quant_assets.market_data.known import SAYS
from quant_assets.market_data.markets import market_of
from quant_assets.market_data.screening import screen
from quant_assets.market_data.securities import resolve
from quant_assets.ports import Store
from quant_assets.records import Capture
from quant_assets.tables import ACTIONS, BARS, LISTINGS, PROPOSED_ACTIONS, QUARANTINE

BACK, AHEAD = 25, 120  # sessions of bars that are held around a label
AMOUNT = 1e-4  # of money: derived amounts are rounded to as much
EVER = datetime(9999, 1, 1, tzinfo=UTC)
BAR, ACTION = ("sid", "session"), actions.KEY


@dataclass(frozen=True)
class Redelivered:
    """What a label ingested again adds to BARS, ACTIONS, PROPOSED_ACTIONS, LISTINGS and QUARANTINE; how many rows were
    restated and withdrawn.
    """

    frames: dict[str, pl.DataFrame]
    restated: int
    withdrawn: int


class Redeliveries:
    """Every version of a source's bars, actions and listings, for labels that are ingested again, ascending."""

    def __init__(self, store: Store, source: str, calendar: Calendar, evidence: Evidence) -> None:
        self._store, self._calendar, self._where, self._asked = store, calendar, {"source": source}, evidence
        self._bars, self._read = BARS.empty(), set[date]()
        self._waiting = BARS.empty()
        acted = store.read(ACTIONS, as_of=None)
        self._actions = acted.filter((pl.col("source") == source) | (pl.col("origin") == "announced"))
        self._proposals = store.read(PROPOSED_ACTIONS, as_of=None, where=self._where)
        self._listings = store.read(LISTINGS, as_of=None)

    def committed(self) -> None:
        """All that was learnt is stored."""
        self._bars = pl.concat([self._bars, self._waiting.filter(pl.col("session").is_in(sorted(self._read)))])
        self._waiting = self._waiting.clear()

    def take(self, capture: Capture, moment: datetime, following: Following) -> Redelivered:
        """The differences of a capture, known at `moment`; `learn` them once the capture counts.

        Raises CaptureUnreadable where more of its rows have vanished than a vendor takes back.
        """
        label, day = capture.label, self._calendar.on_or_before(capture.label)
        market = market_of(capture.source)
        rows, rejected = screen(capture, self._calendar)
        near = self._calendar.between(self._back(day), day)
        versions = self._versions(day, {*rows["session"].to_list(), *near})
        rows = self._identified(rows, versions, label, market)
        then = stood(versions, label, BAR)
        bars = otherwise(rows, then, BAR, SAYS)
        gone = vanished(capture, rows, rejected, then, BAR)
        gone = _said_by_none(gone, following) if gone.height else gone
        back = said_before(gone, versions, label, BAR)
        gone = gone.join(back, on=BAR, how="anti")
        listed = self._listed(capture, rows, bars)
        acted, proposed, unexplained = self._acted(capture, rows, listed)
        taken_back = gone.with_columns(line=pl.lit(None, pl.Int64), withdrawn=pl.lit(value=True))
        news = pl.concat([f.select(*rows.columns, "withdrawn") for f in (bars, back, taken_back)])
        origin = {"source": capture.source, "capture": label, "known_at": moment, "declared_known_at": capture.known_at}
        held = {**origin, "dataset": capture.dataset, "state": "held", "by": None, "note": None}
        frames = {
            BARS.name: _stamped(BARS, news, origin),
            ACTIONS.name: _stamped(ACTIONS, acted, origin),
            LISTINGS.name: _stamped(LISTINGS, listed, {**origin, "calendar": market}),
            PROPOSED_ACTIONS.name: _stamped(PROPOSED_ACTIONS, proposed, origin),
            QUARANTINE.name: _stamped(QUARANTINE, pl.concat([rejected, unexplained]), held),
        }
        return Redelivered(frames, bars["was_withdrawn"].count() + back.height, gone.height)

    def learn(self, taken: Redelivered) -> None:
        """What was taken waits to be committed."""
        self._waiting = pl.concat([self._waiting, taken.frames[BARS.name]])
        self._actions = pl.concat([self._actions, taken.frames[ACTIONS.name]])
        self._proposals = pl.concat([self._proposals, taken.frames[PROPOSED_ACTIONS.name]])
        self._listings = pl.concat([self._listings, taken.frames[LISTINGS.name]])

    def _back(self, day: date) -> date:
        return self._calendar.at(max(0, self._calendar.index(day) - BACK))

    def _versions(self, day: date, sessions: set[date]) -> pl.DataFrame:
        """All versions of the bars of these sessions, read for the labels to come as well."""
        if not sessions <= self._read:
            calendar = self._calendar
            last = calendar.at(min(calendar.index(calendar.last), calendar.index(day) + AHEAD))
            near = calendar.between(self._back(day), last)
            far = sorted(sessions.difference(near))
            spans = [(near[0], near[-1]), *([(far[0], far[-1])] if len(far) > BACK else [(s, s) for s in far])]
            found = [self._store.read(BARS, as_of=None, first=a, last=b, where=self._where) for a, b in spans]
            self._bars, self._read = pl.concat(found).unique(BARS.key, maintain_order=True), {*near, *far}
        return pl.concat([self._bars, self._waiting]).filter(pl.col("session").is_in(sorted(sessions)))

    def _identified(self, rows: pl.DataFrame, versions: pl.DataFrame, label: date, market: str) -> pl.DataFrame:
        """The rows with the sid that their symbol meant in their session: by the bars in force, by the listings, else
        the one that has it now, or a new one.
        """
        about = rows.select("symbol", "session").unique().sort("session", "symbol")
        bars = versions.sort("withdrawn", "known_at", descending=[True, False])
        exact = bars.unique(["symbol", "session"], keep="last", maintain_order=True).select(
            "symbol", "session", exact="sid"
        )
        close = bars.select("symbol", "session", close="sid").sort("session")
        held = (
            self._instruments.sort("listed", "known_at", "sid")
            .unique("symbol", keep="last")
            .select("symbol", held="sid")
        )
        found = about.join(exact, on=["symbol", "session"], how="left", maintain_order="left")
        found = found.join_asof(close, on="session", by="symbol", strategy="nearest", check_sortedness=False)
        found = resolve(found, self._listings, EVER).join(held, on="symbol", how="left", maintain_order="left")
        fresh = {s: content_sid(s, label, market) for s in found["symbol"].unique()}
        found = found.with_columns(new=pl.col("symbol").replace_strict(fresh, return_dtype=pl.Int64))
        meant = found.select("symbol", "session", sid=pl.coalesce("exact", "close", "sid", "held", "new"))
        return rows.join(meant, on=["symbol", "session"], maintain_order="left")

    @property
    def _instruments(self) -> pl.DataFrame:
        return self._listings.sort("sid", "known_at").unique("sid", keep="last", maintain_order=True)

    def _listed(self, capture: Capture, rows: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
        """Rows of LISTINGS: instruments that are new, that were there earlier than was known or after they had ended,
        and that this capture names otherwise than it did.
        """
        named = (
            capture.listings
            if capture.listings is not None
            else pl.DataFrame(schema={"symbol": pl.String, "name": pl.String, "sector": pl.String})
        )
        named = named.unique("symbol", keep="first", maintain_order=True).select(
            "symbol", new_name="name", new_sector="sector"
        )
        about = (
            rows.group_by("sid")
            .agg(pl.col("symbol").last(), said=pl.col("session").min())
            .join(named, on="symbol", how="left")
            .sort("sid")
        )
        news = bars.group_by("sid").agg(first=pl.col("session").min(), newest=pl.col("session").max())
        now = self._instruments.select("sid", "session", "listed", "name", "sector", at="capture")
        begun = self._listings.group_by("sid").agg(begun=pl.col("session").min())
        known = about.join(news, on="sid", how="left").join(now, on="sid", how="left").join(begun, on="sid", how="left")
        name, sector = pl.coalesce("new_name", "name"), pl.coalesce("new_sector", "sector")
        unknown, last_word = pl.col("begun").is_null(), pl.col("at") <= capture.label
        renamed = last_word & (name.ne_missing(pl.col("name")) | sector.ne_missing(pl.col("sector")))
        back = ~pl.col("listed") & (pl.col("newest") >= pl.col("session"))
        earlier = pl.col("listed") & (pl.col("first") < pl.col("begun"))
        session = pl.when(unknown).then("said").when(earlier).then("first").otherwise("session")
        event = (
            pl.when(unknown)
            .then(pl.lit("new"))
            .when(back)
            .then(pl.lit("relisted"))
            .when(earlier)
            .then(pl.lit("earlier"))
            .when(renamed)
            .then(pl.lit("changed"))
        )
        told = known.with_columns(
            event=event,
            session=session,
            name=name,
            sector=sector,
            listed=pl.col("listed") | unknown.fill_null(value=True) | back,
        )
        return told.filter(pl.col("event").is_not_null()).select(
            "session", "sid", "symbol", "name", "sector", "listed", "event"
        )

    def _acted(
        self, capture: Capture, rows: pl.DataFrame, listed: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Versions of ACTIONS (columns `actions.COLUMNS`, withdrawn) and of PROPOSED_ACTIONS (columns `proposals.ROW`),
        and what could not be explained.
        """
        label, evidence = capture.label, pairs(rows, self._calendar)
        then, asked = stood(self._actions, label, ACTION), stood(self._proposals, label, proposals.SUBJECT)
        standing, waiting = (f.drop_nulls("known_at").drop("later") for f in (then, asked))
        if capture.actions is None:
            given, unexplained, unsure = derive(evidence, self._asked)
            given = _unrounded(given, evidence, standing)
            gone = standing.clear()
        else:
            held = self._instruments.sort("listed", "known_at", "sid").select("symbol", "sid")
            holders = pl.concat([held, rows.sort("session").select("symbol", "sid")])
            holders = holders.unique("symbol", keep="last", maintain_order=True)
            given, unexplained = actions.declared(capture.actions, holders)
            evidence = evidence.clear()
            unsure = pl.DataFrame(schema={c: PROPOSED_ACTIONS.schema[c] for c in PROPOSAL})
            own = pl.col("capture") == label, pl.col("origin") == "declared", ~pl.col("withdrawn")
            gone = standing.filter(*own).join(given, on=ACTION, how="anti")
        told = actions.news(given, evidence, standing, unsure.select(proposals.SUBJECT), proposals.rejected(waiting))
        alive = listed.filter(event="relisted")
        ended = standing.filter(pl.col("kind") == "delisting", pl.col("origin") == "derived", ~pl.col("withdrawn"))
        taken_back = pl.concat([gone, ended.join(alive, on="sid", how="semi")])
        news = pl.concat([told, taken_back.select(*actions.COLUMNS, withdrawn=pl.lit(value=True))])
        news = news.unique(ACTION, keep="first", maintain_order=True)
        settled = pl.concat([standing.join(news, on=ACTION, how="anti"), news], how="diagonal")
        open_now = proposals.news(unsure, evidence, waiting, settled)
        last_word = (f.filter("later") for f in (then, asked))
        return (
            news.join(next(last_word), on=ACTION, how="anti"),
            open_now.join(next(last_word), on=proposals.SUBJECT, how="anti"),
            unexplained,
        )


def _said_by_none(gone: pl.DataFrame, following: Following) -> pl.DataFrame:
    """Those of the vanished bars that no later delivery has either; they are looked at until one is about other
    sessions.
    """
    for later in following:
        said = later.prices.join(gone.select("session").unique(), on="session", how="semi")
        gone = gone.join(said, on=["symbol", "session"], how="anti")
        if said.is_empty() or gone.is_empty():
            break
    return gone


def _unrounded(given: pl.DataFrame, evidence: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """Derived actions, with the terms in force if they differ by no more than the rounding of adjusted closes: a
    history that was rescaled changes nothing.
    """
    if given.is_empty():
        return given
    paid = {"cash": pl.Float64, "value": pl.Float64}
    mine = standing.filter(pl.col("origin") == "derived", ~pl.col("withdrawn"))
    before = mine.select(*ACTION, *(pl.col(c).alias(f"was_{c}") for c in paid))
    closes = evidence.select("before", "adjusted", "after", "adjusted_after").rows()
    slack = pl.Series("slack", [AMOUNT + 2 * Pair(*pair).noise * pair[0] for pair in closes], dtype=pl.Float64)
    near_to = evidence.select("sid", "session", slack).unique(["sid", "session"], keep="first", maintain_order=True)
    both = given.join(before, on=ACTION, how="left", maintain_order="left").join(
        near_to, on=["sid", "session"], how="left", maintain_order="left"
    )
    same = {c: (pl.col(c).cast(t) - pl.col(f"was_{c}").cast(t)).abs() <= pl.col("slack") for c, t in paid.items()}
    return both.with_columns(pl.when(same[c]).then(f"was_{c}").otherwise(c).alias(c) for c in paid).select(
        given.columns
    )


def _stamped(table: Table, frame: pl.DataFrame, origin: Mapping[str, object]) -> pl.DataFrame:
    """Rows of the table, which come from there."""
    return frame.with_columns(pl.lit(v).alias(k) for k, v in origin.items()).select(
        pl.col(c).cast(t) for c, t in table.schema.items()
    )
