"""Feature sets on bars of a minute, five, an hour: the daily sets' own kernels, blocks and vintages, with a bar's end
for a session's cut.

The bars of a venue lie on the grid of its calendar. A block is one session, evaluated from its anchor: the first bar of
the latest session that leaves the declared lookback before it. A value of the bar [ts, ts + length) is what was known
`delay` after its end, never a moment before: the bar that is still open is in no feature.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated

import polars as pl
from msgspec import Meta

from quant_assets.calendars import Calendar
from quant_assets.contract import UTC_MICROS, in_force, known_by
from quant_assets.errors import ConfigurationError
from quant_assets.features.blocks import Block, evaluate, versions
from quant_assets.features.sets import DAILY, FeatureSet
from quant_assets.market_data.adjustment import ADJUSTING
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import Frozen, StageReport
from quant_assets.tables import ACTIONS, ANCHORS, LISTINGS
from quant_assets.vendor_tables import INTRADAY_BARS

UNITS = {"s": 1, "m": 60, "h": 3600}
TERMS = ("numerator", "denominator", "cash", "value")
NO_DELAY = timedelta()


def seconds_of(frequency: str) -> int:
    """60 for 1m, 3600 for 1h. Raises ConfigurationError for anything that is no length of a bar."""
    number, unit = frequency[:-1], frequency[-1:]
    if unit not in UNITS or not number.isdigit() or int(number) == 0:
        raise ConfigurationError(f"{frequency!r} is no length of a bar; write 1m, 5m, 1h")
    return int(number) * UNITS[unit]


def on_bars(feature_set: FeatureSet, frequency: str) -> FeatureSet:
    """The same features of bars of this length, as the set `<name>_<frequency>`.

    Raises ConfigurationError where it needs what only sessions have.
    """
    seconds_of(frequency)
    if feature_set.inputs:
        raise ConfigurationError(
            f"{feature_set.name!r} reads {[i.name for i in feature_set.inputs]}, which sessions have and bars have not"
        )
    doc = f"{feature_set.doc} Of bars of {frequency}: where a line says session, it means bar."
    return replace(feature_set, name=f"{feature_set.name}_{frequency}", frequency=frequency, doc=doc)


class OnBars(Frozen, frozen=True, forbid_unknown_fields=True):
    """A set on the bars of a venue, as a deployment declares it: `feature_set` by its name (alpha158_1m), the venue's
    `calendar`, and how many seconds after its end a bar is used.
    """

    feature_set: Annotated[str, Meta(description="A feature set on bars, by its name.")]
    venue: Annotated[str, Meta(min_length=1, description="Whose bars, as they stand in `intraday_bars`.")]
    calendar: Annotated[str, Meta(description="The venue's calendar.")] = "24/7"
    delay: Annotated[int, Meta(ge=0, le=86_400, description="Seconds after its end until a bar is used.")] = 0


@dataclass(frozen=True)
class Grid:
    """The bars of one block: columns session (the bar's start), day, i, cut.

    `anchor` is the session of the first one.
    """

    slots: pl.DataFrame
    anchor: date


def grid(hours: Calendar, anchor: date, day: date, seconds: int, delay: timedelta) -> Grid:
    """The bars from `anchor` to the end of `day` with the time at which each is used: its end, or the venue's close or
    break where that is earlier, and `delay`.
    """
    slots = hours.grid(anchor, day, seconds).rename({"session": "day", "ts": "session"})
    held = hours.schedule(anchor, day).select(day="session", break_start="break_start", close="close")
    ends = pl.col("session") + pl.duration(seconds=seconds)
    until = pl.when(pl.col("session") < pl.col("break_start")).then("break_start").otherwise("close")
    located = slots.join(held, on="day", maintain_order="left").with_columns(
        cut=(pl.min_horizontal(ends, until) + delay).cast(UTC_MICROS)
    )
    return Grid(located.select("session", "day", pl.int_range(pl.len(), dtype=pl.Int32).alias("i"), "cut"), anchor)


def anchor_of(hours: Calendar, day: date, seconds: int, lookback: int) -> date:
    """The latest session that leaves `lookback` bars before the first one of `day`."""
    anchor, bars = day, 0
    while bars < lookback:
        anchor = hours.shift(anchor, -1)
        bars += hours.grid(anchor, anchor, seconds).height
    return anchor


def bar_anchors(
    store: Store, feature_set: FeatureSet, venue: str, hours: Calendar, days: Sequence[date]
) -> dict[date, date]:
    """By session of a venue: the anchor that is stored, or else the one of today's calendar."""
    where = {"feature_set": _anchored(feature_set, venue), "version": feature_set.version}
    standing = dict(store.read(ANCHORS, as_of=None, where=where).select("session", "anchor").iter_rows())
    return {
        d: standing.get(d) or anchor_of(hours, d, seconds_of(feature_set.frequency), feature_set.lookback) for d in days
    }


def _anchored(feature_set: FeatureSet, venue: str) -> str:
    return f"{feature_set.name} of {venue}"  # venues keep different hours


def compute_bars(
    store: Store,
    feature_set: FeatureSet,
    venue: str,
    hours: Calendar,
    first: datetime,
    last: datetime,
    *,
    delay: timedelta = NO_DELAY,
) -> pl.DataFrame:
    """Rows of `feature_set.table` for every bar of the venue that starts in [first, last], each as known `delay` after
    its end. Reads only.
    """
    days = hours.between(
        hours.on_or_before(first.date()), hours.on_or_after(last.date() + timedelta(days=1))
    )  # FX opens a session on the evening before
    rows = [
        _session_rows(store, feature_set, venue, hours, day, anchor, (first, last), delay)
        for day, anchor in bar_anchors(store, feature_set, venue, hours, days).items()
    ]
    return pl.concat([feature_set.table.empty(), *rows]).sort(feature_set.table.key)


def _session_rows(
    store: Store,
    feature_set: FeatureSet,
    venue: str,
    hours: Calendar,
    day: date,
    anchor: date,
    asked: tuple[datetime, datetime],
    delay: timedelta,
) -> pl.DataFrame:
    seconds = seconds_of(feature_set.frequency)
    slots = grid(hours, anchor, day, seconds, delay).slots
    wanted = slots.filter(pl.col("session").is_between(*asked), pl.col("day") == day)
    if wanted.is_empty():
        return feature_set.table.empty()
    to = wanted.row(-1, named=True)
    as_of, values = to["cut"], feature_set.stored_columns
    opens = slots["session"][0]
    stored = store.read(
        INTRADAY_BARS,
        as_of=as_of,
        first=opens.date(),
        last=to["session"].date(),
        where={"venue": venue, "seconds": seconds},
        columns=(*values, "withdrawn"),
    ).rename({"ts": "session"})
    names = stored.select("symbol").unique().sort("symbol").with_columns(sid=pl.int_range(pl.len(), dtype=pl.Int64))
    bars = versions(stored.join(names, on="symbol"), slots.select("session", "i", "cut"), values, ("sid",))
    block = Block(0, wanted["i"][0], to["i"])
    members = bars.select("sid").unique().join(wanted.select("i"), how="cross")
    out = evaluate(feature_set, bars, bar_actions(store, names, slots, as_of, anchor, day), members, block)
    located = out.join(wanted, on="i").join(names, on="sid").rename({"session": "ts", "cut": "known_at"})
    return located.with_columns(venue=pl.lit(venue), version=pl.lit(feature_set.version)).select(
        *feature_set.table.schema
    )


def bar_actions(
    store: Store,
    names: pl.DataFrame,
    slots: pl.DataFrame,
    as_of: datetime,
    anchor: date,
    day: date,
    kinds: Collection[str] = ADJUSTING,
    values: tuple[str, ...] = TERMS,
) -> pl.DataFrame:
    """The versions of the actions of these kinds (sid of `names`, kind, `values`) of the names that are listed shares,
    at the first bar of their ex-session.

    Which share a symbol is, is taken as known when `day` opens: a listing that is heard of later changes nothing in
    that session, live or by range.
    """
    opened = slots.filter(pl.col("day") == day)["session"][0]
    listed = (
        in_force(store.read(LISTINGS, as_of=opened, last=day), LISTINGS)
        .filter("listed")
        .sort("session")
        .unique("symbol", keep="last", maintain_order=True)
    )
    known = store.read(ACTIONS, as_of=as_of, first=anchor, last=day, columns=(*values, "withdrawn")).filter(
        pl.col("kind").is_in(kinds)
    )
    named = known.join(
        names.rename({"sid": "number"}).join(listed.select("symbol", "sid"), on="symbol"), on="sid"
    ).with_columns(sid="number")
    opening = slots.group_by("day", maintain_order=True).agg(pl.all().first()).select("day", "i", "cut")
    return versions(named, opening.rename({"day": "session"}), values, ("sid", "kind"))


def by_session(
    store: Store,
    feature_set: FeatureSet,
    venue: str,
    hours: Calendar,
    sessions: Sequence[date],
    delay: timedelta,
    progress: Progress,
) -> Iterator[pl.DataFrame]:
    """The rows of `compute_bars`, a session at a time."""
    for done, (day, anchor) in enumerate(bar_anchors(store, feature_set, venue, hours, sessions).items()):
        progress(done, len(sessions), f"{feature_set.name} {day}")
        yield _session_rows(store, feature_set, venue, hours, day, anchor, (hours.open(day), hours.close(day)), delay)
    progress(len(sessions), len(sessions), feature_set.name)


def publish_bars(
    store: Store,
    feature_set: FeatureSet,
    venue: str,
    hours: Calendar,
    sessions: Sequence[date],
    *,
    delay: timedelta = NO_DELAY,
    now: datetime | None = None,
    progress: Progress = quiet,
) -> StageReport:
    """Compute and store session by session; published bars are kept.

    `now`: bars that are not over by then are left for the next call.
    """
    if feature_set.frequency == DAILY:
        raise ConfigurationError(f"{feature_set.name!r} is of sessions; take on_bars({feature_set.name!r}, '1m')")
    known = [(d, a, hours.open(d)) for d, a in bar_anchors(store, feature_set, venue, hours, sorted(sessions)).items()]
    rows = [(d, _anchored(feature_set, venue), feature_set.version, a, k) for d, a, k in known]
    store.append(ANCHORS, pl.DataFrame(rows, schema=dict(ANCHORS.schema), orient="row"))
    table, where = feature_set.table, {"version": feature_set.version, "venue": venue}
    standing = store.read(
        table, as_of=None, first=min(sessions), last=max(sessions) + timedelta(days=1), where=where, columns=()
    ).select("symbol", "ts")
    new = total = 0
    for values in by_session(store, feature_set, venue, hours, sorted(sessions), delay, progress):
        over = values if now is None else known_by(values, now)
        new += store.append(table, over.join(standing, on=["symbol", "ts"], how="anti"))
        total += over.height
    return StageReport(
        stage=table.name, first=min(sessions), last=max(sessions), state="done" if total else "empty",
        reason="" if total else f"{venue} has no bars of {feature_set.frequency} in these sessions", rows=new,
        numbers={"sessions": len(sessions), "bars": total, "values": float(total * len(feature_set.features))},
    )  # fmt: skip
