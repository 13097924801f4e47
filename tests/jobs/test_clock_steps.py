"""A clock that jumps during a run: the end state of an undisturbed run."""

import os
import shutil
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest

from tests.jobs.small import LIVE, outcome, workspace

WHOLE = "QUANT_CHAOS" in os.environ
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
STEPS: dict[str, tuple[str, ...]] = {
    "a day on and back": ("+0d", "+1d"),
    "an hour back": ("+0d", "-1h"),
    "to 2038 and to 2001": ("+0d", "@2038-01-20 00:00:00", "@2001-01-01 00:00:00"),
    "to the next open": ("+0d", "@2024-05-29 13:31:00"),
}


def run(home: Path, *sessions: str, **environment: str) -> subprocess.Popen[bytes]:
    """A run of sessions in another process."""
    command = [sys.executable, "-m", "tests.jobs.stepped", str(home), *sessions]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE)


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (Debian: faketime)")
@pytest.mark.parametrize("steps", STEPS if WHOLE else ["a day on and back"])
def test_a_clock_that_jumps_during_a_run(steps: str, operated: Path, tmp_path: Path) -> None:
    """Whatever the wall shows, tables, ledger and venue end as an undisturbed run's: the session's own clock decides,
    and a lease of a process that lives is not lost.
    """
    home, calm = (Path(shutil.copytree(operated, tmp_path / name)) for name in ("home", "calm"))
    stamp = tmp_path / "clock"
    stamp.write_text("+0d\n")
    environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    session = str(LIVE[4])
    process, jumps = run(home, session, **environment), cycle(STEPS[steps])
    while process.poll() is None:
        stamp.write_text(f"{next(jumps)}\n")
        time.sleep(0.25)
    assert process.communicate()[1] is not None
    assert process.returncode == 0
    calmly = run(calm, session)
    calmly.communicate()
    assert calmly.returncode == 0
    assert outcome(workspace(home)) == outcome(workspace(calm))
