"""A process that appends, compacts and vacuums is killed in the middle of an act, again and again; between kills
the table must be whole.
"""

import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import deltalake  # noqa: F401  # imported once, in the server that the processes are forked from

from resources.tables.maintenance import Retention, compact, vacuum
from resources.tables.store import DeltaStore
from tests.resources.small_table import NAMES, QUOTES, day, days, sessions

LATER = timedelta(days=40)  # after which nothing is recent, so that vacuum takes all that is not cited
LONGEST = {
    "append": 0.03,
    "compact": 0.03,
    "vacuum": 0.006,
}  # about the seconds that an act takes: kills are spread over them
EVERY = 5  # of the versions, one is cited


def work(root: Path, known: Connection) -> None:
    """Append one session after the other, compact and vacuum now and then, and say before and after each act what
    stands.
    """
    store = DeltaStore(root)
    done = store.read(QUOTES, as_of=None).height // NAMES
    acts: list[tuple[str, Callable[[], object]]] = [
        ("append", lambda: store.append(QUOTES, day(sessions(done + 1)[-1]))),
        ("compact", lambda: compact(store, QUOTES)),
        (
            "vacuum",
            lambda: vacuum(
                store, QUOTES, cited(store.version(QUOTES)), Retention(), datetime.now(UTC) + LATER, dry_run=False
            ),
        ),
    ]
    while True:
        for name, act in acts if done and done % 8 == 0 else acts[:1]:
            known.send((name, done, -1))
            act()
            done += name == "append"
            known.send(("", done, store.version(QUOTES)))


def cited(version: int) -> set[int]:
    """The versions that somebody cites."""
    return set(range(0, version + 1, EVERY))


def run(root: Path, kills: int, seed: int = 0, say: Callable[[str], None] = lambda _: None) -> Counter[str]:
    """Kill the work `kills` times, each time at random, and hold the table against what must stand. Returns the
    kills by what was going on.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.resources.killed_writes"])
    chance, store, fell = random.Random(seed), DeltaStore(root), Counter[str]()  # noqa: S311  # not for secrets
    stood: dict[int, int] = {}  # by version: sessions
    while fell.total() < kills:
        ours, theirs = context.Pipe()
        worker = context.Process(target=work, args=(root, theirs))
        worker.start()
        theirs.close()
        aim = chance.choice(tuple(LONGEST))
        act, done, version = "", 0, -1
        while act != aim:
            assert ours.poll(60), f"the work stands still after {act}"
            act, done, version = ours.recv()
            if version >= 0:
                stood[version] = done
        worker.join(chance.uniform(0, LONGEST[aim]))
        assert worker.exitcode is None, "the work ended by itself"
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join(10)
        with suppress(EOFError, ConnectionResetError):
            while True:
                act, done, version = ours.recv()
                if version >= 0:
                    stood[version] = done
        found = store.read(QUOTES, as_of=None)
        number = found.height // NAMES
        assert number in {done, done + (act == "append")}, (
            f"killed in {act or 'nothing'} with {done} sessions written; {found.height} rows stand"
        )
        assert found.equals(days(sessions(number))), f"killed in {act}: other rows stand"
        of_cited = sorted(cited(store.version(QUOTES)) & set(stood))
        for version in chance.sample(of_cited, min(3, len(of_cited))):
            assert store.read(QUOTES, as_of=None, version=version).equals(days(sessions(stood[version]))), (
                f"killed in {act}: version {version} reads otherwise than it did"
            )
        fell[act or "between"] += 1
        if fell.total() % 20 == 0:
            say(f"{fell.total()} kills, {number} sessions in {store.version(QUOTES)} versions stand: {dict(fell)}")
    return fell
