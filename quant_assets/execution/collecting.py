"""The venue's record of each session comes home: of a book alone on its account, and of books that share one."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import msgspec

from quant_assets.books.apart import apart
from quant_assets.books.booking import COLLECTED, record_fills, record_orders
from quant_assets.books.due import stopped
from quant_assets.books.terms import Terms
from quant_assets.calendars import Cuts
from quant_assets.calendars.auctions import CLOSE, closing
from quant_assets.calendars.slots import slot_named
from quant_assets.execution.account_copy import crossed, follow_account, share_fees, share_out, shared
from quant_assets.execution.corrections import charged_on
from quant_assets.execution.drop_copy import (
    RECENT,
    AtSlots,
    auction_prices,
    booked_of,
    collect,
    opens_of,
    report,
    reported_since,
    reversed_in,
    to_record,
)
from quant_assets.execution.outbox import LEASE_SECONDS
from quant_assets.execution.together import here
from quant_assets.features.intraday import OnBars
from quant_assets.market_data.jumps import jumped
from quant_assets.market_data.master import instruments
from quant_assets.moments import Every, Moment
from quant_assets.ports import (
    Advances,
    Breaks,
    Brokers,
    Clock,
    Executions,
    Facts,
    Notifier,
    Outbox,
    SharesAccount,
    Store,
)
from quant_assets.records import SLOT, Book, Events, Fill, Part, StageReport
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS


def collect_fills(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    breaks: Breaks,
    brokers: Brokers,
    books: Sequence[Book],
    cuts: Cuts,
    clock: Clock,
    notifier: Notifier,
    facts: Facts,
    sessions: Sequence[date],
    strategies: Sequence[Strategy] = (),
    on_bars: Sequence[OnBars] = (),
) -> Iterator[StageReport]:
    """Collect what each book's venue reported in the sessions, in order: a fact of the session. What a venue changed of
    its record is notified. While a break of the book is open, the venue is asked for its whole record: it may have
    changed, or added, what our cursor has passed.
    """

    def one(book: Book, session: date) -> StageReport:
        broker, differs = brokers.open(book), bool(breaks.listed(book.name))
        together = here(broker, books) if isinstance(broker, SharesAccount) else [book]
        at_slots = opens_together(store, together, strategies, on_bars, cuts)
        ledger = (store, outbox, executions)
        if isinstance(broker, SharesAccount):
            about = (*ledger, broker, together, cuts, session, clock.now())
            every = moment_of(book, strategies)
            copied = copy_account(*about, session, whole=differs, at_slots=at_slots, every=every)
            found = _recorded(*ledger, book, cuts, session, copied)
        else:
            found = collect(*ledger, broker, book, cuts, session, clock.now(), whole=differs, at_slots=at_slots)
        facts.record(book.name, session, SLOT, COLLECTED, "", now=clock.now())
        if found.notes:
            notifier.notify("warning", f"{book.name}: the venue changed its record", "\n".join(found.notes))
        return found

    for session in sessions:
        for book in books:
            yield apart("fills", book, session, notifier, partial(one, book, session))


def moment_of(book: Book, strategies: Sequence[Strategy]) -> Moment | None:
    """When the book's strategy decides, where that is known."""
    return next((s.moment for s in strategies if s.name == book.strategy), None)


def opens_together(
    store: Store, books: Sequence[Book], strategies: Sequence[Strategy], on_bars: Sequence[OnBars], cuts: Cuts
) -> AtSlots | None:
    """The opens of the bars in which the orders of these books trade; None where they do not trade at slots."""
    found = [known for b in books if (known := opens_of(store, b, strategies, on_bars, cuts)) is not None]
    if not found:
        return None
    return lambda orders: {key: price for known in found for key, price in known(orders).items()}


class Copied(NamedTuple):
    """What was booked of an account: `new` entries with their books, and by book what the venue `changed`, in words."""

    new: Sequence[tuple[str, Fill]]
    changed: Mapping[str, Sequence[str]]

    def entries(self, book: Book) -> list[Fill]:
        """The new entries of one book."""
        return [fill for name, fill in self.new if name == book.name]


