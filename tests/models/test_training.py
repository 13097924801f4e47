"""Training sets, retraining and promotion, on a market whose truth is known."""

import dataclasses
import json
from datetime import date, timedelta

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import ModelError, NoChampion, ReplayMismatch
from quant_assets.evaluation import rank_ic
from quant_assets.models.boosting import LightGBM, artifact
from quant_assets.models.promotion import champion, champions, judge
from quant_assets.models.training import month_ends, out_of_sample, retrain, walk_forward
from quant_assets.models.training_set import rebuild, training_set
from quant_assets.records import FeatureSnapshot, content_id
from quant_assets.strategy import LabelRule
from quant_assets.tables import CAPTURES, LABELS, MODELS, PROMOTIONS


@pytest.fixture(scope="module")
def planted(market):
    """A market with a signal."""
    return market(seed=1, signal=0.3)


@pytest.fixture
def store(planted, tmp_path):
    """Its tables, stored."""
    return planted.store(tmp_path)


def ends(planted):
    """The month ends by which enough is known."""
    return month_ends(planted.cuts.calendar, planted.sessions[80], planted.sessions[-1])[:3]


def test_month_ends_are_the_last_sessions():
    """Good Friday and a weekend end move the month's end back."""
    assert month_ends(calendar("XNYS"), date(2024, 3, 1), date(2024, 6, 27)) == [
        date(2024, 3, 28),
        date(2024, 4, 30),
        date(2024, 5, 31),
    ]


def test_training_set_holds_only_what_was_known(planted, store):
    """Every row's label was known by the cut-off, every label known by then is there, and later rows change no bit."""
    cutoff = planted.cuts.of(planted.sessions[60])
    frame, snapshot = training_set(store, planted.feature_set, 5, cutoff, universe="liquid")
    assert frame["label_known_at"].max() == cutoff
    assert frame["session"].max() == planted.sessions[60 - 6]
    assert frame.height == planted.labels.filter(pl.col("known_at") <= cutoff).height
    assert frame.equals(frame.sort("session", "sid"))
    later = planted.labels.head(1).with_columns(
        session=planted.sessions[3],
        sid=pl.lit(999, dtype=pl.Int64),
        known_at=pl.lit(cutoff + timedelta(hours=1)).cast(pl.Datetime("us", "UTC")),
    )
    store.append(LABELS, later)
    again, same = training_set(store, planted.feature_set, 5, cutoff, universe="liquid")
    assert again.equals(frame)
    assert same == snapshot
    assert (
        training_set(store, planted.feature_set, 5, cutoff, planted.sessions[1], universe="liquid")[1].dataset_version
        != snapshot.dataset_version
    )


def test_target_is_centred_in_each_session(planted, store):
    """Ranks lie inside (−½, ½), are centred, and rise with the label; rows without any feature are left out."""
    frame, _ = training_set(store, planted.feature_set, 5, planted.cuts.of(planted.sessions[40]), universe="liquid")
    by = frame.group_by("session").agg(pl.col("target").sum(), low=pl.col("target").min(), high=pl.col("target").max())
    assert by["target"].abs().max() < 1e-12
    assert (by["low"].min(), by["high"].max()) == pytest.approx((0.5 / 30 - 0.5, 0.5 - 0.5 / 30))
    assert frame.select(
        pl.corr("value", "target", method="spearman").over("session")
    ).to_series().min() == pytest.approx(1)


def test_assumed_knowledge_is_stamped(planted, store):
    """A capture whose knowledge time was assumed marks the snapshot."""
    cutoff = planted.cuts.of(planted.sessions[60])
    assert not training_set(store, planted.feature_set, 5, cutoff, universe="liquid")[1].assumed_known_at
    row = dict.fromkeys(CAPTURES.schema) | {
        "capture": planted.sessions[0],
        "dataset": "bars",
        "source": "files",
        "sha256": "x",
        "assumed": True,
        "known_at": planted.cuts.of(planted.sessions[0]),
    }
    store.append(CAPTURES, pl.DataFrame([row], schema=dict(CAPTURES.schema)))
    assert training_set(store, planted.feature_set, 5, cutoff, universe="liquid")[1].assumed_known_at


