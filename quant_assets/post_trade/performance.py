"""How a book did, from its NAV, PNL and COSTS rows. Money stays Decimal; ratios are float64."""

from collections.abc import Mapping, Sequence
from datetime import date
from math import sqrt

import polars as pl

from quant_assets.frames import bounds
from quant_assets.market_data.listings import sectors
from quant_assets.records import Frozen

BPS = 10_000
CENT = 0.01  # what payments are rounded to: equity that varies by less does not vary

_PARTS = ("holding", "trading", "income", "fees", "total")


class Performance(Frozen, frozen=True):
    """The figures of a range. Returns, volatility and drawdown are fractions, `costs_bps` basis points of traded value,
    P&L in the book's currency.

    `total_return` links the sessions' returns, so capital paid in or out is no gain and no loss. `annual_return`
    compounds; `sharpe` is mean over standard deviation (n-1) of session returns times the root of the calendar's
    sessions a year, with no riskless rate (Sharpe 1994). A figure that is not defined is None, and `undefined` says
    why.
    """

    first: date
    last: date
    sessions: int
    total_return: float | None
    annual_return: float | None
    annual_volatility: float | None
    sharpe: float | None
    max_drawdown: float | None
    hit_rate: float | None  # share of winning sessions among those that moved
    turnover: float | None  # mean traded value over the equity at the session's start, both sides
    gross_exposure: float | None
    net_exposure: float | None
    pnl_gross: float  # before fees and slippage
    pnl_net: float
    fees: float
    slippage: float  # fill against arrival price
    traded: float
    costs_bps: float | None
    undefined: Mapping[str, str] = {}


def curve(nav: pl.DataFrame) -> pl.DataFrame:
    """One row per session, ascending: equity, pnl (currency), `return`, drawdown (≤ 0), gross, net, turnover
    (fractions of equity), index; float64.

    A return is the session's P&L over the equity it started with, capital paid in or out at its start included:
    equity less P&L. `index` is what one unit at the start became: equity over the starting equity, and where capital
    moved, the product of the returns. Drawdown is measured from the highest index so far, the start included. What
    would divide by an equity at or below zero is null, and the index of linked returns from there on.
    """
    money = nav.sort("session").select(
        "session", *(pl.col(c).cast(pl.Float64) for c in ("equity", "pnl", "long_value", "short_value", "traded"))
    )
    start = pl.col("equity") - pl.col("pnl")
    first = start.first()
    moved = (start - pl.col("equity").shift(1)).abs().max().fill_null(0.0) >= CENT
    grown = pl.when(start > 0).then(pl.col("pnl") / start)
    linked = pl.when(start.cum_min() > 0).then((1 + grown).cum_prod())
    index = pl.when(first > 0).then(pl.when(moved).then(linked).otherwise(pl.col("equity") / first))
    peak = pl.max_horizontal(index.cum_max(), pl.lit(1.0))
    there = pl.col("equity") > 0

    def exposed(value: pl.Expr) -> pl.Expr:
        return pl.when(there).then(value / pl.col("equity"))

    return money.select(
        "session",
        "equity",
        "pnl",
        grown.alias("return"),
        (index / peak - 1).alias("drawdown"),
        exposed(pl.col("long_value") - pl.col("short_value")).alias("gross"),
        exposed(pl.col("long_value") + pl.col("short_value")).alias("net"),
        pl.when(start > 0).then(pl.col("traded") / start).alias("turnover"),
        index.alias("index"),
    )


def sessions_a_year(sessions: pl.Series) -> float:
    """What is assumed where no calendar says it: 365 where sessions fall on weekends too, else 252."""
    return 365.0 if sessions.dt.weekday().is_in([6, 7]).any() else 252.0


