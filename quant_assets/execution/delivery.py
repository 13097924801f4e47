"""Delivery: the decision set of a session becomes orders at a book's venue, once; or a refusal that says why.

Any number of times and killed anywhere, the venue ends with the same orders. What triggers it is a hint.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial

import polars as pl

from quant_assets.books.apart import apart
from quant_assets.books.booking import holdings_of, past_of
from quant_assets.books.holdings import Holdings
from quant_assets.calendars import Cuts
from quant_assets.calendars.auctions import auction_time
from quant_assets.contract import in_force
from quant_assets.errors import DeliveryRefused, LeaseLost, OrderUncertain, RateUnknown, Tampered
from quant_assets.execution.contracts import endangered, prepared, whole_rolls
from quant_assets.execution.doubtful import expire_restated, without_doubtful
from quant_assets.execution.leaving import leaving
from quant_assets.execution.lending import lent_only
from quant_assets.execution.limits import exposure_of, within_limits
from quant_assets.execution.orders import orders_for, too_small
from quant_assets.execution.outbox import LEASE_SECONDS, OPEN, expire, recover, send
from quant_assets.execution.outcome import RECONCILED, ended, outcome
from quant_assets.market_data.quality import released, session_hash
from quant_assets.moments import Every
from quant_assets.ports import Breaks, Broker, Brokers, Clock, Facts, KillSwitch, Notifier, Outbox, Store, Writer
from quant_assets.records import SLOT, Book, Order, OrderState, StageReport
from quant_assets.signals.decide import first_recorded
from quant_assets.signals.rederived import altered, beyond
from quant_assets.strategy import Strategy
from quant_assets.tables import BARS, DECISIONS, LISTINGS, VERDICTS

REFUSED = "refused"  # the fact


def deliver(
    store: Store,
    outbox: Outbox,
    kill_switch: KillSwitch,
    breaks: Breaks,
    broker: Broker,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    session: date,
    clock: Clock,
    notifier: Notifier,
) -> StageReport:
    """Send the orders of the decisions of `session`, and what an interrupted run left.

    State: done | empty (nothing to trade, or the book is not armed) | refused (also where every order came to
    nothing). Numbers: orders (of the set that binds), sent, over_limit, unsure (the venue did not answer yet),
    notional, and of the orders rejected, expired, canceled and held.
    """
    if not book.armed and not book.research:
        # as declared, every day: nobody has to act on it
        reason = f"NOT_ARMED: {book.name} is not armed in the deployment"
        return ended(session, "empty", reason, numbers={"orders": 0, "sent": 0})
    try:
        if book.research:
            raise DeliveryRefused(f"RESEARCH_BOOK: {book.name} has no venue")  # noqa: TRY301  # one place reports every refusal
        with outbox.lease(book, LEASE_SECONDS) as writer:
            unsure = recover(outbox, writer, broker, book, clock=clock, notifier=notifier)
            expire(outbox, writer, book, clock=clock, calendar=cuts.calendar, notifier=notifier)
            now = clock.now()
            decisions = binding_set(store, outbox, writer, book, strategy, session, now, notifier)
            if now >= cuts.trades_at(session) and _all_left(outbox, book, strategy, session):
                # the open has passed and nothing waits for it: there is no delivery to refuse
                return outcome(outbox, book, strategy, session, unsure=unsure)
            holdings = _clear(store, kill_switch, breaks, book, cuts, session, now, decisions)
            decisions, holdings = _prepared(store, book, strategy, cuts, decisions, holdings)
            expire_restated(store, outbox, writer, book, cuts, now, notifier)
            trading = _trading(store, cuts, session)
            symbols = symbols_of(store, cuts.of(session), set(holdings.quantities) - set(decisions["sid"]))
            over = _bind(
                store,
                outbox,
                writer,
                book,
                strategy,
                cuts,
                decisions,
                holdings,
                trading,
                symbols,
                clock.now(),
                notifier,
            )
            known_there(outbox, broker, book)
            following = cuts.calendar.after(session)
            last = cuts.calendar.shift(following, strategy.good_for_sessions - 1)
            compare = leaving(outbox, book, decisions, holdings, following, last, trading, symbols)
            sent = send(
                outbox, writer, broker, book, clock=clock, calendar=cuts.calendar, notifier=notifier, compare=compare
            )
    except (DeliveryRefused, LeaseLost) as refusal:
        severity = "critical" if isinstance(refusal, Tampered) else "warning"
        notifier.notify(severity, f"{book.name}: nothing delivered for {session}", str(refusal))
        return ended(session, "refused", str(refusal))
    return outcome(outbox, book, strategy, session, unsure=unsure, sent=sent, over=over)


def _all_left(outbox: Outbox, book: Book, strategy: Strategy, session: date) -> bool:
    """Whether a set is bound, and neither of its orders nor of earlier ones any waits to be sent."""
    return outbox.bound(book.name, strategy.name, session) is not None and not outbox.orders(
        book.name, (OrderState.PENDING,)
    )


def binding_set(
    store: Store,
    outbox: Outbox,
    writer: Writer,
    book: Book,
    strategy: Strategy,
    session: date,
    now: datetime,
    notifier: Notifier,
    slot: str = SLOT,
) -> pl.DataFrame:
    """The DECISIONS rows of the set that binds, or would: the first recorded; of a slot, where the strategy decides at
    several of a session.

    Every other one is DIVERGED: recorded, and somebody is notified.
    """
    where = {"strategy": strategy.name} | ({"slot": slot} if isinstance(strategy.moment, Every) else {})
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


def known_there(outbox: Outbox, broker: Broker, book: Book) -> None:
    """Raise DeliveryRefused where the venue works an order that the outbox does not have: our record is older."""
    ours = {w.order.client_order_id for w in outbox.orders(book.name)}
    try:
        unknown = sorted({o.client_order_id for o in broker.open_orders()} - ours)
    except OrderUncertain as error:
        raise DeliveryRefused(f"VENUE: it cannot report its open orders: {error}") from error
    if unknown:
        raise DeliveryRefused(
            f"UNKNOWN_ORDERS: the venue works {len(unknown)} order(s) that the outbox does not have, the first "
            f"{unknown[0]}; cancel them there, or restore the newer ledger"
        )


def _trading(store: Store, cuts: Cuts, session: date) -> set[int]:
    """The names with a bar of the session, as known at its cut."""
    return set(in_force(store.read(BARS, as_of=cuts.of(session), first=session, last=session), BARS)["sid"])


def _clear(
    store: Store,
    kill_switch: KillSwitch,
    breaks: Breaks,
    book: Book,
    cuts: Cuts,
    session: date,
    now: datetime,
    decisions: pl.DataFrame,
) -> Holdings:
    """The holdings to trade from, where nothing forbids the delivery. Raises DeliveryRefused."""
    switch = kill_switch.state(book)
    if switch.on:
        raise DeliveryRefused(f"KILL_SWITCH: {switch.reason} (on for {switch.scope})")
    valid_until = decisions["valid_until"].min()
    if not isinstance(valid_until, datetime) or now >= valid_until:
        raise DeliveryRefused(f"EXPIRED: the decisions were valid until {valid_until}, it is {now}")
    following = cuts.calendar.after(session)
    auction = cuts.auction(session)
    next_one = auction_time(cuts.calendar, following, auction)
    if valid_until != next_one:
        raise DeliveryRefused(
            f"CLOSED: decided for the {auction} at {valid_until:%Y-%m-%d %H:%M} UTC, which does not come; the next is "
            f"that of {following} at {next_one:%Y-%m-%d %H:%M}, and nothing is traded that was not "
            "decided for it"
        )
    _released(store, cuts, session)
    if broken := breaks.listed(book.name):
        raise DeliveryRefused(
            f"OPEN_BREAKS: {len(broken)} unexplained difference(s) with the venue, the first {broken[0]['break_id']}; "
            "`quant breaks list`"
        )
    holdings = holdings_of(store, book, session)
    if holdings.session != session:
        raise DeliveryRefused(
            f"NOT_BOOKED: {book.name} is booked up to {holdings.session}, the decisions are of {session}"
        )
    return holdings


def _released(store: Store, cuts: Cuts, session: date) -> None:
    """Raise DeliveryRefused unless the session's bars, as known at its cut, were judged and no blocking rule failed."""
    cut = cuts.of(session)
    content = session_hash(in_force(store.read(BARS, as_of=cut, first=session, last=session), BARS))
    verdicts = store.read(VERDICTS, as_of=None, first=session, last=session, where={"content_hash": content})
    good, why = released(verdicts, session, content)
    if not good:
        raise DeliveryRefused(f"DATA: {why}")


