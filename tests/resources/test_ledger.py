import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from quant_assets.errors import ConfigurationError, ExecutionError, LeaseLost
from quant_assets.execution.outbox import TRANSITIONS, allowed
from quant_assets.ports import Writer
from quant_assets.records import Book, Break, Commission, Fill, Order, OrderState, Switch, Working
from resources.ledger.open import FILE, Ledger, open_ledger

D = date(2024, 1, 4)
NOW = datetime(2024, 1, 4, 14, 15, tzinfo=UTC)
BOOK = Book(name="desk", strategy="s", account="A1", capital=Decimal(1), broker="paper", armed=True)
S = OrderState


def order(n: int) -> Order:
    return Order(
        client_order_id=f"c{n}", book="desk", strategy="s", decided=D, session=date(2024, 1, 5),
        good_till=date(2024, 1, 8), slot="open", sid=n, leg="exit", symbol="S", side=1, quantity=100,
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
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path)


@pytest.fixture
def writer(ledger: Ledger) -> Iterator[Writer]:
    with ledger.outbox.lease(BOOK, 60) as held:
        yield held


@pytest.fixture
def bound(ledger: Ledger, writer: Writer) -> Ledger:
    writer.bind("desk", "s", D, "set", [order(1), order(2)], now=NOW)
    return ledger


def changed(home: Path, statement: str, *values: str) -> None:
    """Change the database behind the ledger's back."""
    with closing(sqlite3.connect(home / FILE)) as other, other:
        other.execute(statement, values)


def test_first_set_binds(ledger, writer):
    """The first decision set is committed with its orders; the same again writes nothing; another one is recorded."""
    outbox = ledger.outbox
    assert outbox.bound("desk", "s", D) is None
    sets = [("one", [order(1)]), ("one", [order(1), order(2)]), ("two", [order(3)]), ("two", [order(3)])]
    assert {writer.bind("desk", "s", D, set_id, orders, now=NOW) for set_id, orders in sets} == {"one"}
    assert outbox.orders("desk") == [Working(order=order(1), state=S.PENDING)]
    assert [d["decision_set_id"] for d in outbox.divergences("desk")] == ["two"]
    assert outbox.bound("desk", "s", D) == "one"


def test_each_slot_of_a_session_has_a_set_of_its_own(ledger, writer):
    """Sets of two slots bind beside each other, each with its orders and its own divergences."""
    later = msgspec.structs.replace(order(1), client_order_id="c9", slot="15:00")
    assert writer.bind("desk", "s", D, "one", [order(1)], now=NOW, slot="14:00") == "one"
    assert writer.bind("desk", "s", D, "two", [later], now=NOW, slot="15:00") == "two"
    assert writer.bind("desk", "s", D, "three", [], now=NOW, slot="15:00") == "two"
    bound = [ledger.outbox.bound("desk", "s", D, slot) for slot in ("14:00", "15:00", "16:00")]
    assert bound == ["one", "two", None]
    assert ledger.outbox.bound("desk", "s", D) is None
    assert len(ledger.outbox.orders("desk")) == 2
    assert [(d["slot"], d["decision_set_id"]) for d in ledger.outbox.divergences("desk")] == [("15:00", "three")]


def test_set_and_orders_are_one_transaction(ledger, writer):
    """Where one order cannot be written, nothing of the set is."""
    twice = [order(1), msgspec.structs.replace(order(1), client_order_id="other")]
    with pytest.raises(sqlite3.IntegrityError):
        writer.bind("desk", "s", D, "one", twice, now=NOW)
    assert (ledger.outbox.bound("desk", "s", D), ledger.outbox.orders("desk")) == (None, [])


def test_kill_switch_is_read_where_an_order_leaves(bound, writer):
    """With the switch on nothing leaves PENDING; it is audited, and needs a name."""
    switch = bound.kill_switch
    switch.set(on=True, by="ops", reason="drill", now=NOW)
    assert writer.begin_submit("c1", now=NOW) is False
    assert switch.state() == Switch(on=True, reason="drill", scope="all")
    switch.set(on=False, by="ops", reason="over", now=NOW)
    assert [writer.begin_submit("c1", now=NOW) for _ in range(2)] == [True, False]
    assert [a["act"] for a in bound.audit.acts()] == ["kill-switch on", "kill-switch off"]
    with pytest.raises(ExecutionError, match="who"):
        switch.set(on=True, by=" ", reason="x", now=NOW)
    assert switch.state().on is False


