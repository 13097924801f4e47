"""The laws of brokers and cost models."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from quant_assets.errors import CursorUnknown, OrderRejected
from quant_assets.ports import Broker, CostModel
from quant_assets.records import Order, OrderState
from quant_assets.testing.holding import is_a, must

DAY = date(2024, 1, 3)
ORDER = Order(
    client_order_id="c1", book="desk", strategy="hand", decided=date(2024, 1, 2), session=DAY, good_till=DAY,
    slot="open", sid=1, leg="rebalance", symbol="S1", side=1, quantity=100, reference_price=Decimal(27),
    decision_id="d",
)  # fmt: skip
Trade = Callable[[Any], None]


def _order(sample: Order, key: str, side: int = 1, quantity: int = 100) -> Order:
    return msgspec.structs.replace(sample, client_order_id=key, side=side, quantity=quantity)


def new_account(make: Callable[[], Broker], **_: object) -> None:
    """A new account holds its cash and nothing else; it has a name and a settle window."""
    broker = make()
    events = broker.events(None)
    must((dict(broker.positions()), list(broker.open_orders())) == ({}, []), "positions or orders")
    must((events.executions, events.commissions, events.orders) == ((), (), ()), "events")
    must(broker.name and broker.settle_window >= timedelta(0), "no name or settle window")
    must(broker.find("c1") is None, "an order that was never sent")
    must(is_a(broker.cash(), Decimal), type(broker.cash()).__name__)


def found_by_its_id(make: Callable[[], Broker], *, trade: Trade, order: Order = ORDER, **_: object) -> None:
    """An order is found under its client id, open until it trades and FILLED afterwards, under one venue's id."""
    broker = make()
    key = broker.submit(_order(order, "c1"))
    held = list(broker.open_orders())
    must([o.client_order_id for o in held] == ["c1"], held)
    must(held[0] == broker.find("c1"), "another order than the open one")
    must((held[0].broker_order_id, held[0].state, held[0].filled) == (key, OrderState.ACKED, 0), held)
    trade(broker)
    must(list(broker.open_orders()) == [], "an order that is filled is open")
    done = broker.find("c1")
    must(done is not None, "it is lost once it has traded")
    must(done and (done.broker_order_id, done.state, done.filled) == (key, OrderState.FILLED, 100), done)


def twice_is_seen(make: Callable[[], Broker], *, trade: Trade, order: Order = ORDER, **_: object) -> None:
    """A second order under a client id is refused, or seen: what trades is what was open."""
    broker = make()
    broker.submit(_order(order, "c1"))
    with suppress(OrderRejected):
        broker.submit(_order(order, "c1"))
    shown = sum(o.quantity for o in broker.open_orders())
    trade(broker)
    traded = sum(broker.positions().values())
    must(traded == shown, f"{shown} shares were open, {traded} traded")


def events_since(make: Callable[[], Broker], *, trade: Trade, order: Order = ORDER, **_: object) -> None:
    """All that happens after a cursor is reported under the next one; None gives everything."""
    broker = make()
    broker.submit(_order(order, "c1"))
    before = broker.events(None)
    must([o.state for o in before.orders] == [OrderState.ACKED], before.orders)
    trade(broker)
    after = broker.events(before.cursor)
    must({e.client_order_id for e in after.executions} == {"c1"}, "no execution of c1")
    states = [o.state for o in after.orders if o.client_order_id == "c1"]
    must(states == [OrderState.FILLED], states)
    must(after.cursor != before.cursor, "the cursor stays")
    whole = {e.exec_id for e in broker.events(None).executions}
    must(whole >= {e.exec_id for e in after.executions}, "None does not give everything")


def account_adds_up(make: Callable[[], Broker], *, trade: Trade, order: Order = ORDER, **_: object) -> None:
    """Each execution once and each fee once add up to cash and positions."""
    broker = make()
    begun = broker.cash()
    broker.submit(_order(order, "c1"))
    broker.submit(_order(order, "c2", -1, 30))
    trade(broker)
    events = broker.events(None)
    executions = list({e.exec_id: e for e in events.executions}.values())
    apart = {c.exec_id: c.fee for c in events.commissions}
    fees = sum(((apart[e.exec_id] if e.fee is None else e.fee) for e in executions), Decimal(0))
    paid = sum((e.side * e.quantity * e.price for e in executions), Decimal(0))
    must(broker.cash() == begun - paid - fees, f"cash {broker.cash()}, by its executions {begun - paid - fees}")
    held = sum(e.side * e.quantity for e in executions)
    must(broker.positions() == {order.sid: held} and held == 70, dict(broker.positions()))
    since = events.coverage.executions_since
    must(all(since is None or e.ts >= since for e in executions), "an execution that it does not vouch for")


