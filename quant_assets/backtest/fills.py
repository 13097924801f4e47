"""The one fill model: backtest, replay and the paper venue fill orders with this function and no other."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from itertools import groupby

import msgspec
import polars as pl

from quant_assets.backtest.funding import Purse, Trade, affordable
from quant_assets.books.holdings import ALIKE, CENT, exact
from quant_assets.books.terms import TICK, Terms
from quant_assets.calendars.auctions import CLOSE
from quant_assets.market_data.jumps import jumped
from quant_assets.plugged import opened
from quant_assets.plugins import costs
from quant_assets.ports import CostModel, ValueCosts
from quant_assets.records import Book, Fill, Frozen, Order, OrderState, Working, content_id

PRICE = Decimal("0.0001")
NO_MARKET = (Decimal(0), 0)
NOWHERE: Mapping[str, datetime] = {}
FINER = 100  # a price on a tick below PRICE is made of one so many times as large
MOST = 2**63 - 1  # counts


@costs("per_share")
class FillModel(Frozen, frozen=True):
    """The CostModel of a book that names none: commission in currency per share with a minimum per order and session,
    slippage in basis points of the open, and the share of the session's volume that the book can be; `fee_bps`: of what
    a fill is worth, beside the commission.
    """

    commission_per_share: Decimal = Decimal("0.005")
    min_commission: Decimal = Decimal("1.00")
    slippage_bps: Decimal = Decimal(5)
    participation: Decimal = Decimal("0.05")
    fee_bps: Decimal = Decimal(0)

    def price(self, opened: Decimal, side: int) -> Decimal:
        """The open moved against the order by the slippage, to 4 decimals."""
        return (opened * (1 + side * self.slippage_bps / 10_000)).quantize(PRICE)

    def fee(self, quantity: int) -> Decimal:
        """The commission on `quantity` shares, in cents."""
        return max(self.min_commission, self.commission_per_share * quantity).quantize(CENT, ROUND_HALF_UP)

    def value_fee(self, worth: Decimal) -> Decimal:
        """The fee on what a fill is worth, in cents."""
        return (worth * self.fee_bps / 10_000).quantize(CENT, ROUND_HALF_UP)

    def capacity(self, volume: int) -> int:
        """The shares that can be traded in a session of this volume."""
        return int(self.participation * volume)


def costs_of(book: Book) -> CostModel:
    """The cost model that a book declares. Raises ConfigurationError where there is none of that name."""
    return opened("costs", book.costs or "per_share")


def match(
    working: Sequence[Working],
    bars: pl.DataFrame,
    stopped: Collection[int],
    session: date,
    ts: datetime,
    model: CostModel,
    paid: Sequence[tuple[int, date, Decimal]] = (),
    account: Purse | None = None,
    closing: datetime | None = None,
    terms: Terms = ALIKE,
    opened_at: Mapping[str, datetime] = NOWHERE,
) -> tuple[list[Fill], list[Working]]:
    """The fills of `working` at the auctions of `session`, and the orders that it changed, as they are after it.

    `bars`: sid, open, volume as known at the session's cut, and close where an order trades at it (its slot is
    `close`, `closing` its time). An order that is due fills at its auction, up to the name's
    participation cap, older orders first; the rest (all of it where there is no bar) carries until `good_till`, then
    it is EXPIRED (with reason CLOSED where that session did not come). Orders on a name in `stopped` count other
    shares, or those of a name that is paid out: EXPIRED with reason CORPORATE_ACTION. So is, with PRICE_UNEXPLAINED,
    an order whose name opens at a jump from its reference price, less what was `paid` on a share since (sid,
    ex-session, amount): its shares may be other ones too. `ts`: the open, UTC; `opened_at`: that of other venues, by
    calendar.

    `account` pays for what is bought; what it cannot pay carries as well, and expires with reason UNFUNDED. None: it
    can pay for anything. `terms`: of the names. Quantities count their steps, of a volume in whole units; a price that
    is not on its tick becomes the next one that is worse; what is margined is not paid for.
    """
    market = {("open", sid): quote for sid, quote in _quotes(bars, "open").items()}
    if any(w.order.slot == CLOSE for w in working):
        market |= {(CLOSE, sid): quote for sid, quote in _quotes(bars, CLOSE).items()}
    volumes = {sid: volume for (_, sid), (_, volume) in market.items()}
    due = sorted(
        (w for w in working if w.order.session <= session),
        key=lambda w: (w.order.sid, w.order.decided, w.order.leg, w.key),
    )
    found: list[tuple[Working, int, str]] = []
    for sid, group in groupby(due, key=lambda w: w.order.sid):
        room = model.capacity(_counted(volumes.get(sid, 0), terms.of(sid).step))
        for item in group:
            opened = market.get(_auction(item.order), NO_MARKET)[0]
            room_here = room if opened else 0
            why = "CORPORATE_ACTION" if sid in stopped else _unexplained(item.order, opened, paid)
            quantity = 0 if why or session > item.order.good_till else min(item.remaining, room_here)
            room -= quantity
            found.append((item, quantity, why))
    fills: list[Fill] = []
    changed: list[Working] = []
    for (item, wanted, why), quantity in zip(found, _paid_for(found, market, model, account, terms), strict=True):
        opened = market.get(_auction(item.order), NO_MARKET)[0]
        if quantity:
            opens = opened_at.get(terms.of(item.order.sid).calendar, ts)
            at = (closing if item.order.slot == CLOSE else None) or opens
            fills.append(_fill(item, quantity, opened, session, at, model, terms))
        traded = _auction(item.order) in market
        lacking = "UNFUNDED" if quantity < wanted else "PARTICIPATION" if traded else "NO_MARKET"
        after = _after(item, item.filled + quantity, session, why, lacking)
        if quantity or after.state is OrderState.EXPIRED:
            changed.append(after)
    return fills, changed


def _quotes(bars: pl.DataFrame, auction: str) -> dict[int, tuple[Decimal, int]]:
    """The price of an auction and the session's volume, by sid."""
    return {
        sid: (exact(price), int(v or 0))
        for sid, price, v in bars.select("sid", auction, "volume").iter_rows()
        if price is not None and 0 < price < float("inf")
    }


