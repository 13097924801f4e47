"""Homes of the small deployment that are made once for a whole test run, also where several workers share it, and
copied by tests.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from quant_assets.features import declared
from tests.jobs import two_venues
from tests.jobs.commands import Quant, answered, declare
from tests.jobs.small import CUTS, FIRST, LIVE, RESEARCH, START, deployment, live, ranged, research, workspace

Make = Callable[[Path], None]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Path]:
    """`once(name, make)`: the folder `name`, filled by `make` by whichever worker comes first. Nobody may write to
    it afterwards.
    """
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Make) -> Path:
        home, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                make(home)
                done.touch()
        return home

    return folder


@pytest.fixture(scope="session")
def prepared(once) -> Path:
    """History up to the day before the live start."""
    return once(
        "prepared", lambda home: ranged(workspace(home), CUTS.calendar.between(FIRST, CUTS.calendar.shift(START, -1)))
    )


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """A copy of `prepared` of one's own."""
    return Path(shutil.copytree(prepared, tmp_path / "home"))


@pytest.fixture(scope="session")
def by_day(once, prepared: Path) -> Path:
    """`LIVE` day by day in both books; beside it, the home as it was before each session, by its date."""

    def make(home: Path) -> None:
        shutil.copytree(prepared, home)
        ws = workspace(home)
        for session in LIVE:
            shutil.copytree(home, home.with_name(f"{home.name}-{session}"))
            live(ws, [session])
            research(ws, RESEARCH, [session])

    return once("by_day", make)


@pytest.fixture(scope="session")
def by_range(once) -> Path:
    """History and `LIVE` in one call for each stage, then traded in the research book."""

    def make(home: Path) -> None:
        ws = workspace(home)
        ranged(ws, CUTS.calendar.between(FIRST, LIVE[-1]))
        research(ws, RESEARCH, LIVE)

    return once("by_range", make)


@pytest.fixture(scope="session")
def operated(once, prepared: Path) -> Path:
    """A home that the command line opens, after its first four live sessions."""

    def make(home: Path) -> None:
        shutil.copytree(prepared, home)
        declare(home, deployment())
        live(workspace(home), LIVE[:4])

    return once("operated", make)


@pytest.fixture
def own(operated: Path, tmp_path: Path) -> Path:
    """A copy of `operated` of one's own."""
    return Path(shutil.copytree(operated, tmp_path / "home"))


@pytest.fixture(scope="session")
def christmas(once) -> Path:
    """The home of two venues before Christmas, on the evening of the 23rd; the command line opens it. Beside it, the
    home a session before.
    """

    def make(home: Path) -> None:
        ws = two_venues.workspace(home, two_venues.CHRISTMAS)
        two_venues.history(ws, date(2025, 10, 1))
        declare(home, two_venues.CHRISTMAS)
        two_venues.lived(ws, date(2025, 12, 22))
        shutil.copytree(home, home.with_name("christmas-22"))
        two_venues.lived(ws, date(2025, 12, 23))

    return once("christmas", make)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[[Path], Quant]:
    """`at(home)("today", "--json")` runs the command line on a home, on a terminal of 80 columns."""

    def on(home: Path) -> Quant:
        monkeypatch.setenv("QUANT_HOME", str(home))
        monkeypatch.setattr("jobs.console.console", Console(width=80))
        return lambda *argv: answered(argv, monkeypatch, capfdbinary)

    return on


@pytest.fixture
def quant(operated: Path, at: Callable[[Path], Quant]) -> Quant:
    """The command line on `operated`, for commands that write nothing."""
    return at(operated)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test loads and declares, no other test knows."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(declared, "DECLARED", {})
    yield
    for name in set(sys.modules) - before:
        if "pytest-" in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]
