"""A home of two small simulated markets: New York, decided before the open, and London, decided before the close."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from desk.day import arrive, derive, run_day
from desk.deployment import Deployment, Market
from desk.workspace import Workspace
from jobs.live import due_in_order
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


CHRISTMAS = msgspec.structs.replace(deployment(), start=date(2025, 12, 22))
"""The same, traded from the last week before Christmas on: both venues close early on the 24th, and London rests on the
26th too.
"""


def history(ws: Workspace, first: date) -> None:
    """Everything up to the decisions of the day before the start, in each lane."""
    for lane in ws.lanes:
        sessions = lane.cuts.calendar.between(first, lane.cuts.calendar.shift(lane.deployment.start, -1))
        list(arrive(lane, sessions[-1]))
        list(derive(lane, sessions))


def lived(ws: Workspace, until: date) -> list[tuple[str, date]]:
    """Whatever is due next in either lane, up to a session; in the order in which it was run."""
    done: list[tuple[str, date]] = []
    while True:
        ((lane, session),) = due_in_order(ws, None)
        assert isinstance(session, date)
        if session > until:
            return done
        list(run_day(lane, session))
        done.append((lane.name, session))
