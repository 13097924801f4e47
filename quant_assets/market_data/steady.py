"""How far deliveries can be judged together: as long as no symbol changes its meaning.

Deliveries in which only the ordinary happens (names come, trade and disappear) give the same rows together as one after
the other, and are judged at once. The first delivery in which a symbol may have come to mean another instrument, an
instrument was renamed, or an ended one is back, is left to `identity` and `listings`, alone.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.frames import bounds
from quant_assets.market_data.actions import declared
from quant_assets.market_data.adjustment import ENDING
from quant_assets.market_data.identity import REUSE_AFTER, content_sid, normal
from quant_assets.market_data.known import UNLISTED_FOR, Known, good_sessions, sessions_back
from quant_assets.market_data.listings import CHANGE
from quant_assets.market_data.markets import market_of
from quant_assets.market_data.versions import versions
from quant_assets.records import Capture

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
NEVER = np.iinfo(np.int64).max
UNKNOWN = -1  # a last session so long ago that it is looked up when it is asked for
EPOCH = date(1970, 1, 1)


class Settled(NamedTuple):
    """What the first `deliveries` of some add to bars and instruments.

    `rows`: their clean rows with sid; `bars`: the versions to write (see `versions`); `changed`: the listings that
    changed (columns `listings.CHANGE`, delivery); `given`, `refused`: the actions that the vendor declares (see
    `actions.declared`), None if it declares none.
    """

    deliveries: int
    rows: pl.DataFrame
    bars: pl.DataFrame
    changed: pl.DataFrame
    given: pl.DataFrame | None
    refused: pl.DataFrame | None


def steady(known: Known, captures: Sequence[Capture], rows: pl.DataFrame, calendar: Calendar) -> Settled | None:
    """What the deliveries add up to the first in which a symbol may change its meaning; None if that is the first of
    them.

    `rows`: their clean rows, by `delivery`, the position in `captures`. `known` learns nothing.
    """
    alike = _alike(known, captures, calendar)
    if not alike:
        return None
    captures, rows = captures[:alike], rows.filter(pl.col("delivery") < alike)
    symbols = _symbols(known, captures, rows)
    seen = _seen(captures, rows, symbols)
    given, refused = _given(captures, symbols)
    rows = rows.join(symbols.select("symbol", "sid"), on="symbol", maintain_order="left")
    bars = versions(rows, known.standing(rows["session"].unique().to_list()))
    walk = _Walk(known, captures, symbols, seen, bars, given, calendar)
    stop = min([alike, *_turns(known, seen, given)])
    n = 0
    while n < stop and walk.step(n):
        n += 1
    if not n:
        return None
    inside = pl.col("delivery") < n
    changed = pl.concat([_new(seen), walk.ended()]).filter(inside).sort("delivery", maintain_order=True)
    kept = (f if f is None else f.filter(inside) for f in (given, refused))
    return Settled(n, rows.filter(inside), bars.filter(inside), changed, *kept)


def _alike(known: Known, captures: Sequence[Capture], calendar: Calendar) -> int:
    """How many captures, from the first on, come after every session that is known, and bring lists of names, or
    actions, as the first one does.
    """
    first = captures[0]
    if known.changed:  # a delivery's rows of those sessions may not count
        return 0
    if known.newest is not None and calendar.on_or_before(first.label) <= known.newest:
        return 0
    listed = known.instruments.filter("listed")["symbol"]
    if listed.is_duplicated().any():  # which of the two a row means is a question of its own
        return 0
    shape = (first.listings is None, first.actions is None)
    other = (i for i, c in enumerate(captures) if (c.listings is None, c.actions is None) != shape)
    return next(other, len(captures))


def _symbols(known: Known, captures: Sequence[Capture], rows: pl.DataFrame) -> pl.DataFrame:
    """By code (the position): symbol, sid, listed, name, sector, begins: the delivery that brings a symbol which means
    nothing yet; -1 where it means something.
    """
    fields = ("symbol", "sid", "listed", "name", "sector")
    old = known.holders().select(*fields, begins=pl.lit(-1, pl.Int32))
    came = rows.group_by("symbol").agg(begins=pl.col("delivery").min())
    fresh = came.join(old, on="symbol", how="anti").sort("symbol")
    sids = [content_sid(symbol, captures[n].label, market_of(captures[n].source)) for symbol, n in fresh.iter_rows()]
    new = fresh.with_columns(
        pl.Series("sid", sids, dtype=pl.Int64),
        listed=pl.lit(value=False),
        name=pl.lit(None, pl.String),
        sector=pl.lit(None, pl.String),
    ).select(old.columns)
    return pl.concat([old, new]).with_row_index("code").with_columns(pl.col("code").cast(pl.Int64))


def _seen(captures: Sequence[Capture], rows: pl.DataFrame, symbols: pl.DataFrame) -> pl.DataFrame:
    """By delivery and symbol: first and newest session, the vendor's names for it, and the columns of `_symbols`.

    The vendor's names: said_name, said_sector, names (how many; null if it gives none). A new symbol has the name of
    its first delivery.
    """
    seen = rows.group_by("delivery", "symbol").agg(first=pl.col("session").min(), newest=pl.col("session").max())
    seen = seen.join(symbols, on="symbol").sort("delivery", "code")
    said = [c.listings for c in captures if c.listings is not None]
    if not said:
        blank = {c: pl.lit(None, pl.String) for c in ("said_name", "said_sector")}
        return seen.with_columns(**blank, names=pl.lit(None, pl.UInt32))
    lists = pl.concat(f.select("symbol", "name", "sector") for f in said)
    lists = lists.with_columns(delivery=_positions([f.height for f in said]))
    counted = pl.lit(1, pl.UInt32)
    if lists.select("delivery", "symbol").is_duplicated().any():
        lists = lists.join(symbols.select("symbol", known_as="name"), on="symbol", how="left").sort(
            "delivery", "symbol", pl.col("name").ne_missing(pl.col("known_as")), "name"
        )
        counted = pl.len().over("delivery", "symbol")
        lists = lists.with_columns(names=counted).unique(["delivery", "symbol"], keep="first", maintain_order=True)
    else:
        lists = lists.with_columns(names=counted)
    lists = lists.select("delivery", "symbol", "names", said_name="name", said_sector="sector")
    seen = seen.join(lists, on=["delivery", "symbol"], how="left", maintain_order="left")
    begun = seen.filter(pl.col("begins") == pl.col("delivery")).select("code", was="said_name", in_sector="said_sector")
    return (
        seen.join(begun, on="code", how="left", maintain_order="left")
        .with_columns(name=pl.coalesce("name", "was"), sector=pl.coalesce("sector", "in_sector"))
        .drop("was", "in_sector")
    )


def _positions(heights: Sequence[int]) -> pl.Series:
    return pl.Series(np.repeat(np.arange(len(heights), dtype=np.int32), heights))


def _given(captures: Sequence[Capture], symbols: pl.DataFrame) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    said = [c.actions for c in captures if c.actions is not None]
    if not said:
        return None, None
    told = pl.concat(said, how="diagonal").with_columns(delivery=_positions([f.height for f in said]))
    return declared(told, symbols.select("symbol", "sid", "begins"))


def _turns(known: Known, seen: pl.DataFrame, given: pl.DataFrame | None) -> list[int]:
    """The first deliveries in which a symbol may come to mean something else: called otherwise than before, or new
    under a name, or several, that an instrument has; or a vendor takes an ending back.
    """
    renamed = (pl.col("said_name").is_not_null() & pl.col("said_name").ne_missing(pl.col("name"))) | (
        pl.col("said_sector").is_not_null() & pl.col("said_sector").ne_missing(pl.col("sector"))
    )
    new = seen.filter(pl.col("begins") == pl.col("delivery"))
    called = new.select("delivery", same=normal("said_name")).filter(pl.col("same").fill_null("") != "")
    others = pl.concat(
        [
            called.group_by("same").agg(since=pl.col("delivery").min()),
            known.instruments.select(same=normal("name"), since=pl.lit(-1, pl.Int32)),
        ]
    )
    continued = called.join(others, on="same").filter(pl.col("since") < pl.col("delivery"))
    twice = known.instruments.filter(pl.col("symbol").is_duplicated())["symbol"]
    doubtful = (pl.col("names") > 1) & ((pl.col("begins") >= 0) | pl.col("symbol").is_in(twice.implode()))
    turns = [seen.filter(renamed | doubtful)["delivery"], continued["delivery"]]
    if given is not None and "withdrawn" in given.columns:
        turns.append(given.filter(pl.col("kind").is_in(ENDING) & pl.col("withdrawn"))["delivery"])
    return [found[0] for t in turns if (found := bounds(t, int))]


def _new(seen: pl.DataFrame) -> pl.DataFrame:
    """The listings of the instruments that are new, as `listings.changes` has them."""
    return (
        seen.filter(pl.col("begins") == pl.col("delivery"))
        .with_columns(session="first", listed=pl.lit(value=True), event=pl.lit("new"))
        .select(*CHANGE, "delivery")
    )


class _Walk:
    """Who is listed, and when it was last heard of, from delivery to delivery; by code, days as numbers."""

    def __init__(
        self,
        known: Known,
        captures: Sequence[Capture],
        symbols: pl.DataFrame,
        seen: pl.DataFrame,
        bars: pl.DataFrame,
        given: pl.DataFrame | None,
        calendar: Calendar,
    ) -> None:
        self._known = known
        self._captures = captures
        self._calendar = calendar
        self._symbols = symbols
        self._sessions = [calendar.on_or_before(c.label) for c in captures]
        self._days = _days(pl.Series(self._sessions, dtype=pl.Date))
        self._silence = known.evidence.delisted_after if captures[0].listings is None else UNLISTED_FOR
        self._listed: Flags = symbols["listed"].to_numpy().copy()
        self._ended = list[pl.DataFrame]()

        # the symbols of each delivery
        self._bounds: Ints = np.searchsorted(seen["delivery"].to_numpy(), np.arange(len(captures) + 1))
        self._codes: Ints = seen["code"].to_numpy()
        self._new: Flags = (seen["begins"] == seen["delivery"]).to_numpy()
        self._first, self._newest = _days(seen["first"]), _days(seen["newest"])
        nameless = pl.col("said_name").is_null() | pl.col("name").is_null()
        self._nameless: Flags = seen.select(nameless).to_series().to_numpy()
        self._called = seen.filter(pl.col("begins") == pl.col("delivery")).select("code", "name", "sector")

        # how many bars each session has, and what each delivery adds; when each instrument was last heard of
        span = calendar.between(
            sessions_back(calendar, self._sessions[0], REUSE_AFTER + self._silence), self._sessions[-1]
        )
        self._span = _days(pl.Series(span, dtype=pl.Date))
        traded = [known.trading(s) for s in span if s < self._sessions[0]]
        self._bars = [len(t) for t in traded] + [0] * (len(span) - len(traded))
        heard = pl.concat([pl.Series("sid", dtype=pl.Int64), *traded]).to_frame()
        heard = heard.with_columns(last=pl.Series(np.repeat(self._span[: len(traded)], self._bars[: len(traded)])))
        self._last = self._by_code(heard.group_by("sid").agg(pl.col("last").max()), "last", UNKNOWN)
        opened = bars.filter("opened").group_by("delivery", "session").len()
        at = np.searchsorted(self._span, _days(opened["session"]))
        opened = opened.with_columns(at=at).filter(pl.Series(self._span[at] == _days(opened["session"])))
        self._opens = opened.select("delivery", "at", "len").rows_by_key("delivery")

        # from which day on it was declared that an instrument ends, or had ended
        declared_end = pl.col("kind").is_in(ENDING) & (pl.col("origin") != "derived") & ~pl.col("withdrawn")
        ends = known.actions.filter(declared_end).group_by("sid").agg(day=pl.col("session").min().to_physical())
        self._dead = self._by_code(ends, "day", NEVER)
        told = (
            []
            if given is None
            else given.filter(pl.col("kind").is_in(ENDING))
            .join(symbols.select("sid", "code"), on="sid")
            .select("delivery", "code", pl.col("session").to_physical())
            .rows()
        )
        self._told = dict[int, list[tuple[int, int]]]()
        for n, code, day in told:
            self._told.setdefault(n, []).append((code, day))

    def _by_code(self, frame: pl.DataFrame, column: str, missing: int) -> Ints:
        """A column of `frame` (by sid) for each symbol."""
        found = self._symbols.join(frame.select("sid", column), on="sid", how="left", maintain_order="left")
        return found[column].cast(pl.Int64).fill_null(missing).to_numpy().copy()

    def step(self, n: int) -> bool:
        """Whether delivery `n` is ordinary; then it is learnt."""
        inside = slice(self._bounds[n], self._bounds[n + 1])
        codes, new, newest = self._codes[inside], self._new[inside], self._newest[inside]
        back = ~self._listed[codes] & ~new
        dead = self._nameless[inside] & (self._dead[codes] <= self._first[inside])
        if back.any() or dead.any():
            return False
        self._last[codes] = np.maximum(self._last[codes], newest)
        for at, bars in self._opens.get(n, ()):
            self._bars[at] += bars
        day = self._days[n]
        over = self._listed & (self._dead <= day) & (self._last < day)
        if (since := self._silent_since(n)) is not None:
            over |= self._listed & (self._last < since) & self._unlisted(n)
        if over.any():
            gone = np.flatnonzero(over)
            self._ended.append(
                pl.DataFrame({"code": gone, "last": self._last[gone]}).with_columns(delivery=pl.lit(n, pl.Int32))
            )
        self._listed[over] = False
        self._listed[codes[new]] = True
        for code, ends in self._told.get(n, ()):
            self._dead[code] = min(self._dead[code], ends)
        return True

    def _silent_since(self, n: int) -> int | None:
        """The day since which a listed instrument must have had a bar, if delivery `n` can show it; see
        `Known.absent`.
        """
        if self._captures[n].label != self._sessions[n]:
            return None
        at = int(np.searchsorted(self._span, self._days[n]))
        begins = max(0, at - REUSE_AFTER - self._silence)
        good = good_sessions(self._bars[begins : at + 1])[-self._silence :]
        return int(self._span[begins + good[0]]) if len(good) == self._silence and begins + good[-1] == at else None

    def _unlisted(self, n: int) -> Flags:
        """The symbols that a vendor who lists names lists no more."""
        names = self._captures[n].listings
        if names is None:
            return np.ones(len(self._listed), dtype=np.bool_)
        return (~self._symbols["symbol"].is_in(names["symbol"].implode())).to_numpy()

    def ended(self) -> pl.DataFrame:
        """The listings of the instruments that ended, as `listings.changes` has them."""
        gone = pl.concat(
            [pl.DataFrame(schema={"code": pl.Int64, "last": pl.Int64, "delivery": pl.Int32}), *self._ended]
        )
        gone = gone.join(self._symbols.drop("listed"), on="code", maintain_order="left")
        gone = gone.join(self._called, on="code", how="left", maintain_order="left", suffix="_new")
        after = pl.Series(
            "session", [self._end(*row) for row in gone.select("sid", "last", "delivery").iter_rows()], dtype=pl.Date
        )
        return gone.with_columns(
            after,
            name=pl.coalesce("name", "name_new"),
            sector=pl.coalesce("sector", "sector_new"),
            listed=pl.lit(value=False),
            event=pl.lit("ended"),
        ).select(*CHANGE, "delivery")

    def _end(self, sid: int, last: int, delivery: int) -> date:
        heard = EPOCH + timedelta(days=last)
        if last < self._span[0]:  # longer ago than is held, or a late row of such a day
            before = self._known.last_session(sid)
            if before is None and last == UNKNOWN:
                return self._sessions[delivery]
            heard = max(heard, before or heard)
        return self._calendar.shift(heard, 1)


def _days(dates: pl.Series) -> Ints:
    return dates.to_physical().cast(pl.Int64).to_numpy()
