"""Every refusal, their order, and that nothing unknown trades."""

import json
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.signals.guardrails import NO_TRADE, REASONS, TRADE, chain, guardrails
from quant_assets.strategy import Limits

LIMITS = Limits(max_weight=0.1, max_gross=1.0, min_members=5, min_coverage=0.8, max_psi=0.5, max_model_age=45)
DAY = date(2016, 4, 1)
ORDER = [g.code for g in chain(LIMITS)]
FINE = {
    "kill_switch": False,
    "kill_reason": "",
    "late": False,
    "captured": True,
    "content_hash": "abc",
    "released": True,
    "findings": "",
    "features_refused": "",
    "rests": False,
    "unconfirmed": None,
    "ex": None,
    "jump": None,
    "since": None,
    "psi": 0.1,
    "model_id": "m",
    "model_age": 3,
}
TYPES = {
    "kill_switch": pl.Boolean,
    "late": pl.Boolean,
    "captured": pl.Boolean,
    "released": pl.Boolean,
    "features_refused": pl.String,
    "rests": pl.Boolean,
    "unconfirmed": pl.String,
    "ex": pl.Date,
    "jump": pl.String,
    "since": pl.Date,
    "psi": pl.Float64,
    "model_id": pl.String,
    "model_age": pl.Int64,
}


def day(members: int = 10, *, session: date = DAY, **changed: Any) -> pl.DataFrame:
    """A session in which everything is fine, but for the columns changed: `members` names and, last, one that left."""
    sids = list(range(1, members + 2))
    rows = pl.DataFrame({"sid": sids, "member": [s <= members for s in sids]}).with_columns(
        session=pl.lit(session),
        close=pl.lit(10.0),
        score=pl.when("member").then(pl.col("sid") / 10),
        target_weight=pl.when(pl.col("sid") <= 5).then(0.1).otherwise(0.0),
    )
    values = FINE | changed
    return rows.with_columns(
        v if isinstance(v, pl.Expr) else pl.lit(v, dtype=TYPES.get(c)).alias(c) for c, v in values.items()
    ).with_columns(pl.col("target_weight", "close", "score").cast(pl.Float64))


def only(sids: tuple[int, ...], column: str, value: object) -> dict[str, Any]:
    """`column` changed for some names."""
    return {column: pl.when(pl.col("sid").is_in(sids)).then(pl.lit(value)).otherwise(column).alias(column)}


