"""The venue's record becomes ours: what it reported since our cursor is booked once, and our orders take its states.

One way, once: ask the venue → book its executions, and reverse those that it changed → book fees that came apart → move
our orders → write FILLS and ORDERS → advance the cursor. The cursor comes last, so a run that is killed anywhere asks
again for what it did not finish.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec
import polars as pl

from quant_assets.books.booking import record_fills, record_orders
from quant_assets.books.holdings import exact
from quant_assets.calendars import Cuts
from quant_assets.calendars.auctions import closing
from quant_assets.contract import in_force as rows_in_force
from quant_assets.contract import known_by
from quant_assets.errors import CursorUnknown
from quant_assets.execution.corrections import Step, charged_on, effective, fee_entries, in_force, reversal, steps
from quant_assets.execution.follow import after_the_end, follow, restate
from quant_assets.execution.outbox import LEASE_SECONDS
from quant_assets.execution.slots import opens, tradable
from quant_assets.execution.turns import slots_of
from quant_assets.features.bars_read import bars_of
from quant_assets.features.intraday import OnBars
from quant_assets.ports import (
    Advances,
    Broker,
    Executions,
    Outbox,
    Store,
    Writer,
)
from quant_assets.records import (
    VERSION,
    Book,
    Commission,
    Events,
    Execution,
    Fill,
    Order,
    OrderState,
    StageReport,
    Working,
)
from quant_assets.strategy import Strategy
from quant_assets.tables import BARS, ORDERS

AtSlots = Callable[[Sequence[Order]], Mapping[str, Decimal]]
"""By client order id the open of the bar in which an order of a slot trades, where it is known."""
RECENT = timedelta(days=31)  # orders decided within it are compared with ORDERS, and older ones that were open last


def collect(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    broker: Broker,
    book: Book,
    cuts: Cuts,
    session: date,
    now: datetime,
    *,
    whole: bool = False,
    at_slots: AtSlots | None = None,
) -> StageReport:
    """Book what the venue reported up to `session` and write FILLS and ORDERS. Again: a no-op.

    A venue that can advance (paper) trades up to the close of `session` first. What belongs to a later session stays at
    the venue until that session is collected. `whole`: what our cursor has passed is looked at again too. `at_slots`:
    where the book trades at slots, the opens of their bars. `notes` has what the venue changed of what was booked.
    Raises LeaseLost where another process writes the account.
    """
    if isinstance(broker, Advances):
        broker.advance(session)
    with outbox.lease(book, LEASE_SECONDS) as writer:
        events = reported_since(broker, None if whole else executions.cursor(book.name))
        taken = booked_of(store, outbox, executions, writer, broker, book, cuts, session, now, events, at_slots)
        written = record_fills(store, book, taken.known, cuts.of(session))
        written += record_orders(store, book, session, to_record(store, outbox, book, session), cuts.of(session))
        if not taken.later and events.cursor != executions.cursor(book.name):
            executions.advance(book.name, events.cursor)
    return report(executions, book, session, taken.new, [*reversed_in(taken.new), *taken.changed], written)


def report(
    executions: Executions, book: Book, session: date, new: Sequence[Fill], corrected: Sequence[str], written: int
) -> StageReport:
    """The report on what was collected: `new` entries, what was `corrected` in words, how many rows were written."""
    today = effective(executions.fills(book.name, session, session)).values()
    return StageReport(
        stage="fills",
        first=session,
        last=session,
        state="done" if today or new else "empty",
        reason="" if today or new else "the venue executed nothing in this session",
        rows=written,
        numbers={
            "fills": len(today),
            "booked": len(new),
            "corrected": len(corrected),
            "notional": float(sum(f.quantity * f.price for f in today)),
        },
        notes=tuple(corrected),
    )


class Taken(NamedTuple):
    """What was booked of a report of the venue: `new` entries, all that is `known` of their trades with its fees, what
    the venue `changed`, in words, and whether executions of a `later` session are left there.
    """

    new: list[Fill]
    known: list[Fill]
    changed: list[str]
    later: bool


def booked_of(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    writer: Writer,
    broker: Broker,
    book: Book,
    cuts: Cuts,
    session: date,
    now: datetime,
    events: Events,
    at_slots: AtSlots | None = None,
) -> Taken:
    """Book the executions and fees that the venue reported up to `session`, and move our orders. Again: a no-op."""
    due = [e for e in events.executions if session_at(cuts, e.ts) <= session]
    later = {e.exec_id for e in events.executions} - {e.exec_id for e in due}
    apart = [c for c in events.commissions if c.exec_id not in later]
    booked = _trades(executions, book, due, apart)
    fees = _fees(executions, book, cuts, booked, apart)
    entries = _entries(store, outbox, book, cuts, session, due, booked, fees, at_slots)
    new = [f for f in entries if executions.book_fill(book.name, f)]
    charged = fee_entries(_stated(due, apart), [*booked, *new], fees)
    for fee in charged:
        executions.book_fee(book.name, fee, session=session)
    late = after_the_end(outbox, book, new, session - RECENT)
    follow(outbox, writer, book, events.orders, now)
    changed = restate(outbox, writer, broker, book, events.orders, new, session - RECENT, now)
    paid = charged_on([*booked, *new], [*fees, *charged])
    known = [msgspec.structs.replace(f, fee=paid[f.exec_id]) for f in [*booked, *new]]
    return Taken(new, known, [*late, *changed], bool(later))


def session_at(cuts: Cuts, ts: datetime) -> date:
    """The session to which an execution at `ts` belongs: the last one that had opened by then. Where names of other
    venues are traded too, the one by whose cut its venue closes.
    """
    calendar = cuts.calendar
    if cuts.beside:
        day = calendar.on_or_before(calendar.local(ts).date() - timedelta(days=1))
        return next(s for s in calendar.between(day, calendar.last) if cuts.of(s) >= ts)
    session = calendar.on_or_before(calendar.local(ts).date())
    if calendar.open(session) > ts:
        return calendar.before(session)
    following = calendar.after(session)  # of futures, it opens on the evening before
    return following if calendar.open(following) <= ts else session


def reported_since(broker: Broker, cursor: str | None) -> Events:
    """What the venue reported since the cursor; or all that it vouches for where it does not know the cursor."""
    try:
        return broker.events(cursor)
    except CursorUnknown:
        return broker.events(None)


def _trades(
    executions: Executions, book: Book, reported: Sequence[Execution], apart: Sequence[Commission]
) -> Sequence[Fill]:
    """What is booked of the trades that were reported."""
    names = {e.exec_id for e in reported} | {e.corrects for e in reported} | {c.exec_id for c in apart}
    return executions.trades(book.name, names - {""}) if names else []


def _fees(
    executions: Executions, book: Book, cuts: Cuts, booked: Sequence[Fill], apart: Sequence[Commission]
) -> Sequence[Commission]:
    """The fees booked apart from these trades: none is seen before the session in which its execution was made, if that
    is booked.
    """
    if not booked and not apart:
        return []
    known = {c.exec_id for c in apart} <= {f.reported_as for f in booked}
    first = session_at(cuts, min(f.ts for f in booked)) if known else None
    return [fee for _, fee in executions.fees(book.name, first)]


def _stated(reported: Sequence[Execution], apart: Sequence[Commission]) -> dict[str, Decimal]:
    """The fees that the venue states, by execution; that which comes with the execution counts."""
    with_it = {e.exec_id: e.fee for e in in_force(reported).values() if e.fee is not None}
    return {c.exec_id: c.fee for c in apart} | with_it


def _entries(
    store: Store,
    outbox: Outbox,
    book: Book,
    cuts: Cuts,
    session: date,
    reported: Sequence[Execution],
    booked: Sequence[Fill],
    fees: Sequence[Commission],
    at_slots: AtSlots | None,
) -> list[Fill]:
    """What is to be booked: new executions as ours, and of changed ones the reversal and the version in force.

    A new one belongs to its own session; what changes an earlier one belongs to the session that saw it, and keeps the
    arrival price. The arrival price is the open of the session's bar as known at its cut; where there is none the
    order's reference price, and for an order that we do not know the price of the execution itself. Of an order of a
    slot it is the open of that bar.
    """
    plan = steps(reported, booked)
    charged = charged_on(booked, fees)
    before = {f.exec_id: f for f in booked} | {f.reported_as: f for f in booked if not f.reverses}
    for passed in (e for step in plan for e in step.passed if e.corrects in before):
        before[passed.exec_id] = before[passed.corrects]
    new = {s.exec_id: s.version for s in plan if s.version and s.version.quantity and s.corrects not in before}
    sessions = {exec_id: session_at(cuts, e.ts) for exec_id, e in new.items()}
    arrivals = (
        _arrivals(store, outbox, book, cuts, new, sessions)
        if at_slots is None
        else _slot_arrivals(outbox, book, new, at_slots)
    )
    entries: list[Fill] = []
    for step in plan:
        entries += [reversal(f, charged[f.exec_id], session) for f in step.reverse]
        for passed in step.passed:
            nothing = msgspec.structs.replace(passed, quantity=0)
            link = Step(reverse=(), version=nothing, exec_id=passed.exec_id, corrects=passed.corrects)
            entries.append(_fill(link, session, _kept(before.get(passed.corrects), passed), Decimal(0)))
        if step.version is not None:
            first = before.get(step.corrects)
            arrival = arrivals.get(step.exec_id, _kept(first, step.version))
            fee = charged[first.exec_id] if first and first.reported_as == step.version.exec_id else Decimal(0)
            entries.append(_fill(step, sessions.get(step.exec_id, session), arrival, fee))
    return entries


def _kept(first: Fill | None, version: Execution) -> Decimal:
    """The arrival price of what is corrected; of what we never booked, and of another asset, the price itself."""
    return first.arrival_price if first and first.sid == version.sid else version.price


def _arrivals(
    store: Store,
    outbox: Outbox,
    book: Book,
    cuts: Cuts,
    new: Mapping[str, Execution],
    sessions: Mapping[str, date],
) -> dict[str, Decimal]:
    """The arrival price of each new execution."""
    if not new:
        return {}
    # what is executed from the close on is measured against it
    auctions = {key: "close" if e.ts >= closing(cuts.calendar, sessions[key]) else "open" for key, e in new.items()}
    found = {a: auction_prices(store, cuts, set(sessions.values()), a) for a in sorted(set(auctions.values()))}
    market = {key: found[auctions[key]].get((sessions[key], e.sid)) for key, e in new.items()}
    orders = {w.order.client_order_id: w.order for w in outbox.orders(book.name)} if None in market.values() else {}
    return {key: market[key] or _reference(orders, e) for key, e in new.items()}


def _slot_arrivals(outbox: Outbox, book: Book, new: Mapping[str, Execution], at_slots: AtSlots) -> dict[str, Decimal]:
    """The arrival price of each new execution of a book that trades at slots."""
    ids = {e.client_order_id for e in new.values()}
    orders = {w.order.client_order_id: w.order for w in outbox.orders(book.name) if w.order.client_order_id in ids}
    known = at_slots(list(orders.values()))
    return {key: known.get(e.client_order_id) or _reference(orders, e) for key, e in new.items()}


def opens_of(
    store: Store, book: Book, strategies: Sequence[Strategy], on_bars: Sequence[OnBars], cuts: Cuts
) -> AtSlots | None:
    """The opens of the bars in which a book's orders trade; None where it does not trade at slots."""
    strategy = next((s for s in strategies if s.name == book.strategy), None)
    bars = bars_of(strategy, on_bars) if strategy else None
    if strategy is None or bars is None:
        return None
    stored = (store, strategy, bars, cuts)

    def known(orders: Sequence[Order]) -> Mapping[str, Decimal]:
        wanted = {(o.session, o.slot) for o in orders}
        asked = [s for session in sorted({o.session for o in orders}) for s in slots_of(strategy, cuts, session)]
        market = opens(*stored, [s for s in asked if (s.session, s.slot) in wanted])
        found = {
            (*key, sid): exact(price)
            for key, there in market.items()
            for sid, price in tradable(there).select("sid", "open").iter_rows()
        }
        keys = {o.client_order_id: (o.session, o.slot, o.sid) for o in orders}
        return {name: found[key] for name, key in keys.items() if key in found}

    return known


