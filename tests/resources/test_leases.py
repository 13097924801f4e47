"""The lease of an account, between real processes."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from quant_assets.errors import LeaseLost
from quant_assets.records import Book
from resources.ledger import processes
from resources.ledger.open import FILE, open_ledger
from resources.ledger.processes import this_process

BOOK = Book(name="desk", strategy="s", account="A1", capital=Decimal(1), broker="paper", armed=True)
HOLDER = """
import sys, time
from pathlib import Path
from tests.resources.test_leases import BOOK
from resources.ledger.open import open_ledger
with open_ledger(Path(sys.argv[1])).outbox.lease(BOOK, 600):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lease."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def lease(home: Path) -> None:
    """Take the lease and give it back."""
    with open_ledger(home).outbox.lease(BOOK, 60):
        pass


def leased(home: Path, **values: object) -> None:
    """Write a lease that runs for an hour, as this process would but for `values`."""
    open_ledger(home)
    me, until = this_process(), (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="microseconds")
    row = {"until": until, "holder": "h", "host": me.host, "boot": me.boot, "pid": me.pid, "started": me.started}
    row |= {"account": BOOK.account, "token": 1, **values}
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    with closing(sqlite3.connect(home / FILE)) as db, db:
        db.execute(f"INSERT OR REPLACE INTO leases ({names}) VALUES ({marks})", tuple(row.values()))


def test_a_living_process_keeps_its_lease(holder, tmp_path: Path):
    """No other process writes, and the error names the process."""
    with pytest.raises(LeaseLost, match=f"process {holder.pid} "):
        lease(tmp_path)


@pytest.mark.parametrize("reaped", [True, False])
def test_the_lease_of_a_killed_process_is_free(holder, tmp_path: Path, reaped):
    """At once, though it had ten minutes to run, and though its parent has not looked yet."""
    holder.kill()
    if reaped:
        holder.wait()
    else:
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    lease(tmp_path)


def test_a_process_id_that_was_given_again(holder, tmp_path: Path):
    """A living process with the holder's id that was started at another time is another process."""
    leased(tmp_path, pid=holder.pid, started="1")
    lease(tmp_path)


def test_an_earlier_boot(tmp_path: Path):
    """What ran before the machine was started anew runs no more."""
    leased(tmp_path, boot="another")
    lease(tmp_path)


def test_this_very_process_is_not_gone(tmp_path: Path):
    """What the other tests change is what frees the lease."""
    leased(tmp_path)
    with pytest.raises(LeaseLost):
        lease(tmp_path)


def test_another_host_runs_out(tmp_path: Path):
    """Of another host nothing is known: its lease holds until its time has come."""
    leased(tmp_path, host="elsewhere", pid=1, boot="another")
    with pytest.raises(LeaseLost, match="on elsewhere"):
        lease(tmp_path)
    leased(tmp_path, host="elsewhere", until=datetime(2024, 1, 1, tzinfo=UTC).isoformat(timespec="microseconds"))
    lease(tmp_path)


def test_a_system_without_process_times(holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without boot id and start times a living process keeps its lease, and one that is gone loses it."""
    monkeypatch.setattr(processes, "_PROC", tmp_path / "nowhere")
    leased(tmp_path, pid=holder.pid)
    with pytest.raises(LeaseLost):
        lease(tmp_path)
    holder.kill()
    holder.wait()
    lease(tmp_path)
