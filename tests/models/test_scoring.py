"""Scores of the champion in force."""

import msgspec
import polars as pl
import pytest

from quant_assets.models.boosting import LightGBM, artifact
from quant_assets.models.promotion import champion
from quant_assets.models.scoring import score
from quant_assets.models.training import month_ends, retrain
from quant_assets.tables import MODELS, PROMOTIONS, SCORES


@pytest.fixture(scope="module")
def world(market, strategy, tmp_path_factory):
    """A market with a missing row, an empty one and one that is not finite, and two champions."""
    planted = market(seed=2, signal=0.3)
    session = planted.sessions[-10]
    odd = pl.col("session") == session
    features = planted.features.with_columns(
        pl.when(odd & (pl.col("sid") == 3)).then(None).otherwise(pl.col(f)).alias(f)
        for f in planted.feature_set.features
    )
    features = features.with_columns(
        f0=pl.when(odd & (pl.col("sid") == 4))
        .then(float("inf"))
        .when(odd & (pl.col("sid") == 5))
        .then(None)
        .otherwise("f0")
    )
    planted.features = features
    store = planted.store(tmp_path_factory.mktemp("world"))
    cuts = month_ends(planted.cuts.calendar, planted.sessions[80], planted.sessions[-1])[:2]

    class Registry:
        def log(self, **_described):
            return "1"

        def promote(self, strategy, registry_version):
            pass

    for cut in cuts:
        assert retrain(store, Registry(), planted.feature_set, strategy, planted.cuts, cut).numbers["promoted"]
    return planted, store, cuts


def copy(world, root):
    """A store of its own with features, models and promotions."""
    planted, store, _ = world
    mine = planted.store(root)
    for table in (MODELS, PROMOTIONS):
        mine.append(table, store.read(table, as_of=None))
    return mine


def test_a_range_equals_its_days(world, strategy, tmp_path):
    """Scored as one range, day by day, or twice: the same rows to the bit, known at each session's cut, under the
    champion of the day.
    """
    planted, _, (first, second) = world
    calendar = planted.cuts.calendar
    sessions = calendar.between(calendar.shift(first, -2), calendar.shift(second, 8))
    whole, days = copy(world, tmp_path / "whole"), copy(world, tmp_path / "days")
    report = score(whole, planted.feature_set, strategy, planted.cuts, sessions)
    by_day = [score(days, planted.feature_set, strategy, planted.cuts, [s]) for s in sessions]
    scores = whole.read(SCORES, as_of=None)
    assert scores.equals(days.read(SCORES, as_of=None))
    assert (report.state, report.rows) == ("done", scores.height)
    assert [r.state for r in by_day] == ["empty"] * 3 + ["done"] * (len(sessions) - 3)
    assert "no model was promoted" in by_day[0].reason
    assert len(report.notes) == 3
    assert score(whole, planted.feature_set, strategy, planted.cuts, sessions).rows == 0
    for (session,), rows in scores.group_by("session"):
        assert rows["model_id"].unique().to_list() == [
            champion(whole, strategy.name, session, planted.cuts.of(session)).model_id
        ]
        assert rows["known_at"].unique().to_list() == [planted.cuts.of(session)]
    assert scores["model_id"].n_unique() == 2


def test_a_row_does_not_depend_on_the_others(world, strategy):
    """Rows predicted one by one, reversed, or with more threads have the same bits."""
    planted, store, _ = world
    text = champion(store, strategy.name, planted.sessions[-1], planted.cuts.of(planted.sessions[-1])).text
    rows = planted.features.tail(3000)
    scores = LightGBM().predict(artifact(text), rows, 1)
    assert LightGBM().predict(artifact(text), rows.reverse(), 1).reverse().equals(scores)
    assert LightGBM().predict(artifact(text), rows, 2).equals(scores)
    assert pl.concat([LightGBM().predict(artifact(text), rows[i : i + 1], 1) for i in range(200)]).equals(scores[:200])


def test_rows_that_say_nothing_are_not_scored(world, strategy, tmp_path):
    """A row without any feature, or with an infinite one, has no score; one with a missing feature has."""
    planted, _, _ = world
    store = copy(world, tmp_path)
    report = score(store, planted.feature_set, strategy, planted.cuts, [planted.sessions[-10]])
    scored = set(store.read(SCORES, as_of=None)["sid"])
    assert scored == set(range(1, 31)) - {3, 4}
    assert report.numbers["unscored_rows"] == 2


def test_another_feature_version_is_not_scored(world, strategy, tmp_path):
    """A champion never sees features of a version that it was not trained on."""
    from dataclasses import replace

    planted, _, _ = world
    store = copy(world, tmp_path)
    newer = replace(planted.feature_set, version="2")
    store.append(newer.table, planted.features.with_columns(version=pl.lit("2")))
    report = score(store, newer, strategy, planted.cuts, [planted.sessions[-1]])
    assert report.state == "empty"
    assert "retrain" in report.reason


def test_late_features_are_not_seen(world, strategy, tmp_path):
    """A row published after its session's cut does not change that session's scores, in a range either."""
    planted, _, _ = world
    store = copy(world, tmp_path)
    day, later = planted.sessions[-2], planted.sessions[-1]
    row = (
        planted.features.filter(session=day)
        .head(1)
        .with_columns(
            sid=pl.lit(777, dtype=pl.Int64), known_at=pl.lit(planted.cuts.of(later)).cast(pl.Datetime("us", "UTC"))
        )
    )
    store.append(planted.feature_set.table, row)
    score(store, planted.feature_set, msgspec.structs.replace(strategy), planted.cuts, [day, later])
    assert 777 not in store.read(SCORES, as_of=None)["sid"]
