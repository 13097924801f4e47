"""What is done of a session, by stored rows: decided, bound, sent, booked, compared with the venue, published."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import slots
from quant_assets.execution.delivery import REFUSED
from quant_assets.execution.outcome import NOT_SENT, RECONCILED, counted
from quant_assets.execution.together import as_sent
from quant_assets.moments import Every
from quant_assets.ports import Clock, Facts, Outbox, Store
from quant_assets.post_trade.report import PUBLISHED
from quant_assets.records import SLOT, Book, Frozen, OrderState, Working
from quant_assets.signals.decide import first_recorded
from quant_assets.signals.guardrails import TRADE
from quant_assets.tables import DECISIONS, NAV

FINAL = ("CLOSED", "EXPIRED")
"""Refusals of a delivery that no later run can turn: the open has passed, or does not come."""
_WAITING = (OrderState.PENDING, OrderState.SUBMITTING, OrderState.UNKNOWN)


class Done(Frozen, frozen=True):
    """What is done of a session of a book.

    `decided`: its strategy decided. `trades`: a decision asks for a trade. `bound`: a decision set binds (of a
    strategy that decides at slots, each has one or was refused). `orders`: those of the session. `refused`: why
    nothing was delivered, as it was recorded last. `not_sent`: a line for each order beyond the book's limits.
    `passed`: no later run can deliver. `booked`: NAV has the session. `reconciled`: it was compared with the venue.
    `published`: its page is there.
    """

    decided: bool
    trades: bool
    armed: bool
    bound: bool
    orders: tuple[Working, ...]
    refused: str
    not_sent: str
    passed: bool
    booked: bool
    reconciled: bool
    published: bool

    @property
    def waiting(self) -> int:
        """Orders that were not sent, or of which the venue's answer is not known yet."""
        return sum(w.state in _WAITING for w in self.orders)

    @property
    def failed(self) -> Mapping[str, int]:
        """How many of the orders were rejected, expired, canceled or held."""
        return counted(self.orders)

    @property
    def delivered(self) -> bool:
        """Whether the delivery is over: every order has left or expired, or there is a refusal that stays."""
        if self.bound:
            return not self.waiting
        return bool(self.refused) and (self.passed or not self.armed or not self.trades)

    @property
    def next_job(self) -> str | None:
        """The job that goes on with the session; None where all is done."""
        if not (self.decided and self.booked and self.reconciled):
            return "daily"
        if not self.delivered:
            return "deliver"
        return None if self.published else "post_trade"


def done(
    store: Store,
    outbox: Outbox,
    facts: Facts,
    cuts: Cuts,
    clock: Clock | None,
    book: Book,
    sessions: Sequence[date],
    page: Callable[[str], bool],
    *,
    shared: bool = False,
) -> Mapping[date, Done]:
    """What is done of each of the sessions (ascending).

    `clock`: the wall, or None in a historical run, which goes on as its sessions are run. `page`: whether a published
    page, by its name, is still there.
    `shared`: whether other books trade its account, where its orders wait for theirs.
    """
    if not sessions:
        return {}
    first, last = sessions[0], sessions[-1]
    rows = store.read(
        DECISIONS,
        as_of=None,
        first=first,
        last=last,
        where={"strategy": book.strategy},
        columns=("decision_set_id", "recorded_at", "verdict"),
    )
    decisions = first_recorded(rows)
    decided, trades = (set(d["session"]) for d in (decisions, decisions.filter(pl.col("verdict") == TRADE)))
    booked = set(store.read(NAV, as_of=None, first=first, where={"book": book.name}, columns=())["session"])
    recorded, orders = facts.recorded(book.name, SLOT), outbox.orders(book.name, since=first)
    if shared:
        orders = as_sent(outbox, book.account, orders)
    bound = _bound(outbox, facts, cuts, book)
    now = clock.now() if clock else None
    begun = min(recorded, default=None)  # sessions before it were run by a release that recorded no facts

    def one(session: date) -> Done:
        known = recorded.get(session, {})
        earlier = bool(booked) and session in booked and session < max(booked) and (begun is None or session < begun)
        refused = known.get(REFUSED, "by an earlier release" if earlier else "")
        return Done(
            decided=session in decided,
            trades=session in trades,
            armed=book.armed,
            bound=bound(session),
            orders=tuple(w for w in orders if w.order.decided == session),
            refused=refused,
            not_sent=known.get(NOT_SENT, ""),
            passed=earlier or refused.startswith(FINAL) or (now is not None and now >= cuts.trades_at(session)),
            booked=session in booked,
            reconciled=earlier or RECONCILED in known,
            published=earlier or (PUBLISHED in known and page(known[PUBLISHED])),
        )

    return {session: one(session) for session in sessions}


def _bound(outbox: Outbox, facts: Facts, cuts: Cuts, book: Book) -> Callable[[date], bool]:
    """Whether a set is bound for a session; of a strategy that decides at slots, whether each of them has one or was
    refused.
    """
    moment, about = cuts.moment, (book.name, book.strategy)
    if not isinstance(moment, Every):
        return lambda session: outbox.bound(*about, session) is not None

    def every(session: date) -> bool:
        return all(
            outbox.bound(*about, session, slot.slot) is not None
            or REFUSED in facts.recorded(book.name, slot.slot).get(session, {})
            for slot in slots(cuts.calendar, moment, session)
        )

    return every
