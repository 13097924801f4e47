from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from quant_assets.books.booking import book_session
from quant_assets.calendars import Cuts, calendar
from quant_assets.post_trade.reconciliation import OurSide, TheirSide, reconcile, reconcile_session
from quant_assets.records import (
    Break,
    BrokerOrder,
    Commission,
    Coverage,
    Events,
    Execution,
    Fill,
    OrderState,
    Working,
)
from quant_assets.tables import BARS

D1, D2 = date(2024, 1, 3), date(2024, 1, 4)
CALENDAR = calendar("XNYS")
CUTS = Cuts(CALENDAR)
NOW = datetime(2024, 1, 4, 14, 15, tzinfo=UTC)


@pytest.fixture
def agreed(desk) -> tuple[OurSide, TheirSide]:
    """Two ledgers that agree: one order filled, one rejected, one never sent, one for tomorrow that only we have."""
    filled, refused, unsent = desk.order("c1", 1, 1, 100), desk.order("c2", 2, -1, 50), desk.order("c3", 3, 1, 10)
    tomorrow = desk.order("c4", 1, -1, 10, session=D2)
    fill = desk.fill("e1", "c1", 1, 1, 100, "10")
    ours = OurSide(
        orders=[
            Working(order=filled, state=OrderState.FILLED, filled=100),
            Working(order=refused, state=OrderState.REJECTED, filled=0),
            Working(order=unsent, state=OrderState.PENDING, filled=0),
            Working(order=tomorrow, state=OrderState.ACKED, filled=0),
        ],
        fills=[fill],
        positions={1: 100},
        cash={"USD": Decimal("98999.00")},
    )
    venue = [
        BrokerOrder(client_order_id=c, broker_order_id=f"b{c}", sid=s, side=d, quantity=q, filled=f, state=t)
        for c, s, d, q, f, t in (("c1", 1, 1, 100, 100, OrderState.FILLED), ("c2", 2, -1, 50, 0, OrderState.REJECTED))
    ]
    return ours, TheirSide(orders=venue, executions=[execution(fill)], positions={1: 100}, cash={"USD": Decimal(98999)})


def execution(fill: Fill) -> Execution:
    """The venue's report of a fill."""
    return Execution(**{f: getattr(fill, f) for f in Execution.__struct_fields__})


def change(record: Any, **values: Any) -> Any:
    return msgspec.structs.replace(record, **values)


def at_venue(**values: Any) -> Callable[[OurSide, TheirSide], tuple[OurSide, TheirSide]]:
    """The venue holds the first order differently."""
    return lambda o, t: (o, change(t, orders=[change(t.orders[0], **values), *t.orders[1:]]))


def in_fill(**values: Any) -> Callable[[OurSide, TheirSide], tuple[OurSide, TheirSide]]:
    """The venue records the execution differently."""
    return lambda o, t: (o, change(t, executions=[change(t.executions[0], **values)]))


