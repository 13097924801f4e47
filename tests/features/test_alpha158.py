"""Alpha158 against its definition, written once more without any cleverness, and the laws of a per-name kernel."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.features.alpha158.factors import FACTORS, MEANING
from quant_assets.features.alpha158.feature_set import ALPHA158, COLUMNS, kernel

WINDOWS = (5, 10, 20, 30, 60)


def known(values):
    return [float(v) for v in values if math.isfinite(v)]


def mean(values):
    values = known(values)
    return math.fsum(values) / len(values) if values else math.nan


def total(values):
    values = known(values)
    return math.fsum(values) if values else math.nan


def std(values):
    values = known(values)
    if len(values) < 2:
        return math.nan
    return math.sqrt(math.fsum((v - mean(values)) ** 2 for v in values) / (len(values) - 1))


def line(values):
    """Slope, R² and last residual of the known values on their positions."""
    points = [(float(k), float(v)) for k, v in enumerate(values) if math.isfinite(v)]
    if len(points) < 2:
        return math.nan, math.nan, math.nan
    mx, my = mean([k for k, _ in points]), mean([v for _, v in points])
    xx, yy = math.fsum((k - mx) ** 2 for k, _ in points), math.fsum((v - my) ** 2 for _, v in points)
    xy = math.fsum((k - mx) * (v - my) for k, v in points)
    r2 = math.nan if math.sqrt(yy / (len(points) - 1)) <= 2e-5 else xy * xy / (xx * yy)
    return xy / xx, r2, float(values[-1]) - (my + xy / xx * (len(values) - 1 - mx))


def correlation(xs, ys):
    pairs = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    x, y = [p[0] for p in pairs], [p[1] for p in pairs]
    if len(pairs) < 2 or std(x) <= 2e-5 or std(y) <= 2e-5:
        return math.nan
    mx, my = mean(x), mean(y)
    return math.fsum((a - mx) * (b - my) for a, b in pairs) / math.sqrt(
        math.fsum((a - mx) ** 2 for a in x) * math.fsum((b - my) ** 2 for b in y)
    )


def quantile(values, q):
    values = sorted(known(values))
    if not values:
        return math.nan
    place = q * (len(values) - 1)
    low = math.floor(place + 1e-9)
    return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (place - low)


def rank(values):
    now, values = values[-1], known(values)
    if not math.isfinite(now):
        return math.nan
    return (sum(v < now for v in values) + (sum(v == now for v in values) + 1) / 2) / len(values)


def place_of_highest(values):
    """From 1; a missing value is higher than all, the first of equals wins."""
    if not known(values):
        return math.nan
    values = [math.inf if math.isnan(v) else v for v in values]
    return values.index(max(values)) + 1


def over(a, b):
    """The ratio; 0 for nothing of nothing."""
    return 0.0 if a == b == 0 else float(a) / float(b) if b != 0 else math.nan


def best(values, choose):
    values = known(values)
    return choose(values) if values else math.nan


def expected_row(bars, t):
    """The 158 values of row t of one series, `bars` float32 of shape (5, rows)."""
    o, h, lo, c, v = (float(x) for x in bars[:, t])
    highs, lows, closes, volumes = bars[1:, : t + 1]
    top, bottom = (math.nan, math.nan) if math.isnan(o + c) else (max(o, c), min(o, c))
    span = h - lo
    row = [
        (c - o) / o,
        span / o,
        over(c - o, span),
        (h - top) / o,
        over(h - top, span),
        (bottom - lo) / o,
        over(bottom - lo, span),
        (2 * c - h - lo) / o,
        over(2 * c - h - lo, span),
    ]
    row += [o / c, h / c, lo / c, (h + lo + c) / 3 / c]
    nan = np.float32(math.nan)
    with np.errstate(all="ignore"):
        before, v_before = np.concatenate([[nan], closes[:-1]]), np.concatenate([[nan], volumes[:-1]])
        change, v_change, ratio, v_ratio = closes - before, volumes - v_before, closes / before, volumes / v_before
        logs, log_ratios = np.log(np.float64(volumes + np.float32(1))), np.log(np.float64(v_ratio + np.float32(1)))
        moved = np.abs(ratio - np.float32(1)) * volumes
    by = {}
    for d in WINDOWS:
        a = slice(max(0, t + 1 - d), t + 1)
        slope, r2, residual = line(closes[a])
        high, low = best(highs[a], max), best(lows[a], min)
        at_high, at_low = place_of_highest(highs[a]), place_of_highest(-lows[a])
        rows = len(closes[a])
        up, down = sum(change[a] > 0) / rows, sum(change[a] < 0) / rows
        rises, falls, changes = (
            total(np.maximum(change[a], 0)),
            total(np.maximum(-change[a], 0)),
            total(np.abs(change[a])),
        )
        v_rises, v_falls, v_changes = (
            total(np.maximum(v_change[a], 0)),
            total(np.maximum(-v_change[a], 0)),
            total(np.abs(v_change[a])),
        )
        by[d] = [
            float(closes[t - d]) / c if t >= d else math.nan,
            mean(closes[a]) / c,
            std(closes[a]) / c,
            slope / c,
            r2,
            residual / c,
            high / c,
            low / c,
            quantile(closes[a], 0.8) / c,
            quantile(closes[a], 0.2) / c,
            rank(closes[a]),
            over(c - low, high - low),
            at_high / d,
            at_low / d,
            (at_high - at_low) / d,
            correlation(closes[a], logs[a]),
            correlation(ratio[a], log_ratios[a]),
            up,
            down,
            up - down,
            over(rises, changes),
            over(falls, changes),
            over(rises - falls, changes),
            mean(volumes[a]) / (v + 1e-12),
            std(volumes[a]) / (v + 1e-12),
            std(moved[a]) / (mean(moved[a]) + 1e-12),
            over(v_rises, v_changes),
            over(v_falls, v_changes),
            over(v_rises - v_falls, v_changes),
        ]
    return row + [by[d][k] for k in range(29) for d in WINDOWS]


def expected(bars):
    return np.array([expected_row(bars, t) for t in range(bars.shape[1])]).T


def walk(rows, seed, halts=0.0, scale=50.0):
    """Made-up bars (open, high, low, close, volume) by rows, in cents, some rows missing."""
    rng = np.random.default_rng(seed)
    close = np.round(scale * np.exp(np.cumsum(rng.normal(0, 0.02, rows))), 2)
    start = np.round(close * np.exp(rng.normal(0, 0.01, rows)), 2)
    high = np.round(np.maximum(start, close) * (1 + np.abs(rng.normal(0, 0.005, rows))), 2)
    low = np.round(np.minimum(start, close) * (1 - np.abs(rng.normal(0, 0.005, rows))), 2)
    bars = np.stack([start, high, low, close, np.round(np.exp(rng.normal(11, 1, rows)))])
    bars[:, rng.random(rows) < halts] = np.nan
    return bars


def panel(*series, selected=None):
    """The panel of some series of bars."""
    bars = np.concatenate(series, axis=1)
    of = np.concatenate([np.full(s.shape[1], k) for k, s in enumerate(series)])
    i = np.concatenate([np.arange(s.shape[1]) for s in series])
    frame = pl.DataFrame(
        {
            "series": pl.Series(of, dtype=pl.UInt32),
            "i": pl.Series(i, dtype=pl.Int32),
            "sid": pl.Series(of, dtype=pl.Int64),
        }
    )
    return frame.with_columns(
        *(pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in zip(COLUMNS, bars, strict=True)),
        present=pl.Series(np.isfinite(bars[3])),
        raw_close=pl.Series(bars[3], dtype=pl.Float64).fill_nan(None),
        selected=pl.Series(np.ones(len(of), bool) if selected is None else selected),
    )


def values(frame):
    """The factors by rows, as bits: missing ones alike."""
    return frame.select(pl.col(f).fill_null(math.nan) for f in FACTORS).to_numpy().T


def same(a, b):
    return np.array_equal(a, b, equal_nan=True)


def holes(bars):
    """Single values missing, volumes of zero, a bar without range."""
    bars = bars.copy()
    bars[4, 30:35] = bars[1, 60:64] = bars[0, 80] = np.nan
    bars[4, 90::9] = 0
    bars[4, 100:104] = 0
    bars[:4, 110] = bars[3, 110]
    return bars


def flat(bars):
    bars = bars.copy()
    bars[:4, 20:110] = bars[3, 20]
    bars[4, 115:140] = 1000
    return bars


def ties(bars):
    bars = bars.copy()
    bars[:4] = np.round(bars[:4] / 5) * 5
    return bars


CASES = {
    "plain": walk(150, 0),
    "halted": walk(150, 1, halts=0.1),
    "mostly halted": walk(100, 2, halts=0.8),
    "flat": flat(walk(150, 3)),
    "flat among halts": flat(walk(150, 4, halts=0.1)),
    "ties": ties(walk(120, 5)),
    "single values missing": holes(walk(130, 6)),
    "sub-dollar": walk(100, 7, scale=0.5),
    "dear": walk(100, 8, scale=500_000),
    "two rows": walk(2, 9),
    "one row": walk(1, 10),
    "nothing known": np.full((5, 70), np.nan),
}


@pytest.mark.parametrize("case", CASES)
def test_definition(case):
    """All 158 are what the definition says of each window, missing exactly where it has no value, to 1e-6."""
    bars = CASES[case]
    got, right = values(kernel(panel(bars))), expected(bars.astype(np.float32))
    wrong = np.isfinite(got) != np.isfinite(right)
    assert not wrong.any(), {FACTORS[k]: np.flatnonzero(wrong[k]) for k in np.flatnonzero(wrong.any(1))}
    assert np.nanmax(np.abs(got - right) / np.maximum(1, np.abs(right)), initial=0) < 1e-6


def test_names():
    """The names stand in the published order, each with its meaning, as the declaration wants them."""
    assert len(set(FACTORS)) == 158
    assert FACTORS[:14] == (
        "KMID",
        "KLEN",
        "KMID2",
        "KUP",
        "KUP2",
        "KLOW",
        "KLOW2",
        "KSFT",
        "KSFT2",
        "OPEN0",
        "HIGH0",
        "LOW0",
        "VWAP0",
        "ROC5",
    )
    assert FACTORS[-1] == "VSUMD60"
    assert all(MEANING[f] for f in FACTORS)
    assert all("{" not in text for text in MEANING.values())
    made = kernel(panel(walk(3, 0))).select(FACTORS)
    assert set(made.dtypes) == {ALPHA158.dtype}


def test_empty():
    """No rows in, no rows out, with all columns."""
    out = kernel(panel(np.empty((5, 0))))
    assert tuple(out.columns[-158:]) == FACTORS
    assert out.height == 0


LONG = holes(walk(200, 11, halts=0.03))
WHOLE = values(kernel(panel(LONG)))


@pytest.mark.parametrize("lengths", [range(1, 130), range(130, 201)])
def test_prefix(lengths):
    """The past has the same bits however many rows follow, at every length."""
    for n in lengths:
        assert same(values(kernel(panel(LONG[:, :n]))), WHOLE[:, :n])


def test_start():
    """Sixty rows before a row are enough for its bits, wherever the series starts."""
    for start in range(140):
        assert same(values(kernel(panel(LONG[:, start:])))[:, 60:], WHOLE[:, start + 60 :])


def test_series_are_apart():
    """A series has the same bits alone and among others, also where tiles of rows begin and end."""
    many = [walk(n, n, halts=0.02) for n in (1, 61, 1024, 2500, 7, 964, 965, 300)]
    together, first = values(kernel(panel(*many))), 0
    for bars in many:
        assert same(together[:, first : first + bars.shape[1]], values(kernel(panel(bars))))
        first += bars.shape[1]


def test_currency():
    """Prices in another unit change no bit: no factor depends on the price level."""
    for bars in (LONG, flat(LONG), walk(150, 12, scale=0.01), 1e-6 * walk(150, 13), 1e6 * walk(150, 14)):
        whole = values(kernel(panel(bars)))
        for unit in (2.0, 0.5, 1024.0):
            printed = panel(bars)["raw_close"]
            assert same(
                values(kernel(panel(bars * np.array([unit, unit, unit, unit, 1])[:, None]).with_columns(printed))),
                whole,
            )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0])), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_selected(series, seed):
    """What else is selected changes no bit of a selected row; what is not selected is right or missing."""
    rng = np.random.default_rng(seed)
    bars = [walk(n, seed + k, halts=0.05) for k, (n, _) in enumerate(series)]
    selected = np.concatenate([rng.random(n) < share for n, share in series])
    whole, some = values(kernel(panel(*bars))), values(kernel(panel(*bars, selected=selected)))
    assert same(some[:, selected], whole[:, selected])
    left = np.isnan(some[:, ~selected]).all(axis=0)
    assert same(some[:, ~selected][:, ~left], whole[:, ~selected][:, ~left])


def test_live_day():
    """A day's rows of many names are the rows of their histories."""
    bars = [walk(61 + k % 5, k, halts=0.02) for k in range(200)]
    last = np.concatenate([np.arange(b.shape[1]) == b.shape[1] - 1 for b in bars])
    some, whole = values(kernel(panel(*bars, selected=last))), values(kernel(panel(*bars)))
    assert same(some[:, last], whole[:, last])
    assert np.isnan(some[:, ~last]).all()


def test_flat_prices():
    """Where the close stood still, the deviation of its weighted returns is exactly 0, and correlations with it are
    missing.
    """
    bars = walk(100, 15)
    bars[:4] = 17.29
    out = kernel(panel(bars))
    for d in WINDOWS:
        assert set(out[f"WVMA{d}"][2:]) == {0.0}
        assert set(out[f"STD{d}"][1:]) == set(out[f"BETA{d}"][1:]) == {0.0}
        assert out[f"RSQR{d}"].is_nan().all()
        assert out[f"CORR{d}"].is_nan().all()