def test_the_first_switch_that_is_on(bound, writer):
    """For all, then the account, then the book; another book's stops nothing; each is listed and audited."""
    switch, scopes = bound.kill_switch, ["book desk", "account A1", "all"]
    switch.set(on=True, scope="book other", by="ops", reason="x", now=NOW)
    assert switch.state(BOOK).on is False
    for scope in scopes:
        switch.set(on=True, scope=scope, by="ops", reason="x", now=NOW)
        assert switch.state(BOOK).scope == scope
        assert writer.begin_submit("c1", now=NOW) is False
    assert [s.scope for s in switch.listed()] == ["all", "account A1", "book desk", "book other"]
    assert [a["subject"] for a in bound.audit.acts()] == ["book other", "book desk", "account A1", "all books"]
    for scope in scopes:
        switch.set(on=False, scope=scope, by="ops", reason="x", now=NOW)
    assert writer.begin_submit("c1", now=NOW) is True
    for scope in ("", "books", "book ", "desk"):
        with pytest.raises(ConfigurationError, match="book NAME"):
            switch.set(on=True, scope=scope, by="ops", reason="x", now=NOW)


def test_missing_switch_is_on(bound, writer, tmp_path: Path):
    """A switch whose state is gone counts as on."""
    changed(tmp_path, "DELETE FROM kill_switch")
    assert writer.begin_submit("c1", now=NOW) is False
    assert (bound.kill_switch.state().on, bound.kill_switch.state(BOOK).on) == (True, True)
    assert [s.on for s in bound.kill_switch.listed()] == [True]


@pytest.mark.parametrize("start", [s for s in S if s in TRANSITIONS or s.terminal])
@pytest.mark.parametrize("then", list(S))
def test_only_the_machines_transitions(bound, writer, tmp_path: Path, start, then):
    """The ledger takes exactly the transitions of the state machine; the same state again is a no-op."""
    changed(tmp_path, "UPDATE orders SET state = ? WHERE client_order_id = 'c1'", start.value)
    if start == then or allowed(start, then):
        writer.transition("c1", then, now=NOW)
        assert bound.outbox.orders("desk", [then])[0].order.client_order_id == "c1"
    else:
        with pytest.raises(ExecutionError, match="cannot become"):
            writer.transition("c1", then, now=NOW)


def test_filled_never_shrinks(bound, writer):
    """Filled quantity only grows, and never beyond the order; each event has the time of its writer."""
    writer.begin_submit("c1", now=NOW)
    writer.transition("c1", S.ACKED, broker_order_id="B1", now=NOW)
    writer.transition("c1", S.PARTIAL, filled=40, now=NOW)
    writer.transition("c1", S.PARTIAL, filled=60, now=NOW + timedelta(seconds=1))
    with pytest.raises(ExecutionError):
        writer.transition("c1", S.PARTIAL, filled=50, now=NOW)
    with pytest.raises(sqlite3.IntegrityError):
        writer.transition("c1", S.FILLED, filled=101, now=NOW)
    events = [("PENDING", 0), ("SUBMITTING", 0), ("ACKED", 0), ("PARTIAL", 40), ("PARTIAL", 60)]
    assert [(e["state"], e["filled"]) for e in bound.outbox.events("c1")] == events
    assert bound.outbox.since("c1") == NOW + timedelta(seconds=1)


def test_fills_are_booked_once_and_exactly(ledger):
    """An execution counts once; the decimals come back as they were; another content under its id is an error."""
    executions = ledger.executions
    assert [executions.book_fill("desk", f) for f in (fill("e1"), fill("e1"), fill("e2"))] == [True, False, True]
    assert executions.fills("desk") == [fill("e1"), fill("e2")]
    assert executions.fills("desk", D + timedelta(days=1)) == []
    with pytest.raises(ExecutionError, match="correction"):
        executions.book_fill("desk", fill("e1", "10.1235"))


def test_fees_are_booked_once_in_their_session(ledger):
    """A fee that comes apart counts once, in the first session in which it is seen; another amount is an error."""
    executions, fee = ledger.executions, Commission("e1", Decimal("1.10"))
    later = D + timedelta(days=1)
    assert [executions.book_fee("desk", fee, session=d) for d in (D, later)] == [True, False]
    assert executions.book_fee("other", fee, session=later) is True
    assert (executions.fees("desk"), executions.fees("desk", later)) == ([(D, fee)], [])
    with pytest.raises(ExecutionError, match="reported as 2"):
        executions.book_fee("desk", Commission("e1", Decimal(2)), session=D)


def test_a_cursor_is_a_books_own(ledger):
    """None before the first; then the last one."""
    assert ledger.executions.cursor("desk") is None
    for cursor in ("7", "9"):
        ledger.executions.advance("desk", cursor)
    assert (ledger.executions.cursor("desk"), ledger.executions.cursor("other")) == ("9", None)


def test_breaks(ledger):
    """A break is opened once, found by book, and closed by a person once."""
    breaks = ledger.breaks
    found = Break(break_id="b1", book="desk", session=D, kind="cash", subject="USD", ours="1", theirs="2")
    assert [breaks.open(found, now=NOW), breaks.open(found, now=NOW)] == [True, False]
    assert [b["break_id"] for b in breaks.listed("desk")] == ["b1"]
    assert breaks.listed("other") == []
    breaks.resolve("b1", by="ops", reason="late fee", now=NOW)
    assert breaks.listed() == []
    assert [b["resolved_by"] for b in breaks.listed(open_only=False)] == ["ops"]
    assert breaks.open(found, now=NOW) is False
    with pytest.raises(ExecutionError, match="no open break"):
        breaks.resolve("b1", by="ops", reason="again", now=NOW)


