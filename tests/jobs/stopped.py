"""Runs a live session of the small deployment and asks its own process to stop at a named point."""

import os
import sys
from datetime import date
from pathlib import Path

from quant_assets.stopping import Stopped, asked, listening
from tests.execution import killed as around
from tests.jobs.killed import POINTS
from tests.jobs.small import live, workspace

# where a commit is torn nothing can be asked, and a model is cut on another day
MOMENTS = [p for p in POINTS if not p.startswith(("inside the write", "between a model"))]


def at(point: str, *signals: int) -> None:
    """Send these signals to this process at a point of a day."""
    left = list(signals)

    def ask(*_: object) -> None:
        while left:
            os.kill(os.getpid(), left.pop())

    around.die = ask
    POINTS[point]()


def run(home: Path, session: date, point: str, *signals: int) -> None:
    """The session in `home` by its stages, asked to stop at `point`."""
    at(point, *signals)
    with listening():
        try:
            live(workspace(home), [session])
        except Stopped:
            os._exit(128 + (asked() or 0))


def command(home: Path, point: str, *signals: int) -> None:
    """`quant run daily` on `home`, whose jobs Dagster runs, asked to stop at `point`."""
    from jobs import cli

    at(point, *signals)
    os.environ["QUANT_HOME"] = str(home)
    sys.argv = ["quant", "run", "daily"]
    cli.main()
