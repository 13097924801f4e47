"""Dividends, and the steps that they leave in the adjusted close.

On the ex-session with dividend D and the last close P before it, a total-return adjusted close steps by y = D / P (CRSP; Yahoo alike), and the price falls by
about as much. So there are three witnesses: the amount, the step, and the price. Where the first two disagree, or the third contradicts both, the amounts that
an error would have made of a right one (a hundredth, a hundredfold, unsplit …) are weighed by their log posterior:

    ln p(y) + ln t3((fall - y) / usual move),   usual move: robust daily volatility; t3 for the tails that returns have

p(y): what payments usually are, and nine times in ten what this name's usually are. 7,299 US payments have a median of 0.66 % and a spread of 0.84 in logs;
half-yearly and yearly payers elsewhere pay 2 to 5 %: a centre of 1 % and a spread of 1.2 hold both. Of 1,029 payments of large names 96.5 % are within
a factor of two of their name's median, 99.1 % within four.
"""

import math

import polars as pl

USUAL_YIELD, SPREAD, OWN_SPREAD = math.log(0.01), 1.2, 0.5
WITNESSES, QUORUM = 4, 3  # payments before and after that are asked, and how many must answer
ERRORS_PER_PAYMENT = 1e-3  # how sure one must be to contradict both amount and step
FAITHFUL = 0.9  # share of payments near their name's usual one
SAME = 0.1  # relative difference of step and y that rounding of cheap shares explains
ROUNDING = 2e-4  # and absolute: two prices of four digits
NOTHING = 5e-5  # a step below this is rounding
IMPOSSIBLE = -1e3  # log-likelihood of paying out more than the share was worth
REPEAT_DAYS = 17  # the same payment again: nobody but weekly payers is that quick, and they always are
REPEAT_ALIKE = 0.15  # the currency of the first announcement against that of the payment moves by less
TEN_TO_ONE = math.log(10)
LARGEST_MISSING = 0.25  # a larger step without a payment is rather a spin-off or a split


def seen(bars: pl.DataFrame) -> pl.DataFrame:
    """`bars` with what payments are judged by: `_prev` close, `_step` of the adjusted close, the `_fall` of price on the day and `_settled` after three, whether the quote is `_stale`."""
    close = pl.when(pl.col("close") > 0).then(pl.col("close"))
    rows = bars.with_columns(_close=close, _held=pl.col("adj_close") / close)
    before = pl.col("_close").forward_fill().shift()
    rows = rows.with_columns(
        _prev=before.over("symbol"),
        _step=(1 - pl.col("_held").forward_fill().shift() / pl.col("_held")).over("symbol"),
        _day2=pl.col("_close").shift(-1).over("symbol"),
        _day3=pl.col("_close").shift(-2).over("symbol"),
    )
    low, high = pl.min_horizontal("_close", "_day2", "_day3"), pl.max_horizontal("_close", "_day2", "_day3")
    middle = pl.sum_horizontal("_close", "_day2", "_day3") - low - high
    days = pl.sum_horizontal(pl.col(c).is_not_null() for c in ("_close", "_day2", "_day3"))
    after = pl.when(days == 3).then(middle).otherwise((low + high) / 2)
    stale = (pl.col("_close") == pl.col("_prev")) & (pl.col("volume").fill_null(0) == 0)
    return rows.with_columns(
        _fall=1 - pl.col("_close") / pl.col("_prev"), _settled=1 - after / pl.col("_prev"), _stale=stale
    )


def judged(rows: pl.DataFrame, gaps: pl.DataFrame) -> pl.DataFrame:
    """What is wrong with payments: `_row`, symbol, `_rule`, `_amount` and `_right_step` as they should be, `_sure` (log odds), and the evidence (`_y`, `_step`, `_prev`, `_fall`, dividend, capital_gains).

    `rows`: from `seen`. `gaps`: the unexplained breaks of `levels.restored`; an amount may be on the basis after one.
    """
    noise = rows.group_by("symbol").agg(_noise=pl.col("_step").abs().median().fill_null(0.0))
    rows = rows.join(noise, on="symbol", how="left", maintain_order="left")
    paid = rows.filter(pl.col("dividend") > 0, pl.col("_prev").is_not_null()).with_columns(
        _y=pl.col("dividend") / pl.col("_prev")
    )
    paid = _with_witnesses(paid.join(_later(paid, gaps), on="_row", how="left", maintain_order="left"))
    verdicts = _gains_once(_without_repeats(_weighed(paid)))
    return (
        pl.concat([verdicts, _unpaid(rows)], how="diagonal_relaxed").filter(pl.col("_rule").is_not_null()).sort("_row")
    )


def _later(paid: pl.DataFrame, gaps: pl.DataFrame) -> pl.DataFrame:
    """`_later` by `_row`: by what the unexplained breaks after a payment have multiplied the price; payments before none are left out."""
    pairs = (
        paid.select("_row", "symbol")
        .join(gaps.rename({"_row": "_gap"}), on="symbol")
        .filter(pl.col("_gap") > pl.col("_row"))
    )
    return pairs.group_by("_row").agg(_later=pl.col("_ratio").product())


