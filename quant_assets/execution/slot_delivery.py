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
from quant_assets.books.booking import holdings_of, paid_in, past_of
from quant_assets.books.holdings import Holdings, Movement, fund, move
from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.errors import DeliveryRefused
from quant_assets.execution.collecting import Copied, copy_account, opens_together
from quant_assets.execution.contracts import with_terms
from quant_assets.execution.delivery import REFUSED, Occasion, deliver_turn, recorded
from quant_assets.execution.drop_copy import booked_of, opens_of, reported_since
from quant_assets.execution.outbox import LEASE_SECONDS
from quant_assets.execution.outcome import ended
from quant_assets.execution.slots import held_at
from quant_assets.execution.together import here, noted, order_together
from quant_assets.execution.turns import Turn, at, slots_of
from quant_assets.features.intraday import OnBars
from quant_assets.moments import Every, Moment
from quant_assets.ports import (
    Breaks,
    Brokers,
    Clock,
    Executions,
    Facts,
    KillSwitch,
    Notifier,
    Outbox,
    SharesAccount,
    Store,
    TradesSlots,
)
from quant_assets.records import Book, Fill, StageReport
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
        venue = broker.venue if isinstance(broker, SharesAccount) else broker
        if isinstance(venue, TradesSlots):
            venue.trade([s for s in slots_of(strategy, cuts, session) if s.settles <= now])
        if isinstance(broker, SharesAccount):
            copied = together(broker, strategy.moment, now)
            return reported(book, copied.entries(book), copied.changed.get(book.name, ()))
        at_slots = opens_of(store, book, strategies, on_bars, cuts)
        with outbox.lease(book, LEASE_SECONDS) as writer:
            events = reported_since(broker, executions.cursor(book.name))
            about = (store, outbox, executions, writer, broker, book, cuts, session, now)
            taken = booked_of(*about, events, at_slots)
        return reported(book, taken.new, taken.changed)

    def together(broker: SharesAccount, moment: Moment, now: datetime) -> Copied:
        those = here(broker, books)
        at_slots, over = opens_together(store, those, strategies, on_bars, cuts), cuts.calendar.before(session)
        about = (store, outbox, executions, broker, those, cuts, session, now, over)
        return copy_account(*about, at_slots=at_slots, every=moment)

    def reported(book: Book, new: Sequence[Fill], changed: Sequence[str]) -> StageReport:
        if changed:
            notifier.notify("warning", f"{book.name}: the venue changed its record", "\n".join(changed))
        state, numbers = "done" if new else "empty", {"booked": len(new)}
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
    shared: dict[str, SharesAccount] = {}

    def one(book: Book, slot: Slot) -> StageReport:
        strategy = by_name[book.strategy]
        occasion = _occasion(store, outbox, executions, book, strategy, cuts, slot)

        def work() -> StageReport:
            broker = noted(brokers.open(book), book, shared)
            about = (store, outbox, kill_switch, breaks, broker, book, strategy, cuts)
            return deliver_turn(*about, occasion, clock, notifier)

        return recorded(outbox, facts, book, occasion.turn, clock, work)

    def together(shares: SharesAccount, slot: Slot) -> StageReport:
        those = here(shares, books)
        strategy = by_name[those[0].strategy]
        turn = _occasion(store, outbox, executions, those[0], strategy, cuts, slot).turn
        every = strategy.moment if isinstance(strategy.moment, Every) else None
        return order_together(outbox, kill_switch, shares, those, turn, cuts, every, clock, notifier)

    for book in books:
        over = [s for s in asked if book.armed and _over(outbox, book, s, clock.now())]
        if over:
            yield _too_late(facts, notifier, book, over, clock.now())
    for slot in asked:
        for book in books:
            if not (book.armed and _over(outbox, book, slot, clock.now())):
                yield apart("deliver", book, slot.session, notifier, partial(one, book, slot))
        for account in shared.values():
            yield apart("deliver", account.account, slot.session, notifier, partial(together, account, slot))


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


def _occasion(
    store: Store, outbox: Outbox, executions: Executions, book: Book, strategy: Strategy, cuts: Cuts, slot: Slot
) -> Occasion:
    """What a delivery asks of a slot."""
    there = slots_of(strategy, cuts, slot.session) or [slot]
    turn = at(slot, there[0].cut, cuts.decided_before(slot.session))
    held = partial(_holdings, store, outbox, executions, book, cuts, turn)
    return Occasion(turn, partial(_clear, strategy, cuts, slot), held)


def _clear(strategy: Strategy, cuts: Cuts, slot: Slot, decisions: pl.DataFrame, now: datetime) -> None:
    """Raise DeliveryRefused where the venue does not trade in the bar that was decided for, or that bar is over."""
    there = next((s for s in slots_of(strategy, cuts, slot.session) if s.slot == slot.slot), None)
    if there is None:
        raise DeliveryRefused(f"CLOSED: {slot.session} has no slot {slot.slot} now")
    if set(decisions["valid_until"]) != {there.valid_until}:
        raise DeliveryRefused(f"CLOSED: the bar of {slot.session} {slot.slot} is not the one it was decided for")
    if now >= there.valid_until:
        raise DeliveryRefused(f"EXPIRED: the decisions were valid until {there.valid_until}, it is {now}")


def _holdings(
    store: Store,
    outbox: Outbox,
    executions: Executions,
    book: Book,
    cuts: Cuts,
    turn: Turn,
    decisions: pl.DataFrame,
) -> Holdings:
    """What the book holds at a slot: the evening before and what orders of other slots came to since. Raises
    DeliveryRefused where that evening is not booked.
    """
    session, before = turn.session, turn.booked
    evening, paid = holdings_of(store, book, before), paid_in(store, book)
    if paid is None or evening.session != before:
        raise DeliveryRefused(f"NOT_BOOKED: {book.name} is not booked up to {before}, the evening before {session}")
    begin, _ = fund(evening, book.capital, paid)
    own = {w.order.client_order_id for w in outbox.orders(book.name, since=session) if turn.has(w.order)}
    fills = [f for f in executions.fills(book.name, session, session) if f.client_order_id not in own and f.quantity]
    sids = {f.exec_id: f.sid for f in fills}
    fees = [
        Movement(sid=sids[c.execution], kind="fee", reference=c.exec_id, amount=-c.fee)
        for _, c in executions.fees(book.name, session, session)
        if c.execution in sids
    ]
    begun = with_terms(store, book, begin, [*decisions["sid"], *(f.sid for f in fills)], turn.cut)
    return held_at(move(begun, fees), fills, decisions, past_of(store, book, cuts), cuts, session)
