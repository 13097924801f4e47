"""Dividends, and the steps that they leave in the adjusted close.

On the ex-session with dividend D and the last close P before it, a total-return adjusted close steps by y = D / P
(CRSP; Yahoo alike), and the price falls by about as much. So there are three witnesses: the amount, the step, and the
price. Where the first two disagree, or the third contradicts both, the amounts that an error would have made of a right
one (a hundredth, a hundredfold, unsplit, nothing …) are weighed by their log posterior:

    ln p(y) + ln t3((fall - y) / usual move),   usual move: robust volatility of such rows; t3 for the tails that
    returns have

p(y): what payments usually are, and nine times in ten what this name's usually are. 7,299 US payments have a median of
0.66 % and a spread of 0.84 in logs; half-yearly and yearly payers elsewhere pay 2 to 5 %: a centre of 1 % and a spread
of 1.2 hold both. Of 1,029 payments of large names 96.5 % are within a factor of two of their name's median, 99.1 %
within four. What befalls one payment of a name mostly befalls others alike, so their prices testify together.

In a row of a week or more the last close before the ex-session is not in the data: it lies between the row's prices and
the close before.
"""

import math

import polars as pl

from quant_assets.market_data.vendor_errors.thresholds import Thresholds

USUAL_YIELD, SPREAD, OWN_SPREAD = math.log(0.01), 1.2, 0.5
WITNESSES, QUORUM = 4, 3  # payments before and after that are asked, and how many must answer
FAITHFUL = 0.9  # share of payments near their name's usual one
SAME = 0.1  # relative difference of step and y that rounding of cheap shares explains
ROUNDING = 2e-4  # and absolute: two prices of four digits
NOTHING = 5e-5  # a step below this is rounding
IMPOSSIBLE = -1e3  # log-likelihood of paying out more than the share was worth
ALIKE = 0.15  # in logs: errors of one cause
MOST = 8.0  # log odds that one payment gives about the others
LEVEL = 1.5  # in logs: payments of one level
KNOWN = 3e-3  # relative: how well an amount or a step must be known to be written down
LARGEST_MISSING = 0.25  # a larger step without a payment is rather a spin-off or a split


def seen(bars: pl.DataFrame) -> pl.DataFrame:
    """`bars` with what payments are judged by: `_prev` close, `_step` of the adjusted close, the `_fall` of price on
    the day, at its open (`_gap`, null where nobody quoted one) and `_settled` after three, whether the quote is
    `_stale`, and between what the last close before the ex-session lay (`_least`, `_most`).
    """
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
    weekly = pl.col("_class") == pl.lit("week")
    quoted = (pl.col("open") > 0) & (pl.col("open") != pl.col("_prev")) & ~weekly
    four = [pl.when(pl.col(c) > 0).then(pl.col(c)) for c in ("open", "high", "low", "close")]
    paid = pl.col("dividend").fill_null(0.0)
    return rows.with_columns(
        _fall=1 - pl.col("_close") / pl.col("_prev"),
        _gap=pl.when(quoted).then(1 - pl.col("open") / pl.col("_prev")),
        _settled=1 - pl.when(weekly).then(pl.coalesce("_day2", "_close")).otherwise(after) / pl.col("_prev"),
        _stale=stale,
        _least=pl.when(weekly).then(pl.min_horizontal("_prev", *four)).otherwise("_prev"),
        _most=pl.when(weekly)
        .then(pl.max_horizontal("_prev", *four) + pl.when(paid < pl.col("_prev")).then(paid).otherwise(0.0))
        .otherwise("_prev"),
    )


