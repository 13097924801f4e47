"""What cannot be borrowed is not sold short; what is borrowed costs the same in research, live and at the venue."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.books.accruals import Borrow
from quant_assets.books.holdings import Holdings
from quant_assets.books.terms import Terms
from quant_assets.contract import Table
from quant_assets.execution.lending import lendable
from quant_assets.instruments import Instrument
from quant_assets.post_trade.report import session_report
from quant_assets.post_trade.sections import parts, read
from quant_assets.records import Order, Working
from quant_assets.tables import BARS, CASH, JOURNAL, LISTINGS, PNL
from quant_assets.vendor_tables import BORROW_RATES, FX_RATES, INSTRUMENTS
from tests.books.hand_made import Live, S, bar, traded
from tests.execution.small_market import CUTS

TODAY, OLD = date(2024, 1, 10), date(2024, 1, 2)
TERMS = Terms("USD", {
    2: Instrument(2, kind="future"), 3: Instrument(3, step=Decimal(100)),
})  # fmt: skip


def order(sid: int, quantity: int, leg: str = "rebalance") -> Order:
    """A new order."""
    return Order(
        client_order_id=f"{sid}{leg}", book="b", strategy="s", decided=TODAY, session=TODAY, good_till=TODAY,
        slot="open",
        sid=sid, leg=leg, symbol=f"S{sid}", side=1 if quantity > 0 else -1, quantity=abs(quantity),
        reference_price=Decimal(10), decision_id="d",
    )  # fmt: skip


RATE = Decimal("0.02")
CASES: dict[str, tuple[int, int, list[int], list[int], Borrow | None, list[int]]] = {
    # name, held, at work, wanted, lent: sent
    "bought": (1, 0, [], [100], None, [100]),
    "what is held is sold": (1, 100, [], [-100], None, [-100]),
    "no rate": (1, 0, [], [-100], None, []),
    "no rate, of what is held only": (1, 60, [], [-100], None, [-60]),
    "an old rate": (1, 0, [], [-100], Borrow(RATE, OLD), []),
    "any number": (1, 0, [], [-100], Borrow(RATE, TODAY), [-100]),
    "as many as there are": (1, 0, [], [-100], Borrow(RATE, TODAY, 70), [-70]),
    "as many as there are, and what is held": (1, 10, [], [-100], Borrow(RATE, TODAY, 70), [-80]),
    "what works sells what is held": (1, 100, [-100], [-50], Borrow(RATE, TODAY, 20), [-20]),
    "what works buys": (1, 0, [100], [-150], None, [-100]),
    "a short is closed": (1, -100, [], [100], None, [100]),
    "two orders share what there is": (1, 0, [], [-50, -50], Borrow(RATE, TODAY, 70), [-50, -20]),
    "a future is not borrowed": (2, 0, [], [-100], None, [-100]),
    "whole lots": (3, 0, [], [-10], Borrow(RATE, TODAY, 750), [-7]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_short_is_opened_as_far_as_it_can_be_borrowed(case: str):
    sid, held, at_work, wanted, lent, sent = CASES[case]
    holdings = Holdings(session=TODAY, cash=Decimal(0), quantities={sid: held}, marks={sid: Decimal(10)}, terms=TERMS)
    working = [Working(order=order(sid, q, f"w{n}")) for n, q in enumerate(at_work)]
    orders = [order(sid, q, f"leg{n}") for n, q in enumerate(wanted)]
    kept, refused = lendable(orders, holdings, working, {sid: lent} if lent else {})
    assert [o.side * o.quantity for o in kept] == sent
    assert sum(o.quantity for o in kept) + sum(r.order.quantity for r in refused) == sum(map(abs, wanted))
    assert all(r.reason.startswith("BORROW: ") for r in refused)


def stored(table: Table, rows: list[dict[str, Any]]) -> tuple[Table, pl.DataFrame]:
    """Rows known at the cut of their session, or at that of `known`."""
    shared = {"withdrawn": False, "source": "hand", "file": "f.csv", "line": 1}
    full = [
        shared | {"capture": r["session"], "known_at": (at := CUTS.of(r["session"])), "declared_known_at": at} | r
        for r in rows
    ]
    full = [{c: row.get(c) for c in table.schema} for row in full]
    return table, table.conform(pl.DataFrame(full, schema=dict(table.schema)))


def market(lent: list[dict[str, Any]], foreign: bool = False) -> list[tuple[Table, pl.DataFrame]]:
    """Two listed names, of which the second may trade in euros, and rates."""
    listed = [
        {"session": S[0], "sid": sid, "symbol": f"S{sid}", "name": "", "sector": None, "listed": True, "capture": S[0],
         "known_at": CUTS.of(S[0])}
        for sid in (1, 2)
    ]  # fmt: skip
    found = [(LISTINGS, LISTINGS.conform(pl.DataFrame(listed, schema=dict(LISTINGS.schema))))]
    if lent:
        found.append(stored(BORROW_RATES, lent))
    if foreign:
        terms = {"session": S[0], "calendar": "XNYS", "symbol": "S2", "kind": "equity", "currency": "EUR"}
        rates = [
            {"session": day, "base": "EUR", "quote": "USD", "rate": 1.05 + n / 100} for n, day in enumerate(S[:10])
        ]
        found += [stored(INSTRUMENTS, [terms]), stored(FX_RATES, rates)]
    return found


BARS_OF_TWO = [bar(day, sid, 20 + sid + n / 4) for n, day in enumerate(S[:10]) for sid in (1, 2)]
NONE: dict[int, float] = {}


def short(root: Path, lent: list[dict[str, Any]], *, foreign: bool = False) -> Live:
    """Long one name and short the other for some days, in research and live against the paper venue: compared."""
    wanted = {day: {1: 500, 2: -300} for day in S[1:6]} | {day: {1: 0, 2: 0} for day in S[6:9]}
    return traded(root, BARS_OF_TWO, (), {S[0]: NONE, **wanted}, beside=market(lent, foreign))


def test_a_short_costs_its_rate_by_the_day_over_weekends(tmp_path: Path):
    live = short(tmp_path, [{"session": S[0], "symbol": "S2", "rate": 0.09, "available": 1_000}])
    paid = live.read(JOURNAL).filter(kind="borrow").sort("session")
    closes = dict(live.read(BARS).filter(sid=2).select("session", "close").iter_rows())
    before = dict(zip(S[1:], S, strict=False))
    assert paid.height == 5
    for session, sid, amount in paid.select("session", "sid", "amount").iter_rows():
        nights = (session - before[session]).days
        expected = Decimal(300) * Decimal(str(closes[before[session]])) * Decimal("0.09") * nights / 360
        assert (sid, amount) == (2, -expected.quantize(Decimal("0.000001")))
    income = live.read(PNL).filter(sid=2).sort("session").filter(pl.col("income") != 0)["income"].to_list()
    assert income == paid["amount"].to_list()


def test_a_short_that_cannot_be_borrowed_is_not_opened(tmp_path: Path):
    assert short(tmp_path, [{"session": S[0], "symbol": "S1", "rate": 0.01, "available": 0}]).held(S[5]) == {1: 500}


def test_a_short_is_as_large_as_what_can_be_borrowed(tmp_path: Path):
    live = short(tmp_path, [{"session": S[1], "symbol": "S2", "rate": 0.01, "available": 120}])
    assert live.held(S[2]) == {1: 500, 2: -120}


def test_a_short_in_another_currency_is_charged_in_it(tmp_path: Path):
    live = short(tmp_path, [{"session": S[0], "symbol": "S2", "rate": 0.09, "available": None}], foreign=True)
    assert set(live.read(JOURNAL).filter(kind="borrow")["currency"]) == {"EUR"}
    own = live.read(PNL).filter(sid=0)
    assert own["currencies"].to_list()
    assert all(row["total"] == row["currencies"] for row in own.iter_rows(named=True))


def test_the_page_shows_cash_by_currency_and_what_the_rates_made_of_it(tmp_path: Path):
    lent = [{"session": S[0], "symbol": "S2", "rate": 0.09, "available": None}]
    live = short(tmp_path, lent, foreign=True)
    page = session_report(live.store, [], live.book, S[4], folder=tmp_path).read_text()
    gain = live.read(CASH).filter(session=S[4], currency="EUR")["gain"][0]
    assert "Cash by currency" in page
    assert "cash and currencies" in page
    assert f"{gain:+,.2f}".replace("-", "\u2212") in page.replace("-", "\u2212")
    assert parts(read(live.store, live.book, S[1], S[8]))["currencies"] == sum(live.read(CASH)["gain"])
    plain = short(tmp_path / "plain", lent)
    assert "Cash by currency" not in session_report(plain.store, [], plain.book, S[4], folder=tmp_path).read_text()
