"""What somebody changed in the store or the ledger does not trade; what an older ledger does not know is not sent."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec
import polars as pl
import pytest

from quant_assets.errors import OrderUncertain
from quant_assets.ports import Broker
from quant_assets.records import BrokerOrder, Order, OrderState
from quant_assets.signals.decide import identified
from quant_assets.signals.rederived import altered, beyond
from quant_assets.strategy import Limits
from quant_assets.tables import ACTIONS, BARS, DECISIONS, VERDICTS
from resources.ledger.open import FILE, open_ledger
from resources.ledger.rows import order_hash
from resources.tables.store import DeltaStore
from tests.execution.small_market import CUTS, PAPER, SESSIONS, Home, bars, decisions, verdict, weights

D = SESSIONS[0]
S = OrderState


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home on the evening of the first session."""
    made = Home(tmp_path / "home", SESSIONS[:2])
    made.settle(D)
    return made


def with_decisions(home: Home, rows: pl.DataFrame) -> None:
    """The same home with these rows of DECISIONS."""
    home.store = DeltaStore(home.root / "altered")
    for table, frame in ((BARS, bars()), (ACTIONS, ACTIONS.empty()), (VERDICTS, verdict(D)), (DECISIONS, rows)):
        home.store.append(table, frame)


def first(column: str, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The rows with another value in the first one."""
    return lambda rows: rows.with_columns(
        pl.when(pl.col("sid") == rows["sid"][0]).then(pl.lit(value)).otherwise(column).alias(column)
    )


CHANGES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "a weight": first("target_weight", 0.9),
    "a verdict": first("verdict", "NO_TRADE"),
    "a reason": first("reason", "SELECTED"),
    "an instrument": first("sid", 77),
    "a model": first("model_id", "m"),
    "the strategy's hash": first("strategy_hash", "x"),
    "what was read": first("inputs_hash", "x"),
    "a row deleted": lambda rows: rows.slice(1),
    "a row twice, as another name": lambda rows: pl.concat(
        [rows, rows.head(1).with_columns(sid=pl.lit(99, dtype=pl.Int64))]
    ),
    "all weights doubled": lambda rows: rows.with_columns(pl.col("target_weight") * 2),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_set_that_was_altered_is_not_delivered(home: Home, what: str) -> None:
    """Its ids do not follow from its content: TAMPERED, a critical notice, nothing bound and nothing sent."""
    rows = decisions(D, weights(0))
    assert altered(rows) == ""
    with_decisions(home, CHANGES[what](rows))
    report = home.deliver(D)
    assert (report.state, report.reason.partition(":")[0]) == ("refused", "TAMPERED")
    assert [t.partition(":")[0] for t in home.told.subjects] == ["critical"]
    assert (home.broker.events(None).orders, home.ledger.outbox.orders(PAPER.name)) == ((), [])


def test_a_set_altered_after_it_was_bound_is_not_delivered(home: Home) -> None:
    """The set binds by its id; rows under that id with another content order nothing."""
    home.ledger.kill_switch.set(on=True, by="ops", reason="wait", scope="book other", now=CUTS.of(D))
    rows = decisions(D, weights(0))
    with_decisions(home, rows)
    assert home.deliver(D).state == "done"
    with_decisions_again = DeltaStore(home.root / "again")
    for table, frame in ((BARS, bars()), (ACTIONS, ACTIONS.empty()), (VERDICTS, verdict(D))):
        with_decisions_again.append(table, frame)
    with_decisions_again.append(DECISIONS, CHANGES["a weight"](rows))
    home.store = with_decisions_again
    assert home.deliver(D).reason.startswith("TAMPERED")


def test_a_forged_set_is_limited_again(home: Home) -> None:
    """Ids made anew over a weight that no decision may have: refused by the strategy's limits."""
    with_decisions(home, identified(first("target_weight", 1.5)(decisions(D, weights(0)))))
    report = home.deliver(D)
    assert (report.state, report.reason.partition(":")[0], "max_weight" in report.reason) == ("refused", "LIMITS", True)
    assert home.broker.events(None).orders == ()


@pytest.mark.parametrize(
    ("asked", "limits", "why"),
    [
        ({1: 0.2}, Limits(max_weight=0.2), ""),
        ({1: 0.21}, Limits(max_weight=0.2), "max_weight"),
        ({1: -0.21}, Limits(max_weight=0.2), "max_weight"),
        ({1: 0.2, 2: 0.2}, Limits(max_weight=0.2, max_gross=0.3), "max_gross"),
        ({1: float("nan")}, Limits(), "unknown"),
    ],
)
def test_limits_of_a_set(asked: dict[int, float], limits: Limits, why: str) -> None:
    """Each weight, and all of them; what is not a number is refused."""
    found = beyond(decisions(D, asked), limits)
    assert (bool(found), why in found) == (bool(why), True)


def rewritten(home: Home, change: str, *, hashed: bool) -> None:
    """The orders of the ledger set back to PENDING with one of them changed, and where `hashed` its hash made anew."""
    with closing(sqlite3.connect(home.root / FILE)) as db, db:
        db.row_factory = sqlite3.Row
        (key,) = db.execute("SELECT client_order_id FROM orders ORDER BY side DESC, client_order_id LIMIT 1").fetchone()
        db.execute(f"UPDATE orders SET {change} WHERE client_order_id = ?", (key,))
        row = db.execute("SELECT * FROM orders WHERE client_order_id = ?", (key,)).fetchone()
        if hashed:
            db.execute("UPDATE orders SET hash = ? WHERE client_order_id = ?", (order_hash(row), key))


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        "quantity = quantity * 10",
        "quantity = quantity + 1",
        "side = -side",
        "sid = 77",
        "reference_price = '0.01', quantity = quantity * 100",
        "decision_id = 'another'",
        "decided = '2024-01-03'",
        "good_till = '2024-03-01'",
        "symbol = 'ANOTHER'",
    ],
)
def test_an_order_that_was_altered_does_not_leave(home: Home, change: str, hashed: bool) -> None:
    """Changed while it was pending, with its hash made anew or not: HELD with a critical notice; the others leave."""
    broker, home.broker = home.broker, down(home.broker)
    home.deliver(D)
    home.broker = broker
    pending = home.ledger.outbox.orders(PAPER.name, (S.PENDING,))
    rewritten(home, change, hashed=hashed)
    home.told.subjects.clear()
    home.deliver(D)
    states = [w.state for w in home.ledger.outbox.orders(PAPER.name)]
    assert (states.count(S.HELD), states.count(S.ACKED)) == (1, len(pending) - 1)
    assert len(broker.open_orders()) == len(pending) - 1
    assert [t for t in home.told.subjects if t.startswith("critical") and "not what was bound" in t]


