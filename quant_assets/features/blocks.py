"""Anchored blocks and vintages: why a range equals its days, to the bit.

A rolling sum's last bits depend on where its series starts, an adjusted price on when one looks, and a restated
row was another row before. So a feature of session t is always evaluated from the same start, the *anchor* of t's
calendar quarter, on what was known at t's cut:

    anchor ────────────── first session of the block ──────────── t ──────── end of the block
           lookback                                   evaluated

A *vintage* of a name is a stretch of sessions whose pasts agree: it ends where a late row, a restatement, a
withdrawal or a late action changes what lies behind. A day needs the one vintage in force at t; a range needs all
that are in force in it, each as a series of its own. Both run the same kernel over the same rows in the same order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.features.sets import PRICES, FeatureSet
from quant_assets.market_data.adjustment import SPLITS, growth, terms

FEW = 32_768  # rows that a kernel is given at once: 158 columns of them stay in memory that is there already


@dataclass(frozen=True)
class Block:
    """A stretch [first, last] of sessions inside one quarter, evaluated from `anchor`; positions in the calendar."""

    anchor: int
    first: int
    last: int


def quarter_start(calendar: Calendar, session: date) -> date:
    """The first session of the quarter in which `session` lies."""
    return calendar.on_or_after(date(session.year, 3 * ((session.month - 1) // 3) + 1, 1))


def default_anchor(calendar: Calendar, block_start: date, lookback: int) -> date:
    """`lookback` sessions before the block's first session."""
    return calendar.shift(block_start, -lookback)


def versions(rows: pl.DataFrame, cuts: pl.DataFrame, values: tuple[str, ...], subject: tuple[str, ...]) -> pl.DataFrame:
    """When each distinct content of a subject entered the platform's knowledge.

    `rows`: subject, session, `values`, withdrawn, known_at. `cuts`: session, i, cut.
    Returns the subject, values and withdrawn with i (position of `session`), e (position of the first cut that knew it,
    not before i) and late (e > i: known only after its own session's cut). Contents that repeat are dropped.
    """
    key = [*subject, "i"]
    located = (
        rows.join(cuts.select("session", "i"), on="session")
        .select(*key, *values, "withdrawn", "known_at")
        .sort("known_at")
    )
    entered = (
        located.join_asof(cuts.select("cut", e="i").sort("cut"), left_on="known_at", right_on="cut", strategy="forward")
        .drop("cut")
        .drop_nulls("e")
    )
    known = (
        entered.with_columns(e=pl.max_horizontal("e", "i"))
        .sort(*key, "known_at")
        .unique([*key, "e"], keep="last", maintain_order=True)
        .with_columns(
            same=pl.all_horizontal(pl.col(k).eq_missing(pl.col(k).shift(1)) for k in key)
        )  # sorted by key: windows over it would cost ten times as much
        .with_columns(nothing_before=~pl.col("same") | pl.col("withdrawn").shift(1, fill_value=True))
    )
    moved = pl.any_horizontal([pl.col(c).ne_missing(pl.when("same").then(pl.col(c).shift(1))) for c in values])
    changed = (pl.col("withdrawn") != pl.col("nothing_before")) | (~pl.col("withdrawn") & moved)
    return known.filter(changed).select(*key, *values, "withdrawn", "e", late=pl.col("e") > pl.col("i"))


def _in_vintages(known: pl.DataFrame, starts: pl.DataFrame, subject: list[str]) -> pl.DataFrame:
    """What each vintage holds: all known at its start `v`, then what arrives at its own session before its `end`."""
    held = known.join(starts, on="sid").filter(
        (pl.col("e") <= pl.col("v")) | (~pl.col("late") & (pl.col("i") > pl.col("v")) & (pl.col("i") < pl.col("end")))
    )
    latest = held.sort(*subject, "v", "i", "e").unique([*subject, "v", "i"], keep="last", maintain_order=True)
    return latest.filter(~pl.col("withdrawn")).drop("withdrawn", "late", "e")


def vintage_starts(bars: pl.DataFrame, actions: pl.DataFrame, block: Block) -> pl.DataFrame:
    """Columns sid, v, end: the vintages in force in [first, last], as half-open stretches of positions."""
    late = [f.filter(pl.col("late") & (pl.col("e") > block.first)).select("sid", v="e") for f in (bars, actions)]
    opening = bars.select("sid").unique().with_columns(v=pl.lit(block.first, dtype=pl.Int32))
    starts = pl.concat([opening, *late]).unique().sort("sid", "v")
    return starts.with_columns(end=pl.col("v").shift(-1).over("sid").fill_null(block.last + 1))


