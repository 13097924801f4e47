"""The slots of a session, traded one after another: what a slot decides fills at the open of the bar that begins then.

A slot trades from what the evening before held and what was filled since, priced at its own bars. An order fills in one
bar or not at all; what the bar or the account does not give is EXPIRED. The session is booked as any other one, with
the fills of its slots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from quant_assets.backtest.fills import match
from quant_assets.backtest.funding import purse
from quant_assets.books.due import stopped
from quant_assets.books.holdings import Holdings, apply_fills, mark
from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot, slots
from quant_assets.contract import UTC_MICROS, in_force, known_by
from quant_assets.execution.contracts import with_terms
from quant_assets.execution.limits import exposure_of, within_limits
from quant_assets.execution.orders import orders_for
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars, seconds_of
from quant_assets.market_data.venue_names import names_of, with_sids
from quant_assets.moments import Every
from quant_assets.ports import CostModel, Store
from quant_assets.records import Book, Fill, Order, Working
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS
from quant_assets.vendor_tables import INTRADAY_BARS

ANY = 2**53  # the volume of a venue that reports none: no order is too large for it


@dataclass(frozen=True)
class Traded:
    """What a session's slots came to: fills, the orders as they ended, and what was not sent, in words."""

    fills: Sequence[Fill]
    orders: Sequence[Working]
    notes: Sequence[str]


def slots_of(strategy: Strategy, cuts: Cuts, session: date) -> list[Slot]:
    """The slots at which an intraday strategy decides in a session."""
    assert isinstance(strategy.moment, Every)  # noqa: S101  # the strategy of a lane of slots
    return slots(cuts.calendar, strategy.moment, session)


def opens(
    store: Store, strategy: Strategy, bars: OnBars, cuts: Cuts, asked: Sequence[Slot]
) -> Mapping[tuple[date, str], pl.DataFrame]:
    """By session and slot the bars in which its orders trade, as known when they settle: sid, open, volume."""
    if not asked:
        return {}
    seconds = seconds_of(find_set(bars.feature_set).frequency)
    moments = pl.DataFrame(
        [(s.session, s.slot, s.trades_at, s.settles) for s in asked],
        schema={"session": pl.Date, "slot": pl.String, "ts": UTC_MICROS, "settles": UTC_MICROS},
        orient="row",
    )
    stored = store.read(
        INTRADAY_BARS,
        as_of=asked[-1].settles,
        first=asked[0].trades_at.date(),
        last=asked[-1].trades_at.date() + timedelta(days=1),
        where={"venue": bars.venue, "seconds": seconds},
        columns=("open", "volume", "withdrawn"),
    )
    known = in_force(stored.join(moments, on="ts").filter(pl.col("known_at") <= pl.col("settles")), INTRADAY_BARS)
    names = names_of(store, cuts, strategy.universe.name, sorted({s.session for s in asked}))
    volume = pl.col("volume").fill_null(ANY).floor().cast(pl.Int64)
    rows = (
        with_sids(known, names).select("session", "slot", "sid", "open", volume=volume).sort("session", "slot", "sid")
    )
    parts = rows.partition_by("session", "slot", as_dict=True, include_key=False)
    none = rows.clear().drop("session", "slot")
    return {(s.session, s.slot): parts.get((s.session, s.slot), none) for s in asked}


def held_at(evening: Holdings, fills: Sequence[Fill], decisions: pl.DataFrame, session: date) -> Holdings:
    """What a book holds at a slot: the evening before and what was filled since, at the prices that the slot's
    decisions (DECISIONS rows) read; a name without one keeps its mark.
    """
    priced = decisions.filter(pl.col("reference_price") > 0).select("sid", "reference_price")
    return mark(apply_fills(evening, fills)[0], session, dict(priced.iter_rows()))


def slot_orders(
    strategy: Strategy, book: Book, cuts: Cuts, decisions: pl.DataFrame, holdings: Holdings, symbols: Mapping[int, str]
) -> tuple[list[Order], list[str]]:
    """The orders of one slot's decisions (DECISIONS rows) within the book's limits, and what was not sent, in words."""
    session = holdings.session
    wanted = orders_for(book, strategy, decisions, holdings, (), session, cuts.calendar, symbols)
    trading = set(decisions.filter(pl.col("reference_price") > 0)["sid"])
    within, refused = within_limits(book, wanted, exposure_of(holdings, (), wanted, trading))
    return within, [
        f"{session} {r.order.slot}: {r.order.side * r.order.quantity} of sid {r.order.sid} was not sent: {r.reason}"
        for r in refused
    ]


def fill_slot(
    orders: Sequence[Working],
    market: pl.DataFrame,
    actions: pl.DataFrame,
    book: Book,
    holdings: Holdings,
    cuts: Cuts,
    slot: Slot,
    model: CostModel,
) -> tuple[list[Fill], list[Working]]:
    """The fills of a slot's orders at the open of its bar (`market`: sid, open, volume), and the orders as they end.

    `actions`: versions of ACTIONS; names whose shares are restated in the session do not trade in it.
    """
    names = {w.order.sid for w in orders}
    before = cuts.booked_before(slot.session)
    known = known_by(actions, slot.cut)
    due = known.filter(pl.col("session") == slot.session, pl.col("sid").is_in(names))
    still = stopped(known, cuts, slot.session, names, before) if due.height else set[int]()
    return match(
        orders, market, still, slot.session, slot.trades_at, model, (), purse(book, holdings), None, holdings.terms
    )


def trade_slots(
    store: Store,
    strategy: Strategy,
    book: Book,
    cuts: Cuts,
    bars: OnBars,
    session: date,
    decisions: pl.DataFrame,
    evening: Holdings,
    model: CostModel,
) -> Traded:
    """Trade the slots of a session: `decisions` (DECISIONS rows) are those of all of them, `evening` what the book
    holds before the first.
    """
    asked = slots_of(strategy, cuts, session)
    market = opens(store, strategy, bars, cuts, asked)
    actions = store.read(ACTIONS, as_of=cuts.of(session), last=session)
    by_slot = decisions.partition_by("slot", as_dict=True)
    if asked:  # a session has the terms that were known when it began
        evening = with_terms(store, book, evening, decisions["sid"].unique().to_list(), asked[0].cut)
    fills, ended, notes = list[Fill](), list[Working](), list[str]()
    for slot in asked:
        decided = by_slot.get((slot.slot,))
        if decided is None:
            continue
        holdings = held_at(evening, fills, decided, session)
        orders, unsent = slot_orders(strategy, book, cuts, decided, holdings, {})
        working = [Working(order=o) for o in orders]
        filled, after = fill_slot(working, market[session, slot.slot], actions, book, holdings, cuts, slot, model)
        fills += filled
        ended += after
        notes += unsent
    return Traded(fills, ended, notes)
