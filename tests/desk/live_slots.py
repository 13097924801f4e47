"""Homes in which an hourly strategy trades: at a paper venue slot by slot, or as research makes a range of it."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from desk.day import arrive, derive
from desk.deployment import Deployment
from desk.workspace import Workspace
from quant_assets.ports import Clock
from quant_assets.records import Book
from quant_assets.vendor_tables import INTRADAY_BARS
from tests.desk.test_slots import STRATEGY, TRAINED, Registry
from tests.signals import hourly_market as market

__all__ = ["BEGINS", "BOOK", "SESSIONS", "TRAINED", "opened", "reopened", "rows"]
SESSIONS = [date(2026, 2, 8), date(2026, 2, 9)]
BEGINS = SESSIONS[0]
BOOK = Book(name="hours", strategy=STRATEGY.name, account="H1", capital=Decimal(100_000), broker="paper", armed=True)


def reopened(home: Path, *, live: bool, clock: Clock | None = None) -> Workspace:
    """The workspace of a home; `clock`: the wall of a deployment that runs by it."""
    source: Any = {"kind": "bars_of", "venue": market.VENUE, "frequency": "1h", "delay": 20}
    research = Book(name=BOOK.name, strategy=BOOK.strategy, account=BOOK.account, capital=BOOK.capital)
    declared = Deployment(
        source=source,
        strategies=(STRATEGY,),
        books=(BOOK if live else research,),
        start=BEGINS if live else date(2026, 3, 1),
        clock="session" if clock is None else "system",
        calendar="24/7",
        bars=(market.ON_BARS,),
    )
    return Workspace(home, declared, registry=Registry(), clock=clock)


def opened(home: Path, *, live: bool) -> Workspace:
    """A home with a model, on the evening before the first session."""
    ws = reopened(home, live=live)
    ws.store.append(INTRADAY_BARS, market.bars())
    list(arrive(ws, TRAINED))
    list(derive(ws, [d for d in market.DAYS if d <= TRAINED], train_at=[TRAINED]))
    return ws


def rows(ws: Workspace, table: Any) -> pl.DataFrame:
    """What is stored of the sessions, without when and how it was stored."""
    found = ws.store.read(table, as_of=None).filter(pl.col("session") >= BEGINS)
    return found.select(table.content).sort(*(c for c in table.key if c in table.content))
