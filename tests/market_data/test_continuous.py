"""Continuous series of futures: one contract in each session, rolls as known at their cuts, a range equals its days."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.calendars import Cuts, calendar
from quant_assets.market_data.adjustment import adjusted
from quant_assets.market_data.chains import Contract, Quote, Series, held_next, leaves
from quant_assets.market_data.continuous import extend, in_force
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.universe import draw_universes
from quant_assets.rolls import Roll
from quant_assets.strategy import Strategy, UniverseRule
from quant_assets.tables import ACTIONS, BARS, UNIVERSE
from resources.sources.contracts import Contracts, SimulatedContracts
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
FIRST, LAST = date(2024, 1, 2), date(2024, 7, 31)
SESSIONS = XNYS.between(FIRST, LAST)
MARCH, JUNE = (
    Contract(1, "H", date(2024, 3, 15), date(2024, 2, 29)),
    Contract(2, "M", date(2024, 6, 21), date(2024, 5, 31)),
)
QUOTES = {1: Quote(100.0, 50, 10), 2: Quote(101.0, 20, 30)}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """Two roots and a coin, ingested to the last session; nobody has derived a series."""
    store = DeltaStore(tmp_path_factory.mktemp("market"))
    source = SimulatedContracts(Contracts(first=FIRST, last=LAST, coins=1), XNYS)
    ingest(source, store, None, XNYS.open(XNYS.shift(LAST, 2)), source.labels(), XNYS)
    return store


@pytest.fixture
def store(market: DeltaStore, tmp_path: Path) -> DeltaStore:
    import shutil

    return DeltaStore(Path(shutil.copytree(market.root, tmp_path / "home")))


CASES = {
    "five days before the first notice": (Roll(), date(2024, 2, 22), "M"),
    "not a day earlier": (Roll(), date(2024, 2, 21), "H"),
    "before the expiry, whatever the first notice": (Roll("before_expiry"), date(2024, 3, 7), "H"),
    "five days before the expiry": (Roll("before_expiry"), date(2024, 3, 8), "M"),
    "volume is still in the old one": (Roll("volume"), date(2024, 2, 1), "H"),
    "open interest has moved": (Roll("open_interest"), date(2024, 2, 1), "M"),
    "volume or not, first notice is near": (Roll("volume", 3), date(2024, 2, 26), "M"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_rule_says_which_contract_is_held(case: str) -> None:
    """From the March contract, by what was known of the session before."""
    roll, session, held = CASES[case]
    found = held_next(roll, XNYS, [MARCH, JUNE], MARCH, session, QUOTES)
    assert found is not None
    assert found.symbol == held


def test_where_nothing_can_take_its_place_a_contract_stays_and_its_days_are_over() -> None:
    """The next one does not trade: the old one is held, though `leaves` is true of it."""
    assert held_next(Roll(), XNYS, [MARCH, JUNE], MARCH, date(2024, 2, 26), {1: QUOTES[1]}) is MARCH
    assert leaves(MARCH, Roll(), XNYS, date(2024, 2, 26))
    assert held_next(Roll(), XNYS, [MARCH], None, date(2024, 3, 1), QUOTES) is None


@given(
    st.sampled_from(SESSIONS[:120]),
    st.sampled_from(["before_first_notice", "before_expiry", "volume", "open_interest"]),
    st.integers(1, 20),
    st.dictionaries(st.sampled_from([1, 2]), st.integers(0, 9).map(lambda n: Quote(100.0, n, 9 - n))),
)
def test_a_chain_never_goes_back_and_never_enters_what_it_has_to_leave(
    session: date, when: str, days: int, quotes: Mapping[int, Quote]
) -> None:
    """Whatever traded: from June never to March, and no contract is entered within its last days."""
    roll = Roll(when, days)  # pyright: ignore[reportArgumentType]  # one of its words
    assert held_next(roll, XNYS, [MARCH, JUNE], JUNE, session, quotes) is JUNE
    found = held_next(roll, XNYS, [MARCH, JUNE], MARCH, session, quotes)
    assert found is MARCH or (found is JUNE and not leaves(JUNE, roll, XNYS, session))


def rows_of(store: DeltaStore, series: Series) -> list[pl.DataFrame]:
    return [store.read(t, as_of=None, where={"sid": series.sid}).sort(t.key) for t in (BARS, ACTIONS)]


@pytest.mark.parametrize("when", ["before_first_notice", "before_expiry", "volume", "open_interest"])
def test_a_range_equals_its_days(store: DeltaStore, market: DeltaStore, tmp_path: Path, when: str) -> None:
    """Extended at once or session by session, and again: the same rows, each known when it could be."""
    import shutil

    daily = DeltaStore(Path(shutil.copytree(market.root, tmp_path / "daily")))
    series = Series("XNYS", "FB", Roll(when))  # pyright: ignore[reportArgumentType]  # one of its words
    assert extend(store, CUTS, series, LAST) > 0
    for session in SESSIONS:
        extend(daily, CUTS, series, session)
    at_once, by_day = rows_of(store, series), rows_of(daily, series)
    assert all(a.equals(b) for a, b in zip(at_once, by_day, strict=True))
    assert extend(store, CUTS, series, LAST) == 0
    bars, rolls = at_once
    assert bars["session"].to_list() == SESSIONS
    assert rolls["counterpart"].to_list() == ["FBH24", "FBM24", "FBU24"]
    late = [s for s, known in rolls.select("session", "known_at").rows() if known > CUTS.of(s)]
    assert not late


def test_a_series_has_the_bars_of_its_contract_and_what_a_roll_costs(store: DeltaStore) -> None:
    """Raw bars are the contract's, and the gap is that of the closes before the roll."""
    series = Series("XNYS", "FB", Roll())
    extend(store, CUTS, series, LAST)
    bars, rolls = rows_of(store, series)
    session, gap = rolls.filter(counterpart="FBM24").select("session", "cash").row(0)
    assert session == XNYS.shift(date(2024, 2, 29), -5)
    day = XNYS.before(session)
    of_day = store.read(BARS, as_of=None, first=day, last=day).select("symbol", "close")
    before: dict[str, float] = dict(of_day.iter_rows())
    assert float(gap) == before["FBH24"] - before["FBM24"] < 0
    closes = dict(bars.select("session", "close").iter_rows())
    own = store.read(BARS, as_of=None, first=session, last=session).filter(symbol="FBM24")["close"][0]
    assert (closes[XNYS.before(session)], closes[session]) == (before["FBH24"], own)


