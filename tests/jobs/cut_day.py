"""A day of the small deployment whose writes are recorded, and what must be there after a power cut in it."""

import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

from desk.ledger import ledger_of
from quant_assets.contract import Table
from quant_assets.errors import HomeDamaged
from quant_assets.records import OrderState, frame_hash
from resources.tables.store import DeltaStore
from tests.jobs.small import CUTS, FIRST, LIVE, PAPER, TABLES, live, outcome, ranged, workspace
from tests.resources.cut_states import states
from tests.resources.cut_work import marking
from tests.resources.recorded_writes import record

SESSION = LIVE[4]  # with orders of the day before that fill, and new ones


def prepared(home: Path) -> None:
    """History, and the sessions before the one that is recorded."""
    ws = workspace(home)
    ranged(ws, CUTS.calendar.between(FIRST, CUTS.calendar.shift(LIVE[0], -1)))
    live(ws, LIVE[: LIVE.index(SESSION)])


def held(store: DeltaStore) -> dict[str, tuple[int, str]]:
    """Version and rows of each table."""
    return {t.name: (store.version(t), frame_hash(store.read(t, as_of=None))) for t in TABLES}


class Day:
    """The recorded day, and what each table held after each of its commits. `home` is as it was before the day."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        before = DeltaStore(self.home / "tables")
        self.first = {t.name: before.version(t) for t in TABLES}
        command = [sys.executable, "-m", "tests.jobs.cut_day", str(self.home), str(SESSION)]
        self.recording = record(command, self.home, folder)
        self.commits = [(n, int(v)) for n, v in (what.split()[1:] for _, what in self.recording.marks)]
        self.store = DeltaStore(self.home / "tables")
        self.outcome = outcome(workspace(self.home))
        self._hashes: dict[tuple[str, int], str] = {}

    def rows(self, table: Table, version: int) -> str:
        """What a table held at a version."""
        key = table.name, version
        if key not in self._hashes:
            self._hashes[key] = frame_hash(self.store.read(table, as_of=None, version=version))
        return self._hashes[key]

    def check(self, home: Path, reported: int) -> str:
        """Hold a home that was cut after so many commits against the day: `whole`, or why it is refused.

        Raises AssertionError where it is neither a state of the day nor a refusal with the way back, where a commit
        that was reported is not there or one is there before its turn, or where the venue has an order that the ledger
        has not sent.
        """
        try:
            ledger = ledger_of(home)
            store = DeltaStore(home / "tables", ledger.marks)
            found = held(store)
        except HomeDamaged as error:
            return _refused(error)
        for table in TABLES:
            version, rows = found[table.name]
            assert rows == self.rows(table, version), f"{table.name} {version} has other rows"
        versions = {name: version for name, (version, _) in found.items()}
        assert versions in [self._after(reported), self._after(reported + 1), self._made(reported)], versions
        with closing(sqlite3.connect(home / "brokers" / f"{PAPER.account}.sqlite")) as venue:
            arrived = [str(i) for (i,) in venue.execute("SELECT client_order_id FROM orders")]
        sent = {w.order.client_order_id for w in ledger.outbox.orders(PAPER.name) if w.state is not OrderState.PENDING}
        assert set(arrived) <= sent
        assert max(Counter(arrived).values()) == 1
        return "whole"

    def _after(self, commits: int) -> dict[str, int]:
        return self.first | {n: v for n, v in self.commits[:commits] if n in self.first}

    def _made(self, commits: int) -> dict[str, int]:
        """With the table of the next commit made, and empty."""
        after = self._after(commits)
        return after | {n: 0 for n, v in self.commits[commits : commits + 1] if v == 1 and after.get(n) == -1}

    def goes_on(self, home: Path) -> None:
        """Run the day again on a home that was cut: it ends as the day that nothing disturbed."""
        ws = workspace(home)
        live(ws, [SESSION])
        again = outcome(ws)
        assert {k for k in self.outcome if again[k] != self.outcome[k]} == set()


def _refused(error: HomeDamaged) -> str:
    assert re.search("quant (restore|doctor)|delete it", str(error))
    return str(error)


def cuts(day: Day, number: int, seed: int, scratch: Path, again: int) -> Iterator[str]:
    """What `number` homes are like, each cut at another point of the day; in every `again`th the day is run again."""
    for n, (at, home) in enumerate(states(day.recording, number, seed, scratch)):
        end = day.check(home, day.recording.reported(at))
        if n % again == again // 2:
            day.goes_on(home)
        yield end


def main(arguments: Sequence[str]) -> None:
    """The session in a home, with a mark after each commit."""
    DeltaStore.commit = marking(DeltaStore.commit)
    live(workspace(Path(arguments[0])), [date.fromisoformat(arguments[1])])


if __name__ == "__main__":
    main(sys.argv[1:])