def panel(feature_set: FeatureSet, bars: pl.DataFrame, actions: pl.DataFrame, block: Block) -> pl.DataFrame:
    """The panel of a block: columns series, i, sid, present, selected and those the set reads; sorted by (series, i).

    `bars` and `actions` are `versions`. A series is one vintage of one name from the anchor on, with a row for each
    session between its first and its last bar (`present` is false where there was none). `selected` marks the rows
    whose vintage is in force.
    """
    if feature_set.splits_only:
        actions = actions.filter(pl.col("kind").is_in(SPLITS))
    bars = bars.filter(pl.col("i").is_between(block.anchor, block.last) & (pl.col("e") <= block.last))
    actions = actions.filter((pl.col("i") > block.anchor) & (pl.col("i") <= block.last) & (pl.col("e") <= block.last))
    starts = vintage_starts(bars, actions, block)
    rows = _in_vintages(bars, starts, ["sid"]).with_columns(present=pl.lit(value=True))
    dense = (
        rows.group_by("sid", "v", "end")
        .agg(i=pl.int_range(pl.col("i").min(), pl.col("i").max() + 1, dtype=pl.Int32))
        .explode("i")
    )
    out = (
        dense.join(rows.drop("end"), on=["sid", "v", "i"], how="left")
        .with_columns(pl.col("present").fill_null(value=False))
        .sort("sid", "v", "i")
    )
    out = out.with_columns(series=pl.struct("sid", "v").rle_id())
    out = _forward_adjusted(out, _in_vintages(actions, starts, ["sid", "kind"]), feature_set.columns)
    in_force = pl.col("present") & (pl.col("i") >= pl.col("v")) & (pl.col("i") < pl.col("end"))
    return out.select("series", "i", "sid", "present", *feature_set.columns, selected=in_force)


def _forward_adjusted(rows: pl.DataFrame, actions: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Raw × the cumulative factor of the actions after the anchor: what one unit held at the anchor has become.

    The effect of an action on one unit is defined once, in `adjustment.terms` and `adjustment.growth`.
    """
    on = ["sid", "v", "i"]
    out = rows.join(terms(actions, *on), on=on, how="left").sort("series", "i")
    ratio = pl.col("ratio").fill_null(1.0)
    grown = ratio
    if "close" in rows.columns:
        before = pl.col("close").forward_fill().shift(1).over("series")
        grown = growth(ratio, (pl.col("paid") / before).fill_null(0.0))
    out = out.with_columns(growth=grown.cum_prod().over("series"), shares=ratio.cum_prod().over("series"))
    raw = [pl.col(c.removeprefix("raw_")).cast(pl.Float64).alias(c) for c in columns if c.startswith("raw_")]
    prices = [(pl.col(c) * pl.col("growth")).alias(c) for c in columns if c in PRICES]
    volume = [(pl.col(c) / pl.col("shares")).alias(c) for c in columns if c == "volume"]
    return out.with_columns(*raw, *prices, *volume)


def _few_rows(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The panel, some series at a time: a kernel looks at one alone, and its columns of all rows would fill the memory,
    most of them for rows that are not selected.
    """
    if rows.height <= FEW:
        return [rows]
    begins = pl.arg_where(pl.col("series") != pl.col("series").shift(1, fill_value=-1))
    starts: list[int] = rows.with_columns(pl.col("series").cast(pl.Int64)).select(begins).to_series().to_list()
    cuts = [0]
    for start, end in pairwise([*starts, rows.height]):
        if end - cuts[-1] > FEW and start > cuts[-1]:
            cuts.append(start)
    return [rows.slice(a, b - a) for a, b in pairwise([*cuts, rows.height])]


def evaluate(
    feature_set: FeatureSet,
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    members: pl.DataFrame,
    block: Block,
    inputs: Mapping[str, pl.DataFrame] | None = None,
) -> pl.DataFrame:
    """Columns i, sid and the features, for the members of each session in the block that have a bar; sorted by (i,
    sid).

    `members`: i, sid, as known at each session's cut. `inputs`: what the set's inputs brought, by name, with i for the
    session. Selection comes first, membership next, cross-sections last. Values that are not finite are null.
    """
    selected = kerneled(feature_set, panel(feature_set, bars, actions, block), inputs or {})
    return sectioned(feature_set, selected, members, inputs or {})


def kerneled(feature_set: FeatureSet, rows: pl.DataFrame, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """What the kernel makes of a panel: the selected rows with i and sid, sorted by them."""
    for one in feature_set.inputs:
        if one.reads_panel:
            rows = rows.join(inputs[one.name], on="i", how="left", maintain_order="left")
    computed = pl.concat([feature_set.kernel(few).filter("selected") for few in _few_rows(rows)])
    return computed.drop("selected", "present", "series").sort("i", "sid")


def sectioned(
    feature_set: FeatureSet, selected: pl.DataFrame, members: pl.DataFrame, inputs: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Columns i, sid and the features of the members among `selected`, after the cross-section; as `evaluate`."""
    member_rows = selected.join(members.select("i", "sid"), on=["i", "sid"], how="semi", maintain_order="left")
    for one in feature_set.inputs:
        if not one.reads_panel:
            member_rows = member_rows.join(inputs[one.name], on=["i", "sid"], how="left", maintain_order="left")
    # a key that is flagged as sorted is summed in another order: ^ 1 keeps sessions apart and is never sorted, however
    # many there are
    out = feature_set.cross_section(member_rows.with_columns(session=pl.col("i") ^ 1))
    finite = [
        pl.when(pl.col(f).is_finite()).then(pl.col(f)).cast(feature_set.dtype).alias(f) for f in feature_set.features
    ]
    return out.select("i", "sid", *finite).sort("i", "sid")
