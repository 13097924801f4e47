"""A day during which the power fails."""

import os
import shutil
from pathlib import Path

import pytest

from tests.jobs.cut_day import SESSION, Day, cuts


@pytest.mark.skipif(not shutil.which("strace") and "CI" not in os.environ, reason="records what is written with strace")
def test_a_day_that_is_cut_anywhere_loses_nothing_and_goes_on(by_day: Path, tmp_path: Path):
    """Tables, ledger and venue are as after one of its commits, each in its turn; no order is at the venue that the
    ledger has not sent; run again, the day ends as if nothing had been.
    """
    home = tmp_path / "home"
    shutil.copytree(by_day.with_name(f"{by_day.name}-{SESSION}"), home)
    assert set(cuts(Day(home, tmp_path), 16, seed=7, scratch=tmp_path, again=8)) == {"whole"}