def _bind(
    store: Store,
    outbox: Outbox,
    writer: Writer,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    decisions: pl.DataFrame,
    holdings: Holdings,
    trading: Collection[int],
    symbols: Mapping[int, str],
    now: datetime,
    notifier: Notifier,
) -> list[str]:
    """Commit the set and its orders together, unless one is bound.

    Returns a sentence for each order beyond the book's limits.
    """
    session = holdings.session
    if outbox.bound(book.name, strategy.name, session) is not None:
        return []
    working = outbox.orders(book.name, OPEN)
    asked = orders_for(
        book,
        strategy,
        decisions,
        holdings,
        working,
        cuts.calendar.after(session),
        cuts.calendar,
        symbols,
    )
    if not asked and (why := too_small(strategy, decisions, holdings)):
        raise DeliveryRefused(why)
    wanted, doubtful = without_doubtful(asked, holdings, past_of(store, book, cuts), cuts)
    wanted, unlent = lent_only(store, book, wanted, holdings, working, cuts)
    orders, refused = within_limits(book, wanted, exposure_of(holdings, working, wanted, trading))
    refused = [*doubtful, *unlent, *refused]
    orders, refused = whole_rolls(asked, orders, refused, holdings, cuts.calendar)
    writer.bind(book.name, strategy.name, session, decisions["decision_set_id"][0], orders, now=now)
    if late := endangered(
        holdings, [*orders, *(w.order for w in working)], cuts.calendar.after(session), cuts.calendar
    ):
        notifier.notify("critical", f"{book.name}: {len(late)} contract(s) would be delivered", "\n".join(late))
    over = [f"{_words(r.order)}: {r.reason}" for r in refused]
    if over:
        notifier.notify(
            "warning", f"{book.name}: {len(over)} order(s) beyond the book's limits were not sent", "\n".join(over)
        )
    return over


