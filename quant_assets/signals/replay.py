"""Rebuild a stored decision from the store as of its cut, and show each field beside what was recorded."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.errors import ReplayMismatch, UnknownDecision
from quant_assets.features.bars_read import bars_of
from quant_assets.features.intraday import OnBars
from quant_assets.features.publish import compute
from quant_assets.features.sets import FeatureSet
from quant_assets.models.scoring import scored
from quant_assets.moments import slot_of
from quant_assets.portable import PROMISED
from quant_assets.ports import Store
from quant_assets.records import Frozen, Provenance
from quant_assets.signals.decide import decisions
from quant_assets.signals.inputs import read
from quant_assets.signals.replay_slot import slot_again
from quant_assets.strategy import Strategy
from quant_assets.tables import DECISIONS, MODELS, SCORES


class Field(Frozen, frozen=True):
    """One field of a decision: as stored, as replayed, and whether they are the same to the bit."""

    name: str
    stored: object
    replayed: object

    @property
    def equal(self) -> bool:
        """Whether both are the same value."""
        return self.stored == self.replayed


class Replay(Frozen, frozen=True):
    """A decision rebuilt. `notes` say what about the code or its declarations has changed since.

    `elsewhere`: set where it was decided on another architecture than it is rebuilt on. Bits are promised within one
    only, so what differs then says nothing against the decision.
    """

    decision_id: str
    strategy: str
    session: date
    sid: int
    symbol: str
    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()
    elsewhere: str = ""

    @property
    def equal(self) -> bool:
        """Whether every field came out as stored."""
        return all(f.equal for f in self.fields)

    def require_equal(self) -> None:
        """Raises ReplayMismatch naming the fields that differ."""
        if differ := [f"{f.name}: stored {f.stored!r}, replayed {f.replayed!r}" for f in self.fields if not f.equal]:
            raise ReplayMismatch(
                "; ".join(
                    [
                        self.elsewhere or f"decision {self.decision_id} of {self.session} came out different",
                        *differ,
                        *self.notes,
                    ]
                )
            )


def replay(
    store: Store,
    feature_set_lookup: Callable[[str], FeatureSet],
    strategy_lookup: Callable[[str], Strategy],
    cuts: Cuts,
    decision_id: str,
    provenance: Provenance,
    *,
    decision_set_id: str | None = None,
    on_bars: Sequence[OnBars] = (),
) -> Replay:
    """The decision with this id, rebuilt: features from bars, scores from the text of the model it cites, the
    guardrails with the switches as recorded.

    Where several sets hold the id (the kill switch went on or off between two runs), `decision_set_id` names one, else
    the first recorded is meant. `on_bars`: what the deployment declares under `bars`, for an intraday strategy. What
    was published or scored is not read; what arrived after the cut changes nothing.
    Raises UnknownDecision with the nearest ids where there is none.
    """
    stored_set, row = _stored(store, decision_id, decision_set_id)
    cuts = cuts.as_of(row["as_of"])  # a closure that became known since was none for the decision
    session, strategy, feature_set = (
        row["session"],
        strategy_lookup(row["strategy"]),
        feature_set_lookup(row["feature_set"]),
    )
    kill_switch, late, features_refused = switches(stored_set)
    if bars := bars_of(strategy, on_bars):
        model = row["model_id"], _text(store, strategy, row["model_id"])
        whole = slot_again(
            store,
            feature_set,
            strategy,
            bars,
            cuts,
            session,
            row["slot"],
            model,
            kill_switch,
            features_refused,
            late=late,
        )
    else:
        features = compute(store, feature_set, strategy.universe.name, cuts, [session])
        inputs = replace(
            read(store, feature_set, strategy, cuts, [session]),
            features=features,
            scores=_scores(store, strategy, feature_set, features, row["model_id"]),
        )
        whole = decisions(
            inputs,
            feature_set,
            strategy,
            cuts,
            [session],
            kill_switch=kill_switch,
            late=late,
            features_refused=features_refused,
        )
    rebuilt = whole.filter(pl.col("sid") == row["sid"])
    again = rebuilt.row(0, named=True) if rebuilt.height else dict.fromkeys(DECISIONS.content)
    return Replay(
        decision_id=decision_id,
        strategy=row["strategy"],
        session=session,
        sid=row["sid"],
        symbol=row["symbol"],
        fields=tuple(Field(name=c, stored=row[c], replayed=again[c]) for c in DECISIONS.content),
        notes=_notes(row, provenance, strategy, feature_set),
        elsewhere=_elsewhere(row["machine"] or "", provenance.machine),
    )


def _stored(store: Store, decision_id: str, decision_set_id: str | None) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows of the decision's set, and its own."""
    which = {"decision_id": decision_id} | ({"decision_set_id": decision_set_id} if decision_set_id else {})
    found = store.read(DECISIONS, as_of=None, where=which).sort("recorded_at", "decision_set_id")
    if found.is_empty():
        near = _nearest(store.read(DECISIONS, as_of=None)["decision_id"].unique().sort().to_list(), decision_id)
        raise UnknownDecision(
            f"no decision has the id {decision_id!r}"
            + (f" in set {decision_set_id}" if decision_set_id else "")
            + f"; the nearest: {near or 'none is stored at all'}"
        )
    row = found.row(0, named=True)
    of_set = store.read(
        DECISIONS,
        as_of=None,
        first=row["session"],
        last=row["session"],
        where={"decision_set_id": row["decision_set_id"]},
    )
    return of_set, row


