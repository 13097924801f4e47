"""Appends, compactions, vacuums, acts and pages in a small home, and what must be there after a power cut in any of
them. Run as a program it does the work on a home and marks what it has reported as stored.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import HomeDamaged
from quant_assets.pages.rendering import write
from resources.ledger.open import open_ledger
from resources.tables.maintenance import Retention, compact, vacuum
from resources.tables.store import DeltaStore
from tests.resources.recorded_writes import MARK
from tests.resources.small_table import QUOTES, TICKS, day, sessions

SESSIONS = sessions(12)
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def mark(what: str) -> None:
    """Say what is stored."""
    os.write(1, MARK + what.encode() + b"\n")


def marking(commit: Any) -> Any:
    """A store's method that marks every commit that it has reported."""

    def marked(self: DeltaStore, table: Table, *given: Any, **metadata: str) -> int:
        made: int = commit(self, table, *given, **metadata)
        mark(f"commit {table.name} {made}")
        return made

    return marked


def work(home: Path, say: Callable[[str], object] = str) -> None:
    """Each session: its quotes, then a tick that says that they are there, an act and a page; at the end they are
    written together. On a home that was left in the middle it goes on. `say` is called with what is stored.
    """
    ledger = open_ledger(home)
    store = DeltaStore(home / "tables", ledger.marks)
    acts = len(ledger.audit.acts())
    for n, session in enumerate(SESSIONS, 1):
        store.append(QUOTES, day(session))
        at = datetime.combine(session, datetime.min.time(), UTC)
        store.append(TICKS, pl.DataFrame([(at, 1, 2.5, at)], schema=dict(TICKS.schema), orient="row"))
        if n > acts:
            ledger.audit.record("act", str(n), by="D", reason="drill", now=NOW)
            say(f"act {n}")
        write(home / "reports" / "page.html", _page(n))
        say(f"page {n}")
    compact(store, QUOTES)
    vacuum(store, QUOTES, set(), Retention(keep_days=1), datetime.now(UTC) + timedelta(days=9), dry_run=False)


class Undisturbed:
    """What a home held at each commit of a run that nothing disturbed."""

    def __init__(self, home: Path, marks: Sequence[str]) -> None:
        self.store = DeltaStore(home / "tables", open_ledger(home).marks)
        self.marks = [what.split() for what in marks]
        self.whole = {t.name: self.store.read(t, as_of=None) for t in (QUOTES, TICKS)}

    def rows(self, table: Table, version: int) -> pl.DataFrame:
        """What the table held at a version: a session more with each, until it is only written together."""
        until = SESSIONS[min(version, len(SESSIONS)) - 1] if version else SESSIONS[0] - timedelta(days=1)
        return self.whole[table.name].filter(pl.col(table.event).cast(pl.Date) <= until)

    def check(self, home: Path, reported: int, *, pages: bool = True) -> str:
        """Hold a home, left by a cut after so many marks, against it; what it is like: `whole`, or why it is refused.
        `pages`: the page of a report too.

        Raises AssertionError where it is neither a state of the undisturbed run nor a refusal with the way back, or
        where something reported as stored is not there.
        """
        done = Counter(what[0] for what in self.marks[:reported])
        try:
            ledger = open_ledger(home)
            store = DeltaStore(home / "tables", ledger.marks)
            found = {t.name: max(store.version(t), 0) for t in (QUOTES, TICKS)}
            rows = {t.name: store.read(t, as_of=None) for t in (QUOTES, TICKS)}
        except HomeDamaged as error:
            return _refused(error)
        commits = [(what[1], int(what[2])) for what in self.marks if what[0] == "commit"]
        possible = [_versions(commits[:n]) for n in (done["commit"], done["commit"] + 1)]
        assert found in possible, f"after {done}: {found}, possible are {possible}"
        for table in (QUOTES, TICKS):
            version = found[table.name]
            assert rows[table.name].equals(self.rows(table, version)), f"{table.name} {version} has other rows"
        assert len(ledger.audit.acts()) in {done["act"], done["act"] + 1}
        if not pages:
            return "whole"
        page = home / "reports" / "page.html"
        text = page.read_text() if page.exists() else ""
        assert text in {_page(done["page"]), _page(done["page"] + 1)}, f"page {text[:20]!r} after {done}"
        return "whole"

    def goes_on(self, home: Path) -> None:
        """Run the work again on a home that was left in the middle: it ends as if nothing had been."""
        work(home)
        store = DeltaStore(home / "tables", open_ledger(home).marks)
        for table in (QUOTES, TICKS):
            assert store.read(table, as_of=None).equals(self.store.read(table, as_of=None))
            assert list(store.faults(table)) == []


def _refused(error: HomeDamaged) -> str:
    assert re.search("quant (restore|doctor)|delete it", str(error))
    return str(error)


def _versions(commits: Sequence[tuple[str, int]]) -> dict[str, int]:
    return {t.name: max((v for name, v in commits if name == t.name), default=0) for t in (QUOTES, TICKS)}


def _page(number: int) -> str:
    return f"{number} " * 3_000 if number else ""


if __name__ == "__main__":
    if "unsynced" in sys.argv:
        os.fsync = int  # which does nothing
    DeltaStore.commit = marking(DeltaStore.commit)
    work(Path(sys.argv[1]), mark)
