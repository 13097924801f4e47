"""Law 1 over the whole chain: a range equals its days, bit for bit, and what was traded live equals what research
saw, to the cent.
"""

from pathlib import Path

import polars as pl
import pytest

from desk.workspace import Workspace
from quant_assets.contract import Table
from quant_assets.records import frame_hash
from quant_assets.tables import ACTIONS, BARS, DECISIONS, JOURNAL, LISTINGS, MODELS, NAV, POSITIONS, QUARANTINE
from tests.jobs.small import CUTS, DERIVED, LIVE, PAPER, POST_TRADE, RESEARCH, content, of_book, workspace


@pytest.fixture(scope="module")
def days(by_day: Path) -> Workspace:
    return workspace(by_day)


@pytest.fixture(scope="module")
def span(by_range: Path) -> Workspace:
    return workspace(by_range)


def test_the_days_hold_what_goes_wrong(days: Workspace):
    """The comparisons below are worth something: in the live sessions names split, die, are listed, renamed,
    halted; rows are restated, refused, late; models are cut.
    """
    since = pl.col("session") >= LIVE[0]
    bars = content(days, BARS).filter(since)
    assert bars.select("sid", "session").is_duplicated().any()
    assert {"split", "dividend", "delisting", "symbol_change"} <= set(content(days, ACTIONS).filter(since)["kind"])
    assert set(content(days, LISTINGS).filter(since)["listed"]) == {True, False}
    assert content(days, QUARANTINE).filter(pl.col("capture") >= LIVE[0]).height > 1
    assert content(days, MODELS).filter(since).height == 1
    assert {"SELECTED", "LEFT_UNIVERSE", "DATA_NO_BAR", "DATA_THIN", "DATA_MISSING"} <= set(
        content(days, DECISIONS).filter(since)["reason"]
    )
    assert {"trade", "fee", "deposit", "dividend"} <= set(of_book(days, JOURNAL, PAPER)["kind"])
    splits = content(days, ACTIONS).filter(since, pl.col("kind") == "split").select("sid", "session")
    evenings = splits.with_columns(
        pl.col("session").map_elements(lambda ex: CUTS.calendar.shift(ex, -1), return_dtype=pl.Date)
    )
    assert evenings.join(of_book(days, POSITIONS, PAPER), on=["sid", "session"]).height > 0


@pytest.mark.parametrize("table", DERIVED, ids=lambda t: t.name)
def test_range_equals_its_days(days: Workspace, span: Workspace, table: Table):
    """Every row of history and of the live sessions has the same bits, whether made by one call or day by day."""
    one, other = content(span, table), content(days, table)
    assert one.height > 0
    assert one.equals(other)
    assert frame_hash(one) == frame_hash(other)


@pytest.mark.parametrize("table", POST_TRADE, ids=lambda t: t.name)
def test_research_range_equals_its_days(days: Workspace, span: Workspace, table: Table):
    """A research book traded over the range has the rows of one traded day by day."""
    one, other = (content(ws, table).filter(pl.col("book") == RESEARCH.name) for ws in (span, days))
    assert one.height > 0
    assert frame_hash(one) == frame_hash(other)


@pytest.mark.parametrize("table", POST_TRADE, ids=lambda t: t.name)
def test_live_equals_research(days: Workspace, span: Workspace, table: Table):
    """Through outbox, venue and drop copy, day by day, the book has the orders, fills, positions, cash, P&L and
    costs of the research range, to the cent.
    """
    live, research = of_book(days, table, PAPER), of_book(span, table, RESEARCH)
    assert live.height > 0
    assert frame_hash(live) == frame_hash(research)


def test_nothing_to_explain(days: Workspace):
    """The venue's own record agrees with ours at the end, and there never was a break."""
    venue = days.brokers.open(PAPER)
    last = content(days, NAV).filter(book=PAPER.name, session=LIVE[-1]).row(0, named=True)
    held = content(days, POSITIONS).filter(book=PAPER.name, session=LIVE[-1])
    assert venue.cash() == last["cash"]
    assert venue.positions() == dict(held.select("sid", "quantity").iter_rows())
    assert days.ledger.breaks.listed(open_only=False) == []