def performance(nav: pl.DataFrame, costs: pl.DataFrame, per_year: float | None = None) -> Performance | None:
    """The figures of the sessions in `nav`, slippage from `costs`; None where there are no sessions.

    `per_year`: how many sessions the book's calendar has a year; None: see `sessions_a_year`.
    """
    if nav.is_empty():
        return None
    line = curve(nav)
    year = per_year or sessions_a_year(line["session"])
    growth: float | None = line["index"][-1]
    returns, why = line["return"].drop_nulls().to_list(), dict[str, str]()
    sunk = line.filter(pl.col("return").is_null())["session"]
    if sunk.len():
        reason = f"equity was at or below zero when {sunk[0]} began"
        why |= dict.fromkeys(("annual_return", "annual_volatility", "sharpe", "turnover"), reason)
    if growth is None:
        why |= dict.fromkeys(("total_return", "max_drawdown"), f"equity was at or below zero when {sunk[0]} began")
    elif growth <= 0:
        why |= dict.fromkeys(("annual_return",), "equity ended at or below zero, and nothing compounds to that")
    if len(line) < 2:
        why |= dict.fromkeys(
            ("annual_return", "annual_volatility", "sharpe"), "one session tells no rate and no variance"
        )
    largest = max((abs(v) for v in bounds(line["equity"], float) or ()), default=0.0)
    deviation = _deviation(returns, largest) if "sharpe" not in why else None
    if deviation == 0:
        why["sharpe"] = "the returns do not vary by a cent"
    moved = [r for r in returns if r != 0]
    if not moved:
        why["hit_rate"] = "no session moved"
    if not line["gross"].count():
        why |= dict.fromkeys(("gross_exposure", "net_exposure"), "equity was at or below zero in every session")
    pnl, fees, traded = (float(nav[c].sum()) for c in ("pnl", "fees", "traded"))
    slippage = float(costs["trading"].sum())
    if not traded:
        why["costs_bps"] = "nothing was traded"
    return Performance(
        first=line["session"][0],
        last=line["session"][-1],
        sessions=len(line),
        total_return=None if growth is None else growth - 1,
        annual_return=growth ** (year / len(line)) - 1 if growth and "annual_return" not in why else None,
        annual_volatility=deviation * sqrt(year) if deviation is not None else None,
        sharpe=_mean(returns) / deviation * sqrt(year) if deviation else None,
        max_drawdown=None if growth is None else min(line["drawdown"].to_list()),
        hit_rate=sum(r > 0 for r in moved) / len(moved) if moved else None,
        turnover=_mean(line["turnover"].to_list()) if "turnover" not in why else None,
        gross_exposure=_mean(line["gross"].drop_nulls().to_list()) if "gross_exposure" not in why else None,
        net_exposure=_mean(line["net"].drop_nulls().to_list()) if "net_exposure" not in why else None,
        pnl_gross=pnl + fees + slippage,
        pnl_net=pnl,
        fees=fees,
        slippage=slippage,
        traded=traded,
        costs_bps=(fees + slippage) / traded * BPS if traded else None,
        undefined=why,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(returns: Sequence[float], equity: float) -> float:
    """The standard deviation (n-1), and 0 where it is less than a cent of the largest equity: that is rounding."""
    mean = _mean(returns)
    deviation = sqrt(sum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
    return deviation if deviation * equity > CENT else 0.0


def pnl_by_name(pnl: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """P&L summed by name: sid, symbol, sector and the parts (Decimal); best first."""
    summed = pnl.group_by("sid").agg(pl.col(c).sum() for c in _PARTS)
    named = summed.join(sectors(listings), on="sid", how="left").with_columns(
        called(), pl.col("sector").fill_null("unknown")
    )
    return named.select("sid", "symbol", "sector", *_PARTS).sort("total", "sid", descending=[True, False])


def called() -> pl.Expr:
    """The symbol of a row of P&L; where none is known the sid, and of the book itself what that row is."""
    unknown = pl.when(pl.col("sid") == 0).then(pl.lit("cash and currencies")).otherwise(pl.col("sid").cast(pl.String))
    return pl.col("symbol").fill_null(unknown)


def pnl_by_sector(by_name: pl.DataFrame) -> pl.DataFrame:
    """P&L summed by sector from `pnl_by_name`: sector, names, the parts (Decimal); best first."""
    return (
        by_name.group_by("sector")
        .agg(pl.len().cast(pl.Int64).alias("names"), *(pl.col(c).sum() for c in _PARTS))
        .sort("total", "sector", descending=[True, False])
    )