def _normal(y: pl.Expr, centre: pl.Expr | float, spread: float) -> pl.Expr:
    return (-(((y.log() - centre) / spread) ** 2) / 2).exp() / spread


def _with_witnesses(paid: pl.DataFrame) -> pl.DataFrame:
    """`_own`: ln y of up to `WITNESSES` payments before and after each that testify to what the name pays: amount and step agree, and a hundredth or a hundredfold would not fit better."""
    scores = [
        _normal(pl.col("_y") * k, USUAL_YIELD, SPREAD).log() + _likelihood(pl.col("_y") * k, "_settled")
        for k in (1.0, 0.01, 100.0)
    ]
    sound = (
        _same(pl.col("_step"), pl.col("_y")) & pl.col("_later").is_null() & (scores[0] >= pl.max_horizontal(scores[1:]))
    )
    paid = paid.with_columns(_log_y=pl.when(sound).then(pl.col("_y").log()))
    others = [k for k in range(-WITNESSES, WITNESSES + 1) if k]
    paid = paid.with_columns(pl.col("_log_y").shift(k).over("symbol").alias(f"_own_{k}") for k in others)
    return paid.with_columns(_witnesses=pl.sum_horizontal(pl.col(f"_own_{k}").is_not_null() for k in others))


def _prior(y: pl.Expr) -> pl.Expr:
    """The log of p(y), up to a constant: what payments are, and, where enough of the name's other payments testify, mostly what those are."""
    usual = _normal(y, USUAL_YIELD, SPREAD)
    own = pl.sum_horizontal(
        _normal(y, pl.col(f"_own_{k}"), OWN_SPREAD) for k in range(-WITNESSES, WITNESSES + 1) if k
    ) / pl.col("_witnesses")
    return pl.when(pl.col("_witnesses") < QUORUM).then(usual).otherwise((1 - FAITHFUL) * usual + FAITHFUL * own).log()


def _likelihood(y: pl.Expr, fall: str) -> pl.Expr:
    """Ln p(fall | y), up to a constant. A quote that nobody touched says nothing; nobody pays out more than there is."""
    price = -2 * (((pl.col(fall) - y) * pl.col("_per_usual")) ** 2 / 3).log1p()
    return pl.when(y >= 1).then(IMPOSSIBLE).when(pl.col("_stale")).then(0.0).otherwise(price).fill_null(0.0)


def _same(step: pl.Expr, y: pl.Expr) -> pl.Expr:
    return (step - y).abs() <= SAME * pl.max_horizontal(y.abs(), step.abs()) + ROUNDING + 4 * pl.col("_noise")


def _weighed(paid: pl.DataFrame) -> pl.DataFrame:
    """Choose each payment's amount: as declared, as the step says, or off by a unit, the day's split or a later break; say so where the step is another."""
    y, step = pl.col("_y"), pl.col("_step")
    none = (step.abs() <= NOTHING + 4 * pl.col("_noise")) & ~_same(step, y)
    with_gains = (pl.col("capital_gains") > 0) & _same(step, y + pl.col("capital_gains") / pl.col("_prev"))
    agree = step.is_null() | _same(step, y) | with_gains
    split = pl.when((pl.col("split") > 0) & (pl.col("split") != 1)).then(pl.col("split"))
    by_step = step / y
    exactly = pl.coalesce(
        *(pl.when((by_step / k - 1).abs() <= SAME).then(k) for k in (pl.lit(0.01), pl.lit(100.0), 1 / split)), by_step
    )
    rare = math.log(ERRORS_PER_PAYMENT)
    others = {
        "step": (pl.when(~agree & ~none & step.is_between(0, 1, closed="none")).then(exactly), 0.0),
        "break": (1 / pl.col("_later"), 0.0),
        "split": (1 / split, rare),
        "hundredth": (pl.lit(0.01), rare),
        "hundredfold": (pl.lit(100.0), rare),
    }
    scores = {name: _prior(y * k) + _likelihood(y * k, "_settled") + chance for name, (k, chance) in others.items()}
    paid = paid.with_columns(
        _both=with_gains & ~_same(step, y),
        _agree=agree,
        _none=none,
        _declared=_prior(y) + _likelihood(y, "_settled"),
        **{f"_as_{name}": score for name, score in scores.items()},
    )
    best = pl.max_horizontal(f"_as_{name}" for name in others)
    wins = (best > pl.col("_declared")).fill_null(value=False)
    factor = pl.coalesce(
        *(pl.when(wins & (pl.col(f"_as_{name}") == best)).then(k) for name, (k, _) in others.items()), pl.lit(1.0)
    )
    amiss = (
        pl.when(pl.col("_none"))
        .then(pl.lit("DIVIDEND_MISSING_ADJUSTMENT"))
        .when(~pl.col("_agree"))
        .then(pl.lit("DIVIDEND_WRONG_ADJUSTMENT"))
    )
    paid = paid.with_columns(
        _rule=pl.when(wins).then(pl.lit("DIVIDEND_WRONG")).otherwise(amiss),
        _factor=factor,
        _sure=(best - pl.col("_declared")).abs(),
    )
    return paid.with_columns(_amount=pl.col("dividend") * pl.col("_factor"), _right_step=y * pl.col("_factor"))


