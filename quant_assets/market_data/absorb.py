"""What deliveries of bars add to each table: bars, listings, actions, quarantine.

Deliveries are judged one after the other where symbols change their meaning, and together where they do not (`steady`);
either way the rows are the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.frames import bounds
from quant_assets.market_data import actions, listings, proposals
from quant_assets.market_data.adjustment import ADJUSTING
from quant_assets.market_data.derivation import derive, pairs
from quant_assets.market_data.identity import REUSE_AFTER, Identified, identify
from quant_assets.market_data.known import Known, sessions_back
from quant_assets.market_data.markets import market_of
from quant_assets.market_data.observations import turned_away
from quant_assets.market_data.screening import screen_all
from quant_assets.market_data.steady import Settled, steady
from quant_assets.market_data.versions import versions
from quant_assets.records import Capture
from quant_assets.tables import ACTIONS, BARS, DATA_FINDINGS, LISTINGS, PROPOSED_ACTIONS, QUARANTINE

STAMPED = (QUARANTINE, LISTINGS, ACTIONS, PROPOSED_ACTIONS, BARS)
# deliveries that are looked at together after one that had to be judged alone; twice as many each time it goes well
SHORT = 8


class Delivery(NamedTuple):
    """A capture, and when it is known."""

    capture: Capture
    known_at: datetime


class Absorbed(NamedTuple):
    """Rows by table name, and how many of what there were."""

    tables: dict[str, pl.DataFrame]
    numbers: Counter[str]


def absorb(known: Known, deliveries: Sequence[Delivery], calendar: Calendar) -> Absorbed:
    """What the deliveries, in their order, add to each table, given what is known; `known` learns it."""
    captures = [d.capture for d in deliveries]
    rows, rejected = screen_all(captures, calendar)
    bounds: Sequence[int] = np.searchsorted(rows["delivery"].to_numpy(), np.arange(len(captures) + 1)).tolist()
    parts = {t.name: list[pl.DataFrame]() for t in STAMPED} | {QUARANTINE.name: [rejected]}
    at, reach = 0, len(captures)
    while at < len(captures):
        until = min(at + reach, len(captures))
        ahead = rows[bounds[at] : bounds[until]].with_columns(pl.col("delivery") - at)
        step = _together(known, deliveries[at:until], ahead, calendar) if until > at + 1 else None
        if step is None:
            step, reach = _alone(known, deliveries[at], ahead.filter(pl.col("delivery") == 0), calendar), SHORT
        else:
            reach = 2 * reach if at + step.deliveries == until else SHORT
        happened, asked, unexplained = _happened(known, step, calendar)
        known.learn(ACTIONS, happened)
        known.learn(PROPOSED_ACTIONS, asked)
        said = (unexplained, step.changed, happened, asked, step.bars)
        for table, frame in zip(STAMPED, said, strict=True):
            parts[table.name].append(frame.with_columns(pl.col("delivery") + at))
        at += step.deliveries
    frames = {name: pl.concat(some) for name, some in parts.items()}
    numbers = Counter(
        {
            "kept": rows.height,
            "bars": frames[BARS.name].height,
            "restated": frames[BARS.name].filter("restated").height,
            "actions": frames[ACTIONS.name].height,
            "proposed": proposals.opened(frames[PROPOSED_ACTIONS.name]).height,
            "instruments": frames[LISTINGS.name].filter(pl.col("event") == "new").height,
        }
    )
    return Absorbed(_stamped(deliveries, frames), numbers)


def _together(known: Known, deliveries: Sequence[Delivery], rows: pl.DataFrame, calendar: Calendar) -> Settled | None:
    """What deliveries add up to the first that must be judged alone; None if that is the first of them.

    `known` learns it.
    """
    step = steady(known, [d.capture for d in deliveries], rows, calendar)
    if step is not None:
        bars = step.bars
        if bars["restated"].any():
            bars = bars.unique(["sid", "session"], keep="last", maintain_order=True)
        known.learn(BARS, bars)
        known.learn(
            LISTINGS, step.changed.with_columns(known_at=_gathered([d.known_at for d in deliveries], step.changed))
        )
    return step


def _alone(known: Known, delivery: Delivery, rows: pl.DataFrame, calendar: Calendar) -> Settled:
    """What one delivery adds, whatever happens in it; `known` learns its bars and listings."""
    capture, moment = delivery
    day = calendar.on_or_before(capture.label)
    standing = known.standing(rows["session"].unique().to_list())
    assigned = _identify(known, capture, rows, standing, day, calendar)
    rows = rows.join(assigned.assigned.select("symbol", "sid"), on="symbol", maintain_order="left")
    bars = pl.concat([versions(rows, standing), _withdrawn(rows, standing, assigned)])
    if capture.assumed:
        # its rows of sessions whose own label changed were not known at the time that it assumes
        bars = bars.filter((pl.col("session") == day) | ~pl.col("session").is_in(known.changed))
    known.learn(BARS, bars)
    changed = listings.changes(known, assigned, rows, standing, capture.listings, capture.label, calendar)
    changed = changed.with_columns(delivery=pl.lit(0, pl.Int32))
    known.learn(LISTINGS, changed.with_columns(known_at=pl.lit(moment)))
    if capture.actions is None:
        return Settled(1, rows, bars, changed, None, None)
    said = capture.actions.with_columns(delivery=pl.lit(0, pl.Int32))
    holders = known.holders().select("symbol", "sid", begins=pl.lit(-1, pl.Int32))
    return Settled(1, rows, bars, changed, *actions.declared(said, holders))


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
    first = min((bounds(rows["session"], date) or (day, day))[0], day)
    recent = known.days(sessions_back(calendar, first, REUSE_AFTER), day).filter(~pl.col("withdrawn"))["sid"].unique()
    overlap = standing.filter(~pl.col("withdrawn")).select("sid", "session", "close")
    declared = (pl.col("kind") == "delisting") & (pl.col("origin") == "declared") & ~pl.col("withdrawn")
    delisted = known.actions.filter(declared).group_by("sid").agg(ended=pl.col("session").max())
    return identify(
        rows,
        names,
        known.instruments,
        overlap,
        recent,
        delisted,
        known.last_session,
        capture.label,
        calendar,
        market_of(capture.source),
    )


def _withdrawn(rows: pl.DataFrame, standing: pl.DataFrame, assigned: Identified) -> pl.DataFrame:
    """The withdrawal of bars filed under an instrument that a symbol no longer means, as `versions`."""
    replaced = rows.join(assigned.of("replaced").select("symbol", "old_sid"), on="symbol")
    # unless it is filed under that instrument again, by its new symbol
    left = standing.filter(~pl.col("withdrawn")).join(rows, on=["sid", "session"], how="anti")
    gone = left.join(replaced.select("session", "file", "line", "delivery", sid="old_sid"), on=["sid", "session"])
    marks = {"withdrawn": True, "restated": True, "opened": False}
    return gone.with_columns(
        pl.lit(None, pl.Float64).alias("adj_close"), **{c: pl.lit(v) for c, v in marks.items()}
    ).select(*rows.columns, *marks)


def _happened(known: Known, step: Settled, calendar: Calendar) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The versions to write of actions (columns `actions.COLUMNS`, withdrawn, delivery) and of proposals (columns
    `proposals.ROW`, delivery), and the rows that nothing explains. A vendor that declares actions is taken at its word.
    """
    evidence = pairs(step.rows if step.given is None else step.rows.clear(), calendar)
    given, unexplained, unsure = derive(evidence, known.evidence)
    if step.given is not None and step.refused is not None:
        given, unexplained = step.given, step.refused
    derived = known.actions.filter(pl.col("kind").is_in(ADJUSTING) & (pl.col("origin") == "derived"))
    spoken_of = (derived, proposals.opened(known.proposals), given, unsure)
    doubted = pl.concat([f.select(proposals.SUBJECT) for f in spoken_of]).unique()
    evidence = evidence.join(doubted, on=proposals.SUBJECT, how="semi")
    changed = step.changed.filter(pl.col("event").is_in(["continued", "relisted", "ended"]))
    return *_in_turns(known, step, given, unsure, evidence, changed), unexplained


