"""A venue in memory with the habits of a real one: commissions come apart, it keeps a week, and it repeats itself."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from quant_assets.errors import CursorUnknown, OrderRejected
from quant_assets.records import BrokerOrder, Commission, Coverage, Events, Execution, Order, OrderState

KEPT = timedelta(days=7)


class WeekVenue:
    """The Broker port. `now` is a hand on its clock; a test executes orders and charges fees itself."""

    name = "week"
    settle_window = timedelta(seconds=60)

    def __init__(self, now: datetime, cash: Decimal = Decimal(0)) -> None:
        self.now = now
        self._orders: dict[str, BrokerOrder] = {}
        self._moved: dict[str, datetime] = {}
        self._executions: list[Execution] = []
        self._true: dict[str, Execution] = {}  # what is in force of each trade, by its first execution
        self._fees: list[tuple[datetime, Commission]] = []
        self._cash = cash
        self._forgotten = 0  # cursors below this one are not known any more

    def submit(self, order: Order) -> str:
        """See the port."""
        broker_order_id = f"W{len(self._orders)}"
        self._orders[broker_order_id] = BrokerOrder(
            client_order_id=order.client_order_id,
            broker_order_id=broker_order_id,
            sid=order.sid,
            side=order.side,
            quantity=order.quantity,
            filled=0,
            state=OrderState.ACKED,
        )
        self._moved[broker_order_id] = self.now
        return broker_order_id

    def cancel(self, client_order_id: str) -> None:
        """See the port."""
        held = self._open(client_order_id)
        self._move(msgspec.structs.replace(held, state=OrderState.CANCELED))

    def replace(self, client_order_id: str, order: Order) -> str:
        """See the port."""
        self.cancel(client_order_id)
        return self.submit(order)

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """See the port."""
        return next((o for o in self._kept_orders() if o.client_order_id == client_order_id), None)

    def open_orders(self) -> list[BrokerOrder]:
        """See the port."""
        return [o for o in self._orders.values() if not o.state.terminal]

    def events(self, since: str | None) -> Events:
        """See the port: whatever was asked, the executions and fees of the whole week are reported again."""
        if since is not None and (not since.isdecimal() or int(since) < self._forgotten):
            raise CursorUnknown(f"cursor {since} is older than a week")
        horizon = self.now - KEPT
        executions = tuple(e for e in self._executions if e.ts >= horizon)
        return Events(
            cursor=str(len(self._executions) + len(self._fees) + len(self._moved)),
            executions=executions + executions[-1:],  # one of them twice
            commissions=tuple(c for at, c in self._fees if at >= horizon),
            orders=tuple(self._kept_orders()),
            coverage=Coverage(executions_since=horizon, orders_since=horizon),
        )

    def positions(self) -> Mapping[int, int]:
        """See the port."""
        held: dict[int, int] = {}
        for e in self._true.values():
            held[e.sid] = held.get(e.sid, 0) + e.side * e.quantity
        return {sid: quantity for sid, quantity in held.items() if quantity}

    def cash(self) -> Decimal:
        """See the port. A fee is charged on executions in force alone."""
        traded = sum((e.side * e.quantity * e.price for e in self._true.values()), Decimal(0))
        charged = {c.exec_id: c.fee for _, c in self._fees}
        ids = [e.exec_id for e in self._true.values() if e.quantity]
        return self._cash - traded - sum((charged.get(exec_id, Decimal(0)) for exec_id in ids), Decimal(0))

    def execute(self, client_order_id: str, quantity: int, price: str) -> Execution:
        """Fill a part of an open order now; its commission comes later."""
        held = self._open(client_order_id)
        execution = Execution(
            exec_id=f"x{len(self._executions)}",
            client_order_id=client_order_id,
            sid=held.sid,
            side=held.side,
            quantity=quantity,
            price=Decimal(price),
            ts=self.now,
        )
        self._executions.append(execution)
        self._true[execution.exec_id] = execution
        filled = held.filled + quantity
        state = OrderState.FILLED if filled == held.quantity else OrderState.PARTIAL
        self._move(msgspec.structs.replace(held, filled=filled, state=state))
        return execution

    def raced(self, client_order_id: str, quantity: int, price: str, at: datetime) -> Execution:
        """Report a fill of an order that was canceled meanwhile."""
        held = next(o for o in self._orders.values() if o.client_order_id == client_order_id)
        self._orders[held.broker_order_id] = msgspec.structs.replace(held, state=OrderState.ACKED)
        execution = msgspec.structs.replace(self.execute(client_order_id, quantity, price), ts=at)
        self._executions[-1] = self._true[execution.exec_id] = execution
        return execution

    def charge(self, exec_id: str, fee: str) -> None:
        """Report the commission of an execution."""
        self._fees.append((self.now, Commission(exec_id=exec_id, fee=Decimal(fee))))

    def correct(self, exec_id: str, **terms: Any) -> Execution:
        """Replace an execution by another one under an id of its own that names it; with quantity=0, bust it."""
        (trade,) = (first for first, e in self._true.items() if e.exec_id == exec_id)
        changed = msgspec.structs.replace(
            self._true[trade], exec_id=f"x{len(self._executions)}", corrects=exec_id, ts=self.now, **terms
        )
        self._executions.append(changed)
        self._true[trade] = changed
        return changed

    def restate(self, exec_id: str, **terms: Any) -> Execution:
        """Report other terms under the same id, as a venue does that keeps one row a trade."""
        (trade,) = (first for first, e in self._true.items() if e.exec_id == exec_id)
        changed = msgspec.structs.replace(self._true[trade], **terms)
        self._executions = [changed if e.exec_id == exec_id else e for e in self._executions]
        self._true[trade] = changed
        return changed

    def withdraw(self, exec_id: str) -> None:
        """Lose an execution without a word: it is out of the record, and its shares and cash are gone."""
        self._executions = [e for e in self._executions if e.exec_id != exec_id]
        self._true = {first: e for first, e in self._true.items() if e.exec_id != exec_id}

    def forget(self) -> None:
        """Lose every cursor given so far, as after a restart."""
        self._forgotten = int(self.events(None).cursor) + 1

    def _kept_orders(self) -> list[BrokerOrder]:
        horizon = self.now - KEPT
        return [o for key, o in self._orders.items() if self._moved[key] >= horizon or not o.state.terminal]

    def _open(self, client_order_id: str) -> BrokerOrder:
        found = [o for o in self.open_orders() if o.client_order_id == client_order_id]
        if not found:
            raise OrderRejected(f"no order {client_order_id} is open")
        return found[0]

    def _move(self, order: BrokerOrder) -> None:
        self._orders[order.broker_order_id] = order
        self._moved[order.broker_order_id] = self.now