STRANGER = BrokerOrder(
    client_order_id="zz", broker_order_id="b9", sid=7, side=1, quantity=1, filled=0, state=OrderState.ACKED
)
SEEDED: dict[str, tuple[Callable[[OurSide, TheirSide], tuple[OurSide, TheirSide]], list[tuple[str, str]]]] = {
    "order missing at the venue": (lambda o, t: (o, change(t, orders=t.orders[1:])), [("order", "c1")]),
    "order unknown to us": (lambda o, t: (o, change(t, orders=[*t.orders, STRANGER])), [("order", "zz")]),
    "client id held twice": (
        lambda o, t: (o, change(t, orders=[*t.orders, change(t.orders[0], broker_order_id="b8")])),
        [("order", "c1")],
    ),
    "state differs": (at_venue(state=OrderState.CANCELED), [("order", "c1")]),
    "filled differs": (at_venue(filled=99), [("order", "c1")]),
    "quantity differs": (at_venue(quantity=101), [("order", "c1")]),
    "side differs": (at_venue(side=-1), [("order", "c1")]),
    "venue holds what we never sent": (
        lambda o, t: (
            o,
            change(
                t,
                orders=[
                    *t.orders,
                    BrokerOrder(
                        client_order_id="c3",
                        broker_order_id="b3",
                        sid=3,
                        side=1,
                        quantity=10,
                        filled=0,
                        state=OrderState.ACKED,
                    ),
                ],
            ),
        ),
        [("order", "c3")],
    ),
    "fill missing at our side": (lambda o, t: (change(o, fills=[]), t), [("fill", "e1")]),
    "fill missing at the venue": (lambda o, t: (o, change(t, executions=[])), [("fill", "e1")]),
    "fill price differs": (in_fill(price=Decimal("10.01")), [("fill", "e1")]),
    "fill fee differs": (in_fill(fee=Decimal("1.01")), [("fill", "e1")]),
    "fill quantity differs": (in_fill(quantity=99), [("fill", "e1")]),
    "fill of no order of ours": (
        lambda o, t: (change(o, orders=o.orders[1:]), change(t, orders=t.orders[1:])),
        [("fill", "e1")],
    ),
    "position differs": (lambda o, t: (o, change(t, positions={1: 99})), [("position", "1")]),
    "position only there": (lambda o, t: (o, change(t, positions={1: 100, 5: -3})), [("position", "5")]),
    "position only here": (lambda o, t: (o, change(t, positions={})), [("position", "1")]),
    "cash differs by a cent": (
        lambda o, t: (o, change(t, cash={"USD": t.cash["USD"] + Decimal("0.01")})),
        [("cash", "USD")],
    ),
    "two at once": (
        lambda o, t: (o, change(t, positions={}, cash={"USD": Decimal(0)})),
        [("position", "1"), ("cash", "USD")],
    ),
}


def test_agreeing_ledgers_have_no_break(book, agreed):
    """Equal money in another scale, an unsent order and one for tomorrow are no differences."""
    assert reconcile(book, CUTS, D1, *agreed) == []


@pytest.mark.parametrize("name", SEEDED)
def test_each_seeded_difference_is_found_and_nothing_else(name, book, agreed):
    """Exactly the seeded difference is reported."""
    seed, expected = SEEDED[name]
    assert [(b.kind, b.subject) for b in reconcile(book, CUTS, D1, *seed(*agreed))] == expected


def test_what_is_older_than_the_coverage_is_not_missing(book, agreed, desk):
    """A venue that keeps a week misses nothing before it and all inside it; positions and cash are compared always."""
    ours, theirs = agreed
    nothing = change(theirs, orders=theirs.orders[1:], executions=[])
    since = CALENDAR.open(D1) + timedelta(seconds=1)
    for executions, orders, missing in (
        (None, None, [("order", "c1"), ("fill", "e1")]),
        (CALENDAR.open(D1), since, [("fill", "e1")]),
        (since, CALENDAR.open(D1), [("order", "c1")]),
        (since, since, []),
    ):
        covered = change(nothing, coverage=Coverage(executions_since=executions, orders_since=orders))
        assert [(b.kind, b.subject) for b in reconcile(book, CUTS, D1, ours, covered)] == missing
    working = change(ours, orders=[change(ours.orders[0], state=OrderState.PARTIAL), *ours.orders[1:]])
    old = change(nothing, coverage=Coverage(executions_since=since, orders_since=since))
    assert [b.subject for b in reconcile(book, CUTS, D1, working, old)] == ["c1"]
    poor = change(old, cash={"USD": Decimal(1)}, positions={})
    assert [b.kind for b in reconcile(book, CUTS, D1, ours, poor)] == ["position", "cash"]


def test_a_fee_is_compared_wherever_it_comes(book, agreed):
    """Reported apart it counts as if it came with the execution; not reported yet it is no difference."""
    ours, theirs = agreed
    apart = change(theirs, executions=[change(theirs.executions[0], fee=None)])
    assert reconcile(book, CUTS, D1, ours, apart) == []
    for fee, breaks in (("1", 0), ("1.01", 1)):
        charged = change(apart, fees=[Commission("e1", Decimal(fee))])
        assert len(reconcile(book, CUTS, D1, ours, charged)) == breaks
    late = change(ours, fills=[change(ours.fills[0], fee=Decimal(0))], fees=[Commission("e1", Decimal(1))])
    assert reconcile(book, CUTS, D1, late, change(apart, fees=late.fees)) == []


