import sqlite3
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from quant_assets.books.booking import holdings_of
from quant_assets.errors import ConfigurationError, OrderRejected
from quant_assets.execution.orders import orders_for
from quant_assets.records import Order, OrderState
from resources.brokers import paper
from resources.brokers.paper import upgrade
from tests.execution.small_market import CUTS, PAPER, RESEARCH, SESSIONS, STRATEGY, Home, decisions, desk, stored


def orders(session: int, weights: dict[int, float], home: Home) -> list[Order]:
    holdings = holdings_of(home.store, PAPER, SESSIONS[session])
    return orders_for(
        PAPER, STRATEGY, decisions(SESSIONS[session], weights), holdings, (), SESSIONS[session + 1], CUTS.calendar, {}
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_account_opens_with_the_capital(home):
    """Before anything happens the account holds its capital and nothing else."""
    home.broker.advance(SESSIONS[0])
    assert (
        home.broker.cash(),
        home.broker.positions(),
        home.broker.events(None).orders,
        home.broker.events(None).executions,
    ) == (
        Decimal(100_000),
        {},
        (),
        (),
    )


def test_fills_and_books_on_its_own(home):
    """What it reports of executions explains its cash and positions; advancing again changes nothing."""
    home.broker.advance(SESSIONS[0])
    sent = {o.client_order_id: home.broker.submit(o) for o in orders(0, {1: 0.3, 5: 0.3}, home)}
    home.broker.advance(SESSIONS[3])
    fills = home.broker.events(None).executions
    assert home.broker.cash() == Decimal(100_000) - sum(f.side * f.quantity * f.price + f.fee for f in fills)
    assert home.broker.positions() == {sid: sum(f.side * f.quantity for f in fills if f.sid == sid) for sid in (1, 5)}
    assert {o.client_order_id: o.broker_order_id for o in home.broker.events(None).orders} == sent
    assert {o.sid: o.state for o in home.broker.events(None).orders} == {1: OrderState.FILLED, 5: OrderState.EXPIRED}
    home.broker.advance(SESSIONS[2])
    home.broker.advance(SESSIONS[3])
    assert home.broker.events(None).executions == fills


def test_a_duplicate_is_a_second_order(home):
    """The same client id twice is two orders that both fill: a duplicate would be seen."""
    home.broker.advance(SESSIONS[0])
    (order,) = orders(0, {1: 0.1}, home)
    assert home.broker.submit(order) != home.broker.submit(order)
    home.broker.advance(SESSIONS[1])
    assert [o.state for o in home.broker.events(None).orders] == [OrderState.FILLED] * 2
    assert len({f.exec_id for f in home.broker.events(None).executions}) == 2
    assert home.broker.positions() == {1: 2 * order.quantity}


def test_past_opens_are_rejected(home):
    """An order for a session that is over is definitely not taken."""
    (order,) = orders(0, {1: 0.1}, home)
    home.broker.advance(SESSIONS[1])
    with pytest.raises(OrderRejected, match="past"):
        home.broker.submit(order)
    assert home.broker.find(order.client_order_id) is None


def test_advancing_late_is_advancing_daily(tmp_path: Path):
    """Every session in between is matched as known at its own cut, whenever it is caught up."""
    homes = [Home(tmp_path / name) for name in ("daily", "late")]
    for home in homes:
        home.broker.advance(SESSIONS[0])
        for order in orders(0, {1: 0.3, 2: 0.2, 4: 0.2, 6: 0.2}, home):
            home.broker.submit(order)
    for session in SESSIONS[1:]:
        homes[0].broker.advance(session)
    homes[1].broker.advance(SESSIONS[-1])
    daily, late = (
        (h.broker.cash(), h.broker.positions(), h.broker.events(None).orders, h.broker.events(None).executions)
        for h in homes
    )
    assert daily == late
    assert 6 not in daily[1]


def test_reopened_is_the_same(home):
    """The record is durable: another process sees the same account."""
    home.broker.advance(SESSIONS[0])
    (order,) = orders(0, {1: 0.1}, home)
    home.broker.submit(order)
    again = desk(home.store, home.root / "brokers").open(PAPER)
    assert again.find(order.client_order_id) == home.broker.find(order.client_order_id)
    again.advance(SESSIONS[1])
    assert home.broker.positions() == {1: order.quantity}


FIRST_SCHEMA = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL, content TEXT NOT NULL, state TEXT NOT NULL, filled
    INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE INDEX orders_by_client ON orders (client_order_id);
CREATE TABLE executions (id INTEGER PRIMARY KEY, exec_id TEXT NOT NULL UNIQUE, session TEXT NOT NULL, content TEXT
NOT NULL) STRICT;
CREATE TABLE evenings (session TEXT NOT NULL PRIMARY KEY, holdings TEXT NOT NULL) STRICT;
CREATE TABLE capital (session TEXT NOT NULL PRIMARY KEY, paid TEXT NOT NULL) STRICT;
CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY) STRICT;
INSERT INTO schema_version VALUES (1)
"""


def old_file(path: Path, current: Path) -> None:
    """The record at `current` as the release before the cursor wrote it."""
    with sqlite3.connect(path) as old, sqlite3.connect(current) as now:
        old.executescript(FIRST_SCHEMA)
        for table, columns in (
            ("orders", "id, client_order_id, content, state, filled, reason"),
            ("executions", "id, exec_id, session, content"),
            ("evenings", "session, holdings"),
            ("capital", "session, paid"),
        ):
            rows = now.execute(f"SELECT {columns} FROM {table}").fetchall()
            old.executemany(
                f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(columns.split(',')))})", rows
            )
    old.close()
    now.close()


def shape(path: Path) -> dict[str, object]:
    """Columns and indices of every table of a file."""
    with sqlite3.connect(path) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        found = {
            t: (db.execute(f"PRAGMA table_info({t})").fetchall(), db.execute(f"PRAGMA index_list({t})").fetchall())
            for t in tables
        }
    db.close()
    return {t: (columns, sorted(name for _, name, *_ in indices)) for t, (columns, indices) in found.items()}


def test_an_old_file_is_refused_and_upgraded(home, tmp_path: Path):
    """Before the upgrade the error names the command; after it everything is reported once, and the schema is a new
    file's.
    """
    home.broker.advance(SESSIONS[0])
    for order in orders(0, {1: 0.3, 5: 0.3}, home):
        home.broker.submit(order)
    home.broker.advance(SESSIONS[1])
    (tmp_path / "old").mkdir()
    path, made = tmp_path / "old" / f"{PAPER.account}.sqlite", tmp_path / "brokers" / f"{PAPER.account}.sqlite"
    old_file(path, made)
    venues = desk(home.store, tmp_path / "old")
    with pytest.raises(ConfigurationError, match="quant migrate"):
        venues.open(PAPER)
    assert [upgrade(p) for p in (path, path, made, tmp_path / "none.sqlite")] == [True, False, False, False]
    assert shape(path) == shape(made)
    again = venues.open(PAPER)
    before, after = home.broker.events(None), again.events(None)
    assert (after.executions, after.orders) == (before.executions, before.orders)
    assert again.events(after.cursor).executions == ()
    again.advance(SESSIONS[2])
    home.broker.advance(SESSIONS[2])
    assert again.events(after.cursor).executions == home.broker.events(before.cursor).executions
    assert (again.cash(), again.positions()) == (home.broker.cash(), home.broker.positions())


def test_an_upgrade_that_is_interrupted_changes_nothing(home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is one transaction: the file is the old one or the new one."""
    path = tmp_path / "old.sqlite"
    home.broker.advance(SESSIONS[0])
    old_file(path, tmp_path / "brokers" / f"{PAPER.account}.sqlite")
    before = shape(path)
    monkeypatch.setattr(paper, "_SINCE_FIRST_SCHEMA", paper._SINCE_FIRST_SCHEMA + "; SELECT * FROM nowhere")
    with pytest.raises(sqlite3.OperationalError):
        upgrade(path)
    assert shape(path) == before
    monkeypatch.undo()
    assert upgrade(path) is True


def test_desk_names_what_exists(tmp_path: Path):
    """Research books have no venue, and an unknown venue is an error that names those there are."""
    opened = desk(stored(tmp_path / "t"), tmp_path / "b")
    with pytest.raises(ConfigurationError, match="research"):
        opened.open(RESEARCH)
    with pytest.raises(ConfigurationError, match="there are paper"):
        opened.open(msgspec.structs.replace(PAPER, broker="moon"))
