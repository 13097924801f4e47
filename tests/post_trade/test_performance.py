from datetime import date, timedelta
from decimal import Decimal
from math import isclose, isfinite, sqrt
from statistics import fmean, stdev

import msgspec
import polars as pl
import pytest

from quant_assets.post_trade.performance import curve, performance, pnl_by_name, pnl_by_sector
from quant_assets.tables import COSTS, LISTINGS, NAV, PNL

DAYS = [date(2024, 1, d) for d in (3, 4, 5, 8)]


@pytest.fixture
def nav(cuts) -> pl.DataFrame:
    """100,000 of capital gains 1%, loses 2%, stands still, gains 1%."""
    equity = [Decimal(101_000), Decimal(98_980), Decimal(98_980), Decimal("99969.80")]
    before = [Decimal(100_000), *equity]
    rows = [
        {
            "session": d,
            "book": "alpha",
            "cash": e - 50_000 + 10_000,
            "long_value": Decimal(50_000),
            "short_value": Decimal(-10_000),
            "equity": e,
            "pnl": e - b,
            "fees": Decimal(5),
            "traded": Decimal(10_000),
            "names": 3,
            "known_at": cuts.of(d),
        }
        for d, e, b in zip(DAYS, equity, before, strict=False)
    ]
    return pl.DataFrame(rows, schema=dict(NAV.schema))


def test_curve_by_hand(nav):
    """Returns are over the starting equity, drawdown from the highest so far, exposure over equity."""
    line = curve(nav)
    assert [round(r, 12) for r in line["return"]] == [0.01, -0.02, 0, 0.01]
    assert [round(d, 12) for d in line["drawdown"]] == [0, -0.02, -0.02, round(99969.8 / 101_000 - 1, 12)]
    assert isclose(line["gross"][0], 60_000 / 101_000)
    assert isclose(line["net"][0], 40_000 / 101_000)
    assert isclose(line["turnover"][1], 10_000 / 101_000)


def test_drawdown_counts_from_the_capital(nav):
    """A book that only loses is in drawdown from its first session."""
    assert isclose(curve(nav.slice(1, 1))["drawdown"][0], -0.02)


def test_figures_by_hand(nav, cuts):
    """Every figure equals the one computed by hand."""
    costs = pl.DataFrame({"trading": [Decimal(20), Decimal(-4)]}, schema={"trading": COSTS.schema["trading"]})
    p = performance(nav, costs)
    assert p is not None
    deviation = sqrt((0.01**2 + 0.02**2 + 0 + 0.01**2) / 3)  # the mean is zero
    assert isclose(p.annual_volatility or 0, deviation * sqrt(252))
    assert abs(p.sharpe or 0) < 1e-9
    assert isclose(p.total_return, 99969.8 / 100_000 - 1)
    assert isclose(p.annual_return or 0, (99969.8 / 100_000) ** 63 - 1)
    assert isclose(p.max_drawdown, -0.02)
    assert isclose(p.hit_rate or 0, 2 / 3)
    assert isclose(p.turnover, (0.1 + 10 / 101 + 2 * 1000 / 9898) / 4)
    assert (round(p.pnl_net, 6), round(p.pnl_gross, 6), p.fees, p.slippage) == (-30.2, 5.8, 20, 16)
    assert isclose(p.costs_bps or 0, 36 / 40_000 * 10_000)


def test_one_session_tells_no_volatility_and_none_tells_nothing(nav):
    """What cannot be computed is None, never a number."""
    p = performance(nav.head(1), COSTS.empty())
    assert p is not None
    assert (p.annual_return, p.annual_volatility, p.sharpe) == (None, None, None)
    assert performance(nav.clear(), COSTS.empty()) is None


def booked(equities: list[str], start: str, days: list[date], flows: dict[int, str] | None = None) -> pl.DataFrame:
    """NAV rows of a book without positions: equity after each session, and the capital that moved before some."""
    before, rows = Decimal(start), []
    for n, (day, equity) in enumerate(zip(days, map(Decimal, equities), strict=True)):
        pnl = equity - before - Decimal((flows or {}).get(n, "0"))
        zero = dict.fromkeys(("long_value", "short_value", "fees", "traded"), Decimal(0))
        rows.append({"session": day, "book": "b", "cash": equity, "equity": equity, "pnl": pnl, "names": 0, **zero})
        before = equity
    return pl.DataFrame(rows, schema={c: t for c, t in NAV.schema.items() if c != "known_at"})


def sessions(n: int) -> list[date]:
    """Weekdays from 2 January 2023."""
    return [d for i in range(2 * n) if (d := date(2023, 1, 2) + timedelta(i)).weekday() < 5][:n]


EDGES = {
    "constant returns": (["101000", "102010", "103030.10", "104060.40"], "100000", {"sharpe"}),
    "nothing moves": (["100000"] * 4, "100000", {"sharpe", "hit_rate"}),
    "one session": (["99000"], "100000", {"annual_return", "annual_volatility", "sharpe"}),
    "equity to zero": (
        ["50000", "0", "0"],
        "100000",
        {"annual_return", "annual_volatility", "sharpe", "turnover"},
    ),
    "equity below zero and up again": (
        ["50000", "-10000", "-20000", "-10000"],
        "100000",
        {"annual_return", "annual_volatility", "sharpe", "turnover"},
    ),
    "no capital": (
        ["0", "0"],
        "0",
        {"total_return", "max_drawdown", "annual_return", "annual_volatility", "sharpe", "hit_rate", "turnover"}
        | {"gross_exposure", "net_exposure"},
    ),
}


