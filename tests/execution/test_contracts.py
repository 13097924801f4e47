"""A book of futures and coins: counts of steps, contracts in force, rolls in pairs; research = live, to the sixth
decimal.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.backtest.fills import FillModel, match
from quant_assets.backtest.loop import run
from quant_assets.books.booking import book_session
from quant_assets.books.holdings import Holdings
from quant_assets.books.limits import Exposure, Line, Wanted, allowed
from quant_assets.books.terms import Terms
from quant_assets.books.valued import valuation
from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force
from quant_assets.errors import DataError
from quant_assets.execution.contracts import endangered, whole_rolls
from quant_assets.execution.drop_copy import collect
from quant_assets.execution.limits import Refused, exposure_of, within_limits
from quant_assets.execution.orders import IN, OUT, orders_for, target_counts
from quant_assets.execution.session_delivery import deliver
from quant_assets.instruments import Instrument
from quant_assets.market_data.chains import Series
from quant_assets.market_data.continuous import extend
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.quality import session_hash
from quant_assets.post_trade.reconciliation import reconcile_session
from quant_assets.records import Book, BookLimits, Order, Working
from quant_assets.rolls import Roll
from quant_assets.signals.decide import identified
from quant_assets.strategy import Limits, Strategy, UniverseRule
from quant_assets.tables import ACTIONS, BARS, DECISIONS, FILLS, NAV, ORDERS, PNL, POSITIONS, VERDICTS
from resources.brokers.open import BrokerDesk
from resources.clock import SessionClock
from resources.ledger.open import open_ledger
from resources.sources.contracts import Contracts, SimulatedContracts
from resources.tables.store import DeltaStore
from tests.execution.small_market import Told

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
FIRST, LAST = date(2024, 2, 12), date(2024, 3, 12)
SESSIONS = XNYS.between(FIRST, LAST)
ROLL = XNYS.shift(date(2024, 2, 29), -5)  # FB is delivered
STRATEGY = Strategy(
    name="hand", universe=UniverseRule(chains=("FA", "FB")), limits=Limits(max_weight=1.0), good_for_sessions=2
)
WIDE = BookLimits(**dict.fromkeys(("max_name", "max_gross", "max_net", "max_leverage"), Decimal(9)))
RESEARCH = Book(
    name="desk",
    strategy="hand",
    account="A1",
    capital=Decimal(100_000_000),
    limits=WIDE,
    max_order_notional=Decimal(30_000_000),
)
PAPER = msgspec.structs.replace(RESEARCH, broker="paper", armed=True)
FA, FB = (Series("XNYS", root, Roll()) for root in ("FA", "FB"))


def future(sid: int, symbol: str, first_notice: date | None = None, multiplier: int = 50) -> Instrument:
    return Instrument(
        sid=sid,
        symbol=symbol,
        kind="future",
        currency="USD",
        calendar="XNYS",
        multiplier=Decimal(multiplier),
        underlying="ES",
        expiry=date(2024, 6, 21),
        first_notice=first_notice,
    )


COIN = Instrument(
    sid=3,
    kind="spot",
    currency="USDT",
    step=Decimal("0.00000001"),
    tick=Decimal("0.01"),
    min_notional=Decimal(5),
)
OLD, NEW = future(1, "OLD", date(2024, 2, 29)), future(2, "NEW")
TERMS = Terms("USD", {1: OLD, 2: NEW, 3: COIN}, {"USDT": Decimal("0.5")})


def held(quantities: Mapping[int, int], cash: int = 1_000_000) -> Holdings:
    marks = {sid: Decimal(100) for sid in quantities}
    return Holdings(session=FIRST, cash=Decimal(cash), quantities=quantities, marks=marks, terms=TERMS)


def decided(session: date, rows: Mapping[int, tuple[float, float]], verdict: str = "TRADE") -> pl.DataFrame:
    """A set of DECISIONS: by sid its weight and reference price."""
    made: list[dict[str, Any]] = [
        {c: "" for c, t in DECISIONS.schema.items() if t == pl.String}
        | {
            "session": session, "slot": "open", "strategy": "hand", "sid": sid, "symbol": f"S{sid}",
            "strategy_hash": STRATEGY.config_hash, "verdict": verdict, "score": 0.0, "rank": 1, "target_weight": weight,
            "reference_price": price, "as_of": CUTS.of(session), "valid_until": XNYS.open(XNYS.after(session)),
            "known_at": CUTS.of(session), "recorded_at": CUTS.of(session),
        }
        for sid, (weight, price) in rows.items()
    ]  # fmt: skip
    return identified(pl.DataFrame(made, schema=dict(DECISIONS.schema)).sort("sid"))


def asked(rows: Mapping[int, tuple[float, float]], holdings: Holdings, book: Book = PAPER) -> list[Order]:
    following = XNYS.after(FIRST)
    return orders_for(book, STRATEGY, decided(FIRST, rows), holdings, (), following, XNYS, {1: "OLD", 2: "NEW"})


@given(
    st.floats(-1, 1).map(lambda w: round(w, 6)),
    st.decimals(1, 10**9, places=2),
    st.decimals(Decimal("0.0000001"), 10**6, places=7),
)
def test_a_target_is_never_more_than_its_weight(weight: float, equity: Decimal, each: Decimal) -> None:
    """Toward zero, and less than one count below."""
    counts, worth = target_counts(weight, equity, each), abs(Decimal(str(weight))) * equity
    assert abs(counts) * each <= worth * (1 + Decimal("1e-20"))
    assert (abs(counts) + 1) * each > worth * (1 - Decimal("1e-20"))


def test_counts_beyond_64_bits_are_refused() -> None:
    """No silent wrap."""
    with pytest.raises(DataError, match="more than 64 bits count"):
        target_counts(1.0, Decimal(10**12), Decimal("1e-8"))


def test_orders_count_steps_in_the_currency_of_the_book() -> None:
    """A tenth of a million in a coin at 200 USDT of 50 cents is 1,000 coins; in a future at 100 that is 50 times as
    large, 20 contracts.
    """
    sizes = {o.sid: (o.quantity, o.leg) for o in asked({2: (0.1, 100.0), 3: (0.1, 200.0)}, held({}))}
    assert sizes == {2: (20, "rebalance"), 3: (1_000 * 10**8, "rebalance")}


def test_below_the_least_that_a_venue_takes_nothing_is_sent() -> None:
    """Also where it would close: dust stays, with the reason. 2 coins at 100 USDT are worth enough."""
    dust = asked({3: (0.0, 100.0)}, held({3: 4_000_000}))
    kept, refused = within_limits(PAPER, dust, exposure_of(held({3: 4_000_000}), (), dust, {3}))
    assert (kept, [r.reason for r in refused]) == (
        [],
        ["worth 2.000000 USD, and its venue takes nothing below 2.500000"],
    )
    whole = asked({3: (0.0, 100.0)}, held({3: 200_000_000}))
    assert within_limits(PAPER, whole, exposure_of(held({3: 200_000_000}), (), whole, {3})) == (whole, [])


def test_what_is_margined_needs_no_cash_and_counts_as_exposure() -> None:
    """Of two purchases that cash does not pay for, only the one that is paid for is cut; both count in the gross."""
    lines = (Line(1, 0, Decimal(100), paid=False), Line(2, 0, Decimal(100)))
    wanted = [Wanted("future", 1, 1, 10), Wanted("share", 2, 1, 10)]
    cash = Exposure(Decimal(10_000), Decimal(0), lines)
    limits = BookLimits(min_cash=Decimal("-0.05"))
    assert {c.id: (c.quantity, c.row) for c in allowed(limits, cash, wanted)} == {
        "future": (10, ""),
        "share": (5, "min_cash"),
    }
    small = BookLimits(max_gross=Decimal("0.1"), min_cash=Decimal(-9))
    assert [c.quantity for c in allowed(small, cash, wanted)] == [5, 5]


def test_fills_are_in_steps_on_ticks_and_by_worth() -> None:
    """A twentieth of 3 coins is 0.15; bought on the next tick above; the fee is of the worth, 0.15 coins pay as one."""
    order = asked({3: (0.5, 100.0)}, held({}))[0]
    bars = pl.DataFrame({"sid": [3], "open": [100.0], "volume": [3]})
    model = FillModel(fee_bps=Decimal(10), min_commission=Decimal(0))
    ts = XNYS.open(order.session)
    (fill,), _ = match([Working(order=order)], bars, (), order.session, ts, model, terms=TERMS)
    assert (fill.quantity, fill.price, fill.fee) == (15_000_000, Decimal("100.05"), Decimal("0.03"))
    third = msgspec.structs.replace(COIN, tick=Decimal("0.3"))
    on_tick = Terms("USD", {3: third})
    prices = [
        match([Working(order=msgspec.structs.replace(order, side=side))], bars, (), order.session, ts, model,
              terms=on_tick)[0][0].price
        for side in (1, -1)
    ]  # fmt: skip
    assert prices == [Decimal("100.2"), Decimal("99.9")]


@given(st.integers(-50, 50).filter(bool), st.sampled_from([-0.2, 0.0, 0.2]), st.sampled_from([1, 25, 50, 70]))
def test_a_roll_is_a_pair_of_the_same_exposure(quantity: int, weight: float, multiplier: int) -> None:
    """Both orders, the same underlying toward zero whatever the weight; none of the two where the weight turns."""
    terms = Terms("USD", {1: OLD, 2: future(2, "NEW", multiplier=multiplier)})
    holdings = msgspec.structs.replace(held({1: quantity}), terms=terms)
    found = {o.sid: (o.side * o.quantity, o.leg) for o in asked({2: (weight, 101.0)}, holdings)}
    assert found[1][0] == -quantity
    if weight * quantity > 0 and abs(quantity) * 50 >= multiplier:
        into, leg = found[2]
        assert (found[1][1], leg) == (OUT, IN)
        assert abs(into) * multiplier <= abs(quantity) * 50 < (abs(into) + 1) * multiplier
        assert into * quantity > 0
    else:
        assert OUT not in {leg for _, leg in found.values()} or IN not in {leg for _, leg in found.values()}


def test_a_roll_goes_on_whatever_the_verdict_on_the_name() -> None:
    """A NO_TRADE row leaves the exposure, not the contract that has to be left."""
    rows = pl.concat([decided(FIRST, {3: (0.1, 100.0)}), decided(FIRST, {2: (0.0, 101.0)}, "NO_TRADE")])
    orders = orders_for(PAPER, STRATEGY, rows, held({1: 10}), (), XNYS.after(FIRST), XNYS, {1: "OLD"})
    assert {o.sid: (o.side * o.quantity, o.leg) for o in orders if o.sid != 3} == {1: (-10, OUT), 2: (10, IN)}


def test_slices_of_a_roll_pair_up() -> None:
    """Where one order may not be so large, both are cut into slices of the same size."""
    book = msgspec.structs.replace(PAPER, max_order_notional=Decimal(20_000))
    orders = asked({2: (0.2, 100.0)}, held({1: 10}), book)
    assert [(o.leg, o.quantity) for o in orders if o.sid == 1] == [(OUT, 4), (f"{OUT}-2", 4), (f"{OUT}-3", 2)]
    assert [(o.leg, o.quantity) for o in orders if o.sid == 2] == [(IN, 4), (f"{IN}-2", 4), (f"{IN}-3", 2)]


def test_where_one_of_a_roll_may_not_leave_neither_does() -> None:
    """But what would be held into its first notice is closed alone, as an exit."""
    orders, holdings = asked({2: (0.2, 100.0)}, held({1: 10})), held({1: 10})
    out = next(o for o in orders if o.leg == OUT)
    refused = [Refused(order=next(o for o in orders if o.leg == IN), reason="max_gross")]
    kept, dropped = whole_rolls(orders, [out], refused, holdings, XNYS)
    assert (kept, len(dropped)) == ([], 2)
    assert dropped[1].reason.startswith("ROLL")
    last = [msgspec.structs.replace(o, session=date(2024, 2, 28)) for o in orders]
    (closing,), _ = whole_rolls(last, [o for o in last if o.leg == OUT], refused, holdings, XNYS)
    assert (closing.leg, closing.quantity, closing.sid) == ("exit", 10, 1)
    assert len({closing.client_order_id, out.client_order_id}) == 2
    assert "first notice is on 2024-02-29" in endangered(holdings, [], date(2024, 2, 28), XNYS)[0]
    assert endangered(holdings, [closing], date(2024, 2, 28), XNYS) == []


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """Two chains and a coin, their series, verdicts, and sets that want both chains and the coin."""
    store = DeltaStore(tmp_path_factory.mktemp("market"))
    source = SimulatedContracts(Contracts(first=FIRST, last=LAST, coins=1), XNYS)
    ingest(source, store, None, XNYS.open(XNYS.shift(LAST, 2)), source.labels(), XNYS)
    for series in (FA, FB):
        extend(store, CUTS, series, LAST)
    bars = store.read(BARS, as_of=None)
    coin = bars.filter(symbol="CAUSD")["sid"][0]
    for n, session in enumerate(SESSIONS):
        known = in_force(bars.filter(pl.col("session") == session), BARS)
        closes = dict(known.select("sid", "close").iter_rows())
        weights = {FA.sid: 0.4, FB.sid: -0.3 if n % 5 else -0.4, coin: 0.2 if n % 7 else 0.0}
        store.append(DECISIONS, decided(session, {sid: (w, closes[sid]) for sid, w in sorted(weights.items())}))
        row = {
            "session": session, "table": "bars", "content_hash": session_hash(known), "rule": "hand",
            "severity": "block", "passed": True, "value": 1.0, "threshold": 1.0, "message": "by hand",
            "known_at": CUTS.of(session),
        }  # fmt: skip
        store.append(VERDICTS, pl.DataFrame([row], schema=dict(VERDICTS.schema)))
    return store


def traded(store: DeltaStore) -> list[pl.DataFrame]:
    return [store.read(t, as_of=None).sort(t.key) for t in (ORDERS, FILLS, POSITIONS, PNL, NAV)]


@pytest.fixture(scope="module")
def ranged(market: DeltaStore, tmp_path_factory: pytest.TempPathFactory) -> list[pl.DataFrame]:
    import shutil

    store = DeltaStore(Path(shutil.copytree(market.root, tmp_path_factory.mktemp("range") / "tables")))
    run(store, STRATEGY, RESEARCH, CUTS, SESSIONS)
    return traded(store)


def test_a_range_rolls_and_adds_up(ranged: list[pl.DataFrame]) -> None:
    """FB is rolled before its first notice in one session, equity changes by the P&L of the names, to the sixth
    decimal, and nothing is held into its first notice.
    """
    orders, fills, positions, pnl, nav = ranged
    rolls = orders.filter(pl.col("leg").is_in([OUT, IN])).unique("client_order_id")
    assert rolls["decided"].unique().to_list() == [XNYS.before(ROLL)]
    sizes = rolls.select("leg", "side", "quantity").sort("leg").rows()
    assert len(sizes) == 2
    assert (sizes[0][0], sizes[1][0], sizes[0][1] + sizes[1][1], sizes[0][2] - sizes[1][2]) == (IN, OUT, 0, 0)
    old = rolls.filter(leg=OUT)["sid"][0]
    assert positions.filter(pl.col("sid") == old)["session"].to_list()[-1] < date(2024, 2, 29)
    assert fills.height > 20
    by_day = {s: sum(pnl.filter(session=s)["total"].to_list(), Decimal(0)) for s in nav["session"]}
    equity = [RESEARCH.capital, *nav["equity"].to_list()]
    assert list(by_day.values()) == [b - a for a, b in pairwise(equity)]


def test_live_equals_the_range(market: DeltaStore, ranged: list[pl.DataFrame], tmp_path: Path) -> None:
    """Through outbox, venue and drop copy the same orders, fills, positions, P&L and equity, and no break."""
    import shutil

    store = DeltaStore(Path(shutil.copytree(market.root, tmp_path / "tables")))
    ledger, told = open_ledger(tmp_path), Told()

    def prices(session: date) -> tuple[pl.DataFrame, pl.DataFrame]:
        bars = in_force(store.read(BARS, as_of=CUTS.of(session), first=session, last=session), BARS)
        return bars, store.read(ACTIONS, as_of=CUTS.of(session), last=session)

    def valued(book: Book, session: date, before: Holdings, sids: Any) -> Any:
        return valuation(store, book, CUTS, session, before, sids)

    broker = BrokerDesk(tmp_path / "brokers", prices, CUTS, valued=valued).open(PAPER)
    outbox, executions, breaks = ledger.outbox, ledger.executions, ledger.breaks
    for session in SESSIONS:
        now = CUTS.of(session)
        collect(store, outbox, executions, broker, PAPER, CUTS, session, now)
        book_session(store, PAPER, CUTS, session, executions.fills(PAPER.name))
        reconcile_session(outbox, executions, breaks, broker, store, PAPER, CUTS, session, told, now=now)
        clock = SessionClock(now)
        report = deliver(store, outbox, ledger.kill_switch, breaks, broker, PAPER, STRATEGY, CUTS, session, clock, told)
        assert report.state in {"done", "empty"}, (report.reason, told.subjects)
    assert breaks.listed() == []
    assert [s for s in told.subjects if s.startswith("critical")] == []
    for mine, theirs in zip(traded(store), ranged, strict=True):
        assert mine.equals(theirs)
