"""How long a day waits for a backfill on its home, and what two researchers beside it cost it.

`PYTHONPATH=. python bench/beside.py FOLDER [NAMES]`: every command is a process of its own. While a backfill computes
features and models of a new strategy, its home is asked for every two seconds; then the day is run alone, beside that
backfill, and beside two researchers' backfills in homes of their own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from desk.lock import only_run

DEPLOYMENT = """
clock: session
start: 2025-06-02
source: {{kind: simulated, seed: 7, names: {names}, first: 2024-06-03, last: 2025-06-30, signal: 0.12}}
strategies:
  - {{name: daily, universe: {{name: liquid, size: {size}}}, holdings: 20, model: {{min_sessions: 60, rounds: 60}}}}
{more}
books:
  - {{name: paper, strategy: daily, account: P, capital: 1000000, broker: paper, armed: true}}
"""
MORE = (
    "  - {{name: {name}, universe: {{name: {name}, size: {size}}}, holdings: 20, feature_set: alpha158, "
    "model: {{min_sessions: 60, rounds: 60}}}}\n"
)
FIRST = "2025-06-02"


def quant(home: Path, *argv: str) -> subprocess.Popen[bytes]:
    """A command on a home, started."""
    env = {**os.environ, "QUANT_HOME": str(home)}
    return subprocess.Popen([sys.executable, "-m", "jobs.cli", *argv], env=env, stdout=subprocess.DEVNULL)


def seconds(home: Path, *argv: str) -> float:
    """How long a command takes, on the wall. Raises CalledProcessError where it fails."""
    began = monotonic()
    process = quant(home, *argv)
    if process.wait() not in {0, 10}:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return monotonic() - began


def waits(home: Path, backfill: subprocess.Popen[bytes]) -> list[float]:
    """How long a run that asks for the home waits, asked again two seconds after each answer until the backfill
    ends.
    """
    found: list[float] = []
    while backfill.poll() is None:
        began = monotonic()
        with only_run(home, seconds=1_800):
            found.append(monotonic() - began)
        sleep(2)
    return found


def copied(home: Path, name: str) -> Path:
    """A copy of a home."""
    return Path(shutil.copytree(home, home.with_name(name)))


def researchers(production: Path, size: int) -> Sequence[Path]:
    """Two research homes beside it, each with a strategy of its own."""
    homes = [production.with_name(f"{production.name}-{name}") for name in ("ann", "bob")]
    for home in homes:
        home.mkdir()
        declared = MORE.format(name=home.name, size=size)
        (home / "deployment.yaml").write_text(f"production: ../{production.name}\nstrategies:\n{declared}")
    return homes


def main(folder: Path, names: int) -> None:
    """Print what was measured, as rows of a table."""
    size, base = names // 2, folder / "base"
    base.mkdir(parents=True)
    declaration = base / "deployment.yaml"
    declaration.write_text(DEPLOYMENT.format(names=names, size=size, more=""))
    print(f"| history of {names} names, wall | {seconds(base, 'backfill'):.1f} s |", flush=True)
    more = DEPLOYMENT.format(names=names, size=size, more=MORE.format(name="more", size=size))
    alone, one, two, three = (copied(base, n) for n in ("alone", "one", "two", "three"))
    print(f"| the day alone | {seconds(alone, 'run', 'daily'):.1f} s |", flush=True)

    (one / "deployment.yaml").write_text(more)
    began = monotonic()
    asked = waits(one, quant(one, "backfill"))
    print(f"| a backfill of another strategy, wall | {monotonic() - began:.1f} s |")
    print(f"| a run that asks for its home {len(asked)} times: waits, median and most | ", end="")
    print(f"{median(asked):.2f}, {max(asked):.2f} s |", flush=True)

    (two / "deployment.yaml").write_text(more)
    long = quant(two, "backfill")
    sleep(15)
    (two / "deployment.yaml").write_text(declaration.read_text())
    day = seconds(two, "run", "daily")
    print(f"| the day beside a backfill on its home, which had {_left(long)} to go | {day:.1f} s |", flush=True)

    running = [quant(home, "backfill") for home in researchers(three, size)]
    sleep(15)
    day = seconds(three, "run", "daily")
    print(f"| the day beside two researchers' backfills | {day:.1f} s |", flush=True)
    for process in running:
        process.wait()


def _left(process: subprocess.Popen[bytes]) -> str:
    """How long a process runs from now on."""
    began = monotonic()
    process.wait()
    return f"{monotonic() - began:.1f} s"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300)