def canceled(make: Callable[[], Broker], *, trade: Trade, order: Order = ORDER, **_: object) -> None:
    """An open order becomes CANCELED, is reported so and never trades; one that is not open is refused."""
    broker = make()
    broker.submit(_order(order, "c1"))
    cursor = broker.events(None).cursor
    broker.cancel("c1")
    states = [o.state for o in broker.events(cursor).orders]
    must(states == [OrderState.CANCELED], states)
    for key in ("c1", "never sent"):
        must(_refused(lambda key=key: broker.cancel(key)), f"{key} was canceled")
    trade(broker)
    must(broker.events(None).executions == (), "it traded")


def replaced(make: Callable[[], Broker], *, order: Order = ORDER, **_: object) -> None:
    """The old order is canceled and the new one is open under its own id; nothing is sent where nothing was open."""
    broker = make()
    broker.submit(_order(order, "c1"))
    key = broker.replace("c1", _order(order, "c2", quantity=60))
    held = [(o.client_order_id, o.broker_order_id) for o in broker.open_orders()]
    must(held == [("c2", key)], held)
    old = broker.find("c1")
    must(old is not None and old.state is OrderState.CANCELED, old)
    must(_refused(lambda: broker.replace("c1", _order(order, "c3"))), "an order that is not open was replaced")
    must(broker.find("c3") is None, "the new order was sent all the same")


def cursor_unknown(make: Callable[[], Broker], **_: object) -> None:
    """A cursor that it never gave is refused, never read as another place in the record."""
    broker = make()
    broker.events(None)
    try:
        broker.events("no such cursor")
    except CursorUnknown:
        return
    must(holds=False, found="a cursor that it never gave is read")


def _refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except OrderRejected:
        return True
    return False


OPENS = [Decimal(text) for text in ("0.0001", "0.37", "10", "27.1234", "99999.99")]
COUNTS = (1, 2, 10, 99, 100, 5_000, 1_000_000, 10**12)


def fees_grow(make: Callable[[], CostModel], **_: object) -> None:
    """A fee is a Decimal in cents, never below zero, and never less for more shares."""
    fees = [make().fee(count) for count in COUNTS]
    must(all(is_a(fee, Decimal) and fee >= 0 for fee in fees), fees)
    must(all(fee == fee.quantize(Decimal("0.01")) for fee in fees), fees)
    must(fees == sorted(fees), f"{fees} for {COUNTS}")


def prices_are_no_gift(make: Callable[[], CostModel], **_: object) -> None:
    """A purchase pays the open or more, a sale receives it or less; above zero, to 4 decimals."""
    for opened in OPENS:
        bought, sold = make().price(opened, 1), make().price(opened, -1)
        must(bought >= opened >= sold >= 0, f"{bought} and {sold} where the market opens at {opened}")
        must(all(p == p.quantize(Decimal("0.0001")) for p in (bought, sold)), (bought, sold))


def capacity_within_volume(make: Callable[[], CostModel], **_: object) -> None:
    """So many shares as can be traded are whole, from 0 to the volume, and not fewer of a larger one."""
    found = [make().capacity(volume) for volume in (0, *COUNTS)]
    must(all(is_a(n, int) and 0 <= n <= v for n, v in zip(found, (0, *COUNTS), strict=True)), found)
    must(found == sorted(found), found)


def same_whenever_asked(make: Callable[[], CostModel], **_: object) -> None:
    """What is charged depends on the order alone: not on what was asked before, or in which order."""
    one, two = make(), make()
    forth = [(one.fee(n), one.price(Decimal(n), 1), one.capacity(n)) for n in COUNTS]
    back = [(two.fee(n), two.price(Decimal(n), 1), two.capacity(n)) for n in reversed(COUNTS)]
    must(forth == back[::-1], "other numbers in reverse order")
    must(forth == [(one.fee(n), one.price(Decimal(n), 1), one.capacity(n)) for n in COUNTS], "other numbers again")


LAWS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "broker": {
        f.__name__: f
        for f in (
            new_account,
            found_by_its_id,
            twice_is_seen,
            events_since,
            account_adds_up,
            canceled,
            replaced,
            cursor_unknown,
        )
    },
    "costs": {f.__name__: f for f in (fees_grow, prices_are_no_gift, capacity_within_volume, same_whenever_asked)},
}
