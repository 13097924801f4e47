"""The venue's record becomes ours: once, incrementally, and with fees that come apart."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from quant_assets.books.booking import book_session
from quant_assets.execution.drop_copy import collect, session_at
from quant_assets.ports import Executions
from quant_assets.post_trade.costs import write_costs
from quant_assets.post_trade.reconciliation import reconcile_session
from quant_assets.records import Events, Order, OrderState, StageReport
from quant_assets.tables import BARS, COSTS, FILLS, JOURNAL, NAV, ORDERS
from resources.ledger.open import open_ledger
from resources.tables.store import DeltaStore
from tests.execution.small_market import CUTS, PAPER, SESSIONS, Told, bars
from tests.stubs.venue import WeekVenue

S = OrderState
DAYS = SESSIONS[1:9]
OPEN = CUTS.calendar.open


class Traded:
    """A book at a venue that keeps a week, reports commissions apart and repeats itself; one order for each of DAYS."""

    def __init__(self, root: Path) -> None:
        self.store = DeltaStore(root / "tables")
        self.store.append(BARS, bars())
        self.ledger = open_ledger(root)
        self.venue = WeekVenue(CUTS.of(SESSIONS[0]), cash=PAPER.capital)
        self.told = Told()

    def order(self, day: date) -> Order:
        """A day order that is sent, and acknowledged."""
        decided = CUTS.calendar.before(day)
        made = Order(
            client_order_id=f"c{day:%m%d}",
            book=PAPER.name,
            strategy="hand",
            decided=decided,
            session=day,
            good_till=day,
            slot="open",
            sid=1,
            leg="rebalance",
            symbol="S1",
            side=1,
            quantity=10,
            reference_price=Decimal(27),
            decision_id="d",
        )
        with self.ledger.outbox.lease(PAPER, 60) as writer:
            writer.bind(PAPER.name, "hand", decided, f"set{day}", [made], now=OPEN(day))
            writer.begin_submit(made.client_order_id, now=OPEN(day))
            given = self.venue.submit(made)
            writer.transition(made.client_order_id, S.ACKED, now=OPEN(day), broker_order_id=given)
        return made

    def at(self, day: date, *, cut: bool = False) -> None:
        """Turn the venue's clock to the open of a day, or to its cut."""
        self.venue.now = CUTS.of(day) if cut else OPEN(day)

    def collect(self, day: date) -> StageReport:
        """The drop copy of a day."""
        ports = self.ledger.outbox, self.ledger.executions
        return collect(self.store, *ports, self.venue, PAPER, CUTS, day, CUTS.of(day))

    def book(self, day: date) -> None:
        """Collect, book and cost a day."""
        self.collect(day)
        executions: Executions = self.ledger.executions
        fees = [fee for _, fee in executions.fees(PAPER.name)]
        by_hand = self.ledger.entries.of(PAPER.name)
        book_session(self.store, PAPER, CUTS, day, executions.fills(PAPER.name), fees, by_hand)
        write_costs(self.store, PAPER, CUTS, day)

    def reconcile(self, day: date) -> StageReport:
        """Compare the books with the venue after a day."""
        ledger = self.ledger
        ports = (ledger.outbox, ledger.executions, ledger.breaks, self.venue, self.store)
        return reconcile_session(*ports, PAPER, CUTS, day, self.told, now=CUTS.of(day))

    def settle(self, day: date) -> StageReport:
        """Collect, book, cost and reconcile a day, at its cut."""
        self.at(day, cut=True)
        self.book(day)
        return self.reconcile(day)


@pytest.fixture
def traded(tmp_path: Path) -> Traded:
    made = Traded(tmp_path)
    made.settle(SESSIONS[0])
    return made


def test_an_execution_is_booked_once_with_what_is_ours(traded):
    """Repeated by the venue it is booked once: the session is the calendar's, the arrival price the open of the bar."""
    day = DAYS[0]
    traded.order(day)
    traded.at(day)
    execution = traded.venue.execute("c0103", 10, "27.5")
    assert [traded.collect(day).numbers["booked"] for _ in range(3)] == [1, 0, 0]
    (fill,) = traded.ledger.executions.fills(PAPER.name)
    opened = bars().filter(session=day, sid=1)["open"][0]
    assert (fill.exec_id, fill.session, fill.arrival_price) == (execution.exec_id, day, Decimal(str(opened)))
    assert [(w.state, w.filled) for w in traded.ledger.outbox.orders(PAPER.name)] == [(S.FILLED, 10)]


def test_without_a_bar_the_arrival_price_is_the_orders_reference(traded, tmp_path: Path):
    """And for an order that we do not know it is the price of the execution, which is booked and becomes a break."""
    day = DAYS[0]
    traded.store = DeltaStore(tmp_path / "bare")
    traded.settle(SESSIONS[0])
    stranger = traded.order(day)
    traded.at(day)
    traded.venue.submit(Order(**{f: getattr(stranger, f) for f in Order.__struct_fields__} | {"client_order_id": "zz"}))
    for key, price in (("c0103", "27.5"), ("zz", "28")):
        traded.venue.execute(key, 10, price)
    report = traded.settle(day)
    fills = {f.client_order_id: f.arrival_price for f in traded.ledger.executions.fills(PAPER.name)}
    assert fills == {"c0103": Decimal(27), "zz": Decimal(28)}
    assert {note.split(":")[0].split()[0] for note in report.notes} == {"order", "fill"}


