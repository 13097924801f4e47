import multiprocessing
import shutil
import signal
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from quant_assets.tables import FILLS, JOURNAL, NAV, ORDERS, POSITIONS
from tests.execution import killed
from tests.execution.small_market import PAPER, Home


def outcome(home: Home) -> dict[str, object]:
    """All that must not depend on where the process died."""
    tables: dict[str, object] = {
        t.name: home.store.read(t, as_of=None).rows() for t in (ORDERS, FILLS, POSITIONS, JOURNAL, NAV)
    }
    orders = sorted(
        (o.client_order_id, o.sid, o.side, o.quantity, o.filled, o.state) for o in home.broker.events(None).orders
    )
    return tables | {
        "venue": orders,
        "cash": home.broker.cash(),
        "positions": home.broker.positions(),
        "outbox": home.ledger.outbox.orders(PAPER.name),
        "booked": home.ledger.executions.fills(PAPER.name),
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fresh")
    Home(root)
    return root


@pytest.fixture(scope="module")
def undisturbed(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("undisturbed") / "home"
    shutil.copytree(fresh, root)
    home = Home(root)
    killed.live(home)
    assert len(home.broker.events(None).orders) > 6
    assert len(home.broker.events(None).executions) > 4
    return outcome(home)


@pytest.fixture(scope="module")
def starter() -> multiprocessing.context.ForkServerContext:
    """Starts processes that have imported everything and used nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.execution.killed"])
    return context


@pytest.mark.parametrize("point", killed.POINTS)
def test_killed_and_run_again_is_undisturbed(point, fresh, undisturbed, starter, tmp_path: Path):
    """Wherever the process is killed, running again ends where an undisturbed run ends.

    No order is lost, none doubled, and nothing is left to reconcile.
    """
    root = tmp_path / "home"
    shutil.copytree(fresh, root)
    process = starter.Process(target=killed.run, args=(root, point))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    home = Home(root)
    killed.live(home)
    found = outcome(home)
    assert {k for k in undisturbed if found[k] != undisturbed[k]} == set()
    assert max(Counter(o.client_order_id for o in home.broker.events(None).orders).values()) == 1
    home.reconcile(killed.DAYS[-1])
    assert home.ledger.breaks.listed(open_only=False) == []


def test_a_duplicate_would_be_seen(fresh, undisturbed, tmp_path: Path):
    """The comparison is worth something: resending an order the venue has makes it fail."""
    root = tmp_path / "home"
    shutil.copytree(fresh, root)
    home = Home(root)
    home.settle(killed.DAYS[0])
    home.deliver(killed.DAYS[0])
    home.broker.submit(home.ledger.outbox.orders(PAPER.name)[0].order)
    killed.live(home)
    assert outcome(home)["venue"] != undisturbed["venue"]
    assert home.ledger.breaks.listed()
    assert home.store.read(NAV, as_of=None).select(pl.len()).item() == len(killed.DAYS)
