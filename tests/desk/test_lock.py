"""A range holds a home between the runs of others: it never keeps one waiting longer than one piece of its work."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from desk.lock import only_range, only_run, step_aside, stepping
from quant_assets.stopping import Stopped, listening, undivided

ROOT = Path(__file__).parents[2]
RUN = """
import sys, time
from pathlib import Path
from desk.lock import only_run
print("asks", flush=True)
with only_run(Path(sys.argv[1])):
    print("works", time.monotonic(), flush=True)
    Path(sys.argv[1], "written").write_text("")
    time.sleep(float(sys.argv[2]))
    print("done", time.monotonic(), flush=True)
"""

ONCE = """
import sys
from pathlib import Path
from desk.lock import only_run
with only_run(Path(sys.argv[1]), seconds=0.3):
    pass
"""


@contextmanager
def run(home: Path, seconds: float) -> Generator[subprocess.Popen[str]]:
    """Another process, which asks for the home and then works on it for so long."""
    command = [sys.executable, "-c", RUN, str(home), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "asks\n"
        sleep(0.2)  # until it waits for the lock
        yield other
        other.kill()


def moments(other: subprocess.Popen[str]) -> dict[str, float]:
    """When the process began and ended its work, by the clock that all processes share."""
    out, _ = other.communicate(timeout=60)
    return {what: float(at) for what, at in (line.split() for line in out.splitlines())}


def test_a_run_goes_first_at_the_next_safe_point(tmp_path: Path) -> None:
    """Also where the range holds the lock twice, as a command and as its Dagster run do; afterwards it holds it still,
    alone.
    """
    ticks: list[str] = []
    tick = stepping(tmp_path, lambda done, total, what: ticks.append(what))  # noqa: ARG005  # the port's names
    with only_range(tmp_path), only_range(tmp_path):
        tick(0, 2, "nobody waits")
        assert ticks == ["nobody waits"]
        with run(tmp_path, 0.5) as other:
            sleep(0.5)
            assert not (tmp_path / "written").exists()  # inside a piece of work nobody else writes
            free = monotonic()
            tick(1, 2, "after the run")
            back = monotonic()
            its = moments(other)
            assert its["works"] - free < 3
            assert its["done"] <= back
        asked = subprocess.run(
            [sys.executable, "-c", ONCE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert "another run works on" in asked.stderr
        assert step_aside(tmp_path) is False


def test_work_that_remembers_what_it_read_is_not_divided(tmp_path: Path) -> None:
    """Ingest knows of instruments and deliveries in memory: another run comes after it."""
    with only_range(tmp_path), run(tmp_path, 0.0) as other:
        with undivided():
            assert step_aside(tmp_path) is False
        assert not (tmp_path / "written").exists()
        assert step_aside(tmp_path) is True
        assert (tmp_path / "written").exists()
        moments(other)


def test_runs_never_step_aside(tmp_path: Path) -> None:
    """Nor does what holds no lock; two runs take turns."""
    assert step_aside(tmp_path) is False
    with only_run(tmp_path), run(tmp_path, 0.0) as other:
        assert step_aside(tmp_path) is False
        assert not (tmp_path / "written").exists()
    assert not moments(other) or (tmp_path / "written").exists()


def test_a_signal_ends_a_range_that_waits(tmp_path: Path) -> None:
    """It does not sleep through Ctrl-C, and leaves no lock behind."""
    with listening(), only_range(tmp_path), run(tmp_path, 30.0):
        later = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        later.start()
        with pytest.raises(Stopped):
            step_aside(tmp_path)
    with only_range(tmp_path, seconds=5):
        pass
