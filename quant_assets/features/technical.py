"""Technical indicators, computed by TA-Lib on the rows of a series that are there.

A *line* is what TA-Lib draws along one stretch of a series; a *feature* is arithmetic on the lines of its row, free of
the scale of prices and of volume. A stretch ends where more than `GAP` rows are missing: what follows warms up anew.
That, and asking that a feature's rows lie within `REACH`, is what makes a finite lookback enough, halts or not.

Where nothing moved an oscillator is 0 / 0. TA-Lib answers 0 (for an RSI, "sold out"); here it is null.

Sources: Wilder 1978 (New Concepts in Technical Trading Systems: RSI, ATR, ADX); Appel 1979 (MACD); Lambert 1980 (CCI);
Lane 1984 (stochastics); Williams 1985 (ultimate oscillator); Donchian and the Turtles (channels); Granville 1963 (OBV);
Chaikin (money flow); Quong and Soudack 1989 (MFI); Elder 1993 (force index); Mulloy 1994 (DEMA, TEMA); Chande and Kroll
1994 (CMO, stochastic RSI); Kaufman 1995 (efficiency); Chande 1995 (Aroon); Tillson 1998 (T3); Bollinger 2001; Hosoda
1969 (Ichimoku).

Left out: KAMA, MAMA and the Hilbert lines (smoothing that slows with the market: no lookback bounds what an old price
weighs); SuperTrend (a switch that two starts can hold in different positions for good; two parabolic SARs meet: half of
them in 20 rows, all of 5,360 on real names in 144); OBV and the A/D line as they are (sums from wherever a series
starts); ATR and MOM (in units of price; NATR and ROC are the same, divided); fast %K, fast %D and TA-Lib's CMO (equal
to %R + 100, to slow %K, and to 2 RSI - 100).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import polars_talib as ta

from quant_assets.features.sets import FeatureSet
from quant_assets.portable import ln

GAP = 20
"""The longest run of missing rows that a stretch survives; also the rows without movement after which a ratio of
decaying averages is null."""

REACH = 500
"""Rows, missing ones included, within which all that a feature is made from must lie."""

LOOKBACK = REACH + GAP

ENDLESS = 1 << 40  # more rows than there are
COLUMNS = ("high", "low", "close", "volume")
H, L, C, V = (pl.col(c) for c in COLUMNS)
ROW = pl.col  # of a line, by its name


def decay(*periods: int) -> int:
    """Rows after which exponential averages of these periods, each of the one before, weigh what lies further back less
    than 1e-7.

    An average of period n keeps (n - 1) / (n + 1) of itself a row. Wilder's of n rows keeps (n - 1) / n: period 2n - 1.
    """
    held, rows = [1.0] * len(periods), 0
    while held[-1] >= 1e-7:
        fed = 0.0
        for stage, period in enumerate(periods):
            held[stage] += 2 / (period + 1) * (fed - held[stage])
            fed = held[stage]
        rows += 1
    return rows


def wilder(n: int) -> int:
    """The period of the exponential average that is Wilder's of n rows."""
    return 2 * n - 1


@dataclass(frozen=True)
class Feature:
    """Its value in a row, the rows that it is made from (to 1e-7 where it decays), what it means.

    `where`: holds where the formula is not 0 / 0; elsewhere it is null.
    """

    value: pl.Expr
    rows: int
    meaning: str
    where: pl.Expr | None = None


@dataclass(frozen=True)
class Group:
    """The indicators that read the same columns, and so the same rows."""

    columns: tuple[str, ...]
    lines: Mapping[str, pl.Expr]
    features: Mapping[str, Feature]


def _moved(rows: int, since: str = "still") -> pl.Expr:
    """Whether the prices moved within so many rows; their range is 0 exactly where they did not."""
    return pl.col(since) < rows - 1


def _traded(rows: int) -> pl.Expr:
    return ROW(f"most_{rows}") > 0


def _position(low: str, high: str) -> pl.Expr:
    return (C - ROW(low)) / (ROW(high) - ROW(low))


def _field(bands: pl.Expr, name: str) -> pl.Expr:
    return bands.struct.field(name)


