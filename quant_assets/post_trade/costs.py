"""What trading cost: implementation shortfall of each order against the price at which it was decided.

Perold (1988), with s = ±1, decision price Pd, arrival price Pa, fill price p, end price Pe, Q shares ordered and F
filled: delay s·F·(Pa−Pd) + trading s·F·(p−Pa) + opportunity s·(Q−F)·(Pe−Pd) + fees. The terms add up to the shortfall
exactly. An order that works over several sessions has a row in each: delay, trading and fees of that session's fills,
and the opportunity cost in the session in which it ended, to that session's close. What the venue reports or corrects
after that has a row in the session that booked it, whose opportunity is the change of what was missed. The rows add up
to Perold's figure of the order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import polars as pl

from quant_assets.books.apart import apart, waits
from quant_assets.books.booking import booked
from quant_assets.books.holdings import TICK, exact
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.frames import span
from quant_assets.market_data.adjustment import SPLITS
from quant_assets.market_data.jumps import jumped
from quant_assets.ports import Notifier, Store
from quant_assets.records import Book, Frozen, OrderState, StageReport
from quant_assets.tables import ACTIONS, BARS, COSTS, FILLS, JOURNAL, ORDERS

CARRIED = timedelta(days=10)  # how long the last close stands for a name without one


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


def shortfall(
    side: int,
    decision_price: Decimal,
    fills: Iterable[tuple[int, Decimal, Decimal, Decimal]],
    missed: int = 0,
    end_price: Decimal = Decimal(0),
) -> Shortfall:
    """The terms from fills (quantity, price, arrival price, fee) and the `missed` shares that were never filled,
    valued at `end_price`.
    """
    delay = trading = fees = Decimal(0)
    for quantity, price, arrival, fee in fills:
        delay += side * quantity * (arrival - decision_price)
        trading += side * quantity * (price - arrival)
        fees += fee
    return Shortfall(delay=delay, trading=trading, opportunity=side * missed * (end_price - decision_price), fees=fees)


def session_costs(
    orders: pl.DataFrame,
    fills: pl.DataFrame,
    closes: Mapping[int, Decimal],
    counted: Mapping[str, Decimal] | None = None,
) -> pl.DataFrame:
    """COSTS rows of one session from its ORDERS and FILLS rows.

    `closes` by sid in the shares the order was written in; an unfilled order in a name without one, or whose one jumped
    by a ratio from the decision price, carries no opportunity cost. `counted`: of orders that had ended before, by
    client order id, the opportunity that their rows have already. Average prices are rounded to six decimals, the terms
    are exact. Orders that neither filled nor ended have no row.
    """
    of_order: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fill in fills.sort("exec_id").iter_rows(named=True):
        of_order[fill["client_order_id"]].append(fill)
    rows = [
        _row(order, of_order[key := order["client_order_id"]], closes, (counted or {}).get(key, Decimal(0)))
        for order in orders.iter_rows(named=True)
    ]
    return pl.DataFrame([r for r in rows if r is not None], schema=dict(COSTS.schema)).sort(COSTS.key)


def _row(
    order: dict[str, Any], fills: list[dict[str, Any]], closes: Mapping[int, Decimal], counted: Decimal
) -> dict[str, Any] | None:
    fills = [f | {"quantity": order["side"] * f["side"] * f["quantity"]} for f in fills]  # negative: it was reversed
    decision = exact(order["reference_price"])
    missed = order["quantity"] - order["filled"] if OrderState(order["state"]).terminal else 0
    if not fills and not missed:
        return None
    end = closes.get(order["sid"])
    known = end is not None and not jumped(decision, end)  # else it may be in other shares than the order
    terms = shortfall(
        order["side"],
        decision,
        [(f["quantity"], f["price"], f["arrival_price"], f["fee"]) for f in fills],
        missed if known else 0,
        end if end is not None else decision,
    )
    opportunity = terms.opportunity - counted
    filled = sum(f["quantity"] for f in fills)
    shared = {c: order[c] for c in ("session", "book", "sid", "client_order_id", "side", "quantity", "known_at")}
    prices = {
        "decision_price": decision,
        "arrival_price": _average(fills, "arrival_price"),
        "fill_price": _average(fills, "price"),
    }
    return (
        shared
        | prices
        | {
            "filled": filled,
            "delay": terms.delay,
            "trading": terms.trading,
            "opportunity": opportunity,
            "fees": terms.fees,
            "shortfall": terms.total - counted,
        }
    )


def _average(fills: list[dict[str, Any]], column: str) -> Decimal | None:
    quantity = sum(f["quantity"] for f in fills)
    return (sum((f["quantity"] * f[column] for f in fills), Decimal(0)) / quantity).quantize(TICK) if quantity else None


def write_costs(store: Store, book: Book, cuts: Cuts, session: date) -> StageReport:
    """Write the COSTS rows of `session` from its ORDERS rows and the fills and fees that it booked; a stored row stays.

    A fill, fee or correction that came late counts in the session that booked it, so that COSTS adds up to the fees of
    NAV. The end
    price is the last close known at the cut, restated to the shares of the order where a split went by since.
    """
    where = {"book": book.name}
    fills = _booked(store, where, session)
    orders = store.read(ORDERS, as_of=None, first=session, last=session, where=where)
    ended = _ended_before(store, where, session, orders, fills)
    current = orders.join(ended, on="client_order_id", how="anti")
    missed = current.filter(pl.col("filled") < pl.col("quantity"))
    rows = session_costs(current, fills, _end_prices(store, missed, session, cuts.of(session)))
    late = [_amended(store, where, session, cuts, group, fills) for group in ended.partition_by("session")]
    rows = pl.concat([rows, *late])
    stored = store.read(COSTS, as_of=None, first=session, last=session, where=where)
    written = store.append(COSTS, rows.join(stored, on="client_order_id", how="anti"))
    numbers = {c: float(rows[c].sum()) for c in ("delay", "trading", "opportunity", "fees", "shortfall")}
    return StageReport(
        stage="costs",
        first=session,
        last=session,
        state="done" if rows.height else "empty",
        rows=written,
        numbers=numbers,
    )


def _booked(store: Store, where: Mapping[str, str | int], session: date) -> pl.DataFrame:
    """The FILLS rows that `session` booked something of.

    `fee`: the fee that it booked. `quantity`: 0 where an earlier session booked the trade.
    """
    journal = store.read(JOURNAL, as_of=None, first=session, last=session, where=where)
    traded, paid = (
        journal.filter(pl.col("kind") == kind).select(exec_id="reference", amount="amount") for kind in ("trade", "fee")
    )
    # a fee that was restated is booked under the execution's id and a number
    paid = (
        paid.with_columns(pl.col("exec_id").str.replace(r"~fee\d+$", ""))
        .group_by("exec_id")
        .agg(paid=-pl.col("amount").sum())
    )
    booked = pl.concat([traded.select("exec_id"), paid.select("exec_id")]).unique()
    fills = store.read(FILLS, as_of=None, first=session, last=session, where=where)
    if booked.join(fills, on="exec_id", how="anti").height:
        fills = store.read(FILLS, as_of=None, last=session, where=where)
    found = fills.join(booked, on="exec_id", how="semi").join(paid, on="exec_id", how="left", maintain_order="left")
    quantity = pl.when(pl.col("exec_id").is_in(traded["exec_id"].implode())).then("quantity").otherwise(0)
    return found.with_columns(fee=pl.col("paid").fill_null(Decimal(0)), quantity=quantity).drop("paid")


def _ended_before(
    store: Store, where: Mapping[str, str | int], session: date, orders: pl.DataFrame, fills: pl.DataFrame
) -> pl.DataFrame:
    """The ORDERS rows with which orders ended before `session`, where it booked something of them or has rows of them
    again.
    """
    unlisted = fills.join(orders, on="client_order_id", how="anti")
    older = orders.filter(pl.col("decided") < session - timedelta(days=1))
    if unlisted.is_empty() and older.is_empty():
        return orders.clear()
    first = None if unlisted.height else min(older["decided"])
    history = store.read(ORDERS, as_of=None, first=first, last=session - timedelta(days=1), where=where)
    asked = pl.concat([unlisted.select("client_order_id"), older.select("client_order_id")]).unique()
    terminal = history.filter(pl.col("state").is_in([s.value for s in OrderState if s.terminal]))
    found = terminal.join(asked, on="client_order_id", how="semi").sort("session", "client_order_id")
    return found.unique("client_order_id", keep="first", maintain_order=True)


def _amended(
    store: Store, where: Mapping[str, str | int], session: date, cuts: Cuts, ended: pl.DataFrame, fills: pl.DataFrame
) -> pl.DataFrame:
    """The COSTS rows of `session` for orders that had `ended` in one session before, and of which it booked something.

    What was missed is now what their executions leave, at the end price of the session in which they ended.
    """
    end: date = ended["session"][0]
    counted: dict[str, Decimal] = {}
    rows: list[dict[str, Any]] = []
    for order in ended.iter_rows(named=True):
        key, quantity = order["client_order_id"], order["quantity"]
        today = fills.filter(pl.col("client_order_id") == key)
        filled = quantity  # nothing changed of what was missed where a fee came alone
        if (today["quantity"] != 0).any():
            earlier = store.read(
                COSTS, as_of=None, last=session - timedelta(days=1), where={**where, "client_order_id": key}
            )
            signed = today.select((pl.col("side") * pl.col("quantity")).sum()).item() * order["side"]
            filled = min(max(earlier["filled"].sum() + signed, 0), quantity)
            counted[key] = sum(earlier["opportunity"], Decimal(0))
        if today.height:
            rows.append(order | {"filled": filled, "session": session, "known_at": cuts.of(session)})
    orders = pl.DataFrame(rows, schema=dict(ORDERS.schema))
    return session_costs(orders, fills, _end_prices(store, orders, end, cuts.of(end)), counted)


def _end_prices(store: Store, orders: pl.DataFrame, session: date, cut: datetime) -> dict[int, Decimal]:
    """The last close by sid within `CARRIED` of the session, in the shares in which the order was written."""
    if orders.is_empty():
        return {}
    sids = orders["sid"].implode()
    bars = in_force(
        store.read(BARS, as_of=cut, first=session - CARRIED, last=session).filter(pl.col("sid").is_in(sids)), BARS
    )
    earliest, _ = span(orders["decided"], date)
    known = store.read(ACTIONS, as_of=cut, first=earliest, last=session)
    actions = in_force(known.filter(pl.col("kind").is_in(SPLITS)), ACTIONS)
    closes = {
        sid: (at, exact(close))
        for sid, at, close in bars.filter(pl.col("close").is_finite()).select("sid", "session", "close").iter_rows()
    }
    decided = dict(orders.select("sid", "decided").iter_rows())
    ratio = dict.fromkeys(closes, Fraction(1))
    for sid, ex, numerator, denominator in actions.select("sid", "session", "numerator", "denominator").iter_rows():
        if sid in closes and decided[sid] < ex <= closes[sid][0]:
            ratio[sid] *= Fraction(numerator, denominator)
    return {
        sid: (close * ratio[sid].numerator / ratio[sid].denominator).quantize(TICK)
        for sid, (_, close) in closes.items()
    }


def cost_books(
    store: Store, books: Sequence[Book], cuts: Cuts, notifier: Notifier, sessions: Sequence[date]
) -> Iterator[StageReport]:
    """Measure what trading cost each book in each session; not before it is booked."""
    for session in sessions:
        for book in books:
            if booked(store, book, session):
                yield apart("costs", book, session, notifier, partial(write_costs, store, book, cuts, session))
            else:
                yield waits("costs", book, session, f"NOT_BOOKED: {session} is not booked")
