"""The session loop: a research book traded over a range, with the orders, fills and booking of the live path.

Session D: the orders decided at D-1 go to the open of D, D's actions and fills are booked, the rest carries. The
state after D is what the tables say of D, so that a range equals its days.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from quant_assets.backtest.fills import costs_of, match
from quant_assets.backtest.funding import purse
from quant_assets.backtest.slots import Traded, trade_slots
from quant_assets.books.accruals import Valuation
from quant_assets.books.booking import holdings_of, paid_in, past_of
from quant_assets.books.day import Day, step
from quant_assets.books.due import paid_out, stopped
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, fund
from quant_assets.books.rows import fill_rows, order_rows
from quant_assets.books.valued import handed_out, valuation
from quant_assets.calendars import Cuts
from quant_assets.calendars.auctions import auction_time, closing
from quant_assets.calendars.beside import opened
from quant_assets.contract import in_force, known_by
from quant_assets.errors import ConfigurationError, DataError
from quant_assets.execution.contracts import prepared
from quant_assets.execution.sizing import sized
from quant_assets.execution.turns import after
from quant_assets.features.bars_read import bars_of
from quant_assets.features.intraday import OnBars
from quant_assets.ports import CostModel, Progress, Store, quiet
from quant_assets.post_trade.costs import CARRIED, costs
from quant_assets.read_once import ReadOnce
from quant_assets.records import Book, Fill, Order, OrderState, StageReport, Working
from quant_assets.signals.decide import first_recorded
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, BARS, CASH, COSTS, DECISIONS, FILLS, JOURNAL, NAV, ORDERS, PNL, POSITIONS

STAGE = "backtest"
CHUNK = 63  # sessions read and written at once


@dataclass
class _Run:
    """Where the loop stands: what is held and open after the last session, and the rows not written yet."""

    store: Store
    strategy: Strategy
    book: Book
    cuts: Cuts
    model: CostModel
    holdings: Holdings
    working: list[Working]
    begun: bool
    paid: Decimal | None
    bars_of_slots: OnBars | None = None
    evenings: dict[date, Holdings] = field(default_factory=dict[date, Holdings])
    bars: dict[date, pl.DataFrame] = field(default_factory=dict[date, pl.DataFrame])
    rows: dict[str, list[pl.DataFrame]] = field(default_factory=dict[str, list[pl.DataFrame]])
    notes: list[str] = field(default_factory=list[str])


def run(
    store: Store,
    strategy: Strategy,
    book: Book,
    cuts: Cuts,
    sessions: Sequence[date],
    model: CostModel | None = None,
    progress: Progress = quiet,
    bars: OnBars | None = None,
) -> StageReport:
    """Trade the stored decisions of `strategy` in `book` over consecutive `sessions` and write ORDERS, FILLS,
    POSITIONS, JOURNAL, CASH, PNL, NAV and COSTS. `bars`: on which an intraday strategy trades, slot after slot.

    Goes on from the last session booked; sessions booked already stay as they are. The first session of a book only
    deposits its capital. `model`: instead of the book's own costs. Raises ConfigurationError for a book with a venue,
    DataError where sessions are left out.
    """
    if not book.research:
        raise ConfigurationError(f"{book.name} trades at {book.venue}; only research books are simulated")
    nav = store.read(NAV, as_of=None, where={"book": book.name})
    due = [s for s in sorted(set(sessions)) if nav.is_empty() or s > nav["session"][-1]]
    if not due:
        return StageReport(
            stage=STAGE,
            first=min(sessions),
            last=max(sessions),
            state="done",
            notes=("all sessions were booked already",),
        )
    before = cuts.decided_before(due[0])
    yesterday = nav["session"][-1] if nav.height else before  # later where a day was booked that is no session any more
    if due != cuts.calendar.between(due[0], due[-1]) or yesterday < before:
        raise DataError(
            f"{book.name}: sessions are traded in order, none left out; booked up to "
            f"{None if nav.is_empty() else nav['session'][-1]}, given {due[0]} to {due[-1]}"
        )
    begun = nav.height > 0
    loop = _Run(
        store,
        strategy,
        book,
        cuts,
        model or costs_of(book),
        holdings_of(store, book, yesterday),
        _open_orders(store, strategy, book, cuts, yesterday) if begun else [],
        begun,
        paid_in(store, book),
        bars,
    )
    written = 0
    for start in range(0, len(due), CHUNK):
        progress(start, len(due), f"trade {due[start]}")
        written += _chunk(loop, due[start : start + CHUNK])
    progress(len(due), len(due), "trade")
    numbers = {
        "sessions": len(due),
        "equity": float(loop.holdings.equity),
        "names": len(loop.holdings.quantities),
        "open_orders": len(loop.working),
    }
    return StageReport(
        stage=STAGE, first=due[0], last=due[-1], state="done", rows=written, numbers=numbers, notes=tuple(loop.notes)
    )


def _chunk(loop: _Run, sessions: Sequence[date]) -> int:
    """Trade the sessions on one read of each table, then write; NAV last, for it says that a session is booked."""
    store, cuts = loop.store, loop.cuts
    first, last = sessions[0], sessions[-1]
    begin = cuts.calendar.before(first)  # its bars are those that the first orders were decided on
    bars = store.read(BARS, as_of=cuts.of(last), first=begin, last=last).partition_by("session", as_dict=True)
    actions = store.read(ACTIONS, as_of=cuts.of(last), last=last)
    stored = store.read(DECISIONS, as_of=None, first=begin, last=last, where={"strategy": loop.strategy.name})
    decisions = first_recorded(stored).partition_by("session", as_dict=True)
    for session in sessions if loop.bars_of_slots else ():
        there = in_force(known_by(bars.get((session,), BARS.empty()), cuts.of(session)), BARS)
        known = known_by(actions, cuts.of(session))
        _step_of_slots(loop, session, there, known, decisions.get((session,), DECISIONS.empty()))
    for session in () if loop.bars_of_slots else sessions:
        decided = cuts.calendar.before(session)
        known, of_session = (
            in_force(known_by(bars.get((day,), BARS.empty()), cuts.of(day)), BARS) for day in (decided, session)
        )
        # what was decided for an open that did not come is not traded at the next one
        in_time = cuts.trades_at(decided) == auction_time(cuts.calendar, session, cuts.auction(decided))
        before = decisions.get((decided,) if in_time else (), DECISIONS.empty())
        _step(loop, session, of_session, known_by(actions, cuts.of(session)), before, set(known["sid"]))
    written = sum(
        store.append(table, pl.concat(loop.rows.pop(table.name)))
        for table in (ORDERS, FILLS, JOURNAL, CASH, PNL, POSITIONS)
    )
    # costs follow from orders and fills; before NAV, so that a session that counts as booked has them
    there = ReadOnce(store, (ORDERS, JOURNAL, FILLS, BARS, ACTIONS), first - CARRIED, last)
    written += store.append(COSTS, pl.concat(costs(there, loop.book, cuts, session) for session in sessions))
    return written + store.append(NAV, pl.concat(loop.rows.pop(NAV.name)))


def _step(
    loop: _Run,
    session: date,
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    decisions: pl.DataFrame,
    trading: Collection[int],
) -> None:
    """One session: `decisions` are those of the session before, in which `trading` names traded; the rest is what was
    known at this session's cut.
    """
    book, cuts = loop.book, loop.cuts
    past, loop.bars[session] = _past(loop), bars
    if loop.begun:
        decided = cuts.calendar.before(session)
        turn = replace(after(cuts, decided), session=session, booked=loop.holdings.session)
        decisions, held = prepared(loop.store, book, loop.strategy, cuts, turn, decisions, loop.holdings)
        about = (decisions, held, loop.working, past, trading, dict[int, str]())
        found = sized(loop.store, book, loop.strategy, cuts, turn, *about)
        loop.working += [Working(order=o) for o in found.orders]
        loop.notes += found.unsent(turn)
    names, called = {w.order.sid for w in loop.working}, dict(bars.select("symbol", "sid").iter_rows())
    by = _valued(loop, session, bars, actions, names)
    fills, updated = match(
        loop.working,
        bars,
        stopped(actions, cuts, session, names, loop.holdings.session, called),
        session,
        cuts.calendar.open(session),
        loop.model,
        paid_out(actions, cuts, session, names),
        purse(book, fund(loop.holdings, book.capital, loop.paid)[0]),
        closing(cuts.calendar, session),
        by.terms,
        opened(cuts, session),
    )
    changed = {w.key: w for w in updated}
    _book(loop, session, bars, actions, fills, [changed.get(w.key, w) for w in loop.working], by)


def _step_of_slots(
    loop: _Run, session: date, bars: pl.DataFrame, actions: pl.DataFrame, decisions: pl.DataFrame
) -> None:
    """One session of an intraday strategy: `decisions` are those of its slots."""
    assert loop.bars_of_slots is not None  # noqa: S101  # asked for where it is
    past, loop.bars[session] = _past(loop), bars
    traded = Traded((), (), ())
    if loop.begun:
        begin, _ = fund(loop.holdings, loop.book.capital, loop.paid)
        traded = trade_slots(
            loop.store,
            loop.strategy,
            loop.book,
            loop.cuts,
            loop.bars_of_slots,
            session,
            decisions,
            begin,
            loop.model,
            past,
        )
    loop.notes += traded.notes
    by = _valued(loop, session, bars, actions, {f.sid for f in traded.fills})
    _book(loop, session, bars, actions, traded.fills, traded.orders, by)


def _valued(loop: _Run, session: date, bars: pl.DataFrame, actions: pl.DataFrame, traded: Collection[int]) -> Valuation:
    """By what the book is valued and charged in the session, `traded` names included."""
    names = {*loop.holdings.quantities, *traded, *handed_out(actions, bars)}
    return valuation(loop.store, loop.book, loop.cuts, session, loop.holdings, names)


def _book(
    loop: _Run,
    session: date,
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    fills: Sequence[Fill],
    after: Sequence[Working],
    by: Valuation,
) -> None:
    """Book a session with its fills; `after` are the orders as they are after it."""
    book, cuts, cut, past = loop.book, loop.cuts, loop.cuts.of(session), _past(loop)
    usable = bars.select("sid", "symbol", "open", "close").filter(pl.col("close").is_finite())
    day = Day(session=session, bars=usable, actions=actions, fills=fills, by=by)
    booked = step(book, cuts, day, loop.holdings, loop.paid, past)
    for table, frame in (
        (ORDERS, order_rows(book, session, after, cut)),
        (FILLS, fill_rows(book, fills, cut)),
        (JOURNAL, booked.journal),
        (CASH, booked.cash),
        (PNL, booked.pnl),
        (POSITIONS, booked.positions),
        (NAV, booked.nav),
    ):
        loop.rows.setdefault(table.name, []).append(frame)
    loop.notes += booked.notes
    loop.working = [w for w in after if not w.state.terminal]
    loop.evenings[session] = booked.after
    loop.holdings, loop.begun, loop.paid = booked.after, True, book.capital


def _past(loop: _Run) -> Past:
    """The sessions before: those of this run in memory, the others in the tables."""
    stored = past_of(loop.store, loop.book, loop.cuts)

    def evening(session: date) -> Holdings:
        seen = [s for s in loop.evenings if s <= session]
        return loop.evenings[max(seen)] if seen else stored.evening(session)

    return Past(evening=evening, bars=lambda day: loop.bars[day] if day in loop.bars else stored.bars(day))


def _open_orders(store: Store, strategy: Strategy, book: Book, cuts: Cuts, session: date) -> list[Working]:
    """The orders still open after `session`, from the ORDERS rows of that session."""
    rows = store.read(ORDERS, as_of=None, first=session, last=session, where={"book": book.name})
    still = rows.filter(pl.col("state").is_in([s.value for s in OrderState if not s.terminal])).sort(
        "sid", "decided", "leg"
    )
    return [
        Working(order=_order(row, strategy, cuts), state=OrderState(row["state"]), filled=row["filled"])
        for row in still.iter_rows(named=True)
    ]


def _order(row: Mapping[str, Any], strategy: Strategy, cuts: Cuts) -> Order:
    """An order from its ORDERS row; what the row does not say follows from the session it was decided in.

    Nobody simulated asks for the symbol.
    """
    decided: date = row["decided"]
    session = cuts.calendar.after(decided)
    given = {
        f: row[f] for f in ("client_order_id", "book", "strategy", "sid", "leg", "side", "quantity", "decision_id")
    }
    derived = {
        "decided": decided,
        "session": session,
        "good_till": cuts.calendar.shift(session, strategy.good_for_sessions - 1),
        "slot": row["slot"],
        "symbol": "",
        "reference_price": str(row["reference_price"]),
    }
    return msgspec.convert(given | derived, Order)


def trade_books(
    store: Store,
    strategies: Sequence[Strategy],
    research_books: Sequence[Book],
    cuts: Cuts,
    sessions: Sequence[date],
    progress: Progress = quiet,
    on_bars: Sequence[OnBars] = (),
) -> Iterator[StageReport]:
    """Trade the stored decisions of the sessions in every research book."""
    by_name = {s.name: s for s in strategies}
    for book in research_books:
        strategy = by_name[book.strategy]
        yield run(store, strategy, book, cuts, sessions, progress=progress, bars=bars_of(strategy, on_bars))
