"""The laws that let technical indicators be evaluated block by block, and what a bad row may do: be missing itself, no
more.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_assets.features.technical import BAR, COLUMNS, FEATURES, FLOW, GAP, LOOKBACK, PRICE, REACH, kernel

NAMES = tuple(FEATURES)
OSCILLATORS = {
    "rsi_7",
    "rsi_14",
    "rsi_28",
    "stochrsi_k",
    "stochrsi_d",
    "cmo_14",
    "efficiency_10",
    "bollinger_b",
    "adx_14",
    "plus_di_14",
    "minus_di_14",
    "stoch_k",
    "stoch_d",
    "williams_r",
    "cci_20",
    "ultimate",
    "keltner",
    "donchian_20",
    "donchian_55",
    "donchian_250",
    "sar",
    "mfi_14",
}
"""0 / 0 where nothing moved."""


def series(number: int, rows: int, seed: int, price: float = 30.0) -> pl.DataFrame:
    """A random walk in cents with jumps, days on which nothing moves, and days without volume."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.02, rows) * (rng.random(rows) < 0.9) + (rng.random(rows) < 0.01) * rng.normal(0, 0.3, rows)
    still = (np.arange(rows) // 60) % 4 == 3  # every fourth stretch of sixty stands still for half of it
    still &= np.arange(rows) % 60 < 30
    close = np.maximum(np.round(np.exp(np.cumsum(np.where(still, 0, moves))) * price, 2), 0.01)
    up, down = np.round(close * rng.random((2, rows)) * 0.02, 2) * ~still
    volume = rng.integers(0, 9000, rows) * (rng.random(rows) < 0.9)
    bars = {"high": close + up, "low": np.maximum(close - down, 0.01), "close": close, "volume": volume.astype(float)}
    return pl.DataFrame(
        {
            "series": pl.Series([number] * rows, dtype=pl.UInt32),
            "i": pl.Series(range(rows), dtype=pl.Int32),
            "sid": [number + 1] * rows,
            "present": [True] * rows,
            **bars,
            "selected": [True] * rows,
        }
    )


def halted(panel: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """The panel with these rows as halts."""
    return panel.with_columns(
        ~rows.alias("present"), ~rows.alias("selected"), *[pl.when(~rows).then(c).alias(c) for c in COLUMNS]
    )


def market() -> pl.DataFrame:
    """Whole names, a penny stock, a dear one, names with halts here and there, long ones, and one that trades every
    other day.
    """
    rng = np.random.default_rng(11)
    rows = 1100
    names = [
        series(n, rows, seed=n, price=price) for n, price in enumerate((30.0, 0.4, 250_000.0, 20.0, 20.0, 20.0, 20.0))
    ]
    missing = [np.zeros(rows, bool)] * 3
    missing += [
        rng.random(rows) < 0.015,
        (np.arange(rows) % 300 > 300 - GAP - 2),
        np.isin(np.arange(rows) // 50, (4, 5, 6, 13, 17)),
        rng.random(rows) < 0.5,
    ]
    return pl.concat([halted(name, pl.Series(gone)) for name, gone in zip(names, missing, strict=True)])


def bits(frame: pl.DataFrame) -> bytes:
    """Every bit of the features, nulls told apart."""
    return frame.select(NAMES).fill_null(-12345.678).to_numpy().tobytes()


@pytest.fixture(scope="module")
def whole() -> pl.DataFrame:
    """The market with its features."""
    return kernel(market())


def test_prices_in_another_unit_change_no_bit(whole: pl.DataFrame) -> None:
    """Homogeneity: prices twice as high, or of the order of TA-Lib's absolute tolerance, with the volume as it was;
    flat stretches and pennies included.
    """
    for factor in (2.0, 2.0**-50):
        assert bits(kernel(market().with_columns(pl.col("high", "low", "close") * factor))) == bits(whole)


@pytest.mark.parametrize("end", [1, 2, 30, 251, 700, 1099])
def test_what_follows_changes_no_bit(whole: pl.DataFrame, end: int) -> None:
    """Prefix-causality, of all series at once."""
    assert bits(kernel(market().filter(pl.col("i") < end))) == bits(whole.filter(pl.col("i") < end))


def test_other_names_and_other_selections_change_no_bit(whole: pl.DataFrame) -> None:
    """One name alone, and one day selected, give the bits of the whole; what is not selected is null."""
    for number in range(7):
        assert bits(kernel(market().filter(pl.col("series") == number))) == bits(
            whole.filter(pl.col("series") == number)
        )
    some = pl.col("i").is_in([400, 401, 900]) & pl.col("present")
    few = kernel(market().with_columns(selected=some))
    assert bits(few.filter(some)) == bits(whole.filter(some))
    assert few.filter(~some).select(NAMES).null_count().row(0) == (few.height - few.filter(some).height,) * len(NAMES)


def close_to(short: pl.DataFrame, long: pl.DataFrame) -> None:
    """The same nulls; values within 1e-6 of the feature's spread."""
    assert short.height == long.height > 0
    for name in NAMES:
        a, b = short[name], long[name]
        assert a.is_null().equals(b.is_null()), name
        difference, spread = (a - b).abs().max(), b.std()
        assert difference is None or difference <= 1e-6 * float(spread or 1), (name, difference, spread)


def from_anchor(panel: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """The panel of a block: from its anchor, each series from its first bar on."""
    cut = panel.filter(pl.col("i").is_between(first - LOOKBACK, last))
    return cut.filter(pl.col("i") >= pl.col("i").filter("present").min().over("series"))


@pytest.mark.parametrize("first", [LOOKBACK, 583, 790, 1037])
def test_the_lookback_is_enough(whole: pl.DataFrame, first: int) -> None:
    """A panel from `LOOKBACK` rows before says what the whole history says, through halts and long absences: the same
    nulls and values.
    """
    block = pl.col("i").is_between(first, first + 62)
    close_to(kernel(from_anchor(market(), first, first + 62)).filter(block), whole.filter(block))


@pytest.fixture(scope="module")
def stocknet(shared_data: Path) -> pl.DataFrame:
    """Twenty real names over 1,258 sessions, bad rows as they are."""
    files = sorted((shared_data / "stocknet").glob("*.csv.gz"))[::4]
    bars = pl.concat(
        [
            pl.read_csv(f, null_values="null").select(
                sid=pl.lit(n),
                session="Date",
                high="High",
                low="Low",
                close="Close",
                volume=pl.col("Volume").cast(pl.Float64),
            )
            for n, f in enumerate(files)
        ]
    )
    days = bars.select("session").unique().sort("session").with_row_index("i").with_columns(pl.col("i").cast(pl.Int32))
    located = (
        bars.join(days, on="session")
        .sort("sid", "i")
        .with_columns(series=pl.col("sid").rle_id(), present=pl.lit(value=True), selected=pl.lit(value=True))
    )
    return located.select("series", "i", "sid", "present", *COLUMNS, "selected")


@pytest.mark.parametrize("first", [560, 900, 1190])
def test_the_lookback_is_enough_for_real_names(stocknet: pl.DataFrame, first: int) -> None:
    """As above, on real prices."""
    block = pl.col("i").is_between(first, first + 62)
    close_to(kernel(from_anchor(stocknet, first, first + 62)).filter(block), kernel(stocknet).filter(block))


def test_what_lies_further_back_than_declared_weighs_nothing() -> None:
    """For each feature: all prices before its rows half as high again, and volumes thrice, move its value by less than
    1e-6 of its spread.
    """
    panel = pl.concat([series(n, 700, seed=50 + n).with_columns(volume=pl.col("volume") + 1) for n in range(6)])
    history = kernel(panel)
    for rows in sorted({f.rows for f in FEATURES.values()}):
        before = pl.col("i") <= 699 - rows
        other = kernel(
            panel.with_columns(
                *[pl.when(before).then(pl.col(c) * 1.5).otherwise(c).alias(c) for c in ("high", "low", "close")],
                volume=pl.when(before).then(pl.col("volume") * 3).otherwise("volume"),
            )
        )
        for name in (n for n in NAMES if FEATURES[n].rows == rows):
            moved = (other.filter(pl.col("i") == 699)[name] - history.filter(pl.col("i") == 699)[name]).abs().max()
            assert moved <= 1e-6 * history[name].std(), (name, rows, moved)


BAD: dict[str, tuple[str, float | None]] = {
    "a close is missing": ("close", None),
    "a high is NaN": ("high", float("nan")),
    "a low is infinite": ("low", float("inf")),
    "a close is zero": ("close", 0.0),
    "a low is negative": ("low", -3.0),
    "a volume is missing": ("volume", None),
    "a volume is negative": ("volume", -1.0),
    "a volume is NaN": ("volume", float("nan")),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("row", [0, 1, 120, 399])
def test_a_bad_value_takes_its_own_row_and_no_other(bad: str, row: int) -> None:
    """Indicators that read it are null in its row and elsewhere as if the row did not exist; those that do not read it
    keep every bit.
    """
    column, value = BAD[bad]
    panel = series(0, 400, seed=8)
    hurt = kernel(
        panel.with_columns(pl.when(pl.col("i") == row).then(pl.lit(value, pl.Float64)).otherwise(column).alias(column))
    )
    without, unhurt = kernel(panel.filter(pl.col("i") != row)), kernel(panel)
    for group in (PRICE, BAR, FLOW):
        names = list(group.features)
        if column in group.columns:
            assert hurt.filter(pl.col("i") == row).select(names).null_count().row(0) == (1,) * len(names)
            assert hurt.filter(pl.col("i") != row).select(names).equals(without.select(names))
        else:
            assert hurt.select(names).equals(unhurt.select(names))


@pytest.mark.parametrize("length", [1, 5, GAP])
def test_a_halt_is_stepped_over(length: int) -> None:
    """Up to `GAP` sessions: null in them, and afterwards as if they had not been."""
    panel, gone = series(0, 400, seed=8), pl.int_range(length, eager=True) + 200
    ours, without = (
        kernel(halted(panel, panel["i"].is_in(gone.implode()))),
        kernel(panel.filter(~pl.col("i").is_in(gone.implode())).with_columns(i=pl.int_range(pl.len(), dtype=pl.Int32))),
    )
    assert bits(ours.filter("present")) == bits(without)
    assert ours.filter(~pl.col("present")).select(NAMES).null_count().row(0) == (length,) * len(NAMES)


def test_after_a_longer_absence_a_series_begins_anew() -> None:
    """`GAP` + 1 sessions: what follows is what it would be for a name listed then."""
    panel = series(0, 400, seed=8)
    ours = kernel(halted(panel, panel["i"].is_between(200, 200 + GAP)))
    assert bits(ours.filter(pl.col("i") > 200 + GAP)) == bits(kernel(panel.filter(pl.col("i") > 200 + GAP)))


def test_a_thin_name_says_less_not_otherwise(whole: pl.DataFrame) -> None:
    """Of a name that trades every other day, what needs more rows than lie within reach is null; the short means are
    there.
    """
    thin = whole.filter((pl.col("series") == 6) & (pl.col("i") > REACH + 50) & pl.col("present"))
    for name in ("rsi_28", "ema_50", "adx_14"):
        assert thin[name].null_count() == thin.height
    for name in ("sma_5", "sma_50", "roc_60"):
        assert thin[name].null_count() == 0


def flat_after(moving: int) -> pl.DataFrame:
    """A series that moves for some rows and then stands still, traded all the while."""
    panel = series(0, moving + 150, seed=2).with_columns(volume=pl.lit(100.0))
    last = panel["close"][max(moving - 1, 0)]
    return panel.with_columns(
        pl.when(pl.col("i") < moving).then(c).otherwise(last).alias(c) for c in ("high", "low", "close")
    )


@pytest.mark.parametrize("moving", [0, 1, 5, 300])
def test_where_nothing_moves_oscillators_are_silent(moving: int) -> None:
    """They are 0 / 0: null once their window stands still, from the first row on where it never moved; means and bands
    go to 0.
    """
    ours = kernel(flat_after(moving)).tail(20)
    for name in OSCILLATORS - {"donchian_250"}:
        assert ours[name].null_count() == 20, name
    for name in (
        "sma_20",
        "ema_10",
        "roc_20",
        "macd",
        "true_range",
        "bollinger_width",
        "volatility_20",
        "obv_20",
        "force_13",
    ):
        assert ours[name].null_count() == 0, name
        assert ours[name].abs().max() < 1e-4, name


def test_a_name_that_never_moved_is_not_sold_out() -> None:
    """No oscillator has a value in any row of a price that never moved; TA-Lib would say 0."""
    ours = kernel(flat_after(0))
    assert all(ours[name].null_count() == ours.height for name in OSCILLATORS)


def test_a_mean_of_oscillators_waits_for_all_of_them() -> None:
    """When a price moves again, the stochastics speak once each position that they average is one."""
    ours = kernel(series(0, 700, seed=4))
    undefined = ours["williams_r"].is_null().cast(pl.Int8).rolling_max(5) == 1
    assert undefined.slice(20).sum() > 50
    for name in ("stoch_k", "stoch_d"):
        assert (ours[name].is_null() == undefined).slice(20).all()


def test_without_volume_there_is_no_flow() -> None:
    """Bars without any volume over a window: the indicators of volume are null, whatever sums of fractions leave
    behind.
    """
    volume = pl.Series(np.random.default_rng(3).random(300) * 1e6)
    ours = kernel(
        series(0, 300, seed=4).with_columns(volume=pl.when(pl.col("i") < 250).then(volume).otherwise(0.0))
    ).tail(20)
    assert ours.select(list(FLOW.features)).null_count().row(0) == (20,) * len(FLOW.features)


@pytest.mark.parametrize(
    "change",
    [lambda p: p.clear(), lambda p: halted(p, p["i"] >= 0), lambda p: p.head(1)],
    ids=["no rows", "no bars", "one bar"],
)
def test_panels_with_nothing_in_them(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """The same rows with columns of nulls."""
    panel = change(series(0, 5, seed=1))
    ours = kernel(panel)
    assert ours.columns == [*panel.columns, *NAMES]
    assert ours.schema["rsi_14"] == pl.Float64
    assert ours.select(NAMES).null_count().row(0) == (panel.height,) * len(NAMES) if panel.height else ours.is_empty()
