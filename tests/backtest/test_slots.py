"""A research book that trades at the slots of a session: its cash adds up, and it is the same however it is cut."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from shutil import copytree

import msgspec
import polars as pl
import pytest

from quant_assets.backtest.fills import costs_of
from quant_assets.backtest.loop import run
from quant_assets.backtest.slots import trade_slots
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, exact
from quant_assets.books.terms import Terms
from quant_assets.execution.slots import held_at
from quant_assets.market_data.ingest import ingest
from quant_assets.records import Book, StageReport
from quant_assets.tables import BARS, DECISIONS, FILLS, JOURNAL, NAV, ORDERS, POSITIONS
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.sources.bars_of import BarsOf, DailyBars
from resources.tables.store import DeltaStore
from tests.signals import hourly_market as market
from tests.signals.hourly_market import ALWAYS, CUTS, DAYS, ON_BARS, STRATEGY, TRAINED, VENUE

BOOK = Book(name="sim", strategy=STRATEGY.name, account="SIM", capital=Decimal(100_000))
TRADED = [d for d in DAYS if d >= TRAINED]


class Tracked:
    """A registry that keeps nothing."""

    def log(self, **_: object) -> str:
        """See the port."""
        return "1"

    def promote(self, strategy: str, registry_version: str) -> None:
        """See the port."""


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Daily bars made of hourly ones, and the decisions of two days."""
    root = tmp_path_factory.mktemp("slots")
    store = market.begun(root)
    store.append(INTRADAY_BARS, market.bars())
    source = DailyBars(BarsOf(venue=VENUE, delay=20), store, ALWAYS)
    assert source.labels() == DAYS
    ingest(source, store, None, CUTS.of(DAYS[-1]), DAYS, ALWAYS)
    market.history(store, Tracked())
    market.at_once(store, market.slots_after(TRAINED))
    return root


def traded(root: Path, into: Path, *, by_day: bool) -> tuple[DeltaStore, StageReport]:
    """The book traded over the days, in one go or day by day."""
    store = DeltaStore(copytree(root, into))
    parts = [[d] for d in TRADED] if by_day else [TRADED]
    return store, [run(store, STRATEGY, BOOK, CUTS, part, bars=ON_BARS) for part in parts][-1]


