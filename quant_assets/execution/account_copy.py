"""What a venue executed of an account that several books trade, booked to the books that it is of.

The account's own record is kept as that of a book alone, under the account's name: executions, corrections, fees, the
states of its orders. Each entry of it is then booked to the books as their parts of it, in one transaction: a new
execution by what each still wants, what corrects it by what each had. What crossed between books is booked to both at
the price of the auction. So the parts add up to the account's record, whatever arrives, and in whatever order.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec

from quant_assets.books.holdings import ALIKE
from quant_assets.books.netting import counts_of, fees_of
from quant_assets.books.terms import Terms
from quant_assets.execution.outbox import LEASE_SECONDS, allowed
from quant_assets.ports import Executions, Outbox, SharesAccount
from quant_assets.records import REVERSAL, VERSION, Book, Commission, Fill, OrderState, Part, Working

S = OrderState
CROSS = "cross-"  # begins the exec_id of what two books traded with each other


class Shared:
    """The books of an account by name with what is booked to them (`fills`, by exec_id), of which of the account's
    orders theirs are (`parts`, by parent), and whose the orders are that a book sent while it was alone (`owners`).
    `terms`: of the names.
    """

    def __init__(
        self,
        fills: Mapping[str, Sequence[Fill]],
        parts: Sequence[Part],
        owners: Mapping[str, str],
        terms: Terms = ALIKE,
    ) -> None:
        self.fills = {name: {f.exec_id: f for f in booked} for name, booked in fills.items()}
        self.owners = owners
        self.terms = terms
        self.parts: dict[str, list[Part]] = defaultdict(list)
        self.numbers: dict[str, int] = {}
        for part in sorted(parts, key=lambda p: (p.book, p.client_order_id)):
            # an execution is booked once for each order that one book has of one order of the account
            self.numbers[part.client_order_id] = sum(p.book == part.book for p in self.parts[part.parent])
            self.parts[part.parent].append(part)
        self._by_order: dict[str, list[Fill]] = defaultdict(list)
        for fill in (f for booked in self.fills.values() for f in booked.values()):
            self._by_order[fill.client_order_id].append(fill)

    def add(self, book: str, fill: Fill) -> None:
        """Count what was just booked."""
        self.fills[book][fill.exec_id] = fill
        self._by_order[fill.client_order_id].append(fill)

    def found(self, exec_id: str, part: Part) -> Fill | None:
        """What is booked to the book of a part of an entry of the account."""
        return self.fills[part.book].get(own_id(exec_id, self.numbers[part.client_order_id]))

    def paid(self, fill: Fill, quantity: int) -> Decimal:
        """What so many counts of a fill cost, fees apart; below zero what they bring."""
        worth = Decimal(0) if self.terms.margined(fill.sid) else self.terms.worth(fill.sid, quantity, fill.price)
        return fill.side * worth

    def filled(self, part: Part, *, crossed: bool) -> int:
        """How much of a book's order is executed: of what it ordered with others, or with what crossed."""
        mine = [f for f in self._by_order[part.client_order_id] if crossed or not f.exec_id.startswith(CROSS)]
        return sum(part.side * f.side * f.quantity for f in mine)


def own_id(exec_id: str, number: int) -> str:
    """The exec_id of an entry of the account as booked for the `number`-th of several orders of one book."""
    if not number:
        return exec_id
    if exec_id.endswith(REVERSAL):
        return own_id(exec_id.removesuffix(REVERSAL), number) + REVERSAL
    name, mark, version = exec_id.rpartition(VERSION)
    if mark and version.isdecimal():
        return f"{own_id(name, number)}{mark}{version}"
    return f"{exec_id}/{number + 1}"


def shared(outbox: Outbox, executions: Executions, shares: SharesAccount, terms: Terms = ALIKE) -> Shared:
    """What is booked of an account so far; `terms`: of the names that it trades."""
    parts = outbox.parts(shares.account.name)
    taken = {p.client_order_id for p in parts}
    orders = [w.order for b in shares.books for w in outbox.orders(b.name)]
    owners = {o.client_order_id: o.book for o in orders if o.client_order_id not in taken}
    return Shared({b.name: executions.fills(b.name) for b in shares.books}, parts, owners, terms)