def test_cuts(ledger):
    """The latest cut is the latest, whatever the order in which they were noted; a time without a zone is refused."""
    assert ledger.knowledge.latest_cut() is None
    late, early = (datetime(2024, 1, d, 14, 15, tzinfo=UTC) for d in (9, 8))
    for cut in (late, early, late):
        ledger.knowledge.note_cut(cut)
    assert ledger.knowledge.latest_cut() == late
    with pytest.raises(ValueError, match="no zone"):
        ledger.knowledge.note_cut(late.replace(tzinfo=None))


WRITES: dict[str, Callable[[Writer], object]] = {
    "bind": lambda w: w.bind("desk", "s", D + timedelta(days=1), "set", [], now=NOW),
    "begin_submit": lambda w: w.begin_submit("c1", now=NOW),
    "transition": lambda w: w.transition("c1", S.CANCELED, now=NOW),
}


def content(home: Path) -> list[str]:
    """All that the database holds, but for who holds the lease."""
    with closing(sqlite3.connect(home / FILE)) as db:
        return [line for line in db.iterdump() if '"leases"' not in line]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_only_the_writer_of_a_held_lease_writes(ledger, tmp_path: Path, write):
    """Released, or taken over after it ran out: LeaseLost, and nothing is written; the new writer goes on."""
    with ledger.outbox.lease(BOOK, 60) as released:
        released.bind("desk", "s", D, "set", [order(1)], now=NOW)
    with ledger.outbox.lease(BOOK, -1) as lost, open_ledger(tmp_path).outbox.lease(BOOK, 60) as held:
        before = content(tmp_path)
        for writer in (released, lost):
            with pytest.raises(LeaseLost):
                write(writer)
        assert content(tmp_path) == before
        write(held)
        assert content(tmp_path) != before


def test_nothing_writes_the_outbox_without_a_lease(ledger):
    """The port that everybody may have has no method that binds, sends or moves an order."""
    assert not set(WRITES) & {name for part in vars(ledger).values() for name in dir(part)}


def test_a_writer_writes_its_own_book(bound):
    """An order of another book is an error, though the account is leased."""
    other = msgspec.structs.replace(BOOK, name="other", account="A2")
    with bound.outbox.lease(other, 60) as writer:
        for write in WRITES.values():
            with pytest.raises(ExecutionError, match="the writer of other"):
                write(writer)
        with pytest.raises(ExecutionError, match="the writer of other"):
            writer.bind("other", "s", D, "set", [order(3)], now=NOW)
    assert bound.outbox.bound("other", "s", D) is None


def test_one_writer_per_account(ledger, tmp_path: Path):
    """While one holds the lease no other can, in this process or another; released, it is free; accounts are apart."""
    outbox, other = ledger.outbox, open_ledger(tmp_path).outbox
    with outbox.lease(BOOK, 60):
        for taker in (outbox, other):
            with pytest.raises(LeaseLost, match=f"process {os.getpid()} "), taker.lease(BOOK, 60):
                pass
        with other.lease(msgspec.structs.replace(BOOK, account="A2"), 60):
            pass
    with other.lease(BOOK, 60):
        pass


def test_an_error_inside_releases(ledger):
    """However the block ends, the next writer does not wait."""
    with pytest.raises(KeyError), ledger.outbox.lease(BOOK, 60):
        raise KeyError
    with ledger.outbox.lease(BOOK, 60):
        pass


def _race(home: Path, answers: "multiprocessing.Queue[int]") -> None:
    ledger = open_ledger(home)
    won = 0
    for n in range(40):
        session = D + timedelta(days=n)
        made = msgspec.structs.replace(order(n), decided=session)
        while True:
            try:
                with ledger.outbox.lease(BOOK, 60) as writer:
                    writer.bind("desk", "s", session, "set", [made], now=NOW)
                    won += writer.begin_submit(f"c{n}", now=NOW)
                break
            except LeaseLost:
                time.sleep(0.001)
        won += 1000 * ledger.executions.book_fill("desk", fill(f"e{n}"))
    answers.put(won)


def test_two_processes(tmp_path: Path):
    """Two processes at once: each order is taken by one of them, each execution booked by one."""
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[int] = context.Queue()
    racers = [context.Process(target=_race, args=(tmp_path, answers)) for _ in range(2)]
    for racer in racers:
        racer.start()
    assert sum(answers.get(timeout=60) for _ in racers) == 40_040
    for racer in racers:
        racer.join()
    answers.close()