@pytest.mark.parametrize(("equities", "start", "undefined"), EDGES.values(), ids=EDGES.keys())
def test_what_is_not_defined_is_null_and_says_why(equities, start, undefined) -> None:
    """A figure is a finite number, or None with its reason: never a NaN, an infinity or a ratio of rounding."""
    p = performance(booked(equities, start, sessions(len(equities))), COSTS.empty())
    assert p is not None
    figures = {f: v for f, v in msgspec.structs.asdict(p).items() if isinstance(v, float) or v is None}
    assert {f for f, v in figures.items() if v is None} == {*undefined, "costs_bps"} == set(p.undefined)
    assert all(isfinite(v) for v in figures.values() if v is not None)
    assert all(p.undefined.values())


def test_a_loss_of_more_than_everything_is_a_loss() -> None:
    """Total return and drawdown are of the capital: −110 % and −120 % where the book came to owe money."""
    p = performance(booked(["50000", "-10000", "-20000", "-10000"], "100000", sessions(4)), COSTS.empty())
    assert p is not None
    assert isclose(p.total_return or 0, -1.1)
    assert isclose(p.max_drawdown or 0, -1.2)


def test_a_year_is_the_calendars() -> None:
    """A whole year of a venue that never closes has its own return for a year, and 365 sessions in its ratios."""
    days = [date(2023, 1, 1) + timedelta(i) for i in range(365)]
    equity, equities = Decimal(100_000), []
    for i in range(365):
        equity = (equity * (Decimal("1.002") if i % 2 else Decimal("0.999"))).quantize(Decimal("0.000001"))
        equities.append(str(equity))
    returns = [0.002 if i % 2 else -0.001 for i in range(365)]
    nav = booked(equities, "100000", days)
    for p in (performance(nav, COSTS.empty()), performance(nav, COSTS.empty(), per_year=365)):
        assert p is not None
        assert isclose(p.annual_return or 0, p.total_return or 1, rel_tol=1e-12)
        assert isclose(p.sharpe or 0, fmean(returns) / stdev(returns) * sqrt(365), rel_tol=1e-6)
    other = performance(nav, COSTS.empty(), per_year=252)
    assert other is not None
    assert isclose((other.sharpe or 0) / (p.sharpe or 1), sqrt(252 / 365))


def test_capital_that_moves_is_no_return() -> None:
    """100,000 earns 1 %, another 100,000 is paid in, the book earns 1 %, half is paid out, it loses 1 %: what a
    share of it did.
    """
    nav = booked(["101000", "203010", "100484.95"], "100000", sessions(3), {1: "100000", 2: "-101510.05"})
    line, p = curve(nav), performance(nav, COSTS.empty())
    assert line["return"].to_list() == pytest.approx([0.01, 0.01, -0.01], abs=1e-5)
    assert p is not None
    assert p.total_return == pytest.approx(1.01 * 1.01 * 0.99 - 1, abs=1e-5)
    assert p.max_drawdown == pytest.approx(-0.01, abs=1e-5)


def test_pnl_by_name_and_sector_adds_up(cuts):
    """Sums are exact, the latest listing names the sector, a name without one is unknown."""
    at = cuts.of(DAYS[0])
    pnl = pl.DataFrame(
        [
            {
                "session": d,
                "book": "alpha",
                "sid": s,
                "holding": Decimal(t),
                "trading": Decimal(0),
                "income": Decimal(0),
                "fees": Decimal(0),
                "total": Decimal(t),
                "known_at": at,
            }
            for d, s, t in ((DAYS[0], 1, "0.1"), (DAYS[1], 1, "0.2"), (DAYS[0], 2, "-7"), (DAYS[0], 3, "2"))
        ],
        schema=dict(PNL.schema),
    )
    listings = pl.DataFrame(
        [
            {"session": d, "sid": s, "symbol": y, "name": y, "sector": c, "listed": True, "capture": d, "known_at": at}
            for d, s, y, c in (
                (DAYS[0], 1, "OLD", "tech"),
                (DAYS[1], 1, "NEW", "energy"),
                (DAYS[0], 2, "B", None),
                (DAYS[0], 3, "C", "energy"),
            )
        ],
        schema=dict(LISTINGS.schema),
    )
    names = pnl_by_name(pnl, listings)
    assert names.select("symbol", "sector", "total").rows() == [
        ("C", "energy", Decimal(2)),
        ("NEW", "energy", Decimal("0.3")),
        ("B", "unknown", Decimal(-7)),
    ]
    assert pnl_by_sector(names).select("sector", "names", "total").rows() == [
        ("energy", 2, Decimal("2.3")),
        ("unknown", 1, Decimal(-7)),
    ]
