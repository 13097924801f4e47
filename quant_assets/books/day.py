"""The step of a book's day: actions, fills and closes turn yesterday's holdings into today's, with every cent named.

Backtest and live booking both take this step, so that a range equals its days.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec
import polars as pl

from quant_assets.books.accruals import Borrow, Funding, borrowed, funded
from quant_assets.books.carry import Carried, carry
from quant_assets.books.due import late_changes
from quant_assets.books.entries import apply_entries, implied
from quant_assets.books.evening import evening
from quant_assets.books.explained import Past
from quant_assets.books.holdings import ALIKE, Holdings, Movement, apply_fills, exact, fund, move
from quant_assets.books.profit import balances, nav, profit
from quant_assets.books.rows import movements, rows
from quant_assets.books.terms import Terms
from quant_assets.calendars import Cuts
from quant_assets.records import Book, Entry, Fill, Frozen
from quant_assets.tables import CASH, NAV, PNL, POSITIONS


class Day(Frozen, frozen=True):
    """What happened in a session, as known at its cut.

    `bars`: sid, symbol, open, close (raw; the close finite). `actions`: all ACTIONS versions up to the session.
    `fills`: the executions to book. `fees`: movements of fees that came apart from their executions and are due in this
    session. `entries`: what people booked by hand and is due. `terms`: of the names held and traded. `borrow`: what
    shorts cost, by sid. `funding`: what perpetual contracts paid since the session before.
    """

    session: date
    bars: pl.DataFrame
    actions: pl.DataFrame
    fills: Sequence[Fill]
    fees: Sequence[Movement] = ()
    entries: Sequence[Entry] = ()
    terms: Terms = ALIKE
    borrow: Mapping[int, Borrow] = {}
    funding: Sequence[Funding] = ()


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
    cut = cuts.of(day.session)
    held, funding = fund(before, book.capital, paid)
    carried = carry(msgspec.structs.replace(held, terms=day.terms), day.actions, day.bars, day.session, cuts, past)
    booked = book_day(book, held, carried, day, cut, cuts.calendar.open(day.session))
    notes = (*late_changes(day.actions, cuts, day.session, before.session), *carried.kept.values())
    journal = pl.concat([movements(book, day.session, cut, funding, day.terms), booked.journal])
    return msgspec.structs.replace(booked, journal=journal, notes=notes)


def book_day(
    book: Book, before: Holdings, carried: Carried, day: Day, known_at: datetime, traded_at: datetime | None = None
) -> Booked:
    """Book the session: `carried`, what its actions made of `before`; then fills, entries, fees and what accrued, then
    the marks and what settles at them. `traded_at`: when its fills were.

    The totals of P&L by name add up to the change of equity exactly, with what currencies made of the book in the row
    of the book itself (`quant_assets.books.profit`). A name that hands out shares of another is credited with their
    worth, and the other begins at it. A name without a close, or whose close nothing explains, keeps its last mark.
    """
    filled, fill_cash = apply_fills(carried.held, day.fills)
    entered, entry_cash = apply_entries(filled, day.entries)
    accrued = [
        *borrowed(msgspec.structs.replace(before, terms=day.terms), day.borrow, day.session),
        *funded(carried.held, entered, day.funding, traded_at),
    ]
    prices = {
        sid: close
        for sid, close in day.bars.select("sid", "close").iter_rows()
        if close is not None and sid not in carried.kept
    }
    apart = move(entered, [*day.fees, *accrued])
    after, settled = evening(carried.held, apart, day.session, prices, day.fills, day.entries)
    moved = [*carried.moved, *fill_cash, *entry_cash, *day.fees, *accrued, *settled]
    begun = {e.sid: implied(e, day.terms) for e in day.entries if e.quantity} | {f.sid: f.price for f in day.fills}
    last = begun | dict(carried.held.marks) | {sid: exact(c) for sid, c in prices.items()}
    stamp = {"session": day.session, "book": book.name, "known_at": known_at}
    positions = [
        {"sid": sid, "quantity": after.quantities[sid], "mark": after.marks[sid], "value": value}
        for sid, value in after.values.items()
    ]
    return Booked(
        positions=rows(POSITIONS, positions, stamp),
        journal=movements(book, day.session, known_at, moved, day.terms),
        pnl=rows(PNL, profit(before, after, moved, day.fills, day.entries, last), stamp),
        cash=rows(CASH, balances(before, after, moved, book.currency), stamp),
        nav=rows(NAV, [nav(before, after, moved, day.fills)], stamp),
        after=after,
    )
