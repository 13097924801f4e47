"""Runs a live session of the small deployment and kills its own process, without a word, at a named point."""

import shutil
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import deltalake  # noqa: F401  # imported once, in the server that the processes are forked from
import lightgbm  # noqa: F401

from desk import day
from quant_assets.contract import Table
from quant_assets.post_trade import report
from quant_assets.tables import BARS, CAPTURES, COSTS, DECISIONS, FILLS, NAV, PNL, PROMOTIONS, SCORES
from resources.brokers import paper
from resources.brokers.paper import PaperBroker
from resources.ledger.knowledge import SqliteKnowledgeLog
from resources.ledger.outbox import SqliteWriter
from resources.tables.store import DeltaStore
from tests.execution.killed import around, die
from tests.jobs.small import live, workspace


def at_append(table: Table, *, before: bool) -> Callable[[], None]:
    """Die before or after rows are appended to `table`."""
    return lambda: around(DeltaStore, "append", before=before, only=lambda _store, to, _rows: to.name == table.name)


def torn(table: Table) -> Callable[[], None]:
    """Die inside the write of `table`, leaving what a writer leaves that did not come to its commit: a data file,
    half of one, and a commit under its temporary name.
    """
    real = DeltaStore._commit

    def commit(self: DeltaStore, to: Table, rows: Any) -> None:
        if to.name != table.name:
            return real(self, to, rows)
        with tempfile.TemporaryDirectory() as scratch:
            aside = DeltaStore(Path(scratch))
            shutil.copytree(self.path(to), aside.path(to))
            real(aside, to, rows)
            new = {p.relative_to(aside.path(to)) for p in aside.path(to).rglob("*.*")} - {
                p.relative_to(self.path(to)) for p in self.path(to).rglob("*.*")
            }
            for file in new:
                written = (aside.path(to) / file).read_bytes()
                if file.suffix == ".json":
                    (self.path(to) / "_delta_log" / "_commit_0f.json.tmp").write_bytes(written)
                else:
                    (self.path(to) / file).write_bytes(written)
                    (self.path(to) / file).with_stem("part-00009-0f").write_bytes(written[: len(written) // 2])
        return die()

    def patch() -> None:
        DeltaStore._commit = commit

    return patch


POINTS: dict[str, Callable[[], None]] = {
    "between two tables of ingest": at_append(BARS, before=True),
    "inside the write of bars": torn(BARS),
    "between the bars and what says that their capture was taken in": at_append(CAPTURES, before=True),
    "right after the last commit of ingest": at_append(CAPTURES, before=False),
    "in the middle of the venue's session": lambda: around(paper, "live", before=True),
    "between the ledger's fills and the table of fills": at_append(FILLS, before=True),
    "between the journal and the P&L": at_append(PNL, before=True),
    "between NAV and what comes before it": at_append(NAV, before=True),
    "right after the commit of NAV": at_append(NAV, before=False),
    "between the verdicts and the note of the cut": lambda: around(SqliteKnowledgeLog, "note_cut", before=True),
    "between a model and its promotion": at_append(PROMOTIONS, before=True),
    "between the features and the scores": at_append(SCORES, before=True),
    "inside the write of decisions": torn(DECISIONS),
    "right after the commit of decisions": at_append(DECISIONS, before=False),
    "between binding and sending": lambda: around(SqliteWriter, "bind", before=False),
    "between the commit and the send": lambda: around(PaperBroker, "submit", before=True, hit=2),
    "between the venue's accept and our ack": lambda: around(PaperBroker, "submit", before=False, hit=2),
    "between the orders and their costs": at_append(COSTS, before=True),
    "before the page": lambda: around(report, "session_report", before=True),
    "before the heartbeat": lambda: around(day, "heartbeat", before=True),
}


def run(home: Path, session: date, point: str) -> None:
    """The session in `home`, until `point`."""
    POINTS[point]()
    live(workspace(home), [session])


def run_job(home: Path, session: date) -> None:
    """The job `daily` of Dagster, until decisions are committed and Dagster does not know it yet."""
    from jobs.execute import runner
    from quant_assets.signals import decide

    around(decide, "decide", before=False)
    with runner(workspace(home)) as started:
        started.session("daily", session)
