"""Delivery: the decision set of a turn becomes orders at a book's venue, once; or a refusal that says why.

Any number of times and killed anywhere, the venue ends with the same orders. What triggers it is a hint.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from quant_assets.books.booking import past_of
from quant_assets.books.holdings import Holdings
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.errors import DeliveryRefused, LeaseLost, OrderUncertain, RateUnknown, Tampered
from quant_assets.execution.contracts import endangered, prepared
from quant_assets.execution.doubtful import expire_restated
from quant_assets.execution.leaving import leaving
from quant_assets.execution.orders import good_till
from quant_assets.execution.outbox import LEASE_SECONDS, OPEN, expire, recover, send
from quant_assets.execution.outcome import NOT_SENT, RECONCILED, ended, outcome
from quant_assets.execution.sizing import sized
from quant_assets.execution.turns import Turn, trading
from quant_assets.moments import Every
from quant_assets.ports import Breaks, Broker, Clock, Facts, KillSwitch, Notifier, Outbox, Store, Writer
from quant_assets.records import SLOT, Book, Order, OrderState, StageReport
from quant_assets.signals.decide import first_recorded
from quant_assets.signals.rederived import altered, beyond
from quant_assets.strategy import Strategy
from quant_assets.tables import DECISIONS, LISTINGS

REFUSED = "refused"  # the fact


@dataclass(frozen=True)
class Occasion:
    """A turn to deliver, and what differs between a session and a slot: what must hold of the decisions at a time
    (raises DeliveryRefused), and from which holdings it trades.
    """

    turn: Turn
    clear: Callable[[pl.DataFrame, datetime], None]
    holdings: Callable[[pl.DataFrame], Holdings]


def deliver_turn(
    store: Store,
    outbox: Outbox,
    kill_switch: KillSwitch,
    breaks: Breaks,
    broker: Broker,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    occasion: Occasion,
    clock: Clock,
    notifier: Notifier,
) -> StageReport:
    """Send the orders of the decisions of a turn, and what an interrupted run left of it.

    State: done | empty (nothing to trade, or the book is not armed) | refused (also where every order came to
    nothing). Numbers: orders (of the set that binds), sent, over_limit, unsure (the venue did not answer yet),
    notional, and of the orders rejected, expired, canceled and held.
    """
    turn, calendar = occasion.turn, cuts.calendar
    if not book.armed and not book.research:
        # as declared, every day: nobody has to act on it
        reason = f"NOT_ARMED: {book.name} is not armed in the deployment"
        return ended(turn.decided, "empty", reason, numbers={"orders": 0, "sent": 0})
    try:
        if book.research:
            raise DeliveryRefused(f"RESEARCH_BOOK: {book.name} has no venue")  # noqa: TRY301  # one place reports every refusal
        with outbox.lease(book, LEASE_SECONDS) as writer:
            every = strategy.moment if isinstance(strategy.moment, Every) else None
            unsure = recover(outbox, writer, broker, book, clock=clock, notifier=notifier)
            expire(outbox, writer, book, clock=clock, calendar=calendar, notifier=notifier, every=every)
            now = clock.now()
            decisions = binding_set(store, outbox, writer, book, strategy, turn, now, notifier)
            if now >= turn.over and _all_left(outbox, book, strategy, turn):
                # its time has passed and nothing waits for it: there is no delivery to refuse
                return outcome(outbox, book, strategy, turn, unsure=unsure)
            _allowed(kill_switch, breaks, book, occasion, decisions, now)
            decisions, holdings = _prepared(store, book, strategy, cuts, occasion, decisions)
            expire_restated(store, outbox, writer, book, cuts, now, notifier)
            trades = trading(store, turn, decisions)
            symbols = symbols_of(store, turn.cut, set(holdings.quantities) - set(decisions["sid"]))
            found = (decisions, holdings, trades, symbols)
            over = _bind(store, outbox, writer, book, strategy, cuts, turn, *found, clock.now(), notifier)
            known_there(outbox, broker, book.name)
            last = good_till(strategy, turn.session, calendar)
            compare = leaving(outbox, book, decisions, holdings, turn.session, last, trades, symbols)
            about = (outbox, writer, broker, book)
            sent = send(*about, clock=clock, calendar=calendar, notifier=notifier, compare=compare, slot=turn.slot)
    except (DeliveryRefused, LeaseLost) as refusal:
        severity = "critical" if isinstance(refusal, Tampered) else "warning"
        notifier.notify(severity, f"{book.name}: nothing delivered for {turn.words}", str(refusal))
        return ended(turn.decided, "refused", str(refusal))
    return outcome(outbox, book, strategy, turn, unsure=unsure, sent=sent, over=over)


def _all_left(outbox: Outbox, book: Book, strategy: Strategy, turn: Turn) -> bool:
    """Whether a set is bound at a turn, and none of its orders waits to be sent."""
    waiting = outbox.orders(book.name, (OrderState.PENDING,), since=turn.decided)
    bound = outbox.bound(book.name, strategy.name, turn.decided, turn.name)
    return bound is not None and not any(turn.has(w.order) for w in waiting)


def binding_set(
    store: Store,
    outbox: Outbox,
    writer: Writer,
    book: Book,
    strategy: Strategy,
    turn: Turn,
    now: datetime,
    notifier: Notifier,
) -> pl.DataFrame:
    """The DECISIONS rows of the set that binds at a turn, or would: the first recorded.

    Every other one is DIVERGED: recorded, and somebody is notified.
    """
    session, slot = turn.decided, turn.name
    where = {"strategy": strategy.name} | ({} if turn.slot is None else {"slot": slot})
    rows = store.read(DECISIONS, as_of=None, first=session, last=session, where=where)
    if rows.is_empty():
        raise DeliveryRefused(f"NO_DECISIONS: {strategy.name} has decided nothing for {session}")
    about = (book.name, strategy.name, session)
    bound = outbox.bound(*about, slot)
    chosen = first_recorded(rows)["decision_set_id"][0] if bound is None else bound
    if bound is not None:
        for other in sorted(set(rows["decision_set_id"]) - {bound}):
            writer.bind(*about, other, (), now=now, slot=slot)
            notifier.notify(
                "critical",
                f"{book.name}: DIVERGED for {session}",
                f"decision set {other} is not {bound}, which binds; it orders nothing. A person may look into why.",
            )
    decisions = rows.filter(pl.col("decision_set_id") == chosen)
    if decisions.is_empty():
        raise DeliveryRefused(f"DIVERGED: the set {chosen} binds for {session} but is not among the stored decisions")
    if why := altered(decisions):
        raise Tampered(f"TAMPERED: {why}; `quant why {session}`, and compare `decisions` with a backup")
    if why := beyond(decisions, strategy.limits):
        raise DeliveryRefused(f"LIMITS: {why}")
    return decisions


def known_there(outbox: Outbox, broker: Broker, *books: str) -> None:
    """Raise DeliveryRefused where the venue works an order that the outbox has of none of these books: our record is
    older.
    """
    ours = {w.order.client_order_id for name in books for w in outbox.orders(name)}
    try:
        unknown = sorted({o.client_order_id for o in broker.open_orders()} - ours)
    except OrderUncertain as error:
        raise DeliveryRefused(f"VENUE: it cannot report its open orders: {error}") from error
    if unknown:
        raise DeliveryRefused(
            f"UNKNOWN_ORDERS: the venue works {len(unknown)} order(s) that the outbox does not have, the first "
            f"{unknown[0]}; cancel them there, or restore the newer ledger"
        )


def _allowed(
    kill_switch: KillSwitch, breaks: Breaks, book: Book, occasion: Occasion, decisions: pl.DataFrame, now: datetime
) -> None:
    """Raise DeliveryRefused where something forbids the delivery."""
    switch = kill_switch.state(book)
    if switch.on:
        raise DeliveryRefused(f"KILL_SWITCH: {switch.reason} (on for {switch.scope})")
    occasion.clear(decisions, now)
    if broken := breaks.listed(book.name):
        raise DeliveryRefused(
            f"OPEN_BREAKS: {len(broken)} unexplained difference(s) with the venue, the first {broken[0]['break_id']}; "
            "`quant breaks list`"
        )


def _bind(
    store: Store,
    outbox: Outbox,
    writer: Writer,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    turn: Turn,
    decisions: pl.DataFrame,
    holdings: Holdings,
    trades: Collection[int],
    symbols: Mapping[int, str],
    now: datetime,
    notifier: Notifier,
) -> list[str]:
    """Commit the set and its orders together, unless one is bound.

    Returns a sentence for each order beyond the book's limits.
    """
    if outbox.bound(book.name, strategy.name, turn.decided, turn.name) is not None:
        return []
    working = outbox.orders(book.name, OPEN)
    about = (decisions, holdings, working, past_of(store, book, cuts), trades, symbols)
    orders, refused, nothing = sized(store, book, strategy, cuts, turn, *about)
    if nothing:
        raise DeliveryRefused(nothing)
    set_id = decisions["decision_set_id"][0]
    writer.bind(book.name, strategy.name, turn.decided, set_id, orders, now=now, slot=turn.name)
    left = [*orders, *(w.order for w in working)]
    if late := endangered(holdings, left, turn.session, cuts.calendar):
        notifier.notify("critical", f"{book.name}: {len(late)} contract(s) would be delivered", "\n".join(late))
    over = [f"{_words(r.order)}: {r.reason}" for r in refused]
    if over:
        notifier.notify(
            "warning", f"{book.name}: {len(over)} order(s) beyond the book's limits were not sent", "\n".join(over)
        )
    return over


def _prepared(
    store: Store, book: Book, strategy: Strategy, cuts: Cuts, occasion: Occasion, decisions: pl.DataFrame
) -> tuple[pl.DataFrame, Holdings]:
    """The set as the book trades it, and its holdings with the terms of all names. Raises DeliveryRefused."""
    try:
        return prepared(store, book, strategy, cuts, occasion.turn, decisions, occasion.holdings(decisions))
    except RateUnknown as error:
        raise DeliveryRefused(f"FX: {error}") from error


def symbols_of(store: Store, cut: datetime, sids: set[int]) -> dict[int, str]:
    """What the instruments are called, as known at the cut."""
    if not sids:
        return {}
    listed: Sequence[tuple[int, str]] = (
        in_force(store.read(LISTINGS, as_of=cut), LISTINGS).sort("session").select("sid", "symbol").rows()
    )
    return {sid: symbol for sid, symbol in listed if sid in sids}


def _words(order: Order) -> str:
    return f"{'buy' if order.side > 0 else 'sell'} {order.quantity} {order.symbol}"


def recorded(
    outbox: Outbox, facts: Facts, book: Book, turn: Turn, clock: Clock, work: Callable[[], StageReport]
) -> StageReport:
    """What `work` delivers of a turn, where the evening from which it trades was compared with the venue. Why nothing
    was delivered is recorded as the fact `refused`, what was beyond the limits of the book as `not_sent`.
    """
    if book.armed and RECONCILED not in facts.recorded(book.name, SLOT).get(turn.booked, {}):
        why = f"NOT_RECONCILED: {turn.booked} was not compared with the venue"
        report = ended(turn.decided, "refused", why)
    else:
        report = work()
    if outbox.bound(book.name, book.strategy, turn.decided, turn.name) is None:
        facts.record(book.name, turn.decided, turn.name, REFUSED, report.reason, now=clock.now())
    elif report.numbers.get("over_limit"):
        facts.record(book.name, turn.decided, turn.name, NOT_SENT, "\n".join(report.notes), now=clock.now())
    return report
