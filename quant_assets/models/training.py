"""Retraining at a cut: validate out of sample, fit on all that is known, store, judge, promote."""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import date

import msgspec
import polars as pl

from quant_assets.calendars import Calendar, Cuts
from quant_assets.errors import NoChampion, TrainingRefused
from quant_assets.evaluation import decile_spread, ic_estimate, left_out, moment, rank_ic
from quant_assets.features.audit.audit import audited
from quant_assets.features.catalogue import find_set
from quant_assets.features.drift import freeze
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import FeatureSet
from quant_assets.models.bar_training_set import bar_training_set
from quant_assets.models.learners import learner_of, name_in, predicted, stored
from quant_assets.models.promotion import RULE, Metrics, Model, PromotionDecision, champion, judge, model_of
from quant_assets.models.training_set import ranked, training_set
from quant_assets.models.walk_forward import Fold, folds
from quant_assets.ports import ModelRegistry, Notifier, Progress, Store, quiet
from quant_assets.records import FeatureSnapshot, StageReport, content_id
from quant_assets.strategy import ModelRule, Strategy
from quant_assets.tables import MODELS, PROMOTIONS

STAGE = "models"


def month_ends(calendar: Calendar, first: date, last: date) -> list[date]:
    """The last session of each month that lies in [first, last]: when models are cut."""
    return [s for s in calendar.between(first, last) if calendar.shift(s, 1).month != s.month]


def retrain(
    store: Store,
    registry: ModelRegistry,
    feature_set: FeatureSet,
    strategy: Strategy,
    cuts: Cuts,
    cut_session: date,
    *,
    first: date | None = None,
    notifier: Notifier | None = None,
    bars: OnBars | None = None,
) -> StageReport:
    """Train on what was known at the cut of `cut_session` (features of sessions from `first` on); write MODELS, then
    PROMOTIONS.

    `bars`: whose bars an intraday strategy learns; its rows are of bars, and its folds still of whole sessions.

    A model of this strategy and cut that stands already is kept as it is, and judged if it was not yet. Too little
    data, or data that is not finite, comes back as state `refused` with the reason, and `notifier` is told.
    """
    model = _stored(store, strategy, cut_session)
    ruling = _standing(store, strategy, cuts, model) if model else None
    try:
        if model is None or ruling is None:
            frame, snapshot = _gathered(store, feature_set, strategy, cuts, cut_session, first, bars)
            # of sessions whose windows are still open, only the labels that touched a barrier early are known: no
            # sample to judge by; those of bars are known in their order
            whole = frame if bars else frame.filter(pl.col("session") <= _closed(strategy, cuts, cut_session))
            validated = _validated(whole, feature_set.features, strategy.model, cuts)
            model = model or _train(
                store, registry, feature_set, strategy, cuts, cut_session, frame, validated, snapshot
            )
            _require_audit(
                store,
                [
                    feature_set,
                    *(
                        [find_set(strategy.rule.net_of.factors)]
                        if strategy.rule.net_of and strategy.rule.net_of.factors
                        else []
                    ),
                ],
            )
            ruling = _promote(store, registry, strategy, cuts, model, validated)
    except TrainingRefused as error:
        if notifier is not None:
            notifier.notify("warning", f"{strategy.name}: no model was cut on {cut_session}", str(error))
        return StageReport(stage=STAGE, first=cut_session, last=cut_session, state="refused", reason=str(error))
    m = model.metrics
    return StageReport(
        stage=STAGE,
        first=cut_session,
        last=cut_session,
        state="done",
        rows=m.rows,
        numbers={
            "ic_sessions": m.ic_sessions,
            "ic_left_out": m.ic_left_out,
            "sessions": m.sessions,
            "promoted": float(ruling.promoted),
        },
        measures={
            "ic": m.ic,
            "ic_error": m.ic_error,
            **({} if m.ic_t is None else {"ic_t": m.ic_t}),
            "decile_spread": m.decile_spread,
        },
        notes=(
            f"model {model.model_id} of {cut_session}, IC {m.ic:.3f} ± {m.ic_error:.3f}",
            f"{'promoted' if ruling.promoted else 'not promoted'}: {ruling.reason}",
        ),
    )


def _gathered(
    store: Store,
    feature_set: FeatureSet,
    strategy: Strategy,
    cuts: Cuts,
    cut_session: date,
    first: date | None,
    bars: OnBars | None,
) -> tuple[pl.DataFrame, FeatureSnapshot]:
    """The training set of sessions, or of bars."""
    cutoff, rule = cuts.of(cut_session), strategy.rule
    if bars is not None:
        return bar_training_set(store, feature_set, strategy, bars, cuts, cutoff, first)
    universe = strategy.universe.name
    return training_set(store, feature_set, rule.horizon, cutoff, first, universe=universe, label=rule.name)


