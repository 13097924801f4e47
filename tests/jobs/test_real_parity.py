"""The same law on a slice of real captures: restatements, late rows, splits, deaths, and two changes of symbol, one
of which gives a living company another's symbol.
"""

from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest

from desk.workspace import Workspace
from quant_assets.contract import Table
from quant_assets.records import frame_hash
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, BARS, JOURNAL, PROPOSED_ACTIONS
from tests.jobs.small import (
    CUTS,
    DERIVED,
    PAPER,
    POST_TRADE,
    RESEARCH,
    STRATEGY,
    content,
    deployment,
    live,
    of_book,
    ranged,
    research,
    workspace,
)

FIRST, START, LAST = date(2015, 11, 2), date(2016, 1, 12), date(2016, 1, 22)
SESSIONS = CUTS.calendar.between(START, LAST)
SYMBOLS = [
    "ACE",
    "CB",
    "IACI",
    "IAC",
    "PMCS",
    "DYAX",
    "BMR",
    "THRX",
    "INVA",
    "MTL",
    "FCPT",
    "ETRM",
    "SHEN",
    "ACI",
    "ABBV",
    "ABT",
    "ADT",
    "APA",
    "CAT",
    "CL",
    "F",
    "COG",
    "EOG",
    "AAPL",
    "MSFT",
    "GOOG",
    "XOM",
    "GE",
    "SBUX",
    "INTC",
    "CSCO",
    "PFE",
    "T",
    "VZ",
    "WFC",
    "JPM",
    "C",
    "BAC",
    "KO",
    "PG",
    "WMT",
    "HD",
]
REAL: Strategy = msgspec.structs.replace(
    STRATEGY,
    universe=msgspec.structs.replace(STRATEGY.universe, size=len(SYMBOLS), lookback=6, min_price=0.1),
    model=msgspec.structs.replace(STRATEGY.model, validation=6, min_sessions=8, min_ic=-1.0),  # any champion will do
    holdings=20,
)


@pytest.fixture(scope="module")
def homes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Workspace]:
    """The range in one call for each stage, and day by day after the same history."""
    folder, panel = tmp_path_factory.mktemp("real"), shared_data / "pystock"
    captures = pl.scan_parquet(panel / "prices_20150323_20160630.parquet").filter(
        pl.col("captured_on").is_between(FIRST, LAST), pl.col("symbol").is_in(SYMBOLS)
    )
    captures.collect().write_parquet(folder / "prices.parquet")
    mapping = {"session": "date", "label": "captured_on", "adj_close": "adj_close"}
    source = {
        "kind": "files",
        "prices": str(folder / "prices.parquet"),
        "listings": str(panel / "listings_to_20160630.parquet"),
        "mapping": mapping,
        "known_at": "label+1d@13:00",
    }
    declared = deployment(source=source, strategy=REAL, start=START)
    span, days = workspace(folder / "range", declared), workspace(folder / "days", declared)
    ranged(span, CUTS.calendar.between(FIRST, LAST))
    research(span, RESEARCH, SESSIONS)
    ranged(days, CUTS.calendar.between(FIRST, CUTS.calendar.shift(START, -1)))
    for session in SESSIONS:
        live(days, [session])
        research(days, RESEARCH, [session])
    return span, days


def test_the_slice_holds_what_it_should(homes):
    """The comparisons below are worth something: all that the docstring above names happens in the slice, and in
    the sessions traded.
    """
    _, days = homes
    cuts = CUTS.frame(FIRST, LAST)
    bars = content(days, BARS).join(cuts, on="session")
    assert bars.filter(pl.col("session") >= START).select("sid", "session").is_duplicated().any()
    assert bars.filter(pl.col("session") == date(2015, 11, 17), pl.col("known_at") > pl.col("cut")).height > 30
    assert bars.filter(pl.col("symbol") == "CB", pl.col("session") == date(2016, 1, 14))["sid"].n_unique() == 2
    happened = set(content(days, ACTIONS).filter(pl.col("session") >= START)["kind"])
    assert happened == {"split", "dividend", "delisting", "symbol_change"}
    assert {"delisting", "dividend"} <= set(of_book(days, JOURNAL, PAPER)["kind"])


@pytest.mark.parametrize("table", [*DERIVED, PROPOSED_ACTIONS], ids=lambda t: t.name)
def test_range_equals_its_days(homes, table: Table):
    """Every row made from real captures has the same bits by range and by day."""
    span, days = homes
    assert frame_hash(content(span, table)) == frame_hash(content(days, table))


@pytest.mark.parametrize("table", POST_TRADE, ids=lambda t: t.name)
def test_live_equals_research(homes, table: Table):
    """What was traded live through outbox and venue is what research saw, by range and by day, to the cent."""
    span, days = homes
    live_rows = of_book(days, table, PAPER)
    assert live_rows.height > 0
    assert (
        frame_hash(live_rows)
        == frame_hash(of_book(span, table, RESEARCH))
        == frame_hash(of_book(days, table, RESEARCH))
    )
