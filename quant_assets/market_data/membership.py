"""Members of an index or a universe, as known: vendor formats become events, events become spans, spans answer for
(session, cut).

Vendors report membership as spells, as change logs, or as lists at some date. `spells`, `changes` and `lists` turn each
into events, the rows of INDEX_MEMBERS: from `session` on, the symbol is a member (or not). Columns of the input that
are not named here (file, line, content, known_at) are carried along to the events that a row makes.

Only `Membership` answers who was a member. It takes rows with the time since when they were known, and sessions
together with their cuts; nothing here answers for "the members" without a cut.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import UTC_MICROS, Table
from quant_assets.errors import ContractViolation
from quant_assets.tables import UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS

THIN = 0.8  # of the names of the list before: a shorter list proves nobody absent
AT_ONCE = 20  # sessions that are looked up together
EVENT = ("session", "index", "symbol", "member", "weight")
FOREVER = date.max
STILL = datetime(9999, 1, 1, tzinfo=UTC)  # what was never superseded

_Span = tuple[date, date, float | None, datetime, datetime]  # start, until, weight, known_at, superseded


def spells(frame: pl.DataFrame, index: str) -> pl.DataFrame:
    """Events (columns `EVENT`, then those carried along) of the half-open spells [start, until).

    Input: symbol, start, until (null: still a member), weight if given. Spells that touch are one membership. Raises
    ContractViolation if `spell_faults` finds any; remove those rows first.
    """
    wrong = spell_faults(frame)
    if wrong.height:
        raise ContractViolation(
            f"{index}: {wrong.height} faulty spells, the first is {wrong.row(0, named=True)}; quarantine "
            f"what `spell_faults` returns and pass the others"
        )
    begun = frame.drop("until").rename({"start": "session"}).with_columns(member=pl.lit(value=True))
    over = (
        frame.filter(pl.col("until").is_not_null())
        .drop("start")
        .rename({"until": "session"})
        .with_columns(member=pl.lit(value=False))
    )
    over = over.with_columns(weight=pl.lit(None, pl.Float64)) if "weight" in frame.columns else over
    both = pl.concat([over.select(begun.columns), begun])  # if one ends as the next begins, the later row counts
    return _events(_said(both.unique(["symbol", "session"], keep="last", maintain_order=True)), index)


def spell_faults(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of spells (symbol, start, until) that cannot be meant, with `reason`: no symbol or start, empty, or
    overlapping a spell that began earlier.
    """
    ends = pl.col("until").fill_null(FOREVER)
    longest = ends.cum_max().shift(1).over("symbol")
    reason = (
        pl.when(pl.col("symbol").is_null() | pl.col("start").is_null())
        .then(pl.lit("a spell without symbol or start"))
        .when(pl.col("until") <= pl.col("start"))
        .then(pl.lit("a spell that ends before it begins"))
        .when(longest > pl.col("start"))
        .then(pl.lit("a spell that begins before the one before it has ended"))
    )
    return (
        frame.sort("symbol", "start", "until", nulls_last=True, maintain_order=True)
        .with_columns(reason=reason)
        .filter(pl.col("reason").is_not_null())
    )


def changes(frame: pl.DataFrame, index: str) -> pl.DataFrame:
    """Events of a change log: session, symbol, member (true: added, false: removed), weight if given.

    A second addition of a member is no event. A removal without an addition before it is kept: the name is out, though
    the time at which it came in is not known. Raises ContractViolation if `change_faults` finds any; remove those rows
    first.
    """
    wrong = change_faults(frame)
    if wrong.height:
        raise ContractViolation(
            f"{index}: {wrong.height} faulty changes, the first is {wrong.row(0, named=True)}; quarantine "
            f"what `change_faults` returns and pass the others"
        )
    return _events(_said(frame.unique(["symbol", "session"], keep="first", maintain_order=True)), index)


