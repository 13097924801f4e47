"""The guardrail chain: kill switch → data → features → drift → model → risk limits, in this order, the first refusal
wins.

A guard says what must be true for a row to trade; false, null and NaN all refuse. The chain is one pure function
over the rows of any number of sessions: it sees nothing but the frame, and a session's outcome does not depend on
what other sessions are in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from quant_assets.strategy import Limits

TRADE, NO_TRADE = "TRADE", "NO_TRADE"

REASONS: Mapping[str, str] = {
    "SELECTED": "among the best scores: hold the target weight",
    "NOT_SELECTED": "scored, not among the best: hold none",
    "LEFT_UNIVERSE": "left the universe within the last year: hold none",
    "KILL_SWITCH": "the kill switch is on, or its state is unknown",
    "LATE": "nothing was ready by the deadline",
    "DATA_MISSING": "no capture of the session was known by the cut",
    "DATA_NO_MEMBERS": "the universe had no members as known at the cut",
    "DATA_VENUE_RESTS": "the name's venue had no session before this decision, or has none before the next: hold",
    "DATA_THIN": "too few members have a bar of the session",
    "DATA_NO_VERDICT": "no quality verdict is stored for the session's rows as they stand",
    "DATA_VERDICT_FAILED": "a quality rule failed on the session's rows",
    "DATA_NO_BAR": "the name has no usable bar of the session",
    "ACTION_UNCONFIRMED": "a corporate action of the name is proposed that nobody confirmed or rejected yet",
    "PRICE_UNEXPLAINED": "the price of the name jumped by a ratio that no known action explains",
    "FEATURES_REFUSED": "the features may not be used: they did not pass their audit, or one of them has vanished",
    "DRIFT_UNKNOWN": "the features' drift against training is unknown",
    "DRIFT": "the features drifted too far from what the model was trained on",
    "MODEL_MISSING": "no promoted model was in force",
    "MODEL_STALE": "the model is older than allowed",
    "MODEL_COVERAGE": "too few members have a score",
    "MODEL_TIED": "more than half of the scores are equal: the model tells no name from another",
    "MODEL_NO_SCORE": "the name has no finite score",
    "RISK_MIN_MEMBERS": "too few members can be traded",
    "RISK_MAX_WEIGHT": "the target weight is beyond the limit, or unknown",
    "RISK_GROSS": "the target weights add up to more than the limit",
}
"""Every reason a decision can carry, with its sentence; refusals in the order of the chain."""

CLEAR = pl.col("unconfirmed").is_null() & pl.col("jump").is_null()  # in which shares the name trades is known
HAS_BAR = (pl.col("close").is_finite() & (pl.col("close") > 0)).fill_null(value=False)

# Sums of equal weights miss max_gross by rounding only.
ROUNDING = 1e-9

# Of scores that are all one, the best are those with the lowest ids. Trees tie a few names; half of them is no ranking.
# A single name has no other that it could be.
MAX_TIED = 0.5


@dataclass(frozen=True)
class Guard:
    """What must hold, and the numbers that are recorded where it does not."""

    code: str
    holds: pl.Expr
    numbers: Mapping[str, pl.Expr]


def chain(limits: Limits) -> tuple[Guard, ...]:
    """The guards in order."""
    of_members, expected = pl.col("members"), pl.col("expected")

    def guard(code: str, holds: pl.Expr, **numbers: pl.Expr | float) -> Guard:
        return Guard(
            code,
            holds.fill_null(value=False),
            {k: v if isinstance(v, pl.Expr) else pl.lit(v) for k, v in numbers.items()},
        )

    def share(counted: pl.Expr) -> pl.Expr:
        return counted / expected

    def enough(counted: pl.Expr) -> pl.Expr:
        return (expected > 0) & (share(counted) >= limits.min_coverage)

    weight, gross = pl.col("target_weight"), pl.col("gross")
    share_tied = pl.when(pl.col("scored") > 1).then(pl.col("tied") / pl.col("scored")).otherwise(0.0)
    return (
        guard("KILL_SWITCH", ~pl.col("kill_switch"), reason=pl.col("kill_reason")),
        guard("LATE", ~pl.col("late")),
        guard("DATA_MISSING", pl.col("captured")),
        guard("DATA_NO_MEMBERS", (of_members > 0) & pl.col("member").is_not_null(), members=of_members),
        guard("DATA_VENUE_RESTS", ~pl.col("rests")),
        guard(
            "DATA_THIN",
            enough(pl.col("with_bar")),
            coverage=share(pl.col("with_bar")),
            minimum=limits.min_coverage,
            with_bar=pl.col("with_bar"),
            members=expected,
        ),
        guard("DATA_NO_VERDICT", pl.col("released").is_not_null(), content_hash=pl.col("content_hash")),
        guard(
            "DATA_VERDICT_FAILED", pl.col("released"), findings=pl.col("findings"), content_hash=pl.col("content_hash")
        ),
        guard("DATA_NO_BAR", pl.col("has_bar"), close=pl.col("close")),
        guard("ACTION_UNCONFIRMED", pl.col("unconfirmed").is_null(), proposed=pl.col("unconfirmed"), ex=pl.col("ex")),
        guard("PRICE_UNEXPLAINED", pl.col("jump").is_null(), jump=pl.col("jump"), since=pl.col("since")),
        guard("FEATURES_REFUSED", pl.col("features_refused") == "", found=pl.col("features_refused")),
        # without a champion there is nothing to drift from: the model guards refuse, and say so
        guard("DRIFT_UNKNOWN", pl.col("model_id").is_null() | pl.col("psi").is_finite(), psi=pl.col("psi")),
        guard(
            "DRIFT",
            pl.col("psi").is_null() | (pl.col("psi") <= limits.max_psi),
            psi=pl.col("psi"),
            maximum=limits.max_psi,
        ),
        guard("MODEL_MISSING", pl.col("model_id").is_not_null() & pl.col("model_age").is_not_null()),
        guard(
            "MODEL_STALE",
            pl.col("model_age").is_between(0, limits.max_model_age),
            age=pl.col("model_age"),
            maximum=limits.max_model_age,
        ),
        guard(
            "MODEL_COVERAGE",
            enough(pl.col("scored")),
            coverage=share(pl.col("scored")),
            minimum=limits.min_coverage,
            scored=pl.col("scored"),
            members=expected,
        ),
        guard(
            "MODEL_TIED",
            (pl.col("scored") == 1) | (share_tied <= MAX_TIED),
            tied=share_tied,
            maximum=MAX_TIED,
            scored=pl.col("scored"),
        ),
        guard("MODEL_NO_SCORE", ~pl.col("member") | pl.col("has_score"), score=pl.col("score")),
        guard(
            "RISK_MIN_MEMBERS",
            pl.col("tradable") >= limits.min_members,
            tradable=pl.col("tradable"),
            minimum=limits.min_members,
        ),
        guard(
            "RISK_MAX_WEIGHT",
            weight.is_finite() & (weight.abs() <= limits.max_weight),
            weight=weight,
            maximum=limits.max_weight,
        ),
        guard(
            "RISK_GROSS",
            gross.is_finite() & (gross <= limits.max_gross + ROUNDING),
            gross=gross,
            maximum=limits.max_gross,
        ),
    )


def guardrails(rows: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """`rows` with verdict (TRADE or NO_TRADE), reason (a key of `REASONS`) and detail (JSON of the numbers); order
    kept.

    Per row: session, sid, member (false: left the universe), close (raw; null without a bar), score, target_weight, and
    of an action that waits for a person what it may be and when it goes ex (unconfirmed, ex; null where none does), of
    an unexplained jump its ratio and its session (jump, since), and whether its venue rests (rests; where there is but
    one venue it may be left out). The same in all rows of a session: kill_switch,
    kill_reason, late, captured (a capture of the session was known),
    content_hash of its bars, released (null: no verdict), findings, features_refused (what speaks against them; "":
    nothing), psi (median over features), model_id, model_age (sessions). A refusal that rests on those is one for every
    row of the session.
    """
    counts = _counted(rows)
    refused = pl.lit(None, dtype=pl.String)
    room = {
        "psi": pl.col("psi"),
        "model_age": pl.col("model_age"),
        "with_bar": pl.col("with_bar"),
        "scored": pl.col("scored"),
        "members": pl.col("members"),
        "gross": pl.col("gross"),
    }
    detail = _json(room)
    for guard in reversed(chain(limits)):
        refused = pl.when(guard.holds).then(refused).otherwise(pl.lit(guard.code))
        detail = pl.when(guard.holds).then(detail).otherwise(_json(guard.numbers))
    held = (
        pl.when(~pl.col("member"))
        .then(pl.lit("LEFT_UNIVERSE"))
        .when(pl.col("target_weight") != 0)
        .then(pl.lit("SELECTED"))
        .otherwise(pl.lit("NOT_SELECTED"))
    )
    judged = counts.with_columns(refused=refused, detail=detail)
    verdict = pl.when(pl.col("refused").is_null()).then(pl.lit(TRADE)).otherwise(pl.lit(NO_TRADE))
    return judged.select(*rows.columns, verdict=verdict, reason=pl.col("refused").fill_null(held), detail="detail")


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what the session's members amount to."""
    rests = pl.col("rests") if "rests" in rows.columns else pl.lit(value=False)
    known = rows.with_columns(
        rests=rests,
        has_bar=HAS_BAR,
        has_score=pl.col("score").is_finite().fill_null(value=False),
    )
    expected = pl.col("member") & ~pl.col("rests")
    tradable = pl.col("has_bar") & pl.col("has_score") & CLEAR
    alike = (pl.col("member") & pl.col("has_score")).sum().over("session", "score")
    return known.with_columns(
        *[
            (expected & of).sum().over("session").cast(pl.Int64).alias(name)
            for name, of in {"with_bar": pl.col("has_bar"), "scored": pl.col("has_score"), "tradable": tradable}.items()
        ],
        tied=pl.when(pl.col("member") & pl.col("has_score")).then(alike).max().over("session").cast(pl.Int64),
        members=pl.col("member").sum().over("session").cast(pl.Int64),
        expected=expected.sum().over("session").cast(pl.Int64),
        gross=pl.col("target_weight").abs().sum().over("session"),
    )


def _json(numbers: Mapping[str, pl.Expr]) -> pl.Expr:
    return (
        pl.struct(*(value.alias(name) for name, value in numbers.items())).struct.json_encode()
        if numbers
        else pl.lit("{}")
    )
