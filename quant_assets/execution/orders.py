"""From decisions to orders: the difference between what a book should hold and what it holds or has under way."""

import string
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal
from hashlib import sha256

import msgspec
import polars as pl

from quant_assets.books.holdings import CENT, Holdings
from quant_assets.calendars import Calendar
from quant_assets.calendars.auctions import CLOSE
from quant_assets.moments import AtTime, Every
from quant_assets.records import SLOT, Book, Order, Working
from quant_assets.strategy import Strategy

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
    equity, decided, slot = holdings.equity, trades["session"][0], trades["slot"][0]
    if isinstance(strategy.moment, AtTime):  # its orders are of the auction that comes next
        slot = CLOSE if trades["valid_until"][0] == calendar.close(session) else SLOT
    long_only = bool((trades["target_weight"] >= 0).all())
    wanted = targets(decisions, holdings, symbols)
    orders: list[Order] = []
    smallest = Decimal(str(strategy.limits.min_trade)) * equity
    for sid, (target, price, symbol, decision_id) in sorted(wanted.items()):
        held = holdings.quantities.get(sid, 0)
        under_way = [w.order.side * w.remaining for w in working if w.order.sid == sid]
        difference = target - held - sum(under_way)
        if long_only:
            difference = max(difference, min(0, -held - sum(n for n in under_way if n < 0)))
        closing = target == 0 and held != 0
        if difference == 0 or (not closing and abs(difference) * price < smallest):
            continue
        leg = "exit" if closing else "rebalance"
        orders += _sliced(
            book,
            held,
            Order(
                client_order_id=client_order_id(book.name, strategy.name, decided, slot, sid, leg),
                book=book.name,
                strategy=strategy.name,
                decided=decided,
                session=session,
                good_till=good_till(strategy, session, calendar),
                slot=slot,
                sid=sid,
                leg=leg,
                symbol=symbol,
                side=1 if difference > 0 else -1,
                quantity=abs(difference),
                reference_price=price,
                decision_id=decision_id,
            ),
        )
    return orders


def good_till(strategy: Strategy, session: date, calendar: Calendar) -> date:
    """The last session of an order; one of a slot of bars ends with the bar that it trades in."""
    more = 0 if isinstance(strategy.moment, Every) else strategy.good_for_sessions - 1
    return calendar.shift(session, more)


def targets(
    decisions: pl.DataFrame, holdings: Holdings, symbols: Mapping[int, str]
) -> dict[int, tuple[int, Decimal, str, str]]:
    """By sid what a set of DECISIONS rows wants the book to hold: shares, reference price, symbol, and the decision's
    id; of a name held that the set does not mention, no share and the set's id.
    """
    trades = decisions.filter(pl.col("verdict") == "TRADE").sort("sid")
    if trades.is_empty():
        return {}
    equity = holdings.equity
    wanted = {
        sid: (target_shares(weight, equity, price), price, symbol, decision_id)
        for sid, weight, reference, symbol, decision_id in trades.select(
            "sid", "target_weight", "reference_price", "symbol", "decision_id"
        ).iter_rows()
        if (price := Decimal(str(reference)) if reference else holdings.marks.get(sid))
    }
    for sid in set(holdings.quantities) - set(decisions["sid"]):
        wanted[sid] = (0, holdings.marks[sid], symbols.get(sid, str(sid)), trades["decision_set_id"][0])
    return wanted


def _sliced(book: Book, held: int, order: Order) -> list[Order]:
    """The order, or where it is larger than one may be and reduces what is held: that part in slices that may leave
    (legs exit, exit-2, …), and the rest, if any, as one.
    """
    if order.side * held >= 0 or order.quantity * order.reference_price <= book.max_order_notional:
        return [order]
    most = max(1, int(book.max_order_notional / order.reference_price))
    reducing = min(order.quantity, abs(held))
    sizes = [most] * (reducing // most) + [n for n in (reducing % most, order.quantity - reducing) if n]
    legs = [order.leg, *(f"{order.leg}-{n}" for n in range(2, len(sizes) + 1))]
    about = (order.book, order.strategy, order.decided, order.slot, order.sid)
    return [
        msgspec.structs.replace(order, client_order_id=client_order_id(*about, leg), leg=leg, quantity=size)
        for leg, size in zip(legs, sizes, strict=True)
    ]


def too_small(strategy: Strategy, decisions: pl.DataFrame, holdings: Holdings) -> str:
    """Why nothing that `decisions` (DECISIONS rows) want can be bought: the equity is worth no whole share; empty
    where it is of one, or none is wanted.
    """
    wanted = [
        (price / abs(share), price, share, symbol)
        for weight, reference, symbol in decisions.filter(pl.col("verdict") == "TRADE")
        .select("target_weight", "reference_price", "symbol")
        .iter_rows()
        if weight and reference and abs(weight) >= strategy.limits.min_trade
        for price, share in [(Decimal(str(reference)), Decimal(str(weight)))]
    ]
    if not wanted or min(wanted)[0] <= holdings.equity:
        return ""
    needed, price, share, symbol = min(wanted)
    return (
        f"CAPITAL_TOO_SMALL: equity of {holdings.equity:,.2f} is worth no whole share of any of the {len(wanted)} "
        f"names wanted; the smallest that would trade is {needed.quantize(CENT, ROUND_CEILING):,} "
        f"(one share of {symbol} at {price:,} for a weight of {share})"
    )
