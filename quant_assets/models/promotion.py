"""Champions: which model may score, by which rule it came to that, and the lookup that scoring uses."""

from collections.abc import Mapping
from datetime import date, datetime

import msgspec
import numpy as np
import polars as pl

from quant_assets.errors import ModelError, NoChampion
from quant_assets.evaluation import ic_estimate, left_out, moment, rank_ic
from quant_assets.features.drift import Reference
from quant_assets.ports import Store
from quant_assets.records import Frozen, content_id
from quant_assets.tables import MODELS, PROMOTIONS

RULE = (
    "loads; finite predictions that vary within sessions; validation IC above the declared floor, "
    "and not below the champion's by more than the tolerance in standard errors"
)


class Metrics(Frozen, frozen=True):
    """What MODELS.metrics holds as JSON: rank IC out of sample with its Newey–West error and t over `ic_sessions`
    (`ic_left_out`: the sessions with too few names, or without variation, that count in none), the mean decile spread
    of labels, the training rows and sessions, and the frozen reference for drift.
    """

    ic: float
    ic_error: float
    ic_t: float | None
    ic_sessions: int
    decile_spread: float
    rows: int
    sessions: int
    drift: Reference
    ic_left_out: int = 0


class Model(Frozen, frozen=True):
    """A stored model. `session`: its cut, the last session whose knowledge it has."""

    session: date
    strategy: str
    model_id: str
    text: str
    feature_set: str
    feature_version: str
    rows: int
    metrics: Metrics
    snapshot: str
    registry_version: str
    known_at: datetime


class PromotionDecision(Frozen, frozen=True):
    """The outcome of the rule, with its numbers. `difference` = candidate's mean IC − champion's over the `sessions`
    compared; where nothing was compared, `candidate_ic` ± `error` over `sessions` is the candidate's own, against
    `floor`.
    """

    promoted: bool
    reason: str
    champion: str | None = None
    sessions: int = 0
    candidate_ic: float | None = None
    champion_ic: float | None = None
    difference: float | None = None
    error: float | None = None
    floor: float | None = None
    left_out: int = 0  # sessions that count in no IC: too few names, or nothing that varies


def judge(
    final: pl.Series | None,
    validated: pl.DataFrame,
    champion: Model | None,
    *,
    horizon: int,
    tolerance: float,
    floor: float = 0.0,
    minimum: int = 2,
) -> PromotionDecision:
    """Whether a candidate becomes champion: a rule on numbers only.

    `final`: the candidate's predictions on the rows of `validated`, None where its text is no model. `validated`:
    columns session, sid, score (out of sample, by the validation fit), value (the label) and, where there is a
    champion, champion (its scores of the same rows). A candidate earns its place twice: its mean IC over all validation
    sessions lies above `floor`, champion or none; and it is not worse than the champion's. Compared is the mean
    difference of the daily ICs, with its own Newey–West error, over the sessions from the champion's cut on: what it
    was trained on does not judge it. Sessions with fewer than `minimum` names count in no IC.
    """
    if broken := _broken(final, validated):
        return PromotionDecision(promoted=False, reason=broken)
    own = rank_ic(validated, minimum=minimum)
    skipped = left_out(validated, own)
    if own.height < 2:
        few = (
            f"an IC needs two sessions of {minimum} names or more whose scores and labels vary; there are {own.height}"
        )
        return PromotionDecision(promoted=False, reason=few, sessions=own.height, floor=floor, left_out=skipped)
    earned = ic_estimate(own, horizon)
    if champion is None or earned.mean <= floor:
        fine = earned.mean > floor
        said = (
            f"out-of-sample IC {earned.mean:+.4f} ± {earned.error:.4f} is {'' if fine else 'not '}above the "
            f"floor {floor:g}"
        )
        return PromotionDecision(
            promoted=fine,
            reason=f"first champion: {said}" if fine else said,
            champion=champion.model_id if champion else None,
            sessions=earned.n,
            candidate_ic=earned.mean,
            error=earned.error,
            floor=floor,
            left_out=skipped,
        )
    unseen = validated.filter(pl.col("session") >= champion.session)
    ours, theirs = (rank_ic(unseen, score=s, minimum=minimum) for s in ("score", "champion"))
    both = ours.join(theirs, on="session", suffix="_champion").sort("session")
    if both.height < 2:
        return PromotionDecision(
            promoted=False,
            reason="fewer than two sessions that the champion was not trained on",
            champion=champion.model_id,
            sessions=both.height,
            floor=floor,
            left_out=skipped,
        )
    gap = ic_estimate(both.select("session", ic=pl.col("ic") - pl.col("ic_champion")), horizon)
    means = {c: float(np.mean(both[c].to_numpy())) for c in ("ic", "ic_champion")}
    promoted = gap.mean >= -tolerance * gap.error
    return PromotionDecision(
        promoted=promoted,
        reason=f"validation IC {'not worse' if promoted else 'worse'} than the champion's by more than "
        f"{tolerance:g} standard errors",
        champion=champion.model_id,
        sessions=both.height,
        candidate_ic=means["ic"],
        champion_ic=means["ic_champion"],
        difference=gap.mean,
        error=gap.error,
        floor=floor,
        left_out=skipped,
    )


