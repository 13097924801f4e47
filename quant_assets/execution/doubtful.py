"""Orders on names whose shares may have been restated without a known action: they are not sent."""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.books.explained import Past, waiting
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.execution.limits import Refused
from quant_assets.market_data.adjustment import ENDING, SPLITS
from quant_assets.ports import Notifier, Outbox, Store, Writer
from quant_assets.records import Book, Order, OrderState
from quant_assets.tables import ACTIONS


def without_doubtful(
    orders: Sequence[Order], past: Past, cuts: Cuts, booked: date
) -> tuple[list[Order], list[Refused]]:
    """The orders on names whose price is explained at the end of the session `booked`, in the order given, and the
    others, each with why it stays.
    """
    since = waiting([o.sid for o in orders], past, cuts, booked)
    refused = [
        Refused(
            order=o,
            reason=f"PRICE_UNEXPLAINED: its price jumped on {since[o.sid]} by a ratio that no known action explains",
        )
        for o in orders
        if o.sid in since
    ]
    return [o for o in orders if o.sid not in since], refused


def expire_restated(
    store: Store, outbox: Outbox, writer: Writer, book: Book, cuts: Cuts, now: datetime, notifier: Notifier
) -> None:
    """Record as EXPIRED what is PENDING and counts other shares than will trade: since it was decided, a split, merger
    or delisting became known that is ex by its session.
    """
    pending = [w.order for w in outbox.orders(book.name, (OrderState.PENDING,))]
    if not pending:
        return
    acted = store.read(ACTIONS, as_of=now, last=max(o.session for o in pending)).filter(
        pl.col("sid").is_in([o.sid for o in pending]), pl.col("kind").is_in((*SPLITS, *ENDING))
    )
    known = in_force(acted, ACTIONS).select("sid", "session", "kind", "known_at").rows()
    for order in pending:
        found = [
            f"{kind} ex {ex}"
            for sid, ex, kind, at in known
            if sid == order.sid and ex <= order.session and at > cuts.of(order.decided)
        ]
        if found:
            why = f"CORPORATE_ACTION: {found[0]} became known after it was decided"
            writer.transition(order.client_order_id, OrderState.EXPIRED, now=now, reason=why)
            notifier.notify("warning", f"{book.name}: order {order.client_order_id} expired unsent", why)