def _reference(orders: Mapping[str, Order], execution: Execution) -> Decimal:
    order = orders.get(execution.client_order_id)
    return execution.price if order is None else order.reference_price


def auction_prices(store: Store, cuts: Cuts, sessions: set[date], auction: str) -> dict[tuple[date, int], Decimal]:
    """The opens or closes by session and sid, as known at the cut of each session."""
    first, last = min(sessions), max(sessions)
    bars = store.read(BARS, as_of=cuts.of(last), first=first, last=last).partition_by("session", as_dict=True)
    opens: dict[tuple[date, int], Decimal] = {}
    for session in sessions:
        known = rows_in_force(known_by(bars.get((session,), BARS.empty()), cuts.of(session)), BARS)
        usable = known.filter(pl.col(auction).is_finite(), pl.col(auction) > 0)
        opens |= {(session, sid): exact(price) for sid, price in usable.select("sid", auction).iter_rows()}
    return opens


def _fill(step: Step, session: date, arrival: Decimal, fee: Decimal) -> Fill:
    """The version as ours. `fee`: where the venue reports it apart; one without a quantity has none."""
    version = step.version
    assert version is not None  # noqa: S101  # asked before
    return Fill(
        exec_id=step.exec_id,
        client_order_id=version.client_order_id,
        session=session,
        sid=version.sid,
        side=version.side,
        quantity=version.quantity,
        price=version.price,
        fee=Decimal(0) if not version.quantity else fee if version.fee is None else version.fee,
        arrival_price=arrival,
        ts=version.ts,
        corrects=step.corrects,
    )


