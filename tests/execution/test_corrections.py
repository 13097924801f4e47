"""The venue changes its mind: busts, corrections, restatements in place, late fills and fees."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from quant_assets.execution.corrections import effective, steps
from quant_assets.records import Commission, Events, Execution, OrderState
from quant_assets.tables import COSTS, FILLS, JOURNAL, NAV, ORDERS, PNL, POSITIONS
from tests.execution.small_market import PAPER
from tests.execution.test_drop_copy import DAYS, OPEN, Traded, traded

__all__ = ["traded"]  # the fixture
S = OrderState
D1, D2, D3, D4 = DAYS[:4]


def filled(traded: Traded, price: str = "27.5") -> Execution:
    """An order of ten shares that fills on D1, charged 1.00, settled."""
    traded.order(D1)
    traded.at(D1)
    execution = traded.venue.execute("c0103", 10, price)
    traded.venue.charge(execution.exec_id, "1.00")
    assert traded.settle(D1).numbers["breaks_found"] == 0
    return execution


def agrees(traded: Traded) -> None:
    """Every sum of the books, and the venue's."""
    read = {t.name: traded.store.read(t, as_of=None) for t in (FILLS, JOURNAL, NAV, PNL, COSTS, POSITIONS)}
    nav, last = read["nav"], read["nav"]["session"][-1]
    held = dict(read["positions"].filter(session=last).select("sid", "quantity").iter_rows())
    net: dict[int, int] = {}
    for fill in traded.ledger.executions.fills(PAPER.name):
        net[fill.sid] = net.get(fill.sid, 0) + fill.side * fill.quantity
    assert held == {s: q for s, q in net.items() if q} == traded.venue.positions()
    assert sum(read["journal"]["amount"], Decimal(0)) == nav["cash"][-1] == traded.venue.cash()
    assert nav["pnl"].sum() == nav["equity"][-1] - PAPER.capital == read["pnl"]["total"].sum()
    assert nav["equity"][-1] == nav["cash"][-1] + read["positions"].filter(session=last)["value"].sum()
    for session in nav["session"]:
        of_session = nav.filter(session=session)["fees"].sum()
        assert of_session == read["costs"].filter(session=session)["fees"].sum()
    assert read["costs"]["filled"].sum() == sum(abs(q) for q in net.values())
    assert (
        read["costs"]["shortfall"] == sum(read["costs"][c] for c in ("delay", "trading", "opportunity", "fees"))
    ).all()


def test_a_bust_is_reversed_in_the_session_that_sees_it(traded: Traded):
    """Shares, cash and fee go back on D2, by an entry that names the first; again, nothing is booked."""
    execution = filled(traded)
    traded.at(D2)
    traded.venue.correct(execution.exec_id, quantity=0)
    assert traded.settle(D2).numbers["breaks_found"] == 0, traded.told.subjects
    assert traded.collect(D2).numbers["booked"] == 0
    (entry,) = traded.store.read(FILLS, as_of=None).filter(session=D2).rows(named=True)
    assert (entry["exec_id"], entry["corrects"], entry["side"], entry["quantity"]) == ("x0~bust", "x0", -1, 10)
    assert (entry["price"], entry["fee"]) == (Decimal("27.5"), Decimal("-1.00"))
    nav = traded.store.read(NAV, as_of=None)
    assert nav.select("session", "cash", "fees", "traded").rows()[-2:] == [
        (D1, Decimal("99724.00"), Decimal(1), Decimal(275)),
        (D2, Decimal(100_000), Decimal(-1), Decimal(-275)),
    ]
    agrees(traded)


def test_a_bust_is_an_opportunity_missed(traded: Traded):
    """The rows of the order add up to Perold's figure of an order that was never filled: its close less its price."""
    execution = filled(traded)
    traded.at(D2)
    traded.venue.correct(execution.exec_id, quantity=0)
    traded.settle(D2)
    costs = traded.store.read(COSTS, as_of=None)
    close = traded.store.read(POSITIONS, as_of=None).filter(session=D1)["mark"][0]
    assert [costs[c].sum() for c in ("filled", "delay", "trading", "fees")] == [0, 0, 0, 0]
    assert costs["shortfall"].sum() == costs["opportunity"].sum() == 10 * (close - Decimal(27))


