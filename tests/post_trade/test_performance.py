from datetime import date
from decimal import Decimal
from math import isclose, sqrt

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
            "session": d, "book": "alpha", "cash": e - 50_000 + 10_000, "long_value": Decimal(50_000), "short_value": Decimal(-10_000), "equity": e, "pnl": e - b,
            "fees": Decimal(5), "traded": Decimal(10_000), "names": 3, "known_at": cuts.of(d),
        }
        for d, e, b in zip(DAYS, equity, before, strict=False)
    ]  # fmt: skip
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
