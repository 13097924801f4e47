"""Decisions on continuous series become decisions on contracts, and a roll is two orders or none."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime

import msgspec
import polars as pl

from quant_assets.books.holdings import Holdings
from quant_assets.books.valued import terms_of
from quant_assets.calendars import Calendar, Cuts
from quant_assets.execution.limits import Refused
from quant_assets.execution.orders import IN, OUT, client_order_id
from quant_assets.execution.turns import Turn
from quant_assets.instruments import Instrument
from quant_assets.market_data.continuous import InForce, in_force
from quant_assets.ports import Store
from quant_assets.records import Book, Order
from quant_assets.strategy import Strategy


def prepared(
    store: Store,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    turn: Turn,
    decisions: pl.DataFrame,
    holdings: Holdings,
) -> tuple[pl.DataFrame, Holdings]:
    """The set (DECISIONS rows) as the book trades it, and its holdings with the terms of every name of both, as known
    at the cut of the turn.

    A row on a series is one on the contract in force in the session that trades, at that contract's own close; one that
    has to be left and has no successor is to be sold. `symbol` is what the book's venue calls the name. Raises
    RateUnknown.
    """
    if decisions.is_empty():
        return decisions, holdings
    before, chained = cuts.calendar.before(turn.session), isinstance(strategy.universe.chains, tuple)
    traded = in_contracts(decisions, in_force(store, cuts, strategy.universe, before)) if chained else decisions
    held = with_terms(store, book, holdings, traded["sid"].to_list(), turn.cut)
    called = {sid: name for sid, one in held.terms.instruments.items() if (name := venue_symbol(one, book.venue))}
    if called:
        traded = traded.with_columns(
            symbol=pl.coalesce(pl.col("sid").replace_strict(called, default=None, return_dtype=pl.String), "symbol")
        )
    return traded, held


def with_terms(store: Store, book: Book, holdings: Holdings, sids: Collection[int], cut: datetime) -> Holdings:
    """The holdings with the terms of what is held and of `sids`, as known at the cut. Raises RateUnknown."""
    terms = terms_of(store, book, {*holdings.quantities, *sids}, cut, holdings.others)
    rates = dict(holdings.terms.rates) | dict(terms.rates)
    return msgspec.structs.replace(holdings, terms=msgspec.structs.replace(terms, rates=rates))


def venue_symbol(instrument: Instrument, venue: str) -> str:
    """What a venue calls an instrument; empty where nothing else than our symbol is known."""
    return instrument.ids.get(venue) or instrument.ids.get("exchange") or ""


def in_contracts(decisions: pl.DataFrame, contracts: Mapping[int, InForce]) -> pl.DataFrame:
    """The rows with each series' contract in its place."""
    if not contracts:
        return decisions
    rows = [
        (sid, c.sid, c.symbol, float(c.price), "TRADE" if c.over else None, 0.0 if c.over else None)
        for sid, c in contracts.items()
    ]
    columns = {"sid": pl.Int64, "_sid": pl.Int64, "_symbol": pl.String, "_price": pl.Float64}
    made = pl.DataFrame(rows, schema=columns | {"_verdict": pl.String, "_weight": pl.Float64}, orient="row")
    both = decisions.join(made, on="sid", how="left", maintain_order="left")
    return both.with_columns(
        sid=pl.coalesce("_sid", "sid"),
        symbol=pl.coalesce("_symbol", "symbol"),
        reference_price=pl.coalesce("_price", "reference_price"),
        verdict=pl.coalesce("_verdict", "verdict"),
        target_weight=pl.coalesce("_weight", "target_weight"),
    ).select(decisions.columns)


def whole_rolls(
    orders: Sequence[Order], kept: Sequence[Order], refused: Sequence[Refused], holdings: Holdings, calendar: Calendar
) -> tuple[list[Order], list[Refused]]:
    """What is kept and what is refused, so that no order of a roll leaves without the others: where one of `orders` was
    refused or cut, all of its chain stay. But a contract that would be held into its first notice is closed alone.
    """
    asked, left = _by_chain(orders, holdings), _by_chain(kept, holdings)
    broken = {chain for chain, sizes in asked.items() if left.get(chain) != sizes}
    if not broken:
        return list(kept), list(refused)
    out: list[Order] = []
    dropped: list[Refused] = []
    for order in kept:
        if not _rolls(order) or _chain(order, holdings) not in broken:
            out.append(order)
        elif order.leg.startswith(OUT) and _delivered(holdings.terms.of(order.sid), order.session, calendar):
            leg = order.leg.replace(OUT, "exit")
            about = (order.book, order.strategy, order.decided, order.slot, order.sid, leg)
            out.append(msgspec.structs.replace(order, leg=leg, client_order_id=client_order_id(*about)))
        else:
            reason = "ROLL: the other order of the roll may not leave, and a roll is both or none"
            dropped.append(Refused(order=order, reason=reason))
    return out, [*refused, *dropped]


def endangered(holdings: Holdings, orders: Collection[Order], session: date, calendar: Calendar) -> list[str]:
    """One sentence for each contract held that would be delivered after `session` and that no order closes."""
    closed = {o.sid for o in orders if o.side * holdings.quantities.get(o.sid, 0) < 0}
    return [
        f"{one.symbol}: {quantity} are held, no order closes them, and its first notice is on {one.first_notice}; "
        "close them at the venue, or have the set decided again"
        for sid, quantity in holdings.quantities.items()
        if sid not in closed and _delivered(one := holdings.terms.of(sid), session, calendar)
    ]


def _delivered(one: Instrument, session: date, calendar: Calendar) -> bool:
    """Whether what is held of a contract after `session` would be delivered."""
    return one.first_notice is not None and calendar.after(session) >= one.first_notice


def _rolls(order: Order) -> bool:
    return order.leg.startswith((OUT, IN))


def _chain(order: Order, holdings: Holdings) -> tuple[str, str]:
    one = holdings.terms.of(order.sid)
    return one.calendar, one.underlying


def _by_chain(orders: Sequence[Order], holdings: Holdings) -> dict[tuple[str, str], dict[str, int]]:
    """Of the orders that roll: by chain the size of each."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for order in orders:
        if _rolls(order):
            found.setdefault(_chain(order, holdings), {})[order.client_order_id] = order.quantity
    return found
