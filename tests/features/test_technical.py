"""Every indicator against its published formula, written out in NumPy."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from quant_assets.features.technical import FEATURES, REACH, TECHNICAL, kernel

Line = np.ndarray


def shift(x: Line, n: int) -> Line:
    """The value of n rows ago."""
    return np.r_[np.full(n, np.nan), x[:-n]]


def windows(x: Line, n: int) -> Line:
    """The last n values at each row, oldest first; NaN before there are n."""
    return sliding_window_view(np.r_[np.full(n - 1, np.nan), x], n)


def mean(x: Line, n: int) -> Line:
    return windows(x, n).mean(axis=1)


def total(x: Line, n: int) -> Line:
    return windows(x, n).sum(axis=1)


def exponential(x: Line, n: int, alpha: float | None = None) -> Line:
    """Starts from the mean of the first n values that are there."""
    a = 2 / (n + 1) if alpha is None else alpha
    out, start = np.full(len(x), np.nan), int(np.isnan(x).sum())
    if start + n > len(x):
        return out
    out[start + n - 1] = x[start : start + n].mean()
    for t in range(start + n, len(x)):
        out[t] = out[t - 1] + a * (x[t] - out[t - 1])
    return out


def smoothed(x: Line, n: int) -> Line:
    """Wilder's average."""
    return exponential(x, n, 1 / n)


def position(x: Line, low: Line, high: Line) -> Line:
    return (x - low) / (high - low)


def rsi(c: Line, n: int) -> Line:
    change = c - shift(c, 1)
    gain, loss = (
        smoothed(np.where(np.isnan(change), np.nan, np.maximum(change, 0)), n),
        smoothed(np.where(np.isnan(change), np.nan, np.maximum(-change, 0)), n),
    )
    return 100 - 100 / (1 + gain / loss)


def true_range(h: Line, low: Line, c: Line) -> Line:
    before = shift(c, 1)
    return np.maximum(h - low, np.maximum(abs(h - before), abs(low - before)))


def sar(h: Line, low: Line) -> Line:
    """Wilder 1978, section III: the stop follows the extreme of the trade, faster with each new extreme, never into the
    last two bars.
    """
    out = np.full(len(h), np.nan)
    rises = not (low[0] - low[1] > 0 and low[0] - low[1] > h[1] - h[0])
    extreme, stop, speed = (h[1], low[0], 0.02) if rises else (low[1], h[0], 0.02)
    for t in range(1, len(h)):
        if (low[t] <= stop) if rises else (h[t] >= stop):
            stop = max(extreme, h[t - 1], h[t]) if rises else min(extreme, low[t - 1], low[t])
            out[t] = stop
            rises, speed = not rises, 0.02
            extreme = h[t] if rises else low[t]
        else:
            out[t] = stop
            if (h[t] > extreme) if rises else (low[t] < extreme):
                extreme, speed = (h[t] if rises else low[t]), min(0.2, speed + 0.02)
        stop += speed * (extreme - stop)
        stop = min(stop, low[t - 1], low[t]) if rises else max(stop, h[t - 1], h[t])
    return out


def of_close(c: Line) -> dict[str, Line]:
    """The indicators of the close alone."""
    change = c - shift(c, 1)
    e20, e20_2 = exponential(c, 20), exponential(exponential(c, 20), 20)
    tillson = [c]
    for _ in range(6):
        tillson.append(exponential(tillson[-1], 5))
    b = 0.7
    t3 = (
        -(b**3) * tillson[6]
        + 3 * (b**2 + b**3) * tillson[5]
        - 3 * (2 * b**2 + b + b**3) * tillson[4]
        + (1 + 3 * b + b**3 + 3 * b**2) * tillson[3]
    )
    macd = exponential(c, 12) - exponential(c, 26)
    triple = exponential(exponential(exponential(c, 15), 15), 15)
    x = np.arange(20) - 9.5
    strength = rsi(c, 14)
    lowest, highest = windows(strength, 14).min(axis=1), windows(strength, 14).max(axis=1)
    fast = 100 * position(strength, lowest, highest)
    ups, downs = total(np.maximum(change, 0), 14), total(np.maximum(-change, 0), 14)
    deviation = windows(c, 20).std(axis=1)
    returns = np.log(c) - np.log(shift(c, 1))
    return {
        **{f"sma_{n}": mean(c, n) / c - 1 for n in (5, 20, 50, 200)},
        **{f"ema_{n}": exponential(c, n) / c - 1 for n in (10, 20, 50)},
        "dema_20": (2 * e20 - e20_2) / c - 1,
        "tema_20": (3 * e20 - 3 * e20_2 + exponential(e20_2, 20)) / c - 1,
        "t3_5": t3 / c - 1,
        "macd": macd / c,
        "macd_signal": exponential(macd, 9) / c,
        "macd_histogram": (macd - exponential(macd, 9)) / c,
        "ppo": 100 * macd / exponential(c, 26),
        "trix_15": 100 * (triple / shift(triple, 1) - 1),
        "slope_20": (windows(c, 20) * x).sum(axis=1) / (x**2).sum() / c,
        **{f"rsi_{n}": rsi(c, n) for n in (7, 14, 28)},
        "stochrsi_k": fast,
        "stochrsi_d": mean(fast, 3),
        "cmo_14": 100 * (ups - downs) / (ups + downs),
        "efficiency_10": abs(c - shift(c, 10)) / total(abs(change), 10),
        **{f"roc_{n}": 100 * (c / shift(c, n) - 1) for n in (5, 10, 20, 60)},
        "bollinger_b": position(c, mean(c, 20) - 2 * deviation, mean(c, 20) + 2 * deviation),
        "bollinger_width": 4 * deviation / mean(c, 20),
        **{f"volatility_{n}": windows(returns, n).std(axis=1) for n in (20, 60)},
    }


