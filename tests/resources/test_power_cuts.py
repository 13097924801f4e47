"""After a power cut a home reads as in a run that nothing disturbed, with everything that was reported as stored."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.resources.cut_states import states, whole
from tests.resources.cut_work import Undisturbed
from tests.resources.recorded_writes import Recording, record

STATES = 40
pytestmark = pytest.mark.skipif(
    not shutil.which("strace") and "CI" not in os.environ, reason="records what is written with strace"
)


def recorded(home: Path, *flags: str) -> Recording:
    """The work, recorded in a new home."""
    home.mkdir()
    return record([sys.executable, "-m", "tests.resources.cut_work", str(home), *flags], home, home.parent)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file but SQLite's shared memory, which is no matter of the disk."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("-shm")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_a_cut_loses_nothing_that_was_reported(tmp_path: Path):
    """Whatever part of the unsynced changes is kept: tables, acts and pages are whole, in the order in which they were
    stored, and the work goes on from there to the same end. With everything kept, the model has each byte of the disk.
    """
    found = recorded(tmp_path / "home")
    whole(found, tmp_path / "model")
    model = contents(tmp_path / "model")
    assert len(model) > 30
    assert model == contents(tmp_path / "home")
    undisturbed = Undisturbed(tmp_path / "home", [what for _, what in found.marks])
    for n, (at, home) in enumerate(states(found, STATES, seed=11, scratch=tmp_path)):
        assert undisturbed.check(home, found.reported(at)) == "whole"
        if n % 10 == 5:
            undisturbed.goes_on(home)


def test_without_syncs_the_same_cuts_lose_rows_and_it_is_seen(tmp_path: Path):
    """The same work with `fsync` doing nothing: tables lose what was reported. The ledger, which SQLite syncs by
    itself, refuses them all the same: none is read as if it were whole. A page has no mark in the ledger, so one that
    was not synced may be torn; it is made again from the tables.
    """
    found = recorded(tmp_path / "home", "unsynced")
    undisturbed = Undisturbed(tmp_path / "home", [what for _, what in found.marks])
    ends = [
        undisturbed.check(home, found.reported(at), pages=False)
        for at, home in states(found, STATES, seed=11, scratch=tmp_path)
    ]
    assert sum(end != "whole" for end in ends) > STATES / 2


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "mkfs.ext4", "losetup"))),
    reason="makes a file system of its own: needs root, and ext4's tools",
)
@pytest.mark.parametrize("flags", [(), ("unsynced",)], ids=["as it is", "without syncs"])
def test_a_file_system_that_is_shut_down_keeps_what_was_reported(flags: tuple[str, ...], tmp_path: Path):
    """On a real ext4 that loses what was not synced: nothing that was reported is lost. Without our syncs it is, and
    the home is refused.
    """
    command = ["unshare", "-m", sys.executable, "-m", "tests.resources.real_cut", str(tmp_path), "3", "5", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "failed to setup loop device" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this machine lends no loop device")
    assert done.returncode == 0, done.stderr
    ends: dict[str, int] = json.loads(done.stdout)
    assert sum(ends.values()) == 3
    assert (set(ends) == {"whole"}) is not bool(flags)
