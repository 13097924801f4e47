"""Two independent ledgers compared: what we booked, and what the venue recorded.

Every difference is a break until a person explains it. A break's id is its content: of an order or fill the two
descriptions, of a position or the cash the *difference*. So the same unexplained difference is opened once, however
long it lasts, and any change in it is a new break.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial

from quant_assets.books.apart import apart, waits
from quant_assets.books.booking import booked, holdings_of
from quant_assets.calendars import Calendar, Cuts
from quant_assets.execution.corrections import charged_on, effective, in_force
from quant_assets.execution.drop_copy import session_at
from quant_assets.execution.outcome import RECONCILED
from quant_assets.ports import (
    Breaks,
    Broker,
    Brokers,
    ByCurrency,
    Clock,
    Executions,
    Facts,
    Notifier,
    Outbox,
    SharesAccount,
    Store,
)
from quant_assets.records import (
    SLOT,
    Book,
    Break,
    BrokerOrder,
    Commission,
    Coverage,
    Execution,
    Fill,
    Frozen,
    OrderState,
    StageReport,
    Working,
    content_id,
)
from quant_assets.tables import NAV

# In these states the venue acknowledged the order; in the others it may never have left.
_WORKING = frozenset({OrderState.ACKED, OrderState.PARTIAL})
_AT_VENUE = _WORKING | {OrderState.FILLED}
_NOTHING = "nothing"
_NONE = Decimal(0)


class OurSide(Frozen, frozen=True):
    """Our ledger at the end of a session: orders, executions, fees that came apart, and positions and cash as
    booked.
    """

    orders: Sequence[Working]
    fills: Sequence[Fill]
    positions: Mapping[int, int]
    cash: Mapping[str, Decimal]
    fees: Sequence[Commission] = ()


class TheirSide(Frozen, frozen=True):
    """The venue's record, and what it vouches for."""

    orders: Sequence[BrokerOrder]
    executions: Sequence[Execution]
    positions: Mapping[int, int]
    cash: Mapping[str, Decimal]
    fees: Sequence[Commission] = ()
    coverage: Coverage = Coverage()


def reconcile(book: Book, cuts: Cuts, session: date, ours: OurSide, theirs: TheirSide) -> list[Break]:
    """Every difference, by kind and subject.

    order: missing at the venue though it acknowledged it, unknown to us, held twice under one client id, executed
    beyond its quantity, or with another side, quantity, state or filled quantity. fill: missing on one side, different,
    or of an order that we never sent; of a trade that the venue corrected the version in force is compared. position
    and cash: any difference. Our orders for later sessions may or may not have arrived, so only what both sides hold of
    them is compared. An order or fill of ours from before the venue's coverage is not missing; but an order that we
    hold to be working must be open there, however old it is. Session and arrival price of a fill are ours alone.
    """
    found = [
        *_orders(cuts.calendar, session, ours.orders, theirs),
        *_fills(cuts, session, ours, theirs),
        *(
            ("position", str(sid), str(ours.positions.get(sid, 0)), str(theirs.positions.get(sid, 0)))
            for sid in sorted({*ours.positions, *theirs.positions})
        ),
        *(
            ("cash", currency, _plain(ours.cash.get(currency, _NONE)), _plain(theirs.cash.get(currency, _NONE)))
            for currency in sorted({book.currency, *ours.cash, *theirs.cash})
        ),
    ]
    return [_break(book, session, *difference) for difference in found if difference[2] != difference[3]]


Difference = tuple[str, str, str, str]  # kind, subject, ours, theirs


def _break(book: Book, session: date, kind: str, subject: str, ours: str, theirs: str) -> Break:
    content = _plain(Decimal(theirs) - Decimal(ours)) if kind in {"position", "cash"} else (ours, theirs)
    return Break(
        break_id=content_id("break", book.name, kind, subject, content, length=16),
        book=book.name,
        session=session,
        kind=kind,
        subject=subject,
        ours=ours,
        theirs=theirs,
    )


