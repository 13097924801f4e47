from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.books.actions import apply_actions
from quant_assets.books.booking import (
    book_session,
    holdings_of,
    record_fills,
    record_orders,
)
from quant_assets.books.carry import Carried
from quant_assets.books.day import Booked, Day, book_day
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings
from quant_assets.books.rows import order_rows
from quant_assets.calendars import Cuts, calendar
from quant_assets.errors import ConflictingRow, DataError
from quant_assets.records import Book, Fill, OrderState, Working
from quant_assets.tables import ACTIONS, BARS, FILLS, JOURNAL, NAV, ORDERS, PNL, POSITIONS

D0, D1, D2, D3 = date(2024, 1, 2), date(2024, 1, 3), date(2024, 1, 4), date(2024, 1, 5)
BOOK = Book(name="alpha", strategy="s", account="A1", capital=Decimal(100_000))
CUTS = Cuts(calendar("XNYS"))


NO_PAST = Past(
    evening=lambda day: Holdings(session=day, cash=Decimal(0), quantities={}, marks={}), bars=lambda _: BARS.empty()
)


def on(fills: list[Fill], close: dict[int, float]) -> Day:
    """D2 with these fills and closes."""
    schema = {"sid": pl.Int64, "close": pl.Float64}
    bars = pl.DataFrame({"sid": list(close), "close": list(close.values())}, schema=schema)
    return Day(session=D2, bars=bars, actions=ACTIONS.empty(), fills=fills)


def carried(before: Holdings, actions: pl.DataFrame | None = None, names: dict[str, int] | None = None) -> Carried:
    """What `actions` make of the holdings, all of which are entitled on D2."""
    if actions is None:
        return Carried(held=before)
    entitled = {(sid, D2): q for sid, q in before.quantities.items()}
    held, moved = apply_actions(before, actions, entitled, names)
    return Carried(held=held, moved=tuple(moved))


def check_sums(before: Holdings, day: Booked) -> None:
    nav, cash = day.nav.row(0, named=True), day.journal["amount"].sum() or Decimal(0)
    values = day.positions["value"].sum() or Decimal(0)
    assert nav["equity"] == nav["cash"] + values == day.after.equity
    assert nav["pnl"] == (day.pnl["total"].sum() or Decimal(0)) == day.after.equity - before.equity
    assert nav["cash"] == before.cash + cash
    assert nav["long_value"] + nav["short_value"] == values
    for row in day.pnl.iter_rows(named=True):
        assert row["holding"] + row["trading"] + row["income"] + row["fees"] == row["total"]


prices = st.integers(1, 400_0000).map(lambda n: n / 10_000)
sids = st.integers(1, 5)
holdings = st.builds(
    lambda cash, held: Holdings(
        session=D1,
        cash=Decimal(cash) / 100,
        quantities={s: q for s, (q, _) in sorted(held.items())},
        marks={s: Decimal(str(m)) for s, (_, m) in sorted(held.items())},
    ),
    st.integers(-(10**9), 10**9),
    st.dictionaries(sids, st.tuples(st.integers(-(10**5), 10**5).filter(bool), prices)),
)
fills = st.lists(st.tuples(sids, st.sampled_from([1, -1]), st.integers(1, 10**5), prices, st.integers(0, 10**4))).map(
    lambda rows: [
        Fill(
            exec_id=f"e{i}",
            client_order_id=f"c{i}",
            session=D2,
            sid=s,
            side=side,
            quantity=q,
            price=Decimal(str(p)),
            fee=Decimal(fee) / 100,
            arrival_price=Decimal(1),
            ts=CUTS.calendar.open(D2),
        )
        for i, (s, side, q, p, fee) in enumerate(rows)
    ]
)
actions = st.dictionaries(
    st.tuples(sids, st.sampled_from(["split", "stock_dividend", "dividend", "spin_off", "merger", "delisting"])),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 500), st.floats(-1, 1).map(lambda x: round(x, 4))),
)


@settings(max_examples=150, deadline=None)
@given(before=holdings, traded=fills, acts=actions, close=st.dictionaries(sids, prices), named=st.booleans())
def test_booked_days_add_up(before, traded, acts, close, named):
    """For any day the P&L of the names adds up to the change of equity, and cash and values to equity, exactly."""
    at = CUTS.of(D2)
    rows = [
        {
            "session": D2,
            "sid": sid,
            "kind": kind,
            "numerator": n,
            "denominator": d,
            "cash": Decimal(c) / 100,
            "value": abs(v) if kind == "spin_off" else v,
            "counterpart": f"S{sid % 5 + 1}",
            "origin": "declared",
            "confidence": 1.0,
            "withdrawn": False,
            "source": "x",
            "capture": D2,
            "file": "f",
            "line": 1,
            "known_at": at,
            "declared_known_at": at,
        }
        for (sid, kind), (n, d, c, v) in acts.items()
    ]
    names = {f"S{sid}": sid for sid in close} if named else None
    acted = carried(before, pl.DataFrame(rows, schema=dict(ACTIONS.schema)), names)
    check_sums(before, book_day(BOOK, before, acted, on(traded, close), CUTS, NO_PAST))


