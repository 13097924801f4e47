"""A deployment that decides by the hour: from the feed's bars to the research book, in one range or by the day."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from desk.checkup import checkup
from desk.day import arrive, derive, ports, slots_in
from desk.deployment import Deployment, Market
from desk.workspace import Workspace
from quant_assets import chain
from quant_assets.market_data.markets import named
from quant_assets.records import Book
from quant_assets.strategy import UniverseRule
from quant_assets.tables import BARS, DECISIONS, FILLS, MODELS, NAV, ORDERS, SCORES, UNIVERSE
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.sources.bars_of import BarsOf
from resources.sources.simulated_bars import SimulatedBars
from tests.jobs import two_venues
from tests.signals import hourly_market as market

TRAINED, LAST = date(2026, 2, 7), date(2026, 2, 10)
STRATEGY = market.renamed(market.STRATEGY, universe=UniverseRule(name="nine", size=9, lookback=2, min_price=1.0))


class Registry:
    """A registry that keeps nothing."""

    def log(self, **_: object) -> str:
        """See the port."""
        return "1"

    def promote(self, strategy: str, registry_version: str) -> None:
        """See the port."""


def opened(home: Path) -> Workspace:
    """A home whose feed has brought the bars of the venue."""
    source: Any = {"kind": "bars_of", "venue": market.VENUE, "frequency": "1h", "delay": 20}
    book = Book(name="sim", strategy=STRATEGY.name, account="SIM", capital=Decimal(100_000))
    declared = Deployment(
        source=source,
        strategies=(STRATEGY,),
        books=(book,),
        start=date(2026, 3, 1),
        clock="session",
        calendar="24/7",
        bars=(market.ON_BARS,),
    )
    ws = Workspace(home, declared, registry=Registry())
    ws.store.append(INTRADAY_BARS, market.bars())
    return ws


def backfilled(ws: Workspace, *, by_day: bool) -> None:
    """History to a model, then the sessions after it, in one range or a day at a time; and the book."""
    days = market.DAYS
    list(arrive(ws, LAST))
    list(derive(ws, [d for d in days if d <= TRAINED], train_at=[TRAINED]))
    after = [d for d in days if TRAINED < d <= LAST]
    for part in [[d] for d in after] if by_day else [after]:
        list(derive(ws, part, train_at=[]))
        given = ports(ws, ws.clock) | {"sessions": part}
        list(chain.RESEARCH.run(given))


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """In one range."""
    ws = opened(tmp_path_factory.mktemp("range"))
    backfilled(ws, by_day=False)
    return ws


def test_the_stages_of_a_range_decide_every_slot(ranged: Workspace) -> None:
    """Daily bars, a universe, a model and a set for each slot of three days; the book trades them."""
    read = ranged.store.read
    assert read(BARS, as_of=None)["session"].n_unique() == len(market.DAYS)
    assert read(UNIVERSE, as_of=None)["sid"].n_unique() == 9
    assert read(MODELS, as_of=None).height == 1
    rows = read(DECISIONS, as_of=None).filter(pl.col("session") > TRAINED)
    assert rows.select("session", "slot").n_unique() == len(slots_in(ranged, [date(2026, 2, 8)])) * 3 == 72
    assert rows.filter(verdict="TRADE").height > 300
    assert read(FILLS, as_of=None).height > 20
    assert read(NAV, as_of=None).height == 3


def test_a_range_of_stages_equals_its_days(ranged: Workspace, tmp_path: Path) -> None:
    """The same scores, decisions, orders, fills and cash, to the bit."""
    days = opened(tmp_path)
    backfilled(days, by_day=True)
    for table in (SCORES, DECISIONS, ORDERS, FILLS, NAV):
        one, other = (ws.store.read(table, as_of=None).select(table.content) for ws in (days, ranged))
        assert one.equals(other), table.name


def test_a_lane_of_slots_beside_a_lane_of_days(tmp_path: Path) -> None:
    """In a home of New York's days, the hours of another market: its own bars, universe, model and decisions."""
    there: Any = {"kind": "bars_of", "venue": market.VENUE, "frequency": "1h", "delay": 20}
    whole = msgspec.structs.replace(
        two_venues.deployment(),
        strategies=(two_venues.NEW_YORK, STRATEGY),
        markets=(Market(calendar="24/7", source=there),),
        books=(),
        bars=(market.ON_BARS,),
    )
    ws = two_venues.workspace(tmp_path, whole)
    own, hours = ws.lanes
    assert (own.on_bars, hours.on_bars) == ((market.ON_BARS,), (market.ON_BARS,))
    source = pl.lit(named("x", "24/7"))
    ws.store.append(INTRADAY_BARS, market.bars().with_columns(source=source))
    list(arrive(hours, LAST))
    list(derive(hours, [d for d in market.DAYS if d <= TRAINED], train_at=[TRAINED]))
    list(derive(hours, [date(2026, 2, 8)], train_at=[]))
    rows = hours.store.read(DECISIONS, as_of=None).filter(pl.col("session") == date(2026, 2, 8))
    assert rows["slot"].n_unique() == 24
    assert rows.filter(verdict="TRADE").height > 100
    assert own.store.read(BARS, as_of=None).is_empty()
    assert slots_in(own, [date(2026, 2, 9)]) == []


def test_a_home_begins_with_what_its_feed_has(tmp_path: Path) -> None:
    """`quant check` opens daily bars that are made of intraday ones, before any is stored and after; without a feed
    that brings them it says that there are none.
    """
    feed: Any = {"kind": "simulated_bars", "first": date(2026, 2, 1), "last": date(2026, 2, 4), "names": 2}
    own = opened(tmp_path / "a").deployment
    fed = msgspec.structs.replace(own, feeds=(msgspec.convert(feed, SimulatedBars),))
    found = []
    for n, declared in enumerate((msgspec.structs.replace(fed, source=BarsOf(venue="simulated")), own)):
        ws = Workspace(tmp_path / f"home{n}", declared, registry=Registry())
        answers = {one.name: one for one in checkup(ws, datetime(2026, 2, 5, tzinfo=UTC)) if one.what == "source"}
        found += [(one.state, one.says) for one in answers.values()]
    assert [state for state, _ in found] == ["fine", "refused"]
    assert found[0][1].endswith("made of what intraday_bars brings")
