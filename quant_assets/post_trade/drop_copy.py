"""The venue's own record comes home: executions are booked once, orders take the state that the venue gives them."""

from datetime import date

from quant_assets.market_data.calendars import Cuts
from quant_assets.ports import Broker, Ledger, Store
from quant_assets.post_trade.booking import record_fills, record_orders
from quant_assets.records import Book, StageReport


def collect(store: Store, ledger: Ledger, broker: Broker, book: Book, cuts: Cuts, session: date) -> StageReport:
    """Book the venue's executions up to `session` in the ledger, write FILLS and ORDERS. Again: a no-op."""
    fills = [f for f in broker.executions() if f.session <= session]
    new = sum(ledger.book_fill(book.name, f) for f in fills)
    standing = {order.client_order_id: (state, filled) for order, state, filled in ledger.orders(book.name)}
    for theirs in broker.orders():
        if theirs.client_order_id in standing and standing[theirs.client_order_id] != (theirs.state, theirs.filled):
            ledger.transition(theirs.client_order_id, theirs.state, filled=theirs.filled, broker_order_id=theirs.broker_order_id, reason=theirs.reason)
    written = record_fills(store, book, fills, cuts.of(session)) + record_orders(store, book, session, ledger.orders(book.name), cuts.of(session))
    today = [f for f in fills if f.session == session]
    return StageReport(
        stage="fills",
        first=session,
        last=session,
        state="done" if today else "empty",
        reason="" if today else "the venue executed nothing in this session",
        rows=written,
        numbers={"fills": len(today), "booked": new, "notional": float(sum(f.quantity * f.price for f in today))},
    )
