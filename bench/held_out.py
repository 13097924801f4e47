"""The detectors on names that were left out when their thresholds were chosen: found, mended whole, and alarms where nothing is wrong, by kind of error."""

from collections.abc import Callable, Iterable

import polars as pl

from bench.spoiling import PRICES, Case

ON_TWO_ROWS = ("payment misdated", "payment repeated")  # one error, which may be told on either of its rows
MENDED = (
    1e-3  # relative: a payment is printed with four digits or more, and where the step alone has it, it comes back so
)
Diagnose = Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]

_BESIDE = ("open", "high", "low", "close", "adj_close", "volume", "dividend")


def scored(cases: Iterable[Case], diagnose: Diagnose) -> pl.DataFrame:
    """By case: name, kind, interval, rows, `errors` (rows whose prices or payment were spoilt), `found` of them, `told` (any was), `whole` (every row is as it was), `alarms` (rows with a finding, none spoilt there or beside)."""
    cases = list(cases)
    by_intraday = [[n for n, c in enumerate(cases) if (c.interval == "15m") == within] for within in (False, True)]
    frames = [_scored(cases, numbers, diagnose) for numbers in by_intraday if numbers]
    about = pl.DataFrame(
        {
            "case": range(len(cases)),
            "name": [c.name for c in cases],
            "kind": [c.kind for c in cases],
            "interval": [c.interval for c in cases],
        }
    )
    return about.with_columns(pl.col("case").cast(pl.String)).join(pl.concat(frames), on="case", maintain_order="left")


def _scored(cases: list[Case], numbers: list[int], diagnose: Diagnose) -> pl.DataFrame:
    bars, answer = (
        pl.concat(getattr(cases[n], which).with_columns(symbol=pl.lit(str(n))) for n in numbers).sort(
            "symbol", "session"
        )
        for which in ("bars", "answer")
    )
    findings, repairs = diagnose(bars)
    touched = _touched(bars, answer)
    keys = ["symbol", "session"]
    told = findings.select(*keys, on_prices=on_prices()).group_by(keys).agg(
        told_prices=pl.col("on_prices").any(), told_payment=(~pl.col("on_prices")).any()
    )  # fmt: skip
    rows = touched.join(told, on=keys, how="left", maintain_order="left").with_columns(
        pl.col("told_prices", "told_payment").fill_null(value=False)
    )
    pairs = [str(n) for n in numbers if cases[n].kind in ON_TWO_ROWS]
    of_two = (
        pl.col("symbol").is_in(pairs)
        & (pl.col("dividend") > 0)
        & pl.any_horizontal(*(pl.col("payment").shift(k, fill_value=False).over("symbol") for k in range(-8, 9)))
    )
    rows = rows.with_columns(of_two=of_two)
    any_payment = pl.col("told_payment") | (pl.col("of_two") & pl.col("told_payment")).any().over("symbol")
    hit = (pl.col("prices") & pl.col("told_prices")) | (pl.col("payment") & any_payment)
    error = pl.col("prices") | pl.col("payment")
    near = pl.col("of_two") | pl.any_horizontal(error.shift(k, fill_value=False).over("symbol") for k in (-1, 0, 1))
    wrong = _different(mended(bars, repairs), answer)
    touched_by_us = repairs.group_by(pl.col("symbol").alias("case")).agg(repaired=pl.len())
    return rows.group_by(pl.col("symbol").alias("case"), maintain_order=True).agg(
        rows=pl.len(), errors=error.sum(), found=hit.sum(), alarms=((pl.col("told_prices") | pl.col("told_payment")) & ~near).sum()
    ).join(wrong, left_on="case", right_on="symbol", how="left").join(touched_by_us, on="case", how="left").with_columns(whole=pl.col("differ").fill_null(0) == 0, mended=pl.col("repaired").fill_null(0) > 0)  # fmt: skip


def on_prices() -> pl.Expr:
    """Whether a finding is about the prices of its row, not about a payment."""
    return pl.any_horizontal(pl.col("rule").str.starts_with(name) for name in ("UNIT", "SPLIT", "STALE", "PRICE"))


def _touched(bars: pl.DataFrame, answer: pl.DataFrame) -> pl.DataFrame:
    """The rows of `bars` with `prices` and `payment`: whether those were spoilt."""

    def stepped(frame: pl.DataFrame) -> pl.DataFrame:
        held = pl.col("adj_close") / pl.col("close")
        return frame.with_columns(step=(1 - held.shift() / held).over("symbol"))

    both = pl.concat(
        [stepped(bars), stepped(answer).select(pl.col(*PRICES, "dividend", "step", "split").name.suffix("_answer"))],
        how="horizontal",
    )
    prices = pl.any_horizontal(_differ(c, 1e-4) for c in PRICES) | _differ("split", 1e-6)
    apart = (pl.col("step") - pl.col("step_answer")).abs() > 1e-5
    paid = (pl.col("dividend") > 0) | (pl.col("dividend_answer") > 0)
    payment = paid & (
        _differ("dividend", 1e-4) | (apart.fill_null(value=False) & ~prices & ~prices.shift(fill_value=False))
    )
    return both.select("symbol", "session", "dividend", prices=prices, payment=payment)


def mended(bars: pl.DataFrame, repairs: pl.DataFrame) -> pl.DataFrame:
    """`bars` as they are once the repairs are in force."""
    kept = bars.join(repairs, on=["symbol", "session"], how="anti", nulls_equal=True)
    return pl.concat([kept, repairs]).sort("symbol", "session")


def _different(repaired: pl.DataFrame, answer: pl.DataFrame) -> pl.DataFrame:
    both = pl.concat([repaired, answer.select(pl.col(*_BESIDE, "split").name.suffix("_answer"))], how="horizontal")
    volume = (pl.col("volume") - pl.col("volume_answer")).abs() > 1 + 1e-6 * pl.col("volume_answer")
    known = [
        pl.col(f"{c}_answer").is_not_null() & _differ(c, MENDED) for c in (*PRICES, "adj_close", "dividend", "split")
    ]
    wrong = pl.any_horizontal(*known, volume)
    return both.filter(wrong).group_by("symbol").agg(differ=pl.len())


def _differ(column: str, tolerance: float) -> pl.Expr:
    ours, theirs = pl.col(column), pl.col(f"{column}_answer")
    return ((ours - theirs).abs() > tolerance * theirs.abs()).fill_null(ours.is_null() != theirs.is_null())


def by_kind(scores: pl.DataFrame) -> pl.DataFrame:
    """Figures by kind: cases, share of the errors found, of the cases told, of the cases mended whole, and alarms per 10,000 clean rows."""
    return scores.group_by("kind", maintain_order=True).agg(figures()).sort("kind")


def figures() -> list[pl.Expr]:
    """`cases`, `found`, `told`, `whole`, `alarms` of a frame of scores."""
    return [
        pl.len().alias("cases"),
        (pl.col("found").sum() / pl.col("errors").sum()).alias("found"),
        (pl.col("found") > 0).mean().alias("told"),
        pl.col("whole").mean().alias("whole"),
        (pl.col("mended") & ~pl.col("whole")).mean().alias("amiss"),
        (1e4 * pl.col("alarms").sum() / (pl.col("rows").sum() - pl.col("errors").sum())).alias("alarms"),
    ]
