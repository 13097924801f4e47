"""Two independent ledgers compared: what we think happened, and what the venue recorded. Every difference is a break until a person explains it.

A break's id is its content: of an order or fill the two descriptions, of a position or the cash the *difference*. So the
same unexplained difference is opened once, however long it stands, and any change in it is a new break.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from quant_assets.books.booking import holdings_of
from quant_assets.ports import Breaks, Broker, Brokers, Clock, Executions, Notifier, Outbox, Store
from quant_assets.records import Book, Break, BrokerOrder, Fill, Frozen, OrderState, StageReport, Working, content_id
from quant_assets.tables import NAV

# In these states we have the venue's word that it holds the order; in the others an order may never have left.
_AT_VENUE = frozenset({OrderState.ACKED, OrderState.PARTIAL, OrderState.FILLED})
_NOTHING = "nothing"


class OurSide(Frozen, frozen=True):
    """What our ledger says of a book at the end of a session: positions and cash as booked, orders with state and filled quantity."""

    orders: Sequence[Working]
    fills: Sequence[Fill]
    positions: Mapping[int, int]
    cash: Decimal


class TheirSide(Frozen, frozen=True):
    """What the venue's record says."""

    orders: Sequence[BrokerOrder]
    fills: Sequence[Fill]
    positions: Mapping[int, int]
    cash: Decimal


def reconcile(book: Book, session: date, ours: OurSide, theirs: TheirSide) -> list[Break]:
    """Every difference, by kind and subject.

    order: missing at the venue though it acknowledged it, unknown to us, held twice under one client id, or with another
    side, quantity, state or filled quantity. fill: missing on one side, different, or of an order that we never sent.
    position and cash: any difference. Our orders for later sessions may or may not have arrived, so only what both sides
    hold of them is compared.
    """
    found = [
        *_orders(session, ours.orders, theirs.orders),
        *_fills(session, ours, theirs.fills),
        *(
            ("position", str(sid), str(ours.positions.get(sid, 0)), str(theirs.positions.get(sid, 0)))
            for sid in sorted({*ours.positions, *theirs.positions})
        ),
        ("cash", book.currency, _plain(ours.cash), _plain(theirs.cash)),
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


def _orders(session: date, ours: Sequence[Working], theirs: Sequence[BrokerOrder]) -> Iterator[Difference]:
    at_venue: dict[str, list[BrokerOrder]] = defaultdict(list)
    for held in theirs:
        at_venue[held.client_order_id].append(held)
    for item in sorted(ours, key=lambda w: w.order.client_order_id):
        order = item.order
        held = at_venue.pop(order.client_order_id, [])
        our_word = f"{item.state} {item.filled}/{order.side * order.quantity} of {order.sid}"
        if len(held) == 1:
            yield "order", order.client_order_id, our_word, _word(held[0])
        elif held:
            yield (
                "order",
                order.client_order_id,
                our_word,
                f"{len(held)} orders under this id: "
                + "; ".join(sorted(f"{h.broker_order_id} {_word(h)}" for h in held)),
            )
        elif item.state in _AT_VENUE and order.session <= session:
            yield "order", order.client_order_id, our_word, _NOTHING
    for client_order_id, held in sorted(at_venue.items()):
        yield "order", client_order_id, _NOTHING, "; ".join(sorted(f"{h.broker_order_id} {_word(h)}" for h in held))


def _word(held: BrokerOrder) -> str:
    return f"{held.state} {held.filled}/{held.side * held.quantity} of {held.sid}"


def _fills(session: date, ours: OurSide, theirs: Sequence[Fill]) -> Iterator[Difference]:
    booked = {f.exec_id: _execution(f) for f in ours.fills if f.session <= session}
    recorded = {f.exec_id: _execution(f) for f in theirs if f.session <= session}
    for exec_id in sorted({*booked, *recorded}):
        yield "fill", exec_id, booked.get(exec_id, _NOTHING), recorded.get(exec_id, _NOTHING)
    sent = {w.order.client_order_id for w in ours.orders}
    for fill in sorted(ours.fills, key=lambda f: f.exec_id):
        if fill.client_order_id not in sent:
            yield "fill", fill.exec_id, f"no order {fill.client_order_id}", _execution(fill)


def _execution(fill: Fill) -> str:
    return f"{fill.session} {fill.side * fill.quantity} of {fill.sid} at {_plain(fill.price)} fee {_plain(fill.fee)} for {fill.client_order_id}"


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
    session: date,
    notifier: Notifier,
    *,
    now: datetime,
) -> StageReport:
    """Compare the book's ledger and booked holdings with the venue's record after `session`, open each break once, tell somebody of the new ones.

    The venue must be synchronised to `session` and the session booked. Once a later session is booked nothing is compared:
    the venue tells how it stands, not how it stood.
    """
    booked = store.read(NAV, as_of=None, first=session, where={"book": book.name})["session"]
    if booked.len() and booked[-1] > session:
        reason = f"{booked[-1]} is booked: the venue's record has moved on from {session}, which was compared when it was the last"
        return StageReport(
            stage="reconcile",
            first=session,
            last=session,
            state="done",
            reason=reason,
            numbers={
                "breaks_found": 0,
                "breaks_new": 0,
                "breaks_open": len(breaks.listed(book.name)),
                "orders_compared": 0,
                "fills_compared": 0,
            },
        )
    holdings = holdings_of(store, book, session)
    ours = OurSide(
        orders=outbox.orders(book.name),
        fills=executions.fills(book.name),
        positions={s: q for s, q in holdings.quantities.items() if q},
        cash=holdings.cash,
    )
    theirs = TheirSide(
        orders=broker.orders(), fills=broker.executions(), positions=broker.positions(), cash=broker.cash()
    )
    found = reconcile(book, session, ours, theirs)
    new = [b for b in found if breaks.open(b, now=now)]
    if new:
        lines = "\n".join(f"{b.break_id} {b.kind} {b.subject}: ours {b.ours}, theirs {b.theirs}" for b in new)
        notifier.notify(
            "critical",
            f"{book.name}: {len(new)} new break(s) at {session}; the book trades no more until they are resolved",
            lines,
        )
    still_open = len(breaks.listed(book.name))
    numbers = {
        "breaks_found": len(found),
        "breaks_new": len(new),
        "breaks_open": still_open,
        "orders_compared": len(theirs.orders),
        "fills_compared": len(theirs.fills),
    }
    return StageReport(
        stage="reconcile",
        first=session,
        last=session,
        state="done",
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
    clock: Clock,
    notifier: Notifier,
    sessions: Sequence[date],
) -> Iterator[StageReport]:
    """Compare each book with its venue after the last of the sessions."""
    for book in books:
        broker, now = brokers.open(book), clock.now()
        yield reconcile_session(outbox, executions, breaks, broker, store, book, max(sessions), notifier, now=now)
