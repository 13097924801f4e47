"""The simulated futures and coins: terms that the master takes, and a market that rolls."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.master import listed
from quant_assets.records import Capture
from quant_assets.tables import BARS, QUARANTINE
from quant_assets.vendor_tables import OPEN_INTEREST
from resources.sources.contracts import Contracts, SimulatedContracts
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
FIRST, LAST = date(2024, 1, 2), date(2024, 4, 12)
MARKET = Contracts(first=FIRST, last=LAST, roots=2, coins=1)


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    source = SimulatedContracts(MARKET, XNYS)
    return [source.fetch(label) for label in source.labels()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """Ingested to the last session."""
    made: Path = tmp_path_factory.mktemp("contracts")
    source, store = SimulatedContracts(MARKET, XNYS), DeltaStore(made)
    now = XNYS.open(XNYS.shift(LAST, 2))
    report = ingest(source, store, None, now, source.labels(), XNYS)
    assert report.state == "done", report.notes
    return store


def test_everything_is_taken_and_nothing_is_refused(store: DeltaStore) -> None:
    """Three contracts of each root trade at a time and one coin; terms and open interest come with them."""
    assert store.read(QUARANTINE, as_of=None).is_empty()
    first = store.read(BARS, as_of=None, first=FIRST, last=FIRST)["symbol"].to_list()
    assert sorted(first) == ["CAUSD", "FAH24", "FAM24", "FAU24", "FBH24", "FBM24", "FBU24"]
    assert store.read(OPEN_INTEREST, as_of=None, first=FIRST, last=FIRST).height == 6


def test_the_master_has_their_terms_as_known(store: DeltaStore) -> None:
    """Every second root is delivered; a contract that is not listed yet is not known."""
    cut = datetime.combine(date(2024, 3, 1), datetime.min.time(), XNYS.open(FIRST).tzinfo)
    known = {one.symbol: one for one in listed(store, cut)}
    assert (known["FAH24"].expiry, known["FAH24"].first_notice) == (date(2024, 3, 15), None)
    assert (known["FBH24"].expiry, known["FBH24"].first_notice) == (date(2024, 3, 15), date(2024, 2, 29))
    assert (known["FAH24"].unit, known["FBH24"].unit) == (Decimal(50), Decimal(1000))
    assert (known["CAUSD"].step, known["CAUSD"].min_notional) == (Decimal("0.00000001"), Decimal(5))
    assert "FAZ24" not in known
    assert "FAZ24" in {one.symbol for one in listed(store, cut + timedelta(days=30))}


def test_volume_moves_to_the_next_contract(captures: list[Capture]) -> None:
    """Most of it is in the first one, and in the second one some sessions before the expiry; all bars are bars."""
    volume = pl.concat(c.prices for c in captures).pivot("symbol", index="session", values="volume").sort("session")
    ahead = volume.filter(pl.col("FAM24") > pl.col("FAH24"))["session"]
    assert date(2024, 2, 26) < ahead[0] < date(2024, 3, 15)
    bars = pl.concat(c.prices for c in captures)
    assert bars.filter(
        (pl.col("high") < pl.max_horizontal("open", "close")) | (pl.col("low") > pl.min_horizontal("open", "close"))
    ).is_empty()
    futures = bars.filter(pl.col("symbol").str.starts_with("F"))
    assert futures.filter(pl.col("close") % 0.25 != 0).is_empty()


def test_a_later_end_goes_on_with_the_same_market(captures: list[Capture]) -> None:
    """The first sessions of a longer market are those of the shorter one, byte for byte."""
    longer = SimulatedContracts(Contracts(first=FIRST, last=date(2024, 6, 28), roots=2, coins=1), XNYS)
    assert [longer.fetch(c.label).sha256 for c in captures[:30]] == [c.sha256 for c in captures[:30]]
