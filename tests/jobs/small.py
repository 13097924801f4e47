"""A small deployment on the simulated market, with everything in it that goes wrong, run by plain functions; and
what of its state must not depend on how it came to be.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from desk.day import arrive, derive, run_day
from desk.deployment import Deployment
from desk.notebook import Notebook
from desk.workspace import Workspace
from quant_assets.backtest.loop import run
from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import Table
from quant_assets.execution.session_delivery import deliver
from quant_assets.features.catalogue import find_set
from quant_assets.ports import MarketDataSource
from quant_assets.records import Book, StageReport, frame_hash
from quant_assets.strategy import Limits, ModelRule, Strategy, UniverseRule
from quant_assets.tables import (
    ACT_HEADS,
    AUDITS,
    BAR_LABELS,
    CALENDAR_CHANGES,
    CASH,
    CORE,
    COSTS,
    FILLS,
    JOURNAL,
    NAV,
    ORDERS,
    PNL,
    POSITIONS,
    PROPOSED_ACTIONS,
)
from resources.clock import SessionClock

CUTS = Cuts(calendar("XNYS"))
FIRST, LAST, START = date(2024, 1, 2), date(2024, 6, 28), date(2024, 5, 21)
LIVE = CUTS.calendar.between(START, date(2024, 6, 10))
SOURCE: dict[str, Any] = {
    "kind": "simulated",
    "first": FIRST,
    "last": LAST,
    "names": 24,
    "seed": 60,
    "signal": 0.1,
    "splits": 1.0,
    "payers": 1.0,
    "delistings": 0.5,
    "listings": 0.6,
    "symbol_changes": 0.6,
    "halts": 1.0,
    "restatements": 0.02,
    "duplicates": 0.003,
    "conflicts": 0.002,
    "malformed": 0.003,
    "late": 0.025,
    "missing": 0.02,
    "thin": 0.02,
}
STRATEGY = Strategy(
    name="small",
    universe=UniverseRule(name="small", size=16, lookback=10, min_price=1.0),
    model=ModelRule(
        rounds=20,
        params={"objective": "regression", "num_leaves": 7, "learning_rate": 0.1, "min_data_in_leaf": 10},
        validation=10,
        min_sessions=25,
    ),
    limits=Limits(max_weight=0.2, min_members=5, max_psi=9.0, min_coverage=0.8),
    holdings=8,
)
RESEARCH = Book(name="research", strategy="small", account="R", capital=Decimal(250_000))
PAPER = Book(name="paper", strategy="small", account="P", capital=Decimal(250_000), broker="paper", armed=True)
FEATURES = find_set(STRATEGY.feature_set)
# an audit says what was tried, not what is; people act when they act
TABLES = (*(t for t in CORE if t not in (AUDITS, ACT_HEADS)), FEATURES.table)
POST_TRADE = (ORDERS, FILLS, POSITIONS, JOURNAL, PNL, NAV, COSTS)
# the vendor declares its actions, so that none is proposed; no book holds another currency, nothing is of bars
DERIVED = tuple(t for t in TABLES if t not in (*POST_TRADE, PROPOSED_ACTIONS, CALENDAR_CHANGES, BAR_LABELS, CASH))
NAMED_AFTER_THE_BOOK = ("book", "client_order_id", "exec_id", "reference")


class Registry:
    """A registry that keeps nothing: the stored text is what counts."""

    def log(self, **_: object) -> str:
        """See the port."""
        return "1"

    def promote(self, strategy: str, registry_version: str) -> None:
        """See the port."""


def deployment(*, source: dict[str, Any] = SOURCE, strategy: Strategy = STRATEGY, start: date = START) -> Deployment:
    """The small deployment, or one with another source, strategy or start."""
    read: Any = source  # as it is read from a file
    return Deployment(source=read, strategies=(strategy,), books=(RESEARCH, PAPER), start=start, clock="session")


def workspace(home: Path, declared: Deployment | None = None, source: MarketDataSource | None = None) -> Notebook:
    """A workspace on `home` that does without a model registry."""
    return Notebook(home, declared or deployment(), source=source, registry=Registry())


def research(ws: Workspace, book: Book, sessions: Sequence[date]) -> StageReport:
    """The stored decisions of `sessions`, traded in a research book."""
    return run(ws.store, ws.strategy_of(book), book, ws.cuts, sessions)


def ranged(ws: Workspace, sessions: Sequence[date]) -> list[StageReport]:
    """Everything up to the decisions of `sessions`, in one call for each stage."""
    return [*arrive(ws, sessions[-1]), *derive(ws, sessions)]


def live(ws: Workspace, sessions: Iterable[date]) -> list[StageReport]:
    """`sessions` day by day, through outbox and venue."""
    return [r for s in sessions for r in run_day(ws, s)]


def deliver_at(ws: Workspace, session: date, now: datetime) -> StageReport:
    """The delivery of a session's decisions to the paper book, at a time."""
    ledger, broker, clock = ws.ledger, ws.brokers.open(PAPER), SessionClock(now)
    ports = (ws.store, ledger.outbox, ledger.kill_switch, ledger.breaks, broker)
    return deliver(*ports, PAPER, STRATEGY, ws.cuts, session, clock, ws.notifier)


def content(ws: Workspace, table: Table) -> pl.DataFrame:
    """All rows of a table, without what is recorded beside them."""
    return ws.store.read(table, as_of=None).select(table.content).sort(pl.all())


def of_book(ws: Workspace, table: Table, book: Book) -> pl.DataFrame:
    """A book's rows without its name, and without the ids in which that is hashed."""
    rows = content(ws, table).filter(pl.col("book") == book.name)
    return rows.drop(c for c in NAMED_AFTER_THE_BOOK if c in rows.columns).sort(pl.all())


WALL = {"at", "seen_at", "bound_at", "opened_at"}  # when it was really done


# how often a home was leased or moved, and how far the venue was asked, which a day run again asks once more
UNEQUAL = {"leases", "order_events", "audit", "cursors", "marks"}


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that a database says, but for when it was written."""
    with sqlite3.connect(path) as db:
        names = [n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if n not in UNEQUAL]
        columns = {n: [c[1] for c in db.execute(f"PRAGMA table_info({n})") if c[1] not in WALL] for n in names}
        return {n: sorted(db.execute(f"SELECT {', '.join(c)} FROM {n}")) for n, c in columns.items()}


def outcome(ws: Workspace, traded: Sequence[Book] = (PAPER,)) -> dict[str, object]:
    """All that must not depend on where a process died."""
    accounts = [book.account for book in traded]
    found: dict[str, object] = {}
    for table in TABLES:
        frame = content(ws, table)
        found[table.name] = frame_hash(
            frame.filter(frame["book"] != RESEARCH.name) if "book" in frame.columns else frame
        )
    for database in ("ledger.sqlite", *(f"brokers/{account}.sqlite" for account in accounts)):
        found |= {f"{database} {name}": said for name, said in rows(ws.home / database).items()}
    return found | {
        "pages": sorted(p.name for p in ws.reports.iterdir()),
        "heartbeat": (ws.home / "heartbeat.json").read_text(),
    }
