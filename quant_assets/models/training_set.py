"""The point-in-time training set: what was known by a cut-off, and the snapshot that says what it was."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

import polars as pl

from quant_assets.contract import in_force
from quant_assets.errors import ReplayMismatch
from quant_assets.evaluation import moment
from quant_assets.features.labels import OPEN_TO_OPEN
from quant_assets.features.sets import FeatureSet
from quant_assets.frames import bounds
from quant_assets.guards import choice, look_ahead, survivorship
from quant_assets.ports import Store
from quant_assets.records import FeatureSnapshot, frame_hash
from quant_assets.tables import CAPTURES, LABELS, LISTINGS


def training_set(
    store: Store,
    feature_set: FeatureSet,
    horizon: int,
    cutoff: datetime,
    first: date | None = None,
    *,
    universe: str,
    label: str = OPEN_TO_OPEN,
) -> tuple[pl.DataFrame, FeatureSnapshot]:
    """Published features with the labels known by `cutoff`, of sessions from `first` on, and their snapshot.

    Columns session, sid, the features, value (the label, simple return over `horizon`), label_end, label_known_at,
    target; sorted by (session, sid). target = (mean rank of the label in its session − ½) / rows − ½, which lies in
    (−½, ½) and is centred in each session. Rows of which every feature is missing are left out.
    """
    key = ["session", "sid"]
    features = list(feature_set.features)
    rows = in_force(
        store.read(
            feature_set.table, as_of=cutoff, first=first, where={"version": feature_set.version, "universe": universe}
        ),
        feature_set.table,
    ).select(*key, *features)
    rows = rows.filter(~pl.all_horizontal(pl.col(features).is_null()))
    stored = store.read(LABELS, as_of=cutoff, first=first, where={"label": label, "horizon": horizon})
    # a rebuilt label has a later known_at; purging goes by when its window's end was known first, and rebuilt, a
    # barrier's window may end later than it did
    known = pl.col("known_at").min()
    stored = stored.with_columns(label_known_at=pl.max_horizontal(known.over(LABELS.subject), known.over("label_end")))
    labels = in_force(stored, LABELS).drop_nulls("value").select(*key, "value", "label_end", "label_known_at")
    frame = ranked(rows.join(labels, on=key).sort(key))
    assumed = bool(store.read(CAPTURES, as_of=cutoff, where={"dataset": "bars"})["assumed"].any())
    snapshot = FeatureSnapshot(
        dataset_version=frame_hash(frame),
        feature_view=feature_set.name,
        feature_version=feature_set.version,
        as_of=cutoff,
        known_at_cutoff=cutoff,
        universe_id=universe,
        corporate_actions_policy=feature_set.adjustment,
        survivorship_bias_guard=survivorship(
            "members as known at each session's cut; a name that ends inside its label's window keeps its delisting "
            "return or last price",
            choice(store.read(LISTINGS, as_of=cutoff), CAPTURES.empty(), (), cutoff),
        ),
        lookahead_bias_guard=look_ahead(
            "features frozen at their own cuts; labels and features with known_at ≤ known_at_cutoff only",
            latest[1] if (latest := bounds(frame["label_known_at"], datetime)) else None,
            cutoff,
        ),
        timezone_policy="UTC",
        assumed_known_at=assumed,
        label=label,
        horizon=horizon,
        first=first,
    )
    return frame, snapshot


def rebuild(store: Store, lookup: Callable[[str], FeatureSet], snapshot: FeatureSnapshot) -> pl.DataFrame:
    """The training set that `snapshot` identifies, from the store and that record alone; `lookup` gives a feature set
    by its name.

    What arrived after its cut-off changes nothing. Raises ReplayMismatch where the rows that come out are not those
    that were.
    """
    feature_set = lookup(snapshot.feature_view)
    if feature_set.version != snapshot.feature_version:
        feature_set = replace(feature_set, version=snapshot.feature_version)  # what was published under it stands
    frame, again = training_set(
        store,
        feature_set,
        snapshot.horizon,
        snapshot.known_at_cutoff,
        snapshot.first,
        universe=snapshot.universe_id,
        label=snapshot.label,
    )
    if again.dataset_version != snapshot.dataset_version:
        raise ReplayMismatch(
            f"the training set of {snapshot.feature_view} {snapshot.feature_version} as of "
            f"{snapshot.known_at_cutoff:%Y-%m-%d %H:%M} UTC was {snapshot.dataset_version[:12]}… "
            f"and comes out as {again.dataset_version[:12]}… with {frame.height:,} rows; restore the tables "
            f"from a backup, or look for rows that were changed in place"
        )
    return frame


def ranked(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with `target`, the rank of `value` among the rows that there are of its session, or of bars, of its `ts`
    (see `training_set`).
    """
    at = moment(frame)
    rank = pl.col("value").rank("average").over(at)
    return frame.with_columns(target=(rank - 0.5) / pl.len().over(at) - 0.5)