def _closed(strategy: Strategy, cuts: Cuts, cut_session: date) -> date:
    """The last session whose label's window is closed by the cut."""
    return cuts.calendar.shift(cut_session, -strategy.rule.reach)


def out_of_sample(
    frame: pl.DataFrame, features: tuple[str, ...], splits: Sequence[Fold], rule: ModelRule
) -> pl.DataFrame:
    """`frame`'s rows of all test sessions with `score`, each fold predicted by a model that saw its training sessions
    only; by session, sid.
    """
    parts: list[pl.DataFrame] = []
    learner = learner_of(rule)
    for fold in splits:
        train, test = fold.split(frame)
        # a rank among labels that were not known yet would tell of them
        fitted = learner.fit(ranked(train), features, rule)
        parts.append(test.with_columns(learner.predict(fitted, test, rule.threads).alias("score")))
    return pl.concat(parts).sort("session", moment(frame), "sid")


def walk_forward(frame: pl.DataFrame, cuts: Cuts, *, count: int, size: int, embargo: int) -> list[Fold]:
    """The folds of a training set: its sessions, purged by when its labels became known. A session of bars begins to be
    decided when the one before it is over.
    """
    begins = cuts.booked_before if moment(frame) == "ts" else _itself
    known = frame.group_by("session").agg(pl.col("label_known_at").min()).sort("session")
    sessions: list[date] = known["session"].to_list()
    return folds(
        sessions, dict(known.rows()), {s: cuts.of(begins(s)) for s in sessions}, count=count, size=size, embargo=embargo
    )


def _itself(session: date) -> date:
    return session


def _validated(frame: pl.DataFrame, features: tuple[str, ...], rule: ModelRule, cuts: Cuts) -> pl.DataFrame:
    """The rows of the validation sessions with their out-of-sample score. Raises TrainingRefused."""
    _require_finite(frame, (*features, "target"))
    splits = walk_forward(frame, cuts, count=1, size=rule.validation, embargo=rule.embargo)
    before = len(splits[0].train) if splits else 0
    if before < rule.min_sessions:
        raise TrainingRefused(
            f"{before} sessions before the {rule.validation} of validation, {rule.min_sessions} are needed; "
            f"publish features and labels further back"
        )
    return out_of_sample(frame, features, splits, rule)


def _require_finite(frame: pl.DataFrame, columns: Sequence[str]) -> None:
    bad = frame.select((~pl.col(c).is_finite()).sum() for c in columns).row(0, named=True)
    if any(bad.values()):
        raise TrainingRefused(
            f"values that are not finite (a missing one is null): { ({c: n for c, n in bad.items() if n}) }"
        )


def _require_audit(store: Store, feature_sets: Sequence[FeatureSet]) -> None:
    """A model of a set that may look ahead, or of a label that such a set is taken out of, is kept and not judged; the
    same call after the audit judges it. Raises TrainingRefused.
    """
    for one in feature_sets:
        passed, why = audited(store, one)
        if not passed:
            raise TrainingRefused(f"no champion feeds on a set that was not proven free of look-ahead. {why}")


def _metrics(
    frame: pl.DataFrame, features: tuple[str, ...], validated: pl.DataFrame, horizon: int, minimum: int
) -> Metrics:
    ics = rank_ic(validated, minimum=minimum)
    if ics.height < 2:
        raise TrainingRefused(
            f"the validation scores or labels do not vary within a session of {minimum} names "
            f"(limits.min_members) or more: "
            f"{ics.height} of {validated['session'].n_unique()} sessions can judge the model, and two are needed"
        )
    ic, spread = ic_estimate(ics, horizon), decile_spread(validated)["spread"]
    return Metrics(
        ic=ic.mean,
        ic_error=ic.error,
        ic_t=ic.t,
        ic_sessions=ic.n,
        decile_spread=math.fsum(spread) / max(len(spread), 1),
        rows=frame.height,
        sessions=frame["session"].n_unique(),
        drift=freeze(frame, features),
        ic_left_out=left_out(validated, ics),
    )


def _stored(store: Store, strategy: Strategy, cut_session: date) -> Model | None:
    rows = store.read(MODELS, as_of=None, first=cut_session, last=cut_session, where={"strategy": strategy.name})
    return model_of(rows.row(0, named=True)) if rows.height else None


