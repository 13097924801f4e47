"""A capital that is edited later is money paid in or out: it is booked on both sides, and it is no gain."""

from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.backtest.loop import run
from quant_assets.books.booking import book_session, paid_in
from quant_assets.execution.drop_copy import collect
from quant_assets.post_trade.performance import curve, performance
from quant_assets.post_trade.reconciliation import reconcile_session
from quant_assets.tables import COSTS, JOURNAL, NAV, PNL, POSITIONS
from tests.execution.small_market import CUTS, PAPER, RESEARCH, SESSIONS, STRATEGY, Home, desk, stored

EDITED = 5  # the session before which the capital is another


@pytest.mark.parametrize("capital", ["250000", "60000"])
def test_a_range_with_another_capital_equals_its_days(tmp_path: Path, capital: str):
    """From the session after the edit on the book has the difference, once, and a range gives what its days give."""
    edited = msgspec.structs.replace(RESEARCH, capital=Decimal(capital))
    ranged, by_day = stored(tmp_path / "range"), stored(tmp_path / "days")
    for store, calls in ((ranged, [SESSIONS[EDITED:]]), (by_day, [[s] for s in SESSIONS[EDITED:]])):
        run(store, STRATEGY, RESEARCH, CUTS, SESSIONS[:EDITED])
        for sessions in calls:
            run(store, STRATEGY, edited, CUTS, sessions)
    for table in (JOURNAL, PNL, POSITIONS, NAV):
        assert ranged.read(table, as_of=None).equals(by_day.read(table, as_of=None))
    moved = ranged.read(JOURNAL, as_of=None).filter(pl.col("reference") == "capital")
    flow = edited.capital - RESEARCH.capital
    kind = "deposit" if flow > 0 else "withdrawal"
    assert moved.select("session", "kind", "amount").rows() == [
        (SESSIONS[0], "deposit", RESEARCH.capital),
        (SESSIONS[EDITED], kind, flow),
    ]
    assert paid_in(ranged, edited) == edited.capital


def test_what_is_paid_in_is_no_profit(tmp_path: Path):
    """P&L adds up to the change of equity less the flow; returns are of what the session began with."""
    store, edited = stored(tmp_path), msgspec.structs.replace(RESEARCH, capital=Decimal(400_000))
    run(store, STRATEGY, RESEARCH, CUTS, SESSIONS[:EDITED])
    run(store, STRATEGY, edited, CUTS, SESSIONS[EDITED:])
    nav, line = store.read(NAV, as_of=None), curve(store.read(NAV, as_of=None))
    by_name = store.read(PNL, as_of=None)
    earned = nav["equity"][-1] - edited.capital
    assert sum(by_name["total"].to_list(), Decimal(0)) == sum(nav["pnl"].to_list(), Decimal(0)) == earned
    assert line["return"].abs().max() < 0.2  # a fourfold equity would show as +300 %
    figures = performance(nav, COSTS.empty())
    assert figures is not None
    assert figures.total_return is not None
    assert abs(figures.total_return) < 0.4


def test_the_venue_and_the_book_agree_on_it(tmp_path: Path):
    """The paper account gets the same money before the same session, so nothing is left to reconcile; opened again,
    it gets none.
    """
    home = Home(tmp_path)
    edited = msgspec.structs.replace(PAPER, capital=Decimal(250_000))
    for session in SESSIONS[:EDITED]:
        home.day(session)
    for session in SESSIONS[EDITED : EDITED + 3]:
        broker = desk(home.store, tmp_path / "brokers").open(edited)
        outbox, executions, breaks = home.ledger.outbox, home.ledger.executions, home.ledger.breaks
        collect(home.store, outbox, executions, broker, edited, CUTS, session, CUTS.of(session))
        book_session(home.store, edited, CUTS, session, executions.fills(edited.name))
        report = reconcile_session(
            outbox, executions, breaks, broker, home.store, edited, CUTS, session, home.told, now=CUTS.of(session)
        )
        assert (report.numbers["breaks_found"], breaks.listed()) == (0, [])
    nav = home.store.read(NAV, as_of=None)
    assert nav["equity"][-1] - sum(nav["pnl"].to_list(), Decimal(0)) == edited.capital