@pytest.mark.parametrize("in_place", [False, True])
def test_a_correction_replaces_what_was_booked(traded: Traded, in_place: bool):
    """Whether under an id of its own or in place: the first is reversed, the right one is booked, the fee follows."""
    execution = filled(traded)
    traded.at(D2)
    change = traded.venue.restate if in_place else traded.venue.correct
    other = change(execution.exec_id, price=Decimal("27.4"), quantity=8)
    if not in_place:
        traded.venue.charge(other.exec_id, "0.80")
    assert traded.settle(D2).numbers["breaks_found"] == 0, traded.told.subjects
    rows = traded.store.read(FILLS, as_of=None).filter(session=D2).sort("exec_id")
    name = "x0~v2" if in_place else "x1"
    assert set(rows.select("exec_id", "corrects", "side", "quantity", "price", "fee").rows()) == {
        ("x0~bust", "x0", -1, 10, Decimal("27.5"), Decimal("-1.00")),
        (name, "x0", 1, 8, Decimal("27.4"), Decimal("1.00" if in_place else "0.80")),
    }
    assert rows["arrival_price"].n_unique() == 1
    agrees(traded)
    assert traded.collect(D2).numbers["booked"] == 0
    traded.settle(D3)
    agrees(traded)


def test_a_correction_of_a_correction_and_its_bust(traded: Traded):
    """The last link of the chain counts; each entry names the one before."""
    execution = filled(traded)
    for day, terms in ((D2, {"price": Decimal(28)}), (D3, {"price": Decimal(29)}), (D4, {"quantity": 0})):
        traded.at(day)
        execution = traded.venue.correct(execution.exec_id, **terms)
        assert traded.settle(day).numbers["breaks_found"] == 0, traded.told.subjects
        agrees(traded)
    fills = traded.ledger.executions.fills(PAPER.name)
    assert {(f.exec_id, f.corrects) for f in fills} == {
        ("x0", ""), ("x0~bust", "x0"), ("x1", "x0"), ("x1~bust", "x1"), ("x2", "x1"), ("x2~bust", "x2"), ("x3", "x2")
    }  # fmt: skip
    assert effective(fills) == {}


def test_a_venue_that_goes_back_to_what_it_said_first(traded: Traded):
    """Restated in place twice: three versions, of which the last is in force."""
    execution = filled(traded)
    for day, price in ((D2, "28"), (D3, "27.5")):
        traded.at(day)
        traded.venue.restate(execution.exec_id, price=Decimal(price))
        assert traded.settle(day).numbers["breaks_found"] == 0
        agrees(traded)
    assert [f.exec_id for f in effective(traded.ledger.executions.fills(PAPER.name)).values()] == ["x0~v3"]


def test_a_restated_fee_is_booked_by_its_difference(traded: Traded):
    """Up by 20 cents on D2, down by 50 on D3: each difference in the session that saw it."""
    execution = filled(traded)
    for day, fee in ((D2, "1.20"), (D3, "0.70")):
        traded.at(day)
        traded.venue.charge(execution.exec_id, fee)
        assert traded.settle(day).numbers["breaks_found"] == 0, traded.told.subjects
        agrees(traded)
    fees = traded.store.read(JOURNAL, as_of=None).filter(kind="fee").sort("session")
    assert fees.select("session", "reference", "amount").rows() == [
        (D1, "x0", Decimal("-1.00")), (D2, "x0~fee2", Decimal("-0.20")), (D3, "x0~fee3", Decimal("0.50"))
    ]  # fmt: skip


def test_a_bust_that_comes_before_its_execution(traded: Traded, monkeypatch: pytest.MonkeyPatch):
    """Nothing of the trade is ever booked, and neither is its fee."""
    traded.order(D1)
    traded.at(D1)
    execution = traded.venue.execute("c0103", 10, "27.5")
    traded.venue.charge(execution.exec_id, "1.00")
    traded.venue.correct(execution.exec_id, quantity=0)
    events = traded.venue.events

    def bust_alone(_since: str | None) -> Events:
        return msgspec.structs.replace(events(None), executions=events(None).executions[1:], commissions=())

    monkeypatch.setattr(traded.venue, "events", bust_alone)
    traded.settle(D1)
    monkeypatch.setattr(traded.venue, "events", events)
    traded.settle(D2)
    assert traded.store.read(FILLS, as_of=None).is_empty()
    agrees(traded)


def in_turn(traded: Traded, monkeypatch: pytest.MonkeyPatch, *reported: tuple[str, ...]) -> None:
    """Book D1 and what follows: in each session the venue reports these executions and their fees, and no others."""
    said = traded.venue.events(None)
    for day, names in zip(DAYS, reported, strict=False):
        told = msgspec.structs.replace(
            said,
            executions=tuple(e for e in said.executions if e.exec_id in names),
            commissions=tuple(c for c in said.commissions if c.exec_id in names),
        )
        with monkeypatch.context() as patched:
            patched.setattr(traded.venue, "events", Mock(return_value=told))
            traded.at(day, cut=True)
            traded.book(day)