_MACD, _BANDS = ta.macd(C, 12, 26, 9), ta.bbands(C, 20, 2.0, 2.0, 0)
_STOCH, _STOCHRSI, _AROON = ta.stoch(H, L, C, 14, 3, 0, 3, 0), ta.stochrsi(C, 14, 14, 3, 0), ta.aroon(H, L, 25)
_KELTNER = ta.kc(H, L, C, 20, 10, 2.0)

_SWINGS = _moved(14, "still_lately") & ROW("rsi_14").is_between(0, 100, closed="none")

PRICE = Group(
    columns=("close",),
    lines={
        **{f"sma_{n}": ta.sma(C, n) for n in (5, 20, 50, 200)},
        **{f"ema_{n}": ta.ema(C, n) for n in (10, 20, 50)},
        "dema": ta.dema(C, 20),
        "tema": ta.tema(C, 20),
        "t3": ta.t3(C, 5, 0.7),
        "macd": _field(_MACD, "macd"),
        "signal": _field(_MACD, "macdsignal"),
        "ppo": ta.ppo(C, 12, 26, 1),
        "trix": ta.trix(C, 15),
        "slope": ta.linearreg_slope(C, 20),
        **{f"rsi_{n}": ta.rsi(C, n) for n in (7, 14, 28)},
        "fast_k": _field(_STOCHRSI, "fastk"),
        "fast_d": _field(_STOCHRSI, "fastd"),
        "cmo": ta.cmou(C, 14),
        "efficiency": ta.er(C, 10),
        **{f"roc_{n}": ta.roc(C, n) for n in (5, 10, 20, 60)},
        "upper": _field(_BANDS, "upperband"),
        "lower": _field(_BANDS, "lowerband"),
        **{f"deviation_{n}": ta.stddev(ln(C / C.shift(1)), n, 1.0) for n in (20, 60)},
    },
    features={
        **{
            f"sma_{n}": Feature(ROW(f"sma_{n}") / C - 1, n, f"mean close of {n} rows over the close, less 1")
            for n in (5, 20, 50, 200)
        },
        **{
            f"ema_{n}": Feature(
                ROW(f"ema_{n}") / C - 1, n + decay(n), f"exponential mean close of period {n} over the close, less 1"
            )
            for n in (10, 20, 50)
        },
        "dema_20": Feature(
            ROW("dema") / C - 1,
            39 + decay(20, 20),
            "double exponential mean (Mulloy) of period 20 over the close, less 1: 2 E - E(E)",
        ),
        "tema_20": Feature(
            ROW("tema") / C - 1,
            58 + decay(20, 20, 20),
            "triple exponential mean (Mulloy) of period 20 over the close, less 1: 3 E - 3 E(E) + E(E(E))",
        ),
        "t3_5": Feature(
            ROW("t3") / C - 1,
            25 + decay(5, 5, 5, 5, 5, 5),
            "Tillson's T3 of period 5, volume factor 0.7, over the close, less 1",
        ),
        "macd": Feature(ROW("macd") / C, 34 + decay(26), "exponential mean of 12 less that of 26, over the close"),
        "macd_signal": Feature(
            ROW("signal") / C, 34 + decay(26, 9), "exponential mean of 9 of the MACD line, over the close"
        ),
        "macd_histogram": Feature(
            (ROW("macd") - ROW("signal")) / C, 34 + decay(26, 9), "MACD line less its signal, over the close"
        ),
        "ppo": Feature(
            ROW("ppo"),
            26 + decay(26),
            "percentage price oscillator: exponential mean of 12 over that of 26, less 1, in percent",
        ),
        "trix_15": Feature(
            ROW("trix"),
            44 + decay(15, 15, 15),
            "change over one row of the triple smoothed exponential mean of period 15, in percent",
        ),
        "slope_20": Feature(
            ROW("slope") / C, 20, "slope per row of the least-squares line through 20 closes, over the close"
        ),
        **{
            f"rsi_{n}": Feature(
                ROW(f"rsi_{n}"),
                n + GAP + decay(wilder(n)),
                f"relative strength index (Wilder) of {n} rows, 0 to 100",
                _moved(GAP + 1),
            )
            for n in (7, 14, 28)
        },
        "stochrsi_k": Feature(
            ROW("fast_k"),
            30 + GAP + decay(wilder(14)),
            "where RSI 14 stands in its range of 14 rows, 0 to 100",
            _SWINGS,
        ),
        "stochrsi_d": Feature(ROW("fast_d"), 30 + GAP + decay(wilder(14)), "mean of 3 of stochrsi_k", _SWINGS),
        "cmo_14": Feature(
            ROW("cmo"),
            15,
            "momentum oscillator (Chande) of 14 rows: sum of gains less losses over their total, -100 to 100",
            _moved(15),
        ),
        "efficiency_10": Feature(
            ROW("efficiency"),
            11,
            "efficiency ratio (Kaufman): net change of 10 rows over the sum of changes, 0 to 1",
            _moved(11),
        ),
        **{
            f"roc_{n}": Feature(ROW(f"roc_{n}"), n + 1, f"change of the close over {n} rows, in percent")
            for n in (5, 10, 20, 60)
        },
        "bollinger_b": Feature(
            _position("lower", "upper"),
            20,
            "where the close stands between the Bollinger bands (20 rows, 2 deviations): 0 lower, 1 upper",
            _moved(20),
        ),
        "bollinger_width": Feature(
            (ROW("upper") - ROW("lower")) / ROW("sma_20"), 20, "distance of the Bollinger bands over their middle"
        ),
        **{
            f"volatility_{n}": Feature(ROW(f"deviation_{n}"), n + 1, f"deviation of {n} log returns of a row")
            for n in (20, 60)
        },
    },
)

