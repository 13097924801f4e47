"""What an order cost against the price at which it was decided: the terms of one session, in the currency of the name
and in the book's.

Perold (1988), with s = ±1, decision price Pd, arrival price Pa, fill price p, end price Pe, Q ordered and F filled:
delay s·F·(Pa−Pd) + trading s·F·(p−Pa) + opportunity s·(Q−F)·(Pe−Pd) + fees, each count worth step × multiplier. The
terms add up to the shortfall exactly. Each is rounded to the sixth decimal once in the name's currency and once where
it is converted.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import polars as pl

from quant_assets.books.holdings import ALIKE, TICK, exact
from quant_assets.books.terms import Terms
from quant_assets.market_data.jumps import jumped
from quant_assets.records import Frozen, OrderState
from quant_assets.tables import COSTS

_ZERO = Decimal(0)


class Shortfall(Frozen, frozen=True):
    """The terms of one order in one session, in currency; positive is a cost."""

    delay: Decimal
    trading: Decimal
    opportunity: Decimal
    fees: Decimal

    @property
    def total(self) -> Decimal:
        """Their sum."""
        return self.delay + self.trading + self.opportunity + self.fees


Worth = Callable[[int, Decimal], Decimal]  # what so many counts are worth at a price


def shortfall(
    side: int,
    decision_price: Decimal,
    fills: Iterable[tuple[int, Decimal, Decimal, Decimal]],
    missed: int = 0,
    end_price: Decimal = _ZERO,
    worth: Worth = lambda quantity, price: quantity * price,
) -> Shortfall:
    """The terms from fills (quantity, price, arrival price, fee) and the `missed` counts that were never filled, valued
    at `end_price`, in the currency of the name.
    """
    delay = trading = fees = _ZERO
    for quantity, price, arrival, fee in fills:
        delay += worth(side * quantity, arrival - decision_price)
        trading += worth(side * quantity, price - arrival)
        fees += fee
    opportunity = worth(side * missed, end_price - decision_price)
    return Shortfall(delay=delay, trading=trading, opportunity=opportunity, fees=fees)


def session_costs(
    orders: pl.DataFrame,
    fills: pl.DataFrame,
    closes: Mapping[int, Decimal],
    counted: Mapping[str, Decimal] | None = None,
    terms: Terms = ALIKE,
) -> pl.DataFrame:
    """COSTS rows of one session from its ORDERS and FILLS rows, by the terms of their names.

    `closes` by sid in the shares the order was written in; an unfilled order in a name without one, or whose one jumped
    by a ratio from the decision price, carries no opportunity cost. `counted`: of orders that had ended before, by
    client order id, the opportunity that their rows have already, in the name's currency. `fills` have also the fee in
    the book's currency, as it was booked (`fee_value`). Average prices are rounded to six decimals. Orders that neither
    filled nor ended have no row. Raises RateUnknown.
    """
    of_order: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fill in fills.sort("exec_id").iter_rows(named=True):
        of_order[fill["client_order_id"]].append(fill)
    rows = [
        _row(order, of_order[key := order["client_order_id"]], closes, (counted or {}).get(key, _ZERO), terms)
        for order in orders.iter_rows(named=True)
    ]
    return pl.DataFrame([r for r in rows if r is not None], schema=dict(COSTS.schema)).sort(COSTS.key)


def _row(
    order: dict[str, Any], fills: list[dict[str, Any]], closes: Mapping[int, Decimal], counted: Decimal, terms: Terms
) -> dict[str, Any] | None:
    fills = [f | {"quantity": order["side"] * f["side"] * f["quantity"]} for f in fills]  # negative: it was reversed
    decision = exact(order["reference_price"])
    missed = order["quantity"] - order["filled"] if OrderState(order["state"]).terminal else 0
    if not fills and not missed:
        return None
    end = closes.get(order["sid"])
    known = end is not None and not jumped(decision, end)  # else it may be in other shares than the order
    own = shortfall(
        order["side"],
        decision,
        [(f["quantity"], f["price"], f["arrival_price"], f["fee"]) for f in fills],
        missed if known else 0,
        end if end is not None else decision,
        partial(terms.worth, order["sid"]),
    )
    own = msgspec.structs.replace(own, opportunity=own.opportunity - counted)
    shared = {c: order[c] for c in ("session", "book", "sid", "client_order_id", "side", "quantity", "known_at")}
    prices = {
        "filled": sum(f["quantity"] for f in fills),
        "decision_price": decision,
        "arrival_price": _average(fills, "arrival_price"),
        "fill_price": _average(fills, "price"),
    }
    return shared | prices | _amounts(order, decision, own, fills, terms)


def _amounts(
    order: dict[str, Any], decision: Decimal, own: Shortfall, fills: list[dict[str, Any]], terms: Terms
) -> dict[str, Any]:
    """The terms in the book's currency, and in the name's (`own`) where that is another. Fees are what was booked."""
    sid, currency = order["sid"], terms.currency(order["sid"])
    mine = Shortfall(
        delay=terms.converted(currency, own.delay),
        trading=terms.converted(currency, own.trading),
        opportunity=terms.converted(currency, own.opportunity),
        fees=sum((f["fee_value"] for f in fills), _ZERO),
    )
    found: dict[str, Any] = msgspec.structs.asdict(mine) | {"shortfall": mine.total}
    if currency:
        local = msgspec.structs.asdict(own) | {"shortfall": own.total}
        found |= {"currency": currency} | {f"local_{c}": amount for c, amount in local.items()}
    if currency or terms.unit(sid) != 1:
        found |= {"decided_value": terms.notional(sid, order["quantity"], decision)}
    return found


def _average(fills: list[dict[str, Any]], column: str) -> Decimal | None:
    quantity = sum(f["quantity"] for f in fills)
    return (sum((f["quantity"] * f[column] for f in fills), _ZERO) / quantity).quantize(TICK) if quantity else None
