"""Payments compared with payments: the same one declared twice, or on another session than the adjusted close has it;
capital gains counted twice; undeclared steps.
"""

import math

import polars as pl

from quant_assets.market_data.vendor_errors.payouts import LARGEST_MISSING, ROUNDING, likelihood
from quant_assets.market_data.vendor_errors.thresholds import Thresholds

REPEAT_DAYS = 17  # the same payment again: only weekly payers are that quick, and they always are
REPEAT_ALIKE = 0.15  # the currency of the first announcement against that of the payment moves by less
SLOW = 25  # days between the payments of a payer of months or longer
BESIDE = 3  # rows between the session on which a payment is declared and the one on which it is taken
TEN_TO_ONE = math.log(10)


def without_repeats(paid: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """Of two payments alike within days, by a name that pays seldom, only the one that the adjusted close took or the
    price followed.
    """
    days = pl.col("session").cast(pl.Date).diff().dt.total_days()
    paid = paid.with_columns(_days=days.over("symbol"))
    slow = pl.col("_days").filter(pl.col("_days") > REPEAT_DAYS).median()
    quick = (pl.col("_days") <= REPEAT_DAYS).sum()
    paid = paid.with_columns(_slow=slow.over("symbol"), _quick=quick.over("symbol"))
    paid = paid.with_columns(
        _if_paid=likelihood(pl.col("_right_step"), fall="_fall"), _if_not=likelihood(pl.lit(0.0), fall="_fall")
    )
    paid = paid.with_columns(_odd=(pl.col("_rule") == pl.lit("DIVIDEND_WRONG")).fill_null(value=False))
    paid = paid.with_columns(
        pl.col(c).shift().over("symbol").alias(f"{c}_0") for c in ("_if_paid", "_if_not", "_amount", "_none", "_odd")
    )
    rare = (
        pl.when(pl.col("_slow").is_null())
        .then(pl.col("_quick") == 1)
        .otherwise((pl.col("_slow") >= SLOW) & (4 * pl.col("_days") < pl.col("_slow")))
    )
    twin = (
        (pl.col("_days") <= REPEAT_DAYS) & rare
        & ((pl.col("_amount") / pl.col("_amount_0")).log().abs() < REPEAT_ALIKE)
    )  # fmt: skip
    first, second = pl.col("_if_paid_0") + pl.col("_if_not"), pl.col("_if_not_0") + pl.col("_if_paid")
    taken_once = (
        pl.when(pl.col("_none") & ~pl.col("_none_0"))
        .then(limits.repeat)
        .when(pl.col("_none_0") & ~pl.col("_none"))
        .then(-limits.repeat)
        .otherwise(0.0)
    )
    wrong_once = limits.odd * (
        pl.col("_odd").cast(pl.Float64) - pl.col("_odd_0").cast(pl.Float64)
    )  # what is wrong already is rather the one too many
    apart = first - second + taken_once + wrong_once
    both = pl.col("_if_paid_0") + pl.col("_if_paid") - limits.repeat
    twin = twin & (pl.max_horizontal(first, second) >= both)
    paid = paid.with_columns(
        _drop=pl.when(twin).then(pl.when(apart >= 0).then(pl.lit("this")).otherwise(pl.lit("earlier"))),
        _apart=apart.abs(),
    )
    earlier = (pl.col("_drop").shift(-1) == pl.lit("earlier")).over("symbol").fill_null(value=False)
    paid = paid.with_columns(
        _phantom=(pl.col("_drop") == pl.lit("this")).fill_null(value=False) | earlier,
        _apart=pl.when(earlier).then(pl.col("_apart").shift(-1).over("symbol")).otherwise("_apart"),
    )
    return paid.with_columns(
        _rule=pl.when("_phantom").then(pl.lit("DIVIDEND_PHANTOM")).otherwise("_rule"),
        _lead=pl.when("_phantom").then(pl.col("_apart") + limits.mended - limits.either).otherwise("_lead"),
        _known=pl.when("_phantom").then(pl.lit(value=True)).otherwise("_known"),
        **{c: pl.when("_phantom").then(0.0).otherwise(c) for c in ("_amount", "_right_step")},
    )


def gains_once(paid: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """Where the step is dividend plus gains: over all of a fund's years, did the price fall by both, or by the
    dividend, in which the gains are already? They are meant to be.
    """
    gains = pl.col("capital_gains") / pl.col("_prev")
    weight = likelihood(pl.col("_y")) - likelihood(pl.col("_y") + gains)
    paid = paid.with_columns(_twice=pl.when("_both").then(weight).otherwise(0.0).sum().over("symbol"))
    double = pl.col("_both") & (pl.col("_twice") >= -limits.gains) & pl.col("_rule").is_null()
    return paid.with_columns(
        _rule=pl.when(double).then(pl.lit("CAPITAL_GAIN_DOUBLE")).otherwise("_rule"),
        _lead=pl.when(double).then(pl.col("_twice") + limits.gains).otherwise("_lead"),
        _right_step=pl.when(double).then("_y").otherwise("_right_step"),
        _known=pl.when(double).then((pl.col("_most") / pl.col("_least") - 1) * pl.col("_y") < 3e-3).otherwise("_known"),
    )


def unpaid(rows: pl.DataFrame) -> pl.DataFrame:
    """Lasting steps of the adjusted close on days without a declared payment: a payment that is missing where the price
    fell with it, otherwise unexplained. Rows whose `dividend` is null are not asked.
    """
    limit = 5 * ROUNDING + 8 * pl.col("_noise")
    odd = (pl.col("dividend") == 0) & (pl.col("_step").abs() > limit)
    named = rows.filter(pl.col("symbol").is_in(rows.filter(odd)["symbol"].unique().implode()))
    held = pl.col("_held").rolling_median(3, min_samples=1)
    named = named.with_columns(_past=held.shift().over("symbol"), _next=held.shift(-2).over("symbol")).with_columns(
        pl.coalesce("_next", "_held").alias("_next")
    )
    steps = named.filter(odd).with_columns(_y=1 - pl.col("_past") / pl.col("_next")).filter(pl.col("_y").abs() > limit)
    paid = likelihood(pl.col("_y")) - likelihood(pl.lit(0.0)) + TEN_TO_ONE
    missing = pl.col("_y").is_between(0, LARGEST_MISSING) & (paid > 0)
    known = pl.col("_most") / pl.col("_least") - 1 < 3e-3
    return steps.with_columns(
        _rule=pl.when(missing).then(pl.lit("DIVIDEND_MISSING")).otherwise(pl.lit("ADJUSTMENT_UNEXPLAINED")),
        _amount=pl.when(missing).then(pl.col("_step") * pl.col("_prev")).otherwise(0.0), _right_step=pl.col("_step"),
        _lead=pl.when(missing).then(paid).otherwise(0.0), _known=missing & known,
    )  # fmt: skip


def misdated(verdicts: pl.DataFrame) -> pl.DataFrame:
    """A payment without a step and an undeclared step, alike and within `BESIDE` rows, are one payment on two dates:
    `verdicts` with both rows repaired to the date on which the price fell, reported once.

    `verdicts` are sorted by row and have `_reported`.
    """
    out = verdicts
    for k in (1, -1):  # the step after the payment, the step before it
        there = {
            c: pl.col(c).shift(-k).over("symbol")
            for c in ("_row", "_step", "_rule", "_if_paid_day", "_if_not_day", "_prev")
        }
        pair = (
            (pl.col("_rule") == pl.lit("DIVIDEND_MISSING_ADJUSTMENT"))
            & there["_rule"].is_in(["DIVIDEND_MISSING", "ADJUSTMENT_UNEXPLAINED"])
            & ((there["_row"] - pl.col("_row")).abs() <= BESIDE)
            & ((there["_step"] / pl.col("_y")).log().abs() < REPEAT_ALIKE)
        ).fill_null(value=False)  # fmt: skip
        moved = there["_if_paid_day"] + pl.col("_if_not_day") - pl.col("_if_paid_day") - there["_if_not_day"]
        out = out.with_columns(_pair=pair, _moved=moved, _cash_here=pl.col("dividend"))
        partner = pl.col("_pair").shift(k).over("symbol").fill_null(value=False)
        lead = pl.when(partner).then(pl.col("_moved").shift(k).over("symbol")).otherwise("_moved")
        cash = pl.col("_cash_here").shift(k).over("symbol")
        either = pl.col("_pair") | partner
        to_step = lead >= 0
        out = out.with_columns(
            _amount=pl.when(pl.col("_pair") & to_step)
            .then(0.0)
            .when(partner & to_step)
            .then(cash)
            .when(partner)
            .then(0.0)
            .otherwise("_amount"),
            _right_step=pl.when(pl.col("_pair") & to_step)
            .then(0.0)
            .when(partner & ~to_step)
            .then(0.0)
            .otherwise("_right_step"),
            _lead=pl.when(either).then(lead.abs()).otherwise("_lead"),
            _known=pl.when(either).then(pl.lit(value=True)).otherwise("_known"),
            _reported=pl.when(partner).then(pl.lit(value=False)).otherwise("_reported"),
            _rule=pl.when(either).then(pl.lit("DIVIDEND_MISDATED")).otherwise("_rule"),
        )
    return out
