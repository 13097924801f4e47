"""Publish a feature set: evaluate its blocks over the sessions asked for, freeze the values at each session's cut."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.errors import ContractViolation, LookbackExceeded
from quant_assets.features.blocks import Block, default_anchor, evaluate, quarter_start, versions
from quant_assets.features.catalogue import find_set
from quant_assets.features.sets import FeatureSet, Input
from quant_assets.market_data.adjustment import ADJUSTING
from quant_assets.market_data.membership import Membership
from quant_assets.ports import KnowledgeLog, Progress, Store, quiet
from quant_assets.records import StageReport
from quant_assets.strategy import Strategy, needed
from quant_assets.tables import ACTIONS, ANCHORS, BARS, UNIVERSE

CLOSURES = 5  # sessions that a calendar may lose after a block was begun: days of mourning, storms


def anchors(store: Store, feature_set: FeatureSet, cuts: Cuts, sessions: Sequence[date]) -> pl.DataFrame:
    """ANCHORS rows of the blocks in which `sessions` lie: as stored, or else where they belong by today's calendar.

    Raises LookbackExceeded where a block was begun with a shorter lookback than the set declares now: from its anchor
    the windows of some sessions would not be full.
    """
    stored = store.read(ANCHORS, as_of=None, where={"feature_set": feature_set.name, "version": feature_set.version})
    standing = dict(stored.select("session", "anchor").iter_rows())
    starts = sorted({quarter_start(cuts.calendar, s) for s in sessions})
    for start in starts:
        held = cuts.calendar.index(start) - cuts.calendar.index(standing.get(start) or start)
        if start in standing and held < feature_set.lookback - CLOSURES:
            raise LookbackExceeded(
                f"{feature_set.name} {feature_set.version} was published with a lookback of {held} sessions "
                f"in the quarter of {start}, and declares {feature_set.lookback} now; what is computed in "
                f"another way is another version"
            )
    rows = [
        (start, standing.get(start) or default_anchor(cuts.calendar, start, feature_set.lookback), cuts.of(start))
        for start in starts
    ]
    frame = pl.DataFrame(
        rows, schema={"session": pl.Date, "anchor": pl.Date, "known_at": ANCHORS.schema["known_at"]}, orient="row"
    )
    return frame.with_columns(feature_set=pl.lit(feature_set.name), version=pl.lit(feature_set.version)).select(
        *ANCHORS.schema
    )


def as_versions(
    store: Store, feature_set: FeatureSet, cuts: Cuts, anchor: date, last: date, names: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The versions of bars and of adjusting actions on [anchor, last] known by the cut of `last`, located on the
    calendar (see `blocks.versions`); of `names` (column sid) alone where given.
    """
    as_of, located, terms = cuts.of(last), cuts.frame(anchor, last), ("numerator", "denominator", "cash", "value")
    bars = store.read(BARS, as_of=as_of, first=anchor, last=last, columns=(*feature_set.stored_columns, "withdrawn"))
    actions = store.read(ACTIONS, as_of=as_of, first=anchor, last=last, columns=(*terms, "withdrawn")).filter(
        pl.col("kind").is_in(ADJUSTING)
    )
    if names is not None:
        bars, actions = (f.join(names, on="sid", how="semi", maintain_order="left") for f in (bars, actions))
    return versions(bars, located, feature_set.stored_columns, ("sid",)), versions(
        actions, located, terms, ("sid", "kind")
    )


