"""Clean series as vendors deliver them, made of real ones: the ground into which `bench.spoiling` puts errors.

A clean series is a real total-return path (adjusted closes of large names, raw closes of small ones without actions)
with payments, gains and splits laid on it by the vendor's own convention, on a tick, over a window, by the day, the
week or the quarter of an hour. Among them are payers of every rhythm, special payments, funds, names that hardly trade,
crashes, and splits that are in the prices.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close")
SERIES = (*PRICES, "adj_close")
COLUMNS = (*SERIES, "volume", "dividend", "split", "capital_gains")
SMALL_NAMES = 240  # of the panel, beside the large ones
LONGEST = 660  # rows of a window: what people download
BARS_A_DAY = 26  # quarters of an hour in a session of six and a half hours

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """One name by the day: `session` in days since 1970, and a column of floats for each of `COLUMNS`."""

    session: NDArray[np.int64]
    columns: dict[str, Column]

    def __getitem__(self, column: str) -> Column:
        return self.columns[column]

    def changed(self, **columns: Column) -> "Bars":
        """The same with these columns instead."""
        return Bars(self.session, self.columns | columns)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return len(self.session)


def paths(shared: Path) -> dict[str, Bars]:
    """Real total-return paths by name, without payments: bars whose close is the adjusted close."""
    frames = [
        pl.read_csv(file, infer_schema=False, null_values="null").select(
            symbol=pl.lit(file.name.removesuffix(".csv.gz")), session=pl.col("Date").str.to_date(),
            open="Open", high="High", low="Low", close="Close", adj_close="Adj Close", volume="Volume",
        ).with_columns(pl.col(*PRICES, "adj_close", "volume").cast(pl.Float64))
        for file in sorted((shared / "stocknet").glob("*.csv.gz"))
    ]  # fmt: skip
    panel = pl.read_parquet(shared / "pystock" / "prices_20150323_20160630.parquet")
    acted = pl.read_parquet(shared / "pystock" / "derived_adjustment_factors_to_20160630.parquet")["symbol"].unique()
    quiet = panel.filter(~pl.col("symbol").is_in(acted.implode())).sort("symbol", "date", "captured_on")
    quiet = quiet.unique(["symbol", "date"], keep="last", maintain_order=True).filter(pl.len().over("symbol") >= 300)
    some = quiet["symbol"].unique().sort().gather_every(max(1, quiet["symbol"].n_unique() // SMALL_NAMES))
    small = quiet.filter(pl.col("symbol").is_in(some.implode())).select(
        pl.col("symbol") + ".small",
        pl.col("date").alias("session"),
        *PRICES,
        pl.col("close").alias("adj_close"),
        pl.col("volume").cast(pl.Float64),
    )
    whole = pl.concat([*frames, small]).filter(
        pl.all_horizontal(pl.col(*SERIES) > 0),
        pl.col("high") >= pl.max_horizontal("open", "close"),
        pl.col("low") <= pl.min_horizontal("open", "close"),
    )
    held = pl.col("adj_close") / pl.col("close")
    whole = whole.with_columns(pl.col(c) * held for c in PRICES).sort("symbol", "session")
    return {str(name): _bars(rows) for (name,), rows in whole.group_by("symbol", maintain_order=True)}


def _bars(rows: pl.DataFrame) -> Bars:
    session = rows["session"].cast(pl.Int32).to_numpy().astype(np.int64)
    none = np.zeros(rows.height)
    given = {c: rows[c].to_numpy().astype(np.float64) for c in (*SERIES, "volume")}
    return Bars(session, {**given, "dividend": none, "split": none, "capital_gains": none})


def clean(path: Bars, draw: Generator, *, rows: int = LONGEST) -> Bars:
    """A window of `path` as some listing might have it: a payer or none, thin or traded, a fund, in pence or pounds,
    with a crash or a declared split.
    """
    at = int(draw.integers(0, max(1, path.height - rows)))
    bars = Bars(path.session[at : at + rows], {c: v[at : at + rows].copy() for c, v in path.columns.items()})
    if draw.random() < 0.1:
        bars = _crashed(bars, draw)
    fund = draw.random() < 0.07
    if fund:  # many names together move half as much as one
        bars = bars.changed(volume=np.zeros(bars.height), **dict.fromkeys(PRICES, np.sqrt(bars["close"])))
    elif draw.random() < 0.2:
        bars = _thin(bars, draw)
    level = float(np.exp(draw.uniform(np.log(0.5), np.log(5000)))) / bars["close"][-1]
    bars = bars.changed(**{c: bars[c] * level for c in PRICES})
    bars = _paying(bars, draw, fund=fund)
    if draw.random() < 0.1:
        split = np.zeros(bars.height)
        split[draw.integers(1, bars.height)] = draw.choice([2.0, 3.0, 1.5, 4.0, 10.0, 0.1, 0.2])
        bars = bars.changed(split=split)
    return bars


def _crashed(bars: Bars, draw: Generator) -> Bars:
    """A true jump: of a sixth to a half, down or up, once."""
    at, size = draw.integers(1, bars.height), draw.uniform(0.16, 0.5)
    by = 1 - size if draw.random() < 0.6 else 1 + size
    after = np.where(np.arange(bars.height) >= at, by, 1.0)
    return bars.changed(**{c: bars[c] * after for c in PRICES})


def _thin(bars: Bars, draw: Generator) -> Bars:
    """Nobody trades on a share of the days: the last close is quoted, without volume."""
    quiet = draw.random(bars.height) < draw.uniform(0.2, 0.95)
    quiet[0] = False
    last = np.maximum.accumulate(np.where(quiet, 0, np.arange(bars.height)))
    close = bars["close"][last]
    prices = {c: np.where(quiet, close, bars[c]) for c in PRICES}
    return bars.changed(volume=np.where(quiet, 0.0, bars["volume"]), **prices)


PAYERS = {
    "none": (0, 0.0),
    "monthly": (21, 0.005),
    "quarterly": (63, 0.007),
    "half-yearly": (126, 0.018),
    "yearly": (252, 0.035),
}


def _paying(bars: Bars, draw: Generator, *, fund: bool) -> Bars:
    """Payments at the payer's rhythm: taken out of the price, and by the vendor out of the adjusted closes before."""
    height = bars.height
    every, usual = PAYERS["yearly" if fund else str(draw.choice(list(PAYERS), p=[0.12, 0.05, 0.35, 0.28, 0.20]))]
    yields = np.zeros(height)
    if every:
        usual *= float(np.exp(draw.normal(0, 0.5)))
        days = np.arange(int(draw.integers(1, min(every, height))), height, every)
        days = np.clip(days + draw.integers(-4, 5, len(days)), 1, height - 1)
        yields[days] = usual * np.exp(draw.normal(0, 0.2, len(days)))
    if draw.random() < 0.05:
        yields[draw.integers(1, height)] = draw.uniform(0.06, 0.4)  # a special one
    yields = np.minimum(yields, 0.6)
    total = bars["close"]
    after = np.cumprod(1 - yields)  # the price loses what is paid
    ticks = 10.0 ** (np.floor(np.log10(np.median(total * after))) - int(draw.integers(3, 5)))
    prices = {c: np.maximum(np.round(bars[c] * after / ticks), 1) * ticks for c in PRICES}
    if (bars["volume"] == 0).any():
        prices = _still(prices, bars["volume"] == 0, total)
    before = np.concatenate([prices["close"][:1], prices["close"][:-1]])
    dividend = _significant(yields * before, int(draw.integers(4, 7)))
    gains = (
        np.where(dividend > 0, _significant(dividend * draw.uniform(0.5, 0.95), 5), 0.0) if fund else np.zeros(height)
    )
    bars = bars.changed(**prices, dividend=dividend, capital_gains=gains)
    return readjusted(bars, dividend / before)


