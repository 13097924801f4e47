"""Processes that store events of runs in the files of one home."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry

from jobs.event_log import EventLog, HomeStorage

ASSET = dg.AssetKey("prices")
BATCH = 5


def event(run: str, number: int) -> EventLogEntry:
    """Partition `number` of the asset was materialised in a run."""
    made = dg.AssetMaterialization(ASSET, partition=f"{run} {number}")
    told = DagsterEvent(
        DagsterEventType.ASSET_MATERIALIZATION.value, "job", event_specific_data=StepMaterializationData(made)
    )
    return EventLogEntry(None, 10, "", run, 1_750_000_000.0 + number, job_name="job", dagster_event=told)


def numbers(log: EventLog, run: str) -> list[int]:
    """Of the stored events of a run, their numbers, in order."""
    entries = [r.event_log_entry.get_dagster_event() for r in log.get_records_for_run(run).records]
    return [int(str(e.partition).split()[-1]) for e in entries]


def partitions(log: EventLog, runs: Sequence[str]) -> dict[str, list[int]]:
    """What the view of the asset has of each run, in ascending order."""
    keys = [k.split() for k in log.get_materialized_partitions(ASSET)]
    return {run: sorted(int(n) for r, n in keys if r == run) for run in runs}


def opened(home: Path) -> EventLog:
    """The event log of a home."""
    log = HomeStorage.from_local(str(home)).event_log_storage
    assert isinstance(log, EventLog)
    return log


def write(home: Path, run: str, count: int, start: Any = None) -> None:
    """Store the next `count` events of a run, in batches and single ones in turn."""
    log = opened(home)
    if start:
        start.wait(60)
    first = len(numbers(log, run))
    for begin in range(first, first + count, BATCH + 1):
        log.store_event(event(run, begin))
        log.store_event_batch([event(run, n) for n in range(begin + 1, begin + 1 + BATCH)])
    log.dispose()


def fork(home: Path) -> None:
    """Write in a parent, in its forked child and in the parent again, with open connections; fails where one does."""
    log = opened(home)
    log.store_event(event("parent", 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads: the child uses none of theirs
        child = os.fork()
    if not child:
        stored = False
        try:
            inherited = log._connections._engine.pool.checkedin()
            log.store_event_batch([event("child", n) for n in range(BATCH)])
            stored = not inherited and numbers(log, "parent")[:1] == [0]
        finally:
            os._exit(not stored)
    log.store_event(event("parent", 1))
    _, status = os.waitpid(child, 0)
    log.store_event(event("parent", 2))
    log.dispose()
    raise SystemExit(os.waitstatus_to_exitcode(status))
