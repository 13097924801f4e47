"""Several books trade one account: their orders leave as its orders, and what is executed is theirs again, to the cent.

The books trade a market made by hand with splits, dividends, a halt, a delisting and thin volume.
"""

import multiprocessing
import shutil
import signal
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.backtest.loop import run
from quant_assets.records import OrderState
from quant_assets.tables import ACTIONS, BARS, DECISIONS, FILLS, JOURNAL, LISTINGS, NAV, ORDERS, POSITIONS
from quant_assets.vendor_tables import BORROW_RATES
from resources.tables.store import DeltaStore
from tests.execution import accounts
from tests.execution.accounts import BOOKS, OTHER, STRATEGIES, Account
from tests.execution.small_market import CUTS, PAPER, SESSIONS, decisions


def test_books_of_one_account_add_up_to_it(tmp_path: Path) -> None:
    """Every session the venue's cash and positions are those of the books together, and nothing differs; books cross,
    and one order of a name is at the venue.
    """
    account = Account(tmp_path)
    for session in SESSIONS:
        account.decide(session)
        reports = [*account.settle(session), *account.deliver(session)]
        assert [r.reason for r in reports if r.state == "refused" and "ask for no trade" not in r.reason] == []
        venue = account.venue().venue
        assert account.sums(session) == (venue.cash(), dict(venue.positions())), session
    assert account.ledger.breaks.listed(open_only=False) == []
    parts = account.ledger.outbox.parts(PAPER.account)
    assert {p.book for p in parts} == {b.name for b in BOOKS}
    assert any(p.crossed for p in parts)
    sent = account.venue().venue.events(None).orders
    names = [(o.sid, p.session) for o in sent for p in parts if p.parent == o.client_order_id]
    assert len({o.client_order_id for o in sent}) == len(sent) == len(set(names))
    assert not [s for s in account.home.told.subjects if s.startswith("critical")]


def test_one_book_is_short_of_what_another_holds(tmp_path: Path) -> None:
    """The account borrows what both are short of together; who holds the name is paid by who is short of it."""
    account = Account(tmp_path, [msgspec.structs.replace(b, max_order_notional=Decimal(10**7)) for b in BOOKS])
    feed = {c: None if t != pl.String else "hand" for c, t in BORROW_RATES.schema.items()}
    rate = {"session": SESSIONS[0], "symbol": "S4", "rate": 0.04, "available": None, "withdrawn": False}
    known = {"capture": SESSIONS[0], "line": 1, "known_at": CUTS.of(SESSIONS[0])} | {
        "declared_known_at": CUTS.of(SESSIONS[0])
    }
    account.store.append(BORROW_RATES, pl.DataFrame([feed | rate | known], schema=dict(BORROW_RATES.schema)))
    listed = {c: "hand" if t == pl.String else None for c, t in LISTINGS.schema.items()}
    named = {"session": SESSIONS[0], "sid": 4, "symbol": "S4", "listed": True, "withdrawn": False}
    account.store.append(LISTINGS, pl.DataFrame([listed | named | known], schema=dict(LISTINGS.schema)))
    for i, session in enumerate(SESSIONS[:6]):
        for strategy, weight in ((PAPER.strategy, 0.3), (OTHER.strategy, -0.9 + 0.1 * i)):
            account.store.append(DECISIONS, decisions(session, {4: weight}, strategy=strategy, variant="hedge"))
        account.settle(session)
        account.deliver(session)
        assert account.sums(session) == (account.venue().venue.cash(), dict(account.venue().venue.positions()))
    assert account.ledger.breaks.listed(open_only=False) == []
    lent = account.store.read(JOURNAL, as_of=None).filter(kind="borrow")
    assert {(r["book"], r["amount"] > 0) for r in lent.iter_rows(named=True)} == {
        (PAPER.name, True),
        (OTHER.name, False),
    }


FREE = {"kind": "per_share", "commission_per_share": 0, "min_commission": 0, "slippage_bps": 0, "participation": 1}


