"""How a book did, from its NAV, PNL and COSTS rows. Money stays Decimal; ratios are float64."""

from datetime import date
from math import sqrt

import polars as pl

from quant_assets.contract import in_force
from quant_assets.records import Frozen
from quant_assets.tables import LISTINGS

SESSIONS_PER_YEAR = 252
BPS = 10_000

_PARTS = ("holding", "trading", "income", "fees", "total")


class Performance(Frozen, frozen=True):
    """The figures of a range. Returns, volatility and drawdown are fractions, `costs_bps` basis points of traded value, P&L in the book's currency.

    `annual_return` compounds; `sharpe` is mean over standard deviation (n-1) of session returns times √252, with no
    riskless rate (Sharpe 1994). What two sessions cannot tell is None.
    """

    first: date
    last: date
    sessions: int
    total_return: float
    annual_return: float | None
    annual_volatility: float | None
    sharpe: float | None
    max_drawdown: float
    hit_rate: float | None  # share of winning sessions among those that moved
    turnover: float  # mean traded value over the equity at the session's start, both sides
    gross_exposure: float
    net_exposure: float
    pnl_gross: float  # before fees and slippage
    pnl_net: float
    fees: float
    slippage: float  # fill against arrival price
    traded: float
    costs_bps: float | None


def curve(nav: pl.DataFrame) -> pl.DataFrame:
    """One row per session, ascending: equity, pnl (currency), `return`, drawdown (≤ 0), gross, net, turnover (fractions of equity), float64.

    A return is the session's P&L over the equity it started with, which is equity less P&L. Drawdown is measured from the
    highest equity so far, the starting one included.
    """
    money = nav.sort("session").select(
        "session", *(pl.col(c).cast(pl.Float64) for c in ("equity", "pnl", "long_value", "short_value", "traded"))
    )
    start = pl.col("equity") - pl.col("pnl")
    peak = pl.max_horizontal(pl.col("equity").cum_max(), start.first())
    return money.select(
        "session",
        "equity",
        "pnl",
        (pl.col("pnl") / start).alias("return"),
        (pl.col("equity") / peak - 1).alias("drawdown"),
        ((pl.col("long_value") - pl.col("short_value")) / pl.col("equity")).alias("gross"),
        ((pl.col("long_value") + pl.col("short_value")) / pl.col("equity")).alias("net"),
        (pl.col("traded") / start).alias("turnover"),
    )


def performance(nav: pl.DataFrame, costs: pl.DataFrame) -> Performance | None:
    """The figures of the sessions in `nav`, slippage from `costs`; None where there are no sessions."""
    if nav.is_empty():
        return None
    line = curve(nav)
    returns = line["return"].to_list()
    growth = line["equity"][-1] / (line["equity"][0] - line["pnl"][0])
    mean = sum(returns) / len(returns)
    deviation = sqrt(sum((r - mean) ** 2 for r in returns) / (len(returns) - 1)) if len(returns) > 1 else None
    moved = [r for r in returns if r != 0]
    pnl, fees, traded = (float(nav[c].sum()) for c in ("pnl", "fees", "traded"))
    slippage = float(costs["trading"].sum())
    return Performance(
        first=line["session"][0],
        last=line["session"][-1],
        sessions=len(returns),
        total_return=growth - 1,
        annual_return=growth ** (SESSIONS_PER_YEAR / len(returns)) - 1 if len(returns) > 1 and growth > 0 else None,
        annual_volatility=deviation * sqrt(SESSIONS_PER_YEAR) if deviation is not None else None,
        sharpe=mean / deviation * sqrt(SESSIONS_PER_YEAR) if deviation else None,
        max_drawdown=min(line["drawdown"].to_list()),
        hit_rate=sum(r > 0 for r in moved) / len(moved) if moved else None,
        turnover=sum(line["turnover"].to_list()) / len(returns),
        gross_exposure=sum(line["gross"].to_list()) / len(returns),
        net_exposure=sum(line["net"].to_list()) / len(returns),
        pnl_gross=pnl + fees + slippage,
        pnl_net=pnl,
        fees=fees,
        slippage=slippage,
        traded=traded,
        costs_bps=(fees + slippage) / traded * BPS if traded else None,
    )


def sectors(listings: pl.DataFrame) -> pl.DataFrame:
    """The latest listing of each sid: sid, symbol, sector ("unknown" where the vendor names none)."""
    latest = (
        in_force(listings, LISTINGS).sort("sid", "session", "known_at").unique("sid", keep="last", maintain_order=True)
    )
    return latest.select("sid", "symbol", pl.col("sector").fill_null("unknown"))


def pnl_by_name(pnl: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """P&L summed by name: sid, symbol, sector and the parts (Decimal); best first."""
    summed = pnl.group_by("sid").agg(pl.col(c).sum() for c in _PARTS)
    named = summed.join(sectors(listings), on="sid", how="left").with_columns(
        pl.col("symbol").fill_null(pl.col("sid").cast(pl.String)), pl.col("sector").fill_null("unknown")
    )
    return named.select("sid", "symbol", "sector", *_PARTS).sort("total", "sid", descending=[True, False])


def pnl_by_sector(by_name: pl.DataFrame) -> pl.DataFrame:
    """P&L summed by sector from `pnl_by_name`: sector, names, the parts (Decimal); best first."""
    return (
        by_name.group_by("sector")
        .agg(pl.len().cast(pl.Int64).alias("names"), *(pl.col(c).sum() for c in _PARTS))
        .sort("total", "sector", descending=[True, False])
    )
