"""From decisions to orders: the difference between what a book should hold and what it holds or has under way."""

import string
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256

import msgspec
import polars as pl

from quant_assets.books.holdings import Holdings
from quant_assets.calendars import Calendar
from quant_assets.records import Book, Order, Working
from quant_assets.strategy import Strategy

SLOT = "open"
_DIGITS = string.digits + string.ascii_lowercase


def client_order_id(book: str, strategy: str, decided: date, slot: str, sid: int, leg: str) -> str:
    """22 characters of [a-z0-9], which every venue known takes: the same intent has the same id, whoever computes it
    again.
    """
    number = int.from_bytes(sha256(msgspec.json.encode((book, strategy, decided, slot, sid, leg))).digest(), "big")
    digits: list[str] = []
    for _ in range(21):
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "q" + "".join(digits)


def target_shares(weight: float, equity: Decimal, price: Decimal) -> int:
    """Whole shares for a weight of the equity at this price, toward zero."""
    return int(Decimal(str(weight)) * max(equity, Decimal(0)) / price)


def orders_for(
    book: Book,
    strategy: Strategy,
    decisions: pl.DataFrame,
    holdings: Holdings,
    working: Sequence[Working],
    session: date,
    calendar: Calendar,
    symbols: Mapping[int, str],
) -> list[Order]:
    """The orders for the open of `session` that bring the book to one set of `decisions` (DECISIONS rows), sorted by
    sid.

    Only TRADE rows are followed; a name with a NO_TRADE row stays as it is; a name held that the set does not mention
    left the universe and is closed (`symbols` names it). A set without any TRADE row orders nothing. Differences
    below `limits.min_trade` of the equity are left, unless they close a position. Where no weight is negative,
    nothing is sold that is not held: shares that open orders may still buy cannot be delivered yet.
    """
    trades = decisions.filter(pl.col("verdict") == "TRADE").sort("sid")
    if trades.is_empty():
        return []
    equity, decided = holdings.equity, trades["session"][0]
    long_only = bool((trades["target_weight"] >= 0).all())
    wanted = {
        sid: (target_shares(weight, equity, price), price, symbol, decision_id)
        for sid, weight, reference, symbol, decision_id in trades.select(
            "sid", "target_weight", "reference_price", "symbol", "decision_id"
        ).iter_rows()
        if (price := Decimal(str(reference)) if reference else holdings.marks.get(sid))
    }
    for sid in set(holdings.quantities) - set(decisions["sid"]):
        wanted[sid] = (0, holdings.marks[sid], symbols.get(sid, str(sid)), trades["decision_set_id"][0])
    orders: list[Order] = []
    for sid, (target, price, symbol, decision_id) in sorted(wanted.items()):
        held = holdings.quantities.get(sid, 0)
        under_way = [w.order.side * w.remaining for w in working if w.order.sid == sid]
        difference = target - held - sum(under_way)
        if long_only:
            difference = max(difference, min(0, -held - sum(n for n in under_way if n < 0)))
        closing = target == 0 and held != 0
        if difference == 0 or (
            not closing and abs(difference) * price < Decimal(str(strategy.limits.min_trade)) * equity
        ):
            continue
        leg = "exit" if closing else "rebalance"
        orders.append(
            Order(
                client_order_id=client_order_id(book.name, strategy.name, decided, SLOT, sid, leg),
                book=book.name,
                strategy=strategy.name,
                decided=decided,
                session=session,
                good_till=calendar.shift(session, strategy.good_for_sessions - 1),
                slot=SLOT,
                sid=sid,
                leg=leg,
                symbol=symbol,
                side=1 if difference > 0 else -1,
                quantity=abs(difference),
                reference_price=price,
                decision_id=decision_id,
            )
        )
    return orders
