"""Decisions of a session depend on what its cut knew, and on nothing else."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from quant_assets.records import FeatureSnapshot
from quant_assets.signals.decide import decisions, first_recorded
from quant_assets.signals.inputs import read
from quant_assets.tables import BARS, DECISIONS, PROPOSED_ACTIONS, UNIVERSE
from tests.signals.conftest import rows

QUIET = (False, "")


def of(market, days, **other) -> pl.DataFrame:
    """The content of the decisions, not written."""
    return decisions(
        read(market.store, market.features, market.strategy, market.cuts, days),
        market.features,
        market.strategy,
        market.cuts,
        days,
        kill_switch=QUIET,
        **other,
    )


def reasons(rows: pl.DataFrame) -> dict[str, int]:
    """Counts by reason."""
    return dict(rows.group_by("reason").len().iter_rows())


def test_a_range_equals_its_days(build) -> None:
    """Ids, weights, hashes: a range of sessions gives what each gives alone, through the store and without it."""
    market = build()
    chosen = market.days[11:31:4]
    ranged = of(market, chosen)
    assert ranged.equals(pl.concat(of(market, [d]) for d in chosen))
    market.decide(chosen)
    other = build("other")
    for day in reversed(chosen):
        other.decide([day])
    assert market.decisions().equals(other.decisions())
    assert market.decisions().select(DECISIONS.content).equals(ranged.sort(DECISIONS.key).select(DECISIONS.content))


def test_what_a_session_decides(market) -> None:
    """The best names weigh 1/holdings, those that left weigh nothing, a name without a bar is not traded; NO_TRADE asks
    for nothing.
    """
    day = market.days[25]
    rows = market.decided(day)
    assert rows["sid"].to_list() == list(range(1, 22))
    held = rows.filter(reason="SELECTED").sort("rank")
    assert held["rank"].to_list() == [1, 2, 3, 4, 5]
    assert held["target_weight"].to_list() == [0.2] * 5
    assert rows.filter(reason="LEFT_UNIVERSE")["sid"].to_list() == [market.left]
    assert rows.filter(sid=market.left).select("verdict", "target_weight", "score").row(0) == ("TRADE", 0.0, None)
    closes = market.bars_known(day).sort("sid")
    assert rows["reference_price"].equals(closes["close"])
    assert rows["symbol"].equals(closes["symbol"])
    cut = market.cuts.of(day)
    assert rows.select("as_of", "known_at", "valid_until").unique().rows() == [(cut, cut, cut + timedelta(minutes=15))]
    assert rows["decision_id"].n_unique() == rows.height
    absent = market.decided(market.days[20]).filter(verdict="NO_TRADE")
    assert absent.select("sid", "reason", "target_weight", "reference_price", "symbol").rows() == [
        (7, "DATA_NO_BAR", 0.0, None, "S7")
    ]


def test_deciding_again_writes_nothing(market) -> None:
    """The same inputs have the same ids, whoever runs and whenever; what is recorded beside stays the first run's."""
    days = market.days[20:24]
    first = market.decide(days)
    assert first.rows == market.decisions().height > 80
    assert market.decide(days).rows == 0
    assert market.decisions()["recorded_at"].n_unique() == 1


def test_what_is_appended_later_or_elsewhere_changes_no_id(market) -> None:
    """Rows known after the cut, and rows of names that are not in the universe, are not read."""
    day = market.days[24]
    before = of(market, [day])
    cut = market.cuts.of(day)
    market.add_bar(1, market.days[23], 1.0, cut + timedelta(microseconds=1))
    market.add_bar(99, market.days[23], 1.0, cut - timedelta(hours=9))
    market.decide(market.days[26:28])
    assert of(market, [day]).equals(before)