def _orders(calendar: Calendar, session: date, ours: Sequence[Working], theirs: TheirSide) -> Iterator[Difference]:
    at_venue: dict[str, list[BrokerOrder]] = defaultdict(list)
    for held in theirs.orders:
        at_venue[held.client_order_id].append(held)
    executed: dict[str, int] = defaultdict(int)
    for execution in in_force(theirs.executions).values():
        executed[execution.client_order_id] += execution.side * execution.quantity
    since = theirs.coverage.orders_since
    for item in sorted(ours, key=lambda w: w.order.client_order_id):
        order = item.order
        held = at_venue.pop(order.client_order_id, [])
        our_word = f"{item.state} {item.filled}/{order.side * order.quantity} of {order.sid}"
        if len(held) == 1:
            net = executed[order.client_order_id]
            beyond = f", and {net} executed" if order.side * net > order.quantity else ""
            yield "order", order.client_order_id, our_word, _word(held[0]) + beyond
        elif held:
            several = "; ".join(sorted(f"{h.broker_order_id} {_word(h)}" for h in held))
            yield "order", order.client_order_id, our_word, f"{len(held)} orders under this id: {several}"
        elif item.state in _AT_VENUE and order.session <= session:
            covered = since is None or calendar.last_hours(order.session).open >= since
            if covered or item.state in _WORKING:
                yield "order", order.client_order_id, our_word, _NOTHING
    for client_order_id, held in sorted(at_venue.items()):
        yield "order", client_order_id, _NOTHING, "; ".join(sorted(f"{h.broker_order_id} {_word(h)}" for h in held))


def _word(held: BrokerOrder) -> str:
    return f"{held.state} {held.filled}/{held.side * held.quantity} of {held.sid}"


def _fills(cuts: Cuts, session: date, ours: OurSide, theirs: TheirSide) -> Iterator[Difference]:
    """Of each trade the version in force on both sides: what was corrected before is no difference."""
    charged = {c.exec_id: c.fee for c in theirs.fees}
    paid = charged_on(ours.fills, ours.fees)
    since = theirs.coverage.executions_since
    everything = effective(f for f in ours.fills if f.session <= session)
    left = dict(everything)
    for name, execution in sorted(in_force(theirs.executions).items()):
        fill = left.pop(name, None)
        at = session_at(cuts, execution.ts) if fill is None else fill.session
        if at > session:
            continue
        our_fee = Decimal(0) if fill is None else paid[fill.exec_id]
        # a fee that the venue did not report yet is no difference
        fee = execution.fee if execution.fee is not None else charged.get(name, our_fee)
        our_word = _NOTHING if fill is None else _execution(at, fill, our_fee)
        yield "fill", name, our_word, _execution(at, execution, fee)
    for name, fill in sorted(left.items()):
        if since is None or fill.ts >= since:
            yield "fill", name, _execution(fill.session, fill, paid[fill.exec_id]), _NOTHING
    sent = {w.order.client_order_id for w in ours.orders}
    for name, fill in sorted(everything.items()):
        if fill.client_order_id not in sent:
            yield (
                "fill",
                name,
                f"no order {fill.client_order_id}",
                _execution(fill.session, fill, paid[fill.exec_id]),
            )


def _execution(session: date, of: Fill | Execution, fee: Decimal) -> str:
    what = f"{of.side * of.quantity} of {of.sid} at {_plain(of.price)}"
    return f"{session} {what} fee {_plain(fee)} for {of.client_order_id}"


