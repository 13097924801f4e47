"""A traded book in the tables: what it holds, and its sessions booked in order."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

import msgspec
import polars as pl

from quant_assets.books.apart import apart, waits
from quant_assets.books.day import Day, step
from quant_assets.books.entries import KIND
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings, Movement
from quant_assets.books.rows import fill_rows, order_rows
from quant_assets.books.terms import Terms
from quant_assets.books.valued import handed_out, terms_of, valuation
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.errors import DataError
from quant_assets.ports import Entries, Executions, Facts, Notifier, Store
from quant_assets.records import SLOT, Book, Commission, Entry, Fill, OrderState, StageReport, Working
from quant_assets.tables import ACTIONS, BARS, CASH, FILLS, JOURNAL, NAV, ORDERS, PNL, POSITIONS

COLLECTED = "collected"  # the fact that the venue's record of a session is here


def paid_in(store: Store, book: Book) -> Decimal | None:
    """The capital that was paid into the book so far, less what was paid out; None before its first session."""
    journal = store.read(JOURNAL, as_of=None, where={"book": book.name, "reference": "capital"})
    return sum(journal["amount"].to_list(), Decimal(0)) if journal.height else None


def holdings_of(store: Store, book: Book, session: date) -> Holdings:
    """What the book holds at the end of `session`: after the last one booked by then, its capital where none is."""
    nav = store.read(NAV, as_of=None, last=session, where={"book": book.name})
    if nav.is_empty():
        return Holdings(session=session, cash=book.capital, quantities={}, marks={}, terms=Terms(base=book.currency))
    last: date = nav["session"][-1]
    held = store.read(POSITIONS, as_of=None, first=last, last=last, where={"book": book.name})
    cash = store.read(CASH, as_of=None, first=last, last=last, where={"book": book.name})
    terms = terms_of(store, book, held["sid"].to_list(), nav["known_at"][-1])
    rates = dict(cash.select("currency", "rate").iter_rows())
    amounts = dict(cash.select("currency", "amount").iter_rows())
    return Holdings(
        session=last,
        cash=amounts.pop(book.currency, nav["cash"][-1]),
        quantities=dict(held.select("sid", "quantity").iter_rows()),
        marks=dict(held.select("sid", "mark").iter_rows()),
        others={currency: amount for currency, amount in amounts.items() if amount},
        terms=msgspec.structs.replace(terms, rates=dict(terms.rates) | rates),
    )


def book_session(
    store: Store,
    book: Book,
    cuts: Cuts,
    session: date,
    fills: Sequence[Fill],
    fees: Sequence[Commission] = (),
    entries: Sequence[Entry] = (),
    account: Sequence[Book] = (),
) -> StageReport:
    """Book `session` from what was known at its cut and write POSITIONS, JOURNAL, CASH, PNL and NAV.

    Again: a no-op. Of `fills`, those up to `session` that no earlier session booked are taken: a late one is booked
    in the session in which it is first seen. The same holds for `fees`, which came apart from their executions, and for
    `entries` of people. `account`: the books that trade its account, where they are several.
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
    held = holdings_of(store, book, yesterday)
    day = _day(store, book, cuts, session, held, fills, fees, entries, account)
    booked = step(book, cuts, day, held, paid_in(store, book), past_of(store, book, cuts))
    tables = (
        (JOURNAL, booked.journal),
        (CASH, booked.cash),
        (PNL, booked.pnl),
        (POSITIONS, booked.positions),
        (NAV, booked.nav),
    )
    # NAV comes last: its row means that the session is booked
    return _report(booked.nav, rows=sum(store.append(t, frame) for t, frame in tables), notes=booked.notes)


def past_of(store: Store, book: Book, cuts: Cuts) -> Past:
    """What the book held at the end of earlier sessions, and their bars; read where it is asked for."""

    def bars(session: date) -> pl.DataFrame:
        return in_force(store.read(BARS, as_of=cuts.of(session), first=session, last=session), BARS)

    return Past(evening=lambda session: holdings_of(store, book, session), bars=bars)