def test_retraining_is_recorded_once(planted, strategy, store, registry):
    """Month ends train, promote and track; a rerun changes nothing, logs nothing and reports the same; another store
    gives the same text.
    """
    reports = [retrain(store, registry, planted.feature_set, strategy, planted.cuts, s) for s in ends(planted)]
    assert [r.state for r in reports] == ["done"] * 3
    models, promotions = store.read(MODELS, as_of=None), store.read(PROMOTIONS, as_of=None)
    assert models.height == promotions.height == len(registry.logged) == 3
    assert all(r.measures["ic"] > 0.2 and r.measures["ic_t"] > 3 for r in reports)
    for row in models.rows(named=True):
        assert row["known_at"] == planted.cuts.of(row["session"])
        assert row["model_id"] == content_id(row["text"])
        snapshot = msgspec.json.decode(row["snapshot"], type=FeatureSnapshot)
        assert rebuild(store, {"planted": planted.feature_set}.__getitem__, snapshot).height == row["rows"]
    assert [retrain(store, registry, planted.feature_set, strategy, planted.cuts, s) for s in ends(planted)] == reports
    assert len(registry.logged) == 3
    assert store.read(MODELS, as_of=None).equals(models)
    assert store.read(PROMOTIONS, as_of=None).equals(promotions)


def test_a_training_set_is_rebuilt_from_its_snapshot_alone(planted, store):
    """Its record and the store give the same frame, whatever was restated or published since; a store in which a row is
    another one is found out.
    """
    cutoff, first, lookup = (
        planted.cuts.of(planted.sessions[90]),
        planted.sessions[10],
        {"planted": planted.feature_set}.__getitem__,
    )
    frame, snapshot = training_set(store, planted.feature_set, 5, cutoff, first, universe="liquid")
    record = msgspec.json.decode(msgspec.json.encode(snapshot), type=FeatureSnapshot)
    later = planted.cuts.of(planted.sessions[95])
    table = planted.feature_set.table
    store.append(
        table,
        planted.features.filter(session=planted.sessions[20]).with_columns(pl.col("f0") + 1, known_at=pl.lit(later)),
    )
    store.append(
        LABELS,
        planted.labels.filter(session=planted.sessions[20]).with_columns(pl.col("value") + 1, known_at=pl.lit(later)),
    )
    assert rebuild(store, lookup, record).equals(frame)
    assert rebuild(store, lambda name: dataclasses.replace(lookup(name), version="2"), record).equals(frame)
    with pytest.raises(ReplayMismatch, match="restore the tables"):
        rebuild(store, lookup, msgspec.structs.replace(record, first=planted.sessions[11]))


def test_a_crash_before_the_promotion_is_completed(planted, strategy, tmp_path, registry):
    """A model stored without its verdict is judged by the rerun, with the same result and no second registration."""
    (cut, *_), undisturbed, crashed = ends(planted), planted.store(tmp_path / "a"), planted.store(tmp_path / "b")
    retrain(undisturbed, registry, planted.feature_set, strategy, planted.cuts, cut)
    crashed.append(MODELS, undisturbed.read(MODELS, as_of=None))
    retrain(crashed, registry, planted.feature_set, strategy, planted.cuts, cut)
    assert len(registry.logged) == 1
    assert crashed.read(PROMOTIONS, as_of=None).equals(undisturbed.read(PROMOTIONS, as_of=None))


def test_the_same_rows_give_the_same_model(planted, strategy, tmp_path, registry):
    """Two stores with the same content train the same text, though written in another order."""
    cut, other = (
        ends(planted)[0],
        dataclasses.replace(planted, features=planted.features.sample(fraction=1, shuffle=True, seed=1)),
    )
    stores = [planted.store(tmp_path / "a"), other.store(tmp_path / "b")]
    for store in stores:
        retrain(store, registry, planted.feature_set, strategy, planted.cuts, cut)
    one, two = (s.read(MODELS, as_of=None).drop("registry_version") for s in stores)
    assert one.equals(two)


