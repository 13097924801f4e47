"""The step of a book's day: actions, fills and closes turn yesterday's holdings into today's, with every cent named.

Backtest and live booking both take this step, so that a range equals its days.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from quant_assets.books.carry import Carried, carry
from quant_assets.books.due import late_changes
from quant_assets.books.entries import KIND, apply_entries, gained, implied
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, Movement, apply_fills, exact, fund, mark, move
from quant_assets.books.rows import movements, rows
from quant_assets.calendars import Cuts
from quant_assets.records import Book, Entry, Fill, Frozen
from quant_assets.tables import NAV, PNL, POSITIONS

_ZERO = Decimal(0)


class Day(Frozen, frozen=True):
    """What happened in a session, as known at its cut.

    `bars`: sid, symbol, open, close (raw; the close finite). `actions`: all ACTIONS versions up to the session.
    `fills`: the executions to book. `fees`: movements of fees that came apart from their executions and are due in this
    session. `entries`: what people booked by hand and is due.
    """

    session: date
    bars: pl.DataFrame
    actions: pl.DataFrame
    fills: Sequence[Fill]
    fees: Sequence[Movement] = ()
    entries: Sequence[Entry] = ()


class Booked(Frozen, frozen=True):
    """A session of a book: rows of POSITIONS, JOURNAL, PNL and NAV, the holdings after it, and what a person should
    see.
    """

    positions: pl.DataFrame
    journal: pl.DataFrame
    pnl: pl.DataFrame
    nav: pl.DataFrame
    after: Holdings
    notes: tuple[str, ...] = ()


def step(book: Book, cuts: Cuts, day: Day, before: Holdings, paid: Decimal | None, past: Past) -> Booked:
    """Carry the book from `before`, its holdings after the session booked last, through `day`.

    `paid`: the capital paid in so far, None where the book begins.
    """
    cut = cuts.of(day.session)
    held, funding = fund(before, book.capital, paid)
    carried = carry(held, day.actions, day.bars, day.session, cuts, past)
    booked = book_day(book, held, carried, day.session, cut, day.fills, day.bars, day.fees, day.entries)
    notes = (*late_changes(day.actions, cuts, day.session, before.session), *carried.kept.values())
    journal = pl.concat([movements(book, day.session, cut, funding), booked.journal])
    return msgspec.structs.replace(booked, journal=journal, notes=notes)


def book_day(
    book: Book,
    before: Holdings,
    carried: Carried,
    session: date,
    known_at: datetime,
    fills: Sequence[Fill],
    closes: pl.DataFrame,
    fees: Sequence[Movement] = (),
    entries: Sequence[Entry] = (),
) -> Booked:
    """Book the session: `carried`, what its actions made of `before`; then `fills`, `entries`, `fees`, then the marks.

    `closes`: sid, close. P&L by name is holding (yesterday's shares, from mark to mark, through splits and delistings)
    + trading (from fill to mark, and what a person booked) + income (dividends, cash in lieu, proceeds of mergers and
    delistings) + fees (≤ 0) = total, and the totals add up to the change of equity exactly. A name that hands out
    shares of another is credited with their worth, and the other begins at it. A name without a close, or whose close
    nothing explains, keeps its last mark. In NAV, `short_value` is ≤ 0, `fees` what was paid, `traded` the value of all
    fills, less that of those which were reversed.
    """
    filled, fill_cash = apply_fills(carried.held, fills)
    entered, entry_cash = apply_entries(filled, entries)
    moved = [*carried.moved, *fill_cash, *entry_cash, *fees]
    prices = {
        sid: close
        for sid, close in closes.select("sid", "close").iter_rows()
        if close is not None and sid not in carried.kept
    }
    after = mark(move(entered, fees), session, prices)
    begun = {e.sid: implied(e) for e in entries if e.quantity} | {f.sid: f.price for f in fills}
    last = begun | dict(carried.held.marks) | {sid: exact(c) for sid, c in prices.items()}
    stamp = {"session": session, "book": book.name, "known_at": known_at}
    positions = [
        {"sid": sid, "quantity": q, "mark": after.marks[sid], "value": q * after.marks[sid]}
        for sid, q in after.quantities.items()
    ]
    return Booked(
        positions=rows(POSITIONS, positions, stamp),
        journal=movements(book, session, known_at, moved),
        pnl=rows(PNL, _pnl(before, after, moved, fills, entries, last), stamp),
        nav=rows(NAV, [_nav(before, after, moved, fills)], stamp),
        after=after,
    )


def _nav(before: Holdings, after: Holdings, moved: Sequence[Movement], fills: Sequence[Fill]) -> dict[str, Any]:
    values = [q * after.marks[sid] for sid, q in after.quantities.items()]
    return {
        "cash": after.cash,
        "long_value": sum((v for v in values if v > 0), _ZERO),
        "short_value": sum((v for v in values if v < 0), _ZERO),
        "equity": after.equity,
        "pnl": after.equity - before.equity,
        "fees": -sum((m.amount for m in moved if m.kind == "fee"), _ZERO),
        "traded": sum(((-1 if f.reverses else 1) * f.quantity * f.price for f in fills), _ZERO),
        "names": len(values),
    }


def _pnl(
    before: Holdings,
    after: Holdings,
    moved: Sequence[Movement],
    fills: Sequence[Fill],
    entries: Sequence[Entry],
    last: Mapping[int, Decimal],
) -> list[dict[str, Any]]:
    """Per name: the total from values and cash, trading from the fills, and holding as what is left of the total."""
    found: list[dict[str, Any]] = []
    for sid in sorted({*before.quantities, *after.quantities, *(m.sid for m in moved)}):
        cash = [m for m in moved if m.sid == sid]
        fees = sum((m.amount for m in cash if m.kind == "fee"), _ZERO)
        income = sum((m.amount for m in cash if m.kind not in {"fee", "trade", "transfer", KIND}), _ZERO)
        trading = sum((f.side * f.quantity * (last[sid] - f.price) for f in fills if f.sid == sid), _ZERO)
        trading += gained(entries, sid, last)
        value = (h.quantities.get(sid, 0) * h.marks.get(sid, _ZERO) for h in (after, before))
        total = next(value) - next(value) + sum((m.amount for m in cash), _ZERO)
        found.append(
            {
                "sid": sid,
                "holding": total - trading - income - fees,
                "trading": trading,
                "income": income,
                "fees": fees,
                "total": total,
            }
        )
    return found
