"""Our storage of Dagster's events: it answers as Dagster's own, and loses nothing to a kill or to another process."""

import json
import multiprocessing
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from jobs import execute
from jobs.execute import CONFIG, Runner, dagster_home
from quant_assets.assets import quarter_partitions
from tests.jobs import event_writers
from tests.jobs.event_writers import ASSET, BATCH, numbers, opened, partitions

FIRST, LAST = date(2024, 1, 1), date(2025, 11, 20)
QUARTERS = quarter_partitions(FIRST, LAST)
KEYS = QUARTERS.get_partition_keys()[:8]
SQLITE = {"sqlite": {"base_dir": {"env": "DAGSTER_HOME"}}}


@dg.asset(partitions_def=QUARTERS, backfill_policy=dg.BackfillPolicy.single_run(), tags={"kind": "raw"})
def prices() -> dg.MaterializeResult[Any]:
    """Something that is made for each quarter."""
    return dg.MaterializeResult(metadata={"rows": 3}, tags={"source": "test"})


@dg.asset_check(asset=prices)
def complete() -> dg.AssetCheckResult:
    """Something that holds."""
    return dg.AssetCheckResult(passed=True)


JOB = dg.define_asset_job("job", dg.AssetSelection.assets(prices), executor_def=dg.in_process_executor)
DEFINITIONS = dg.Definitions(assets=[prices], asset_checks=[complete], jobs=[JOB])
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.jobs.event_writers"])


@contextmanager
def run_in(home: Path, monkeypatch: pytest.MonkeyPatch, storage: dict[str, Any] | None = None) -> Iterator[Runner]:
    """A runner of the small job on the instance of a home, with our storage or the one named."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    told = yaml.safe_load(CONFIG.read_text())
    (folder / "dagster.yaml").write_text(yaml.safe_dump({**told, "storage": storage or told["storage"]}))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setattr(execute, "build", lambda *_: DEFINITIONS)
    ws: Any = None
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield Runner(ws, instance)


def answers(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the UI and the sensors ask of runs and assets; without times and ids of runs."""
    runs = sorted(instance.get_runs(), key=lambda run: json.dumps(run.tags))
    made = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=ASSET), limit=100, ascending=True).records
    check = dg.AssetCheckKey(ASSET, "complete")
    checked = instance.event_log_storage.get_asset_check_execution_history(check, limit=100)
    last = instance.get_asset_records([ASSET])[0].asset_entry.last_materialization
    tagged = instance.event_log_storage.get_event_tags_for_asset(ASSET, {"source": "test"})
    return {
        "events": [[e.dagster_event_type for e in instance.all_logs(run.run_id)] for run in runs],
        "status": [run.status for run in runs],
        "made": [(r.partition_key, r.asset_materialization and r.asset_materialization.tags["source"]) for r in made],
        "partitions": instance.get_materialized_partitions(ASSET),
        "last": last and last.get_dagster_event().partition,
        "tagged": len(tagged),
        "checked": [c.status for c in checked],
        "changes": len(instance.fetch_run_status_changes(dg.DagsterEventType.RUN_SUCCESS, limit=100).records),
        "steps": [[s.status for s in instance.get_run_step_stats(run.run_id)] for run in runs],
    }


def test_it_answers_as_dagsters_own_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same runs, of a partition and of a range, leave the same events, asset views and check results in both."""
    found: list[dict[str, Any]] = []
    for name, storage in (("ours", None), ("theirs", SQLITE)):
        with run_in(tmp_path / name, monkeypatch, storage) as started:
            started.session("job", FIRST)
            started.range("job", FIRST, LAST)
            found.append(answers(started.instance))
    assert found[0] == found[1]
    assert len(found[0]["partitions"]) == len(KEYS)
    assert not list((tmp_path / "ours").glob("dagster/history/runs/*-*.db"))  # a file for each run


def test_a_range_plans_each_asset_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A range has one planned event an asset, whatever its length, and a materialisation for each partition."""
    with run_in(tmp_path, monkeypatch) as started:
        started.range("job", FIRST, LAST)
        (run,) = started.instance.get_runs()
        kinds = [e.dagster_event_type for e in started.instance.all_logs(run.run_id)]
    assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED) == 1
    assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == len(KEYS)