def test_without_costs_the_books_are_those_of_research(tmp_path: Path) -> None:
    """Where the venue fills whole at the auction, each book ends each session as research has it, which trades it
    alone: what crossed and what was ordered cost the same. Later on names are halted, and one book's cash pays for the
    other's purchases.
    """
    books, sessions = [msgspec.structs.replace(b, costs=FREE) for b in BOOKS], SESSIONS[:6]
    account = Account(tmp_path, books)
    for session in sessions:
        account.decide(session)
        account.settle(session)
        account.deliver(session)
    assert any(p.crossed for p in account.ledger.outbox.parts(PAPER.account))
    alone = DeltaStore(tmp_path / "alone")
    for table in (BARS, ACTIONS, DECISIONS):
        alone.append(table, account.store.read(table, as_of=None))
    for book, strategy in zip(books, STRATEGIES, strict=True):
        run(alone, strategy, msgspec.structs.replace(book, broker="research", armed=False), CUTS, sessions)
        for table in (NAV, POSITIONS):
            one, other = (s.read(table, as_of=None, where={"book": book.name}) for s in (account.store, alone))
            assert one.height > 0
            assert one.equals(other), table.name


def outcome(account: Account) -> dict[str, object]:
    """All that must not depend on where the process died."""
    found: dict[str, object] = {
        t.name: account.store.read(t, as_of=None).rows() for t in (ORDERS, FILLS, POSITIONS, NAV)
    }
    venue, ledger = account.venue().venue, account.ledger
    names = [*(b.name for b in BOOKS), PAPER.account]
    return found | {
        "venue": sorted((o.client_order_id, o.quantity, o.filled, o.state) for o in venue.events(None).orders),
        "cash": venue.cash(),
        "parts": ledger.outbox.parts(PAPER.account),
        "outbox": [ledger.outbox.orders(name) for name in names],
        "booked": [ledger.executions.fills(name) for name in names],
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fresh")
    Account(root)
    return root


@pytest.fixture(scope="module")
def undisturbed(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("undisturbed") / "home"
    shutil.copytree(fresh, root)
    account = Account(root)
    accounts.live(account)
    return outcome(account)


@pytest.fixture(scope="module")
def starter() -> multiprocessing.context.ForkServerContext:
    """Starts processes that have imported everything and used nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.execution.accounts"])
    return context


@pytest.mark.parametrize("point", accounts.POINTS)
def test_killed_and_run_again_is_undisturbed(point, fresh, undisturbed, starter, tmp_path: Path):
    """Wherever the process is killed, running again ends where an undisturbed run ends: no order of the account is
    lost or doubled, nothing is shared out twice, and nothing is left to compare.
    """
    root = tmp_path / "home"
    shutil.copytree(fresh, root)
    process = starter.Process(target=accounts.run, args=(root, point))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    account = Account(root)
    accounts.live(account)
    found = outcome(account)
    assert {k for k in undisturbed if found[k] != undisturbed[k]} == set()
    assert max(Counter(o.client_order_id for o in account.venue().venue.events(None).orders).values()) == 1
    assert account.ledger.breaks.listed(open_only=False) == []


def test_a_book_that_is_stopped_is_not_waited_for(tmp_path: Path) -> None:
    """The switch of one book stops its orders alone; off again before the open, it goes by itself."""
    account, session = Account(tmp_path), SESSIONS[0]
    account.decide(session)
    account.settle(session)
    switch, now = account.ledger.kill_switch, CUTS.of(session)
    switch.set(True, scope=f"book {OTHER.name}", by="ops", reason="drill", now=now)
    account.deliver(session)
    assert {p.book for p in account.ledger.outbox.parts(PAPER.account)} == {PAPER.name}
    before = account.ledger.outbox.orders(PAPER.account)
    switch.set(False, scope=f"book {OTHER.name}", by="ops", reason="over", now=now)
    account.deliver(session)
    after = account.ledger.outbox.orders(PAPER.account)
    assert {p.book for p in account.ledger.outbox.parts(PAPER.account)} == {b.name for b in BOOKS}
    assert {w.order.client_order_id for w in before} < {w.order.client_order_id for w in after}
    assert {w.state for w in after} == {OrderState.ACKED}


def test_a_difference_stops_every_book_of_the_account(tmp_path: Path) -> None:
    """The venue's cash is not what the books have together: both have the break, and neither delivers."""
    account = Account(tmp_path)
    for session in SESSIONS[:2]:
        account.decide(session)
        account.settle(session)
        account.deliver(session)
    account.books = (PAPER, msgspec.structs.replace(OTHER, capital=Decimal(49_000)))  # the venue still has 50,000
    account.settle(SESSIONS[2])
    listed = account.ledger.breaks.listed()
    assert {(b["book"], b["kind"]) for b in listed} == {(b.name, "cash") for b in BOOKS}
    account.decide(SESSIONS[2])
    reports = account.deliver(SESSIONS[2])
    assert all("OPEN_BREAKS" in r.reason for r in reports if r.book != PAPER.account)
