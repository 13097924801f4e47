"""A home examined whole, on any home: what cannot be examined is a finding too."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl

from desk.deployment import DEFAULT, Deployment, load
from desk.health import databases, machine
from desk.health import tables as stored
from desk.health.check import FAIL, OK, Check
from desk.ledger import ledger_of
from desk.workspace import Workspace, deployment_file
from quant_assets.calendars import calendar
from quant_assets.errors import QuantError
from quant_assets.ports import Progress, quiet
from resources.ledger.open import FILE, Ledger

ELSEWHERE = "America/New_York"


def examine(home: Path, now: datetime, progress: Progress = quiet) -> Iterator[Check]:
    """Every check of a home, in the order in which one would mend it."""
    if not home.is_dir():
        yield Check("home", OK, f"{home} does not exist yet: the first run makes it")
        return
    yield from _tried("permissions", partial(machine.private, home))
    yield from _tried("disk", partial(machine.space, home))
    yield from _tried("locks", partial(machine.locks, home))
    declared, found = _deployment(home)
    yield found
    yield from _tried("ledger", partial(databases.ledger, home))
    ledger = _opened(home)
    books = [b for b in declared.books if not b.research] if declared else []
    yield from _tried("venues", partial(databases.venues, home, ledger, books))
    yield from _tried("histories", partial(databases.others, home))
    marks = dict(ledger.marks.listed()) if ledger else {}
    yield from _tried("tables", partial(stored.tables, home, marks, progress))
    yield from _tried("files", partial(stored.unnamed, home))
    if declared and ledger:
        ws = Workspace(home, declared)
        yield from _tried("models", partial(stored.models, ws))
        yield from _tried("citations", partial(stored.cited, ws))
    zone = _zone(declared)
    live = bool(declared and declared.clock == "system")
    yield from _tried("clock", partial(machine.clock, home, ledger, zone, live=live, now=now))
    yield from _tried("small files", partial(machine.small_files, home))
    yield from _tried("backup", partial(machine.backups, home, now))


def _tried(name: str, ask: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks, and where one could not be made, why: a home that is damaged in a new way must not end the others."""
    try:
        yield from ask()
    except QuantError as error:
        yield Check(name, FAIL, str(error), _command(error))
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001  # any fault is what is looked for
        yield Check(name, FAIL, f"cannot be examined ({type(error).__name__}: {error})", "quant restore FOLDER")


def _command(error: QuantError) -> str:
    """The first command that a message names."""
    _, _, rest = str(error).partition("`quant ")
    return f"quant {rest.partition('`')[0]}" if rest else ""


def _deployment(home: Path) -> tuple[Deployment | None, Check]:
    path = deployment_file(home)
    try:
        return load(path), Check("deployment", OK, "the default, simulated one" if path == DEFAULT else str(path))
    except (QuantError, ValueError) as error:
        return None, Check("deployment", FAIL, str(error), "quant check")


def _opened(home: Path) -> Ledger | None:
    """The ledger, where it is there and can be read; that it cannot is reported by its own check."""
    try:
        return ledger_of(home) if (home / FILE).exists() else None
    except QuantError:
        return None


def _zone(declared: Deployment | None) -> str:
    return calendar(declared.calendar).tz.key if declared else ELSEWHERE