def test_the_adjusted_series_has_no_jump_where_it_rolls(store: DeltaStore) -> None:
    """By ratio: the return over the roll is that of the new contract. As of a day before it, nothing of it is known."""
    series = Series("XNYS", "FB", Roll())
    extend(store, CUTS, series, LAST)
    bars, rolls = rows_of(store, series)
    session = rolls.filter(counterpart="FBM24")["session"][0]
    new = store.read(BARS, as_of=None).filter(symbol="FBM24").sort("session")
    of_new = dict(new.select("session", "close").iter_rows())
    known = bars.filter(pl.col("session") <= session)
    shown = dict(adjusted(known, rolls, "adjusted", session).select("session", "close").iter_rows())
    day = XNYS.before(session)
    assert shown[session] / shown[day] == pytest.approx(of_new[session] / of_new[day])
    earlier = bars.filter(pl.col("session") <= day)
    assert adjusted(earlier, rolls, "adjusted", day)["close"].equals(earlier["close"].cast(pl.Float64))


def test_a_universe_of_chains_has_series_and_any_other_has_no_contract(store: DeltaStore) -> None:
    """One strategy on the two chains, one on what else there is: the coin."""
    chains = Strategy(
        name="futures", universe=UniverseRule(name="chains", chains=("FA", "FB"), lookback=5, min_price=0.0)
    )
    others = Strategy(name="coins", universe=UniverseRule(name="others", lookback=5, min_price=0.0))
    list(draw_universes(store, CUTS, [chains, others], SESSIONS[:60]))
    members = store.read(UNIVERSE, as_of=None)
    names = dict(store.read(BARS, as_of=None).select("sid", "symbol").unique().iter_rows())
    found = {u: {names[s] for s in members.filter(universe=u)["sid"]} for u in ("chains", "others")}
    assert found == {"chains": {"FA@before_first_notice 5", "FB@before_first_notice 5"}, "others": {"CAUSD"}}


def test_the_contract_in_force_is_that_of_the_next_session(store: DeltaStore) -> None:
    """What orders trade at the cut before a roll is the new contract, at its own close; the day before, the old one."""
    rule = UniverseRule(chains=("FB",))
    (series,) = (Series("XNYS", "FB", Roll()),)
    roll = XNYS.shift(date(2024, 2, 29), -5)
    for until, symbol in ((XNYS.shift(roll, -2), "FBH24"), (XNYS.before(roll), "FBM24")):
        extend(store, CUTS, series, until)
        found = in_force(store, CUTS, rule, until)[series.sid]
        close = store.read(BARS, as_of=None, first=until, last=until).filter(symbol=symbol)["close"][0]
        assert (found.symbol, float(found.price), found.over) == (symbol, close, False)
