"""The step of a book's day: actions, fills and closes turn yesterday's holdings into today's, with every cent named.

Backtest and live booking both take this step, so that a range equals its days.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from quant_assets.books.due import corrections, due_actions, entitlements, late_changes
from quant_assets.books.holdings import (
    Correction,
    Holdings,
    Movement,
    apply_actions,
    apply_fills,
    exact,
    fund,
    mark,
    move,
)
from quant_assets.books.rows import movements, rows
from quant_assets.calendars import Cuts
from quant_assets.records import Book, Fill, Frozen
from quant_assets.tables import NAV, PNL, POSITIONS

_ZERO = Decimal(0)


class Day(Frozen, frozen=True):
    """What happened in a session, as known at its cut.

    `closes`: sid, symbol, close (raw, finite). `actions`: all ACTIONS versions up to the session. `fills`: the
    executions to book. `fees`: movements of fees that came apart from their executions and are due in this session.
    """

    session: date
    closes: pl.DataFrame
    actions: pl.DataFrame
    fills: Sequence[Fill]
    fees: Sequence[Movement] = ()


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


def step(
    book: Book, cuts: Cuts, day: Day, before: Holdings, paid: Decimal | None, evening: Callable[[date], Holdings]
) -> Booked:
    """Carry the book from `before`, its holdings after the session booked last, through `day`.

    `paid`: the capital paid in so far, None where the book begins. `evening`: session to the holdings at its end.
    """
    cut, since = cuts.of(day.session), before.session
    due = due_actions(day.actions, cuts, day.session, since)
    entitled = entitlements(due, cuts, lambda session: evening(session).quantities)
    held, funding = fund(before, book.capital, paid)
    corrected = corrections(day.actions, cuts, day.session, evening)
    booked = book_day(
        book, held, day.session, cut, due, entitled, day.fills, day.closes, corrected=corrected, fees=day.fees
    )
    return Booked(
        positions=booked.positions,
        journal=pl.concat([movements(book, day.session, cut, funding), booked.journal]),
        pnl=booked.pnl,
        nav=booked.nav,
        after=booked.after,
        notes=tuple(late_changes(day.actions, cuts, day.session, since)),
    )


def book_day(
    book: Book,
    before: Holdings,
    session: date,
    known_at: datetime,
    actions: pl.DataFrame,
    entitled: Mapping[tuple[int, date], int],
    fills: Sequence[Fill],
    closes: pl.DataFrame,
    *,
    corrected: Sequence[Correction] = (),
    fees: Sequence[Movement] = (),
) -> Booked:
    """Carry `before` through the session: `actions` (from `due_actions`), then `fills` and `fees`, then the marks.

    `closes`: sid, close; and symbol, by which the shares that a spin-off or merger hands out are found.

    P&L by name is holding (yesterday's shares, from mark to mark, through splits and delistings) + trading (from fill
    to mark) + income (dividends, cash in lieu, proceeds of mergers and delistings) + fees (≤ 0) = total, and the
    totals add up to the change of equity exactly. A name that hands out shares of another is credited with their
    worth, and the other begins at it. A name without a close keeps its last mark. In NAV, `short_value` is ≤ 0,
    `fees` ≥ 0, `traded` the value of all fills.
    """
    sids = dict(closes.select("symbol", "sid").iter_rows()) if "symbol" in closes.columns else {}
    acted, action_cash = apply_actions(before, actions, entitled, sids, corrected)
    filled, fill_cash = apply_fills(acted, fills)
    moved = [*action_cash, *fill_cash, *fees]
    prices = {sid: close for sid, close in closes.select("sid", "close").iter_rows() if close is not None}
    after = mark(move(filled, fees), session, prices)
    last = {f.sid: f.price for f in fills} | dict(acted.marks) | {sid: exact(c) for sid, c in prices.items()}
    stamp = {"session": session, "book": book.name, "known_at": known_at}
    positions = [
        {"sid": sid, "quantity": q, "mark": after.marks[sid], "value": q * after.marks[sid]}
        for sid, q in after.quantities.items()
    ]
    return Booked(
        positions=rows(POSITIONS, positions, stamp),
        journal=movements(book, session, known_at, moved),
        pnl=rows(PNL, _pnl(before, after, moved, fills, last), stamp),
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
        "traded": sum((f.quantity * f.price for f in fills), _ZERO),
        "names": len(values),
    }


def _pnl(
    before: Holdings, after: Holdings, moved: Sequence[Movement], fills: Sequence[Fill], last: Mapping[int, Decimal]
) -> list[dict[str, Any]]:
    """Per name: the total from values and cash, trading from the fills, and holding as what is left of the total."""
    found: list[dict[str, Any]] = []
    for sid in sorted({*before.quantities, *after.quantities, *(m.sid for m in moved)}):
        cash = [m for m in moved if m.sid == sid]
        fees = sum((m.amount for m in cash if m.kind == "fee"), _ZERO)
        income = sum((m.amount for m in cash if m.kind not in {"fee", "trade", "transfer"}), _ZERO)
        trading = sum((f.side * f.quantity * (last[sid] - f.price) for f in fills if f.sid == sid), _ZERO)
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
