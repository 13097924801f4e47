"""The slots of a session, traded one after another: what a slot decides fills at the open of the bar that begins then.

A slot trades from what the evening before held and what was filled since, priced at its own bars. An order fills in one
bar or not at all; what the bar or the account does not give is EXPIRED. The session is booked as any other one, with
the fills of its slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from quant_assets.backtest.fills import match
from quant_assets.backtest.funding import purse
from quant_assets.books.due import stopped
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, apply_fills, mark
from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.contract import known_by
from quant_assets.execution.contracts import prepared
from quant_assets.execution.sizing import sized
from quant_assets.execution.slots import held_at, opens, tradable
from quant_assets.execution.turns import at, slots_of, trading
from quant_assets.features.intraday import OnBars
from quant_assets.ports import CostModel, Store
from quant_assets.records import Book, Fill, Working
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS


@dataclass(frozen=True)
class Traded:
    """What a session's slots came to: fills, the orders as they ended, and what was not sent, in words."""

    fills: Sequence[Fill]
    orders: Sequence[Working]
    notes: Sequence[str]


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

    `actions`: versions of ACTIONS; names whose shares are restated in the session do not trade in it. `holdings`: what
    the evening before held and what was filled since. The account is worth what these opens make of it, which a venue
    knows as well as we do.
    """
    opened = dict(tradable(market).select("sid", "open").iter_rows())
    account = purse(book, mark(holdings, slot.session, opened))
    names = {w.order.sid for w in orders}
    before = cuts.booked_before(slot.session)
    known = known_by(actions, slot.cut)
    due = known.filter(pl.col("session") == slot.session, pl.col("sid").is_in(names))
    still = stopped(known, cuts, slot.session, names, before) if due.height else set[int]()
    return match(orders, market, still, slot.session, slot.trades_at, model, (), account, None, holdings.terms)


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
    past: Past,
) -> Traded:
    """Trade the slots of a session: `decisions` (DECISIONS rows) are those of all of them, `evening` what the book
    holds before the first, `past` the evenings up to then.
    """
    asked = slots_of(strategy, cuts, session)
    market = opens(store, strategy, bars, cuts, asked)
    actions = store.read(ACTIONS, as_of=cuts.of(session), last=session)
    turns = [at(slot, asked[0].cut, evening.session) for slot in asked]
    if turns:  # a session has the terms that were known when it began
        decisions, evening = prepared(store, book, strategy, cuts, turns[0], decisions, evening)
    by_slot = decisions.partition_by("slot", as_dict=True)
    fills, ended, notes = list[Fill](), list[Working](), list[str]()
    for slot, turn in zip(asked, turns, strict=True):
        decided = by_slot.get((slot.slot,))
        if decided is None:
            continue
        holdings = held_at(evening, fills, decided, past, cuts, session)
        about = (decided, holdings, (), past, trading(store, turn, decided), dict[int, str]())
        found = sized(store, book, strategy, cuts, turn, *about)
        working = [Working(order=o) for o in found.orders]
        held, _ = apply_fills(evening, fills)
        filled, after = fill_slot(working, market[session, slot.slot], actions, book, held, cuts, slot, model)
        fills += filled
        ended += after
        notes += found.unsent(turn)
    return Traded(fills, ended, notes)