def reversed_in(entries: Sequence[Fill]) -> list[str]:
    """A sentence for each execution that was reversed."""
    instead = {f.corrects: f for f in entries if f.corrects and f.quantity and not f.reverses}
    found: list[str] = []
    for entry in entries:
        if entry.reverses:
            now = instead.get(entry.corrects) or instead.get(entry.corrects.partition(VERSION)[0])
            by = f"; the venue reports {now.side * now.quantity} at {now.price:f}" if now else ""
            was = f"{-entry.side * entry.quantity} of sid {entry.sid} at {entry.price:f}"
            found.append(f"execution {entry.corrects} of {was} is reversed{by}")
    return found


def to_record(store: Store, outbox: Outbox, book: Book, session: date) -> Sequence[Working]:
    """The orders that may have a row of `session` to be written: the recent ones, and those open when rows were last
    written.
    """
    first = session - RECENT
    rows = store.read(ORDERS, as_of=None, first=first, last=session, where={"book": book.name})
    if rows.is_empty():
        return outbox.orders(book.name)
    ended = [s.value for s in OrderState if s.terminal]
    last = rows.filter(pl.col("session") == pl.col("session").max(), ~pl.col("state").is_in(ended))
    return outbox.orders(book.name, since=min([first, *last["decided"].to_list()]))
