"""The ports as Dagster resources, by the names that the stages take. A run on one home holds its lock."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import dagster as dg

from desk.day import clock_of, ports, slots_in, status
from desk.lock import QUEUED_SECONDS, only_range, only_run
from desk.shared import beside_own
from desk.workspace import Workspace
from jobs.lanes import by_lane, lane_of
from jobs.research import is_range
from quant_assets.assets import LAST
from quant_assets.calendars.slots import Slot
from quant_assets.ports import Clock, Progress, Store, quiet
from quant_assets.today.status import Status


def _session(context: dg.InitResourceContext) -> date | None:
    """The run's last session: as its tags name it, its partition, or the end of its range."""
    tags: Mapping[str, str] = context.run.tags if context.run else {}
    key = tags.get(LAST) or tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    return date.fromisoformat(key) if key else None


def build(ws: Workspace, progress: Progress = quiet) -> dict[str, Any]:
    """Every resource that the assets ask for, by name; a run takes those of its lane. Long stages report to
    `progress`.
    """
    if len(ws.lanes) == 1:
        return _ports(ws.lanes[0], lambda _: ws.lanes[0], progress)
    by_name = {lane.name: lane for lane in ws.lanes}

    def found(run: dg.DagsterRun | None) -> Workspace:
        return by_name[lane_of(run, by_name)]

    own = {name: _ports(lane, found, progress) for name, lane in by_name.items()}
    return by_lane(own) | {name: own[ws.lanes[0].name][name] for name in ("store", "clock")}


def _ports(ws: Workspace, found: Callable[[dg.DagsterRun | None], Workspace], progress: Progress) -> dict[str, Any]:
    """The resources of one lane; what opens with a run finds the run's own."""

    @dg.resource(
        description="The tables; a run holds the home's lock while it lives, so that no two write at once. A range "
        "steps aside for the others."
    )
    @contextmanager
    def store(context: dg.InitResourceContext) -> Generator[Store]:
        held = only_range if is_range(context.run) else only_run
        with held(ws.home, seconds=QUEUED_SECONDS):
            yield found(context.run).store

    @dg.resource(description="The wall clock, or in a historical run the decision time of its last session.")
    def clock(context: dg.InitResourceContext) -> Clock:
        session, there = _session(context), found(context.run)
        return there.clock if session is None else clock_of(there, there.cuts.calendar.on_or_after(session))

    def clock_for(session: date) -> Clock:
        # other venues trade on days on which this one does not decide
        return clock_of(ws, ws.cuts.calendar.on_or_after(session))

    def slots_of(sessions: Sequence[date]) -> Sequence[Slot]:
        return slots_in(ws, sessions)

    def questions(session: date) -> Sequence[Status]:
        return status(ws, session)

    def sessions_between(first: date, last: date) -> Sequence[date]:
        return ws.cuts.calendar.between(max(first, ws.span[0]), min(last, ws.until))

    return {
        **ports(ws, ws.clock, progress),
        "store": store,
        "clock": clock,
        "clock_of": clock_for,
        "slots_of": slots_of,
        "sessions_between": sessions_between,
        "source": ws.source,
        "backups": ws.backups,
        "beside_own": beside_own(ws),
        "feeds": ws.feeds,
        "status": questions,
    }