@pytest.mark.parametrize("change", ["value", "absence", "action", "member"])
def test_any_change_of_a_row_read_changes_the_inputs_hash(market, change, days) -> None:
    """A bar's value or absence in the window, an action, a member: each makes another hash, and other ids."""
    day, cut = days[24], market.cuts.of(days[24])
    before = of(market, [day])
    if change == "value":
        market.add_bar(1, days[10], 77.0, cut)
    elif change == "absence":
        market.add_bar(1, days[10], 50.0, cut, withdrawn=True)
    elif change == "action":
        market.add_action(1, days[10], "dividend", cut, cash="0.5")
    else:
        market.add_member(99, days[24])
    after = of(market, [day])
    assert not set(before["inputs_hash"]) & set(after["inputs_hash"])
    assert not set(before["decision_id"]) & set(after["decision_id"])
    assert not set(before["decision_set_id"]) & set(after["decision_set_id"])


def test_a_row_before_the_anchor_changes_nothing(market, days) -> None:
    """The window starts at the anchor of the session's block; what lies before it is not read."""
    day = days[24]
    before = of(market, [day])
    market.add_bar(1, market.cuts.calendar.shift(days[0], -9), 5.0, market.cuts.of(days[0]))
    assert of(market, [day]).equals(before)


def test_a_feature_that_vanished_refuses_the_session(market, days) -> None:
    """Where a feature that the model was trained on has no value for anybody the session is NO_TRADE, and the reason
    names it.
    """
    stored = read(market.store, market.features, market.strategy, market.cuts, [days[24]])
    without = replace(stored, features=stored.features.with_columns(ret_3=pl.lit(None, pl.Float64)))
    args = (market.features, market.strategy, market.cuts, [days[24]])
    assert "FEATURES_REFUSED" not in reasons(decisions(stored, *args, kill_switch=QUIET))
    refused = decisions(without, *args, kill_switch=QUIET)
    assert reasons(refused) == {"FEATURES_REFUSED": refused.height}
    assert "ret_3" in json.loads(refused["detail"][0])["found"]


def test_the_kill_switch_refuses_every_row(market) -> None:
    """On: all NO_TRADE with the reason given; the set is another one, the ids of the decisions are the same."""
    day = market.days[25]
    report = market.decide([day], kill=(True, "drill"))
    assert (report.state, report.reason) == ("refused", "KILL_SWITCH")
    killed = market.decisions(day)
    assert reasons(killed) == {"KILL_SWITCH": 21}
    assert set(killed["detail"]) == {'{"reason":"drill"}'}
    assert set(killed["target_weight"]) == {0.0}
    market.decide([day])
    both = market.decisions(day)
    assert both["decision_set_id"].n_unique() == 2
    assert both["decision_id"].n_unique() == 21


def test_the_set_recorded_first_is_told_apart(market) -> None:
    """`first_recorded` keeps one set for each strategy and session."""
    day = market.days[25]
    market.decide([day], kill=(True, "drill"))
    market.decide([day], now=datetime(2016, 6, 2, tzinfo=UTC))
    assert reasons(first_recorded(market.decisions())) == {"KILL_SWITCH": 21}


def test_missing_captures_and_verdicts_refuse_their_sessions(build, days) -> None:
    """No capture by the cut, one that came too late, no verdict, a verdict on other rows: nothing trades."""
    captured = [d for d in days if d not in (days[20], days[21])]
    market = build(captures=captured, verdicts=[d for d in days if d != days[22]])
    market.captures([days[21]], late=True)
    out = of(market, days[20:25])
    by_day = {d: reasons(out.filter(session=d)) for d in days[20:25]}
    assert by_day[days[20]] == {"DATA_MISSING": 20}
    assert by_day[days[21]] == {"DATA_MISSING": 21}
    assert by_day[days[22]] == {"DATA_NO_VERDICT": 21}
    assert "SELECTED" in by_day[days[23]]
    market.add_bar(1, days[23], 70.0, market.cuts.of(days[23]))
    assert reasons(of(market, [days[23]])) == {"DATA_NO_VERDICT": 21}


