"""Scores of the champion in force, session by session: a range and its days give the same rows, to the bit."""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.errors import NoChampion
from quant_assets.features.catalogue import find_set
from quant_assets.features.sets import FeatureSet
from quant_assets.models.learners import artifact, learner_of
from quant_assets.models.promotion import Champions, Model, champions
from quant_assets.moments import slot_of
from quant_assets.ports import Store
from quant_assets.records import StageReport
from quant_assets.strategy import Strategy
from quant_assets.tables import SCORES

STAGE = "scores"


def score(
    store: Store, feature_set: FeatureSet, strategy: Strategy, cuts: Cuts, sessions: Sequence[date]
) -> StageReport:
    """Write SCORES of `sessions` (ascending): the champion in force for each, as known at its cut, on the features
    published at that cut.

    A session without a champion, or whose champion was trained on another feature version, gets no rows and a note;
    neither does a row that has no feature at all, or one that is not finite. State `empty` where nothing was scored.
    """
    first, last = sessions[0], sessions[-1]
    models, notes = _models(champions(store, strategy.name, cuts.of(last)), feature_set, cuts, sessions)
    published = store.read(
        feature_set.table,
        as_of=cuts.of(last),
        first=first,
        last=last,
        where={"version": feature_set.version, "universe": strategy.universe.name},
    )
    moments = pl.DataFrame(
        [(s, cuts.of(s), m.model_id) for s, m in models.items()],
        schema={"session": pl.Date, "cut": pl.Datetime("us", "UTC"), "model_id": pl.String},
        orient="row",
    )
    known = (
        published.join(moments, on="session")
        .filter(pl.col("known_at") <= pl.col("cut"))
        .with_columns(known_at="cut", slot=pl.lit(slot_of(strategy.moment)))
        .sort("session", "sid")
    )
    texts = {m.model_id: m.text for m in models.values()}
    parts = [
        scored(feature_set, strategy, model_id, texts[model_id], rows)
        for (model_id,), rows in known.group_by("model_id", maintain_order=True)
    ]
    written = pl.concat([SCORES.empty(), *parts])
    return StageReport(
        stage=STAGE,
        first=first,
        last=last,
        state="done" if written.height else "empty",
        reason="" if written.height else (notes[0] if notes else "no features are published for these sessions"),
        rows=store.append(SCORES, written),
        numbers={
            "scores": written.height,
            "sessions": written["session"].n_unique(),
            "models": len(parts),
            "unscored_rows": known.height - written.height,
            "sessions_without_champion": len(notes),
        },
        notes=notes,
    )


def scored(feature_set: FeatureSet, strategy: Strategy, model_id: str, text: str, rows: pl.DataFrame) -> pl.DataFrame:
    """SCORES rows of one model on `rows` of the feature set's table, each with its slot, in their order, without those
    that say nothing (no feature at all) or are not finite.
    """
    columns = pl.col(feature_set.features)
    sound = rows.filter(
        ~pl.all_horizontal(columns.is_null()), pl.all_horizontal(columns.is_finite().fill_null(value=True))
    )
    fitted = artifact(text)
    return sound.with_columns(
        learner_of(strategy.model, fitted.family).predict(fitted, sound, strategy.model.threads).alias("score"),
        strategy=pl.lit(strategy.name),
        model_id=pl.lit(model_id),
    ).select(*SCORES.schema)


def _models(
    known: Champions, feature_set: FeatureSet, cuts: Cuts, sessions: Sequence[date]
) -> tuple[dict[date, Model], tuple[str, ...]]:
    """The champion of each session that has one it can score with, and a note for each that has not."""
    models: dict[date, Model] = {}
    notes: list[str] = []
    for session in sessions:
        try:
            model = known.of(session, cuts.of(session))
        except NoChampion as error:
            notes.append(str(error))
            continue
        if (model.feature_set, model.feature_version) == (feature_set.name, feature_set.version):
            models[session] = model
        else:
            notes.append(
                f"{session}: the champion {model.model_id} was trained on {model.feature_set} "
                f"{model.feature_version}, published is {feature_set.name} {feature_set.version}; retrain"
            )
    return models, tuple(notes)


def score_strategies(
    store: Store, cuts: Cuts, strategies: Sequence[Strategy], sessions: Sequence[date]
) -> Iterator[StageReport]:
    """Score the sessions with the champion of each strategy."""
    for strategy in strategies:
        yield score(store, find_set(strategy.feature_set), strategy, cuts, sessions)