class Down:
    """A venue that answers what it has, and then cannot be reached: every order remains PENDING."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """Nothing can be learned."""
        raise OrderUncertain(f"no answer about {client_order_id}")


def down(broker: Broker) -> Broker:
    """The broker of a venue that cannot be reached."""
    return cast("Broker", Down(broker))


def test_what_the_venue_cannot_be_asked_about_is_not_sent(home: Home) -> None:
    """It remains PENDING, and leaves when the venue answers."""
    broker, home.broker = home.broker, down(home.broker)
    home.deliver(D)
    states = {w.state for w in home.ledger.outbox.orders(PAPER.name)}
    assert (states, broker.events(None).orders) == ({S.PENDING}, ())
    home.broker = broker
    assert home.deliver(D).state == "done"
    assert {w.state for w in home.ledger.outbox.orders(PAPER.name)} == {S.ACKED}


def sent(home: Home) -> list[str]:
    """Client ids at the venue, doubled ones twice."""
    return sorted(o.client_order_id for o in home.broker.events(None).orders)


@pytest.mark.parametrize("ledger", ["yesterday's", "empty"])
def test_with_an_older_ledger_nothing_goes_out_twice(home: Home, ledger: str) -> None:
    """The venue has the day's orders, the ledger is from before them: each takes the venue's state."""
    path = home.root / FILE
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM INTO ?", (str(home.root / "copy"),))
    home.deliver(D)
    once = sent(home)
    for file in (path, path.with_name(f"{FILE}-wal"), path.with_name(f"{FILE}-shm")):
        file.unlink(missing_ok=True)
    if ledger == "yesterday's":
        shutil.copy(home.root / "copy", path)
    home.ledger = open_ledger(home.root)
    report = home.deliver(D)
    assert (report.state, report.numbers["sent"], sent(home)) == ("done", 0, once)
    assert {w.state for w in home.ledger.outbox.orders(PAPER.name)} == {S.ACKED}


def test_an_order_that_the_outbox_does_not_have_stops_the_book(home: Home) -> None:
    """The venue works an order of ours that no set here wants: nothing is sent before that is cleared."""
    home.deliver(D)
    (one, *_) = (w.order for w in home.ledger.outbox.orders(PAPER.name))
    other: Order = msgspec.structs.replace(one, client_order_id="q" * 22, quantity=1, reference_price=Decimal(1))
    home.broker.submit(other)
    again = Home(home.root, SESSIONS[:2])
    again.broker = home.broker
    report = again.deliver(D)
    assert (report.state, report.reason.partition(":")[0]) == ("refused", "UNKNOWN_ORDERS")


def test_another_order_under_our_id_is_held(home: Home) -> None:
    """The venue's order is not ours though it has our id: a person decides."""
    broker, home.broker = home.broker, down(home.broker)
    home.deliver(D)
    (one, *_) = (w.order for w in home.ledger.outbox.orders(PAPER.name))
    broker.submit(msgspec.structs.replace(one, quantity=one.quantity + 5))
    home.broker = broker
    home.deliver(D)
    held = home.ledger.outbox.orders(PAPER.name, (S.HELD,))
    assert [w.order.client_order_id for w in held] == [one.client_order_id]


