"""Delivery at the slots of a session: what a slot decided leaves before its bar is over, from what the evening before
held and what was executed since.

What the session's own delivery does with the orders of an open (`quant_assets.execution.delivery`), a slot does within
the session: nothing is booked there, and the venue's record is compared with ours once the session is over.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

import polars as pl

from quant_assets.books.apart import apart
from quant_assets.books.booking import holdings_of, paid_in
from quant_assets.books.holdings import Holdings, Movement, fund, move
from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot, slot_named
from quant_assets.errors import DeliveryRefused, LeaseLost, Tampered
from quant_assets.execution.contracts import with_terms
from quant_assets.execution.delivery import REFUSED, binding_set, known_there, symbols_of
from quant_assets.execution.drop_copy import booked_of, opens_of, reported_since
from quant_assets.execution.leaving import leaving
from quant_assets.execution.outbox import LEASE_SECONDS, OPEN, expire, recover, send
from quant_assets.execution.outcome import RECONCILED, ended, outcome
from quant_assets.execution.slots import held_at, priced_in, slot_orders, slots_of
from quant_assets.features.intraday import OnBars
from quant_assets.moments import Every
from quant_assets.ports import (
    Breaks,
    Broker,
    Brokers,
    Clock,
    Executions,
    Facts,
    KillSwitch,
    Notifier,
    Outbox,
    Store,
    TradesSlots,
)
from quant_assets.records import SLOT, Book, OrderState, StageReport
from quant_assets.strategy import Strategy


def collect_slots(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    brokers: Brokers,
    books: Sequence[Book],
    strategies: Sequence[Strategy],
    on_bars: Sequence[OnBars],
    cuts: Cuts,
    clock: Clock,
    notifier: Notifier,
    asked: Sequence[Slot],
) -> Iterator[StageReport]:
    """Book what each book's venue executed in the session of the last slot so far. The tables have it when the session
    is over; until then the venue's record is read from the same cursor.
    """
    session = asked[-1].session

    def one(book: Book) -> StageReport:
        broker, now = brokers.open(book), clock.now()
        strategy = next(s for s in strategies if s.name == book.strategy)
        if isinstance(broker, TradesSlots):
            broker.trade([s for s in slots_of(strategy, cuts, session) if s.settles <= now])
        at_slots = opens_of(store, book, strategies, on_bars, cuts)
        with outbox.lease(book, LEASE_SECONDS) as writer:
            events = reported_since(broker, executions.cursor(book.name))
            about = (store, outbox, executions, writer, broker, book, cuts, session, now)
            taken = booked_of(*about, events, at_slots)
        if taken.changed:
            notifier.notify("warning", f"{book.name}: the venue changed its record", "\n".join(taken.changed))
        state, numbers = "done" if taken.new else "empty", {"booked": len(taken.new)}
        return StageReport(stage="fills", first=session, last=session, state=state, numbers=numbers)

    for book in books:
        yield apart("fills", book, session, notifier, partial(one, book))


def deliver_slots(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    kill_switch: KillSwitch,
    breaks: Breaks,
    brokers: Brokers,
    books: Sequence[Book],
    strategies: Sequence[Strategy],
    cuts: Cuts,
    clock: Clock,
    notifier: Notifier,
    facts: Facts,
    asked: Sequence[Slot],
) -> Iterator[StageReport]:
    """Deliver the decisions of each slot to the venue of every book that trades them. Why nothing was delivered is
    recorded as the fact `refused` of the slot; of slots that are over one notice is given.
    """
    by_name = {s.name: s for s in strategies}

    def one(book: Book, slot: Slot) -> StageReport:
        strategy, before = by_name[book.strategy], cuts.decided_before(slot.session)
        if book.armed and RECONCILED not in facts.recorded(book.name, SLOT).get(before, {}):
            why = f"NOT_RECONCILED: {before} was not compared with the venue"
            report = ended(slot.session, "refused", why)
        else:
            about = (store, outbox, executions, kill_switch, breaks, brokers.open(book), book, strategy, cuts)
            report = deliver_slot(*about, slot, clock, notifier)
        if outbox.bound(book.name, strategy.name, slot.session, slot.slot) is None:
            facts.record(book.name, slot.session, slot.slot, REFUSED, report.reason, now=clock.now())
        return report

    for book in books:
        over = [s for s in asked if book.armed and _over(outbox, book, s, clock.now())]
        if over:
            yield _too_late(facts, notifier, book, over, clock.now())
    for slot in asked:
        for book in books:
            if not (book.armed and _over(outbox, book, slot, clock.now())):
                yield apart("deliver", book, slot.session, notifier, partial(one, book, slot))


def _over(outbox: Outbox, book: Book, slot: Slot, now: datetime) -> bool:
    """Whether nothing is bound for a slot, and nothing of it may leave any longer."""
    return now >= slot.valid_until and outbox.bound(book.name, book.strategy, slot.session, slot.slot) is None


def _too_late(facts: Facts, notifier: Notifier, book: Book, over: Sequence[Slot], now: datetime) -> StageReport:
    """Record slots that nothing was delivered for in time, with one notice of those not recorded yet."""
    new = [s for s in over if REFUSED not in facts.recorded(book.name, s.slot).get(s.session, {})]
    for slot in new:
        why = f"EXPIRED: the slot was valid until {slot.valid_until:%Y-%m-%d %H:%M} UTC, it is {now:%Y-%m-%d %H:%M}"
        facts.record(book.name, slot.session, slot.slot, REFUSED, why, now=now)
    first, last = over[0], over[-1]
    reason = f"EXPIRED: {len(over)} slot(s) were not delivered in time, {first.slot} to {last.slot}"
    if new:
        body = f"{', '.join(s.slot for s in new)}; see docs/operations.md, LATE"
        notifier.notify("critical", f"{book.name}: {len(new)} slot(s) of {last.session} were too late", body)
    return ended(last.session, "refused", reason)


def deliver_slot(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    kill_switch: KillSwitch,
    breaks: Breaks,
    broker: Broker,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    slot: Slot,
    clock: Clock,
    notifier: Notifier,
) -> StageReport:
    """Send the orders of the decisions of a slot, and what an interrupted run left of it; what an earlier slot left is
    EXPIRED. The report is as of `deliver`, of this slot's orders.
    """
    if not book.armed:
        reason = f"NOT_ARMED: {book.name} is not armed in the deployment"
        return ended(slot.session, "empty", reason, numbers={"orders": 0, "sent": 0})
    moment, session = strategy.moment, slot.session
    assert isinstance(moment, Every)  # noqa: S101  # the strategy of a lane of slots
    try:
        with outbox.lease(book, LEASE_SECONDS) as writer:
            unsure = recover(outbox, writer, broker, book, clock=clock, notifier=notifier)
            expire(outbox, writer, book, clock=clock, calendar=cuts.calendar, notifier=notifier, every=moment)
            now = clock.now()
            decisions = binding_set(store, outbox, writer, book, strategy, session, now, notifier, slot.slot)
            if now >= slot.valid_until and _all_left(outbox, book, strategy, slot):
                return outcome(outbox, book, strategy, session, unsure=unsure, slot=slot.slot)
            _may_trade(kill_switch, breaks, book, cuts, moment, slot, now, decisions)
            holdings = _holdings(store, outbox, executions, book, strategy, cuts, slot, decisions)
            symbols = symbols_of(store, slot.cut, set(holdings.quantities) - set(decisions["sid"]))
            over: list[str] = []
            if outbox.bound(book.name, strategy.name, session, slot.slot) is None:
                working = outbox.orders(book.name, OPEN)
                orders, over = slot_orders(strategy, book, cuts, decisions, holdings, symbols, working)
                set_id = decisions["decision_set_id"][0]
                writer.bind(book.name, strategy.name, session, set_id, orders, now=clock.now(), slot=slot.slot)
            known_there(outbox, broker, book)
            compare = leaving(outbox, book, decisions, holdings, session, session, priced_in(decisions), symbols)
            about = (outbox, writer, broker, book)
            sent = send(*about, clock=clock, calendar=cuts.calendar, notifier=notifier, compare=compare, slot=slot)
    except (DeliveryRefused, LeaseLost) as refusal:
        severity = "critical" if isinstance(refusal, Tampered) else "warning"
        notifier.notify(severity, f"{book.name}: nothing delivered for {session} {slot.slot}", str(refusal))
        return ended(session, "refused", str(refusal))
    if over:
        subject = f"{book.name}: {len(over)} order(s) beyond the book's limits were not sent"
        notifier.notify("warning", subject, "\n".join(over))
    return outcome(outbox, book, strategy, session, unsure=unsure, sent=sent, over=over, slot=slot.slot)


def _all_left(outbox: Outbox, book: Book, strategy: Strategy, slot: Slot) -> bool:
    """Whether a set is bound at a slot, and none of its orders waits to be sent."""
    about = (slot.session, slot.slot)
    waiting = outbox.orders(book.name, (OrderState.PENDING,), since=slot.session)
    bound = outbox.bound(book.name, strategy.name, *about) is not None
    return bound and not any((w.order.session, w.order.slot) == about for w in waiting)


def _may_trade(
    kill_switch: KillSwitch,
    breaks: Breaks,
    book: Book,
    cuts: Cuts,
    moment: Every,
    slot: Slot,
    now: datetime,
    decisions: pl.DataFrame,
) -> None:
    """Raise DeliveryRefused where something forbids the delivery of a slot."""
    switch = kill_switch.state(book)
    if switch.on:
        raise DeliveryRefused(f"KILL_SWITCH: {switch.reason} (on for {switch.scope})")
    there = slot_named(cuts.calendar, moment, slot.session, slot.slot)
    if there is None:
        raise DeliveryRefused(f"CLOSED: {slot.session} has no slot {slot.slot} now")
    if set(decisions["valid_until"]) != {there.valid_until}:
        raise DeliveryRefused(f"CLOSED: the bar of {slot.session} {slot.slot} is not the one it was decided for")
    if now >= there.valid_until:
        raise DeliveryRefused(f"EXPIRED: the decisions were valid until {there.valid_until}, it is {now}")
    if broken := breaks.listed(book.name):
        raise DeliveryRefused(
            f"OPEN_BREAKS: {len(broken)} unexplained difference(s) with the venue, the first {broken[0]['break_id']}; "
            "`quant breaks list`"
        )


def _holdings(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    slot: Slot,
    decisions: pl.DataFrame,
) -> Holdings:
    """What the book holds at a slot: the evening before and what orders of other slots came to since. Raises
    DeliveryRefused where that evening is not booked.
    """
    session, before = slot.session, cuts.decided_before(slot.session)
    evening, paid = holdings_of(store, book, before), paid_in(store, book)
    if paid is None or evening.session != before:
        raise DeliveryRefused(f"NOT_BOOKED: {book.name} is not booked up to {before}, the evening before {session}")
    begin, _ = fund(evening, book.capital, paid)
    own = {
        w.order.client_order_id
        for w in outbox.orders(book.name, since=session)
        if (w.order.session, w.order.slot) == (session, slot.slot)
    }
    fills = [f for f in executions.fills(book.name, session, session) if f.client_order_id not in own and f.quantity]
    sids = {f.exec_id: f.sid for f in fills}
    fees = [
        Movement(sid=sids[c.execution], kind="fee", reference=c.exec_id, amount=-c.fee)
        for _, c in executions.fees(book.name, session, session)
        if c.execution in sids
    ]
    names = [*decisions["sid"], *(f.sid for f in fills)]
    begun = with_terms(store, book, begin, names, slots_of(strategy, cuts, session)[0].cut)
    return held_at(move(begun, fees), fills, decisions, session)
