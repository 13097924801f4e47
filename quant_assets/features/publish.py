"""Publish a feature set: evaluate its blocks over the sessions asked for, freeze the values at each session's cut."""

from collections.abc import Sequence
from datetime import date
from itertools import groupby

import polars as pl

from quant_assets.features.blocks import Block, default_anchor, evaluate, quarter_start, versions
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.adjustment import ADJUSTING
from quant_assets.market_data.calendars import Cuts
from quant_assets.market_data.membership import Membership
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import StageReport
from quant_assets.tables import ACTIONS, ANCHORS, BARS, UNIVERSE


def anchors(store: Store, feature_set: FeatureSet, cuts: Cuts, sessions: Sequence[date]) -> pl.DataFrame:
    """ANCHORS rows of the blocks in which `sessions` lie: as stored, or else where they belong by today's calendar."""
    stored = store.read(ANCHORS, as_of=None, where={"feature_set": feature_set.name, "version": feature_set.version})
    standing = dict(stored.select("session", "anchor").iter_rows())
    starts = sorted({quarter_start(cuts.calendar, s) for s in sessions})
    rows = [(start, standing.get(start) or default_anchor(cuts.calendar, start, feature_set.lookback), cuts.of(start)) for start in starts]
    frame = pl.DataFrame(rows, schema={"session": pl.Date, "anchor": pl.Date, "known_at": ANCHORS.schema["known_at"]}, orient="row")
    return frame.with_columns(feature_set=pl.lit(feature_set.name), version=pl.lit(feature_set.version)).select(*ANCHORS.schema)


def as_versions(store: Store, feature_set: FeatureSet, cuts: Cuts, anchor: date, last: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The versions of bars and of adjusting actions on [anchor, last] known by the cut of `last`, located on the calendar (see `blocks.versions`)."""
    as_of, located = cuts.of(last), cuts.frame(anchor, last)
    bars = store.read(BARS, as_of=as_of, first=anchor, last=last)
    actions = store.read(ACTIONS, as_of=as_of, first=anchor, last=last).filter(pl.col("kind").is_in(ADJUSTING))
    return (
        versions(bars, located, feature_set.stored_columns, ("sid",)),
        versions(actions, located, ("numerator", "denominator", "cash", "value"), ("sid", "kind")),
    )


def compute(store: Store, feature_set: FeatureSet, universe: str, cuts: Cuts, sessions: Sequence[date], progress: Progress = quiet) -> pl.DataFrame:
    """Rows of `feature_set.table` for the members of each of `sessions` (consecutive or not), as known at each cut. Reads only."""
    if not sessions:
        return feature_set.table.empty()
    ordered, calendar = sorted(sessions), cuts.calendar
    standing = dict(anchors(store, feature_set, cuts, ordered).select("session", "anchor").iter_rows())
    membership = Membership.of_universe(store.read(UNIVERSE, as_of=cuts.of(ordered[-1]), where={"universe": universe}))
    out: list[pl.DataFrame] = []
    for start, in_block in groupby(ordered, key=lambda s: quarter_start(calendar, s)):
        wanted = list(in_block)
        progress(len(out), len(standing), f"{feature_set.name} {start:%Y} Q{(start.month - 1) // 3 + 1}")
        bars, actions = as_versions(store, feature_set, cuts, standing[start], wanted[-1])
        located = cuts.frame(wanted[0], wanted[-1]).filter(pl.col("session").is_in(wanted))
        of_session = membership.at(wanted, cuts).select("session", sid="who").join(located, on="session")
        block = Block(calendar.index(standing[start]), calendar.index(wanted[0]), calendar.index(wanted[-1]))
        values = evaluate(feature_set, bars, actions, of_session, block).join(located, on="i")
        out.append(values.with_columns(version=pl.lit(feature_set.version)).rename({"cut": "known_at"}).select(*feature_set.table.schema))
    progress(len(standing), len(standing), feature_set.name)
    return pl.concat(out).sort(feature_set.table.key)


def publish(store: Store, feature_set: FeatureSet, universe: str, cuts: Cuts, sessions: Sequence[date], progress: Progress = quiet) -> StageReport:
    """Compute and store. What is published stands: the same sessions again are a no-op."""
    store.append(ANCHORS, anchors(store, feature_set, cuts, sessions))
    values = compute(store, feature_set, universe, cuts, sessions, progress)
    new = store.append(feature_set.table, values)
    covered = values["session"].n_unique()
    return StageReport(
        stage=f"features_{feature_set.name}",
        first=min(sessions),
        last=max(sessions),
        state="done" if values.height else "empty",
        reason="" if values.height else "no member of the universe has a bar as known at the cut",
        rows=new,
        numbers={
            "sessions": len(sessions),
            "sessions_with_values": covered,
            "values": float(values.height * len(feature_set.features)),
            "nulls": float(sum(values.select(feature_set.features).null_count().row(0))),
        },
    )
