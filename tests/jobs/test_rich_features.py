"""A strategy on a set with inputs, a cross-section, a compiled kernel and parts, from its first value to its
replayed decisions.
"""

import shutil
from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest

from desk.day import provenance
from quant_assets.features import declared
from quant_assets.features.alpha158.feature_set import ALPHA158
from quant_assets.features.catalogue import find_set
from quant_assets.features.cross_sectional import CROSS_SECTIONAL
from quant_assets.features.sets import FeatureSet, together
from quant_assets.signals.replay import replay
from quant_assets.tables import DECISIONS, FEATURE_DRIFT, SCORES
from tests.jobs.small import CUTS, FIRST, STRATEGY, content, deployment, ranged, workspace

TOGETHER = together("rich", CROSS_SECTIONAL, ALPHA158)
RICH = msgspec.structs.replace(  # a champion is needed, whatever it foretells
    STRATEGY, feature_set=TOGETHER.name, model=msgspec.structs.replace(STRATEGY.model, min_ic=-1.0)
)
HISTORY, DAYS = (
    CUTS.calendar.between(FIRST, date(2024, 5, 1)),
    CUTS.calendar.between(date(2024, 5, 2), date(2024, 5, 3)),
)


@pytest.fixture
def rich(monkeypatch: pytest.MonkeyPatch) -> FeatureSet:
    """The set, declared for one test."""
    monkeypatch.setitem(declared.DECLARED, TOGETHER.name, TOGETHER)
    return TOGETHER


def test_days_are_their_range_and_decisions_replay(rich: FeatureSet, tmp_path: Path):
    """Features, scores, drift and decisions have the bits of the range; each decision, rebuilt from bars, filings
    and listings as of its cut, is the stored one.
    """
    ranged(workspace(tmp_path / "days", deployment(strategy=RICH)), HISTORY)
    shutil.copytree(tmp_path / "days", tmp_path / "range")
    span, days = (workspace(tmp_path / name, deployment(strategy=RICH)) for name in ("range", "days"))
    ranged(span, DAYS)
    for session in DAYS:
        ranged(days, [session])
    for table in (rich.table, SCORES, FEATURE_DRIFT, DECISIONS):
        one = content(span, table)
        assert one.filter(pl.col("session") >= DAYS[0]).height > 0, table.name
        assert one.equals(content(days, table)), table.name
    rows = days.store.read(DECISIONS, as_of=None, first=DAYS[0], last=DAYS[-1])
    assert "SELECTED" in set(rows["reason"])
    for decision in rows.unique("session", keep="first", maintain_order=True)["decision_id"]:
        replay(days.store, find_set, days.deployment.strategy, days.cuts, decision, provenance(days)).require_equal()
