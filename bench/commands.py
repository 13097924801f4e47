"""Seconds, CPU and Dagster events of the commands that people run every day: python -m bench.commands [HOME].

Each is run three times, in a process and on a copy of the home of its own; the medians are printed. `run daily` runs
the next session. The home is $QUANT_HOME by default: make one with `make demo`.
"""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from desk.workspace import Workspace, home
from jobs.live import Exit

TIMES = 3
ANSWERED = {Exit.DONE, Exit.NOTHING_TO_TRADE, Exit.BLOCKED}  # any other exit code: the command failed


def events(folder: Path) -> int:
    """How many events the home's Dagster instance has stored."""
    log = folder / "dagster" / "history" / "runs" / "index.db"
    if not log.exists():
        return 0
    with closing(sqlite3.connect(log)) as file:
        return file.execute("select count(*) from event_logs").fetchone()[0]


def measured(original: Path, arguments: list[str]) -> tuple[float, float, int]:
    """Wall seconds, user and system CPU seconds, and events of one command on a copy of the home."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(original, Path(folder) / "home"))
        before, stored, started = resource.getrusage(resource.RUSAGE_CHILDREN), events(copy), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "jobs.cli", *arguments],
            env={**os.environ, "QUANT_HOME": str(copy)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode not in ANSWERED:
            raise SystemExit(f"bench: quant {' '.join(arguments)} failed, so it has no figure:\n{done.stderr}")
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, events(copy) - stored


def main(original: Path) -> None:
    """Print a line for each command."""
    if not original.exists():
        raise SystemExit(f"bench: no home at {original}; make one with `make demo`, or name another")
    session = str(Workspace.open(original).latest())
    commands = [
        ["--help"],
        ["sql", "select count(*) from decisions"],
        ["today"],
        ["why", session],
        ["run", "daily"],
    ]
    print(f"{'command':<16} {'seconds':>8} {'CPU':>8} {'events':>8}")
    for arguments in commands:
        seconds, cpu, stored = zip(*(measured(original, arguments) for _ in range(TIMES)), strict=True)
        name = " ".join(arguments[:2] if arguments[0] == "run" else arguments[:1])
        print(f"{name:<16} {median(seconds):>8.2f} {median(cpu):>8.2f} {median(stored):>8.0f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else home())