def _train(
    store: Store,
    registry: ModelRegistry,
    feature_set: FeatureSet,
    strategy: Strategy,
    cuts: Cuts,
    cut_session: date,
    frame: pl.DataFrame,
    validated: pl.DataFrame,
    snapshot: FeatureSnapshot,
) -> Model:
    """Fit on everything, track, then keep: what is stored has a registry version. Raises TrainingRefused."""
    metrics = _metrics(frame, feature_set.features, validated, strategy.rule.horizon, strategy.limits.min_members)
    rule = strategy.model
    text = stored(learner_of(rule).fit(frame, feature_set.features, rule), name_in(rule))
    model_id, described = content_id(text), msgspec.json.encode(snapshot).decode()
    params = {
        **strategy.model.params,
        "rounds": strategy.model.rounds,
        "seed": strategy.model.seed,
        "horizon": strategy.rule.horizon,
    }
    numbers = {k: float(v) for k, v in msgspec.structs.asdict(metrics).items() if isinstance(v, int | float)}
    version = registry.log(
        strategy=strategy.name,
        cut=cut_session,
        model_id=model_id,
        text=text,
        params=params,
        metrics=numbers,
        snapshot=described,
    )
    row = {
        "session": cut_session,
        "strategy": strategy.name,
        "model_id": model_id,
        "text": text,
        "feature_set": feature_set.name,
        "feature_version": feature_set.version,
        "rows": metrics.rows,
        "params": json.dumps(params, sort_keys=True),
        "metrics": msgspec.json.encode(metrics).decode(),
        "snapshot": described,
        "registry_version": version,
        "known_at": cuts.of(cut_session),
    }
    store.append(MODELS, pl.DataFrame([row], schema=dict(MODELS.schema)))
    return model_of(row)


def _standing(store: Store, strategy: Strategy, cuts: Cuts, model: Model) -> PromotionDecision | None:
    session = cuts.calendar.after(model.session)
    rows = store.read(
        PROMOTIONS,
        as_of=None,
        first=session,
        last=session,
        where={"strategy": strategy.name, "model_id": model.model_id},
    )
    return msgspec.json.decode(rows["detail"][0], type=PromotionDecision) if rows.height else None


def _promote(
    store: Store, registry: ModelRegistry, strategy: Strategy, cuts: Cuts, model: Model, validated: pl.DataFrame
) -> PromotionDecision:
    """Judge and record, from the next session on. The alias moves first, so that a crash in between repeats it."""
    ruling = _judged(store, strategy, cuts, model, validated)
    if ruling.promoted:
        registry.promote(strategy.name, model.registry_version)
    row = {
        "session": cuts.calendar.after(model.session),
        "strategy": strategy.name,
        "model_id": model.model_id,
        "cut": model.session,
        "promoted": ruling.promoted,
        "rule": RULE,
        "detail": msgspec.json.encode(ruling).decode(),
        "by": "rule",
        "known_at": cuts.of(model.session),
    }
    store.append(PROMOTIONS, pl.DataFrame([row], schema=dict(PROMOTIONS.schema)))
    return ruling


def _judged(store: Store, strategy: Strategy, cuts: Cuts, model: Model, validated: pl.DataFrame) -> PromotionDecision:
    """The rule applied. A champion on another feature set or version cannot score any more, so it is no rival."""
    final = predicted(model.text, validated, strategy.model)
    try:
        rival = champion(store, strategy.name, model.session, cuts.of(model.session))
    except NoChampion:
        rival = None
    if rival is not None and (rival.feature_set, rival.feature_version) != (model.feature_set, model.feature_version):
        rival = None
    rivals = predicted(rival.text, validated, strategy.model) if rival is not None else None
    if rivals is not None:
        validated = validated.with_columns(rivals.alias("champion"))
    return judge(
        final,
        validated,
        rival if rivals is not None else None,
        horizon=strategy.rule.horizon,
        tolerance=strategy.model.tolerance,
        floor=strategy.model.floor,
        minimum=strategy.limits.min_members,
    )


def untrained(sessions: Sequence[date]) -> StageReport:
    """The report on sessions in which no model is trained."""
    reason = "no month ends in these sessions"
    return StageReport(stage=STAGE, first=min(sessions), last=max(sessions), state="empty", reason=reason)


def train_champions(
    store: Store,
    registry: ModelRegistry,
    cuts: Cuts,
    notifier: Notifier,
    strategies: Sequence[Strategy],
    sessions: Sequence[date],
    train_at: Sequence[date] | None = None,
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Train a model of each strategy at each month end among `sessions`, or `train_at`; used from the session after."""
    ends = month_ends(cuts.calendar, min(sessions), max(sessions)) if train_at is None else train_at
    if not ends:
        yield untrained(sessions)
    for done, cut in enumerate(ends):
        progress(done, len(ends), f"model {cut}")
        for strategy in strategies:
            yield retrain(store, registry, find_set(strategy.feature_set), strategy, cuts, cut, notifier=notifier)