BAR = Group(
    columns=("high", "low", "close"),
    lines={
        "adx": ta.adx(H, L, C, 14),
        "plus": ta.plus_di(H, L, C, 14),
        "minus": ta.minus_di(H, L, C, 14),
        "up": _field(_AROON, "aroonup"),
        "down": _field(_AROON, "aroondown"),
        **{f"middle_{n}": ta.midprice(H, L, n) for n in (9, 26, 52)},
        "slow_k": _field(_STOCH, "slowk"),
        "slow_d": _field(_STOCH, "slowd"),
        "williams": ta.willr(H, L, C, 14),
        "cci": ta.cci(H, L, C, 20),
        "ultimate": ta.ultosc(H, L, C, 7, 14, 28),
        "natr": ta.natr(H, L, C, 14),
        "range": ta.trange(H, L, C),
        "upper": _field(_KELTNER, "upperband"),
        "lower": _field(_KELTNER, "lowerband"),
        **{f"high_{n}": ta.max(H, n) for n in (20, 55, 250)},
        **{f"low_{n}": ta.min(L, n) for n in (20, 55, 250)},
        "sar": ta.sar(H, L, 0.02, 0.2),
    },
    features={
        "adx_14": Feature(
            ROW("adx"),
            28 + GAP + decay(wilder(14), wilder(14)),
            "average directional index (Wilder) of 14 rows, 0 to 100",
            _moved(GAP + 1),
        ),
        "plus_di_14": Feature(
            ROW("plus"),
            14 + GAP + decay(wilder(14)),
            "upward directional movement over true range, smoothed over 14 rows, in percent",
            _moved(GAP + 1),
        ),
        "minus_di_14": Feature(
            ROW("minus"),
            14 + GAP + decay(wilder(14)),
            "downward directional movement over true range, smoothed over 14 rows, in percent",
            _moved(GAP + 1),
        ),
        "aroon_up_25": Feature(ROW("up"), 26, "100 less 4 for each row since the highest high of 26 rows"),
        "aroon_down_25": Feature(ROW("down"), 26, "100 less 4 for each row since the lowest low of 26 rows"),
        **{
            f"ichimoku_{n}": Feature(
                ROW(f"middle_{n}") / C - 1, n, f"middle of the range of {n} rows over the close, less 1"
            )
            for n in (9, 26, 52)
        },
        "stoch_k": Feature(
            ROW("slow_k"),
            18,
            "slow %K: mean of 3 of where the close stands in the range of 14 rows, 0 to 100",
            _moved(14, "still_lately"),
        ),
        "stoch_d": Feature(ROW("slow_d"), 18, "slow %D: mean of 3 of stoch_k", _moved(14, "still_lately")),
        "williams_r": Feature(
            ROW("williams"),
            14,
            "Williams %R of 14 rows: where the close stands below the highest high, -100 to 0",
            _moved(14),
        ),
        "cci_20": Feature(
            ROW("cci"),
            20,
            "commodity channel index (Lambert): typical price less its mean of 20 rows, over 0.015 mean "
            "absolute deviations",
            _moved(20),
        ),
        "ultimate": Feature(
            ROW("ultimate"),
            29,
            "ultimate oscillator (Williams): buying pressure over true range of 7, 14 and 28 rows, weighted "
            "4:2:1, 0 to 100",
            _moved(8),
        ),
        "natr_14": Feature(
            ROW("natr"), 14 + decay(wilder(14)), "average true range (Wilder) of 14 rows over the close, in percent"
        ),
        "true_range": Feature(ROW("range") / C, 2, "true range of the row over the close"),
        "keltner": Feature(
            _position("lower", "upper"),
            20 + GAP + decay(20),
            "where the close stands in the Keltner channel (typical price of period 20, 2 average true "
            "ranges of 10 rows)",
            _moved(20),
        ),
        **{
            f"donchian_{n}": Feature(
                _position(f"low_{n}", f"high_{n}"),
                n,
                f"where the close stands between the lowest low and the highest high of {n} rows",
            )
            for n in (20, 55, 250)
        },
        "sar": Feature(
            ROW("sar") / C - 1,
            250,
            "parabolic stop and reversal (Wilder; step 0.02, at most 0.2) over the close, less 1",
            _moved(GAP + 1),
        ),
    },
)