def _broken(predictions: pl.Series | None, validated: pl.DataFrame) -> str:
    """Why the predictions of the rows of `validated` cannot be used; empty where they can."""
    if predictions is None:
        return "the model's text does not load"
    if not predictions.is_finite().all():
        return "predictions are not finite"
    if predictions.n_unique() < 2:
        return "predictions are constant"
    within = validated.select(at=moment(validated), score=predictions).group_by("at").agg(pl.col("score").n_unique())
    return "" if (within["score"] > 1).any() else "predictions do not vary within any session"


def champion(store: Store, strategy: str, session: date, as_of: datetime) -> Model:
    """The model in force for `session`, as known by `as_of`. Raises NoChampion where none is."""
    return champions(store, strategy, as_of).of(session, as_of)


class Champions:
    """The promotions of a strategy, and its models, as known at one time."""

    def __init__(self, strategy: str, promotions: pl.DataFrame, models: pl.DataFrame) -> None:
        self._strategy = strategy
        self._promotions = promotions.filter("promoted").sort("session", "known_at", "model_id")
        self._models = models
        self._read: dict[tuple[date, str], Model] = {}

    def of(self, session: date, as_of: datetime) -> Model:
        """The model promoted last for `session` or before, as known by `as_of`.

        Raises NoChampion where none is, ModelError where the text is not the one that was promoted.
        """
        standing = self._promotions.filter(pl.col("session") <= session, pl.col("known_at") <= as_of)
        if standing.is_empty():
            raise NoChampion(
                f"{self._strategy}: no model was promoted for {session} by {as_of:%Y-%m-%d %H:%M} UTC; "
                f"retrain at a month end before it"
            )
        cut, model_id = standing.select("cut", "model_id").row(-1)
        if (cut, model_id) not in self._read:
            self._read[cut, model_id] = self._model(cut, model_id)
        return self._read[cut, model_id]

    def _model(self, cut: date, model_id: str) -> Model:
        rows = self._models.filter(pl.col("session") == cut, pl.col("model_id") == model_id)
        if rows.is_empty():
            raise ModelError(f"{self._strategy}: model {model_id} cut {cut} was promoted and is not stored")
        return model_of(rows.row(0, named=True))


def champions(store: Store, strategy: str, as_of: datetime) -> Champions:
    """All that was promoted by `as_of`, for lookups over a range of sessions."""
    where = {"strategy": strategy}
    return Champions(
        strategy, store.read(PROMOTIONS, as_of=as_of, where=where), store.read(MODELS, as_of=as_of, where=where)
    )


def model_of(row: Mapping[str, object]) -> Model:
    """The record of a MODELS row. Raises ModelError where the text is not the one that the id names."""
    if content_id(row["text"]) != row["model_id"]:
        raise ModelError(
            f"the stored text of model {row['model_id']} has another content id; restore the table from a backup"
        )
    return msgspec.convert({**row, "metrics": msgspec.json.decode(str(row["metrics"]))}, Model)
