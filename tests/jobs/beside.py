"""Commands of the small deployment as processes of their own, a backfill among them that takes its time."""

import os
import sys
import time
from pathlib import Path

from tests.jobs.small import Registry

LAST = 60  # pieces after which a slow backfill waits
PIECE = 0.1  # seconds by which each piece of a slow backfill is longer


def command(home: Path, said: Path, *argv: str) -> None:
    """`quant argv` on `home`; what it prints lies in the file `said`."""
    from desk.workspace import Workspace
    from jobs import cli

    os.environ["QUANT_HOME"] = str(home)
    os.environ.pop("DAGSTER_HOME", None)
    sys.argv = ["quant", *argv]
    Workspace.registry = property(lambda _: Registry())  # pyright: ignore[reportAttributeAccessIssue]  # tracks nothing
    with said.open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        cli.main()


def slowly(home: Path, said: Path, pieces: Path, go: Path, *argv: str) -> None:
    """The same; each piece of the range takes longer, the file `pieces` has one letter for each, and the last ones wait
    until the file `go` is there.
    """
    from desk import day

    steps_aside = day.step_aside

    def after_a_while(of: Path) -> bool:
        time.sleep(PIECE)
        while pieces.stat().st_size > LAST and not go.exists():
            time.sleep(PIECE)
        with pieces.open("a") as done:
            done.write(".")
        return steps_aside(of)

    day.step_aside = after_a_while
    command(home, said, *argv)
