import multiprocessing
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from quant_assets.errors import ConfigurationError, ExecutionError, LeaseLost
from quant_assets.execution.outbox import TRANSITIONS, allowed
from quant_assets.records import Book, Break, Fill, Order, OrderState, Working
from resources.ledger.sqlite import SqliteLedger

D = date(2024, 1, 4)
BOOK = Book(name="desk", strategy="s", account="A1", capital=Decimal(1), broker="paper", armed=True)
S = OrderState


def order(n: int) -> Order:
    return Order(
        client_order_id=f"c{n}", book="desk", strategy="s", decided=D, session=date(2024, 1, 5), good_till=date(2024, 1, 8), slot="open", sid=n, leg="exit", symbol="S", side=1, quantity=100,
        reference_price=Decimal("10.10"), decision_id="d",
    )  # fmt: skip


def fill(exec_id: str, price: str = "10.1234") -> Fill:
    return Fill(
        exec_id=exec_id,
        client_order_id="c1",
        session=D,
        sid=1,
        side=1,
        quantity=5,
        price=Decimal(price),
        fee=Decimal("1.00"),
        arrival_price=Decimal("0.000001"),
        ts=datetime(2024, 1, 4, 14, 30, tzinfo=UTC),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger(tmp_path / "ledger.sqlite")


@pytest.fixture
def bound(ledger: SqliteLedger) -> SqliteLedger:
    ledger.bind("desk", "s", D, "set", [order(1), order(2)])
    return ledger


def test_first_set_binds(ledger):
    """The first decision set is committed with its orders; the same again writes nothing; another one is recorded as diverged and orders nothing."""
    assert ledger.bound("desk", "s", D) is None
    assert ledger.bind("desk", "s", D, "one", [order(1)]) == "one"
    assert ledger.bind("desk", "s", D, "one", [order(1), order(2)]) == "one"
    assert ledger.bind("desk", "s", D, "two", [order(3)]) == "one"
    assert ledger.bind("desk", "s", D, "two", [order(3)]) == "one"
    assert ledger.orders("desk") == [Working(order=order(1), state=S.PENDING)]
    assert [d["decision_set_id"] for d in ledger.divergences("desk")] == ["two"]
    assert ledger.bound("desk", "s", D) == "one"


def test_set_and_orders_are_one_transaction(ledger):
    """Where one order cannot be written, nothing of the set is."""
    with pytest.raises(sqlite3.IntegrityError):
        ledger.bind("desk", "s", D, "one", [order(1), msgspec.structs.replace(order(1), client_order_id="other")])
    assert (ledger.bound("desk", "s", D), ledger.orders("desk")) == (None, [])


def test_kill_switch_is_read_where_an_order_leaves(bound):
    """With the switch on nothing leaves PENDING; it is audited, and needs a name."""
    bound.set_kill_switch(on=True, by="ops", reason="drill")
    assert bound.begin_submit("c1") is False
    assert bound.kill_switch() == (True, "drill")
    bound.set_kill_switch(on=False, by="ops", reason="over")
    assert bound.begin_submit("c1") is True
    assert bound.begin_submit("c1") is False
    assert [a["act"] for a in bound.audited()] == ["kill-switch on", "kill-switch off"]
    with pytest.raises(ExecutionError, match="who"):
        bound.set_kill_switch(on=True, by=" ", reason="x")
    assert bound.kill_switch()[0] is False


def test_missing_switch_is_on(bound, tmp_path: Path):
    """A switch whose state is gone counts as on."""
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        other.execute("DELETE FROM kill_switch")
    assert bound.begin_submit("c1") is False
    assert bound.kill_switch()[0] is True


@pytest.mark.parametrize("start", [s for s in S if s in TRANSITIONS or s.terminal])
@pytest.mark.parametrize("then", list(S))
def test_only_the_machines_transitions(bound, tmp_path: Path, start, then):
    """The ledger takes exactly the transitions of the state machine; the same state again is a no-op."""
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        other.execute("UPDATE orders SET state = ? WHERE client_order_id = 'c1'", (start.value,))
    if start == then or allowed(start, then):
        bound.transition("c1", then)
        assert bound.orders("desk", [then])[0].order.client_order_id == "c1"
    else:
        with pytest.raises(ExecutionError, match="cannot become"):
            bound.transition("c1", then)


def test_filled_never_shrinks(bound):
    """Filled quantity only grows, and never beyond the order."""
    bound.begin_submit("c1")
    bound.transition("c1", S.ACKED, broker_order_id="B1")
    bound.transition("c1", S.PARTIAL, filled=40)
    bound.transition("c1", S.PARTIAL, filled=60)
    with pytest.raises(ExecutionError):
        bound.transition("c1", S.PARTIAL, filled=50)
    with pytest.raises(sqlite3.IntegrityError):
        bound.transition("c1", S.FILLED, filled=101)
    assert [(e["state"], e["filled"]) for e in bound.events("c1")] == [
        ("PENDING", 0),
        ("SUBMITTING", 0),
        ("ACKED", 0),
        ("PARTIAL", 40),
        ("PARTIAL", 60),
    ]


def test_fills_are_booked_once_and_exactly(ledger):
    """An execution counts once; the decimals come back as they were; another content under its id is an error."""
    assert [ledger.book_fill("desk", f) for f in (fill("e1"), fill("e1"), fill("e2"))] == [True, False, True]
    assert ledger.fills("desk") == [fill("e1"), fill("e2")]
    assert ledger.fills("desk", D + timedelta(days=1)) == []
    with pytest.raises(ExecutionError, match="correction"):
        ledger.book_fill("desk", fill("e1", "10.1235"))


def test_breaks(ledger):
    """A break is opened once, found by book, and closed by a person once."""
    found = Break(break_id="b1", book="desk", session=D, kind="cash", subject="USD", ours="1", theirs="2")
    assert [ledger.open_break(found), ledger.open_break(found)] == [True, False]
    assert [b["break_id"] for b in ledger.breaks("desk")] == ["b1"]
    assert ledger.breaks("other") == []
    ledger.resolve_break("b1", by="ops", reason="late fee")
    assert ledger.breaks() == []
    assert [b["resolved_by"] for b in ledger.breaks(open_only=False)] == ["ops"]
    assert ledger.open_break(found) is False
    with pytest.raises(ExecutionError, match="no open break"):
        ledger.resolve_break("b1", by="ops", reason="again")


def test_cuts(ledger):
    """The latest cut is the latest, whatever the order in which they were noted."""
    assert ledger.latest_cut() is None
    late, early = (datetime(2024, 1, d, 14, 15, tzinfo=UTC) for d in (9, 8))
    for cut in (late, early, late):
        ledger.note_cut(cut)
    assert ledger.latest_cut() == late


def test_one_writer_per_account(bound, tmp_path: Path):
    """While one holds the lease another cannot; after it ran out the other has a higher token and the first cannot send any more."""
    second = SqliteLedger(tmp_path / "ledger.sqlite")
    token = bound.lease(BOOK, 60)
    assert bound.lease(BOOK, 60) == token
    with pytest.raises(LeaseLost):
        second.lease(BOOK, 60)
    bound.lease(BOOK, -1)
    assert second.lease(BOOK, 60) > token
    with pytest.raises(LeaseLost):
        bound.begin_submit("c1")
    assert second.begin_submit("c1")
    second.release(BOOK)
    assert bound.lease(BOOK, 60) > token + 1


def test_another_schema_is_refused(ledger, tmp_path: Path):
    """A file of another schema version is not touched."""
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        other.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(ConfigurationError, match="schema version 99"):
        SqliteLedger(tmp_path / "ledger.sqlite")


def _race(path: Path, answers: "multiprocessing.Queue[int]") -> None:
    ledger = SqliteLedger(path)
    won = 0
    for n in range(40):
        ledger.bind(
            "desk",
            "s",
            D + timedelta(days=n),
            "set",
            [msgspec.structs.replace(order(n), decided=D + timedelta(days=n))],
        )
        won += ledger.begin_submit(f"c{n}")
        won += 1000 * ledger.book_fill("desk", fill(f"e{n}"))
    answers.put(won)


def test_two_processes(tmp_path: Path):
    """Two processes at once: each order is taken by one of them, each execution booked by one."""
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[int] = context.Queue()
    racers = [context.Process(target=_race, args=(tmp_path / "ledger.sqlite", answers)) for _ in range(2)]
    for racer in racers:
        racer.start()
    assert sum(answers.get(timeout=60) for _ in racers) == 40_040
    for racer in racers:
        racer.join()
    answers.close()
