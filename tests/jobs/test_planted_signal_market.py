"""No signal gives no IC, a leak is seen, a signal is found: through captures, features, labels and models as they
are run.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest

from desk.day import arrive
from desk.workspace import Workspace
from quant_assets.evaluation import Estimate, ic_estimate, rank_ic
from quant_assets.features.labels import publish_labels
from quant_assets.features.publish import publish
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.universe import update
from quant_assets.models.training import out_of_sample, walk_forward
from quant_assets.models.training_set import training_set
from quant_assets.strategy import UniverseRule
from tests.jobs.small import CUTS, FEATURES, SOURCE, STRATEGY, deployment, workspace

SESSIONS = CUTS.calendar.between(date(2023, 7, 3), date(2024, 1, 19))
EVERYONE = UniverseRule(name="everyone", size=60, lookback=5, min_price=1.0)
RULE = msgspec.structs.replace(STRATEGY.model, rounds=15)
HORIZON = STRATEGY.horizon

LEAKY: FeatureSet = replace(
    FEATURES,
    name="leaky",
    features=(*FEATURES.features, "leak"),
    kernel=lambda panel: FEATURES.kernel(panel).with_columns(
        leak=pl.col("close").shift(-1).over("series") / pl.col("close") - 1
    ),
)
"""The features, and the return of the session after: what a kernel that looks ahead sees where a range is evaluated
at once.
"""


def published(home: Path, seed: int, signal: float, *sets: FeatureSet) -> Workspace:
    """A market of sixty names, from its captures to its labels and the feature sets."""
    source = {
        **SOURCE,
        "first": SESSIONS[0],
        "last": SESSIONS[-1],
        "names": 60,
        "seed": seed,
        "signal": signal,
        "splits": 0.1,
        "delistings": 0.1,
        "listings": 0.1,
        "halts": 0.1,
        "restatements": 0.002,
    }
    ws = workspace(home, deployment(source=source))
    list(arrive(ws, SESSIONS[-1]))
    update(ws.store, CUTS, EVERYONE, SESSIONS)
    publish_labels(ws.store, CUTS, HORIZON, SESSIONS)
    for features in sets:
        publish(ws.store, features, EVERYONE.name, CUTS, SESSIONS)
    return ws


def out_of_sample_ic(ws: Workspace, features: FeatureSet) -> Estimate:
    """The rank IC of a walk-forward model over the last 75 sessions whose labels are known, three times retrained."""
    frame, _ = training_set(ws.store, features, HORIZON, CUTS.of(SESSIONS[-1]), universe=EVERYONE.name)
    splits = walk_forward(frame, CUTS, count=3, size=25, embargo=RULE.embargo)
    estimate = ic_estimate(rank_ic(out_of_sample(frame, features.features, splits, RULE)), HORIZON)
    assert estimate.n > 60
    return estimate


@pytest.fixture(scope="module")
def silent(once: Callable[..., Path]) -> Workspace:
    """A market in which nothing predicts anything."""
    return workspace(once("silent", lambda home: published(home, 17, 0.0, FEATURES, LEAKY)))


def test_no_signal_no_ic(silent: Workspace):
    """Without a planted signal the rank IC is nothing: Newey–West |t| < 3."""
    assert abs(out_of_sample_ic(silent, FEATURES).t) < 3


def test_another_seed_no_ic(tmp_path: Path):
    """So it is at another seed."""
    assert abs(out_of_sample_ic(published(tmp_path, 18, 0.0, FEATURES), FEATURES).t) < 3


def test_a_leak_is_seen(silent: Workspace):
    """On the same market a feature that reads the next session makes the assertion above fail."""
    assert abs(out_of_sample_ic(silent, LEAKY).t) >= 3


def test_a_signal_is_found(tmp_path: Path):
    """A planted signal shows, with the right sign."""
    assert out_of_sample_ic(published(tmp_path, 17, 0.2, FEATURES), FEATURES).t >= 3
