"""What a book trades on at the slots of a session: the bars in which it trades, and what it holds then."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from quant_assets.books.explained import Past, waiting
from quant_assets.books.holdings import Holdings, apply_fills, mark
from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.contract import UTC_MICROS, in_force
from quant_assets.execution.contracts import with_terms
from quant_assets.execution.turns import slots_of
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars, seconds_of
from quant_assets.market_data.venue_names import names_of, with_sids
from quant_assets.ports import Store
from quant_assets.records import Book, Fill
from quant_assets.strategy import Strategy
from quant_assets.vendor_tables import INTRADAY_BARS

ANY = 2**53  # the volume of a venue that reports none: no order is too large for it


@dataclass(frozen=True)
class SlotMarket:
    """What a venue trades on at slots: the slots of a session, what `opens` gives of some of them, and an account with
    the terms of what it holds and of some names, as a session has them.
    """

    slots: Callable[[date], Sequence[Slot]]
    opens: Callable[[Sequence[Slot]], Mapping[tuple[date, str], pl.DataFrame]]
    with_terms: Callable[[Holdings, Collection[int], date], Holdings]


def market_of(store: Store, book: Book, strategy: Strategy, bars: OnBars, cuts: Cuts) -> SlotMarket:
    """The market of the stored bars that an intraday strategy reads, for a book."""

    def termed(holdings: Holdings, sids: Collection[int], session: date) -> Holdings:
        return with_terms(store, book, holdings, sids, slots_of(strategy, cuts, session)[0].cut)

    return SlotMarket(
        slots=lambda session: slots_of(strategy, cuts, session),
        opens=lambda asked: opens(store, strategy, bars, cuts, asked),
        with_terms=termed,
    )


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


def tradable(market: pl.DataFrame) -> pl.DataFrame:
    """The bars with an open at which something can trade."""
    return market.filter(pl.col("open").is_finite(), pl.col("open") > 0)


def held_at(
    evening: Holdings, fills: Sequence[Fill], decisions: pl.DataFrame, past: Past, cuts: Cuts, session: date
) -> Holdings:
    """What a book holds at a slot: the evening before and what was filled since, at the prices that the slot's
    decisions (DECISIONS rows) read; a name without one keeps its mark, and one whose price waits to be explained.
    """
    doubtful = waiting(evening.quantities, past, cuts, evening.session)
    priced = decisions.filter(pl.col("reference_price") > 0, ~pl.col("sid").is_in(list(doubtful)))
    return mark(apply_fills(evening, fills)[0], session, dict(priced.select("sid", "reference_price").iter_rows()))