def _still(prices: dict[str, Column], quiet: NDArray[np.bool_], total: Column) -> dict[str, Column]:
    """Nobody takes a payment out of a quote that nobody touches: a thin name's quiet rows repeat the last traded close.
    Funds (all quiet) are priced daily.
    """
    if quiet.all() or not quiet[1:].any() or np.median(np.abs(np.diff(total))[quiet[1:]]) > 0:
        return prices
    last = np.maximum.accumulate(np.where(quiet, 0, np.arange(len(quiet))))
    return {c: np.where(quiet, prices["close"][last], v) for c, v in prices.items()}


def _significant(values: Column, digits: int) -> Column:
    with np.errstate(divide="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.where(values > 0, values, 1.0))))
    return np.round(values * scale) / scale


def readjusted(bars: Bars, steps: Column) -> Bars:
    """`bars` with the adjusted close of these steps: close times the product of the later (1 - step)."""
    kept = np.concatenate([1 - steps[1:], [1.0]])
    return bars.changed(adj_close=bars["close"] * np.cumprod(kept[::-1])[::-1])


def steps(bars: Bars) -> Column:
    """By what share the adjusted close steps away from the close at each row."""
    held = bars["adj_close"] / bars["close"]
    return np.concatenate([[0.0], 1 - held[:-1] / held[1:]])


def weekly(bars: Bars) -> Bars:
    """By the week, dated its Monday: first open, highest high, lowest low, last close, sums of volume and payments."""
    week = (bars.session - 4) // 7  # 1970-01-05 was a Monday
    first = np.flatnonzero(np.diff(week, prepend=week[0] - 1))
    last = np.append(first[1:], bars.height) - 1
    split = np.multiply.reduceat(np.where(bars["split"] > 0, bars["split"], 1.0), first)
    sums = {c: np.add.reduceat(bars[c], first) for c in ("volume", "dividend", "capital_gains")}
    columns = {
        "open": bars["open"][first],
        "high": np.maximum.reduceat(bars["high"], first),
        "low": np.minimum.reduceat(bars["low"], first),
        "close": bars["close"][last],
        "adj_close": bars["adj_close"][last],
        **sums,
        "split": np.where(split == 1, 0.0, split),
    }
    return Bars(week[first] * 7 + 4, columns)


def intraday(bars: Bars, draw: Generator) -> Bars:
    """Quarters of an hour: a bridge from each day's open to its close, kept between its low and high; sessions in
    minutes since 1970.
    """
    days, n = bars.height, BARS_A_DAY
    inside = np.maximum(np.log(bars["high"] / bars["low"]), 1e-4)[:, None] / 4
    walk = np.cumsum(draw.normal(0, 1 / np.sqrt(n), (days, n)), axis=1) * inside
    ends = np.linspace(1 / n, 1, n)[None, :]
    move = np.log(bars["close"] / bars["open"])[:, None]
    closes = bars["open"][:, None] * np.exp(walk - ends * walk[:, -1:] + ends * move)
    closes = np.clip(closes, bars["low"][:, None], bars["high"][:, None])
    opens = np.concatenate([bars["open"][:, None], closes[:, :-1]], axis=1)
    wick = np.exp(np.abs(draw.normal(0, 1 / np.sqrt(n), (days, n))) * inside / 2)
    first = np.arange(n) == 0
    on_first = {c: (bars[c][:, None] * first).ravel() for c in ("dividend", "split", "capital_gains")}
    held = np.repeat(bars["adj_close"] / bars["close"], n)
    minutes = bars.session[:, None] * 1440 + 570 + 15 * np.arange(n)
    columns = {
        "open": opens.ravel(),
        "high": (np.maximum(opens, closes) * wick).ravel(),
        "low": (np.minimum(opens, closes) / wick).ravel(),
        "close": closes.ravel(),
        "adj_close": closes.ravel() * held,
        "volume": np.floor(np.repeat(bars["volume"], n) / n),
        **on_first,
    }
    return Bars(minutes.ravel(), columns)


def resampled(days: Bars, interval: str, draw: Generator) -> Bars:
    """By the day, the week or the quarter of an hour: `1d`, `1wk` or `15m`."""
    return weekly(days) if interval == "1wk" else intraday(days, draw) if interval == "15m" else days


def framed(bars: Bars, interval: str, name: str) -> pl.DataFrame:
    """As the detectors read it; single precision, as the vendor's own prices are."""
    session = pl.Series("session", bars.session)
    session = (
        (session * 60_000_000).cast(pl.Datetime("us")) if interval == "15m" else session.cast(pl.Int32).cast(pl.Date)
    )
    columns = {c: bars[c].astype(np.float32).astype(np.float64) if c in SERIES else bars[c] for c in COLUMNS}
    return pl.DataFrame({"symbol": pl.Series("symbol", [name] * bars.height), "session": session, **columns}).fill_nan(
        None
    )