def weighed(rows: pl.DataFrame, gaps: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """Every payment with its verdict: `_rule` (null where nothing is wrong), `_amount` and `_right_step` as they should
    be, `_lead` (log odds over the next best explanation), `_known` (whether the amounts are known well enough to be
    written down), and the evidence.

    `rows`: from `seen`. `gaps`: the unexplained breaks of `levels.restored`; an amount may be on the basis after one.
    """
    paid = rows.filter(pl.col("dividend") > 0, pl.col("_prev").is_not_null()).with_columns(
        _y=pl.col("dividend") / pl.col("_prev")
    )
    paid = _with_witnesses(paid.join(_later(paid, gaps), on="_row", how="left", maintain_order="left"))
    return _decided(_scored(paid, limits), limits)


def with_noise(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `_noise`, how much the adjusted close of a name steps when nothing is paid."""
    noise = rows.group_by("symbol").agg(_noise=pl.col("_step").abs().median().fill_null(0.0))
    return rows.join(noise, on="symbol", how="left", maintain_order="left")


def _later(paid: pl.DataFrame, gaps: pl.DataFrame) -> pl.DataFrame:
    """`_later` by `_row`: by what the unexplained breaks after a payment have multiplied the price; payments before
    none are left out.
    """
    pairs = (
        paid.select("_row", "symbol")
        .join(gaps.rename({"_row": "_gap_row"}), on="symbol")
        .filter(pl.col("_gap_row") > pl.col("_row"))
    )
    return pairs.group_by("_row").agg(_later=pl.col("_ratio").product())


def _normal(y: pl.Expr, centre: pl.Expr | float, spread: float) -> pl.Expr:
    return (-(((y.log() - centre) / spread) ** 2) / 2).exp() / spread


def _with_witnesses(paid: pl.DataFrame) -> pl.DataFrame:
    """`_own`: ln y of up to `WITNESSES` payments before and after each that testify to what the name pays: amount and
    step agree, and a hundredth or a hundredfold would not fit better.
    """
    scores = [
        _normal(pl.col("_y") * k, USUAL_YIELD, SPREAD).log() + likelihood(pl.col("_y") * k) for k in (1.0, 0.01, 100.0)
    ]
    sound = same(pl.col("_step")) & pl.col("_later").is_null() & (scores[0] >= pl.max_horizontal(scores[1:]))
    paid = paid.with_columns(_log_y=pl.when(sound).then(pl.col("_y").log()))
    others = [k for k in range(-WITNESSES, WITNESSES + 1) if k]
    paid = paid.with_columns(pl.col("_log_y").shift(k).over("symbol").alias(f"_own_{k}") for k in others)
    return paid.with_columns(_witnesses=pl.sum_horizontal(pl.col(f"_own_{k}").is_not_null() for k in others))


def _prior(y: pl.Expr) -> pl.Expr:
    """The log of p(y), up to a constant: what payments are, and, where enough of the name's other payments testify,
    mostly what those are.
    """
    usual = _normal(y, USUAL_YIELD, SPREAD)
    own = pl.sum_horizontal(
        _normal(y, pl.col(f"_own_{k}"), OWN_SPREAD) for k in range(-WITNESSES, WITNESSES + 1) if k
    ) / pl.col("_witnesses")
    return pl.when(pl.col("_witnesses") < QUORUM).then(usual).otherwise((1 - FAITHFUL) * usual + FAITHFUL * own).log()


def likelihood(y: pl.Expr, *, fall: str = "_settled") -> pl.Expr:
    """Ln p(fall | y), up to a constant: of the close, or of the open where one was quoted, whichever fits (one of them
    may be somebody's mistake). A quote that nobody touched says nothing; nobody pays out more than there is.

    In a week whose last days nobody traded the fall comes a week later.
    """

    def density(moved: str, per: str) -> pl.Expr:
        return pl.col(per) / (1 + ((pl.col(moved) - y) * pl.col(per)) ** 2 / 3) ** 2

    later = (density("_fall", "_per_whole") + density("_settled", "_per_whole")) / 2
    closing = pl.when(pl.col("_class") == pl.lit("week")).then(later).otherwise(density(fall, "_per_whole"))
    both = pl.when(pl.col("_gap").is_null()).then(closing).otherwise((closing + density("_gap", "_per_open")) / 2)
    return pl.when(y >= 1).then(IMPOSSIBLE).when(pl.col("_stale")).then(0.0).otherwise(both.log()).fill_null(0.0)


def same(step: pl.Expr, times: pl.Expr | float = 1.0) -> pl.Expr:
    """Whether the step is what `times` the amount makes, given what is known of the close before."""
    cash = pl.col("dividend") * times
    least, most = cash / pl.col("_most"), cash / pl.col("_least")
    slack = SAME * pl.max_horizontal(most.abs(), step.abs()) + ROUNDING + 4 * pl.col("_noise")
    return (step >= least - slack) & (step <= most + slack)


def _scored(paid: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """The log posterior of each explanation (`_as_*`), and the factor by which it would mend the amount (`_by_*`)."""
    y, step = pl.col("_y"), pl.col("_step")
    fits = same(step)
    none = (step.abs() <= NOTHING + 4 * pl.col("_noise")) & ~fits
    gains = 1 + pl.col("capital_gains") / pl.col("dividend")
    with_gains = (pl.col("capital_gains") > 0) & same(step, gains)
    split = pl.when((pl.col("split") > 0) & (pl.col("split") != 1)).then(pl.col("split"))
    paid = paid.with_columns(_both=with_gains & ~fits, _agree=step.is_null() | fits | with_gains, _none=none)
    by_step = pl.coalesce(*(pl.when(same(step, k)).then(k) for k in (pl.lit(0.01), pl.lit(100.0), 1 / split)), step / y)
    odd = ~pl.col("_agree") & ~none & step.is_between(0, 1, closed="none")
    factors = {
        "step": pl.when(odd).then(by_step), "break": 1 / pl.col("_later"), "split": 1 / split,
        "hundredth": pl.lit(0.01), "hundredfold": pl.lit(100.0), "nothing": pl.lit(0.0),
    }  # fmt: skip
    small = pl.when(y.log() < USUAL_YIELD).then(_prior(y)).otherwise(0.0)  # that a payment is small does not deny it
    odds = {"step": 0.0, "break": 0.0, "nothing": limits.phantom + limits.rarer}
    paid = paid.with_columns(
        pl.lit(1.0).alias("_by_declared"), *(k.alias(f"_by_{name}") for name, k in factors.items())
    )
    paid = paid.with_columns(
        _as_declared=_prior(y) + likelihood(y),
        **{
            f"_as_{name}": pl.when(pl.col(f"_by_{name}").is_not_null()).then(
                (small if name == "nothing" else _prior(y * pl.col(f"_by_{name}")))
                + likelihood(y * pl.col(f"_by_{name}"))
                - odds.get(name, limits.payment)
            )
            for name in factors
        },
    )
    return _together(paid, limits)


EXPLANATIONS = ("declared", "step", "break", "split", "hundredth", "hundredfold", "nothing")


def _together(paid: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """A name whose payments are all off by one factor has one error: that explanation leads over `_as_declared` by the
    evidence of all prices.
    """
    off = pl.when(pl.col("_by_step").is_not_null()).then((pl.col("_step") / pl.col("_y")).log())
    lead = pl.when(pl.col("_by_step").is_not_null()).then(pl.col("_as_step") - pl.col("_as_declared"))
    paid = paid.with_columns(_off=off, _lead_step=lead)
    concerned = pl.col("_y").log().filter(pl.col("_off").is_not_null())
    alike = (
        (pl.col("_off").max() - pl.col("_off").min() < ALIKE)
        & (concerned.max() - concerned.min() < LEVEL)
        & (concerned.len() > 1)
    )
    units = {"hundredth": 0.01, "hundredfold": 100.0}
    usual = {
        name: (_normal(pl.col("_y") * k, USUAL_YIELD, SPREAD) / _normal(pl.col("_y"), USUAL_YIELD, SPREAD)).log()
        for name, k in units.items()
    }
    prices = {name: likelihood(pl.col("_y") * k) - likelihood(pl.col("_y")) for name, k in units.items()}
    level = pl.col("_y").log()
    shared = paid.group_by("symbol").agg(
        _alike=alike,
        _sum=pl.col("_lead_step").clip(-MOST, MOST).sum(),
        _level=(level.max() - level.min() < LEVEL) & pl.col("_agree").all(),
        **{f"_all_{name}": usual[name].mean() + prices[name].sum() - limits.payment for name in units},
    )
    paid = paid.join(shared, on="symbol", how="left", maintain_order="left")
    together = {
        name: pl.when("_level")
        .then(pl.max_horizontal(f"_as_{name}", pl.col("_as_declared") + pl.col(f"_all_{name}")))
        .otherwise(f"_as_{name}")
        for name in units
    }
    return paid.with_columns(
        _as_step=pl.when(pl.col("_alike") & pl.col("_by_step").is_not_null())
        .then(pl.col("_as_declared") + pl.col("_sum"))
        .otherwise("_as_step"),
        **{f"_as_{name}": score for name, score in together.items()},
    )


def _decided(paid: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    scores = [pl.col(f"_as_{name}") for name in EXPLANATIONS]
    paid = paid.with_columns(_best=pl.max_horizontal(scores))
    wins = (pl.col("_best") - pl.col("_as_declared") > limits.told).fill_null(value=False)
    denied = (pl.col("_as_nothing") + limits.rarer - pl.col("_as_declared") > limits.told).fill_null(value=False)
    factor = pl.coalesce(
        *(pl.when(wins & (pl.col(f"_as_{name}") == pl.col("_best"))).then(f"_by_{name}") for name in EXPLANATIONS[1:]),
        pl.when(denied).then(0.0), pl.lit(1.0),
    )  # fmt: skip
    paid = paid.with_columns(_factor=factor, _wins=wins | denied)
    chosen = pl.when(wins).then("_best").when(denied).then("_as_nothing").otherwise("_as_declared")
    others = [
        pl.when((pl.col(f"_by_{name}") - pl.col("_factor")).abs() > SAME * pl.col("_factor")).then(
            pl.col(f"_as_{name}")
        )
        for name in EXPLANATIONS
    ]
    amiss = (
        pl.when(pl.col("_none")).then(pl.lit("DIVIDEND_MISSING_ADJUSTMENT"))
        .when(~pl.col("_agree")).then(pl.lit("DIVIDEND_WRONG_ADJUSTMENT"))
    )  # fmt: skip
    wrong = pl.when(pl.col("_factor") == 0).then(pl.lit("DIVIDEND_PHANTOM")).otherwise(pl.lit("DIVIDEND_WRONG"))
    paid = paid.with_columns(
        _rule=pl.when("_wins").then(wrong).otherwise(amiss),
        _lead=(chosen - pl.max_horizontal(others)).fill_null(20.0),
        _amount=pl.col("dividend") * pl.col("_factor"),
        # alike, they are wrong alike
        _right_step=pl.when(same(pl.col("_step"))).then("_step").otherwise("_y") * pl.col("_factor"),
    )
    vague = pl.col("_most") / pl.col("_least") - 1
    by_step = pl.col("_wins") & ((pl.col("_factor") - pl.col("_step") / pl.col("_y")).abs() < 1e-9)
    kept = same(pl.col("_step"), pl.col("_factor")) & (
        pl.col("_factor") > 0
    )  # the vendor's own step is better known than ours
    paid = paid.with_columns(_right_step=pl.when(kept).then("_step").otherwise("_right_step"))
    sure = kept | same(pl.col("_step"))
    known = (
        pl.when(by_step)
        .then(vague < KNOWN)
        .when(sure)
        .then(pl.lit(value=True))
        .otherwise(vague * pl.col("_right_step") < KNOWN)
    )
    return paid.with_columns(_known=known.fill_null(value=False))
