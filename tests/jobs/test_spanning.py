"""One universe of New York and London, decided in New York's evening: over Thanksgiving, the half days before
Christmas and Boxing Day, by day and by range.
"""

import shutil
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from desk.day import arrive, derive
from desk.deployment import Deployment, Market, load
from desk.workspace import Workspace
from desk.worth import worth
from quant_assets.backtest.loop import run
from quant_assets.books.fx import fx_rates
from quant_assets.contract import Table, in_force
from quant_assets.errors import ConfigurationError
from quant_assets.features.audit.audit import audit
from quant_assets.features.catalogue import find_set
from quant_assets.moments import AtTime
from quant_assets.records import Book
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, BARS, DECISIONS, FILLS, LABELS, NAV, POSITIONS, SCORES, UNIVERSE, VERDICTS
from tests.jobs import two_venues

SOON: dict[str, Any] = {**two_venues.QUIET, "delivered": 45}  # minutes after the close
START, LAST = date(2025, 11, 25), date(2025, 12, 30)
BOTH: Strategy = msgspec.structs.replace(
    two_venues.NEW_YORK,
    name="both",
    spans=("XLON",),
    decide=AtTime("18:00"),
    universe=msgspec.structs.replace(two_venues.NEW_YORK.universe, name="both", size=20),
    holdings=6,
    limits=msgspec.structs.replace(two_venues.NEW_YORK.limits, max_weight=0.2),
)
BOXING_DAY, EVE, THANKSGIVING = date(2025, 12, 26), date(2025, 12, 24), date(2025, 11, 27)


def deployment(folder: Path) -> Deployment:
    """A book for research and one at the paper venue, in dollars; London's prices are in pounds."""
    source: Any = SOON
    rates = folder / "fx.csv"
    if not rates.exists():
        days = [date(2025, 7, 28) + timedelta(days=n) for n in range(160)]
        lines = [f"{day},GBP,USD,{1.25 + 0.001 * (n % 30):.4f}" for n, day in enumerate(days)]
        rates.write_text("\n".join(["day,base,quote,rate", *lines]))
    fx: Any = {"kind": "tabular", "dataset": "fx_rates", "files": str(rates), "known_at": "event+1d"}
    fx["mapping"] = {"session": "day", "base": "base", "quote": "quote", "rate": "rate"}
    books = [Book(name=name, strategy="both", account=name, capital=Decimal(250_000)) for name in ("research", "live")]
    books[1] = msgspec.structs.replace(books[1], broker="paper", armed=True)
    return msgspec.structs.replace(
        two_venues.deployment(),
        source=source,
        feeds=(fx,),
        markets=(Market(calendar="XLON", source=source, currency="GBP"),),
        strategies=(BOTH,),
        books=tuple(books),
        start=START,
    )


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home on the eve of the first session that is traded."""
    home = tmp_path_factory.mktemp("spanning") / "home"
    two_venues.history(two_venues.workspace(home, deployment(home.parent)), date(2025, 8, 1))
    return home


@pytest.fixture(scope="module")
def live(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The weeks, day by day."""
    home = Path(shutil.copytree(before, tmp_path_factory.mktemp("lived") / "home"))
    ws = two_venues.workspace(home, deployment(before.parent))
    two_venues.lived(ws, LAST)
    return ws


def rows(ws: Workspace, table: Table, columns: list[str] | tuple[str, ...], **where: Any) -> pl.DataFrame:
    found = ws.lanes[0].store.read(table, as_of=None, first=START, last=LAST, where=where)
    return found.select(columns).sort(columns)


def in_london() -> pl.Expr:
    return pl.col("symbol").str.ends_with("@XLON")


