"""The point-in-time training set of an intraday strategy: its rows are of bars, its sessions those of the bars."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import UTC_MICROS, in_force
from quant_assets.features.intraday import OnBars, grid, seconds_of
from quant_assets.features.sets import FeatureSet
from quant_assets.frames import bounds
from quant_assets.guards import choice, look_ahead, survivorship
from quant_assets.market_data.venue_names import names_of, with_sids
from quant_assets.models.training_set import ranked
from quant_assets.ports import Store
from quant_assets.records import FeatureSnapshot, frame_hash
from quant_assets.strategy import Strategy
from quant_assets.tables import BAR_LABELS, CAPTURES, LISTINGS

NONE = {"session": pl.Date, "ts": UTC_MICROS}


def sessions_of(cuts: Cuts, bars: OnBars, seconds: int, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` (ts, …) of bars with the `session` of the venue in which each began; those of no session are left out."""
    if rows.is_empty():
        return rows.with_columns(session=pl.lit(None, pl.Date))
    hours, day = cuts.calendar, timedelta(days=1)
    first, last = rows.select(first=pl.col("ts").min().dt.date(), last=pl.col("ts").max().dt.date()).row(0)
    days = hours.on_or_before(first), hours.on_or_after(last + day)  # FX opens a session on the evening before
    starts = grid(hours, *days, seconds, timedelta(seconds=bars.delay)).slots.select(ts="session", session="day")
    return rows.join(starts, on="ts", maintain_order="left")


def bar_training_set(
    store: Store,
    feature_set: FeatureSet,
    strategy: Strategy,
    bars: OnBars,
    cuts: Cuts,
    cutoff: datetime,
    first: date | None = None,
) -> tuple[pl.DataFrame, FeatureSnapshot]:
    """Published features of bars with the labels known by `cutoff`, of the members of each session, and the snapshot.

    Columns session, ts, sid, the features, value, label_end, label_known_at, target; sorted by (ts, sid). Ranks are
    taken among the bars that begin at one time (`training_set.ranked`).
    """
    seconds, rule = seconds_of(feature_set.frequency), strategy.rule
    rows = in_force(
        store.read(
            feature_set.table, as_of=cutoff, first=first, where={"version": feature_set.version, "venue": bars.venue}
        ),
        feature_set.table,
    )
    features = list(feature_set.features)
    rows = rows.filter(~pl.all_horizontal(pl.col(features).is_null())).select("ts", "symbol", *features)
    where = {"label": rule.name, "horizon": rule.horizon, "venue": bars.venue, "seconds": seconds}
    labels = in_force(store.read(BAR_LABELS, as_of=cutoff, first=first, where=where), BAR_LABELS)
    learnt = rows.join(
        labels.select("ts", "symbol", "value", "label_end", label_known_at="known_at"), on=["ts", "symbol"]
    )
    located = sessions_of(cuts, bars, seconds, learnt)
    there: Sequence[date] = located["session"].unique().sort().to_list()
    names = names_of(store, cuts, strategy.universe.name, [s for s in there if first is None or s >= first])
    members = with_sids(located, names.filter("member"))
    frame = ranked(
        members.select("session", "ts", "sid", *features, "value", "label_end", "label_known_at").sort("ts", "sid")
    )
    snapshot = FeatureSnapshot(
        dataset_version=frame_hash(frame),
        feature_view=feature_set.name,
        feature_version=feature_set.version,
        as_of=cutoff,
        known_at_cutoff=cutoff,
        universe_id=strategy.universe.name,
        corporate_actions_policy="adjusted",
        survivorship_bias_guard=survivorship(
            "members as known when each session began; a name that ends inside its label's window keeps its delisting "
            "return or last price",
            choice(store.read(LISTINGS, as_of=cutoff), CAPTURES.empty(), (), cutoff),
        ),
        lookahead_bias_guard=look_ahead(
            "features frozen when their bars had ended; labels and features with known_at ≤ known_at_cutoff only",
            latest[1] if (latest := bounds(frame["label_known_at"], datetime)) else None,
            cutoff,
        ),
        timezone_policy="UTC",
        label=f"{rule.name} of bars of {bars.venue}",
        horizon=rule.horizon,
        first=first,
    )
    return frame, snapshot