def test_a_failed_verdict_refuses_and_a_warning_does_not(build, days) -> None:
    """Severity block decides; what the rules found is recorded."""
    market = build(verdicts=[])
    market.verdicts(days[20:21], passed=False)
    market.verdicts(days[21:22], passed=False, rule="odd", severity="warn")
    market.verdicts(days[21:22])
    out = of(market, days[20:22])
    assert set(out.filter(session=days[20])["reason"]) == {"DATA_VERDICT_FAILED"}
    assert {json.loads(d)["findings"] for d in out.filter(session=days[20])["detail"]} == {
        "prices_positive 3 (at most 2)"
    }
    assert "SELECTED" in reasons(out.filter(session=days[21]))


def test_a_thin_session_refuses(build, days) -> None:
    """Where most members have no bar, nobody trades, not even those that have one."""
    given = build("whole").store.read(BARS, as_of=None)
    market = build("thin", given=given.filter((pl.col("session") != days[24]) | (pl.col("sid") == 1)))
    out = of(market, [days[24]])
    assert set(out["reason"]) == {"DATA_THIN"}
    assert json.loads(out["detail"][0]) == {"coverage": 0.05, "minimum": 0.9, "with_bar": 1, "members": 20}


def test_before_the_first_champion_the_model_is_missing(market, days) -> None:
    """No model promoted for the session by its cut; one for another feature version is none."""
    assert reasons(of(market, [days[11]])) == {"MODEL_MISSING": 20}
    assert "SELECTED" in reasons(of(market, [days[12]]))


def test_an_old_model_is_refused(market, days) -> None:
    """Age counts sessions since the model's cut."""
    limits = msgspec.structs.replace(market.strategy.limits, max_model_age=10)
    strict = msgspec.structs.replace(market.strategy, limits=limits)
    market.decide(days[21:23], strategy=strict)
    assert "SELECTED" in reasons(market.decisions(days[21]))
    assert reasons(market.decisions(days[22])) == {"MODEL_STALE": 21}


def test_unpublished_features_leave_drift_unknown(market, days) -> None:
    """A champion without the session's features: nothing can be said about drift, so nothing trades."""
    inputs = read(market.store, market.features, market.strategy, market.cuts, [days[25]])
    out = decisions(
        replace(inputs, features=inputs.features.clear()),
        market.features,
        market.strategy,
        market.cuts,
        [days[25]],
        kill_switch=QUIET,
    )
    assert reasons(out) == {"DRIFT_UNKNOWN": 21}


def test_a_name_that_cannot_trade_takes_no_place(market, days) -> None:
    """The best score without a bar of the session is refused, and the five places go to names that can be traded."""
    inputs = read(market.store, market.features, market.strategy, market.cuts, [days[20]])
    best = inputs.scores.filter(sid=1).with_columns(sid=pl.lit(7, dtype=pl.Int64), score=pl.lit(9.0))
    out = decisions(
        replace(inputs, scores=pl.concat([inputs.scores, best])),
        market.features,
        market.strategy,
        market.cuts,
        [days[20]],
        kill_switch=QUIET,
    )
    assert out.filter(sid=7).select("reason", "score", "rank", "target_weight").row(0) == (
        "DATA_NO_BAR",
        9.0,
        None,
        0.0,
    )
    assert out.filter(reason="SELECTED")["rank"].sort().to_list() == [1, 2, 3, 4, 5]


def test_an_unknown_kill_switch_refuses(market, days) -> None:
    """Where the switch could not be read, it counts as on."""
    inputs = read(market.store, market.features, market.strategy, market.cuts, [days[25]])
    assert reasons(
        decisions(inputs, market.features, market.strategy, market.cuts, [days[25]], kill_switch=(None, ""))
    ) == {"KILL_SWITCH": 21}