def test_session_and_arrival_price_are_ours(book, agreed):
    """They are not compared with a venue that has neither."""
    ours, theirs = agreed
    other = change(ours, fills=[change(ours.fills[0], arrival_price=Decimal(9), session=D1 - timedelta(days=1))])
    assert reconcile(book, CUTS, D1, other, theirs) == []


def test_later_executions_wait_for_their_session(book, agreed, desk):
    """A fill of tomorrow on one side is no break of today."""
    ours, theirs = agreed
    late = desk.fill("e2", "c4", 1, -1, 10, "10", session=D2)
    assert reconcile(book, CUTS, D1, ours, change(theirs, executions=[*theirs.executions, execution(late)])) == []
    assert reconcile(book, CUTS, D1, change(ours, fills=[*ours.fills, late]), theirs) == []


def test_a_break_has_one_id_however_long_it_stands(book, agreed):
    """The same difference has the same id on another day and at another level, a different difference another."""
    ours, theirs = agreed
    levels = ((D1, 100, 90), (D2, 50, 40), (D2, 50, 41))
    found = [
        reconcile(book, CUTS, d, change(ours, positions={1: q}), change(theirs, positions={1: p})) for d, q, p in levels
    ]
    ids = [b.break_id for breaks in found for b in breaks if b.kind == "position"]
    assert ids[0] == ids[1] != ids[2]


def ledger(ours: OurSide) -> tuple[Any, Any, Any]:
    """The parts of outbox, executions and breaks that reconciliation uses."""
    opened: dict[str, Break] = {}
    return (
        SimpleNamespace(orders=lambda _book: ours.orders),
        SimpleNamespace(fills=lambda _book: ours.fills, fees=lambda _book: []),
        SimpleNamespace(
            open=lambda found, **_: opened.setdefault(found.break_id, found) is found,
            compared=lambda _book, _found: None,
            listed=lambda _book: [{"break_id": i, "state": "open"} for i in opened],
        ),
    )


def venue(theirs: TheirSide) -> SimpleNamespace:
    """The part of the Broker port that reconciliation uses."""
    return SimpleNamespace(
        events=lambda _since: Events(cursor="1", executions=tuple(theirs.executions), orders=tuple(theirs.orders)),
        open_orders=lambda: [o for o in theirs.orders if not o.state.terminal],
        positions=lambda: theirs.positions,
        cash=lambda: theirs.cash["USD"],
    )


def test_a_session_opens_each_break_once_and_tells_once(store, book, cuts, desk, agreed):
    """Booked positions and the ledger are compared with the venue; run again, nothing is opened or said again."""
    ours, theirs = agreed
    store.append(BARS, desk.bars({D1: {1: 10.0}}))
    book_session(store, book, cuts, D1, ours.fills)
    said: list[str] = []
    ports, told = ledger(ours), SimpleNamespace(notify=lambda severity, *_: said.append(severity))
    assert reconcile_session(*ports, venue(theirs), store, book, cuts, D1, told, now=NOW).numbers["breaks_found"] == 0
    wrong = venue(change(theirs, cash={"USD": Decimal(1)}))
    reports = [reconcile_session(*ports, wrong, store, book, cuts, D1, told, now=NOW) for _ in range(2)]
    assert [(r.numbers["breaks_new"], r.numbers["breaks_open"]) for r in reports] == [(1, 1), (0, 1)]
    assert said == ["critical"]


def test_a_past_session_is_not_compared_with_todays_venue(store, book, cuts, agreed):
    """Run again for a session that others followed, reconciliation opens nothing."""
    ours, theirs = agreed
    for session in (D1, D2):
        book_session(store, book, cuts, session, ours.fills)
    report = reconcile_session(
        *ledger(ours), venue(change(theirs, positions={})), store, book, cuts, D1, SimpleNamespace(), now=NOW
    )
    assert report.numbers["breaks_found"] == 0
    assert "moved on" in report.reason
