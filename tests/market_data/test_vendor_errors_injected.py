"""Vendors' price errors put into clean bars: told under their rule, and the clean bars come back."""

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bench.vendor_errors import mended
from quant_assets.errors import ContractViolation
from quant_assets.market_data.vendor_errors import FINDINGS, diagnose

NAMES, SESSIONS = 30, 250
PRICES = ("open", "high", "low", "close")
SERIES = (*PRICES, "adj_close")
PAYS = (40, 103, 166, 229)  # sessions on which every third name pays


def rules(findings: pl.DataFrame) -> dict[str, int]:
    return dict(findings["rule"].value_counts().iter_rows())


def clean(seed: int = 3, pays: Sequence[int] = PAYS) -> pl.DataFrame:
    """Random walks of 1 to 3 % a day.

    Every third name pays 0.4 to 1.2 % quarterly, fully reflected in price and adjusted close; every fifth declares a
    2:1 split that is in its prices.
    """
    draw = np.random.default_rng(seed)
    shape = (NAMES, SESSIONS)
    paid = np.zeros(shape)
    paid[::3, pays] = draw.uniform(0.004, 0.012, (NAMES // 3, len(pays)))
    total = 40 * np.exp(np.cumsum(draw.normal(0, draw.uniform(0.01, 0.03, (NAMES, 1)), shape), axis=1))
    close = total * np.cumprod(1 - paid, axis=1)
    later = np.cumprod((1 - paid)[:, ::-1], axis=1)[:, ::-1] / (1 - paid)
    opened = close * np.exp(draw.normal(0, 0.004, shape))
    split = np.zeros(shape)
    split[::5, 120] = 2.0
    sessions = pl.date_range(date(2024, 1, 1), date(2025, 12, 31), eager=True)
    days = sessions.filter(sessions.dt.weekday() < 6).head(SESSIONS)
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.004,
        "low": np.minimum(opened, close) * 0.996,
        "close": close,
        "adj_close": close * later,
        "volume": draw.integers(100_000, 400_000, shape),
        "dividend": paid * np.concatenate([close[:, :1], close[:, :-1]], axis=1),
        "split": split,
    }
    keys = {"symbol": np.repeat([f"N{i:02d}" for i in range(NAMES)], SESSIONS), "session": pl.concat([days] * NAMES)}
    return pl.DataFrame({**keys, **{name: values.ravel() for name, values in columns.items()}})


WHO, PAYER = pl.col("symbol") == pl.lit("N04"), pl.col("symbol") == pl.lit("N06")
AT = pl.int_range(pl.len()).over("symbol")
Spoil = Callable[[pl.DataFrame], pl.DataFrame]


def scaled(where: pl.Expr, factor: float, *columns: str) -> Spoil:
    """The columns times the factor where the expression holds."""
    return lambda bars: bars.with_columns(
        pl.when(where).then(pl.col(c) * factor).otherwise(pl.col(c)).alias(c) for c in columns
    )


def stepped(amount: float, taken: float, *, when: int = PAYS[1]) -> Spoil:
    """One payment declared `amount` times, and taken `taken` times in the adjusted close, of what it was."""

    def spoil(bars: pl.DataFrame) -> pl.DataFrame:
        this = PAYER & AT.eq(when)
        y = bars.filter(this)["dividend"].item() / bars.filter(PAYER & AT.eq(when - 1))["close"].item()
        return scaled(this, amount, "dividend")(
            scaled(PAYER & AT.lt(when), (1 - taken * y) / (1 - y), "adj_close")(bars)
        )

    return spoil


def split_once(bars: pl.DataFrame, ratio: float, applied: float) -> pl.DataFrame:
    """A split declared at row 150 of which prices before 148 are off by `applied`, volumes the other way."""
    before, there = WHO & AT.lt(148), WHO & AT.eq(150)
    bars = scaled(before, applied, *SERIES)(bars.with_columns(split=pl.when(there).then(ratio).otherwise("split")))
    return bars.with_columns(
        volume=pl.when(before).then((pl.col("volume") / applied).round().cast(pl.Int64)).otherwise("volume")
    )


def repeated(bars: pl.DataFrame) -> pl.DataFrame:
    """A payment that is declared and taken again five sessions later, when the price did not fall."""
    rows = bars.filter(PAYER)
    amount, after = rows["dividend"][PAYS[2]], PAYS[2] + 5
    y = amount / rows["close"][after - 1]
    bars = bars.with_columns(dividend=pl.when(PAYER & AT.eq(after)).then(amount).otherwise("dividend"))
    return scaled(PAYER & AT.lt(after), 1 - y, "adj_close")(bars)


CASES: dict[str, tuple[Spoil, dict[str, int]]] = {
    "one row in the other unit": (scaled(WHO & AT.eq(77), 100.0, *SERIES), {"UNIT_100X": 1}),
    "the last row in the other unit": (scaled(WHO & AT.eq(SESSIONS - 1), 0.01, *SERIES), {"UNIT_100X": 1}),
    "all history in the other unit": (scaled(WHO & AT.lt(200), 100.0, *SERIES), {"UNIT_100X": 200}),
    "a slipped point": (scaled(WHO & AT.eq(77), 0.1, *SERIES), {"UNIT_100X": 1}),
    "one cell in the other unit": (scaled(WHO & AT.eq(77), 100.0, "high"), {"UNIT_100X": 1}),
    "close and adjusted close in the other unit": (
        scaled(WHO & AT.eq(77), 0.01, "close", "adj_close"),
        {"UNIT_100X": 1},
    ),
    "2:1 missed": (lambda bars: split_once(bars, 2.0, 2.0), {"SPLIT_MISSED": 148}),
    "1:10 missed": (lambda bars: split_once(bars, 0.1, 0.1), {"SPLIT_MISSED": 148}),
    "3:1 counted twice": (lambda bars: split_once(bars, 3.0, 1 / 3), {"SPLIT_DOUBLED": 148}),
    "amount a hundredfold": (stepped(100.0, 1.0), {"DIVIDEND_WRONG": 1}),
    "amount a hundredth": (stepped(0.01, 1.0), {"DIVIDEND_WRONG": 1}),
    "amount and step a hundredfold": (stepped(100.0, 100.0), {"DIVIDEND_WRONG": 1}),
    "not taken": (stepped(1.0, 0.0), {"DIVIDEND_MISSING_ADJUSTMENT": 1}),
    "a tenth taken": (stepped(1.0, 0.1), {"DIVIDEND_WRONG_ADJUSTMENT": 1}),
    "not declared": (stepped(0.0, 1.0), {"DIVIDEND_MISSING": 1}),
    "paid twice": (repeated, {"DIVIDEND_PHANTOM": 1}),
}


def test_clean_bars_have_no_finding() -> None:
    """Random walks with splits and dividends that are in their prices, paid by the quarter or by the week, yield
    nothing, nor do no rows, whichever way the vendor writes none.
    """
    bars = clean()
    for findings, repairs in (diagnose(bars), diagnose(bars.clear()), diagnose(clean(pays=range(10, 240, 5)))):
        assert findings.is_empty()
        assert tuple(findings.columns) == FINDINGS
        assert repairs.equals(bars.clear())
    assert diagnose(
        bars.with_columns(
            split=pl.when(pl.col("split") == 0).then(None).otherwise("split"), volume=pl.col("volume").cast(pl.Float64)
        )
    )[0].is_empty()


@pytest.mark.parametrize("case", CASES)
def test_what_was_spoilt_comes_back(case: str) -> None:
    """An error put into clean bars is told under its rule, for its rows only, and the repairs give the clean bars
    again.
    """
    spoil, told = CASES[case]
    spoilt = spoil(bars := clean())
    findings, repairs = diagnose(spoilt)
    assert rules(findings) == told
    assert findings["message"].null_count() == 0
    assert findings["confidence"].is_between(0.5, 1.0).all()
    assert repairs.columns == spoilt.columns
    assert repairs["symbol"].n_unique() == 1
    repaired = mended(spoilt, repairs)
    assert_frame_equal(repaired.drop("split", "volume"), bars.drop("split", "volume"), rel_tol=1e-9)
    # a maximum of integers
    assert (repaired["volume"] - bars["volume"]).abs().max() <= 1  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
    assert diagnose(repaired)[0].is_empty()


def distributing(kept: float = 0.88) -> tuple[pl.DataFrame, float, float]:
    """Clean bars in which a name keeps `kept` of its price after one payment; that payment, and the price before it."""
    bars, from_then = clean(), PAYER & AT.ge(PAYS[1])
    rows = bars.filter(PAYER)
    before = float(rows["close"][PAYS[1] - 1])
    amount = before * (1 - (1 - float(rows["dividend"][PAYS[1]]) / before) * kept)
    bars = scaled(PAYER, kept, "adj_close")(scaled(from_then, kept, *PRICES, "dividend")(bars))
    return (
        bars.with_columns(dividend=pl.when(PAYER & AT.eq(PAYS[1])).then(amount).otherwise("dividend")),
        amount,
        before,
    )


def test_capital_gains_are_in_the_dividend_once() -> None:
    """A step of dividend plus gains is put right where the price fell by the dividend, in which they are, and left
    alone where it fell by both.
    """
    bars, amount, before = distributing()
    here, gains = PAYER & AT.eq(PAYS[1]), 0.6 * amount
    once = bars.with_columns(capital_gains=pl.when(here).then(gains).otherwise(0.0))
    assert diagnose(once)[0].is_empty()
    twice = scaled(PAYER & AT.lt(PAYS[1]), (before - amount - gains) / (before - amount), "adj_close")(once)
    findings, repairs = diagnose(twice)
    assert rules(findings) == {"CAPITAL_GAIN_DOUBLE": 1}
    assert_frame_equal(mended(twice, repairs), once, rel_tol=1e-9)
    apart = scaled(here, 0.6, "dividend")(bars).with_columns(
        capital_gains=pl.when(here).then(0.4 * amount).otherwise(0.0)
    )
    assert diagnose(apart)[0].is_empty()


def test_a_quote_that_nobody_touched_says_nothing() -> None:
    """Of a payment of a fourteenth, of which the adjusted close took a hundredth, the amount is right although the
    price stood: nobody traded for three sessions.
    """
    bars, amount, before = distributing(0.93)
    asleep, held = PAYER & AT.is_between(PAYS[1], PAYS[1] + 2), bars["adj_close"] / bars["close"]
    bars = bars.with_columns(
        *(pl.when(asleep).then(before).otherwise(c).alias(c) for c in PRICES),
        volume=pl.when(asleep).then(0).otherwise("volume"),
    )
    bars = bars.with_columns(adj_close=pl.col("close") * held)
    findings = diagnose(scaled(PAYER & AT.lt(PAYS[1]), (before - amount / 100) / (before - amount), "adj_close")(bars))[
        0
    ]
    assert rules(findings) == {"DIVIDEND_WRONG_ADJUSTMENT": 1}


@pytest.mark.parametrize(("row", "kept"), [(117, 0.64), (60, 0.5)])
def test_a_bad_day_is_no_split(row: int, kept: float) -> None:
    """A fall by a third just before a declared 2:1 split, and one by a half long before it, are falls."""
    bars = scaled(pl.col("symbol").eq(pl.lit("N05")) & AT.ge(row), kept, *SERIES)(clean())
    assert diagnose(bars)[0].is_empty()


def consolidated(bars: pl.DataFrame) -> pl.DataFrame:
    """1:100 at row 200, which nobody declares: a hundredfold price, a hundredth of the volume."""
    before = WHO & AT.lt(200)
    return scaled(before, 0.01, *SERIES)(bars).with_columns(
        volume=pl.when(before).then(pl.col("volume") * 100).otherwise("volume")
    )


def not_yet_traded(bars: pl.DataFrame) -> pl.DataFrame:
    """Three rows at a hundredth and without volume, before anybody trades."""
    first = WHO & AT.lt(3)
    return scaled(first, 0.01, *SERIES)(bars).with_columns(volume=pl.when(first).then(0).otherwise("volume"))


@pytest.mark.parametrize(
    "spoil",
    [consolidated, scaled(WHO & AT.ge(77), 0.1, *SERIES), not_yet_traded],
    ids=["consolidation", "collapse", "placeholders before the first trade"],
)
def test_what_may_be_no_unit_is_told_and_left(spoil: Spoil) -> None:
    """A level that may be shares, a collapse or a placeholder is told as a break, and not repaired."""
    findings, repairs = diagnose(spoil(clean()))
    assert findings.select("symbol", "rule", "repaired").rows() == [("N04", "PRICE_BREAK", False)]
    assert repairs.is_empty()


def test_an_unexplained_step_is_told_and_left() -> None:
    """A step in the adjusted close without a payment, on a day on which the price rose, is told and not repaired."""
    rows = clean().filter(WHO)
    risen = int((rows["close"] / rows["close"].shift() - 1).fill_null(0.0).arg_max() or 0)
    findings, repairs = diagnose(scaled(WHO & AT.lt(risen), 0.85, "adj_close")(clean()))
    assert findings.select("symbol", "session", "rule", "repaired").rows() == [
        ("N04", rows["session"][risen], "ADJUSTMENT_UNEXPLAINED", False)
    ]
    assert repairs.is_empty()


def test_what_cannot_be_judged_is_refused() -> None:
    """A missing column and a repeated row are errors that name them."""
    with pytest.raises(ContractViolation, match="lack dividend, split"):
        diagnose(clean().drop("dividend", "split"))
    with pytest.raises(ContractViolation, match=r"1 rows .* repeat"):
        diagnose(pl.concat([clean(), clean().head(1)]))
