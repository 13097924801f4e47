"""What is stored and drawn of drift is what the guardrail judges."""

import re

import polars as pl
import pytest

from quant_assets.contract import known_by
from quant_assets.features.drift import median_psi, psi
from quant_assets.models.drift import drift, measure
from quant_assets.models.drift_page import drift_page
from quant_assets.models.promotion import champions
from quant_assets.models.training import retrain
from quant_assets.tables import FEATURE_DRIFT


@pytest.fixture(scope="module")
def planted(market):
    """A market with a signal."""
    return market(seed=3, signal=0.3)


@pytest.fixture
def home(planted, registry, strategy, tmp_path):
    """A store with a champion, cut two thirds through."""
    store = planted.store(tmp_path / "drift")
    assert retrain(store, registry, planted.feature_set, strategy, planted.cuts, planted.sessions[100]).numbers[
        "promoted"
    ]
    return store


def test_a_range_equals_its_days_and_again_is_nothing(planted, strategy, home) -> None:
    """Measured by range, by day and once more: the same rows, none of them written again."""
    days = planted.sessions[95:120]
    whole = drift(home, planted.feature_set, strategy, planted.cuts, days)
    assert whole["session"].min() == planted.sessions[101]  # nothing before the champion's first session
    assert whole.equals(pl.concat([drift(home, planted.feature_set, strategy, planted.cuts, [d]) for d in days]))
    assert (
        measure(home, planted.feature_set, strategy, planted.cuts, days).rows
        == whole.height
        == 19 * len(planted.feature_set.features)
    )
    assert measure(home, planted.feature_set, strategy, planted.cuts, days[::-1]).rows == 0


def test_it_is_what_the_guardrail_judges(planted, strategy, home) -> None:
    """A session's stored rows have the median that the drift guardrail compares with its limit, to the bit."""
    day = planted.sessions[110]
    cut = planted.cuts.of(day)
    model = champions(home, strategy.name, cut).of(day, cut)
    rows = known_by(home.read(planted.feature_set.table, as_of=cut, first=day, last=day), cut)
    assert median_psi(drift(home, planted.feature_set, strategy, planted.cuts, [day])) == median_psi(
        psi(model.metrics.drift, rows)
    )


def test_only_what_its_own_universe_knew_at_the_cut_counts(planted, strategy, home) -> None:
    """Values rebuilt later, or published for another universe or at another version, move nothing that is measured of a
    session.
    """
    days, of = planted.sessions[108:111], planted.feature_set
    before = drift(home, of, strategy, planted.cuts, days)
    rows = planted.features.filter(pl.col("session") == days[0]).with_columns(pl.col("f2") + 2)
    for other in (
        {"known_at": pl.col("known_at").dt.offset_by("36h")},
        {"universe": pl.lit("another")},
        {"version": pl.lit("0")},
    ):
        home.append(of.table, rows.with_columns(**other))
    assert drift(home, of, strategy, planted.cuts, days).equals(before)


def test_moved_features_are_seen(planted, strategy, home) -> None:
    """A feature shifted by two deviations has the largest index of all, far over the usual alarm."""
    day = planted.sessions[115]
    cut = planted.cuts.of(day)
    model = champions(home, strategy.name, cut).of(day, cut)
    rows = planted.features.filter(session=day).with_columns(pl.col("f2") + 2)
    moved = psi(model.metrics.drift, rows).sort("psi", descending=True)
    assert (moved["feature"][0], moved["psi"][0] > 0.5) == ("f2", True)


def test_the_page_shows_every_feature_and_calls_nobody(planted, strategy, home, tmp_path) -> None:
    """One heat map row for each feature, from the stored table alone; without rows there is no page."""
    day = planted.sessions[119]
    measure(home, planted.feature_set, strategy, planted.cuts, planted.sessions[101:120])
    page = drift_page(home, strategy, day, tmp_path)
    text = page.read_text()
    assert re.findall(r"https?://[^\s\"<]+", text) == []
    stored = home.read(FEATURE_DRIFT, as_of=None, last=day)
    assert text.count("<rect") == stored.height
    assert all(f">{f}<" in text for f in planted.feature_set.features)
    assert drift_page(home, strategy, planted.sessions[50], tmp_path) is None
