"""Orders of several books become those of their account: what crosses between books, and one order for the rest.

A book's order is bound, limited and stopped as that of a book alone. Its venue is the account: the order waits there
(ACKED) until all books of the turn have delivered, or were refused. Then what waits is netted, and the account's orders
are committed in one transaction with what each book's order is of them, and leave by the outbox as any other.
"""

from collections.abc import Sequence
from itertools import groupby

import msgspec

from quant_assets.books.netting import netted
from quant_assets.calendars import Cuts
from quant_assets.errors import DeliveryRefused, LeaseLost, OrderUncertain
from quant_assets.execution.delivery import known_there
from quant_assets.execution.orders import client_order_id
from quant_assets.execution.outbox import LEASE_SECONDS, UNSURE, Check, expire, recover, send
from quant_assets.execution.outcome import ended
from quant_assets.execution.turns import Turn
from quant_assets.moments import Every
from quant_assets.ports import Broker, Clock, KillSwitch, Notifier, Outbox, SharesAccount, Writer
from quant_assets.records import Book, Order, OrderState, Part, StageReport, Working, content_id

NETTED = "netted"  # the strategy of an account's orders; later ones of one turn have a number behind it


def noted(broker: Broker, book: Book, shared: dict[str, SharesAccount]) -> Broker:
    """The venue of a book, noted in `shared` under its account where other books trade that too."""
    if isinstance(broker, SharesAccount):
        shared[book.account] = broker
    return broker


def here(shares: SharesAccount, books: Sequence[Book]) -> list[Book]:
    """Those of the books that trade the account; others of it may trade at other moments."""
    names = {b.name for b in shares.books}
    return [b for b in books if b.name in names]


def account_orders(
    account: Book, orders: Sequence[Order], slot: str, strategy: str = NETTED
) -> tuple[list[Order], list[Part]]:
    """The account's orders for those of its books, all of one turn (bound under `slot`), and what each of these is of
    them. An account's order is good as long as those that it is of.
    """
    made: list[Order] = []
    parts: list[Part] = []
    ranked = sorted(orders, key=lambda o: (o.sid, o.book, o.client_order_id))
    for sid, group in groupby(ranked, key=lambda o: o.sid):
        mine = {_name(o): o for o in group}
        found = netted({name: o.side * o.quantity for name, o in mine.items()})
        parents: dict[str, str] = {}
        for n, good_till in enumerate(sorted({mine[name].good_till for name in found.left}), 1):
            those = [name for name in found.left if mine[name].good_till == good_till]
            first, leg = mine[those[0]], "net" if n == 1 else f"net-{n}"
            key = client_order_id(account.name, strategy, first.decided, slot, sid, leg)
            parents |= dict.fromkeys(those, key)
            made.append(
                Order(
                    client_order_id=key,
                    book=account.name,
                    strategy=strategy,
                    decided=first.decided,
                    session=first.session,
                    good_till=good_till,
                    slot=first.slot,
                    sid=sid,
                    leg=leg,
                    symbol=first.symbol,
                    side=first.side,
                    quantity=sum(abs(found.left[name]) for name in those),
                    reference_price=first.reference_price,
                    decision_id=first.decision_id,
                )
            )
        parts += [
            Part(
                client_order_id=o.client_order_id,
                account=account.name,
                book=o.book,
                session=o.session,
                slot=o.slot,
                sid=sid,
                side=o.side,
                parent=parents.get(name, ""),
                crossed=abs(found.crossed.get(name, 0)),
                ordered=abs(found.left.get(name, 0)),
            )
            for name, o in mine.items()
        ]
    return made, parts


def _name(order: Order) -> str:
    """Sorted by book first: of equal remainders that of the earlier book is given."""
    return f"{order.book} {order.client_order_id}"