EVERY = tuple(range(1, 12))
ASKED = {
    c: pl.when(pl.col("sid") == 2).then(pl.lit(v)).alias(c)
    for c, v in {"unconfirmed": "split 5:2 (0.6)", "ex": DAY}.items()
}
JUMPED = {c: pl.when(pl.col("sid") == 3).then(pl.lit(v)).alias(c) for c, v in {"jump": "10:1", "since": DAY}.items()}
REFUSALS = [
    ("KILL_SWITCH", {"kill_switch": True, "kill_reason": "drill"}, EVERY, {"reason": "drill"}),
    ("KILL_SWITCH", {"kill_switch": None}, EVERY, {"reason": ""}),
    ("LATE", {"late": True}, EVERY, {}),
    ("DATA_MISSING", {"captured": False}, EVERY, {}),
    (
        "DATA_VENUE_RESTS",
        {"rests": pl.col("sid").is_in((1, 2, 3)).alias("rests")} | only((1, 2, 3), "close", None),
        (1, 2, 3),
        {},
    ),
    ("DATA_VENUE_RESTS", {"rests": None}, EVERY, {}),
    (
        "DATA_THIN",
        only((1, 2, 3), "close", None),
        EVERY,
        {"coverage": 0.7, "minimum": 0.8, "with_bar": 7, "members": 10},
    ),
    ("DATA_NO_VERDICT", {"released": None}, EVERY, {"content_hash": "abc"}),
    (
        "DATA_VERDICT_FAILED",
        {"released": False, "findings": "spread 3"},
        EVERY,
        {"findings": "spread 3", "content_hash": "abc"},
    ),
    ("FEATURES_REFUSED", {"features_refused": "it looks ahead"}, EVERY, {"found": "it looks ahead"}),
    ("FEATURES_REFUSED", {"features_refused": None}, EVERY, {"found": None}),
    ("DATA_NO_BAR", only((2, 11), "close", None), (2, 11), {"close": None}),
    ("DATA_NO_BAR", only((3,), "close", 0.0), (3,), {"close": 0.0}),
    ("ACTION_UNCONFIRMED", ASKED, (2,), {"proposed": "split 5:2 (0.6)", "ex": "2016-04-01"}),
    ("PRICE_UNEXPLAINED", JUMPED, (3,), {"jump": "10:1", "since": "2016-04-01"}),
    ("DRIFT_UNKNOWN", {"psi": None}, EVERY, {"psi": None}),
    ("DRIFT_UNKNOWN", {"psi": float("nan")}, EVERY, {"psi": None}),
    ("DRIFT", {"psi": 0.7}, EVERY, {"psi": 0.7, "maximum": 0.5}),
    ("MODEL_MISSING", {"model_id": None, "psi": None}, EVERY, {}),
    ("MODEL_MISSING", {"model_age": None}, EVERY, {}),
    ("MODEL_STALE", {"model_age": 46}, EVERY, {"age": 46, "maximum": 45}),
    ("MODEL_STALE", {"model_age": -1}, EVERY, {"age": -1, "maximum": 45}),
    (
        "MODEL_COVERAGE",
        only((1, 2, 3), "score", None),
        EVERY,
        {"coverage": 0.7, "minimum": 0.8, "scored": 7, "members": 10},
    ),
    (
        "MODEL_TIED",
        {"score": pl.when("member").then(0.5).alias("score")},
        EVERY,
        {"tied": 1.0, "maximum": 0.5, "scored": 10},
    ),
    ("MODEL_TIED", only((1, 2, 3, 4, 5, 6), "score", 0.5), EVERY, {"tied": 0.6, "maximum": 0.5, "scored": 10}),
    ("MODEL_NO_SCORE", only((4,), "score", float("nan")), (4,), {"score": None}),
    ("RISK_MAX_WEIGHT", only((1,), "target_weight", 0.2), (1,), {"weight": 0.2, "maximum": 0.1}),
    ("RISK_GROSS", {"target_weight": pl.lit(0.1).alias("target_weight")}, EVERY, {"gross": 1.1, "maximum": 1.0}),
]


@pytest.mark.parametrize(("code", "changed", "refused", "numbers"), REFUSALS)
def test_each_refusal_is_recorded_with_its_reason_and_numbers(
    code: str, changed: dict[str, Any], refused: tuple[int, ...], numbers: dict[str, Any]
) -> None:
    """What is about the session refuses every row of it, what is about a name refuses that name alone."""
    out = guardrails(day(**changed), LIMITS)
    hit = out.filter(verdict=NO_TRADE)
    assert tuple(hit["sid"]) == refused
    assert set(hit["reason"]) == {code}
    detail = json.loads(hit["detail"][0])
    assert detail == pytest.approx(numbers)


def test_a_fine_session_trades() -> None:
    """Reasons of what trades: selected, not selected, left the universe."""
    out = guardrails(day(), LIMITS)
    assert set(out["verdict"]) == {TRADE}
    assert out["reason"].to_list() == ["SELECTED"] * 5 + ["NOT_SELECTED"] * 5 + ["LEFT_UNIVERSE"]


def test_half_of_the_names_may_tie() -> None:
    """Trees give some names one score: up to half of them are still a ranking, and one name alone ties with nobody."""
    assert set(guardrails(day(**only((1, 2, 3, 4, 5), "score", 0.5)), LIMITS)["verdict"]) == {TRADE}
    alone = guardrails(day(1, target_weight=pl.lit(0.0).alias("target_weight")), LIMITS)
    assert set(alone["reason"]) == {"RISK_MIN_MEMBERS"}


