"""A home of two small simulated markets: New York, decided before the open, and London, decided before the close."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from desk.deployment import Deployment, Market
from desk.workspace import Workspace
from quant_assets.moments import BeforeClose
from quant_assets.records import Book
from quant_assets.strategy import Strategy, UniverseRule
from tests.jobs.small import SOURCE, STRATEGY, Registry

QUIET: dict[str, Any] = {**SOURCE, "first": date(2025, 8, 1), "last": date(2025, 12, 31), "names": 14}
QUIET |= dict.fromkeys(("late", "missing", "thin", "malformed", "conflicts", "duplicates"), 0.0)
START = date(2025, 10, 24)
LONDON: Strategy = msgspec.structs.replace(
    STRATEGY,
    name="late",
    calendar="XLON",
    decide=BeforeClose(),
    universe=UniverseRule(name="late", size=12, lookback=10, min_price=1.0),
    model=msgspec.structs.replace(STRATEGY.model, min_sessions=12, validation=6, min_ic=-1.0),
)
NEW_YORK: Strategy = msgspec.structs.replace(
    STRATEGY,
    universe=msgspec.structs.replace(STRATEGY.universe, size=12),
    model=msgspec.structs.replace(STRATEGY.model, min_sessions=12, validation=6, min_ic=-1.0),
)
BOOKS = (
    Book(name="research", strategy="small", account="R", capital=Decimal(250_000)),
    Book(name="paper", strategy="small", account="P", capital=Decimal(250_000), broker="paper", armed=True),
    Book(name="late_research", strategy="late", account="LR", capital=Decimal(250_000)),
    Book(name="late_paper", strategy="late", account="LP", capital=Decimal(250_000), broker="paper", armed=True),
)


def deployment() -> Deployment:
    """The deployment, made of values as a file has them."""
    own: Any = QUIET
    there: Any = QUIET  # the same names of companies and symbols: ids must tell them apart
    return Deployment(
        source=own,
        markets=(Market(calendar="XLON", source=there),),
        strategies=(NEW_YORK, LONDON),
        books=BOOKS,
        start=START,
        clock="session",
    )


def workspace(home: Path, declared: Deployment | None = None) -> Workspace:
    """A workspace on `home` that does without a model registry."""
    return Workspace(home, declared or deployment(), registry=Registry())