FLOW = Group(
    columns=COLUMNS,
    lines={
        "mfi": ta.mfi(H, L, C, V, 14),
        "flow": ta.cmf(H, L, C, V, 20),
        "oscillator": ta.adosc(H, L, C, V, 3, 10),
        "force": ta.efi(C, V, 13),
        "weighted": ta.vwma(C, V, 20),
        "pvo": ta.pvo(V, 12, 26, 1),
        **{f"volume_{n}": ta.sum(V, n) for n in (13, 20)},
        **{f"most_{n}": ta.max(V, n) for n in (13, 14, 20, 26)},
        "obv_20": ta.mom(ta.obv(C, V), 20),
    },
    features={
        "mfi_14": Feature(
            ROW("mfi"),
            15,
            "money flow index of 14 rows: volume times typical price where it rose, over all, 0 to 100",
            _moved(15) & _traded(14),
        ),
        "obv_20": Feature(
            ROW("obv_20") / ROW("volume_20"),
            21,
            "on-balance volume gained in 20 rows over their volume, -1 to 1",
            _traded(20),
        ),
        "money_flow_20": Feature(
            ROW("flow"),
            20,
            "Chaikin money flow: volume times where the close stands in its bar, over the volume of 20 rows, -1 to 1",
            _traded(20),
        ),
        "chaikin": Feature(
            ROW("oscillator") / ROW("volume_20") * 20,
            20 + decay(10),
            "Chaikin oscillator (accumulation line, exponential mean of 3 less that of 10) over mean volume of 20 rows",
            _traded(20),
        ),
        "force_13": Feature(
            ROW("force") / ROW("volume_13") * 13 / C,
            14 + decay(13),
            "force index (Elder): exponential mean of 13 of change times volume, over mean volume and close",
            _traded(13),
        ),
        "vwma_20": Feature(
            ROW("weighted") / C - 1, 20, "volume-weighted mean close of 20 rows over the close, less 1", _traded(20)
        ),
        "pvo": Feature(
            ROW("pvo"),
            26 + decay(26),
            "percentage volume oscillator: exponential mean of 12 over that of 26, less 1, in percent",
            _traded(26),
        ),
    },
)

GROUPS = (PRICE, BAR, FLOW)
FEATURES: Mapping[str, Feature] = {name: feature for group in GROUPS for name, feature in group.features.items()}


