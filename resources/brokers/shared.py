"""The venue of a book whose account several books trade: its orders wait here for those of the others."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import msgspec

from quant_assets.errors import OrderRejected
from quant_assets.ports import Broker, Outbox
from quant_assets.records import Book, BrokerOrder, Events, Order, OrderState, Part


def account_of(books: Sequence[Book]) -> Book:
    """The account of these books as one book, named after it: the capital of all, and the least cash of any."""
    limits = msgspec.structs.replace(books[0].limits, min_cash=min(b.limits.min_cash for b in books))
    capital = sum((b.capital for b in books), Decimal(0))
    return msgspec.structs.replace(books[0], name=books[0].account, capital=capital, limits=limits)


class SharedAccount:
    """The Broker port for one book of an account, and SharesAccount. An order that is submitted waits in the outbox
    (ACKED); `quant_assets.execution.together` sends it with the others. What is executed is booked by
    `quant_assets.execution.account_copy`: no events come from here.
    """

    settle_window = timedelta(0)

    def __init__(self, books: Sequence[Book], venue: Broker, outbox: Outbox) -> None:
        self.books: Sequence[Book] = books
        self.account = account_of(books)
        self.venue = venue
        self.name = venue.name
        self._outbox = outbox

    def submit(self, order: Order) -> str:
        """See the port: it waits."""
        return f"{self.account.name}:{order.client_order_id}"

    def cancel(self, client_order_id: str) -> None:
        """See the port. Raises OrderRejected: it may be part of an order of others."""
        raise OrderRejected(f"{client_order_id} is part of an order of account {self.account.name}; cancel that one")

    def replace(self, client_order_id: str, order: Order) -> str:
        """See the port. Raises OrderRejected."""
        raise OrderRejected(f"{client_order_id} cannot become {order.client_order_id}: its account is shared")

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """See the port: what is part of an order of the account, or was sent while the book was alone there."""
        part = next((p for p in self._outbox.parts(self.account.name) if p.client_order_id == client_order_id), None)
        return _reported(part) if part else self.venue.find(client_order_id)

    def open_orders(self) -> Sequence[BrokerOrder]:
        """See the port: none; the account's are asked of its venue."""
        return ()

    def events(self, since: str | None) -> Events:
        """See the port: those of the account are asked of its venue."""
        return Events(cursor=since or "")

    def positions(self) -> Mapping[int, int]:
        """See the port: those of the account."""
        return self.venue.positions()

    def cash(self) -> Decimal:
        """See the port: that of the account."""
        return self.venue.cash()


def _reported(part: Part) -> BrokerOrder:
    return BrokerOrder(
        client_order_id=part.client_order_id,
        broker_order_id=part.parent,
        sid=part.sid,
        side=part.side,
        quantity=part.crossed + part.ordered,
        filled=0,
        state=OrderState.ACKED,
    )