def test_a_session_without_members_is_one_row_with_a_reason(build) -> None:
    """A row of sid 0, NO_TRADE: a day on which nothing could be decided is recorded too."""
    market = build()
    quiet_day = market.cuts.calendar.shift(market.days[0], -3)
    rows = market.decided(quiet_day)
    assert rows.select("sid", "symbol", "verdict", "reason", "target_weight").rows() == [
        (0, "", "NO_TRADE", "DATA_MISSING", 0.0)
    ]
    market.captures([quiet_day])
    assert reasons(of(market, [quiet_day])) == {"DATA_NO_MEMBERS": 1}


def test_a_name_is_sold_for_a_year_after_it_left(market) -> None:
    """Former members stand in the set for twelve months, without a bar as NO_TRADE."""
    universe = market.store.read(UNIVERSE, as_of=None)
    assert universe.filter(sid=market.left)["until"].to_list() == [market.may]
    calendar = market.cuts.calendar
    within, after = (
        calendar.on_or_before(market.may + timedelta(days=360)),
        calendar.on_or_after(market.may + timedelta(days=366)),
    )
    out = of(market, [within, after])
    assert market.left in out.filter(session=within)["sid"]
    assert market.left not in out.filter(session=after)["sid"]


def test_a_late_run_refuses_everything(market, days) -> None:
    """Nothing ready by the deadline is recorded as such."""
    assert reasons(of(market, [days[25]], late=True)) == {"LATE": 21}


def test_the_snapshot_says_what_was_read(market, days) -> None:
    """The feature snapshot names version, cut and universe, and no table version."""
    out = of(market, [days[25]])
    snapshot = msgspec.json.decode(out["snapshot"][0], type=FeatureSnapshot)
    assert (snapshot.feature_view, snapshot.feature_version) == ("two_returns", "1")
    assert snapshot.known_at_cutoff == snapshot.as_of == market.cuts.of(days[25])
    assert snapshot.dataset_version == out["inputs_hash"][0]
    assert not snapshot.assumed_known_at


def test_the_report_counts_by_verdict_and_reason(market, days) -> None:
    """Numbers have stable names and add up."""
    numbers = market.decide([days[24], days[25]]).numbers
    assert numbers["decisions"] == numbers["trade"] + numbers["no_trade"] == 42
    assert (numbers["selected"], numbers["left_universe"]) == (10, 2)


def test_a_name_with_a_proposed_action_is_not_traded_until_a_person_said_what_it_was(market) -> None:
    """From the cut that knows of the proposal on the best name is NO_TRADE with what may explain it, another one takes
    its place, and the day before and after a rejection are as ever.
    """
    before, day, after = market.days[24:27]
    best = of(market, [day]).filter(rank=1)["sid"].item()
    asked = {
        "session": day,
        "sid": best,
        "symbol": f"S{best}",
        "before": 100.0,
        "adjusted": 40.0,
        "after": 40.0,
        "factor": 0.4,
        "confidence": 0.6,
        "explanations": "split 5:2 (0.6)",
        "state": "proposed",
        "withdrawn": False,
        "source": "hand",
        "capture": day,
        "file": "f",
        "line": 1,
        "known_at": market.cuts.of(day),
        "declared_known_at": market.cuts.of(day),
    }
    plain = of(market, [before, day, after])
    closed = asked | {"state": "rejected", "by": "ann", "known_at": market.cuts.of(after)}
    market.store.append(PROPOSED_ACTIONS, rows(PROPOSED_ACTIONS, [asked, closed]))
    found = of(market, [before, day, after])
    refused = found.filter(reason="ACTION_UNCONFIRMED")
    assert refused.select("session", "sid", "verdict", "target_weight").rows() == [(day, best, "NO_TRADE", 0.0)]
    assert json.loads(refused["detail"].item()) == {"proposed": "split 5:2 (0.6)", "ex": str(day)}
    assert found.filter(session=day, reason="SELECTED").height == 5
    for other in (before, after):
        assert found.filter(session=other).equals(plain.filter(session=other))