def test_parts_of_pnl_by_hand(desk):
    """Holding runs from mark to mark, trading from fill to mark, fees are negative, and a sold name still has its
    day.
    """
    before = Holdings(
        session=D1, cash=Decimal(1000), quantities={1: 100, 2: 50}, marks={1: Decimal(10), 2: Decimal(20)}
    )
    traded = [desk.fill("e1", "c1", 1, 1, 100, "10.50", session=D2), desk.fill("e2", "c2", 2, -1, 50, "21", session=D2)]
    day = book_day(BOOK, before, carried(before), on(traded, {1: 11.0, 2: 22.0}), CUTS, NO_PAST)
    parts = {
        r["sid"]: tuple(int(r[c]) for c in ("holding", "trading", "income", "fees", "total"))
        for r in day.pnl.iter_rows(named=True)
    }
    assert parts == {1: (100, 50, 0, -1, 149), 2: (100, -50, 0, -1, 49)}
    assert day.after.quantities == {1: 200}
    check_sums(before, day)


def test_a_split_without_a_bar_makes_no_pnl_on_what_is_sold_at_the_mark(desk):
    """The carried mark is restated with the split before it values the session's trades."""
    before = Holdings(session=D1, cash=Decimal(0), quantities={1: 100}, marks={1: Decimal(10)})
    split = desk.action(1, D2, "split", numerator=2, denominator=1)
    sold = [desk.fill("e1", "c1", 1, -1, 200, "5", fee="0", session=D2)]
    row = book_day(BOOK, before, carried(before, split), on(sold, {}), CUTS, NO_PAST).pnl.row(0, named=True)
    assert (row["holding"], row["trading"], row["total"]) == (0, 0, 0)


def test_a_spin_off_is_no_loss_of_the_parent(store, book, cuts, desk):
    """From the store alone: the parent is credited with what it hands out, the child begins at its worth and earns
    from there; the journal's transfers sum to zero.
    """
    store.append(BARS, desk.bars({D1: {1: 30.0}, D2: {1: 25.0, 2: 13.0}, D3: {1: 25.0}}))
    spun = desk.action(1, D2, "spin_off", value=6.0, numerator=1, denominator=2, counterpart="S2")
    store.append(ACTIONS, pl.concat([spun, desk.action(2, D3, "merger", cash=Decimal(15))]))
    for session in (D1, D2, D3):
        book_session(store, book, cuts, session, [desk.fill("e1", "c1", 1, 1, 101, "30", fee="0")])
    pnl = {
        (r["session"], r["sid"]): (r["holding"], r["income"]) for r in store.read(PNL, as_of=None).iter_rows(named=True)
    }
    # S1 goes from 24 to 25 on 101 shares, 6 of it paid for half a share; S2 from 12 to 13, then sold for 15
    assert pnl == {(D1, 1): (0, 0), (D2, 1): (95, 6), (D2, 2): (50, 0), (D3, 1): (0, 0), (D3, 2): (-650, 750)}
    assert holdings_of(store, book, D3).quantities == {1: 101}
    journal = store.read(JOURNAL, as_of=None)
    assert journal.filter(pl.col("kind") == "transfer").sort("sid").select("sid", "amount").rows() == [
        (1, Decimal(600)),
        (2, Decimal(-600)),
    ]
    assert journal["amount"].sum() == holdings_of(store, book, D3).cash


def test_short_book_has_negative_short_value(desk):
    """Short positions count negatively in short_value and in equity."""
    before = Holdings(session=D1, cash=Decimal(1000), quantities={1: -10}, marks={1: Decimal(10)})
    nav = book_day(BOOK, before, carried(before), on([], {1: 12.0}), CUTS, NO_PAST).nav.row(0, named=True)
    assert (nav["short_value"], nav["equity"], nav["pnl"]) == (Decimal(-120), Decimal(880), Decimal(-20))


def test_book_session_carries_the_book_through_a_split_and_a_missing_bar(store, book, cuts, desk):
    """From the store alone: capital, fills, a split without P&L, a carried mark; the journal sums to the cash."""
    store.append(BARS, desk.bars({D1: {1: 10.0, 2: 5.0}, D2: {1: 5.5, 2: 5.0}, D3: {2: 6.0}}))
    store.append(ACTIONS, desk.action(1, D2, "split", numerator=2, denominator=1))
    assert holdings_of(store, book, D1).cash == book.capital
    first = [desk.fill("e1", "c1", 1, 1, 101, "9.99"), desk.fill("e2", "c2", 2, 1, 10, "5.01")]
    for session in (D1, D2, D3):
        book_session(store, book, cuts, session, first)
    nav = store.read(NAV, as_of=None)
    assert nav["pnl"].to_list() == [Decimal("-1.09"), Decimal(101), Decimal(10)]
    after = holdings_of(store, book, D3)
    assert (after.session, after.quantities, after.marks) == (D3, {1: 202, 2: 10}, {1: Decimal("5.5"), 2: Decimal(6)})
    assert store.read(JOURNAL, as_of=None)["amount"].sum() == after.cash == nav["cash"][-1]
    assert holdings_of(store, book, D1).quantities == {1: 101, 2: 10}


