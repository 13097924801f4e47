"""A small fixed market from its rows to its decisions, and what each layer's hash must be: the same bits on every
x86-64.

The model is not fitted here. It is read from the folder, as replay reads a stored one: a fit may differ by machine, its
artifact is content. `make golden` writes what is expected; say in the commit what changed it.
"""

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from desk.day import arrive
from desk.deployment import load
from desk.workspace import Workspace
from quant_assets.contract import Table
from quant_assets.features.catalogue import find_set
from quant_assets.features.labels import publish_labels
from quant_assets.features.publish import compute, publish
from quant_assets.market_data.quality import write_verdicts
from quant_assets.market_data.universe import update
from quant_assets.models.drift import measure
from quant_assets.models.scoring import score
from quant_assets.records import Frozen, Provenance, content_id, frame_hash
from quant_assets.signals.decide import decide
from quant_assets.tables import (
    ACTIONS,
    BARS,
    DECISIONS,
    FEATURE_DRIFT,
    LABELS,
    MODELS,
    PROMOTIONS,
    SCORES,
    UNIVERSE,
    VERDICTS,
)

FOLDER = Path(__file__).parent
ALSO = ("technical", "style", "cross_sectional")  # sets compared on the last session, beside the one the model reads
COMPARED: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (BARS, ("open", "high", "low", "close", "volume")),
    (ACTIONS, ("numerator", "denominator", "cash")),
    (UNIVERSE, ()),
    (VERDICTS, ("passed",)),
)
DERIVED: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (LABELS, ("value",)),
    (SCORES, ("score",)),
    (FEATURE_DRIFT, ("psi", "ks")),
    (DECISIONS, ("decision_id", "verdict", "reason", "score", "target_weight")),
)
"""The columns beside the key that are hashed. A column that says when or by what a row came is no bit of the answer."""


class Golden(Frozen, frozen=True):
    """What came out: a hash for each layer in the order in which they are made, and the id of the last decision to hold
    a name.
    """

    layers: dict[str, str]
    last_decision: str

    @property
    def fingerprint(self) -> str:
        """All of it in twelve characters."""
        return content_id(self.layers, self.last_decision, length=12)


def golden(home: Path) -> Golden:
    """Make the market under `home` (an empty folder), decide its last sessions by the stored model, and hash each
    layer.
    """
    ws = prepared(home)
    _install(ws)
    strategy, sessions = ws.deployment.strategies[0], _live(ws)
    features = find_set(strategy.feature_set)
    score(ws.store, features, strategy, ws.cuts, sessions)
    measure(ws.store, features, strategy, ws.cuts, sessions)
    decide(
        ws.store,
        features,
        strategy,
        ws.cuts,
        sessions,
        kill_switch=(False, ""),
        provenance=Provenance(table_versions={}, commit="", lock_hash="", run_id=""),
        now=ws.cuts.of(sessions[-1]),
    )
    layers = {t.name: _hash(ws, t, columns) for t, columns in COMPARED}
    layers |= {f"{features.table.name}.{f}": _hash(ws, features.table, (f,)) for f in features.features}
    for name in ALSO:
        table = find_set(name)
        values = compute(ws.store, table, strategy.universe.name, ws.cuts, sessions[-1:])
        layers[table.table.name] = frame_hash(values.select("sid", *table.features).sort("sid"))[:16]
    layers |= {t.name: _hash(ws, t, columns) for t, columns in DERIVED}
    held = ws.store.read(DECISIONS, as_of=None).filter(reason="SELECTED")
    return Golden(layers=layers, last_decision=held["decision_id"][-1] if held.height else "")


def expected() -> Golden:
    """What comes out on every x86-64."""
    return msgspec.json.decode((FOLDER / "expected.json").read_bytes(), type=Golden)


def first_difference(found: Golden, wanted: Golden) -> str:
    """The first layer that is not what it should be; empty where all are."""
    for layer, value in wanted.layers.items():
        if found.layers.get(layer) != value:
            return layer
    return "" if found == wanted else "last decision"


def prepared(home: Path) -> Workspace:
    """Everything that needs no model."""
    ws = Workspace(home, load(FOLDER / "deployment.yaml"))
    (strategy,) = ws.deployment.strategies
    first, last = ws.span
    sessions = ws.cuts.calendar.between(first, last or first)
    list(arrive(ws, sessions[-1]))
    update(ws.store, ws.cuts, strategy.universe, sessions)
    write_verdicts(ws.store, ws.cuts, sessions)
    publish(ws.store, find_set(strategy.feature_set), strategy.universe.name, ws.cuts, sessions)
    publish_labels(ws.store, ws.cuts, strategy.rule, sessions)
    return ws


def _live(ws: Workspace) -> list[date]:
    return ws.cuts.calendar.between(ws.deployment.start, ws.span[1] or ws.deployment.start)


def _install(ws: Workspace) -> None:
    """The stored model, in force from the first live session."""
    strategy, session = ws.deployment.strategies[0], ws.deployment.start
    cut = ws.cuts.calendar.shift(session, -1)
    text, beside = (FOLDER / "model.txt").read_text(), msgspec.json.decode((FOLDER / "model.json").read_bytes())
    features, model_id = find_set(strategy.feature_set), content_id(text)
    known = {"strategy": strategy.name, "model_id": model_id, "known_at": ws.cuts.of(cut)}
    model: dict[str, Any] = {
        "session": cut,
        "text": text,
        "feature_set": features.name,
        "feature_version": features.version,
        **beside,
        **known,
    }
    promotion: dict[str, Any] = {
        "session": session, "cut": cut, "promoted": True, "rule": "golden", "detail": "{}", "by": "golden", **known,
    }  # fmt: skip
    for table, row in ((MODELS, model), (PROMOTIONS, promotion)):
        ws.store.append(table, pl.DataFrame([row], schema=dict(table.schema)))


def _hash(ws: Workspace, table: Table, columns: tuple[str, ...]) -> str:
    rows = ws.store.read(table, as_of=None)
    key = [c for c in table.key if c not in {"known_at", "decision_set_id", *table.defaults}]  # of a day alone
    return frame_hash(rows.select(*key, *columns).sort(*key, *columns, nulls_last=True))[:16]
