"""What became of a session's orders: those that came to nothing are counted, and are not fine."""

from collections.abc import Mapping, Sequence
from datetime import date

from quant_assets.calendars.auctions import CLOSE
from quant_assets.execution.turns import Turn
from quant_assets.ports import Outbox
from quant_assets.records import SLOT, Book, OrderState, StageReport, Working
from quant_assets.strategy import Strategy

STAGE = "deliver"
RECONCILED = "reconciled"  # the fact that a session was compared with the venue
NOT_SENT = "not_sent"  # the fact that orders were beyond the book's limits: a sentence for each, a line each
NO_NUMBERS: Mapping[str, float] = {}
FAILED: Mapping[str, OrderState] = {
    "rejected": OrderState.REJECTED,
    "expired": OrderState.EXPIRED,
    "canceled": OrderState.CANCELED,
    "held": OrderState.HELD,
}
"""The names of the counts, by which a delivery reports them."""


def counted(orders: Sequence[Working]) -> dict[str, int]:
    """How many of the orders came to each of `FAILED`."""
    nothing = [w.state for w in orders if came_to_nothing(w)]
    return {name: nothing.count(state) for name, state in FAILED.items()}


def came_to_nothing(one: Working) -> bool:
    """Whether an order is not fine. One of a bar that its bar did not fill whole is: the next slot decides anew."""
    within = one.order.slot not in {SLOT, CLOSE}
    return one.state in FAILED.values() and not (within and one.state is OrderState.EXPIRED and one.filled)


def in_words(failed: Mapping[str, int], orders: int) -> str:
    """The counts in a sentence; empty where every order is fine."""
    parts = [f"{n} {name}" for name, n in failed.items() if n]
    return f"of {orders} order(s) {', '.join(parts)}" if parts else ""


def outcome(
    outbox: Outbox,
    book: Book,
    strategy: Strategy,
    turn: Turn,
    *,
    unsure: int,
    sent: int = 0,
    over: Sequence[str] = (),
) -> StageReport:
    """The report on the set that is bound at a turn: what became of its orders so far. Refused where every one of them
    came to nothing.
    """
    session, all_of = turn.decided, outbox.orders(book.name, since=turn.decided)
    orders = [w for w in all_of if w.order.strategy == strategy.name and turn.has(w.order)]
    failed = counted(orders)
    numbers = {
        "orders": len(orders),
        "sent": sent,
        "over_limit": len(over),
        "unsure": unsure + sum(w.state in {OrderState.UNKNOWN, OrderState.HELD} for w in orders),
        "notional": float(sum(w.order.quantity * w.order.reference_price for w in orders)),
        **failed,
    }
    if not orders:
        reason = "every order is beyond the book's limits" if over else "the decisions ask for no trade"
        return ended(session, "empty", reason, numbers=numbers, notes=over)
    state = "refused" if sum(failed.values()) == len(orders) else "done"
    return ended(session, state, in_words(failed, len(orders)), numbers=numbers, rows=len(orders), notes=over)


def ended(
    session: date,
    state: str,
    reason: str,
    *,
    numbers: Mapping[str, float] = NO_NUMBERS,
    rows: int = 0,
    notes: Sequence[str] = (),
) -> StageReport:
    """The report on a delivery."""
    return StageReport(
        stage=STAGE,
        first=session,
        last=session,
        state=state,
        reason=reason,
        rows=rows,
        numbers=numbers,
        notes=tuple(notes),
    )