def test_both_venues_are_traded(live: Workspace) -> None:
    """Each name in time for the auction of its own venue, and at its price."""
    own = live.lanes[0]
    decided = rows(live, DECISIONS, ["session", "sid", "symbol", "as_of", "valid_until", "verdict", "reason"])
    assert decided.group_by(in_london()).len().height == 2
    for session, london, as_of, until in (
        decided.filter(verdict="TRADE").select("session", in_london(), "as_of", "valid_until").unique().iter_rows()
    ):
        venue = own.cuts.beside[0] if london else own.cuts.calendar
        assert as_of == own.cuts.of(session)
        assert until == venue.open(venue.after(as_of.date()) if london else venue.after(session))
        assert as_of < until
    fills = rows(live, FILLS, ["session", "sid", "price", "ts"], book="live")
    traded = fills.join(decided.select("sid", london=in_london()).unique(), on="sid")
    assert traded.group_by("london").len().height == 2
    there = live.lane_of("XLON")
    bars = in_force(there.store.read(BARS, as_of=None), BARS).select("sid", "session", "open")
    elsewhere = traded.filter("london").with_columns(there=pl.col("ts").dt.date())
    at_open = elsewhere.join(bars, left_on=["sid", "there"], right_on=["sid", "session"])
    assert at_open.height == elsewhere.height
    assert at_open.filter((pl.col("price").cast(pl.Float64) / pl.col("open") - 1).abs() > 0.01).is_empty()
    assert set(at_open["ts"].dt.time()) == {time(8)}, "London's open, in winter"


def test_a_venue_that_rests_holds_its_names(live: Workspace) -> None:
    """London rests on Boxing Day: its names are not decided for it, nor on it; those of New York are, within the
    same weights, and its data is fine.
    """
    decided = rows(live, DECISIONS, ["session", "symbol", "verdict", "reason", "target_weight"])
    for session in (EVE, BOXING_DAY):
        then = decided.filter(session=session)
        assert set(then.filter(in_london())["reason"]) == {"DATA_VENUE_RESTS"}
        here = then.filter(~in_london())["reason"].to_list()
        assert {"SELECTED", "NOT_SELECTED"} <= set(here) <= {"SELECTED", "NOT_SELECTED", "LEFT_UNIVERSE", "DATA_NO_BAR"}
        assert then["target_weight"].sum() <= 1
        assert then.filter(~in_london(), pl.col("target_weight") > 0).height < BOTH.holdings
    assert (
        rows(live, VERDICTS, ["session", "severity", "passed"]).filter(~pl.col("passed"), severity="block").is_empty()
    )
    held = rows(live, POSITIONS, ["session", "sid", "quantity"], book="live").join(
        rows(live, DECISIONS, ["sid", "symbol"]).unique().filter(in_london()), on="sid"
    )
    eve, boxing = (held.filter(session=day).select("sid", "quantity").sort("sid") for day in (EVE, BOXING_DAY))
    assert eve.height
    assert boxing.equals(eve)