def _day(
    store: Store,
    book: Book,
    cuts: Cuts,
    session: date,
    held: Holdings,
    fills: Sequence[Fill],
    fees: Sequence[Commission],
    entries: Sequence[Entry],
    account: Sequence[Book],
) -> Day:
    """What happened in the session, as known at its cut, less the fills, fees and entries of earlier sessions."""
    cut, yesterday = cuts.of(session), session - timedelta(days=1)
    earlier = store.read(JOURNAL, as_of=None, last=yesterday, where={"book": book.name})
    traded, paid, entered = (
        set(earlier.filter(pl.col("kind") == kind)["reference"]) for kind in ("trade", "fee", KIND)
    )
    bars = in_force(store.read(BARS, as_of=cut, first=session, last=session), BARS)
    sids = {f.exec_id: f.sid for f in fills if f.session <= session and f.quantity} if fees else {}
    due = [f for f in fills if f.session <= session and f.quantity and f.exec_id not in traded]
    new = [e for e in entries if e.session <= session and e.entry_id not in entered]
    acted = store.read(ACTIONS, as_of=cut, last=session)
    names = {*held.quantities, *(f.sid for f in due), *(e.sid for e in new if e.sid), *handed_out(acted, bars)}
    those = {b.name: holdings_of(store, b, yesterday).quantities for b in account}
    return Day(
        session=session,
        bars=bars.select("sid", "symbol", "open", "close").filter(pl.col("close").is_finite()),
        actions=acted,
        fills=due,
        fees=[
            Movement(sid=sids[c.execution], kind="fee", reference=c.exec_id, amount=-c.fee)
            for c in sorted(fees, key=lambda c: c.exec_id)
            if c.fee and c.execution in sids and c.exec_id not in paid
        ],
        entries=new,
        by=valuation(store, book, cuts, session, held, names, [e.currency for e in new if e.currency], those),
    )


def _report(nav: pl.DataFrame, *, rows: int, notes: tuple[str, ...]) -> StageReport:
    row = nav.row(0, named=True)
    numbers = {c: float(row[c]) for c in ("equity", "cash", "pnl", "fees", "traded", "names")}
    return StageReport(
        stage="book", first=row["session"], last=row["session"], state="done", rows=rows, numbers=numbers, notes=notes
    )


def record_fills(store: Store, book: Book, fills: Sequence[Fill], known_at: datetime) -> int:
    """Write the venue's executions to FILLS and return how many are new.

    One that is stored keeps its knowledge time and the fee known then; with other content it raises ConflictingRow.
    """
    if not fills:
        return 0
    first = min(f.session for f in fills)
    stored = store.read(FILLS, as_of=None, first=first, where={"book": book.name})
    kept = {c: f"stored_{c}" for c in ("known_at", "fee")}
    before = stored.select("exec_id", *kept).rename(kept)
    rows = fill_rows(book, fills, known_at).join(before, on="exec_id", how="left", maintain_order="left")
    rows = rows.with_columns(pl.coalesce(was, c).alias(c) for c, was in kept.items()).drop(kept.values())
    return store.append(FILLS, FILLS.conform(rows))


def record_orders(store: Store, book: Book, session: date, orders: Sequence[Working], known_at: datetime) -> int:
    """Write the state of the book's orders after `session`; return how many rows are new.

    Each order has rows up to the session in which it ended, and one more where the venue changed its record of it
    afterwards. A row that is stored stays: it is the state of that time.
    """
    if not orders:
        return 0
    rows = order_rows(book, session, orders, known_at)
    first = min(w.order.decided for w in orders)  # no row of them is older
    stored = store.read(ORDERS, as_of=None, first=first, last=session, where={"book": book.name})
    last = stored.unique("client_order_id", keep="last", maintain_order=True)  # sorted by session
    ended = last.filter(pl.col("state").is_in([s.value for s in OrderState if s.terminal]))
    there = stored.filter(pl.col("session") == session).select("client_order_id")
    new = rows.join(there, on="client_order_id", how="anti")
    return store.append(ORDERS, new.join(ended, on=["client_order_id", "state", "filled"], how="anti"))


def book_sessions(
    store: Store,
    executions: Executions,
    entries: Entries,
    books: Sequence[Book],
    cuts: Cuts,
    notifier: Notifier,
    facts: Facts,
    sessions: Sequence[date],
) -> Iterator[StageReport]:
    """Book each session of each book, in order; not where the venue's record of it could not be collected."""

    def one(book: Book, session: date) -> StageReport:
        fees = [fee for _, fee in executions.fees(book.name)]
        by_hand = entries.of(book.name, last=session)
        together = [b for b in books if b.account == book.account]
        account = together if len(together) > 1 else ()
        return book_session(store, book, cuts, session, executions.fills(book.name), fees, by_hand, account)

    for session in sessions:
        for book in books:
            if booked(store, book, session) or COLLECTED in facts.recorded(book.name, SLOT).get(session, {}):
                yield apart("book", book, session, notifier, partial(one, book, session))
            else:
                yield waits("book", book, session, f"NOT_COLLECTED: the venue's record of {session} is not here yet")


def booked(store: Store, book: Book, session: date) -> bool:
    """Whether NAV has the session."""
    return store.read(NAV, as_of=None, first=session, last=session, where={"book": book.name}, columns=()).height > 0