def kernel(panel: pl.DataFrame) -> pl.DataFrame:
    """The panel with the features; null in warm-up, where inputs are missing, and in rows that are not selected."""
    return pl.concat([panel, *(_computed(group, panel) for group in GROUPS)], how="horizontal")


def _computed(group: Group, panel: pl.DataFrame) -> pl.DataFrame:
    """The group's features in the panel's rows."""
    rows = _stretches(panel, group.columns)
    # each line is cut to the rows wanted as soon as it is drawn: all of them at once would be the peak of memory
    drawn = rows.select(
        column.filter("selected")
        for column in (pl.all(), *(line.over("stretch").alias(name) for name, line in group.lines.items()))
    )
    values = drawn.select(_value(feature).alias(name) for name, feature in group.features.items())
    place = np.full(panel.height, -1)
    place[drawn["at"].to_numpy()] = np.arange(drawn.height)
    return values.select(pl.all().gather(pl.Series(place).replace(-1, None)))


def _value(feature: Feature) -> pl.Expr:
    said = feature.value.is_finite() & (pl.col("enough") >= feature.rows)
    return pl.when(said if feature.where is None else said & feature.where).then(feature.value)


def _stretches(panel: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """The rows that have all the columns: those, at (row in the panel), selected, stretch, enough, still and
    still_lately.

    Prices are divided by the power of two that brings the stretch's first close into [1/2, 1): no bit of a ratio
    changes, and TA-Lib's absolute tolerances mean the same at every price. `enough`: the rows of the stretch within
    `REACH`; without bound where the stretch began within it. `still`: rows since prices moved; `still_lately`: its most
    in 5 rows.
    """
    usable = [pl.col(c).is_finite() & ((pl.col(c) >= 0) if c == "volume" else (pl.col(c) > 0)) for c in columns]
    rows = (
        panel.with_row_index("at").filter(pl.all_horizontal(usable)).select("at", "series", "i", "selected", *columns)
    )
    gap = (pl.col("i") - pl.col("i").shift(1)) > GAP + 1
    rows = rows.with_columns(
        stretch=((pl.col("series") != pl.col("series").shift(1)) | gap).fill_null(value=False).cum_sum().set_sorted()
    )
    stretch, i = (rows[c].to_numpy().astype(np.int64) for c in ("stretch", "i"))
    first = np.flatnonzero(np.diff(stretch, prepend=-1))
    _, exponent = np.frexp(rows["close"].to_numpy()[first])
    at = (stretch << 32) + i
    within = np.arange(rows.height) + 1 - np.searchsorted(at, at - REACH, side="right")
    young = i - i[first][stretch] < REACH
    still = _still(rows, first, stretch)
    prices = [pl.col(c) * pl.Series(np.ldexp(1.0, -exponent)[stretch]) for c in columns if c != "volume"]
    return rows.with_columns(
        *prices,
        enough=pl.Series(np.where(young, ENDLESS, within)),
        still=still,
        still_lately=still.rolling_max(5, min_samples=1),
    )


def _still(rows: pl.DataFrame, first: npt.NDArray[np.int64], stretch: npt.NDArray[np.int64]) -> pl.Series:
    """How many rows ago the prices last moved: 0 where this row's are not all the close before; endless where they
    never did in the stretch.
    """
    prices = [c for c in ("high", "low", "close") if c in rows.columns]
    same = pl.all_horizontal((pl.col(c) == pl.col(c).shift(1)) & (pl.col(c) == C) for c in prices)
    moved = ~rows.select(same.fill_null(value=True)).to_series().to_numpy()
    moved[first] = False
    row = np.arange(rows.height)
    last = np.maximum.accumulate(np.where(moved, row, -1))
    return pl.Series(np.where(last < first[stretch], ENDLESS, row - last))


TECHNICAL = FeatureSet(
    name="technical",
    version="1",
    features=tuple(FEATURES),
    columns=COLUMNS,
    lookback=LOOKBACK,
    kernel=kernel,
    doc="Technical indicators by TA-Lib: trend, momentum, volatility, volume; each free of the scale of prices.",
    meaning={name: feature.meaning for name, feature in FEATURES.items()},
)
