"""A book's day: actions, fills and closes turn yesterday's holdings into today's, with every cent of the difference named."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from quant_assets.books.holdings import (
    Correction,
    Holdings,
    Movement,
    apply_actions,
    apply_fills,
    corrections,
    due_actions,
    entitlements,
    exact,
    fund,
    late_changes,
    mark,
)
from quant_assets.calendars import Cuts
from quant_assets.contract import Table, in_force
from quant_assets.errors import DataError
from quant_assets.ports import Store
from quant_assets.records import Book, Fill, Frozen, OrderState, StageReport, Working
from quant_assets.tables import ACTIONS, BARS, FILLS, JOURNAL, NAV, ORDERS, PNL, POSITIONS

_ZERO = Decimal(0)


class Booked(Frozen, frozen=True):
    """A session of a book: rows of POSITIONS, JOURNAL, PNL and NAV, and the holdings after it."""

    positions: pl.DataFrame
    journal: pl.DataFrame
    pnl: pl.DataFrame
    nav: pl.DataFrame
    after: Holdings


def book_day(
    book: Book,
    before: Holdings,
    session: date,
    known_at: datetime,
    actions: pl.DataFrame,
    entitled: Mapping[tuple[int, date], int],
    fills: Sequence[Fill],
    closes: pl.DataFrame,
    corrected: Sequence[Correction] = (),
) -> Booked:
    """Carry `before` through the session: `actions` (as `due_actions` gives them), then `fills`, then the marks at `closes` (sid, close; and symbol, by which the shares that a spin-off or merger hands out are found).

    P&L by name is holding (yesterday's shares, from mark to mark, through splits and delistings) + trading (from fill to
    mark) + income (dividends, cash in lieu, proceeds of mergers and delistings) + fees (≤ 0) = total, and the totals add up to the change
    of equity exactly. A name that hands out shares of another is credited with their worth, and the other begins at it. A name
    without a close keeps its last mark. In NAV, `short_value` is ≤ 0, `fees` ≥ 0, `traded` the
    value of all fills.
    """
    sids = dict(closes.select("symbol", "sid").iter_rows()) if "symbol" in closes.columns else {}
    acted, action_cash = apply_actions(before, actions, entitled, sids, corrected)
    filled, fill_cash = apply_fills(acted, fills)
    prices = {sid: close for sid, close in closes.select("sid", "close").iter_rows() if close is not None}
    after = mark(filled, session, prices)
    last = {f.sid: f.price for f in fills} | dict(acted.marks) | {sid: exact(c) for sid, c in prices.items()}
    stamp = {"session": session, "book": book.name, "known_at": known_at}
    positions = [
        {"sid": sid, "quantity": q, "mark": after.marks[sid], "value": q * after.marks[sid]}
        for sid, q in after.quantities.items()
    ]
    pnl = _pnl(before, after, [*action_cash, *fill_cash], fills, last)
    values = [p["value"] for p in positions]
    nav = {
        "cash": after.cash,
        "long_value": sum((v for v in values if v > 0), _ZERO),
        "short_value": sum((v for v in values if v < 0), _ZERO),
        "equity": after.equity,
        "pnl": after.equity - before.equity,
        "fees": sum((f.fee for f in fills), _ZERO),
        "traded": sum((f.quantity * f.price for f in fills), _ZERO),
        "names": len(positions),
    }
    return Booked(
        positions=_rows(POSITIONS, positions, stamp),
        journal=movements(book, session, known_at, [*action_cash, *fill_cash]),
        pnl=_rows(PNL, pnl, stamp),
        nav=_rows(NAV, [nav], stamp),
        after=after,
    )


def _pnl(
    before: Holdings, after: Holdings, moved: Sequence[Movement], fills: Sequence[Fill], last: Mapping[int, Decimal]
) -> list[dict[str, Any]]:
    """Per name: the total from values and cash, trading from the fills, and holding as what these, income and fees leave of it."""
    rows: list[dict[str, Any]] = []
    for sid in sorted({*before.quantities, *after.quantities, *(m.sid for m in moved)}):
        cash = [m for m in moved if m.sid == sid]
        fees = sum((m.amount for m in cash if m.kind == "fee"), _ZERO)
        income = sum((m.amount for m in cash if m.kind not in {"fee", "trade", "transfer"}), _ZERO)
        trading = sum((f.side * f.quantity * (last[sid] - f.price) for f in fills if f.sid == sid), _ZERO)
        value = (h.quantities.get(sid, 0) * h.marks.get(sid, _ZERO) for h in (after, before))
        total = next(value) - next(value) + sum((m.amount for m in cash), _ZERO)
        rows.append(
            {
                "sid": sid,
                "holding": total - trading - income - fees,
                "trading": trading,
                "income": income,
                "fees": fees,
                "total": total,
            }
        )
    return rows


def _rows(table: Table, rows: Sequence[Mapping[str, Any]], stamp: Mapping[str, Any]) -> pl.DataFrame:
    return table.conform(pl.DataFrame([{**stamp, **row} for row in rows], schema=dict(table.schema)))


def movements(book: Book, session: date, known_at: datetime, moved: Sequence[Movement]) -> pl.DataFrame:
    """The movements as JOURNAL rows."""
    rows = [{"sid": m.sid, "kind": m.kind, "reference": m.reference, "amount": m.amount} for m in moved]
    return _rows(JOURNAL, rows, {"session": session, "book": book.name, "known_at": known_at})


def paid_in(store: Store, book: Book) -> Decimal | None:
    """The capital that was paid into the book so far, less what was paid out; None before its first session."""
    journal = store.read(JOURNAL, as_of=None, where={"book": book.name, "reference": "capital"})
    return sum(journal["amount"].to_list(), _ZERO) if journal.height else None


def state(store: Store, book: Book, session: date) -> Holdings:
    """What the book holds at the end of `session`: as of the last one booked on or before it, the capital where none is."""
    nav = store.read(NAV, as_of=None, last=session, where={"book": book.name})
    if nav.is_empty():
        return Holdings(session=session, cash=book.capital, quantities={}, marks={})
    last: date = nav["session"][-1]
    held = store.read(POSITIONS, as_of=None, first=last, last=last, where={"book": book.name})
    return Holdings(
        session=last,
        cash=nav["cash"][-1],
        quantities=dict(held.select("sid", "quantity").iter_rows()),
        marks=dict(held.select("sid", "mark").iter_rows()),
    )


def closes_of(store: Store, session: date, cut: datetime) -> pl.DataFrame:
    """The closes of `session` as known at `cut`: sid, symbol, close (raw); names without a close are left out."""
    bars = in_force(store.read(BARS, as_of=cut, first=session, last=session), BARS)
    return bars.select("sid", "symbol", "close").filter(pl.col("close").is_finite())


def book_session(store: Store, book: Book, cuts: Cuts, session: date, fills: Sequence[Fill]) -> StageReport:
    """Book `session` from what was known at its cut and write POSITIONS, JOURNAL, PNL and NAV. A session that is booked stays as it is.

    Of `fills`, those up to `session` that no earlier session booked are taken: a late one is booked when it is first seen.
    Raises DataError where the session before is not booked though the book has begun, for its actions would be lost.
    """
    nav = store.read(NAV, as_of=None, last=session, where={"book": book.name})
    if session in nav["session"]:
        return _report(nav.tail(1), rows=0, notes=("was booked already",))
    before = cuts.decided_before(session)
    # a later one than that before was booked while it was held to be a session: the book goes on from it
    yesterday = nav["session"][-1] if nav.height else before
    if yesterday < before:
        raise DataError(
            f"{book.name}: {session} cannot be booked after {yesterday}; book the sessions in order, "
            f"next {cuts.calendar.after(yesterday)}"
        )
    cut = cuts.of(session)
    earlier = store.read(
        JOURNAL, as_of=None, last=session - timedelta(days=1), where={"book": book.name, "kind": "trade"}
    )
    seen = set(earlier["reference"])
    new = [f for f in fills if f.session <= session and f.exec_id not in seen]
    actions = store.read(ACTIONS, as_of=cut, last=session)
    due = due_actions(actions, cuts, session, yesterday)
    entitled = entitlements(due, cuts, lambda day: state(store, book, day).quantities)
    held, funding = fund(state(store, book, yesterday), book.capital, paid_in(store, book))
    corrected = corrections(actions, cuts, session, lambda day: state(store, book, day))
    day = book_day(book, held, session, cut, due, entitled, new, closes_of(store, session, cut), corrected)
    journal = pl.concat([movements(book, session, cut, funding), day.journal])
    # NAV comes last: it is what says that the session is booked
    rows = sum(
        store.append(table, frame)
        for table, frame in ((JOURNAL, journal), (PNL, day.pnl), (POSITIONS, day.positions), (NAV, day.nav))
    )
    return _report(day.nav, rows=rows, notes=tuple(late_changes(actions, cuts, session, yesterday)))


def _report(nav: pl.DataFrame, *, rows: int, notes: tuple[str, ...]) -> StageReport:
    row = nav.row(0, named=True)
    numbers = {c: float(row[c]) for c in ("equity", "cash", "pnl", "fees", "traded", "names")}
    return StageReport(
        stage="book", first=row["session"], last=row["session"], state="done", rows=rows, numbers=numbers, notes=notes
    )


def record_fills(store: Store, book: Book, fills: Sequence[Fill], known_at: datetime) -> int:
    """Write the venue's executions to FILLS and return how many are new. One that stands keeps its knowledge time; with another content it raises ConflictingRow."""
    if not fills:
        return 0
    first = min(f.session for f in fills)
    standing = dict(
        store.read(FILLS, as_of=None, first=first, where={"book": book.name}).select("exec_id", "known_at").iter_rows()
    )
    columns = (
        "session",
        "sid",
        "exec_id",
        "client_order_id",
        "side",
        "quantity",
        "price",
        "fee",
        "arrival_price",
        "ts",
    )
    rows = [{c: getattr(f, c) for c in columns} | {"known_at": standing.get(f.exec_id, known_at)} for f in fills]
    return store.append(FILLS, _rows(FILLS, rows, {"book": book.name}))


def order_rows(book: Book, session: date, orders: Sequence[Working], known_at: datetime) -> pl.DataFrame:
    """ORDERS rows of `session`: the orders that could trade by it, as they stand."""
    columns = ("strategy", "decided", "sid", "leg", "decision_id", "client_order_id", "side", "quantity")
    rows = [
        {c: getattr(w.order, c) for c in columns}
        | {"filled": w.filled, "state": w.state.value, "reference_price": float(w.order.reference_price)}
        for w in orders
        if w.order.session <= session
    ]
    return _rows(ORDERS, rows, {"session": session, "book": book.name, "known_at": known_at})


def record_orders(store: Store, book: Book, session: date, orders: Sequence[Working], known_at: datetime) -> int:
    """Write how the book's orders stood after `session` and return how many rows are new: each order up to the session in which it ended.

    A row that stands is left: it says what was so then, whatever became of the order since.
    """
    rows = order_rows(book, session, orders, known_at)
    standing = store.read(ORDERS, as_of=None, last=session, where={"book": book.name})
    ended = standing.filter(
        (pl.col("session") == session) | pl.col("state").is_in([s.value for s in OrderState if s.terminal])
    )
    return store.append(ORDERS, rows.join(ended, on="client_order_id", how="anti"))