def _prepared(
    store: Store, book: Book, strategy: Strategy, cuts: Cuts, decisions: pl.DataFrame, holdings: Holdings
) -> tuple[pl.DataFrame, Holdings]:
    """The set as the book trades it, and its holdings with the terms of all names. Raises DeliveryRefused."""
    try:
        return prepared(store, book, strategy, cuts, decisions, holdings)
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


def deliver_books(
    store: Store,
    outbox: Outbox,
    kill_switch: KillSwitch,
    breaks: Breaks,
    brokers: Brokers,
    books: Sequence[Book],
    strategies: Sequence[Strategy],
    cuts: Cuts,
    clock: Clock,
    notifier: Notifier,
    facts: Facts,
    sessions: Sequence[date],
) -> Iterator[StageReport]:
    """Deliver the decisions of each session to the venue of every book that trades them. Why nothing was delivered is
    recorded as the fact `refused`.
    """
    by_name = {s.name: s for s in strategies}

    def one(book: Book, session: date) -> StageReport:
        strategy = by_name[book.strategy]
        if book.armed and RECONCILED not in facts.recorded(book.name, SLOT).get(session, {}):
            why = f"NOT_RECONCILED: {session} was not compared with the venue"
            report = ended(session, "refused", why)
        else:
            broker = brokers.open(book)
            report = deliver(store, outbox, kill_switch, breaks, broker, book, strategy, cuts, session, clock, notifier)
        if outbox.bound(book.name, strategy.name, session) is None:
            facts.record(book.name, session, SLOT, REFUSED, report.reason, now=clock.now())
        return report

    for session in sessions:
        for book in books:
            yield apart("deliver", book, session, notifier, partial(one, book, session))
