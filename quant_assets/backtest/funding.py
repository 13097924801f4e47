"""What an account can pay for at an open: purchases are filled as far as cash, and the sales filled at the same open,
pay for them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from quant_assets.books.holdings import Holdings
from quant_assets.records import Book, Frozen

_ZERO = Decimal(0)


class Purse(Frozen, frozen=True):
    """An account before an open: `cash` in all its currencies, the `least` that must be left (below zero: what may be
    borrowed), and the counts held by sid.
    """

    cash: Decimal
    least: Decimal
    held: Mapping[int, int]


class Trade(Frozen, frozen=True):
    """What the market would fill of an order; `price`: what one count takes or brings, in the account's currency."""

    sid: int
    side: int
    quantity: int
    price: Decimal


def purse(book: Book, holdings: Holdings) -> Purse:
    """The account of a book that has these holdings."""
    return Purse(holdings.balance, book.limits.min_cash * holdings.equity, holdings.quantities)


def affordable(trades: Sequence[Trade], account: Purse) -> list[int]:
    """How much of each trade is filled, in the order given. Sales and what covers a short are filled whole; the other
    purchases, where they cost more than there is, in proportion. Fees are not counted.
    """
    short = {sid: -shares for sid, shares in account.held.items() if shares < 0}
    opening: list[int] = []
    left, cost = account.cash - account.least, _ZERO
    for trade in trades:
        covering = min(trade.quantity, short.get(trade.sid, 0)) if trade.side > 0 else 0
        short[trade.sid] = short.get(trade.sid, 0) - covering
        opening.append(trade.quantity - covering if trade.side > 0 else 0)
        left += trade.price * (trade.quantity if trade.side < 0 else -covering)
        cost += trade.price * opening[-1]
    if not cost or cost <= left:
        return [t.quantity for t in trades]
    share = max(Fraction(0), Fraction(left) / Fraction(cost))
    return [t.quantity - n + int(n * share) for t, n in zip(trades, opening, strict=True)]
