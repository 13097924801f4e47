"""No champion feeds on a set that was not proven free of look-ahead as it is written now."""

from dataclasses import replace

import msgspec
import polars as pl
import pytest

from quant_assets.features.audit import gate
from quant_assets.features.audit.audit import recorded, standing
from quant_assets.features.style import STYLE
from quant_assets.models.promotion import champions
from quant_assets.models.training import retrain
from quant_assets.strategy import LabelRule, NetOf
from quant_assets.tables import AUDITS, LABELS, MODELS, PROMOTIONS
from resources.tables.store import DeltaStore
from tests.models.conftest import passed

LAW = "truncation"


@pytest.fixture(scope="module")
def planted(market):
    """A market with a signal."""
    return market(seed=4, signal=0.3)


@pytest.fixture
def unaudited(planted, tmp_path):
    """Features and labels, and no audit of them."""
    store = DeltaStore(tmp_path)
    store.append(planted.feature_set.table, planted.features)
    store.append(LABELS, planted.labels)
    return store


def test_an_unaudited_set_waits_for_its_audit(planted, registry, strategy, unaudited) -> None:
    """The model is kept and not judged, and the reason says what to do; after the audit the same call promotes that
    very model.
    """
    cut, audited = planted.sessions[100], planted.store(unaudited.root / "audited").read(AUDITS, as_of=None)
    first = retrain(unaudited, registry, planted.feature_set, strategy, planted.cuts, cut)
    assert (first.state, "quant features audit planted" in first.reason) == ("refused", True)
    assert (unaudited.read(MODELS, as_of=None).height, unaudited.read(PROMOTIONS, as_of=None).height) == (1, 0)
    unaudited.append(AUDITS, audited)
    assert retrain(unaudited, registry, planted.feature_set, strategy, planted.cuts, cut).numbers["promoted"]
    model = champions(unaudited, strategy.name, planted.cuts.of(planted.sessions[101])).of(
        planted.sessions[101], planted.cuts.of(planted.sessions[101])
    )
    assert [model.model_id] == unaudited.read(MODELS, as_of=None)["model_id"].to_list()


@pytest.mark.parametrize("what", ["a law was broken", "another version", "another text"])
def test_only_a_passed_audit_of_this_very_set_counts(planted, registry, strategy, unaudited, what) -> None:
    """An audit that failed, or that spoke of another version or of other code, promotes nothing."""
    rows = planted.store(unaudited.root / "audited").read(AUDITS, as_of=None)
    changed = {
        "a law was broken": rows.with_columns(passed=pl.col("law") != LAW),
        "another version": rows.with_columns(version=pl.lit("0")),
        "another text": rows.with_columns(fingerprint=pl.lit("of yesterday")),
    }
    unaudited.append(AUDITS, changed[what])
    report = retrain(unaudited, registry, planted.feature_set, strategy, planted.cuts, planted.sessions[100])
    assert (report.state, unaudited.read(PROMOTIONS, as_of=None).height) == ("refused", 0)


@pytest.mark.parametrize("hours", [0, -24])
def test_the_audit_made_last_counts(planted, unaudited, hours) -> None:
    """In a historical run the clock stands still, or behind that of an audit by hand: a second audit neither conflicts
    with the first nor loses to it.
    """
    rows = planted.store(unaudited.root / "audited").read(AUDITS, as_of=None)
    recorded(unaudited, planted.feature_set, rows.with_columns(passed=pl.col("law") != LAW, evidence=pl.lit("found")))
    assert standing(unaudited, planted.feature_set).state == "failed"
    recorded(unaudited, planted.feature_set, rows.with_columns(pl.col("known_at").dt.offset_by(f"{hours}h")))
    assert standing(unaudited, planted.feature_set).state == "passed"


@pytest.mark.parametrize(
    ("evidence", "told"), [("nothing to audit on: no session was given", 0), ("it looks ahead", 1)]
)
def test_what_has_not_passed_is_asked_again(planted, unaudited, monkeypatch, evidence, told) -> None:
    """A set that had nothing to be proven on, or that failed, is audited each time it is due until it passes, and no
    more after that; of a failure somebody is told.
    """
    rows, news = planted.store(unaudited.root / "audited").read(AUDITS, as_of=None), list[str]()
    answers = [rows.with_columns(passed=pl.lit(value=False), evidence=pl.lit(evidence)), rows]
    monkeypatch.setattr(gate, "record", lambda store, one, *_, **__: recorded(store, one, answers.pop(0)))

    class Told:
        def notify(self, severity: str, subject: str, body: str = "") -> None:
            news.append(f"{severity} {subject} {body}")

    asked = [
        gate.audit_if_due(
            unaudited,
            planted.feature_set,
            "small",
            planted.cuts,
            planted.sessions[-1],
            now=rows["known_at"][0],
            notifier=Told(),
        ).state
        for _ in range(3)
    ]
    assert (asked, len(news), answers) == ([asked[0], "passed", "passed"], told, [])
    assert asked[0] in {"unproven", "failed"}


def test_a_changed_line_is_another_set(planted) -> None:
    """The fingerprint follows the declaration and the functions' source: one other lookback, or one other kernel, and
    the audit is asked again.
    """
    same = replace(planted.feature_set)
    assert same.fingerprint == planted.feature_set.fingerprint
    others = [replace(same, lookback=2), replace(same, kernel=pl.DataFrame.clone), replace(same, columns=("open",))]
    assert len({same.fingerprint, *(o.fingerprint for o in others)}) == 4


def test_the_factors_of_a_label_are_audited_too(planted, registry, strategy, tmp_path) -> None:
    """A label that is net of the factors of a set waits for the audit of that set as well as for that of the model's
    own.
    """
    factors = NetOf(universe="liquid", factors="style", version=STYLE.version)
    rule = LabelRule(horizon=strategy.horizon, net_of=factors)
    store = planted.store(tmp_path)
    store.append(LABELS, planted.labels.with_columns(label=pl.lit(rule.name)))
    neutral = msgspec.structs.replace(strategy, label=rule)
    report = retrain(store, registry, planted.feature_set, neutral, planted.cuts, planted.sessions[100])
    assert (report.state, "quant features audit style" in report.reason) == ("refused", True)
    store.append(AUDITS, passed(STYLE, planted.cuts.of(planted.sessions[0])))
    assert retrain(store, registry, planted.feature_set, neutral, planted.cuts, planted.sessions[100]).numbers[
        "promoted"
    ]