def share_out(executions: Executions, account: Book, found: Shared, first: date | None) -> list[tuple[str, Fill]]:
    """Book what is recorded of the account since session `first` to its books; the new entries, with their book."""
    record = {f.exec_id: f for f in executions.fills(account.name)}
    # what is taken back is wanted again, and what replaces it is of those who had it
    since = (f for f in record.values() if first is None or f.session >= first)
    waits = sorted(since, key=lambda f: (not f.reverses, not f.corrects, f.session, f.ts, f.exec_id))
    new: list[tuple[str, Fill]] = []
    while waits:
        left: list[Fill] = []
        for entry in waits:
            split = _split(entry, record, found, executions)
            if split is None:
                left.append(entry)
                continue
            executions.book_shares(split)
            for name, fill in ((name, f) for name, fills in split.items() for f in fills):
                found.add(name, fill)
                new.append((name, fill))
        if len(left) == len(waits):
            break
        waits = left
    return new


def _split(
    entry: Fill, record: Mapping[str, Fill], found: Shared, executions: Executions
) -> dict[str, list[Fill]] | None:
    """What is to be booked of an entry of the account, by book: nothing where it is booked, or of no book; None where
    what it corrects is not booked yet.
    """
    if owner := found.owners.get(entry.client_order_id):
        return {} if entry.exec_id in found.fills[owner] else {owner: [entry]}
    named = {p.client_order_id: p for p in found.parts.get(entry.client_order_id, [])}
    if not named or any(found.found(entry.exec_id, p) for p in named.values()):
        return {}
    had = _had(entry, record, found, named)
    if had is None:
        return None
    ordered = {n: p.ordered for n, p in named.items()}
    open_ = {n: p.ordered - found.filled(p, crossed=False) for n, p in named.items()}
    kept = {n: min(count, open_[n]) for n, count in had.items()}
    rest = {n: open_[n] - max(0, kept.get(n, 0)) for n in named}
    counts = counts_of(entry.quantity, had) if entry.reverses else counts_of(entry.quantity, kept, rest, ordered)
    # each amount is rounded, and their sum is not what the account paid: the difference is charged with the fee
    fee = entry.fee + found.paid(entry, entry.quantity) - sum(found.paid(entry, n) for n in counts.values())
    fees = fees_of(fee, counts)
    if entry.reverses and sum(charged := _charged(executions, found, entry, named, had)) == -fee:
        fees = {n: -fee for n, fee in zip(had, charged, strict=True)}
    split: dict[str, list[Fill]] = {}
    for name in sorted(n for n in named if counts.get(n) or n in had):
        number = found.numbers[name]
        share = msgspec.structs.replace(
            entry,
            exec_id=own_id(entry.exec_id, number),
            client_order_id=name,
            corrects=own_id(entry.corrects, number) if entry.corrects else "",
            quantity=counts.get(name, 0),
            fee=fees.get(name, Decimal(0)),
        )
        split.setdefault(named[name].book, []).append(share)
    return split


def _had(entry: Fill, record: Mapping[str, Fill], found: Shared, named: Mapping[str, Part]) -> dict[str, int] | None:
    """How much each part has of what an entry corrects, through corrections without a quantity; nothing of one that
    corrects nothing that was booked. None where that is not shared out yet.
    """
    at = record.get(entry.corrects)
    while at is not None:
        had = {n: f.quantity for n, p in named.items() if (f := found.found(at.exec_id, p)) and f.quantity}
        if had:
            return had
        if at.quantity:
            return None
        at = record.get(at.corrects)
    return {}


def _charged(
    executions: Executions, found: Shared, entry: Fill, named: Mapping[str, Part], had: Mapping[str, int]
) -> list[Decimal]:
    """What each of the parts that `had` something of a reversed entry was charged on it."""
    paid: list[Decimal] = []
    for name in had:
        fill = found.found(entry.corrects, named[name])
        assert fill is not None  # noqa: S101  # it had something
        fees = [c.fee for _, c in executions.fees(named[name].book) if c.execution == fill.exec_id]
        paid.append(fill.fee + sum(fees, Decimal(0)))
    return paid