def test_an_empty_universe_and_a_small_one_refuse() -> None:
    """No members, or fewer that can be traded than min_members."""
    assert set(guardrails(day(0), LIMITS)["reason"]) == {"DATA_NO_MEMBERS"}
    assert set(guardrails(day(4), LIMITS)["reason"]) == {"RISK_MIN_MEMBERS"}


def test_every_refusal_has_a_sentence_and_the_stages_stand_in_order() -> None:
    """Kill switch, then data, features, drift, model, risk."""
    assert list(REASONS)[3:] == ORDER
    stages = [
        c.partition("_")[0]
        .replace("KILL", "0")
        .replace("LATE", "1")
        .replace("DATA", "2")
        .replace("ACTION", "2")
        .replace("PRICE", "2")
        .replace("FEATURES", "2.5")
        .replace("DRIFT", "3")
        .replace("MODEL", "4")
        .replace("RISK", "5")
        for c in ORDER
    ]
    assert stages == sorted(stages)


FAILURES = {code: changed for code, changed, refused, _ in REFUSALS if refused == EVERY and code != "MODEL_MISSING"} | {
    "MODEL_MISSING": {"model_age": None}
}
combined = st.sets(st.sampled_from(sorted(FAILURES)))


def _fail(codes: set[str]) -> pl.DataFrame:
    """A session with several failures at once; of two that change the same column, the first in the chain."""
    changed: dict[str, Any] = {}
    for code in sorted(codes, key=ORDER.index, reverse=True):
        changed |= FAILURES[code]
    return guardrails(day(**changed), LIMITS)


@settings(max_examples=60, deadline=None)
@given(combined)
def test_the_first_refusal_in_the_chain_wins(codes: set[str]) -> None:
    """Whatever else is wrong, the reason is the first in the order of the chain."""
    assert set(
        _fail(codes).filter(~pl.col("reason").is_in(["SELECTED", "NOT_SELECTED", "LEFT_UNIVERSE"]))["reason"]
    ) == ({min(codes, key=ORDER.index)} if codes else set())


@settings(max_examples=60, deadline=None)
@given(combined, combined)
def test_more_failures_never_make_a_refused_row_trade(some: set[str], more: set[str]) -> None:
    """NO_TRADE stays NO_TRADE when another guard fails too."""
    before, after = _fail(some), _fail(some | more)
    assert not after.filter(before["verdict"] == NO_TRADE)["verdict"].eq(TRADE).any()


DECISIVE = (
    "member",
    "close",
    "target_weight",
    "kill_switch",
    "late",
    "captured",
    "released",
    "features_refused",
    "psi",
    "model_id",
    "model_age",
)


@settings(max_examples=80, deadline=None)
@given(st.sets(st.sampled_from([*DECISIVE, "score"]), min_size=1), st.sets(st.sampled_from(EVERY), min_size=1))
def test_nothing_unknown_trades(columns: set[str], sids: set[int]) -> None:
    """A row with a null in anything that counts is NO_TRADE; a name that left needs no score."""
    rows = day().with_columns(pl.when(~pl.col("sid").is_in(sids)).then(c).alias(c) for c in columns)
    traded = guardrails(rows, LIMITS).filter(verdict=TRADE)
    assert not traded.select(pl.any_horizontal(pl.col(DECISIVE).is_null()).any()).item()
    assert traded.filter("member")["score"].is_finite().all()


@settings(max_examples=20, deadline=None)
@given(st.lists(combined, min_size=1, max_size=4))
def test_sessions_do_not_see_each_other(failures: list[set[str]]) -> None:
    """Several sessions in one frame come out as each alone."""
    days = []
    for n, codes in enumerate(failures):
        changed: dict[str, Any] = {}
        for code in sorted(codes, key=ORDER.index, reverse=True):
            changed |= FAILURES[code]
        days.append(day(session=DAY + timedelta(days=n), **changed))
    assert guardrails(pl.concat(days), LIMITS).equals(pl.concat(guardrails(d, LIMITS) for d in days))