def _plain(amount: Decimal) -> str:
    """The amount without exponent or trailing zeros: equal amounts read equal."""
    text = f"{amount:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def reconcile_session(
    outbox: Outbox,
    executions: Executions,
    breaks: Breaks,
    broker: Broker,
    store: Store,
    book: Book,
    cuts: Cuts,
    session: date,
    notifier: Notifier,
    *,
    now: datetime,
) -> StageReport:
    """Compare the book with the venue's record after `session`, open each break once, and notify of new ones, and of
    positions and cash that still differ though their breaks are resolved.

    The venue's events must be collected and the session booked. Once a later session is booked nothing is compared: the
    venue reports its present state, not that of `session`.
    """
    later = store.read(NAV, as_of=None, first=session, where={"book": book.name})["session"]
    if later.len() and later[-1] > session:
        reason = (
            f"{later[-1]} is booked: the venue's record has moved on from {session}, "
            "which was compared when it was the last"
        )
        return _report(session, [], [], TheirSide((), (), {}, {}), len(breaks.listed(book.name)), reason)
    venue, books = (broker.venue, broker.books) if isinstance(broker, SharesAccount) else (broker, [book])
    theirs = _their_side(venue, book)
    found = reconcile(book, cuts, session, _our_side(store, outbox, executions, books, session), theirs)
    new = [b for b in found if breaks.open(b, now=now)]
    breaks.compared(book.name, found)
    left = [b for b in breaks.listed(book.name) if b["state"] != "open"]
    if left:
        notifier.notify(
            "critical",
            f"{book.name}: {len(left)} resolved break(s) still differ at {session}; the book trades no more until what "
            "is wrong on our side is booked: `quant ledger book`",
            "\n".join(f"{b['break_id']} {b['kind']} {b['subject']}: {b['resolution']}" for b in left),
        )
    if new:
        notifier.notify(
            "critical",
            f"{book.name}: {len(new)} new break(s) at {session}; the book trades no more until they are resolved",
            "\n".join(f"{b.break_id} {b.kind} {b.subject}: ours {b.ours}, theirs {b.theirs}" for b in new),
        )
    return _report(session, found, new, theirs, len(breaks.listed(book.name)))


def _our_side(store: Store, outbox: Outbox, executions: Executions, books: Sequence[Book], session: date) -> OurSide:
    """What we have of the account of these books: its own record where they share it, and what they hold together."""
    positions: dict[int, int] = defaultdict(int)
    cash: dict[str, Decimal] = defaultdict(Decimal)
    for book in books:
        holdings = holdings_of(store, book, session)
        for sid, quantity in holdings.quantities.items():
            positions[sid] += quantity
        for currency, amount in {book.currency: holdings.cash, **holdings.others}.items():
            cash[currency] += amount
    alone, account = len(books) == 1, books[0].account
    record = books[0].name if alone else account
    # what a book sent while it was alone on the account is at the venue as it is
    parts = set[str]() if alone else {p.client_order_id for p in outbox.parts(account)}
    own = [] if alone else [w for b in books for w in outbox.orders(b.name) if w.order.client_order_id not in parts]
    return OurSide(
        orders=[*outbox.orders(record), *own],
        fills=executions.fills(record),
        positions={sid: q for sid, q in positions.items() if q},
        cash=cash,
        fees=[commission for _, commission in executions.fees(record)],
    )


def _their_side(broker: Broker, book: Book) -> TheirSide:
    """All that the venue vouches for. Its open orders are always among it, however long ago they were sent."""
    events = broker.events(None)
    reported = {o.broker_order_id for o in events.orders}
    return TheirSide(
        orders=[*events.orders, *(o for o in broker.open_orders() if o.broker_order_id not in reported)],
        executions=list({e.exec_id: e for e in events.executions}.values()),
        positions=broker.positions(),
        cash=broker.balances() if isinstance(broker, ByCurrency) else {book.currency: broker.cash()},
        fees=events.commissions,
        coverage=events.coverage,
    )


def _report(
    session: date, found: Sequence[Break], new: Sequence[Break], theirs: TheirSide, still_open: int, reason: str = ""
) -> StageReport:
    numbers = {
        "breaks_found": len(found),
        "breaks_new": len(new),
        "breaks_open": still_open,
        "orders_compared": len(theirs.orders),
        "fills_compared": len(theirs.executions),
    }
    return StageReport(
        stage="reconcile",
        first=session,
        last=session,
        state="done",
        reason=reason,
        rows=len(found),
        numbers=numbers,
        notes=tuple(f"{b.kind} {b.subject}: ours {b.ours}, theirs {b.theirs}" for b in new),
    )


def reconcile_books(
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
) -> Iterator[StageReport]:
    """Compare each book with its venue after the last of the sessions; that it was compared is a fact."""
    session = max(sessions)

    def one(book: Book) -> StageReport:
        broker, now = brokers.open(book), clock.now()
        ports = (outbox, executions, breaks, broker, store)
        report = reconcile_session(*ports, book, cuts, session, notifier, now=now)
        facts.record(book.name, session, SLOT, RECONCILED, report.reason, now=now)
        return report

    for book in books:
        if booked(store, book, session):
            yield apart("reconcile", book, session, notifier, partial(one, book))
        else:
            yield waits("reconcile", book, session, f"NOT_BOOKED: {session} is not booked")
