"""The files of QuantConnect's LEAN: zips of bars without header, placed by market, resolution and symbol.

    …/<market>/minute|second/<symbol>/YYYYMMDD_trade|quote.zip    milliseconds since midnight, …
    …/<market>/hour|daily/<symbol>[_trade|_quote].zip             YYYYMMDD HH:MM, …
    …/<market>/margin_interest/<symbol>.csv                       YYYYMMDD HH:MM:SS, rate of eight hours

Trade bars have open, high, low, close, volume; quote bars the same of the bid, its size, and of the ask, its size. A
quote bar is taken as the middle of bid and ask, with no volume. Where a market has trades too, its quotes are filed
under `SYMBOL.MID`, for the two are different series. Midnight is that of the time zone in which LEAN's market-hours
file keeps the market's data. Volumes are the venue's own units: coins on Coinbase, contracts for a coin-margined
perpetual.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CaptureUnreadable
from resources.sources.reading.sheets import sheet

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "daily": 86400}
BEHIND_UTC = {"fxcm": timedelta(hours=5)}  # "dataTimeZone": "UTC-05"; the crypto markets keep UTC
QUOTES_ONLY = {"fxcm"}
PRICES = ("open", "high", "low", "close")
PERIODS = 3 * 365  # fundings of eight hours in a year
_DAY = re.compile(r"(\d{8})_")


def bars(path: Path, root: Path, earlier: Sequence[Path]) -> pl.DataFrame:
    """Rows of intraday_bars: ts, venue, symbol, seconds, prices, volume (null for quotes), file, line, fault,
    content.
    """
    del earlier
    at = next((i for i, part in enumerate(path.parts) if part in SECONDS and i), None)
    if at is None:
        raise CaptureUnreadable(f"{path}: lies in no folder {sorted(SECONDS)} of a market, as LEAN's files do")
    market, resolution = path.parts[at - 1 : at + 1]
    intraday = at + 2 < len(path.parts)
    symbol = (path.parts[at + 1] if intraday else path.name.split(".")[0].split("_")[0]).upper()
    columns = _columns(path)
    quotes = len(columns) > 6
    found = sheet(path, root, columns).collect()
    perpetual = pl.col("#file").str.ends_with("_perp.csv")
    name = pl.format(
        "{}{}{}",
        pl.lit(symbol),
        pl.when(perpetual).then(pl.lit(".PERP")).otherwise(pl.lit("")),
        pl.lit(".MID" if quotes and market not in QUOTES_ONLY else ""),
    )
    middle = (
        {
            c: (pl.col(f"bid {c}").cast(pl.Float64, strict=False) + pl.col(f"ask {c}").cast(pl.Float64, strict=False))
            / 2
            for c in PRICES
        }
        if quotes
        else {c: pl.col(c) for c in PRICES}
    )
    return found.select(
        ts=_ts(path.name) + BEHIND_UTC.get(market, timedelta(0)),
        venue=pl.lit(market),
        symbol=name,
        seconds=pl.lit(SECONDS[resolution]),
        **middle,
        volume=pl.lit(None, pl.Float64) if quotes else pl.col("volume"),
        file="#file",
        line="#line",
        fault=_fault(quotes=quotes),
        content="#content",
    )


def _columns(path: Path) -> tuple[str, ...]:
    first = sheet(path, None, ("time", *PRICES, "volume")).collect()
    trades = first["#fault"].null_count() or first.is_empty()
    return (
        ("time", *PRICES, "volume")
        if trades
        else ("time", *(f"bid {c}" for c in (*PRICES, "size")), *(f"ask {c}" for c in (*PRICES, "size")))
    )


def _ts(name: str) -> pl.Expr:
    if day := _DAY.match(name):
        midnight = pl.lit(day[1]).str.to_datetime("%Y%m%d", time_unit="us", time_zone="UTC", strict=False)
        return midnight + pl.duration(milliseconds=pl.col("time").cast(pl.Int64, strict=False))
    return (
        pl.col("time").str.to_datetime("%Y%m%d %H:%M", time_unit="us", time_zone="UTC", strict=False).cast(UTC_MICROS)
    )


def _fault(*, quotes: bool) -> pl.Expr:
    """What the numbers' own reading hides: a quote of one side has no middle."""
    if not quotes:
        return pl.col("#fault")
    sides = [f"{side} {c}" for side in ("bid", "ask") for c in PRICES]
    blank = pl.any_horizontal(pl.col(c).cast(pl.Float64, strict=False).is_null() for c in sides)
    return pl.coalesce("#fault", pl.when(blank).then(pl.lit("a quote without bid or ask has no middle")))


def funding(path: Path, root: Path, earlier: Sequence[Path]) -> pl.DataFrame:
    """Rows of reference_rates: the funding of a perpetual, as the simple rate of a year; each of a day's fundings is a
    tenor. Known when it is due.
    """
    del earlier
    found = sheet(path, root, ("time", "rate")).collect()
    due = pl.col("time").str.to_datetime("%Y%m%d %H:%M:%S", time_unit="us", time_zone="UTC", strict=False)
    rate = (pl.col("rate").cast(pl.Float64, strict=False) * PERIODS).cast(pl.String)
    return found.select(
        session=pl.coalesce(due.dt.to_string("%Y-%m-%d"), "time"),
        curve=pl.lit(f"{path.stem.upper()}.PERP {path.parts[-3]}"),
        tenor=pl.format("8h from {}", due.dt.to_string("%H:%M")),
        rate=pl.coalesce(rate, "rate"),
        file="#file",
        line="#line",
        known_at=due,
        fault="#fault",
        content="#content",
    )


def payments(path: Path, root: Path, earlier: Sequence[Path]) -> pl.DataFrame:
    """Rows of funding_rates: what who is long in a perpetual paid, of its last close. Known when it is due."""
    del earlier
    found = sheet(path, root, ("time", "rate")).collect()
    due = pl.col("time").str.to_datetime("%Y%m%d %H:%M:%S", time_unit="us", time_zone="UTC", strict=False)
    return found.select(
        ts=due,
        venue=pl.lit(path.parts[-3]),
        symbol=pl.lit(f"{path.stem.upper()}.PERP"),
        rate="rate",
        price=pl.lit(None, pl.Float64),
        file="#file",
        line="#line",
        known_at=due,
        fault=pl.coalesce("#fault", pl.when(due.is_null()).then(pl.lit("ts is no time, UTC"))),
        content="#content",
    )