def of_bars(h: Line, low: Line, c: Line) -> dict[str, Line]:
    """The indicators of high, low and close."""
    reach = true_range(h, low, c)
    up, down = h - shift(h, 1), shift(low, 1) - low
    plus = smoothed(np.where(np.isnan(up), np.nan, np.where((up > down) & (up > 0), up, 0.0)), 14)
    minus = smoothed(np.where(np.isnan(up), np.nan, np.where((down > up) & (down > 0), down, 0.0)), 14)
    average = smoothed(reach, 14)
    plus_di, minus_di = 100 * plus / average, 100 * minus / average
    typical = (h + low + c) / 3
    highest, lowest = (
        {n: windows(h, n).max(axis=1) for n in (9, 14, 20, 26, 52, 55, 250)},
        {n: windows(low, n).min(axis=1) for n in (9, 14, 20, 26, 52, 55, 250)},
    )
    k = mean(100 * position(c, lowest[14], highest[14]), 3)
    bought = c - np.minimum(low, shift(c, 1))
    middle, width = exponential(typical, 20), 2 * smoothed(reach, 10)
    since_high, since_low = (np.argmax(w[:, ::-1], axis=1) for w in (windows(h, 26), -windows(low, 26)))
    warm = np.where(np.arange(len(c)) < 25, np.nan, 0.0)
    return {
        "adx_14": smoothed(100 * abs(plus_di - minus_di) / (plus_di + minus_di), 14),
        "plus_di_14": plus_di,
        "minus_di_14": minus_di,
        "aroon_up_25": 100 - 4 * since_high + warm,
        "aroon_down_25": 100 - 4 * since_low + warm,
        **{f"ichimoku_{n}": (highest[n] + lowest[n]) / 2 / c - 1 for n in (9, 26, 52)},
        "stoch_k": k,
        "stoch_d": mean(k, 3),
        "williams_r": 100 * position(c, lowest[14], highest[14]) - 100,
        "cci_20": (typical - mean(typical, 20))
        / (0.015 * abs(windows(typical, 20) - mean(typical, 20)[:, None]).mean(axis=1)),
        "ultimate": 100
        * (
            4 * total(bought, 7) / total(reach, 7)
            + 2 * total(bought, 14) / total(reach, 14)
            + total(bought, 28) / total(reach, 28)
        )
        / 7,
        "natr_14": 100 * average / c,
        "true_range": reach / c,
        "keltner": position(c, middle - width, middle + width),
        **{f"donchian_{n}": position(c, lowest[n], highest[n]) for n in (20, 55, 250)},
        "sar": sar(h, low) / c - 1,
    }


def of_flow(h: Line, low: Line, c: Line, v: Line) -> dict[str, Line]:
    """The indicators of bars and volume."""
    typical, change = (h + low + c) / 3, c - shift(c, 1)
    step = typical - shift(typical, 1)
    money = (
        typical * v * np.where(abs(step) < 1e-12 * typical, 0, np.sign(step))
    )  # three prices that add up to the same are the same price
    gained, lost = total(np.maximum(money, 0), 14), total(np.maximum(-money, 0), 14)
    accumulated = np.where(h > low, (2 * c - low - h) / np.where(h > low, h - low, 1), 0) * v
    line = np.cumsum(accumulated)
    fast, slow = line.copy(), line.copy()
    for t in range(1, len(c)):
        fast[t], slow[t] = fast[t - 1] + (line[t] - fast[t - 1]) / 2, slow[t - 1] + (line[t] - slow[t - 1]) * 2 / 11
    return {
        "mfi_14": 100 * gained / (gained + lost),
        "obv_20": total(np.sign(change) * v, 20) / total(v, 20),
        "money_flow_20": total(accumulated, 20) / total(v, 20),
        "chaikin": (fast - slow) / mean(v, 20),
        "force_13": exponential(change * v, 13) / mean(v, 13) / c,
        "vwma_20": total(c * v, 20) / total(v, 20) / c - 1,
        "pvo": 100 * (exponential(v, 12) / exponential(v, 26) - 1),
    }