def copy_account(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    shares: SharesAccount,
    books: Sequence[Book],
    cuts: Cuts,
    session: date,
    now: datetime,
    over: date,
    *,
    whole: bool = False,
    at_slots: AtSlots | None = None,
    every: Moment | None = None,
) -> Copied:
    """Book what the venue reported of an account up to `session` to those of its `books` that trade here. Again: a
    no-op. `over`: the last session that is over; `every`: the moment of its slots. Raises LeaseLost.
    """
    account, venue = shares.account, shares.venue
    if isinstance(venue, Advances) and over >= session:
        venue.advance(session)
    since = None if whole else session - RECENT
    cursor = account.name if len(books) == len(shares.books) else f"{account.name} {books[0].name}"
    with outbox.lease(account, LEASE_SECONDS) as writer:
        events = reported_since(venue, None if whole else executions.cursor(cursor))
        events = _without(events, {p.parent for p in outbox.parts(account.name)} - _parents(outbox, account, books))
        about = (store, outbox, executions, writer, venue, account, cuts, session, now)
        taken = booked_of(*about, events, at_slots)
        traded = {f.sid for f in executions.fills(account.name, since)} | {p.sid for p in outbox.parts(account.name)}
        found = shared(outbox, executions, shares, _terms(store, account, traded, cuts.of(session)))
        share_fees(executions, account, found, since)  # what was charged on an execution is taken back with it
        new = share_out(executions, account, found, since)
        share_fees(executions, account, found, since)
        names = {b.name for b in books}
        parts = [
            p
            for siblings in found.parts.values()
            for p in siblings
            if p.book in names and session - RECENT <= p.session
        ]
        prices = _cross_prices(store, outbox, books, cuts, [p for p in parts if p.session <= session], at_slots, every)
        new += crossed(executions, found, parts, prices)
        if not taken.later and events.cursor != executions.cursor(cursor):
            executions.advance(cursor, events.cursor)
    return Copied(new, follow_account(outbox, account, books, found, session - RECENT, over, now))


def _terms(store: Store, account: Book, sids: set[int], cut: datetime) -> Terms:
    """The terms of the names without rates: what is shared out is in each name's own currency."""
    return Terms(base=account.currency, instruments=instruments(store, sids, cut, account.priced_in))


def _parents(outbox: Outbox, account: Book, books: Sequence[Book]) -> set[str]:
    """The orders of the account that are of these books."""
    names = {b.name for b in books}
    return {p.parent for p in outbox.parts(account.name) if p.book in names}


def _without(events: Events, orders: set[str]) -> Events:
    """The report without these orders: books that trade at another moment collect them."""
    if not orders:
        return events
    return msgspec.structs.replace(
        events,
        executions=tuple(e for e in events.executions if e.client_order_id not in orders),
        orders=tuple(o for o in events.orders if o.client_order_id not in orders),
    )


def _cross_prices(
    store: Store,
    outbox: Outbox,
    books: Sequence[Book],
    cuts: Cuts,
    parts: Sequence[Part],
    at_slots: AtSlots | None,
    every: Moment | None,
) -> dict[str, tuple[Decimal, datetime]]:
    """By client order id the price and time of the auction at which an order crosses. None where its name does not
    trade there, was restated, or jumps without an explanation: a venue would not fill it either.
    """
    ids = {p.client_order_id for p in parts if p.crossed}
    if not ids:
        return {}
    orders = [w.order for b in books for w in outbox.orders(b.name) if w.order.client_order_id in ids]
    if at_slots is not None and isinstance(every, Every):
        at = {o.client_order_id: slot_named(cuts.calendar, every, o.session, o.slot) for o in orders}
        known = at_slots(orders)
        return {key: (price, slot.trades_at) for key, price in known.items() if (slot := at[key])}
    found: dict[str, tuple[Decimal, datetime]] = {}
    for session in sorted({o.session for o in orders}):
        mine = [o for o in orders if o.session == session]
        acted = store.read(ACTIONS, as_of=cuts.of(session), last=session)
        out = stopped(acted, cuts, session, {o.sid for o in mine})
        for auction in sorted({o.slot for o in mine}):
            market = auction_prices(store, cuts, {session}, "close" if auction == CLOSE else "open")
            at = closing(cuts.calendar, session) if auction == CLOSE else cuts.calendar.open(session)
            for order in (o for o in mine if o.slot == auction and o.sid not in out):
                price = market.get((session, order.sid))
                if price and not jumped(order.reference_price, price):
                    found[order.client_order_id] = (price, at)
    return found


def _recorded(
    store: Store, outbox: Outbox, executions: Executions, book: Book, cuts: Cuts, session: date, copied: Copied
) -> StageReport:
    """Write FILLS and ORDERS of one book of an account."""
    fills, fees = executions.fills(book.name, session - RECENT), [c for _, c in executions.fees(book.name)]
    paid = charged_on(fills, fees)
    known = [msgspec.structs.replace(f, fee=paid[f.exec_id]) for f in fills if f.session <= session]
    written = record_fills(store, book, known, cuts.of(session))
    written += record_orders(store, book, session, to_record(store, outbox, book, session), cuts.of(session))
    new = copied.entries(book)
    return report(executions, book, session, new, [*reversed_in(new), *copied.changed.get(book.name, ())], written)