def _in_turns(
    known: Known,
    step: Settled,
    given: pl.DataFrame,
    unsure: pl.DataFrame,
    evidence: pl.DataFrame,
    changed: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What changes with each delivery: of actions, and of proposals.

    The rows of one instrument do not depend on those of another. So the first delivery of each instrument is processed
    for all instruments at once, then the second of each, and so on.
    """
    who = ["sid", "delivery"]
    turns = _turns(known, step.deliveries, [f.select(who) for f in (given, unsure, evidence, changed)])
    stands = known.actions.join(turns, on="sid", how="semi")
    asked = known.proposals.join(turns, on="sid", how="semi")
    told, waiting = ([f.clear().with_columns(delivery=pl.lit(0, pl.Int32))] for f in (stands, asked))
    for _, turn in sorted(turns.partition_by("turn", as_dict=True).items()):
        said, doubts, shown, new = (
            f.join(turn, on=who, how="semi").drop("delivery") for f in (given, unsure, evidence, changed)
        )
        happened, wrong = listings.events(stands, new, said, step.rows)
        news = actions.news(
            pl.concat([said, happened], how="diagonal"),
            shown,
            stands,
            doubts.select(proposals.SUBJECT),
            proposals.rejected(asked),
        )
        news = pl.concat([news, wrong]).unique(actions.KEY, keep="first", maintain_order=True)
        stands = pl.concat([stands, news]).unique(actions.KEY, keep="last", maintain_order=True)
        mine = (f.join(turn, on="sid", how="semi") for f in (asked, stands))
        opened = proposals.news(doubts, shown, *mine)
        asked = pl.concat([asked, opened]).unique(proposals.SUBJECT, keep="last", maintain_order=True)
        told.append(news.join(turn.select(who), on="sid"))
        waiting.append(opened.join(turn.select(who), on="sid"))
    return pl.concat(told), pl.concat(waiting)


def _turns(known: Known, deliveries: int, speaking: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Columns sid, delivery and turn: turn counts the deliveries that have rows of the instrument.

    If a proposal is open, the delivery after counts too: what is known by then may settle it.
    """
    waits = proposals.opened(known.proposals).select("sid").unique()
    doubted = pl.concat([waits, speaking[1].select("sid")])
    first = waits.with_columns(delivery=pl.lit(0, pl.Int32))
    spoken = pl.concat([*speaking, first]).unique()
    after = spoken.join(doubted, on="sid", how="semi").with_columns(pl.col("delivery") + 1)
    spoken = pl.concat([spoken, after.filter(pl.col("delivery") < deliveries)]).unique().sort("sid", "delivery")
    return spoken.with_columns(turn=pl.int_range(pl.len()).over("sid"))


def _stamped(deliveries: Sequence[Delivery], frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The rows by table name, in the tables' columns, each with where it came from and when it was known."""
    captures = [d.capture for d in deliveries]
    stamps = {
        "source": [c.source for c in captures],
        "capture": [c.label for c in captures],
        "dataset": [c.dataset for c in captures],
        "known_at": [d.known_at for d in deliveries],
        "declared_known_at": [c.known_at for c in captures],
        "calendar": [market_of(c.source) for c in captures],
    }
    held = {"state": pl.lit("held"), "by": pl.lit(None, pl.String), "note": pl.lit(None, pl.String)}
    out: dict[str, pl.DataFrame] = {}
    for table in STAMPED:
        frame = frames[table.name]
        marks = {c: _gathered(v, frame) for c, v in stamps.items() if c in table.schema}
        marked = frame.with_columns(**marks, **(held if table is QUARANTINE else {}))
        out[table.name] = marked.select(pl.col(c).cast(t) for c, t in table.schema.items())
    return out | {DATA_FINDINGS.name: turned_away(out[QUARANTINE.name])}


def _gathered(values: Sequence[object], frame: pl.DataFrame) -> pl.Series:
    """Of each row, its delivery's value."""
    return pl.Series(values).gather(frame["delivery"])