def formulas(h: Line, low: Line, c: Line, v: Line) -> dict[str, Line]:
    """All of them; NaN in warm-up."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {**of_close(c), **of_bars(h, low, c), **of_flow(h, low, c, v)}


def panel(h: Line, low: Line, c: Line, v: Line) -> pl.DataFrame:
    """One series without halts."""
    columns = {"high": h, "low": low, "close": c, "volume": v}
    return pl.DataFrame(columns).select(
        series=pl.lit(0, pl.UInt32),
        i=pl.int_range(len(c), dtype=pl.Int32),
        sid=pl.lit(1),
        present=pl.lit(value=True),
        selected=pl.lit(value=True),
        **{n: pl.col(n) for n in columns},
    )


def walk(rows: int, seed: int) -> tuple[Line, Line, Line, Line]:
    """High, low, close and volume of a random walk in cents, with jumps."""
    rng = np.random.default_rng(seed)
    c = np.round(
        np.exp(np.cumsum(rng.normal(0, 0.02, rows) + (rng.random(rows) < 0.01) * rng.normal(0, 0.2, rows))) * 30, 2
    )
    spread = np.round(c * rng.random((2, rows)) * 0.02, 2)
    return c + spread[0], c - spread[1], c, rng.integers(0, 9000, rows).astype(float)


def listed(folder: Path, name: str) -> tuple[Line, Line, Line, Line]:
    """A real name of stocknet."""
    bars = pl.read_csv(folder / "stocknet" / f"{name}.csv.gz", null_values="null").drop_nulls()
    return tuple(bars[c].cast(pl.Float64).to_numpy() for c in ("High", "Low", "Close", "Volume"))


STARTS_OTHERWISE = {"macd", "macd_signal", "macd_histogram", "adx_14", "plus_di_14", "minus_di_14", "keltner", "sar"}
"""TA-Lib starts these from another first value than their formula; from `rows` rows on nothing is left of it."""


def agrees(bars: tuple[Line, Line, Line, Line]) -> None:
    """Every feature is its formula: 1e-9 of its spread, 1e-7 where the start differs."""
    ours = kernel(panel(*bars))
    for name, expected in formulas(*bars).items():
        start = FEATURES[name].rows if name in STARTS_OTHERWISE else 0
        got = ours[name].to_numpy()[start:]
        held = ~np.isnan(got)
        spread = np.nanstd(expected)
        assert held.sum() > len(got) - 300, name
        np.testing.assert_allclose(
            got[held] / spread, expected[start:][held] / spread, rtol=0, atol=1e-7 if start else 1e-9, err_msg=name
        )


def test_each_indicator_is_its_formula_on_a_random_walk() -> None:
    """The published formulas, on a walk in cents with jumps and sessions without volume."""
    agrees(walk(700, seed=3))


@pytest.mark.parametrize("name", ["AMZN", "BAC", "PICO", "BRK-A"])
def test_each_indicator_is_its_formula_on_real_names(shared_data: Path, name: str) -> None:
    """A thousand dollars, a dozen dollars, a thin name and a quarter of a million dollars a share."""
    agrees(listed(shared_data, name))


FIRST = {
    1: "true_range sar",
    4: "sma_5",
    5: "roc_5",
    7: "rsi_7",
    8: "ichimoku_9",
    9: "ema_10",
    10: "efficiency_10 roc_10",
    13: "williams_r force_13",
    14: "rsi_14 cmo_14 plus_di_14 minus_di_14 natr_14 mfi_14",
    17: "stoch_k stoch_d",
    19: "sma_20 ema_20 slope_20 bollinger_b bollinger_width cci_20 keltner donchian_20 money_flow_20 chaikin vwma_20",
    20: "roc_20 volatility_20 obv_20",
    24: "t3_5",
    25: "ppo aroon_up_25 aroon_down_25 ichimoku_26 pvo",
    27: "adx_14",
    28: "rsi_28 ultimate",
    29: "stochrsi_k stochrsi_d",
    33: "macd macd_signal macd_histogram",
    38: "dema_20",
    43: "trix_15",
    49: "sma_50 ema_50",
    51: "ichimoku_52",
    54: "donchian_55",
    57: "tema_20",
    60: "roc_60 volatility_60",
    199: "sma_200",
    249: "donchian_250",
}
"""The first row with a value, counted from 0."""


def test_nothing_is_said_in_warm_up() -> None:
    """Null, never NaN, until the row in which the formula has all it needs; a value in every row after it."""
    ours = kernel(panel(*walk(300, seed=5)))
    expected = {name: row for row, names in FIRST.items() for name in names.split()}
    assert set(expected) == set(FEATURES)
    for name, row in expected.items():
        assert ours[name].is_null().to_list() == [True] * row + [False] * (300 - row), name
        assert ours[name].is_nan().sum() == 0, name


def test_the_declaration_is_whole() -> None:
    """Each feature says what it means, and what it is made from lies within the lookback, with room for missing
    rows.
    """
    assert TECHNICAL.features == tuple(FEATURES) == tuple(TECHNICAL.meaning)
    assert all(TECHNICAL.meaning.values())
    assert max(f.rows for f in FEATURES.values()) < REACH < TECHNICAL.lookback
