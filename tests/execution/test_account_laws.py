"""Whatever a venue reports of an account, in whatever order, what its books have of it adds up to its record."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quant_assets.books.terms import Terms
from quant_assets.execution.account_copy import Shared, _split, crossed, own_id
from quant_assets.execution.collecting import copy_account
from quant_assets.execution.orders import client_order_id
from quant_assets.execution.together import order_together
from quant_assets.execution.turns import after
from quant_assets.instruments import plain
from quant_assets.records import REVERSAL, VERSION, Commission, Execution, Fill, Order, OrderState, Part
from resources.brokers.shared import SharedAccount
from resources.clock import SessionClock
from resources.ledger.executions import SqliteExecutions
from resources.ledger.open import open_ledger
from tests.execution.accounts import BOOKS, OTHER
from tests.execution.small_market import CUTS, PAPER, SESSIONS, Told
from tests.execution.test_corrections_laws import MARKET
from tests.stubs.venue import WeekVenue

DECIDED, TRADED = SESSIONS[:2]
LATER = SESSIONS[1:5]
WANTED = ((PAPER, "exit", 4), (PAPER, "exit-2", 3), (OTHER, "rebalance", 6))  # two of one book, for one order


class Pair:
    """Two books whose orders left as one, at a venue that keeps a week and reports commissions apart."""

    def __init__(self, root: Path) -> None:
        self.ledger = open_ledger(root)
        self.ledger.executions._db.connection.execute("PRAGMA synchronous = OFF")
        self.venue = WeekVenue(CUTS.of(DECIDED), cash=Decimal(0))
        self.shares = SharedAccount(BOOKS, self.venue, self.ledger.outbox)
        for book in BOOKS:
            self._wait(book.name)
        about = (self.ledger.outbox, self.ledger.kill_switch, self.shares, BOOKS, after(CUTS, DECIDED), CUTS, None)
        order_together(*about, SessionClock(CUTS.of(DECIDED)), Told())
        (self.order,) = self.ledger.outbox.orders(PAPER.account)
        self.key = self.order.order.client_order_id

    def _wait(self, name: str) -> None:
        book = next(b for b in BOOKS if b.name == name)
        orders = [self._made(book.name, leg, n) for of_book, leg, n in WANTED if of_book is book]
        now = CUTS.of(DECIDED)
        with self.ledger.outbox.lease(book, 60) as writer:
            writer.bind(name, book.strategy, DECIDED, "set", orders, now=now)
            for order in orders:
                writer.begin_submit(order.client_order_id, now=now)
                writer.transition(order.client_order_id, OrderState.ACKED, now=now)

    def _made(self, book: str, leg: str, quantity: int) -> Order:
        return Order(
            client_order_id=client_order_id(book, "hand", DECIDED, "open", 1, leg),
            book=book,
            strategy="hand" if book == PAPER.name else OTHER.strategy,
            decided=DECIDED,
            session=TRADED,
            good_till=TRADED,
            slot="open",
            sid=1,
            leg=leg,
            symbol="S1",
            side=1,
            quantity=quantity,
            reference_price=Decimal(27),
            decision_id="d",
        )

    def copy(self, session: Any) -> None:
        """The account's record of a session comes home."""
        store: Any = MARKET
        about = (store, self.ledger.outbox, self.ledger.executions, self.shares, BOOKS, CUTS, session)
        copy_account(*about, CUTS.of(session), session)

    def net(self, name: str) -> tuple[int, Decimal]:
        """The counts and the cash of a record of executions and fees."""
        executions = self.ledger.executions
        fills = executions.fills(name)
        fees = [c.fee for _, c in executions.fees(name) if any(f.exec_id == c.execution and f.quantity for f in fills)]
        cash = sum((-f.side * f.quantity * f.price - f.fee for f in fills), Decimal(0)) - sum(fees, Decimal(0))
        return sum(f.side * f.quantity for f in fills), cash


def reports(pair: Pair, sizes: Sequence[int], changed: Sequence[tuple[int, str, int, int]]) -> list[Any]:
    """What the venue reports of the account's one order, and of what it changed, fees included."""
    found: list[Any] = []
    current: list[str] = []
    for number, size in enumerate(sizes):
        pair.venue.now = CUTS.calendar.open(TRADED) + timedelta(seconds=number)
        current.append(pair.venue.execute(pair.key, size, f"27.{number}").exec_id)
    found += pair.venue._executions
    for number, (trade, kind, quantity, cents) in enumerate(changed):
        pair.venue.now = CUTS.calendar.open(TRADED) + timedelta(minutes=1 + number)
        if trade >= len(current) or pair.venue._true[f"x{trade}"].quantity == 0:
            continue
        terms = {"quantity": 0} if kind == "bust" else {"quantity": quantity, "price": Decimal(cents) / 100}
        made = pair.venue.correct(current[trade], **terms)
        current[trade] = made.exec_id
        found.append(made)
    for number, execution in enumerate([e for e in found if e.quantity]):
        pair.venue.charge(execution.exec_id, f"1.00000{number}")
        found.append(Commission(execution.exec_id, Decimal(f"1.00000{number}")))
    return found