def compute(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> pl.DataFrame:
    """Rows of `feature_set.table` for the members of each of `sessions` (consecutive or not), as known at each cut.

    Reads only.
    """
    return pl.concat(
        [feature_set.table.empty(), *by_block(store, feature_set, universe, cuts, sessions, progress)]
    ).sort(feature_set.table.key)


def by_block(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> Iterator[pl.DataFrame]:
    """The rows of `compute`, a block at a time and no more than that in memory, each sorted by the table's key."""
    if not sessions:
        return
    ordered, calendar = sorted(sessions), cuts.calendar
    standing = dict(anchors(store, feature_set, cuts, ordered).select("session", "anchor").iter_rows())
    membership = Membership.from_universe(
        store.read(UNIVERSE, as_of=cuts.of(ordered[-1]), where={"universe": universe})
    )
    for done, (start, in_block) in enumerate(groupby(ordered, key=lambda s: quarter_start(calendar, s))):
        wanted, anchor = list(in_block), standing[start]
        progress(done, len(standing), f"{feature_set.name} {start:%Y} Q{(start.month - 1) // 3 + 1}")
        located = cuts.frame(wanted[0], wanted[-1]).filter(pl.col("session").is_in(wanted))
        members = membership.at(wanted, cuts).select("session", sid="who").join(located, on="session")
        # a kernel looks at one name alone, so that names that are no members of any of these sessions need no
        # evaluation
        bars, actions = as_versions(store, feature_set, cuts, anchor, wanted[-1], members.select("sid").unique())
        block = Block(calendar.index(anchor), calendar.index(wanted[0]), calendar.index(wanted[-1]))
        values = evaluate(
            feature_set, bars, actions, members, block, inputs_of(store, feature_set, universe, cuts, wanted, anchor)
        ).join(located, on="i", maintain_order="left")
        named = values.with_columns(universe=pl.lit(universe), version=pl.lit(feature_set.version)).rename(
            {"cut": "known_at"}
        )
        yield named.select(*feature_set.table.schema)
    progress(len(standing), len(standing), feature_set.name)


def inputs_of(
    store: Store, feature_set: FeatureSet, universe: str, cuts: Cuts, wanted: Sequence[date], anchor: date
) -> dict[str, pl.DataFrame]:
    """What the set's inputs brought for `wanted`, by name; those of the panel from the anchor on."""
    whole = cuts.calendar.between(anchor, wanted[-1])
    return {
        one.name: brought(store, one, universe, cuts, whole if one.reads_panel else wanted)
        for one in feature_set.inputs
    }


def brought(store: Store, one: Input, universe: str, cuts: Cuts, asked: Sequence[date]) -> pl.DataFrame:
    """What an input brings for `asked`, ascending: its key with i (position on the calendar) for the session, and its
    columns.

    Raises ContractViolation where it did not bring what it declared.
    """
    key, rows = list(one.on), one.read(store, cuts, universe, asked)
    missing = [c for c in (*key, *one.columns) if c not in rows.columns]
    if missing or rows.select(key).is_duplicated().any():
        raise ContractViolation(
            f"input {one.name!r} must bring {[*key, *one.columns]} once for each {' and '.join(key)}; "
            f"it lacks {missing or 'nothing, and keys occur twice'}"
        )
    return (
        rows.select(*key, *(pl.col(c).cast(t) for c, t in one.columns.items()))
        .join(cuts.frame(asked[0], asked[-1]).select("session", "i"), on="session")
        .drop("session")
    )


def publish(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> StageReport:
    """Compute and store, block by block.

    Published values are kept: an interrupted run continues where it stopped, and the same sessions again are a no-op.
    """
    store.append(ANCHORS, anchors(store, feature_set, cuts, sessions))
    stands = store.read(
        feature_set.table,
        as_of=None,
        first=min(sessions),
        last=max(sessions),
        where={"version": feature_set.version, "universe": universe},
        columns=(),
    )
    published = stands.filter(pl.col("session").is_in(sessions))
    before = set(published["session"])
    new, nulls, covered = 0, 0, len(before)
    for values in by_block(store, feature_set, universe, cuts, [s for s in sessions if s not in before], progress):
        new += store.append(feature_set.table, values)
        covered += values["session"].n_unique()
        nulls += sum(values.select(feature_set.features).null_count().row(0))
    rows = new + published.height
    return StageReport(
        stage=f"features_{feature_set.name}",
        first=min(sessions),
        last=max(sessions),
        state="done" if rows else "empty",
        reason="" if rows else "no member of the universe has a bar as known at the cut",
        rows=new,
        numbers={
            "sessions": len(sessions),
            "sessions_with_values": covered,
            "published_before": len(before),
            "values": float(rows * len(feature_set.features)),
            "new_nulls": float(nulls),
        },
    )


def publish_sets(
    store: Store,
    knowledge: KnowledgeLog,
    cuts: Cuts,
    strategies: Sequence[Strategy],
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Publish every set that a model reads, or a label is measured against, over each universe that needs it."""
    for universe, name in needed(strategies):
        yield from publish_set(store, knowledge, cuts, find_set(name), [universe], sessions, progress)


def publish_set(
    store: Store,
    knowledge: KnowledgeLog,
    cuts: Cuts,
    feature_set: FeatureSet,
    universes: Sequence[str],
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Publish one set over these universes, once the cut that it reads is noted: what arrives later is known later."""
    knowledge.note_cut(cuts.of(max(sessions)))
    for universe in universes:
        yield publish(store, feature_set, universe, cuts, sessions, progress)