def test_a_missing_switch_lets_nothing_out(home: Home) -> None:
    """The row of the kill switch is deleted: it counts as on."""
    with closing(sqlite3.connect(home.root / FILE)) as db, db:
        db.execute("DELETE FROM kill_switch")
    assert home.deliver(D).reason.startswith("KILL_SWITCH")


@pytest.mark.parametrize("scope", ["all", "account A1", "book desk"])
@pytest.mark.parametrize("change", ["DELETE FROM kill_switch WHERE scope <> 'all'", "UPDATE kill_switch SET is_on = 0"])
def test_a_switch_turned_off_without_an_act_lets_nothing_out(home: Home, scope: str, change: str) -> None:
    """The record of acts has it on: it is on, until a person turns it off."""
    switch, now = home.ledger.kill_switch, CUTS.of(D)
    switch.set(on=True, scope=scope, by="ops", reason="stop", now=now)
    with closing(sqlite3.connect(home.root / FILE)) as db, db:
        db.execute(change)
    assert (switch.state(PAPER).on, switch.state(PAPER).scope) == (True, scope)
    assert [s.scope for s in switch.listed() if s.on] == [scope]
    assert home.deliver(D).reason.startswith("KILL_SWITCH: stop")
    switch.set(on=False, scope=scope, by="ops", reason="over", now=now)
    assert home.deliver(D).state == "done"


def test_altered_orders_are_found(home: Home) -> None:
    """Those whose row is not what was bound, and no other; what became of an order alters nothing."""
    home.deliver(D)
    assert home.ledger.outbox.altered() == []
    rewritten(home, "quantity = quantity + 1", hashed=False)
    (found,) = home.ledger.outbox.altered()
    rewritten(home, "quantity = quantity - 1", hashed=False)
    assert found in {w.order.client_order_id for w in home.ledger.outbox.orders(PAPER.name)}
    assert home.ledger.outbox.altered() == []