def change_faults(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of a change log that cannot be meant, with `reason`: a null, or one symbol both added and removed on one
    day.
    """
    reason = (
        pl.when(pl.any_horizontal(pl.col(c).is_null() for c in ("session", "symbol", "member")))
        .then(pl.lit("a change without date, symbol or direction"))
        .when(pl.col("member").n_unique().over("symbol", "session") > 1)
        .then(pl.lit("the symbol is both added and removed on this day"))
    )
    return frame.with_columns(reason=reason).filter(pl.col("reason").is_not_null())


def lists(frame: pl.DataFrame, index: str, between: pl.DataFrame | None = None) -> pl.DataFrame:
    """Events of full lists: session (the day for which the list holds), symbol, weight if given.

    `between`: a change log of the time between them (as for `changes`). A name that appears or disappears is dated to
    the first list that shows it: the time between two lists is not known, and earlier would be look-ahead. So a month
    without a list removes nobody: the next list decides. A list with less than `THIN` of the names of the one before
    adds members and removes none. On one day, the list overrules the log. An absence has no line of its own: of the
    columns carried along it has those which are the same in the whole list.
    """
    days = frame.group_by("session").agg(count=pl.col("symbol").n_unique()).sort("session")
    days = days.with_columns(tells=(pl.col("count") >= THIN * pl.col("count").shift(1)).fill_null(value=True))
    present = frame.unique(["session", "symbol"], keep="first", maintain_order=True).with_columns(
        member=pl.lit(value=True)
    )
    log = (between if between is not None else present.clear()).pipe(_like, present)
    names = pl.concat([present.select("symbol"), log.select("symbol")]).unique()
    gone = (
        days.filter("tells")
        .select("session")
        .join(names, how="cross")
        .join(present, on=["session", "symbol"], how="anti")
        .with_columns(member=pl.lit(value=False))
    )
    carried = [c for c in present.columns if c not in {*EVENT, "symbol", "session"}]
    same = frame.group_by("session").agg(pl.when(pl.col(c).n_unique() == 1).then(pl.col(c).first()) for c in carried)
    absent = gone.join(same, on="session", how="left").pipe(_like, present)
    told = pl.concat([log, absent, present]).unique(["symbol", "session"], keep="last", maintain_order=True)
    return _events(_said(told, leading=False), index)


def _like(frame: pl.DataFrame, model: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the columns of `model`, null where it lacks one."""
    return frame.select(
        pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in model.schema.items()
    )


def _said(told: pl.DataFrame, *, leading: bool = True) -> pl.DataFrame:
    """Of statements about symbols, those that change something; `leading`: keep a first statement that a symbol is no
    member.
    """
    ordered = told.with_columns(weight=pl.col("weight") if "weight" in told.columns else pl.lit(None, pl.Float64)).sort(
        "symbol", "session"
    )
    before = {c: pl.col(c).shift(1).over("symbol") for c in ("member", "weight")}
    news = pl.any_horizontal(pl.col(c).ne_missing(b) for c, b in before.items())
    return ordered.filter(news & (pl.lit(leading) | pl.col("member") | before["member"].is_not_null()))


def _events(said: pl.DataFrame, index: str) -> pl.DataFrame:
    ordered = said.with_columns(index=pl.lit(index)).sort("session", "symbol")
    return ordered.select(
        pl.col(c).cast(INDEX_MEMBERS.schema[c]) if c in EVENT else pl.col(c)
        for c in (*EVENT, *(c for c in ordered.columns if c not in EVENT))
    )


def check_intervals(frame: pl.DataFrame, who: str = "sid") -> None:
    """Hold that `frame` (the column `who`, start, until) has half-open intervals that do not overlap.

    Raises ContractViolation naming the first that do.
    """
    if frame.null_count().select(who, "start", "until").row(0) != (0, 0, 0):
        raise ContractViolation(
            f"intervals without {who}, start or until: "
            f"{frame.filter(pl.any_horizontal(pl.col(who, 'start', 'until').is_null())).head(3).rows()}"
        )
    empty = frame.filter(pl.col("until") <= pl.col("start"))
    if empty.height:
        raise ContractViolation(
            f"intervals [start, until) that end before they begin: {empty.select(who, 'start', 'until').head(3).rows()}"
        )
    ordered = (
        frame.select(who, "start", "until")
        .sort(who, "start", "until")
        .with_columns(before=pl.col("until").shift(1).over(who))
    )
    overlapping = ordered.filter(pl.col("before") > pl.col("start"))
    if overlapping.height:
        raise ContractViolation(
            f"intervals of one {who} overlap (who, start, until, end of the one before): {overlapping.head(3).rows()}"
        )


class Membership:
    """Who was a member, as it was known. It can be asked for sessions together with their cuts, and in no other way."""

    def __init__(self, versions: pl.DataFrame) -> None:
        """`versions`: who (sid or symbol), start, until, weight, known_at, superseded: over [start, until) a member, as
        known in [known_at, superseded).
        """
        if versions.schema.get("known_at") != UTC_MICROS or versions["known_at"].null_count():
            raise ContractViolation(
                f"membership without knowledge time: each row needs known_at in UTC; found {dict(versions.schema)}"
            )
        self._versions = versions

    @classmethod
    def from_universe(cls, rows: pl.DataFrame) -> "Membership":
        """The membership of one universe, by its rows of UNIVERSE.

        Raises ContractViolation where intervals overlap or rows are of several.
        """
        _require_one(rows, "universe", UNIVERSE)
        spans = rows.select(
            who="sid",
            start="session",
            until="until",
            weight=pl.lit(None, pl.Float64),
            known_at="known_at",
            superseded=pl.lit(STILL, UTC_MICROS),
        )
        check_intervals(spans, "who")
        return cls(spans)

    @classmethod
    def from_index(cls, rows: pl.DataFrame) -> "Membership":
        """The membership of one index by symbol, by every version of its rows of INDEX_MEMBERS (withdrawn ones too).

        Raises ContractViolation where rows are of several.
        """
        _require_one(rows, "index", INDEX_MEMBERS)
        told = rows.sort("symbol", "known_at", "session").select(
            "symbol", "session", "known_at", "weight", member=pl.when("withdrawn").then(None).otherwise("member")
        )
        in_order = (pl.col("session") > pl.col("session").shift(1)).fill_null(value=True) & pl.col(
            "member"
        ).is_not_null()
        told = told.with_columns(plain=in_order.all().over("symbol"))
        spans: list[tuple[object, ...]] = []
        for (symbol,), of_symbol in (
            told.filter(~pl.col("plain"))
            .drop("plain")
            .partition_by("symbol", as_dict=True, maintain_order=True, include_key=False)
            .items()
        ):
            spans += [(symbol, *span) for span in _spans(of_symbol.iter_rows())]
        schema = pl.Schema(
            {
                "who": pl.String,
                "start": pl.Date,
                "until": pl.Date,
                "weight": pl.Float64,
                "known_at": UTC_MICROS,
                "superseded": UTC_MICROS,
            }
        )
        return cls(
            pl.concat(
                [pl.DataFrame(spans, schema=schema, orient="row"), _plain_spans(told.filter("plain")).cast(schema)]
            )
        )

    def at(self, sessions: Sequence[date], cuts: Cuts) -> pl.DataFrame:
        """session, who, weight: the members in each of `sessions` as known at its cut; sorted."""
        there = self._of(sessions, cuts, pl.col("start") <= pl.col("session"), pl.col("until") > pl.col("session"))
        return there.select("session", "who", "weight").sort("session", "who")

    def former(self, sessions: Sequence[date], cuts: Cuts, months: int = 12) -> pl.DataFrame:
        """session, who: members within the `months` before each of `sessions` that are none in it, as known at its cut;
        sorted.
        """
        earlier = self._of(
            sessions, cuts, pl.col("start") < pl.col("session"), pl.col("until") > pl.col("since"), months=months
        )
        return (
            earlier.join(self.at(sessions, cuts), on=["session", "who"], how="anti")
            .select("session", "who")
            .unique()
            .sort("session", "who")
        )

    def intervals(self, session: date, cuts: Cuts) -> pl.DataFrame:
        """who, start, until: the half-open intervals that began by `session`, as known at its cut; the end is null
        where none is known.
        """
        cut = cuts.of(session)
        began = self._versions.filter(pl.col("start") <= session, pl.col("known_at") <= cut, pl.col("superseded") > cut)
        touching = pl.col("start") == pl.col("until").shift(1).over("who")
        runs = began.sort("who", "start").with_columns(run=(~touching.fill_null(value=False)).cum_sum().over("who"))
        merged = runs.group_by("who", "run", maintain_order=True).agg(pl.col("start").first(), pl.col("until").last())
        return merged.select("who", "start", until=pl.when(pl.col("until") < FOREVER).then("until"))

    def _of(self, sessions: Sequence[date], cuts: Cuts, *conditions: pl.Expr, months: int = 0) -> pl.DataFrame:
        asked = pl.DataFrame(
            [(s, cuts.of(s)) for s in sorted(set(sessions))],
            schema={"session": pl.Date, "cut": UTC_MICROS},
            orient="row",
        )
        asked = asked.with_columns(since=pl.col("session").dt.offset_by(f"-{months}mo"))
        known = (pl.col("known_at") <= pl.col("cut"), pl.col("superseded") > pl.col("cut"))
        found = [asked.head(0).join(self._versions.head(0), how="cross")]
        for some in asked.iter_slices(AT_ONCE):  # most of a long history never meets a few sessions
            near = self._versions.filter(
                pl.col("start") <= some["session"][-1],
                pl.col("until") > some["since"][0],
                pl.col("known_at") <= some["cut"][-1],
                pl.col("superseded") > some["cut"][0],
            )
            found.append(some.join(near, how="cross").filter(*conditions, *known))
        return pl.concat(found)


def _require_one(rows: pl.DataFrame, column: str, table: Table) -> None:
    """Raise ContractViolation if rows lack a key of `table` or known_at, or are of more than one `column`."""
    if missing := [c for c in dict.fromkeys((*table.key, "known_at")) if c not in rows.columns]:
        raise ContractViolation(
            f"rows of {table.name} lack {missing}; membership as known needs the rows as the store returns them"
        )
    if rows[column].n_unique() > 1:
        raise ContractViolation(
            f"{table.name} rows of more than one {column}: {rows[column].unique().sort().to_list()}; read one of them"
        )


def _plain_spans(told: pl.DataFrame) -> pl.DataFrame:
    """As `_spans`, for symbols whose events became known in the order in which they happen, none withdrawn.

    Each event holds without an end until the next is known, and up to the next from then on.
    """
    following = told.with_columns(
        after=pl.col("session").shift(-1).over("symbol"), corrected=pl.col("known_at").shift(-1).over("symbol")
    ).filter("member")
    columns = {"who": "symbol", "start": "session"}
    at_first = following.select(
        **columns,
        until=pl.lit(FOREVER),
        weight="weight",
        known_at="known_at",
        superseded=pl.col("corrected").fill_null(STILL),
    )
    then = following.filter(pl.col("after").is_not_null()).select(
        **columns, until="after", weight="weight", known_at="corrected", superseded=pl.lit(STILL, UTC_MICROS)
    )
    return pl.concat([at_first.filter(pl.col("known_at") < pl.col("superseded")), then])


def _spans(versions: Iterable[tuple[date, datetime, float | None, bool | None]]) -> Iterator[_Span]:
    """The spans of one symbol's events, each with the time from which it was known so.

    Events: (session, known_at, weight, member; None: withdrawn), in the order in which they became known. An event
    holds until the next event's session, so a new one changes only the span into which it falls.
    """
    said: dict[date, tuple[float | None, bool]] = {}
    order: list[date] = []
    standing: dict[date, tuple[date, float | None, datetime]] = {}  # start: until, weight, known_at

    def restate(at: date, known_at: datetime) -> Iterator[_Span]:
        """End what was known of the span that starts at an event, and state it anew."""
        held = standing.pop(at, None)
        if held is not None and held[2] < known_at:
            yield at, *held, known_at
        if at in said and said[at][1]:
            after = bisect_right(order, at)
            standing[at] = (order[after] if after < len(order) else FOREVER, said[at][0], known_at)

    for session, known_at, weight, member in versions:
        if member is not None:
            if session not in said:
                insort(order, session)
            said[session] = (weight, member)
        elif session in said:
            order.remove(session)
            del said[session]
        place = bisect_left(order, session)
        for touched in (*order[max(place - 1, 0) : place], session):
            yield from restate(touched, known_at)
    yield from ((at, *held, STILL) for at, held in standing.items())