def share_fees(executions: Executions, account: Book, found: Shared, first: date | None) -> None:
    """Book fees that came apart from their executions to the books, by what each got of the execution."""
    ids = {f.exec_id: f.client_order_id for f in executions.fills(account.name)}
    for session, fee in executions.fees(account.name, first):
        of = ids.get(fee.execution, "")
        if owner := found.owners.get(of):
            executions.book_fee(owner, fee, session=session)
        had = {p.client_order_id: p for p in found.parts.get(of, []) if found.found(fee.execution, p)}
        counts = {n: f.quantity for n, p in had.items() if (f := found.found(fee.execution, p))}
        for name, amount in fees_of(fee.fee, counts).items():
            at = own_id(fee.execution, found.numbers[name])
            mine = Commission(at + fee.exec_id.removeprefix(fee.execution), amount, at if fee.corrects else "")
            if amount:
                executions.book_fee(had[name].book, mine, session=session)


def crossed(
    executions: Executions, found: Shared, parts: Sequence[Part], prices: Mapping[str, tuple[Decimal, datetime]]
) -> list[tuple[str, Fill]]:
    """Book what crossed between books at the `prices` (by client order id, with their times); the new entries, with
    their book. What has no price does not cross.
    """
    crosses: dict[tuple[date, str, int], list[tuple[str, Fill]]] = defaultdict(list)
    for part in parts:
        exec_id = CROSS + part.client_order_id
        if part.crossed and part.client_order_id in prices and exec_id not in found.fills[part.book]:
            price, at = prices[part.client_order_id]
            fill = Fill(
                exec_id=exec_id,
                client_order_id=part.client_order_id,
                session=part.session,
                sid=part.sid,
                side=part.side,
                quantity=part.crossed,
                price=price,
                fee=Decimal(0),
                arrival_price=price,
                ts=at,
            )
            crosses[part.session, part.slot, part.sid].append((part.book, fill))
    new: dict[str, list[Fill]] = defaultdict(list)
    for fills in crosses.values():
        left = sum((found.paid(f, f.quantity) for _, f in fills), Decimal(0))  # of amounts that were rounded
        (name, first), *others = fills
        for book, fill in [(name, msgspec.structs.replace(first, fee=-left)), *others]:
            new[book].append(fill)
            found.add(book, fill)
    executions.book_shares(new)
    return [(name, fill) for name, fills in new.items() for fill in fills]


def follow_account(
    outbox: Outbox, account: Book, books: Sequence[Book], found: Shared, since: date, over: date, now: datetime
) -> dict[str, list[str]]:
    """Give the books' orders decided in session `since` or later the states that follow from the account's, and from
    what is booked; by book a sentence for each that had ended otherwise. `over`: the last session that is over.
    """
    parents = {w.order.client_order_id: w for w in outbox.orders(account.name)}
    parts = {p.client_order_id: p for siblings in found.parts.values() for p in siblings}
    changed: dict[str, list[str]] = defaultdict(list)
    for book in books:
        with outbox.lease(book, LEASE_SECONDS) as writer:
            for item in outbox.orders(book.name, since=since):
                key, part = item.order.client_order_id, parts.get(item.order.client_order_id)
                filled = found.filled(part, crossed=True) if part else item.filled
                state, why = _state(item, part, parents, filled, over)
                if (state, filled) == (item.state, item.filled):
                    continue
                if filled >= item.filled and allowed(item.state, state):
                    writer.transition(key, state, now=now, filled=filled, reason=why)
                elif writer.restate(key, state, filled=filled, broker_order_id="", reason=why, now=now):
                    changed[book.name].append(
                        f"order {key} was {item.state} with {item.filled} of {item.order.quantity} filled; "
                        f"by the account's record it is {state} with {filled}"
                    )
    return changed


def _state(
    item: Working, part: Part | None, parents: Mapping[str, Working], filled: int, over: date
) -> tuple[OrderState, str]:
    """The state of a book's order, and why it ended."""
    order = item.order
    if part is None:
        joined = item.state is S.ACKED and order.session <= over and not filled
        return (S.EXPIRED, "it never left its account") if joined else (item.state, "")
    if filled >= order.quantity:
        return S.FILLED, ""
    parent = parents.get(part.parent)
    if parent is not None and not parent.state.terminal:
        return (S.PARTIAL if filled else S.ACKED), ""
    if order.session > over and (parent is None or part.crossed):
        return (S.PARTIAL if filled else S.ACKED), ""
    if parent is None or parent.state is S.FILLED:
        return S.EXPIRED, "NO_MARKET"
    return parent.state, f"the account's order {part.parent} is {parent.state}"
