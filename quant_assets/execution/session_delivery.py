"""Delivery once a session: what was decided at its cut leaves for the auction that comes next."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import partial

import polars as pl

from quant_assets.books.apart import apart
from quant_assets.books.booking import holdings_of
from quant_assets.books.holdings import Holdings
from quant_assets.calendars import Cuts
from quant_assets.calendars.auctions import auction_time
from quant_assets.contract import in_force
from quant_assets.errors import DeliveryRefused
from quant_assets.execution.delivery import Occasion, deliver_turn, recorded
from quant_assets.execution.together import here, noted, order_together
from quant_assets.execution.turns import after
from quant_assets.market_data.quality import released, session_hash
from quant_assets.ports import Breaks, Broker, Brokers, Clock, Facts, KillSwitch, Notifier, Outbox, SharesAccount, Store
from quant_assets.records import Book, StageReport
from quant_assets.strategy import Strategy
from quant_assets.tables import BARS, VERDICTS


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
    """Send the orders of the decisions of `session`, and what an interrupted run left; see `deliver_turn`."""
    occasion = Occasion(
        turn=after(cuts, session),
        clear=partial(_clear, store, cuts, session),
        holdings=partial(_evening, store, book, session),
    )
    about = (store, outbox, kill_switch, breaks, broker, book, strategy, cuts)
    return deliver_turn(*about, occasion, clock, notifier)


def _clear(store: Store, cuts: Cuts, session: date, decisions: pl.DataFrame, now: datetime) -> None:
    """Raise DeliveryRefused where the decisions of a session are not those for the next auction, or its data is not
    released.
    """
    valid_until = decisions["valid_until"].min()
    if not isinstance(valid_until, datetime) or now >= valid_until:
        raise DeliveryRefused(f"EXPIRED: the decisions were valid until {valid_until}, it is {now}")
    following = cuts.calendar.after(session)
    auction = cuts.auction(session)
    next_one = auction_time(cuts.calendar, following, auction)
    if next_one not in set(decisions["valid_until"]):
        raise DeliveryRefused(
            f"CLOSED: decided for the {auction} at {valid_until:%Y-%m-%d %H:%M} UTC, which does not come; the next is "
            f"that of {following} at {next_one:%Y-%m-%d %H:%M}, and nothing is traded that was not "
            "decided for it"
        )
    _released(store, cuts, session)


def _evening(store: Store, book: Book, session: date, _: pl.DataFrame) -> Holdings:
    """What the book holds at the end of the session. Raises DeliveryRefused where it is not booked."""
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
    """Deliver the decisions of each session to the venue of every book that trades them; what books of one account want
    leaves together, once all of them have delivered. Why nothing was delivered is recorded as the fact `refused`.
    """
    by_name = {s.name: s for s in strategies}
    shared: dict[str, SharesAccount] = {}

    def one(book: Book, session: date) -> StageReport:
        def work() -> StageReport:
            broker = noted(brokers.open(book), book, shared)
            about = (store, outbox, kill_switch, breaks, broker, book, by_name[book.strategy], cuts)
            return deliver(*about, session, clock, notifier)

        return recorded(outbox, facts, book, after(cuts, session), clock, work)

    def together(shares: SharesAccount, session: date) -> StageReport:
        at = (here(shares, books), after(cuts, session), cuts, None)
        return order_together(outbox, kill_switch, shares, *at, clock, notifier)

    for session in sessions:
        for book in books:
            yield apart("deliver", book, session, notifier, partial(one, book, session))
        for account in shared.values():
            yield apart("deliver", account.account, session, notifier, partial(together, account, session))