@pytest.mark.parametrize("end", [{"quantity": 0}, {"price": Decimal("27.3")}])
@pytest.mark.parametrize(
    "reported",
    [
        (("x1", "x2"), ("x0",)),  # the link between them is never in force
        (("x2",), ("x1",), ("x0",)),
        (("x0", "x1", "x2"), ("x0",), ("x1",)),
        (("x1",), ("x0", "x2"), ("x0",)),
    ],
)
def test_a_correction_that_was_corrected_before_it_was_booked(
    traded: Traded, monkeypatch: pytest.MonkeyPatch, reported: tuple[tuple[str, ...], ...], end: dict[str, Any]
):
    """The first execution, though it comes last, is no trade of its own, and no fee is charged on what was passed."""
    traded.order(D1)
    traded.at(D1)
    execution = traded.venue.execute("c0103", 2, "27.5")
    traded.venue.charge(execution.exec_id, "1.00")
    for number, terms in enumerate(({"quantity": 4, "price": Decimal("26.4")}, end)):
        execution = traded.venue.correct(execution.exec_id, **terms)
        if execution.quantity:
            traded.venue.charge(execution.exec_id, f"1.{number + 1}0")
    in_turn(traded, monkeypatch, *reported)
    agrees(traded)
    last = DAYS[len(reported)]
    assert traded.settle(last).numbers["breaks_found"] == 0, traded.told.subjects
    agrees(traded)
    assert traded.collect(last).numbers["booked"] == 0


def test_what_was_bust_before_it_was_booked_can_come_back(traded: Traded, monkeypatch: pytest.MonkeyPatch):
    """A venue that corrects the bust as well: what it says last is booked, with its own fee alone."""
    traded.order(D1)
    traded.at(D1)
    execution = traded.venue.execute("c0103", 10, "27.5")
    for quantity, fee in ((4, "0.40"), (0, ""), (3, "0.30")):
        execution = traded.venue.correct(execution.exec_id, quantity=quantity)
        if fee:
            traded.venue.charge(execution.exec_id, fee)
    in_turn(traded, monkeypatch, ("x1", "x2"), ("x0",), ("x3",))
    assert set(effective(traded.ledger.executions.fills(PAPER.name))) == {"x3"}
    agrees(traded)


def test_a_correction_of_a_link_that_nobody_saw_keeps_the_arrival_price(
    traded: Traded, monkeypatch: pytest.MonkeyPatch
):
    """Booked on D1; on D3 the venue reports two corrections of D2 at once: they belong to D3, which saw them."""
    execution = filled(traded)
    traded.at(D2)
    passed = traded.venue.correct(execution.exec_id, quantity=4)
    other = traded.venue.correct(passed.exec_id, quantity=6)
    traded.venue.charge(other.exec_id, "0.60")
    in_turn(traded, monkeypatch, (), (), ("x1", "x2"))
    fills = traded.ledger.executions.fills(PAPER.name)
    assert {(f.exec_id, f.session, f.quantity) for f in fills} == {
        ("x0", D1, 10), ("x0~bust", D3, 10), ("x1", D3, 0), ("x2", D3, 6)
    }  # fmt: skip
    assert len({f.arrival_price for f in fills}) == 1
    agrees(traded)


def test_a_fill_of_an_order_that_was_canceled(traded: Traded):
    """It is booked, the order takes the venue's word, a person is notified, and nothing breaks."""
    traded.order(D1)
    traded.at(D1)
    traded.venue.cancel("c0103")
    assert traded.settle(D1).numbers["breaks_found"] == 0
    assert [w.state for w in traded.ledger.outbox.orders(PAPER.name)] == [S.CANCELED]
    traded.venue.raced("c0103", 10, "27.5", at=OPEN(D1) + timedelta(seconds=1))
    report = traded.settle(D2)
    assert report.numbers["breaks_found"] == 0, traded.told.subjects
    assert [(w.state, w.filled) for w in traded.ledger.outbox.orders(PAPER.name)] == [(S.FILLED, 10)]
    orders = traded.store.read(ORDERS, as_of=None).sort("session").select("session", "state", "filled").rows()
    assert orders == [(D1, "CANCELED", 0), (D2, "FILLED", 10)]
    agrees(traded)
    # nothing was missed after all
    assert traded.store.read(COSTS, as_of=None)["opportunity"].sum() == 0


def test_steps_do_not_hang_on_the_order_of_arrival():
    """A circle of corrections, a repetition and a correction of what nobody saw lead to one version each."""
    ts = OPEN(D1)

    def report(exec_id: str, corrects: str = "", quantity: int = 10) -> Execution:
        return Execution(exec_id, "c", 1, 1, quantity, Decimal(10), ts, corrects=corrects)

    circle = [report("a", "b"), report("b", "a")]
    assert len(steps(circle, [])) == len(steps(circle[::-1], [])) == 1
    (alone,) = steps([report("b", "unseen")], [])
    assert (alone.exec_id, alone.corrects, alone.reverse) == ("b", "unseen", ())
    (last,) = steps([report("a"), report("c", "b"), report("b", "a"), report("a")], [])
    assert last.exec_id == "c"
    assert Commission("x~fee2", Decimal(1), "x").execution == "x"