def test_a_fee_that_comes_late_is_booked_in_the_session_that_sees_it(traded):
    """Of three commissions one comes with its fill, one a session later, one two: every sum holds in every session."""
    for day, charged in zip(DAYS[:3], ((0,), (), (2, 1)), strict=True):
        traded.order(day)
        traded.at(day)
        traded.venue.execute(f"c{day:%m%d}", 10, "27.5")
        for number in charged:
            traded.venue.charge(f"x{number}", f"1.{number}0")
        assert traded.settle(day).numbers["breaks_found"] == 0, traded.told.subjects
    journal, nav = traded.store.read(JOURNAL, as_of=None), traded.store.read(NAV, as_of=None)
    fees = journal.filter(kind="fee").sort("reference").select("session", "reference", "amount").rows()
    assert fees == [
        (DAYS[0], "x0", Decimal("-1.00")),
        (DAYS[2], "x1", Decimal("-1.10")),
        (DAYS[2], "x2", Decimal("-1.20")),
    ]
    costs = traded.store.read(COSTS, as_of=None)
    for row in nav.iter_rows(named=True):
        upto = journal.filter(session=row["session"])
        assert row["fees"] == -sum(upto.filter(kind="fee")["amount"], Decimal(0))
        assert row["fees"] == sum(costs.filter(session=row["session"])["fees"], Decimal(0))
    assert sum(journal["amount"], Decimal(0)) == nav["cash"][-1] == traded.venue.cash()
    equity = [PAPER.capital, *nav["equity"]]
    assert nav["pnl"].to_list() == [b - a for a, b in pairwise(equity)]
    assert costs.filter(session=DAYS[2]).select("client_order_id", "filled", "fees").rows() == [
        ("c0104", 0, Decimal("1.10")),
        ("c0105", 10, Decimal("1.20")),
    ]
    # FILLS has the fee where it was known when the row was written
    assert traded.store.read(FILLS, as_of=None).sort("exec_id")["fee"].to_list() == [
        Decimal("1.00"),
        Decimal(0),
        Decimal("1.20"),
    ]


def test_a_venue_that_keeps_a_week_has_no_breaks_after_it(traded):
    """What is older than its coverage is not missing, and what is inside is."""
    for day in DAYS:
        traded.order(day)
        traded.at(day)
        execution = traded.venue.execute(f"c{day:%m%d}", 10, "27.5")
        traded.venue.charge(execution.exec_id, "1.00")
        assert traded.settle(day).numbers["breaks_found"] == 0, traded.told.subjects
    assert len(traded.venue.events(None).executions) - 1 < len(traded.ledger.executions.fills(PAPER.name))
    lost = traded.venue._executions.pop(-2)
    (broken,) = [note for note in traded.settle(DAYS[-1]).notes if note.startswith("fill")]
    assert lost.exec_id in broken


def test_an_order_that_we_hold_to_work_must_be_open_there(traded):
    """However old it is: open orders are vouched for always."""
    traded.order(DAYS[0])
    traded.venue._orders.clear()
    for day in DAYS[:-1]:
        traded.at(day)
    traded.at(DAYS[-1], cut=True)
    for day in DAYS:
        book_session(traded.store, PAPER, CUTS, day, [])
    assert [note.split(":")[0] for note in traded.settle(DAYS[-1]).notes] == ["order c0103"]


def test_a_cursor_that_the_venue_lost_is_asked_again_and_nothing_is_booked_twice(traded):
    """Everything that it vouches for comes once more and changes nothing."""
    day = DAYS[0]
    traded.order(day)
    traded.at(day)
    traded.venue.execute("c0103", 10, "27.5")
    traded.settle(day)
    before = [traded.store.read(t, as_of=None) for t in (FILLS, ORDERS, JOURNAL, NAV)]
    traded.venue.forget()
    assert traded.settle(day).numbers["breaks_found"] == 0
    assert all(
        a.equals(traded.store.read(t, as_of=None)) for a, t in zip(before, (FILLS, ORDERS, JOURNAL, NAV), strict=True)
    )


def test_a_later_session_waits_at_the_venue(traded):
    """Caught up day by day, each execution is booked in its own session, and the cursor does not pass it before."""
    for day in DAYS[:2]:
        traded.order(day)
        traded.at(day)
        traded.venue.execute(f"c{day:%m%d}", 10, "27.5")
    cursors: list[str | None] = [traded.ledger.executions.cursor(PAPER.name)]
    for day in DAYS[:2]:
        assert traded.collect(day).numbers["booked"] == 1
        cursors.append(traded.ledger.executions.cursor(PAPER.name))
    assert cursors[0] == cursors[1] != cursors[2]
    assert [f.session for f in traded.ledger.executions.fills(PAPER.name)] == DAYS[:2]


def test_nothing_new_reads_no_history(traded, monkeypatch: pytest.MonkeyPatch):
    """With no event the fills that are booked are not looked at."""
    day = DAYS[0]
    traded.order(day)
    traded.at(day)
    traded.venue.execute("c0103", 10, "27.5")
    traded.settle(day)
    monkeypatch.setattr(traded.venue, "events", lambda _cursor: Events(cursor="9"))
    asked: list[tuple[date | None, ...]] = []
    fills = traded.ledger.executions.fills
    monkeypatch.setattr(
        type(traded.ledger.executions), "fills", lambda _self, book, *span: asked.append(span) or fills(book, *span)
    )
    traded.collect(DAYS[1])
    assert asked == [(DAYS[1], DAYS[1])]


@pytest.mark.parametrize(
    ("after_open", "session"),
    [(timedelta(0), 2), (timedelta(hours=3), 2), (timedelta(hours=9), 2), (-timedelta(microseconds=1), 1)],
)
def test_the_session_of_an_execution(after_open, session):
    """It is the last one that had opened: after its close, and before the next open, that session goes on."""
    assert session_at(CUTS, OPEN(SESSIONS[2]) + after_open) == SESSIONS[session]
