from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.books.actions import Correction, apply_actions
from quant_assets.books.corrections import corrections
from quant_assets.books.due import due_actions, late_changes, stopped
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, apply_fills, mark
from quant_assets.books.late import entitlements
from quant_assets.records import Fill
from quant_assets.tables import BARS
from tests.execution.small_market import CUTS, SESSIONS, action, actions

BEFORE, D = SESSIONS[2], SESSIONS[3]
PRICES = st.decimals("0.01", "5000", places=4)
SHARES = st.integers(-100_000, 100_000)


def held(quantity: int, price: Decimal = Decimal(30), session: date = BEFORE) -> Holdings:
    return Holdings(
        session=session,
        cash=Decimal(1_000),
        quantities={1: quantity} if quantity else {},
        marks={1: price} if quantity else {},
    )


def filled(exec_id: str, side: int, quantity: int, price: Decimal, fee: Decimal, sid: int = 1) -> Fill:
    return Fill(
        exec_id=exec_id,
        client_order_id="c",
        session=D,
        sid=sid,
        side=side,
        quantity=quantity,
        price=price,
        fee=fee,
        arrival_price=price,
        ts=CUTS.calendar.open(D),
    )


@given(SHARES, PRICES, st.integers(1, 50), st.integers(1, 50), st.sampled_from(["split", "stock_dividend"]))
def test_split_makes_no_profit(quantity: int, price: Decimal, numerator: int, denominator: int, kind: str):
    """A split or stock dividend leaves equity as it was, up to the cent of cash in lieu and the sixth decimal of
    the mark; and no fraction of a share.
    """
    before = held(quantity, price)
    after, moved = apply_actions(
        before, actions(action(1, D, kind, numerator=numerator, denominator=denominator)), {(1, D): quantity}
    )
    rounding = Decimal("0.005") + (abs(quantity) * numerator // denominator + 1) * Decimal("0.0000005")
    assert abs(after.equity - before.equity) <= rounding
    assert abs(after.quantities.get(1, 0)) == abs(quantity) * numerator // denominator
    assert after.cash - before.cash == sum((m.amount for m in moved), Decimal(0))


@given(
    SHARES,
    st.decimals("0", "20", places=4),
    st.lists(
        st.tuples(st.sampled_from([-1, 1]), st.integers(1, 9_999), PRICES, st.decimals("0", "99", places=2)), max_size=6
    ),
)
def test_cash_changes_by_what_the_journal_says(quantity: int, dividend: Decimal, trades: list[Any]):
    """Actions and fills change cash by exactly the sum of the movements, and shares by exactly what was traded."""
    before = held(quantity)
    acted, first = apply_actions(before, actions(action(1, D, "dividend", cash=dividend)), {(1, D): quantity})
    after, second = apply_fills(acted, [filled(f"e{n}", *trade, sid=1 + n % 2) for n, trade in enumerate(trades)])
    assert after.cash - before.cash == sum((m.amount for m in [*first, *second]), Decimal(0))
    assert sum(after.quantities.values()) == quantity + sum(side * n for side, n, *_ in trades)


RATIO = {"numerator": st.integers(1, 50), "denominator": st.integers(1, 50)}


@given(
    SHARES,
    PRICES,
    st.booleans(),
    st.fixed_dictionaries(RATIO),
    st.decimals("0", "1", places=3),
    st.sampled_from(["spin_off", "merger"]),
    st.booleans(),
)
def test_what_another_company_takes_over_keeps_its_worth(
    quantity: int, price: Decimal, known: bool, ratio: dict[str, int], part: Decimal, kind: str, held_already: bool
):
    """Whatever part of a price a spin-off hands out or a merger pays in cash, equity stays at unchanged total value
    up to the cent and the sixth decimal of the marks, and each share is accounted for.
    """
    cash = (price * part).quantize(Decimal("0.0001"))
    worth = cash if kind == "spin_off" else price - cash
    terms: dict[str, Any] = {"value": float(worth)} if kind == "spin_off" else {"cash": cash}
    theirs = (worth * ratio["denominator"] / ratio["numerator"]).quantize(Decimal("0.000001"))
    before = held(quantity, price)
    if held_already:
        before = Holdings(
            session=BEFORE, cash=before.cash, quantities={**before.quantities, 2: 5}, marks={**before.marks, 2: theirs}
        )
    after, moved = apply_actions(
        before,
        actions(action(1, D, kind, counterpart="S2", **ratio, **terms)),
        {(1, D): quantity},
        {"S2": 2} if known else {},
    )
    whole = abs(quantity) * ratio["numerator"] // ratio["denominator"] * (1 if quantity > 0 else -1) * known
    assert after.quantities.get(2, 0) - 5 * held_already == whole
    assert after.quantities.get(1, 0) == (quantity if kind == "spin_off" else 0)
    assert abs(after.equity - before.equity) <= Decimal("0.01") + (abs(whole) + 1) * Decimal("0.0000005")
    assert sum((m.amount for m in moved if m.kind == "transfer"), Decimal(0)) == 0
    assert after.cash - before.cash == sum((m.amount for m in moved), Decimal(0))
    assert not [
        m for m in moved if known and m.kind == "cash_in_lieu" and abs(m.amount) > abs(theirs) + Decimal("0.005")
    ]


@pytest.mark.parametrize(
    ("kind", "terms", "sids", "shares", "marks", "paid"),
    [
        # 3 shares of S2 for 7 of S1: 42 of 100 are whole, 6/7 of one is paid at 14
        (
            "spin_off",
            {"value": 6.0, "numerator": 3, "denominator": 7},
            {"S2": 2},
            {1: 100, 2: 42},
            {1: 24, 2: 14},
            {"cash_in_lieu": "12.00"},
        ),
        ("spin_off", {"value": 6.0, "numerator": 3, "denominator": 7}, {}, {1: 100}, {1: 24}, {"spin_off": "600.00"}),
        ("spin_off", {"value": 6.0}, {"S2": 2}, {1: 100}, {1: 24}, {"spin_off": "600.00"}),
        (
            "spin_off",
            {"numerator": 1, "denominator": 2},
            {"S2": 2},
            {1: 100, 2: 50},
            {1: 30, 2: 0},
            {},
        ),  # worth unknown: the day's close will say
        ("merger", {"cash": Decimal("31.5")}, {}, {}, {}, {"merger": "3150.00"}),
        (
            "merger",
            {"cash": Decimal(9), "numerator": 3, "denominator": 7},
            {"S2": 2},
            {2: 42},
            {2: 49},
            {"merger": "900.00", "cash_in_lieu": "42.00"},
        ),
        ("merger", {"numerator": 3, "denominator": 7}, {"S2": 2}, {2: 42}, {2: 70}, {"cash_in_lieu": "60.00"}),
        ("merger", {"cash": Decimal(9), "numerator": 3, "denominator": 7}, {}, {}, {}, {"merger": "3000.00"}),
        ("merger", {"value": 0.1}, {}, {}, {}, {"merger": "3300.00"}),
        ("symbol_change", {}, {}, {1: 100}, {1: 30}, {}),
    ],
)
def test_what_is_handed_out(
    kind: str, terms: Any, sids: dict[str, int], shares: dict[int, int], marks: dict[int, int], paid: dict[str, str]
):
    """100 shares marked at 30 through a spin-off or merger of S2: the shares and marks after, and what was paid in
    cash; for shorts the same with the other sign.
    """
    acted = actions(action(1, D, kind, **{"counterpart": "S2" if "denominator" in terms else None} | terms))
    for side in (1, -1):
        after, moved = apply_actions(held(100 * side), acted, {(1, D): 100 * side}, sids)
        assert after.quantities == {sid: n * side for sid, n in shares.items()}
        assert after.marks == {sid: Decimal(m) for sid, m in marks.items()}
        assert {m.kind: m.amount for m in moved if m.kind != "transfer"} == {
            k: Decimal(amount) * side for k, amount in paid.items()
        }


def test_actions_of_one_session_are_booked_in_their_order():
    """A dividend and a spin-off are per old share, split and stock dividend multiply, a merger takes all that is
    then held and leaves nothing to the delisting.
    """
    one: dict[str, Any] = {"ex": D, "sid": 1}
    due = actions(
        action(**one, kind="delisting", value=-0.5),
        action(**one, kind="stock_dividend", numerator=11, denominator=10),
        action(**one, kind="split", numerator=2, denominator=1),
        action(**one, kind="spin_off", value=3.0, numerator=1, denominator=4, counterpart="S2"),
        action(**one, kind="dividend", cash=Decimal("0.5")),
    )
    before = held(10)
    after, moved = apply_actions(before, due.filter(due["kind"] != "delisting"), {(1, D): 10}, {"S2": 2})
    assert (after.quantities, after.marks) == ({1: 22, 2: 2}, {1: Decimal("12.272727"), 2: Decimal(12)})
    assert sorted((m.kind, m.amount) for m in moved) == [
        ("cash_in_lieu", 6),
        ("dividend", 5),
        ("transfer", -24),
        ("transfer", 24),
    ]
    ended, paid = apply_actions(
        before, actions(*due.to_dicts(), action(**one, kind="merger", cash=Decimal(13))), {(1, D): 10}, {"S2": 2}
    )
    assert ended.quantities == {2: 2}
    assert [m.amount for m in paid if m.kind in {"merger", "delisting"}] == [Decimal(286)]
    assert len({(m.kind, m.sid, m.reference) for m in paid}) == len(paid)  # the journal's key


def test_a_late_spin_off_acts_on_the_shares_of_its_evening():
    """A spin-off that becomes known later hands out shares for what was held before its ex-session and leaves the
    mark, which is ex already; a later split of what was received counts it.
    """
    first, second = SESSIONS[1], SESSIONS[2]
    spun = action(1, first, "spin_off", D, value=6.0, numerator=1, denominator=2, counterpart="S2")
    split = action(2, second, "split", D, numerator=3, denominator=1)
    after, _ = apply_actions(held(60), actions(spun, split), {(1, first): 100}, {"S2": 2})
    assert after.quantities == {1: 60, 2: 150}
    assert after.marks[1] == Decimal(30)


def test_short_pays_the_dividend():
    """A short position is charged what a long one is paid."""
    dividend = actions(action(1, D, "dividend", cash=Decimal("0.125")))
    assert apply_actions(held(-101), dividend, {(1, D): -101})[1][0].amount == Decimal("-12.63")
    assert apply_actions(held(101), dividend, {(1, D): 101})[1][0].amount == Decimal("12.63")


def test_not_entitled_is_not_paid():
    """Shares bought on the ex-session bring no dividend and do not split."""
    due = actions(action(1, D, "dividend", cash=Decimal(1)), action(1, D, "split", numerator=2, denominator=1))
    after, moved = apply_actions(held(100), due, {})
    assert (after.quantities, moved) == ({1: 100}, [])


def test_late_split_adds_the_missing_shares():
    """A split that becomes known after its ex-session acts on the shares held before it, and leaves the mark, which
    is in new shares already.
    """
    ex = SESSIONS[1]
    after, _ = apply_actions(held(60), actions(action(1, ex, "split", D, numerator=3, denominator=1)), {(1, ex): 100})
    assert after.quantities == {1: 260}
    assert after.marks == {1: Decimal(30)}


def test_dividend_after_a_split_booked_together():
    """A dividend on new shares counts those that an earlier split, booked in the same call, brought."""
    first, second = SESSIONS[1], SESSIONS[2]
    due = actions(
        action(1, first, "split", D, numerator=2, denominator=1), action(1, second, "dividend", D, cash=Decimal(1))
    )
    _, moved = apply_actions(held(100), due, {(1, first): 100, (1, second): 100})
    assert [m.amount for m in moved] == [Decimal(200)]


@pytest.mark.parametrize(("value", "proceeds"), [(-0.3, "2100.00"), (None, "3000.00"), (-1.0, None)])
def test_delisting_turns_shares_into_cash(value: float | None, proceeds: str | None):
    """A delisting pays all shares at the last mark times one plus its value, and nothing is held any more."""
    after, moved = apply_actions(held(100), actions(action(1, D, "delisting", value=value)), {(1, D): 100})
    assert (after.quantities, after.marks) == ({}, {})
    assert [m.amount for m in moved] == ([Decimal(proceeds)] if proceeds else [])


def test_mark_keeps_the_last_close():
    """A name without a close keeps its mark; a new one is marked at the close."""
    bought, _ = apply_fills(held(10), [filled("e", 1, 5, Decimal("7.5"), Decimal(1), sid=2)])
    after = mark(bought, D, {2: 7.77})
    assert after.marks == {1: Decimal(30), 2: Decimal("7.77")}
    assert after.session == D


class TestCorrections:
    """A delisting that was not true is put right by an entry of the session that learns of it."""

    ROW: ClassVar[dict[str, Any]] = {
        "sid": 1,
        "ex": SESSIONS[2],
        "kind": "delisting",
        "value": -0.1,
        "origin": "derived",
    }

    def corrected(self, *rows: dict[str, object]) -> dict[date, list[Correction]]:
        """By session what is put right; 100 shares are held at 30 up to SESSIONS[4], when the first row is booked."""

        def evening(day: date) -> Holdings:
            return held(100) if day < SESSIONS[5] else held(0)

        past = Past(evening=evening, bars=lambda _: BARS.empty())
        found = {s: corrections(actions(*rows), CUTS, s, CUTS.booked_before(s), past, {}) for s in SESSIONS[1:]}
        return {s: c for s, c in found.items() if c}

    def test_a_name_that_trades_again_is_held_again(self):
        """Withdrawn after it was booked: the shares come back at the price they were paid out at, and the payment
        goes back, once.
        """
        rows = action(**self.ROW, known=SESSIONS[5]), action(**self.ROW, known=SESSIONS[8], withdrawn=True)
        found = self.corrected(*rows)
        assert list(found) == [SESSIONS[8]]
        after, moved = apply_actions(held(0), actions(), {}, corrected=found[SESSIONS[8]])
        assert (after.quantities, after.marks) == ({1: 100}, {1: Decimal(30)})
        assert [(m.kind, m.amount) for m in moved] == [("delisting", Decimal("-2700.00"))]
        closed = mark(after, SESSIONS[8], {1: 9.0})
        assert closed.equity - held(0).equity == Decimal("-1800.00")

    def test_in_the_shares_of_today(self):
        """A split while none were held is counted, one that is due in the same session counts the shares that come
        back.
        """
        rows = action(**self.ROW, known=SESSIONS[5]), action(**self.ROW, known=SESSIONS[8], withdrawn=True)
        missed = action(1, SESSIONS[6], "split", SESSIONS[5], numerator=1, denominator=10)
        found = self.corrected(*rows, missed)
        assert [(c.shares, c.marks) for c in found[SESSIONS[8]]] == [({1: 10}, {1: Decimal(300)})]
        due = actions(action(1, SESSIONS[8], "split", numerator=2, denominator=1))
        after, _ = apply_actions(held(0), due, {(1, SESSIONS[8]): 0}, corrected=found[SESSIONS[8]])
        assert after.quantities == {1: 20}

    def test_what_was_paid_otherwise_is_paid_to_the_difference(self):
        """A later version with another return moves the difference and no shares; one before it was booked, or that
        says the same, nothing.
        """
        early = action(**self.ROW, known=SESSIONS[5])
        other: dict[str, Any] = {**self.ROW, "value": -0.5}
        late = action(**other, known=SESSIONS[7])
        (found,) = self.corrected(early, late)[SESSIONS[7]]
        assert (found.shares, [m.amount for m in found.moved]) == ({}, [Decimal("-1200.00")])
        assert self.corrected(early, action(**self.ROW, known=SESSIONS[7])) == {}
        assert self.corrected(early) == {}


class TestDue:
    """Each action is booked in exactly one session."""

    def booked(self, *rows: dict[str, object]) -> list[date]:
        """The sessions in which any of these is due."""
        return [s for s in SESSIONS[1:] if due_actions(actions(*rows), CUTS, s).height]

    def test_on_its_ex_session(self):
        """Known in time: booked on the ex-session."""
        assert self.booked(action(1, SESSIONS[4], "dividend", SESSIONS[1], cash=Decimal(1))) == [SESSIONS[4]]

    def test_late(self):
        """Known late: booked at the first cut that knows it."""
        assert self.booked(action(1, SESSIONS[4], "dividend", SESSIONS[7], cash=Decimal(1))) == [SESSIONS[7]]

    def test_withdrawn_before_ex(self):
        """Withdrawn before it went ex: never."""
        row: dict[str, Any] = {"sid": 1, "ex": SESSIONS[4], "kind": "dividend", "cash": Decimal(1)}
        assert self.booked(action(**row, known=SESSIONS[1]), action(**row, known=SESSIONS[2], withdrawn=True)) == []

    def test_restated_withdrawn_and_back(self):
        """Restated, withdrawn and reinstated after it was booked: once, and each change is a finding."""
        row: dict[str, Any] = {"sid": 1, "ex": SESSIONS[4], "kind": "dividend"}
        versions = [action(**row, known=SESSIONS[k], cash=Decimal(k), withdrawn=k == 6) for k in (3, 5, 6, 8)]
        assert self.booked(*versions) == [SESSIONS[4]]
        assert [s for s in SESSIONS[1:] if late_changes(actions(*versions), CUTS, s)] == [
            SESSIONS[5],
            SESSIONS[6],
            SESSIONS[8],
        ]

    def test_withdrawn_before_any_cut_saw_it(self):
        """A late action that was in force at no cut, and is reinstated, is booked then."""
        row: dict[str, Any] = {"sid": 1, "ex": SESSIONS[4], "kind": "dividend", "cash": Decimal(1)}
        early = action(**row, known=SESSIONS[6]) | {"known_at": CUTS.calendar.open(SESSIONS[6])}
        assert self.booked(
            early, action(**row, known=SESSIONS[6], withdrawn=True), action(**row, known=SESSIONS[8])
        ) == [SESSIONS[8]]

    def test_entitlement_is_the_evening_before_ex(self):
        """Entitled are the shares held at the end of the session before the ex-session."""
        due = actions(action(1, SESSIONS[4], "dividend", cash=Decimal(1)))
        past = Past(evening=lambda day: held(7 if day == SESSIONS[3] else 9), bars=lambda _: BARS.empty())
        assert entitlements(due, due, SESSIONS[3], CUTS, past) == {(1, SESSIONS[4]): 7}

    def test_splits_as_known(self):
        """A split ends orders in the session that books it: on its ex-session, or in the first that knows of it."""
        late = actions(
            action(1, SESSIONS[4], "split", SESSIONS[5], numerator=2, denominator=1),
            action(2, SESSIONS[4], "split", numerator=2, denominator=1),
            action(3, SESSIONS[4], "stock_dividend", numerator=21, denominator=20),
        )
        assert [stopped(late, CUTS, SESSIONS[k], {1, 2, 3}) for k in (3, 4, 5, 6)] == [set(), {2, 3}, {1}, set()]
        assert stopped(late, CUTS, SESSIONS[4], {1, 2}) == {2}