def _auction(order: Order) -> tuple[str, int]:
    return CLOSE if order.slot == CLOSE else "open", order.sid


def _paid_for(
    found: Sequence[tuple[Working, int, str]],
    market: Mapping[tuple[str, int], tuple[Decimal, int]],
    model: CostModel,
    account: Purse | None,
    terms: Terms,
) -> list[int]:
    """How much of what the market would fill the account pays for."""
    if account is None:
        return [quantity for _, quantity, _ in found]
    trades = [
        Trade(o.sid, o.side, quantity, _paid(o, market[_auction(o)][0], model, terms) if quantity else Decimal(0))
        for item, quantity, _ in found
        for o in [item.order]
    ]
    return affordable(trades, account)


def _paid(order: Order, opened: Decimal, model: CostModel, terms: Terms) -> Decimal:
    """What one count takes or brings, in the account's currency."""
    if terms.margined(order.sid):
        return Decimal(0)
    return terms.each(order.sid, _price(model, opened, order.side, terms.of(order.sid).tick))


def _price(model: CostModel, opened: Decimal, side: int, tick: Decimal) -> Decimal:
    """The model's price on the instrument's tick: the next one that is worse for the order, and at least one tick."""
    if not tick:
        return model.price(opened, side)
    scale = FINER if tick < PRICE else 1
    price = (model.price(opened * scale, side) / scale).quantize(TICK)
    ticks = (price / tick).to_integral_value(ROUND_CEILING if side > 0 else ROUND_FLOOR)
    return (max(ticks, Decimal(1)) * tick).quantize(TICK)


def _counted(units: int, step: Decimal) -> int:
    """So many whole units in counts of a step."""
    return units if step == 1 else min(int(units / step), MOST)


def _fee(model: CostModel, quantity: int, worth: Decimal, step: Decimal) -> Decimal:
    """The commission, on whole units (a part of one counts as one), and the fee on what the fill is worth."""
    units = quantity if step == 1 else int((quantity * step).to_integral_value(ROUND_CEILING))
    fee = model.fee(units)
    return fee + model.value_fee(worth) if isinstance(model, ValueCosts) else fee


def _unexplained(order: Order, opened: Decimal, paid: Sequence[tuple[int, date, Decimal]]) -> str:
    since = sum((amount for sid, ex, amount in paid if sid == order.sid and ex > order.decided), Decimal(0))
    return "PRICE_UNEXPLAINED" if opened and jumped(order.reference_price - since, opened) else ""


def _fill(
    item: Working, quantity: int, opened: Decimal, session: date, ts: datetime, model: CostModel, terms: Terms
) -> Fill:
    order, of = item.order, terms.of(item.order.sid)
    price = _price(model, opened, order.side, of.tick)
    return Fill(
        exec_id=content_id("fill", item.key, session),
        client_order_id=order.client_order_id,
        session=session,
        sid=order.sid,
        side=order.side,
        quantity=quantity,
        price=price,
        fee=_fee(model, quantity, terms.worth(order.sid, quantity, price), of.step),
        arrival_price=opened,
        ts=ts,
    )


def _after(item: Working, filled: int, session: date, why: str, lacking: str) -> Working:
    """`why`: what ends it; `lacking`: what it waited for when it ran out."""
    state, reason = OrderState.PARTIAL, ""
    if filled == item.order.quantity:
        state = OrderState.FILLED
    elif why:
        state, reason = OrderState.EXPIRED, why
    elif session > item.order.good_till:  # its own last session did not come
        state, reason = OrderState.EXPIRED, "CLOSED"
    elif session >= item.order.good_till:
        state, reason = OrderState.EXPIRED, lacking
    return msgspec.structs.replace(item, state=state, filled=filled, reason=reason)