def arrive(pair: Pair, batches: Sequence[Sequence[Any]]) -> None:
    """Each batch in its session; the whole record with the last one."""
    whole = pair.venue.events
    for day, batch in zip(LATER, batches, strict=True):
        pair.venue.now = CUTS.of(day)
        everything = whole(None)
        part = msgspec.structs.replace(
            everything,
            executions=tuple(r for r in batch if isinstance(r, Execution)),
            commissions=tuple(r for r in batch if isinstance(r, Commission)),
        )
        pair.venue.events = lambda _since, part=part: part
        pair.copy(day)
    pair.venue.events = whole
    pair.venue.now = CUTS.of(LATER[-1])
    pair.copy(LATER[-1])


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    changed=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["bust", "correct"]), st.integers(1, 4), st.integers(2600, 2900)),
        max_size=4,
    ),
    data=st.data(),
)
def test_what_the_books_have_is_what_the_account_has(sizes, changed, data):
    """Counts and cash of the books add up to the venue's; the filled counts of their orders to those of its order; no
    part is more than was ordered where the venue keeps to it; again is a no-op.
    """
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder))
        said = reports(pair, sizes, changed)
        shuffled = data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said), max_size=3))))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), min_size=3, max_size=3)))
        arrive(pair, [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)])
        counts, cash = zip(*(pair.net(b.name) for b in BOOKS), strict=True)
        assert sum(counts) == pair.venue.positions().get(1, 0) == pair.net(PAPER.account)[0]
        assert sum(cash) == pair.venue.cash() == pair.net(PAPER.account)[1]
        parts = [w for b in BOOKS for w in pair.ledger.outbox.orders(b.name)]
        assert sum(w.filled for w in parts) == sum(counts)
        assert all(0 <= w.filled <= w.order.quantity for w in parts)
        before = [pair.ledger.executions.fills(b.name) for b in BOOKS]
        pair.copy(LATER[-1])
        assert before == [pair.ledger.executions.fills(b.name) for b in BOOKS]


def test_an_execution_has_another_id_for_each_order_of_one_book():
    """And what reverses or restates it names that one."""
    assert own_id("x1", 0) == "x1"
    assert own_id("x1", 1) == "x1/2"
    assert own_id("x1" + REVERSAL, 1) == own_id("x1", 1) + REVERSAL
    assert own_id(f"x1{VERSION}2", 1) == f"x1/2{VERSION}2"
    assert own_id(f"x1{VERSION}2{REVERSAL}", 2) == f"x1/3{VERSION}2{REVERSAL}"


COIN = msgspec.structs.replace(plain(1, "USD"), kind="coin", step=Decimal("0.00000001"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=4), st.integers(1, 10**9), st.sampled_from((1, -1)))
def test_amounts_of_fractions_add_up(ordered: list[int], micros: int, side: int):
    """Each part's amount is rounded to the sixth decimal; with the fees they are what the account paid, and a cross
    brings one book what it costs the other.
    """
    about = {"account": "A1", "session": TRADED, "slot": "open", "sid": 1}
    parts = [
        Part(client_order_id=f"o{n}", book=f"b{n}", side=side, parent="p", crossed=0, ordered=q, **about)
        for n, q in enumerate(ordered)
    ]
    price = Decimal(micros).scaleb(-6)
    entry = Fill(
        exec_id="x", client_order_id="p", session=TRADED, sid=1, side=side, quantity=sum(ordered), price=price,
        fee=Decimal("0.000003"), arrival_price=price, ts=CUTS.calendar.open(TRADED),
    )  # fmt: skip
    terms = Terms(base="USD", instruments={1: COIN})
    found = Shared({p.book: [] for p in parts}, parts, {}, terms)
    split = _split(entry, {"x": entry}, found, Booked())
    assert split is not None
    cash = [-found.paid(f, f.quantity) - f.fee for fills in split.values() for f in fills]
    assert sum(cash) == -found.paid(entry, entry.quantity) - entry.fee
    total = sum(ordered)
    sides = [(total, -side), *((q, side) for q in ordered)]
    crossing = [
        Part(client_order_id=f"c{n}", book=f"b{n}", side=s, parent="", crossed=q, ordered=0, **about)
        for n, (q, s) in enumerate(sides)
    ]
    found = Shared({p.book: [] for p in crossing}, crossing, {}, terms)
    new = crossed(Booked(), found, crossing, {p.client_order_id: (price, entry.ts) for p in crossing})
    assert sum(-found.paid(f, f.quantity) - f.fee for _, f in new) == 0


class Booked(SqliteExecutions):
    """Executions that keep nothing."""

    def __init__(self) -> None:
        """Without a database."""

    def book_shares(self, shares: Mapping[str, Sequence[Fill]]) -> int:
        """See the port."""
        return len(shares)
