"""A small market whose truth is known: features and labels with a planted signal, or none, or a leak."""

from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.features.audit.audit import LAWS
from quant_assets.features.sets import FeatureSet
from quant_assets.strategy import ModelRule, Strategy
from quant_assets.tables import AUDITS, LABELS
from resources.tables.store import DeltaStore

HORIZON = 5
FEATURES = ("f0", "f1", "f2", "f3")


@dataclass
class Market:
    """`features` and `labels` as they would be published, over `sessions`."""

    cuts: Cuts
    sessions: list[date]
    feature_set: FeatureSet
    features: pl.DataFrame
    labels: pl.DataFrame

    def store(self, root) -> DeltaStore:
        """A store that holds both tables."""
        store = DeltaStore(root)
        store.append(self.feature_set.table, self.features)
        store.append(LABELS, self.labels)
        store.append(AUDITS, passed(self.feature_set, self.cuts.of(self.sessions[0])))
        return store


def passed(feature_set: FeatureSet, when: datetime) -> pl.DataFrame:
    """The audit of a set in which every law held."""
    named = {
        "feature_set": feature_set.name,
        "version": feature_set.version,
        "fingerprint": feature_set.fingerprint,
        "session": when.date(),
        "known_at": when,
    }
    return pl.DataFrame(
        [{**named, "law": law, "passed": True, "cuts": 1, "cells": 1, "evidence": "planted"} for law in LAWS],
        schema=dict(AUDITS.schema),
    )


@dataclass
class Registry:
    """A registry that remembers what it was told."""

    logged: list = field(default_factory=list)
    promoted: list = field(default_factory=list)

    def log(self, *, strategy, cut, model_id, metrics, **_described) -> str:
        """See the port."""
        self.logged.append((strategy, cut, model_id))
        assert all(np.isfinite(v) for v in metrics.values())
        return str(len(self.logged))

    def promote(self, strategy, registry_version) -> None:
        """See the port."""
        self.promoted.append((strategy, registry_version))


def build(*, seed: int, signal: float = 0.0, leak: bool = False, names: int = 30, length: int = 140) -> Market:
    """Returns r_t (open t+1 to open t+2) = signal × f0_t + noise; every feature is an AR(1).

    `leak` puts the label of the session before, whose window overlaps, into f3.
    """
    rng = np.random.default_rng(seed)
    xnys = calendar("XNYS")
    cuts = Cuts(xnys)
    sessions = xnys.between(date(2024, 1, 2), date(2025, 6, 30))[: length + HORIZON + 1]
    values = rng.normal(size=(len(FEATURES), len(sessions), names))
    for t in range(1, len(sessions)):
        values[:, t] = 0.9 * values[:, t - 1] + np.sqrt(1 - 0.81) * values[:, t]
    returns = 0.01 * (signal * values[0] + rng.normal(size=values[0].shape))
    label = np.stack([returns[t : t + HORIZON].sum(axis=0) for t in range(length)])
    if leak:
        values[3, 1:length] = label[:-1]
    name, at = np.tile(np.arange(1, names + 1), len(sessions)), np.repeat(np.arange(len(sessions)), names)
    when = pl.DataFrame(
        {"t": range(len(sessions)), "session": sessions, "known_at": [cuts.of(s) for s in sessions]},
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    feature_set = FeatureSet("planted", "1", FEATURES, ("close",), 1, lambda panel: panel, lambda rows: rows)
    features = (
        pl.DataFrame({"t": at, "sid": name, **{f: values[i].ravel() for i, f in enumerate(FEATURES)}})
        .join(when, on="t")
        .with_columns(version=pl.lit("1"), universe=pl.lit("liquid"))
    )
    ends = when.select(pl.col("t") - HORIZON - 1, label_end="session", known_at="known_at")
    count = length * names
    labels = (
        pl.DataFrame({"t": at[:count], "sid": name[:count], "value": label.ravel()})
        .join(ends, on="t")
        .join(when.select("t", "session"), on="t")
    )
    labels = labels.with_columns(
        label=pl.lit("open_to_open"),
        horizon=pl.lit(HORIZON, dtype=pl.Int64),
        died=pl.lit(value=False),
        touched=pl.lit(None, pl.String),
    )
    return Market(
        cuts,
        sessions,
        feature_set,
        feature_set.table.conform(features.select(*feature_set.table.schema)),
        LABELS.conform(labels.select(*LABELS.schema)),
    )


@pytest.fixture(scope="session")
def market():
    """The builder of markets."""
    return build


@pytest.fixture(scope="session")
def strategy() -> Strategy:
    """A strategy whose model trains in a moment."""
    params = {
        "objective": "regression",
        "num_leaves": 7,
        "learning_rate": 0.1,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
    }
    return Strategy(
        name="planted",
        feature_set="planted",
        horizon=HORIZON,
        model=ModelRule(rounds=15, params=params, threads=1, validation=20, embargo=2, min_sessions=30),
    )


@pytest.fixture
def registry() -> Registry:
    """A recording registry."""
    return Registry()