def test_folds_of_a_training_set_are_purged_and_embargoed(planted, store):
    """The labels that train a fold were known by the cut that lies the embargo before its first test session."""
    frame, _ = training_set(store, planted.feature_set, 5, planted.cuts.of(planted.sessions[100]), universe="liquid")
    splits = walk_forward(frame, planted.cuts, count=3, size=10, embargo=2)
    assert len(splits) == 3
    for fold in splits:
        train, test = fold.split(frame)
        assert train["label_known_at"].max() == planted.cuts.of(planted.cuts.calendar.shift(test["session"].min(), -2))


def test_a_late_promotion_does_not_reach_back(planted, strategy, store, registry):
    """A promotion that a person made later holds from when it is known, in a lookup over a range too."""
    first, second, _ = ends(planted)
    retrain(store, registry, planted.feature_set, strategy, planted.cuts, first)
    shift, last = planted.cuts.calendar.shift, planted.sessions[-1]
    before, after = shift(first, 5), shift(second, 5)
    model = champion(store, strategy.name, before, planted.cuts.of(before))
    text = model.text + "\n"
    late = {"model_id": content_id(text), "by": "ada"}
    store.append(
        MODELS, store.read(MODELS, as_of=None).with_columns(text=pl.lit(text), model_id=pl.lit(late["model_id"]))
    )
    promotion = store.read(PROMOTIONS, as_of=None).with_columns(
        **{k: pl.lit(v) for k, v in late.items()},
        known_at=pl.lit(planted.cuts.of(second)).cast(pl.Datetime("us", "UTC")),
    )
    store.append(PROMOTIONS, promotion)
    in_range = champions(store, strategy.name, planted.cuts.of(last))
    assert (
        in_range.of(before, planted.cuts.of(before))
        == champion(store, strategy.name, before, planted.cuts.of(before))
        == model
    )
    assert in_range.of(after, planted.cuts.of(after)).model_id == late["model_id"]


def test_champion_from_the_next_session(planted, strategy, store, registry):
    """A model is champion from the session after its cut on, and only as known."""
    first, second, _ = ends(planted)
    for cut in (first, second):
        retrain(store, registry, planted.feature_set, strategy, planted.cuts, cut)
    day = planted.cuts.calendar.shift(first, 1)
    with pytest.raises(NoChampion):
        champion(store, strategy.name, first, planted.cuts.of(first))
    with pytest.raises(NoChampion):
        champion(store, strategy.name, day, planted.cuts.of(planted.cuts.calendar.shift(first, -1)))
    assert champion(store, strategy.name, day, planted.cuts.of(day)).session == first
    assert champion(store, strategy.name, second, planted.cuts.of(second)).session == first
    assert champion(store, strategy.name, planted.sessions[-1], planted.cuts.of(planted.sessions[-1])).session == second


def test_an_altered_text_is_refused(planted, strategy, store, registry, tmp_path):
    """A stored text that is not the one its id names never scores."""
    cut = ends(planted)[0]
    retrain(store, registry, planted.feature_set, strategy, planted.cuts, cut)
    altered = planted.store(tmp_path / "altered")
    altered.append(PROMOTIONS, store.read(PROMOTIONS, as_of=None))
    altered.append(MODELS, store.read(MODELS, as_of=None).with_columns(pl.col("text") + "\n"))
    with pytest.raises(ModelError, match="content id"):
        champion(altered, strategy.name, planted.sessions[-1], planted.cuts.of(planted.sessions[-1]))


class Told:
    """A notifier that remembers."""

    def __init__(self):
        self.heard = []

    def notify(self, severity, subject, body=""):
        """See the port."""
        self.heard.append((severity, subject, body))


