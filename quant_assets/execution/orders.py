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
from quant_assets.errors import DataError
from quant_assets.moments import AtTime, Every
from quant_assets.records import SLOT, Book, Order, Working
from quant_assets.strategy import Strategy

MOST = 2**63 - 1
OUT, IN = "roll-out", "roll-in"  # legs of the two orders of a roll
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


def target_counts(weight: float, equity: Decimal, each: Decimal) -> int:
    """How many counts a weight of the equity is, toward zero, where one exposes the book to `each`. Raises DataError
    where they are more than an int64 holds.
    """
    counts = int(Decimal(str(weight)) * max(equity, Decimal(0)) / each)
    if abs(counts) > MOST:
        raise DataError(
            f"a weight of {weight} of {equity:,} is {counts} steps of {each} each: more than 64 bits count; its step "
            "in the security master is too small"
        )
    return counts


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
    left the universe and is closed (`symbols` names it). Where a contract of a chain that is held is no longer the one
    in which the set trades it, two orders roll it: `targets`. A set without any TRADE row orders nothing. Differences
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
    wanted, terms = targets(decisions, holdings, symbols), holdings.terms
    legs = _legs(decisions, holdings, wanted)
    orders: list[Order] = []
    smallest = Decimal(str(strategy.limits.min_trade)) * equity
    for sid, (target, price, symbol, decision_id) in sorted(wanted.items()):
        held = holdings.quantities.get(sid, 0)
        under_way = [w.order.side * w.remaining for w in working if w.order.sid == sid]
        difference = target - held - sum(under_way)
        if long_only:
            difference = max(difference, min(0, -held - sum(n for n in under_way if n < 0)))
        closing = target == 0 and held != 0
        each = terms.each(sid, price)
        if difference == 0 or (not closing and sid not in legs and abs(difference) * each < smallest):
            continue
        leg = legs.get(sid, "exit" if closing else "rebalance")
        orders += _sliced(
            book,
            held,
            each,
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
    """By sid what a set of DECISIONS rows wants the book to hold: counts, reference price, symbol, and the decision's
    id; of a name held that the set does not mention, nothing and the set's id.

    Of a contract held that rolls: nothing, and of the next one as much of the underlying as was held, toward zero,
    whatever the weight; but what the weight is where that is zero or the other way.
    """
    trades = decisions.filter(pl.col("verdict") == "TRADE").sort("sid")
    if trades.is_empty():
        return {}
    equity, terms = holdings.equity, holdings.terms
    columns = ("sid", "target_weight", "reference_price", "symbol", "decision_id")
    wanted = {
        sid: (target_counts(weight, equity, terms.each(sid, price)), price, symbol, decision_id)
        for sid, weight, reference, symbol, decision_id in trades.select(columns).iter_rows()
        if (price := Decimal(str(reference)) if reference else holdings.marks.get(sid))
    }
    for sid in set(holdings.quantities) - set(decisions["sid"]):
        wanted[sid] = (0, holdings.marks[sid], symbols.get(sid, str(sid)), trades["decision_set_id"][0])
    for old, new in rolls(decisions, holdings):
        row = decisions.filter(pl.col("sid") == new).select("reference_price", "symbol", "decision_id").row(0)
        carried = _carried(holdings, old, new)
        if row[0] and (new not in wanted or wanted[new][0] * carried > 0):
            moved = holdings.quantities.get(new, 0) + carried
            wanted[new] = (moved, Decimal(str(row[0])), row[1], row[2])
            wanted[old] = (0, *wanted[old][1:3], row[2])
    return wanted


def rolls(decisions: pl.DataFrame, holdings: Holdings) -> list[tuple[int, int]]:
    """The contracts held that the set trades in another contract by now, each with that one, sorted."""
    known = holdings.terms.instruments
    chains = {
        (known[sid].calendar, known[sid].underlying): sid
        for sid in decisions["sid"].sort().to_list()
        if sid in known and known[sid].kind == "future"
    }
    mentioned = set(decisions["sid"])
    return sorted(
        (old, chains[known[old].calendar, known[old].underlying])
        for old in holdings.quantities
        if old in known and old not in mentioned and (known[old].calendar, known[old].underlying) in chains
    )  # each has a price: the set's rows on contracts have that of the contract


def _carried(holdings: Holdings, old: int, new: int) -> int:
    """How many of the new contract are as much of the underlying as is held of the old one, toward zero."""
    return int(holdings.quantities[old] * holdings.terms.unit(old) / holdings.terms.unit(new))


def _legs(
    decisions: pl.DataFrame, holdings: Holdings, wanted: Mapping[int, tuple[int, Decimal, str, str]]
) -> dict[int, str]:
    """By sid the legs of the contracts that roll."""
    pairs = [
        (old, new)
        for old, new in rolls(decisions, holdings)
        if wanted.get(new, (0,))[0] * _carried(holdings, old, new) > 0
    ]
    return {sid: leg for pair in pairs for sid, leg in zip(pair, (OUT, IN), strict=True)}


def _sliced(book: Book, held: int, each: Decimal, order: Order) -> list[Order]:
    """The order, or where it is larger than one may be and reduces what is held, or is one of the two of a roll: that
    part in slices that may leave (legs exit, exit-2, …), and the rest, if any, as one.
    """
    rolling = order.leg == IN
    if (order.side * held >= 0 and not rolling) or order.quantity * each <= book.max_order_notional:
        return [order]
    most = max(1, int(book.max_order_notional / each))
    reducing = order.quantity if rolling else min(order.quantity, abs(held))
    sizes = [most] * (reducing // most) + [n for n in (reducing % most, order.quantity - reducing) if n]
    legs = [order.leg, *(f"{order.leg}-{n}" for n in range(2, len(sizes) + 1))]
    about = (order.book, order.strategy, order.decided, order.slot, order.sid)
    return [
        msgspec.structs.replace(order, client_order_id=client_order_id(*about, leg), leg=leg, quantity=size)
        for leg, size in zip(legs, sizes, strict=True)
    ]


def too_small(strategy: Strategy, decisions: pl.DataFrame, holdings: Holdings) -> str:
    """Why nothing that `decisions` (DECISIONS rows) want can be bought: the equity is worth no step of any; empty where
    it is of one, or none is wanted.
    """
    terms = holdings.terms
    wanted = [
        (terms.each(sid, price) / abs(share), price, share, symbol)
        for sid, weight, reference, symbol in decisions.filter(pl.col("verdict") == "TRADE")
        .select("sid", "target_weight", "reference_price", "symbol")
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