def test_booking_again_changes_nothing_and_a_late_fill_comes_with_the_next_session(store, book, cuts, desk):
    """A booked session stays as it is; an execution that shows up later is booked once, in the next session."""
    store.append(BARS, desk.bars({D1: {1: 10.0}, D2: {1: 10.0}}))
    early, late = desk.fill("e1", "c1", 1, 1, 10, "10"), desk.fill("e2", "c1", 1, 1, 5, "10")
    book_session(store, book, cuts, D1, [early])
    assert book_session(store, book, cuts, D1, [early, late]).rows == 0
    book_session(store, book, cuts, D2, [early, late])
    assert [holdings_of(store, book, d).quantities for d in (D1, D2)] == [{1: 10}, {1: 15}]
    assert store.read(JOURNAL, as_of=None, where={"kind": "trade"})["reference"].to_list() == ["e1", "e2"]


def test_interrupted_booking_is_completed(store, book, cuts, desk, monkeypatch):
    """A run killed between two tables leaves a session that is not booked yet, and booking it again completes it."""
    store.append(BARS, desk.bars({D1: {1: 10.0}}))
    append = store.append

    def dying(table, frame):
        if table is POSITIONS:
            raise KeyboardInterrupt
        return append(table, frame)

    monkeypatch.setattr(store, "append", dying)
    fill = [desk.fill("e1", "c1", 1, 1, 10, "10")]
    with pytest.raises(KeyboardInterrupt):
        book_session(store, book, cuts, D1, fill)
    assert holdings_of(store, book, D1).quantities == {}
    monkeypatch.undo()
    book_session(store, book, cuts, D1, fill)
    assert holdings_of(store, book, D1).quantities == {1: 10}
    assert store.read(PNL, as_of=None).height == 1
    assert store.read(JOURNAL, as_of=None)["amount"].sum() == holdings_of(store, book, D1).cash


def test_sessions_are_booked_in_order(store, book, cuts):
    """Skipping a session would lose its corporate actions, so it is refused."""
    book_session(store, book, cuts, D1, [])
    with pytest.raises(DataError, match="next 2024-01-04"):
        book_session(store, book, cuts, D3, [])


def test_a_close_known_after_the_cut_is_not_used(store, book, cuts, desk):
    """Marks are the closes known at the session's cut."""
    store.append(BARS, desk.bars({D1: {1: 10.0}, D2: {1: 99.0}}, known={D2: D3}))
    for session in (D1, D2):
        book_session(store, book, cuts, session, [desk.fill("e1", "c1", 1, 1, 10, "10")])
    assert holdings_of(store, book, D2).marks == {1: Decimal(10)}


def test_fills_are_recorded_once_and_never_changed(store, book, cuts, desk):
    """Seen again an execution is a no-op, whenever; with another price it is refused."""
    fill = desk.fill("e1", "c1", 1, 1, 10, "10")
    assert [record_fills(store, book, [fill], cuts.of(d)) for d in (D1, D2)] == [1, 0]
    with pytest.raises(ConflictingRow):
        record_fills(store, book, [desk.fill("e1", "c1", 1, 1, 10, "10.01")], cuts.of(D2))
    assert store.read(FILLS, as_of=None)["known_at"].to_list() == [cuts.of(D1)]


def test_orders_are_recorded_until_they_end_and_as_they_stood(store, book, cuts, desk):
    """A working order has a row per session, an ended one none after its end, a future one none yet; rows do not
    change afterwards.
    """
    work, done, later = desk.order("c1", 1, 1, 10), desk.order("c2", 2, 1, 10), desk.order("c3", 3, 1, 10, session=D3)
    record_orders(
        store,
        book,
        D1,
        [
            Working(order=work, state=OrderState.PARTIAL, filled=4),
            Working(order=done, state=OrderState.FILLED, filled=10),
            Working(order=later, state=OrderState.PENDING, filled=0),
        ],
        cuts.of(D1),
    )
    record_orders(
        store,
        book,
        D2,
        [
            Working(order=work, state=OrderState.FILLED, filled=10),
            Working(order=done, state=OrderState.FILLED, filled=10),
        ],
        cuts.of(D2),
    )
    assert (
        record_orders(
            store,
            book,
            D1,
            [
                Working(order=work, state=OrderState.FILLED, filled=10),
                Working(order=done, state=OrderState.FILLED, filled=10),
            ],
            cuts.of(D1),
        )
        == 0
    )
    rows = store.read(ORDERS, as_of=None).select("session", "client_order_id", "state", "filled").rows()
    assert rows == [(D1, "c1", "PARTIAL", 4), (D1, "c2", "FILLED", 10), (D2, "c1", "FILLED", 10)]
    assert order_rows(book, D1, [], cuts.of(D1)).is_empty()
