"""The step of a book's day: actions, fills and closes turn yesterday's holdings into today's, with every cent named.

Backtest and live booking both take this step, so that a range equals its days.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec
import polars as pl

from quant_assets.books.accruals import PLAINLY, Valuation, borrowed, doubtful_rates, funded
from quant_assets.books.carry import Carried, carry
from quant_assets.books.due import late_changes
from quant_assets.books.entries import apply_entries, implied
from quant_assets.books.evening import evening
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, Movement, apply_fills, exact, fund, move
from quant_assets.books.profit import balances, nav, profit
from quant_assets.books.rows import movements, rows
from quant_assets.calendars import Cuts
from quant_assets.records import Book, Entry, Fill, Frozen
from quant_assets.tables import CASH, NAV, PNL, POSITIONS


class Day(Frozen, frozen=True):
    """What happened in a session, as known at its cut.

    `bars`: sid, symbol, open, close (raw; the close finite). `actions`: all ACTIONS versions up to the session.
    `fills`: the executions to book. `fees`: movements of fees that came apart from their executions and are due in this
    session. `entries`: what people booked by hand and is due. `by`: of the names held and traded.
    """

    session: date
    bars: pl.DataFrame
    actions: pl.DataFrame
    fills: Sequence[Fill]
    fees: Sequence[Movement] = ()
    entries: Sequence[Entry] = ()
    by: Valuation = PLAINLY


class Booked(Frozen, frozen=True):
    """A session of a book: its rows of POSITIONS, JOURNAL, PNL, CASH and NAV, the holdings after it, and what a person
    should see.
    """

    positions: pl.DataFrame
    journal: pl.DataFrame
    pnl: pl.DataFrame
    cash: pl.DataFrame
    nav: pl.DataFrame
    after: Holdings
    notes: tuple[str, ...] = ()


def step(book: Book, cuts: Cuts, day: Day, before: Holdings, paid: Decimal | None, past: Past) -> Booked:
    """Carry the book from `before`, its holdings after the session booked last, through `day`.

    `paid`: the capital paid in so far, None where the book begins.
    """
    held, paid_now = fund(before, book.capital, paid)
    carried = carry(priced(held, day.by), day.actions, day.bars, day.session, cuts, past)
    booked = book_day(book, held, carried, day, cuts, past)
    notes = (
        *late_changes(day.actions, cuts, day.session, before.session),
        *carried.kept.values(),
        *doubtful_rates(held, day.by, day.session),
    )
    journal = pl.concat([movements(book, day.session, cuts.of(day.session), paid_now, day.by.terms), booked.journal])
    return msgspec.structs.replace(booked, journal=journal, notes=notes)


def priced(held: Holdings, by: Valuation) -> Holdings:
    """The holdings by the terms of today."""
    return msgspec.structs.replace(held, terms=by.terms)


def live(before: Holdings, carried: Carried, day: Day, cuts: Cuts, past: Past) -> tuple[Holdings, list[Movement]]:
    """The holdings at the end of the session and the cash that moved in it after its actions: fills, entries, fees,
    what accrued since `before`, then what settles at the marks. The same for research, live books and the paper venue.

    A name without a close, or whose close nothing explains, keeps its last mark.
    """
    filled, fill_cash = apply_fills(carried.held, day.fills)
    entered, entry_cash = apply_entries(filled, day.entries)
    accrued = [*borrowed(before, day.by, day.session), *funded(day.by, _holder(before, entered, day, cuts, past))]
    closes = {sid: close for sid, close in prices(day).items() if sid not in carried.kept}
    apart = move(entered, [*day.fees, *accrued])
    after, settled = evening(carried.held, apart, day.session, closes, day.fills, day.entries)
    return after, [*fill_cash, *entry_cash, *day.fees, *accrued, *settled]


def _holder(before: Holdings, after: Holdings, day: Day, cuts: Cuts, past: Past) -> Callable[[datetime], Holdings]:
    """What was held at a time: `after` the session's trades, `before` them, or in the evening of an earlier one."""
    trades = [f.ts for f in day.fills if f.session == day.session]

    def holder(at: datetime) -> Holdings:
        if at > min(trades, default=cuts.calendar.open(day.session)):
            return after
        session = before.session
        while session > date.min and cuts.calendar.last_hours(session).open >= at:
            session = cuts.booked_before(session)
        return before if session == before.session else past.evening(session)

    return holder


def prices(day: Day) -> dict[int, float]:
    """The closes of the session by sid."""
    usable = day.bars.filter(pl.col("close").is_finite())
    return dict(usable.select("sid", "close").iter_rows())


def book_day(book: Book, before: Holdings, carried: Carried, day: Day, cuts: Cuts, past: Past) -> Booked:
    """Book the session: `carried`, what its actions made of `before`, and what else happened in it.

    The totals of P&L by name add up to the change of equity exactly, with what currencies made of the book in the row
    of the book itself (`quant_assets.books.profit`). A name that hands out shares of another is credited with their
    worth, and the other begins at it.
    """
    after, lived = live(before, carried, day, cuts, past)
    moved, terms, known_at = [*carried.moved, *lived], day.by.terms, cuts.of(day.session)
    begun = {e.sid: implied(e, terms) for e in day.entries if e.quantity} | {f.sid: f.price for f in day.fills}
    closes = {sid: exact(c) for sid, c in prices(day).items() if sid not in carried.kept}
    last = begun | dict(carried.held.marks) | closes
    stamp = {"session": day.session, "book": book.name, "known_at": known_at}
    positions = [
        {"sid": sid, "quantity": after.quantities[sid], "mark": after.marks[sid], "value": value}
        for sid, value in after.values.items()
    ]
    return Booked(
        positions=rows(POSITIONS, positions, stamp),
        journal=movements(book, day.session, known_at, moved, terms),
        pnl=rows(PNL, profit(before, after, moved, day.fills, day.entries, last), stamp),
        cash=rows(CASH, balances(before, after, moved, book.currency), stamp),
        nav=rows(NAV, [nav(before, after, moved, day.fills)], stamp),
        after=after,
    )