@pytest.mark.parametrize("broken", ["short", "infinite", "nan", "constant"])
def test_bad_data_is_refused(planted, strategy, tmp_path, registry, broken):
    """Too few sessions or values that are not finite leave no model, say why, and somebody is told."""
    value = {"infinite": float("inf"), "nan": float("nan"), "constant": 0.0}.get(broken)
    touched = {"short": (), "constant": planted.feature_set.features}.get(broken, ("f1",))
    store = dataclasses.replace(
        planted, features=planted.features.with_columns(pl.lit(value, dtype=pl.Float64).alias(f) for f in touched)
    ).store(tmp_path)
    cut = planted.sessions[30] if broken == "short" else ends(planted)[0]
    told = Told()
    report = retrain(store, registry, planted.feature_set, strategy, planted.cuts, cut, notifier=told)
    assert (report.state, store.version(MODELS), registry.logged) == ("refused", -1, [])
    assert {"short": "needed", "constant": "do not vary"}.get(broken, "'f1'") in report.reason
    assert told.heard == [("warning", f"{strategy.name}: no model was cut on {cut}", report.reason)]


def validated(sessions, ours, theirs):
    """Rows of `sessions` where a score's IC alternates around `ours` and the champion's around `theirs`."""
    rows = []
    for t, session in enumerate(sessions):
        for sid in range(20):
            order = (sid * 7 + t) % 20
            rows.append(
                (session, sid, float(sid), float(sid if ours else order), float(sid if theirs else (sid * 3 + t) % 20))
            )
    return pl.DataFrame(rows, schema=["session", "sid", "value", "score", "champion"], orient="row")


@pytest.mark.parametrize(
    ("ours", "theirs", "promoted"), [(True, True, True), (True, False, True), (False, True, False)]
)
def test_the_rule_compares_on_the_same_sessions(planted, strategy, store, registry, ours, theirs, promoted):
    """An equal or better candidate is promoted, a clearly worse one is not; sessions that the champion trained on do
    not count.
    """
    cut = ends(planted)[0]
    retrain(store, registry, planted.feature_set, strategy, planted.cuts, cut)
    rival = champion(store, strategy.name, planted.sessions[-1], planted.cuts.of(planted.sessions[-1]))
    sessions = planted.cuts.calendar.between(planted.cuts.calendar.shift(cut, -5), planted.cuts.calendar.shift(cut, 9))
    frame = validated(sessions, ours, theirs)
    verdict = judge(frame["value"], frame, rival, horizon=5, tolerance=2.0)
    assert (verdict.promoted, verdict.sessions) == (promoted, 10)
    assert verdict.difference == pytest.approx(verdict.candidate_ic - verdict.champion_ic)


def test_broken_candidates_are_not_promoted(planted):
    """No text, predictions that are not finite or constant, or no unseen session: no champion."""
    frame = validated(planted.sessions[:3], ours=True, theirs=True)
    assert not LightGBM().usable(artifact("tree\nno model"))
    for final in (None, frame["value"] * float("nan"), frame["value"] * 0):
        verdict = judge(final, frame, None, horizon=5, tolerance=2.0)
        assert not verdict.promoted
        assert verdict.reason
    assert judge(frame["value"], frame, None, horizon=5, tolerance=2.0).promoted


def test_the_first_champion_must_earn_it(planted):
    """A candidate becomes first champion only above the floor on its out-of-sample IC, and a refusal says by how much
    it missed.
    """
    frame = validated(planted.sessions[:10], ours=True, theirs=True)
    backwards = frame.with_columns(score=-pl.col("score"))
    refused = judge(frame["value"], backwards, None, horizon=5, tolerance=2.0)
    assert (refused.promoted, refused.candidate_ic, refused.sessions, refused.floor) == (
        False,
        pytest.approx(-1),
        10,
        0,
    )
    assert "-1.0000" in refused.reason
    earned = judge(frame["value"], frame, None, horizon=5, tolerance=2.0, floor=0.5)
    assert (earned.promoted, earned.candidate_ic) == (True, pytest.approx(1))
    assert not judge(frame["value"], frame, None, horizon=5, tolerance=2.0, floor=1.0).promoted


