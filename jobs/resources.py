"""The ports as Dagster resources. A run on one home holds its lock; a historical run's clock stands at its session's decision time."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import dagster as dg

from desk.day import late, provenance, status
from desk.lock import only_run
from desk.workspace import Workspace
from quant_assets.ports import Clock, Store
from quant_assets.records import Provenance
from quant_assets.today.status import Status
from resources.clock import SessionClock
from resources.telemetry import heartbeat

QUEUED_SECONDS = 900.0  # a daemon's run waits for the one before it: sessions missed are caught up in order


def _session(context: dg.InitResourceContext) -> date | None:
    """The run's session: its partition, or the end of its range."""
    tags: Mapping[str, str] = context.run.tags if context.run else {}
    key = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    return date.fromisoformat(key) if key else None


def build(ws: Workspace) -> dict[str, Any]:
    """Every resource that the assets ask for, by name."""

    @dg.resource(description="The tables; a run holds the home's lock while it lives, so that no two write at once.")
    @contextmanager
    def store(_: dg.InitResourceContext) -> Generator[Store]:
        with only_run(ws.home, seconds=QUEUED_SECONDS):
            yield ws.store

    @dg.resource(description="The wall clock, or the session's decision time in a historical run.")
    def clock(context: dg.InitResourceContext) -> Clock:
        session = _session(context)
        if ws.deployment.clock != "session" or session is None:
            return ws.clock
        return SessionClock(
            ws.cuts.of(ws.cuts.calendar.on_or_after(session))
        )  # other venues trade on days on which this one does not decide

    def questions(session: date) -> Sequence[Status]:
        return status(ws, session)

    def beat(session: date) -> None:
        heartbeat(
            ws.home / "heartbeat.json",
            now=ws.cuts.of(session) if ws.deployment.clock == "session" else ws.clock.now(),
            session=session,
            state="done",
        )

    def is_late(sessions: Sequence[date], now: datetime) -> bool:
        return late(ws, sessions, now)

    def stamp(run_id: str) -> Provenance:
        return provenance(ws, run_id)

    asked: Callable[[date], Sequence[Status]] = questions
    return {
        "store": store,
        "clock": clock,
        "knowledge": ws.ledger.knowledge,
        "outbox": ws.ledger.outbox,
        "executions": ws.ledger.executions,
        "kill_switch": ws.ledger.kill_switch,
        "breaks": ws.ledger.breaks,
        "audit": ws.ledger.audit,
        "source": ws.source,
        "evidence": ws.deployment.evidence,
        "feeds": ws.feeds,
        "cuts": ws.cuts,
        "brokers": ws.brokers,
        "registry": ws.registry,
        "notifier": ws.notifier,
        "strategies": ws.deployment.strategies,
        "books": ws.books(live=True),
        "research_books": ws.books(live=False),
        "stamp": stamp,
        "status": asked,
        "beat": beat,
        "late": is_late,
    }
