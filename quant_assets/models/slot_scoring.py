"""Scores of an intraday strategy: the champion in force when a session began, at each of its slots."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.contract import UTC_MICROS, in_force
from quant_assets.errors import ModelError
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.venue_names import names_of, with_sids
from quant_assets.models.promotion import Champions, Model, champions
from quant_assets.models.scoring import scored
from quant_assets.ports import Store
from quant_assets.records import StageReport
from quant_assets.strategy import Strategy
from quant_assets.tables import SCORES

STAGE = "scores"


def champion_at(known: Champions, feature_set: FeatureSet, cuts: Cuts, session: date) -> Model | None:
    """The model in force when `session` began, where one is and it was trained on this version of the features."""
    try:
        model = known.of(session, cuts.of(cuts.booked_before(session)))
    except ModelError:
        return None
    return model if (model.feature_set, model.feature_version) == (feature_set.name, feature_set.version) else None


def features_at(
    store: Store, feature_set: FeatureSet, bars: OnBars, names: pl.DataFrame, asked: Sequence[Slot]
) -> pl.DataFrame:
    """The published features of the members (`names`) at the slots asked (ascending), as known at their cuts: columns
    session, slot, sid, the features, and the cut as known_at; sorted by (session, cut, sid).
    """
    moments = pl.DataFrame(
        [(s.session, s.slot, s.bar, s.cut) for s in asked],
        schema={"session": pl.Date, "slot": pl.String, "ts": UTC_MICROS, "cut": UTC_MICROS},
        orient="row",
    )
    published = store.read(
        feature_set.table,
        as_of=asked[-1].cut,
        first=asked[0].bar.date(),
        last=asked[-1].bar.date() + timedelta(days=1),
        where={"version": feature_set.version, "venue": bars.venue},
    )
    known = published.join(moments, on="ts").filter(pl.col("known_at") <= pl.col("cut"))
    latest = in_force(known, feature_set.table)
    members = with_sids(latest, names.filter("member"))
    return (
        members.with_columns(known_at="cut")
        .select("session", "slot", "sid", *feature_set.features, "known_at")
        .sort("session", "known_at", "sid")
    )


def score_slots(
    store: Store, feature_set: FeatureSet, strategy: Strategy, bars: OnBars, cuts: Cuts, asked: Sequence[Slot]
) -> StageReport:
    """Write SCORES at the slots asked (ascending).

    A session without a champion gets no rows and a note; neither does a row that has no feature at all, or one that is
    not finite. State `empty` where nothing was scored.
    """
    sessions = sorted({s.session for s in asked})
    names = names_of(store, cuts, strategy.universe.name, sessions)
    known = champions(store, strategy.name, cuts.of(cuts.booked_before(sessions[-1])))
    models = {s: champion_at(known, feature_set, cuts, s) for s in sessions}
    rows = features_at(store, feature_set, bars, names, asked)
    texts = {m.model_id: m.text for m in models.values() if m}
    chosen = {s: m.model_id for s, m in models.items() if m}
    modelled = rows.with_columns(
        model=pl.col("session").replace_strict(chosen, default=None, return_dtype=pl.String)
    ).drop_nulls("model")
    parts = [
        scored(feature_set, strategy, model_id, texts[model_id], part)
        for (model_id,), part in modelled.group_by("model", maintain_order=True)
    ]
    written = pl.concat([SCORES.empty(), *parts])
    notes = tuple(f"{s}: no model was in force when it began" for s in sessions if s not in chosen)
    return StageReport(
        stage=STAGE,
        first=sessions[0],
        last=sessions[-1],
        state="done" if written.height else "empty",
        reason="" if written.height else (notes[0] if notes else "no features are published for these slots"),
        rows=store.append(SCORES, written),
        numbers={"scores": written.height, "slots": len(asked), "sessions_without_champion": len(notes)},
        notes=notes,
    )