def _without_repeats(paid: pl.DataFrame) -> pl.DataFrame:
    """Of two payments alike within days, by a name that pays seldom, only the one that the price followed."""
    days = pl.col("session").cast(pl.Date).diff().dt.total_days()
    paid = paid.with_columns(_gap=days.over("symbol"))
    paid = paid.with_columns(_usual_gap=pl.col("_gap").median().over("symbol"))
    alone = _likelihood(pl.col("_right_step"), "_fall"), _likelihood(pl.lit(0.0), "_fall")
    paid = paid.with_columns(_if_paid=alone[0], _if_not=alone[1]).with_columns(
        pl.col(c).shift().over("symbol").alias(f"{c}_0") for c in ("_if_paid", "_if_not", "_amount")
    )
    twin = (
        (pl.col("_gap") <= REPEAT_DAYS)
        & (4 * pl.col("_gap") < pl.col("_usual_gap"))
        & ((pl.col("_amount") / pl.col("_amount_0")).log().abs() < REPEAT_ALIKE)
    )
    first, second = pl.col("_if_paid_0") + pl.col("_if_not"), pl.col("_if_not_0") + pl.col("_if_paid")
    twin = twin & (pl.max_horizontal(first, second) >= pl.col("_if_paid_0") + pl.col("_if_paid"))
    paid = paid.with_columns(
        _drop=pl.when(twin).then(pl.when(first >= second).then(pl.lit("this")).otherwise(pl.lit("earlier"))),
        _apart=(first - second).abs(),
    )
    earlier = (pl.col("_drop").shift(-1) == pl.lit("earlier")).over("symbol").fill_null(value=False)
    phantom = (pl.col("_drop") == pl.lit("this")).fill_null(value=False) | earlier
    paid = paid.with_columns(
        _phantom=phantom, _apart=pl.when(earlier).then(pl.col("_apart").shift(-1).over("symbol")).otherwise("_apart")
    )
    zero = {c: pl.when("_phantom").then(0.0).otherwise(c) for c in ("_amount", "_right_step")}
    return paid.with_columns(
        _rule=pl.when("_phantom").then(pl.lit("DIVIDEND_PHANTOM")).otherwise("_rule"),
        _sure=pl.when("_phantom").then("_apart").otherwise("_sure"),
        **zero,
    )


def _gains_once(paid: pl.DataFrame) -> pl.DataFrame:
    """Where the step is dividend plus gains: over all of a fund's years, did the price fall by both, or by the dividend, in which the gains are already?"""
    gains = pl.col("capital_gains") / pl.col("_prev")
    weight = _likelihood(pl.col("_y"), "_settled") - _likelihood(pl.col("_y") + gains, "_settled")
    paid = paid.with_columns(_twice=pl.when("_both").then(weight).otherwise(0.0).sum().over("symbol"))
    double = pl.col("_both") & (pl.col("_twice") >= TEN_TO_ONE) & pl.col("_rule").is_null()
    return paid.with_columns(
        _rule=pl.when(double).then(pl.lit("CAPITAL_GAIN_DOUBLE")).otherwise("_rule"),
        _sure=pl.when(double).then("_twice").otherwise("_sure"),
    )


def _unpaid(rows: pl.DataFrame) -> pl.DataFrame:
    """Lasting steps of the adjusted close on days without a declared payment: a payment that is missing where the price fell with it, otherwise unexplained. Rows whose `dividend` is null are not asked."""
    limit = 5 * ROUNDING + 8 * pl.col("_noise")
    odd = (pl.col("dividend") == 0) & (pl.col("_step").abs() > limit)
    named = rows.filter(pl.col("symbol").is_in(rows.filter(odd)["symbol"].unique().implode()))
    held = pl.col("_held").rolling_median(3, min_samples=1)
    named = named.with_columns(_past=held.shift().over("symbol"), _next=held.shift(-2).over("symbol")).with_columns(
        pl.coalesce("_next", "_held").alias("_next")
    )
    steps = named.filter(odd).with_columns(_y=1 - pl.col("_past") / pl.col("_next")).filter(pl.col("_y").abs() > limit)
    paid = _likelihood(pl.col("_y"), "_settled") - _likelihood(pl.lit(0.0), "_settled") + TEN_TO_ONE
    missing = pl.col("_y").is_between(0, LARGEST_MISSING) & (paid > 0)
    return steps.with_columns(
        _rule=pl.when(missing).then(pl.lit("DIVIDEND_MISSING")).otherwise(pl.lit("ADJUSTMENT_UNEXPLAINED")),
        _amount=pl.when(missing).then(pl.col("_step") * pl.col("_prev")).otherwise(0.0), _right_step=pl.col("_step"), _sure=paid.abs(),
    )  # fmt: skip