@pytest.fixture(scope="module")
def ranged(decided: Path, tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """In one go."""
    return traded(decided, tmp_path_factory.mktemp("range") / "home", by_day=False)[0]


def test_daily_bars_are_those_of_the_hours(decided: Path) -> None:
    """First open, highest high, lowest low, last close and the sum of volumes of what was known at the close."""
    store = DeltaStore(decided)
    hours = store.read(INTRADAY_BARS, as_of=None)
    daily = store.read(BARS, as_of=None)
    assert daily["session"].n_unique() == len(DAYS)
    for row in daily.sample(30, seed=2).iter_rows(named=True):
        closed = ALWAYS.close(row["session"]) + timedelta(seconds=20)
        seen = hours.filter(pl.col("symbol") == row["symbol"], pl.col("known_at") <= closed)
        inside = seen.filter(pl.col("ts").dt.date() == row["session"]).sort("ts", "known_at")
        last = inside.unique("ts", keep="last", maintain_order=True)
        assert (row["open"], row["close"]) == (last["open"][0], last["close"][-1])
        assert (row["high"], row["low"]) == (last["high"].max(), last["low"].min())
        assert row["volume"] == last["volume"].sum()
        assert row["known_at"] == closed


def test_a_book_of_slots_adds_up(ranged: DeltaStore) -> None:
    """Orders of every slot, each filled at the open of its bar, or expired; the cash is the capital and what moved."""
    orders, fills = (ranged.read(t, as_of=None) for t in (ORDERS, FILLS))
    assert orders["slot"].n_unique() > 12
    assert set(orders["state"]) <= {"FILLED", "EXPIRED"}
    assert fills.height > 20
    about = fills.join(orders.select("client_order_id", "slot", "reference_price"), on="client_order_id")
    opens = first_opens(ranged)
    for row in about.iter_rows(named=True):
        assert f"{row['ts']:%H:%M}" == row["slot"]
        assert row["arrival_price"] == opens[row["sid"], row["ts"]]
    nav, moved = ranged.read(NAV, as_of=None), ranged.read(JOURNAL, as_of=None)
    assert nav["session"].to_list() == TRADED
    assert nav["cash"][-1] == moved["amount"].sum()
    held = ranged.read(POSITIONS, as_of=None).filter(pl.col("session") == TRADED[-1])
    quantities = fills.group_by("sid").agg(n=(pl.col("side") * pl.col("quantity")).sum()).filter(pl.col("n") != 0)
    assert dict(held.select("sid", "quantity").iter_rows()) == dict(quantities.select("sid", "n").iter_rows())
    assert nav["equity"][-1] == nav["cash"][-1] + held["value"].sum()


def first_opens(store: DeltaStore) -> Mapping[tuple[int, object], Decimal]:
    """The open by sid and start, of the version known when a slot settles."""
    rows = store.read(INTRADAY_BARS, as_of=None).sort("known_at").unique(["symbol", "ts"], keep="first")
    return {(100 + int(s[1:]), t): exact(o) for s, t, o in rows.select("symbol", "ts", "open").rows()}


def test_a_range_equals_its_days(decided: Path, ranged: DeltaStore, tmp_path: Path) -> None:
    """One call or a call a day: the same orders, fills, cash and positions, to the bit."""
    days, _ = traded(decided, tmp_path / "days", by_day=True)
    for table in (ORDERS, FILLS, JOURNAL, POSITIONS, NAV):
        assert days.read(table, as_of=None).equals(ranged.read(table, as_of=None)), table.name


def test_an_account_that_cannot_pay_does_not_buy(decided: Path, tmp_path: Path) -> None:
    """Too little capital for a share: no order, and cash stays."""
    store = DeltaStore(copytree(decided, tmp_path / "home"))
    poor = msgspec.structs.replace(BOOK, capital=Decimal(50))
    run(store, STRATEGY, poor, CUTS, TRADED, bars=ON_BARS)
    assert store.read(ORDERS, as_of=None).is_empty()
    assert store.read(NAV, as_of=None)["cash"].to_list() == [Decimal(50)] * len(TRADED)


@pytest.mark.parametrize(("close", "orders"), [(100.0, False), (50.0, True)], ids=["doubtful", "explained"])
def test_a_doubtful_name_keeps_its_mark_and_is_not_sized(decided: Path, close: float, orders: bool) -> None:
    """A name whose mark of the evening is not the close that was printed is not traded at any slot of the session."""
    store, session = DeltaStore(decided), TRADED[-1]
    rows = store.read(DECISIONS, as_of=None, first=session, last=session)
    sid = rows.filter(pl.col("target_weight") > 0)["sid"][0]
    evening = Holdings(
        session=TRADED[-2], cash=Decimal(90_000), quantities={sid: 100}, marks={sid: Decimal(50)}, terms=Terms("USD")
    )
    printed = pl.DataFrame({"sid": [sid], "symbol": ["n"], "open": [close], "close": [close]})
    past = Past(evening=lambda _: evening, bars=lambda _: printed)
    found = trade_slots(store, STRATEGY, BOOK, CUTS, ON_BARS, session, rows, evening, costs_of(BOOK), past)
    assert (sid in {w.order.sid for w in found.orders}) is orders
    assert any("PRICE_UNEXPLAINED" in note for note in found.notes) is not orders
    first = next(s.slot for s in market.slots_after(TRADED[-2]) if s.session == session)
    at_first = rows.filter(slot=first)
    held = held_at(evening, (), at_first, past, CUTS, session)
    assert (held.marks[sid] == Decimal(50)) is not orders
