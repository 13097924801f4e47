"""A book of everything at once: shares in two currencies, a fraction of a coin, a future and a perpetual contract, long
and short. Research, the live books and the paper venue have the same rows, and they add up.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
from msgspec import structs

from quant_assets.contract import Table
from quant_assets.records import BookLimits
from quant_assets.tables import CASH, COSTS, JOURNAL, LISTINGS, NAV, PNL, POSITIONS
from quant_assets.vendor_tables import BORROW_RATES, FUNDING_RATES, FX_RATES, INSTRUMENTS
from tests.books.hand_made import Live, S, bar, traded
from tests.execution.small_market import CUTS, PAPER
from tests.execution.test_lending import stored

DAYS = S[:10]
TERMS = {
    2: {"kind": "equity", "currency": "EUR"},
    3: {"kind": "spot", "currency": "USD", "step": Decimal("0.00000001")},
    4: {"kind": "future", "currency": "EUR", "multiplier": Decimal(10), "underlying": "X", "expiry": DAYS[7]},
    5: {"kind": "perpetual", "currency": "USD", "step": Decimal("0.001")},
}
UNITS = {3: Decimal("0.00000001"), 4: Decimal(10), 5: Decimal("0.001")}
WEIGHTS: Mapping[int, float] = {1: 0.2, 2: -0.15, 3: 0.1, 4: 0.25, 5: -0.2}
PRICES = {1: 20.0, 2: 31.0, 3: 41_234.56, 4: 105.0, 5: 2_345.5}


def listed() -> pl.DataFrame:
    """All names from the first day on."""
    rows = [
        {"session": S[0], "sid": sid, "symbol": f"S{sid}", "name": "", "sector": None, "listed": True, "capture": S[0],
         "known_at": CUTS.of(S[0])}
        for sid in PRICES
    ]  # fmt: skip
    return LISTINGS.conform(pl.DataFrame(rows, schema=dict(LISTINGS.schema)))


def funding() -> tuple[Table, pl.DataFrame]:
    """Three payments a day; those of one night are known a session late."""
    begin = datetime.combine(DAYS[0], datetime.min.time(), CUTS.of(DAYS[0]).tzinfo)
    rows = []
    for n in range(3 * 14):
        ts = begin + timedelta(hours=8 * n)
        known = ts + timedelta(minutes=5) + timedelta(days=4 if 12 <= n <= 14 else 0)
        rows.append(
            {"ts": ts, "venue": "V", "symbol": "S5", "rate": 0.0001 * (1 + n % 3), "price": None, "withdrawn": False,
             "source": "hand", "capture": ts.date(), "file": "f.csv", "line": n, "known_at": known,
             "declared_known_at": known}
        )  # fmt: skip
    return FUNDING_RATES, FUNDING_RATES.conform(pl.DataFrame(rows, schema=dict(FUNDING_RATES.schema)))


def beside() -> Iterator[tuple[Table, pl.DataFrame]]:
    """What is known of the names and currencies."""
    yield LISTINGS, listed()
    yield stored(INSTRUMENTS, [{"session": S[0], "calendar": "XNYS", "symbol": f"S{s}", **t} for s, t in TERMS.items()])
    yield stored(BORROW_RATES, [{"session": S[0], "symbol": "S2", "rate": 0.03, "available": None}])
    yield stored(
        FX_RATES, [{"session": d, "base": "USD", "quote": "EUR", "rate": 0.91 + n / 300} for n, d in enumerate(DAYS)]
    )
    yield funding()


def test_a_book_of_everything_is_the_same_in_research_and_live_and_adds_up(tmp_path: Path):
    bars = [
        bar(day, sid, round(price * (1 + (n * sid * 7 % 11 - 5) / 200), 2), round(price * (1 + n / 90), 2))
        for n, day in enumerate(DAYS)
        for sid, price in PRICES.items()
    ]
    wanted: dict[date, Mapping[int, float]] = {DAYS[0]: {}}
    wanted |= dict.fromkeys(DAYS[1:6], WEIGHTS) | {day: {s: w / 2 for s, w in WEIGHTS.items()} for day in DAYS[6:9]}
    book = structs.replace(PAPER, limits=BookLimits(max_gross=Decimal(2), max_leverage=Decimal(4)))
    live = traded(tmp_path, bars, (), wanted, capital=Decimal(1_000_000), beside=tuple(beside()), book=book)
    journal, held = live.read(JOURNAL), live.read(POSITIONS)
    kinds = {"trade", "fee", "deposit", "borrow", "variation", "funding", "expiry"}
    assert set(journal["kind"]) == kinds
    for row in live.read(NAV).iter_rows(named=True):
        of_day = [t.filter(session=row["session"]) for t in (held, live.read(PNL), live.read(CASH))]
        assert row["equity"] == row["cash"] + sum(of_day[0]["value"], Decimal(0))
        if row["session"] > DAYS[0]:
            assert row["pnl"] == sum(of_day[1]["total"], Decimal(0))
        if of_day[2].height:
            assert row["cash"] == sum(of_day[2]["value"])
            assert sum(of_day[2]["gain"]) == sum(of_day[1]["currencies"].drop_nulls())
    assert max(held.filter(sid=3)["quantity"].to_list()) > 10**8  # counts of 1e-8
    assert set(held.filter(pl.col("sid").is_in([4, 5]))["value"]) == {Decimal(0)}
    assert held.filter(sid=4)["session"].max() == CUTS.calendar.before(DAYS[7])  # settled on its last day
    late = journal.filter(kind="funding").filter(pl.col("reference").str.slice(0, 10).str.to_date() < pl.col("session"))
    assert late.height >= 2
    costs_add_up(live)


def costs_add_up(live: Live) -> None:
    """Fees of COSTS are those of P&L by name and of NAV; each term in its currency is the order's own arithmetic, and
    in the book's that at the rate of the evening.
    """
    costs, rates = live.read(COSTS), {(r["session"], r["currency"]): r["rate"] for r in live.read(CASH).to_dicts()}
    assert set(costs["currency"]) == {None, "EUR"}
    by_name = costs.group_by("session", "sid").agg(pl.col("fees").sum().alias("paid"))
    both = live.read(PNL).filter(pl.col("sid") > 0).join(by_name, on=["session", "sid"], how="left")
    assert both["fees"].equals(-both["paid"].fill_null(Decimal(0)), check_names=False)
    nav = live.read(NAV)
    paid = dict(costs.group_by("session").agg(pl.col("fees").sum()).iter_rows())
    assert [paid.get(s, 0) for s in nav["session"]] == nav["fees"].to_list()
    for row in costs.iter_rows(named=True):
        terms = ("delay", "trading", "opportunity", "fees")
        assert row["shortfall"] == sum(row[t] for t in terms)
        unit = UNITS.get(row["sid"], Decimal(1))
        rate = rates[row["session"], row["currency"]] if row["currency"] else Decimal(1)
        own = "local_" if row["currency"] else ""
        assert row[f"{own}shortfall"] == sum(row[f"{own}{t}"] for t in terms)
        trading = row["side"] * row["filled"] * unit * (row["fill_price"] - row["arrival_price"])
        assert row[f"{own}trading"] == trading.quantize(Decimal("0.000001"))  # each order has one execution
        assert row["trading"] == (row[f"{own}trading"] * rate).quantize(Decimal("0.000001"))
        worth = row["quantity"] * unit * row["decision_price"] * rate
        if unit == rate == 1:
            assert row["decided_value"] is None
        else:
            assert abs(row["decided_value"] - worth) < Decimal("0.00001")