def order_together(
    outbox: Outbox,
    kill_switch: KillSwitch,
    shares: SharesAccount,
    books: Sequence[Book],
    turn: Turn,
    cuts: Cuts,
    every: Every | None,
    clock: Clock,
    notifier: Notifier,
) -> StageReport:
    """Send what waits at an account for a turn, as one order for a name, and what an interrupted run left of it.

    `books`: those of the account that trade at the turn; `every`: where it is of slots. A book whose kill switch is on
    takes no part. State: done | empty | refused. Numbers: account_orders, account_sent, crossed (counts), unsure.
    """
    account, venue, calendar = shares.account, shares.venue, cuts.calendar
    try:
        with outbox.lease(account, LEASE_SECONDS) as writer:
            unsure = recover(outbox, writer, venue, account, clock=clock, notifier=notifier)
            expire(outbox, writer, account, clock=clock, calendar=calendar, notifier=notifier, every=every)
            waits = waiting(outbox, shares, books, turn)
            if (waits and clock.now() < turn.over) or outbox.orders(account.name, (OrderState.PENDING,)):
                known_there(outbox, venue, account.name, *(b.name for b in shares.books))
            if waits and clock.now() < turn.over:
                _bind(outbox, kill_switch, writer, account, books, turn, waits, clock)
            check = _as_parted(outbox, kill_switch, account, shares.books)
            about = (outbox, writer, venue, account)
            sent = send(*about, clock=clock, calendar=calendar, notifier=notifier, compare=check, slot=turn.slot)
    except (DeliveryRefused, LeaseLost) as refusal:
        notifier.notify("warning", f"account {account.account}: nothing sent for {turn.words}", str(refusal))
        return ended(turn.decided, "refused", str(refusal))
    orders = [w for w in outbox.orders(account.name, since=turn.decided) if turn.has(w.order)]
    crossed = sum(p.crossed for p in _parts(outbox, account, turn) if p.side > 0)
    numbers = {"account_orders": len(orders), "account_sent": sent, "crossed": crossed, "unsure": unsure}
    state = "done" if orders or crossed else "empty"
    return ended(turn.decided, state, "" if orders or crossed else "no order waits at the account", numbers=numbers)


def waiting(outbox: Outbox, shares: SharesAccount, books: Sequence[Book], turn: Turn) -> list[Order]:
    """The orders of a turn that reached their account and are not part of an order of it yet; one that the venue has
    itself left while its book was alone there.
    """
    taken = {p.client_order_id for p in outbox.parts(shares.account.name, since=turn.session)}
    found = [w.order for b in books for w in outbox.orders(b.name, (OrderState.ACKED,), since=turn.decided)]
    ours = [o for o in found if turn.has(o) and o.session == turn.session and o.client_order_id not in taken]
    try:
        return [o for o in ours if shares.venue.find(o.client_order_id) is None]
    except OrderUncertain as error:
        raise DeliveryRefused(f"VENUE: it cannot be asked about orders: {error}") from error


def as_sent(outbox: Outbox, account: str, orders: Sequence[Working]) -> list[Working]:
    """The orders of a book of a shared account, in the order given: one that waits there, or whose account's order was
    not sent yet, is as PENDING as that.
    """
    parts = {p.client_order_id: p for p in outbox.parts(account)}
    unsent = {w.order.client_order_id: w.state for w in outbox.orders(account, (OrderState.PENDING, *UNSURE))}

    def state(item: Working) -> OrderState:
        part = parts.get(item.order.client_order_id)
        if item.state is not OrderState.ACKED:
            return item.state
        return OrderState.PENDING if part is None else unsent.get(part.parent, item.state)

    return [msgspec.structs.replace(w, state=state(w)) for w in orders]


def _parts(outbox: Outbox, account: Book, turn: Turn) -> list[Part]:
    slots = None if turn.slot is None else {turn.slot.slot}
    found = outbox.parts(account.name, since=turn.session)
    return [p for p in found if p.session == turn.session and (slots is None or p.slot in slots)]


def _bind(
    outbox: Outbox,
    kill_switch: KillSwitch,
    writer: Writer,
    account: Book,
    books: Sequence[Book],
    turn: Turn,
    waits: Sequence[Order],
    clock: Clock,
) -> None:
    """Commit the account's orders for what waits, of books that no switch stops."""
    may = {b.name for b in books if not kill_switch.state(b).on}
    if not (orders := [o for o in waits if o.book in may]):
        return
    strategy, n = NETTED, 1
    while outbox.bound(account.name, strategy, turn.decided, turn.name) is not None:
        n += 1  # a book that was late goes by itself
        strategy = f"{NETTED}-{n}"
    made, parts = account_orders(account, orders, turn.name, strategy)
    about = (account.name, strategy, turn.decided, content_id(*sorted(o.client_order_id for o in orders)))
    writer.bind(*about, made, now=clock.now(), slot=turn.name, parts=parts)


def _as_parted(outbox: Outbox, kill_switch: KillSwitch, account: Book, books: Sequence[Book]) -> Check:
    """The check of an account's order: it is what books ordered of it, and none of them was stopped since."""
    stopped = {b.name: switch.reason for b in books if (switch := kill_switch.state(b)).on}

    def check(order: Order) -> tuple[OrderState, str] | None:
        mine = [p for p in outbox.parts(account.name, since=order.session) if p.parent == order.client_order_id]
        if sum(p.side * p.ordered for p in mine) != order.side * order.quantity:
            return OrderState.HELD, "TAMPERED: it is not what the books ordered of it"
        off = next((f"{p.book}: {stopped[p.book]}" for p in mine if p.book in stopped), None)
        return (OrderState.CANCELED, f"KILL_SWITCH: {off}") if off else None

    return check