def test_a_home_of_dagsters_own_storage_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs and partitions that Dagster's own storage recorded are there, and an old cursor misses nothing new."""
    with run_in(tmp_path, monkeypatch, SQLITE) as started:
        started.range("job", FIRST, LAST)
        (old,) = started.instance.get_runs()
        events = [e.dagster_event_type for e in started.instance.all_logs(old.run_id)]
        last = started.instance.fetch_materializations(ASSET, limit=1).records[0].storage_id
    with run_in(tmp_path, monkeypatch) as started:
        assert [e.dagster_event_type for e in started.instance.all_logs(old.run_id)] == events
        started.instance.report_engine_event("seen again", old)
        assert len(started.instance.all_logs(old.run_id)) == len(events) + 1
        started.session("job", FIRST)
        new = dg.AssetRecordsFilter(asset_key=ASSET, after_storage_id=last)
        assert [r.partition_key for r in started.instance.fetch_materializations(new, limit=10).records] == [str(FIRST)]
        assert len(started.instance.get_materialized_partitions(ASSET)) == len(KEYS)


def test_killed_at_any_time_it_opens_with_the_first_events_in_order(tmp_path: Path):
    """After SIGKILL the file is whole: the run's first events, in order, no part of a batch; the asset has the same."""
    chance = random.Random(7)  # noqa: S311  # not for secrets
    opened(tmp_path).dispose()
    for _ in range(6):
        before = len(numbers(opened(tmp_path), "run"))
        process = FORKED.Process(target=event_writers.write, args=(tmp_path, "run", 10_000))
        process.start()
        while len(numbers(opened(tmp_path), "run")) == before:
            time.sleep(0.005)
        time.sleep(chance.random() / 20)
        process.kill()
        process.join()
        with sqlite3.connect(tmp_path / "history" / "runs" / "index.db") as file:
            assert file.execute("pragma integrity_check").fetchall() == [("ok",)]
        log = opened(tmp_path)
        found = numbers(log, "run")
        assert found == list(range(len(found)))
        assert (len(found) - before) % (BATCH + 1) in {0, 1}
        assert partitions(log, ["run"]) == {"run": found}
        log.dispose()


def test_two_processes_write_and_one_reads(tmp_path: Path):
    """Nothing is lost or mixed up, and a reader sees what is complete, growing."""
    start, count = FORKED.Barrier(3), 20 * (BATCH + 1)
    writers = [FORKED.Process(target=event_writers.write, args=(tmp_path, run, count, start)) for run in "ab"]
    for writer in writers:
        writer.start()
    start.wait(60)
    log, seen = opened(tmp_path), [0]
    while any(writer.is_alive() for writer in writers):
        found = numbers(log, "a")
        assert found == list(range(len(found)))
        seen.append(len(found))
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen == sorted(seen)
    assert partitions(log, "ab") == {run: list(range(count)) for run in "ab"}
    log.dispose()


def test_a_forked_child_uses_connections_of_its_own(tmp_path: Path):
    """Parent and child store events after a fork, and each finds its own and the other's."""
    process = FORKED.Process(target=event_writers.fork, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    log = opened(tmp_path)
    assert (numbers(log, "parent"), numbers(log, "child")) == ([0, 1, 2], list(range(BATCH)))
    log.dispose()


def test_a_configuration_that_nobody_edited_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A home's dagster.yaml of an earlier release is replaced; an edited one stays, with a line on stderr."""
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is restored
    configured, old = dagster_home(tmp_path) / "dagster.yaml", b"storage: {}\n"
    assert configured.read_bytes() == CONFIG.read_bytes()
    monkeypatch.setattr(execute, "EARLIER", {execute.sha256(old).hexdigest()})
    configured.write_bytes(old)
    dagster_home(tmp_path)
    assert configured.read_bytes() == CONFIG.read_bytes()
    assert not capsys.readouterr().err
    configured.write_bytes(old + b"# ours\n")
    dagster_home(tmp_path)
    assert configured.read_bytes() == old + b"# ours\n"
    assert "edited by hand" in capsys.readouterr().err
