"""Real processes on one table: two that write at once, and one that is killed."""

import multiprocessing
from contextlib import nullcontext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import pytest

from resources.tables.store import DeltaStore
from tests.resources import killed_writes
from tests.resources.small_table import NAMES, QUOTES, day, days, sessions


def write(root: Path, own: list[int], start: Any, written: "SimpleQueue[int]", *, locked: bool) -> None:
    """Append the sessions of these numbers when all are ready, and tell how many rows were written."""
    if not locked:
        DeltaStore.writing = lambda _self, _table: nullcontext()  # pyright: ignore[reportAttributeAccessIssue]  # as on a file system without locks
    store, of = DeltaStore(root), sessions(20)
    start.wait(60)
    written.put(sum(store.append(QUOTES, day(of[n])) for n in own))


@pytest.mark.parametrize("locked", [True, False], ids=["by the lock", "where the lock does not hold"])
def test_processes_that_write_at_once_lose_and_double_nothing(tmp_path: Path, *, locked: bool):
    """Three processes append sessions of their own and some that the others append too: every row stands once, and
    the numbers written add up.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.resources.killed_writes"])
    start, written = context.Barrier(3), context.SimpleQueue()
    DeltaStore(tmp_path).append(QUOTES, day(sessions(1)[0]))
    shares = [[10, 1, 11, 2, 12, 3], [10, 4, 11, 5, 12, 6], [10, 7, 11, 8, 12, 9]]
    workers = [
        context.Process(target=write, args=(tmp_path, own, start, written), kwargs={"locked": locked}) for own in shares
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert DeltaStore(tmp_path).read(QUOTES, as_of=None).equals(days(sessions(13)))
    assert sum(written.get() for _ in workers) == 12 * NAMES


def test_killed_in_the_middle_of_any_write_the_table_is_whole(tmp_path: Path):
    """After SIGKILL in an append, a compaction or a vacuum the table reads as before or as after, cited versions
    read as ever, and the next run goes on (`make soak`: 200 times).
    """
    assert killed_writes.run(tmp_path, 8, seed=3).total() == 8