def test_a_successor_must_clear_the_floor_too(planted, strategy, store, registry):
    """A candidate below the floor is refused though it beats the champion; the champion keeps its place."""
    cut = ends(planted)[0]
    retrain(store, registry, planted.feature_set, strategy, planted.cuts, cut)
    rival = champion(store, strategy.name, planted.sessions[-1], planted.cuts.of(planted.sessions[-1]))
    frame = validated(planted.sessions[-10:], ours=False, theirs=False)
    verdict = judge(frame["value"], frame, rival, horizon=5, tolerance=1e9, floor=0.9)
    assert (verdict.promoted, verdict.champion) == (False, rival.model_id)
    assert judge(frame["value"], frame, rival, horizon=5, tolerance=1e9, floor=-1.0).promoted


def test_scores_that_tell_no_name_from_another_are_no_evidence(planted):
    """Predictions that vary between sessions but within none rank nobody."""
    frame = validated(planted.sessions[:3], ours=True, theirs=True)
    by_session = frame["session"].rank("dense").cast(pl.Float64)
    assert "within any session" in judge(by_session, frame, None, horizon=5, tolerance=2.0).reason


def test_sessions_with_too_few_names_count_in_no_ic(planted):
    """Two names always correlate by 1 or -1: below the strategy's own minimum a session is left out, and the verdict
    says how many.
    """
    frame = validated(planted.sessions[:10], ours=True, theirs=True)
    thin = frame.filter((pl.col("session") > planted.sessions[3]) | (pl.col("sid") < 2))
    judged = judge(thin["value"], thin, None, horizon=5, tolerance=2.0, minimum=10)
    assert (judged.promoted, judged.sessions, judged.left_out) == (True, 6, 4)
    few = judge(thin["value"], thin, None, horizon=5, tolerance=2.0, minimum=21)
    assert (few.promoted, few.left_out) == (False, 10)
    assert "21 names" in few.reason


def test_a_month_without_a_champion_is_recorded_with_its_numbers(planted, strategy, store, registry):
    """No champion is a fine answer: the model is kept, the promotion says no and why, and the alias never moves."""
    demanding = msgspec.structs.replace(strategy, model=msgspec.structs.replace(strategy.model, min_ic=0.99))
    report = retrain(store, registry, planted.feature_set, demanding, planted.cuts, ends(planted)[0])
    assert (report.state, report.numbers["promoted"], registry.promoted) == ("done", 0.0, [])
    detail = json.loads(store.read(PROMOTIONS, as_of=None)["detail"][0])
    assert 0 < detail["candidate_ic"] < detail["floor"] == 0.99
    with pytest.raises(NoChampion):
        champion(store, strategy.name, planted.sessions[-1], planted.cuts.of(planted.sessions[-1]))


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "regresion"},
        {"objective": "lambdarank"},
        {"objective": "multiclass", "num_class": 3},
        {"learning_rate": -1.0},
    ],
)
def test_parameters_that_make_no_ranking_model_are_refused(planted, strategy, store, registry, params):
    """A mistyped objective, or one that scores classes, is a refusal with its reason, never LightGBM's own error."""
    wrong = msgspec.structs.replace(strategy, model=msgspec.structs.replace(strategy.model, params=params))
    report = retrain(store, registry, planted.feature_set, wrong, planted.cuts, ends(planted)[0])
    assert (report.state, store.version(MODELS)) == ("refused", -1)
    assert "model.params" in report.reason or "use regression" in report.reason


def test_an_unset_floor_is_no_part_of_the_declaration(strategy):
    """A strategy that says nothing of a floor keeps the hash that it had before there was one, and the floor is 0."""
    assert "min_ic" not in msgspec.to_builtins(strategy)["model"]
    assert strategy.model.floor == 0
    assert msgspec.structs.replace(strategy.model, min_ic=-1).floor == -1


