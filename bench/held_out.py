"""The detectors on names that were left out when their thresholds were chosen: found, mended whole, and alarms where
nothing is wrong, by kind of error.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import polars as pl

from bench.clean_series import PRICES, paths
from bench.spoiling import Case, cases
from quant_assets.market_data.vendor_errors import diagnose
from quant_assets.market_data.vendor_errors.thresholds import CHOSEN, Thresholds

ON_TWO_ROWS = ("payment misdated", "payment repeated")  # one error, which may be told on either of its rows
MENDED = (
    1e-3  # relative: a payment is printed with four digits or more, and where the step alone has it, it comes back so
)
PUBLISHED = {
    "unit: rows": 2.0,
    "unit: history": 2.0,
    "split missed": 3.0,
    "split doubled": 1.0,
    "split off in one row": 2.0,
    "amount x100": 4.0,
    "amount and step x100": 3.0,
    "amount and step /100": 1.0,
    "payment not split": 1.0,
    "payment repeated": 2.0,
    "payment misdated": 1.0,
    "adjustment not taken": 3.0,
    "adjustment /100": 4.0,
    "capital gain twice": 2.0,
    # how many of 25 files published with their answers have each kind; the others are as rare as less than one in them
}
UNPUBLISHED = 0.5
FOLDS = 5
SEED, ONE_NAME_IN, KINDS_A_NAME = 20, 2, 8
CLEARLY = 0.005  # by how much another value must do better than the one that stands
MOST_ALARMS = 1.0  # in 10,000 clean rows
PAYMENTS, PRICES_OFF = ("amount", "payment", "adjustment"), ("unit", "split")
GRID: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {
    "unit": ((7.0, 9.0, 11.0), ("unit",)),
    "split": ((1.0, 2.0, 3.0), ("split",)),
    "split_off": ((0.1, 0.15, 0.25), ("split",)),
    "cell": ((3.0, 4.0, 6.0), PRICES_OFF),
    "payment": ((4.5, 5.5, 6.9), PAYMENTS),
    "phantom": ((5.5, 6.9, 8.0), PAYMENTS),
    "repeat": ((3.0, 5.0, 7.0), ("payment repeated",)),
    "gains": ((0.5, 1.0), ("capital",)),
    "stale": ((7.0, 9.0, 12.0), ("stale",)),
    "mended": ((0.5, 1.0, 2.0), PAYMENTS + PRICES_OFF),
    # of each threshold, the values tried, and the kinds of error that it is about (clean series are always asked)
}
Diagnose = Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]

_BESIDE = ("open", "high", "low", "close", "adj_close", "volume", "dividend")


def scored(given: Iterable[Case], judge: Diagnose) -> pl.DataFrame:
    """By case: name, kind, interval, rows, `errors` (rows whose prices or payment were spoilt), `found` of them, `told`
    (any was), `whole` (every row is as it was), `alarms` (rows with a finding, none spoilt there or beside).
    """
    these = list(given)
    by_intraday = [[n for n, c in enumerate(these) if (c.interval == "15m") == within] for within in (False, True)]
    frames = [_scored(these, numbers, judge) for numbers in by_intraday if numbers]
    about = pl.DataFrame(
        {
            "case": range(len(these)),
            "name": [c.name for c in these],
            "kind": [c.kind for c in these],
            "interval": [c.interval for c in these],
        }
    )
    return about.with_columns(pl.col("case").cast(pl.String)).join(pl.concat(frames), on="case", maintain_order="left")


def _scored(these: list[Case], numbers: list[int], judge: Diagnose) -> pl.DataFrame:
    bars, answer = (
        pl.concat(getattr(these[n], which).with_columns(symbol=pl.lit(str(n))) for n in numbers).sort(
            "symbol", "session"
        )
        for which in ("bars", "answer")
    )
    findings, repairs = judge(bars)
    touched = _touched(bars, answer)
    keys = ["symbol", "session"]
    told = findings.select(*keys, on_prices=on_prices()).group_by(keys).agg(
        told_prices=pl.col("on_prices").any(), told_payment=(~pl.col("on_prices")).any()
    )  # fmt: skip
    rows = touched.join(told, on=keys, how="left", maintain_order="left").with_columns(
        pl.col("told_prices", "told_payment").fill_null(value=False)
    )
    pairs = [str(n) for n in numbers if these[n].kind in ON_TWO_ROWS]
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
    return (
        rows.group_by(pl.col("symbol").alias("case"), maintain_order=True)
        .agg(
            rows=pl.len(),
            errors=error.sum(),
            found=hit.sum(),
            alarms=((pl.col("told_prices") | pl.col("told_payment")) & ~near).sum(),
        )
        .join(wrong, left_on="case", right_on="symbol", how="left")
        .join(touched_by_us, on="case", how="left")
        .with_columns(whole=pl.col("differ").fill_null(0) == 0, mended=pl.col("repaired").fill_null(0) > 0)
    )


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
    prices = pl.any_horizontal(differ(c, 1e-4) for c in PRICES) | differ("split", 1e-6)
    apart = (pl.col("step") - pl.col("step_answer")).abs() > 1e-5
    paid = (pl.col("dividend") > 0) | (pl.col("dividend_answer") > 0)
    payment = paid & (
        differ("dividend", 1e-4) | (apart.fill_null(value=False) & ~prices & ~prices.shift(fill_value=False))
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
        pl.col(f"{c}_answer").is_not_null() & differ(c, MENDED) for c in (*PRICES, "adj_close", "dividend", "split")
    ]
    wrong = pl.any_horizontal(*known, volume)
    return both.filter(wrong).group_by("symbol").agg(differ=pl.len())


def differ(column: str, tolerance: float) -> pl.Expr:
    """Whether a column is off by more than the tolerance from the one beside it that ends in `_answer`, or missing
    alone.
    """
    ours, theirs = pl.col(column), pl.col(f"{column}_answer")
    return ((ours - theirs).abs() > tolerance * theirs.abs()).fill_null(ours.is_null() != theirs.is_null())


def figures() -> list[pl.Expr]:
    """Of a frame of scores: `cases`, shares of the errors `found`, of the cases mended `whole` and mended but not right
    (`amiss`), and `alarms` per 10,000 clean rows.
    """
    return [
        pl.len().alias("cases"),
        (pl.col("found").sum() / pl.col("errors").sum()).alias("found"),
        pl.col("whole").mean().alias("whole"),
        (pl.col("mended") & ~pl.col("whole")).mean().alias("amiss"),
        (1e4 * pl.col("alarms").sum() / (pl.col("rows").sum() - pl.col("errors").sum())).alias("alarms"),
    ]


def by_kind(scores: pl.DataFrame) -> pl.DataFrame:
    """`figures` by kind of error."""
    return scores.group_by("kind").agg(figures()).sort("kind")


def at_published_rates(scores: pl.DataFrame) -> dict[str, float]:
    """`found`, `whole` and `amiss` over the kinds of error, each kind as often as in the published files (`PUBLISHED`);
    `alarms` over all rows that nobody touched.
    """
    kinds = by_kind(scores.filter(pl.col("kind") != "clean")).with_columns(
        weight=pl.col("kind").replace_strict(PUBLISHED, default=UNPUBLISHED, return_dtype=pl.Float64)
    )
    mean = {c: (pl.col(c) * pl.col("weight")).sum() / pl.col("weight").sum() for c in ("found", "whole", "amiss")}
    clean = scores.filter(pl.col("kind") == "clean").select(figures()[-1]).item() if "clean" in scores["kind"] else 0.0
    return {**kinds.select(**mean).row(0, named=True), "alarms": clean}


# ---------------------------------------------------------------------------------------------------- choosing


def left_out(these: list[Case]) -> tuple[pl.DataFrame, Thresholds]:
    """The scores of each case under thresholds chosen on the names of the other folds; and the thresholds chosen on all
    names.
    """
    fold = {name: k % FOLDS for k, name in enumerate(sorted({c.name for c in these}))}
    tried = {
        name: {value: scored(_asked(these, kinds), _with({name: value})) for value in values}
        for name, (values, kinds) in GRID.items()
    }
    settings = [{name: _best(name, scores, fold, out) for name, scores in tried.items()} for out in range(FOLDS)]
    parts = [scored([c for c in these if fold[c.name] == k], _with(chosen)) for k, chosen in enumerate(settings)]
    return pl.concat(parts), replace(
        CHOSEN, **{name: _best(name, scores, fold, None) for name, scores in tried.items()}
    )


def _asked(these: list[Case], kinds: tuple[str, ...]) -> list[Case]:
    return [c for c in these if c.kind == "clean" or c.kind.startswith(kinds)]


def _with(values: dict[str, float]) -> Diagnose:
    limits = replace(CHOSEN, **values)
    return lambda bars: diagnose(bars, limits)


def _best(name: str, scores: dict[float, pl.DataFrame], fold: dict[str, int], out: int | None) -> float:
    """The value that does best on the names of other folds than `out`: no more alarms than allowed, most found and
    mended, fewest mended wrongly (which counts twice). Where nothing is clearly better, the one that stands: few cases
    hang on any one threshold.
    """

    def worth(value: float) -> float:
        names = [n for n, k in fold.items() if k != out]
        got = at_published_rates(scores[value].filter(pl.col("name").is_in(names)))
        stands = CLEARLY if value == getattr(CHOSEN, name) else 0.0
        return got["found"] + got["whole"] - 2 * got["amiss"] - max(got["alarms"] - MOST_ALARMS, 0.0) + stands

    return max(scores, key=worth)


def main(shared: Path) -> None:
    """Print the figures by kind on names left out, at the rates of the published files, and the thresholds chosen."""
    names = dict(itertools.islice(paths(shared).items(), 0, None, ONE_NAME_IN))
    scores, chosen = left_out(list(cases(names, seed=SEED, kinds=KINDS_A_NAME)))
    with pl.Config(
        tbl_rows=40,
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        float_precision=3,
    ):
        print(by_kind(scores))
        print(scores.group_by("interval").agg(figures()))
    rates = at_published_rates(scores)
    print(
        f"at the rates of the published files: {rates['found']:.1%} found, {rates['whole']:.1%} mended "
        f"whole, {rates['amiss']:.1%} mended wrongly; {rates['alarms']:.2f} alarms in 10,000 rows of clean "
        f"series"
    )
    print(f"chosen on all names: {chosen}")