def _nearest(ids: list[str], wanted: str, count: int = 5) -> list[str]:
    """Those that agree with `wanted` from the front in most characters."""
    same = {i: next((n for n, (a, b) in enumerate(zip(i, wanted, strict=False)) if a != b), len(wanted)) for i in ids}
    return sorted(ids, key=lambda i: (-same[i], i))[:count]


def _scores(
    store: Store, strategy: Strategy, feature_set: FeatureSet, features: pl.DataFrame, model_id: str
) -> pl.DataFrame:
    """SCORES rows of the cited model on recomputed features; none where none was cited."""
    text = _text(store, strategy, model_id)
    if text is None:
        return SCORES.empty()
    named = features.with_columns(slot=pl.lit(slot_of(strategy.moment)))
    return scored(feature_set, strategy, model_id, text, named)


def _text(store: Store, strategy: Strategy, model_id: str) -> str | None:
    """The stored text of a model; None where there is none."""
    cited = store.read(MODELS, as_of=None, where={"strategy": strategy.name, "model_id": model_id})
    return cited["text"][0] if cited.height else None


def switches(rows: pl.DataFrame) -> tuple[tuple[bool, str], bool, str]:
    """Kill switch with its reason, lateness, and what an audit found against the features, as the stored set (its
    DECISIONS rows) recorded them.
    """
    killed, refused = rows.filter(reason="KILL_SWITCH"), rows.filter(reason="FEATURES_REFUSED")
    reason = str(msgspec.json.decode(killed["detail"][0])["reason"]) if killed.height else ""
    found = str(msgspec.json.decode(refused["detail"][0])["found"]) if refused.height else ""
    return (killed.height > 0, reason), (rows["reason"] == "LATE").any(), found


def _elsewhere(then: str, now: str) -> str:
    """What to say where the architecture is another one; empty where it is the same, or where one is not on record."""
    if not then or not now or then == now:
        return ""
    return f"decided on {then}, rebuilt on {now}: bits are promised on {PROMISED} alone; replay it on {then}"


def _notes(row: dict[str, Any], provenance: Provenance, strategy: Strategy, feature_set: FeatureSet) -> tuple[str, ...]:
    now = {
        "commit": provenance.commit,
        "lock_hash": provenance.lock_hash,
        "strategy_hash": strategy.config_hash,
        "feature_version": feature_set.version,
    }
    return tuple(
        f"decided under {name} {row[name]}, replayed under {value}" for name, value in now.items() if row[name] != value
    )
