from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from quant_assets.books.booking import book_session, record_fills, record_orders
from quant_assets.post_trade.costs import write_costs
from quant_assets.post_trade.shortfall import shortfall
from quant_assets.records import OrderState, Working
from quant_assets.tables import ACTIONS, BARS, COSTS, NAV

D1, D2, D3 = date(2024, 1, 3), date(2024, 1, 4), date(2024, 1, 5)
price = st.decimals(Decimal("0.01"), Decimal(10**6), places=6, allow_nan=False)
fills = st.lists(st.tuples(st.integers(1, 10**6), price, price, st.decimals(0, 1000, places=2)))


@given(side=st.sampled_from([1, -1]), decision=price, traded=fills, missed=st.integers(0, 10**6), end=price)
def test_terms_add_up_to_paper_minus_real(side, decision, traded, missed, end):
    """The terms equal the paper portfolio's gain less the real one's, which is how Perold defines the shortfall."""
    total = shortfall(side, decision, traded, missed, end).total
    bought = sum(q for q, _, _, _ in traded)
    paper = side * (bought + missed) * (end - decision)
    real = sum((side * q * (end - p) - fee for q, p, _, fee in traded), Decimal(0))
    assert total == paper - real


def test_terms_by_hand():
    """Buy 100 decided at 10, arrived at 10.20, filled 60 at 10.30 with a fee of 1, ended at 11: 12 + 6 + 40 + 1."""
    s = shortfall(1, Decimal(10), [(60, Decimal("10.30"), Decimal("10.20"), Decimal(1))], 40, Decimal(11))
    assert (s.delay, s.trading, s.opportunity, s.fees, s.total) == (12, 6, 40, 1, 59)


def test_an_order_over_two_sessions_adds_up(store, book, cuts, desk):
    """Each session carries its own fills' terms, the last one what was missed, valued at its close; again, nothing
    is written.
    """
    order = desk.order("c1", 1, 1, 100, price="10")
    store.append(BARS, desk.bars({D1: {1: 10.5}, D2: {1: 11.0}}))
    record_orders(store, book, D1, [Working(order=order, state=OrderState.PARTIAL, filled=30)], cuts.of(D1))
    record_orders(store, book, D2, [Working(order=order, state=OrderState.EXPIRED, filled=60)], cuts.of(D2))
    fills = [
        desk.fill("e1", "c1", 1, 1, 30, "10.20", arrival="10.10"),
        desk.fill("e2", "c1", 1, 1, 30, "10.40", arrival="10.30", session=D2),
    ]
    record_fills(store, book, fills, cuts.of(D2))
    for session in (D1, D2):
        book_session(store, book, cuts, session, fills)
    assert [write_costs(store, book, cuts, d).rows for d in (D1, D2, D2)] == [1, 1, 0]
    rows = store.read(COSTS, as_of=None).sort("session").rows(named=True)
    assert [(r["delay"], r["trading"], r["opportunity"], r["fees"], r["shortfall"]) for r in rows] == [
        (3, 3, 0, 1, 7),
        (9, 3, 40, 1, 53),
    ]
    assert [(r["filled"], r["arrival_price"], r["fill_price"]) for r in rows] == [
        (30, Decimal("10.1"), Decimal("10.2")),
        (30, Decimal("10.3"), Decimal("10.4")),
    ]


def test_a_split_does_not_look_like_an_opportunity_missed(store, book, cuts, desk):
    """An order that a 2:1 split ended is valued at the close in its own, old shares."""
    order = desk.order("c1", 1, 1, 100, price="10", session=D2)
    store.append(BARS, desk.bars({D2: {1: 5.25}}))
    store.append(ACTIONS, desk.action(1, D2, "split", numerator=2, denominator=1))
    record_orders(store, book, D2, [Working(order=order, state=OrderState.EXPIRED, filled=0)], cuts.of(D2))
    write_costs(store, book, cuts, D2)
    row = store.read(COSTS, as_of=None).row(0, named=True)
    assert (row["opportunity"], row["filled"], row["fill_price"]) == (50, 0, None)


def test_a_name_without_a_close_is_valued_at_its_last(store, book, cuts, desk):
    """The last close known carries; with none at all there is no opportunity cost."""
    store.append(BARS, desk.bars({D1: {1: 12.0}}))
    ended = [
        Working(order=desk.order(c, sid, -1, 10, session=D2), state=OrderState.EXPIRED, filled=0)
        for c, sid in (("c1", 1), ("c2", 2))
    ]
    record_orders(store, book, D2, ended, cuts.of(D2))
    write_costs(store, book, cuts, D2)
    assert store.read(COSTS, as_of=None)["opportunity"].to_list() == [-20, 0]


def test_a_quiet_session_has_no_costs(store, book, cuts, desk):
    """Orders that only wait have no row, and the report says empty."""
    record_orders(
        store, book, D1, [Working(order=desk.order("c1", 1, 1, 10), state=OrderState.ACKED, filled=0)], cuts.of(D1)
    )
    assert write_costs(store, book, cuts, D1).state == "empty"


def test_a_fill_that_came_late_costs_in_the_session_that_booked_it(store, book, cuts, desk):
    """It is counted once, though its order had ended before, and the fees add up to those of NAV."""
    order = desk.order("c1", 1, 1, 100, price="10")
    store.append(BARS, desk.bars({D1: {1: 10.5}, D2: {1: 11.0}}))
    early = desk.fill("e1", "c1", 1, 1, 60, "10.20", arrival="10.10")
    late = desk.fill("e2", "c1", 1, 1, 40, "10.20", arrival="10.10")
    record_orders(store, book, D1, [Working(order=order, state=OrderState.FILLED, filled=100)], cuts.of(D1))
    for session, known in ((D1, [early]), (D2, [early, late])):
        record_fills(store, book, known, cuts.of(session))
        book_session(store, book, cuts, session, known)
        assert [write_costs(store, book, cuts, session).rows for _ in range(2)] == [1, 0]
    assert write_costs(store, book, cuts, D1).rows == 0
    rows = store.read(COSTS, as_of=None).sort("session")
    assert rows.select("session", "filled", "delay", "opportunity", "fees").rows() == [
        (D1, 60, 6, 0, 1),
        (D2, 40, 4, 0, 1),
    ]
    assert rows["fees"].to_list() == store.read(NAV, as_of=None)["fees"].to_list()