def test_after_an_own_holiday_a_bar_is_made_of_two(live: Workspace) -> None:
    """London traded on Thanksgiving: its bar of the Friday opens on the Thursday, at which the orders filled."""
    own, london = live.lanes[0], live.lane_of("XLON")
    friday = own.cuts.calendar.after(THANKSGIVING)
    made = in_force(own.store.read(BARS, as_of=None, first=friday, last=friday), BARS).filter(in_london())
    parts = in_force(london.store.read(BARS, as_of=None, first=THANKSGIVING, last=friday), BARS)
    split = in_force(london.store.read(ACTIONS, as_of=None, first=friday, last=friday), ACTIONS)["sid"]
    whole = (
        parts.filter(~pl.col("sid").is_in(split.implode()))
        .group_by("sid")
        .agg(
            pl.col("open").sort_by("session").first(),
            pl.col("close").sort_by("session").last(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("volume").sum(),
            n=pl.len(),
        )
    )
    compared = made.join(whole.filter(n=2), on="sid", suffix="_parts")
    assert compared.height > 8
    for column in ("open", "high", "low", "close", "volume"):
        assert compared[column].equals(compared[f"{column}_parts"].alias(column)), column


def test_a_range_decides_what_the_days_decided(live: Workspace, before: Path, tmp_path: Path) -> None:
    """To the bit, from the universe to the decisions."""
    home = Path(shutil.copytree(before, tmp_path / "home"))
    ws = two_venues.workspace(home, deployment(before.parent))
    own = ws.lanes[0]
    sessions = own.cuts.calendar.between(START, LAST)
    list(arrive(own, sessions[-1]))
    list(derive(own, sessions))
    features = find_set(BOTH.feature_set).table
    for table in (UNIVERSE, VERDICTS, features, LABELS, SCORES, DECISIONS):
        columns = [c for c in table.content if c != "known_at"]
        one, other = rows(ws, table, columns), rows(live, table, columns)
        assert one.height
        assert one.equals(other), table.name


def test_a_research_book_has_the_cents_of_the_live_one(live: Workspace) -> None:
    own = live.lanes[0]
    sessions = own.cuts.calendar.between(START, LAST)
    run(own.store, BOTH, own.deployment.book("research"), own.cuts, sessions)
    for table, columns in (
        (NAV, ["session", "equity", "cash"]),
        (POSITIONS, ["session", "sid", "quantity", "value"]),
        (FILLS, ["session", "sid", "side", "quantity", "price", "fee", "ts"]),
    ):
        here, there = (rows(live, table, columns, book=book) for book in ("research", "live"))
        assert here.height
        assert here.equals(there), table.name


def test_prices_in_pounds_count_in_pounds(live: Workspace) -> None:
    """Liquidity is compared, and the book is valued, in dollars."""
    own, session = live.lanes[0], date(2025, 12, 1)
    cut = own.cuts.of(session)
    rate = worth(own, cut)
    assert set(rate) == {"XLON"}
    assert rate["XLON"] == float(fx_rates(own.store, {"GBP"}, "USD", cut)["GBP"])
    first = own.cuts.calendar.shift(session, 1 - BOTH.universe.lookback)
    bars = in_force(own.store.read(BARS, as_of=cut, first=first, last=session), BARS)
    each = pl.when(in_london()).then(rate["XLON"]).otherwise(1.0)
    by_sid = bars.with_columns(traded=pl.col("close") * pl.col("volume") * each).group_by("sid")
    traded = by_sid.agg(pl.col("traded").median())
    members = own.store.read(UNIVERSE, as_of=cut, where={"universe": "both"}).filter(session=session)
    compared = members.join(traded, on="sid")
    assert compared.height == BOTH.universe.size
    assert compared["dollar_volume"].to_list() == pytest.approx(compared["traded"].to_list())
    last = rows(live, DECISIONS, ["sid", "symbol"]).unique().filter(in_london())
    held = rows(live, POSITIONS, ["session", "sid", "quantity", "mark", "value"], book="live").filter(session=LAST)
    rate_then = fx_rates(own.store, {"GBP"}, "USD", own.cuts.of(LAST))["GBP"]
    pounds = held.join(last.select("sid"), on="sid", how="semi")
    assert pounds.height
    for quantity, mark, value in pounds.select("quantity", "mark", "value").iter_rows():
        assert value == pytest.approx(quantity * mark * rate_then, abs=Decimal("0.01"))


def test_the_audit_covers_both_venues(live: Workspace) -> None:
    """The set reads London's names, whose future is scrambled with all the rest."""
    own = live.lanes[0]
    sessions = own.cuts.calendar.between(date(2025, 11, 20), date(2025, 12, 5))
    features = find_set(BOTH.feature_set)
    found = audit(
        own.store, features, BOTH.universe.name, own.cuts, sessions, now=datetime(2026, 1, 2, tzinfo=UTC), most=2
    )
    assert found.height
    assert found.filter(~pl.col("passed")).select("law", "evidence").rows() == []


SHARED = """
start: 2025-10-24
source: {kind: simulated, first: 2025-06-02, last: 2025-11-14}
markets: [{calendar: XLON, source: {kind: simulated, first: 2025-06-02, last: 2025-11-14}}]
books: []
strategies: [{name: both, spans: [%s], %s}]
"""


@pytest.mark.parametrize(
    ("spans", "rest", "says"),
    [
        ("XTKS", "decide: {kind: at, time: '18:00'}", "no data feeds names of XTKS"),
        ("XLON", "decide: {kind: before_close}", "write decide: {kind: at"),
        ("XLON", "decide_minutes_before_open: 15", "while XLON is open"),
        ("XLON", "decide: {kind: at, time: '10:00'}", "They all rest at 18:00"),
    ],
)
def test_what_cannot_be_traded_is_refused(tmp_path: Path, spans: str, rest: str, says: str) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(SHARED % (spans, rest))
    with pytest.raises(ConfigurationError, match=says):
        load(file)
