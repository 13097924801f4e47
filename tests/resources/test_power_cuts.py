"""After a power cut a home reads as in a run that nothing disturbed, with everything that was reported as stored."""

import os
import shutil
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
    undisturbed = Undisturbed(tmp_path / "home", found.marks)
    for n, (at, home) in enumerate(states(found, STATES, seed=11, scratch=tmp_path)):
        assert undisturbed.check(home, at) == "whole"
        if n % 10 == 5:
            undisturbed.goes_on(home)


def test_without_syncs_the_same_cuts_lose_rows_and_it_is_seen(tmp_path: Path):
    """The same work with `fsync` doing nothing: tables lose what was reported. The ledger, which SQLite syncs by
    itself, refuses them all the same: none is read as if it were whole.
    """
    found = recorded(tmp_path / "home", "unsynced")
    undisturbed = Undisturbed(tmp_path / "home", found.marks)
    ends = [undisturbed.check(home, at) for at, home in states(found, STATES, seed=11, scratch=tmp_path)]
    assert sum(end != "whole" for end in ends) > STATES / 2