def test_a_verdict_against_is_recorded_and_keeps_the_champion(planted, strategy, store, registry):
    """Where the tolerance cannot be met, the row says so with its numbers, the alias stays, and the old champion scores
    on.
    """
    first, second, _ = ends(planted)
    retrain(store, registry, planted.feature_set, strategy, planted.cuts, first)
    strict = msgspec.structs.replace(strategy, model=msgspec.structs.replace(strategy.model, tolerance=-1e9))
    report = retrain(store, registry, planted.feature_set, strict, planted.cuts, second)
    assert (report.state, report.numbers["promoted"], len(registry.promoted)) == ("done", 0.0, 1)
    detail = json.loads(store.read(PROMOTIONS, as_of=None).filter(~pl.col("promoted"))["detail"][0])
    assert detail["sessions"] >= 10
    assert detail["champion_ic"] > 0
    assert champion(store, strategy.name, planted.sessions[-1], planted.cuts.of(planted.sessions[-1])).session == first


def test_a_strategy_learns_the_label_it_declares(planted, strategy, tmp_path, registry):
    """Of two labels stored the declared one trains, over its own horizon; sessions whose windows are still open are not
    judged by, though what they know trains.
    """
    rule = LabelRule(kind="triple_barrier", horizon=8)
    cut = ends(planted)[1]
    ended = planted.labels.select(
        "session",
        "sid",
        "value",
        "died",
        "known_at",
        "label_end",
        horizon=pl.lit(8, pl.Int64),
        label=pl.lit(rule.name),
        touched=pl.lit("upper"),
    )
    store, plain = planted.store(tmp_path / "both"), planted.store(tmp_path / "one")
    store.append(LABELS, ended.with_columns(value=-pl.col("value")))
    declared = msgspec.structs.replace(strategy, label=rule)
    report, other = (
        retrain(s, registry, planted.feature_set, of, planted.cuts, cut)
        for s, of in ((store, declared), (plain, strategy))
    )
    assert (report.state, other.state) == ("done", "done")
    one, two = (s.read(MODELS, as_of=None).row(0, named=True) for s in (store, plain))
    assert (json.loads(one["params"])["horizon"], json.loads(two["params"])["horizon"]) == (8, 5)
    assert one["rows"] == two["rows"]
    assert one["model_id"] != two["model_id"]
    whole = planted.cuts.calendar.shift(cut, -rule.reach)
    frame, _ = training_set(store, planted.feature_set, 8, planted.cuts.of(cut), universe="liquid", label=rule.name)
    assert frame["session"].max() == planted.cuts.calendar.shift(cut, -6) > whole
    judged = json.loads(one["metrics"])["ic_sessions"]
    assert judged == strategy.model.validation
    assert report.measures["ic"] == pytest.approx(_ic_of(frame.filter(pl.col("session") <= whole), planted, strategy))


def _ic_of(frame, planted, strategy):
    splits = walk_forward(frame, planted.cuts, count=1, size=strategy.model.validation, embargo=strategy.model.embargo)
    scored = out_of_sample(frame, planted.feature_set.features, splits, strategy.model)
    return rank_ic(scored)["ic"].mean()


def test_a_rebuilt_barrier_is_purged_by_its_later_end(planted, tmp_path):
    """A label whose touch went away ends later than it did: it is known by the cut of the end that counts."""
    store, rule = planted.store(tmp_path), LabelRule(kind="triple_barrier", horizon=8)
    first, later, moment = planted.sessions[20], planted.sessions[24], planted.cuts.of(planted.sessions[60])
    row = {
        "session": planted.sessions[16],
        "sid": 1,
        "horizon": 8,
        "label": rule.name,
        "value": 0.1,
        "died": False,
        "touched": "upper",
        "label_end": first,
        "known_at": planted.cuts.of(first),
    }
    again = {**row, "label_end": later, "value": -0.1, "touched": "lower", "known_at": moment}
    other = {**row, "sid": 2, "label_end": later, "known_at": planted.cuts.of(later)}
    store.append(LABELS, pl.DataFrame([row, again, other]).select(pl.col(c).cast(t) for c, t in LABELS.schema.items()))
    frame, _ = training_set(store, planted.feature_set, 8, moment, universe="liquid", label=rule.name)
    assert frame.select("sid", "value", "label_end", "label_known_at").rows() == [
        (1, -0.1, later, planted.cuts.of(later)),
        (2, 0.1, later, planted.cuts.of(later)),
    ]
