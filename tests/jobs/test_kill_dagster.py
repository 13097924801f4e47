"""Dagster's record and ours are two: a run killed between our commit and Dagster's event is simply run again."""

import multiprocessing
import shutil
import signal
from pathlib import Path

import dagster as dg
import pytest

from jobs.execute import runner
from quant_assets.tables import DECISIONS
from tests.jobs import killed
from tests.jobs.small import CUTS, LIVE, content, outcome, workspace


def test_killed_between_the_commit_and_the_event(by_day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The rows stand and Dagster knows nothing of them; run again, no row is doubled, the materialisation is there,
    and the jobs end where the plain functions end.
    """
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is restored
    session = LIVE[3]
    home = tmp_path / "home"
    shutil.copytree(by_day.with_name(f"{by_day.name}-{session}"), home)
    process = multiprocessing.get_context("spawn").Process(target=killed.run_job, args=(home, session))
    process.start()
    process.join(180)
    process.kill()
    assert process.exitcode == -signal.SIGKILL
    ws, undisturbed = workspace(home), workspace(by_day.with_name(f"{by_day.name}-{CUTS.calendar.shift(session, 1)}"))
    decided = content(undisturbed, DECISIONS)
    assert content(ws, DECISIONS).equals(decided)
    with runner(ws) as started:
        known = started.instance.get_materialized_partitions
        assert (known(dg.AssetKey("scores")), known(dg.AssetKey("decisions"))) == ({session.isoformat()}, set())
        for job in ("daily", "deliver", "post_trade"):
            started.session(job, session)
        assert known(dg.AssetKey("decisions")) == {session.isoformat()}
    assert content(ws, DECISIONS).equals(decided)
    found, expected = outcome(ws), outcome(undisturbed)
    assert {k for k in expected if found[k] != expected[k]} == set()
