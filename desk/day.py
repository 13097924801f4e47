"""A day and a range of a deployment: the stages of `quant_assets.chain`, with the adapters of a workspace."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path

from desk.lock import step_aside
from desk.shared import beside_own, shared
from desk.workspace import Workspace
from desk.worth import worth
from quant_assets import chain
from quant_assets.backtest.slot_stages import all_slots
from quant_assets.calendars.beside import deadline
from quant_assets.calendars.slots import Slot
from quant_assets.errors import ConfigurationError
from quant_assets.features.audit.audit import standing
from quant_assets.features.sets import FeatureSet
from quant_assets.moments import Every
from quant_assets.portable import architecture
from quant_assets.ports import Clock, Progress, quiet
from quant_assets.records import Provenance, StageReport, content_id
from quant_assets.stage import Stage
from quant_assets.stopping import check
from quant_assets.tables import (
    ACTIONS,
    BARS,
    CAPTURES,
    DECISIONS,
    LISTINGS,
    MODELS,
    NAV,
    PROMOTIONS,
    PROPOSED_ACTIONS,
    SCORES,
    UNIVERSE,
    VERDICTS,
)
from quant_assets.today.done import Done, done
from quant_assets.today.status import Status, day_status
from resources.clock import SessionClock
from resources.telemetry import heartbeat, read_heartbeat

Reports = Iterator[StageReport]
DECIDED = chain.between("universe", "decisions")
"""From what was ingested to what is decided: what a range and a day have in common."""
READ = (
    BARS,
    ACTIONS,
    PROPOSED_ACTIONS,
    LISTINGS,
    CAPTURES,
    UNIVERSE,
    VERDICTS,
    MODELS,
    PROMOTIONS,
    SCORES,
    DECISIONS,
)  # what a decision is made of


def ports(ws: Workspace, clock: Clock, progress: Progress = quiet) -> dict[str, object]:
    """What the stages take from a workspace, by the names of their arguments; `sessions` are the caller's."""

    def stamp(run_id: str) -> Provenance:
        return provenance(ws, run_id)

    def is_late(sessions: Sequence[date], now: datetime) -> bool:
        return late(ws, sessions, now)

    def slot_late(slot: Slot) -> bool:
        live = ws.deployment.clock == "system" and slot.session >= ws.deployment.start
        return live and clock.now() >= slot.valid_until

    def refused(features: FeatureSet) -> str:
        return standing(ws.store, features).refusal

    def beat(session: date) -> None:
        heartbeat(ws.home / "heartbeat.json", now=clock_of(ws, session).now(), session=session, state="done")

    def tick(done: int, total: int, what: str) -> None:
        check()  # between two pieces of long work it is safe to leave
        step_aside(ws.home)  # and to let a run go first that somebody waits for
        progress(done, total, what)

    return {
        "store": ws.store,
        "market": ws.market_store,
        "knowledge": ws.knowledge,
        "outbox": ws.ledger.outbox,
        "executions": ws.ledger.executions,
        "kill_switch": ws.ledger.kill_switch,
        "breaks": ws.ledger.breaks,
        "entries": ws.ledger.entries,
        "audit": ws.ledger.audit,
        "facts": ws.ledger.facts,
        "sources": [*beside_own(ws), *ws.sources],
        "shared": shared(ws),
        "vendors": ws.deployment.backups,
        "announced": ws.deployment.announcements,
        "evidence": ws.deployment.evidence,
        "rules": ws.rules,
        "worth": partial(worth, ws),
        "cuts": ws.cuts,
        "clock": clock,
        "brokers": ws.brokers,
        "registry": ws.registry,
        "notifier": ws.notifier,
        "strategies": ws.deployment.strategies,
        "books": ws.books(live=True),
        "research_books": ws.books(live=False),
        "reports": ws.reports,
        "notice": ws.notice,
        "stamp": stamp,
        "late": is_late,
        "refused": refused,
        "on_bars": ws.on_bars,
        "slot_late": slot_late,
        "beat": beat,
        "progress": tick,
    }


def clock_of(ws: Workspace, session: date) -> Clock:
    """The clock of a session's run: the wall, or in a historical run the session's decision time."""
    return SessionClock(ws.cuts.of(session)) if ws.deployment.clock == "session" else ws.clock


def provenance(ws: Workspace, run_id: str = "") -> Provenance:
    """What is recorded beside results: table versions, code commit, hash of the lock file, run, kind of processor."""
    root = Path(__file__).parents[1]
    git = shutil.which("git")
    asked = (
        subprocess.run(
            [git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if git
        else ""
    )  # git, on our own folder
    lock = root / "requirements.lock"
    features = [ws.feature_set_of(s).table for s in ws.deployment.strategies]
    return Provenance(
        table_versions=ws.store.versions((*READ, *features)),  # what is named here is kept for good
        commit=asked or os.environ.get("QUANT_COMMIT", "unknown"),
        lock_hash=content_id(lock.read_text()) if lock.exists() else "unknown",
        run_id=run_id,
        machine=architecture(),
    )


def arrive(ws: Workspace, last: date, progress: Progress = quiet, clock: Clock | None = None) -> Reports:
    """Ingest every delivery up to `last` that has arrived; where rows changed that sessions were decided on,
    somebody is notified.
    """
    given = ports(ws, clock or clock_of(ws, last), progress)
    yield from chain.STAGES["market_data"].run(given | {"sessions": [last]})


def derive(
    ws: Workspace,
    sessions: Sequence[date],
    progress: Progress = quiet,
    run_id: str = "",
    train_at: Sequence[date] | None = None,
) -> Reports:
    """Universe to decisions of consecutive sessions, a range or one day. Models are trained at month ends, or
    `train_at`.
    """
    given = ports(ws, clock_of(ws, max(sessions)), progress) | {"sessions": list(sessions), "run_id": run_id}
    yield from chain.run(_stages(ws, DECIDED), given | {"train_at": train_at, "asked": slots_in(ws, sessions)})


def _stages(ws: Workspace, stages: Sequence[Stage]) -> Sequence[Stage]:
    """The stages as the lane has them: on bars, where its strategies decide at slots; or of a market without any."""
    if not ws.deployment.strategies:
        return [chain.UNTRADED[s.name] for s in stages]
    if not isinstance(ws.moment, Every):
        return stages
    return [chain.AT_SLOTS[s.name] for s in stages if s.name in chain.AT_SLOTS]


def slots_in(ws: Workspace, sessions: Sequence[date]) -> list[Slot]:
    """The slots of the sessions, ascending; none where the strategies decide once a session.

    Raises ConfigurationError where strategies of both kinds are in one lane.
    """
    intraday = [isinstance(s.moment, Every) for s in ws.deployment.strategies]
    if any(intraday) and not all(intraday):
        raise ConfigurationError("strategies that decide at slots and such that decide once a session are two lanes")
    return all_slots(ws.deployment.strategies, ws.cuts, sessions) if any(intraday) else []


def run_day(ws: Workspace, session: date, progress: Progress = quiet, run_id: str = "") -> Reports:
    """One live session, from its delivery to the orders for the next open and the page. Where strategies decide at
    slots it is the end of the session: what was not decided or delivered at its slot is recorded as too late.
    """
    given = ports(ws, clock_of(ws, session), progress)
    asked = slots_in(ws, [session])
    yield from chain.run(_stages(ws, chain.CHAIN), given | {"sessions": [session], "run_id": run_id, "asked": asked})


def open_books(ws: Workspace, session: date, progress: Progress = quiet) -> Reports:
    """Before the first slots of books that were never booked: their capital, booked on the evening before the session
    and compared with the venue. A slot trades from there.
    """
    booked = set(ws.store.read(NAV, as_of=None, columns=("book",))["book"])
    if new := [b for b in ws.books(live=True) if b.name not in booked]:
        before = ws.cuts.decided_before(session)
        given = ports(ws, clock_of(ws, before), progress) | {"sessions": [before], "books": new}
        yield from chain.run(chain.between("market_data", "reconciliation"), given)


def run_slot(ws: Workspace, slot: Slot, progress: Progress = quiet, run_id: str = "") -> Reports:
    """One slot of a live session: the bars that came, what earlier slots traded, features, scores, decisions, orders.
    Again: what is left of it.
    """
    clock = SessionClock(slot.cut) if ws.deployment.clock == "session" else ws.clock
    given = ports(ws, clock, progress) | {"sessions": [slot.session], "run_id": run_id, "asked": [slot]}
    yield from chain.run(chain.SLOT, given)


def late(ws: Workspace, sessions: Sequence[date], now: datetime) -> bool:
    """Whether a live session comes to be decided only after the open that it was to trade; somebody is told. What
    was decided in time stays so on a rerun.
    """
    session = max(sessions)
    live = ws.deployment.clock == "system" and len(sessions) == 1 and session >= ws.deployment.start
    if not live or now < deadline(ws.cuts, session):
        return False
    decided = ws.store.read(DECISIONS, as_of=None, first=session, last=session, columns=())["strategy"]
    if {s.name for s in ws.deployment.strategies} & set(decided):
        return False
    ws.notifier.notify(
        "critical",
        f"{session} was not decided before its {ws.cuts.auction(session)}: NO_TRADE(LATE)",
        "see docs/operations.md, LATE",
    )
    return True


def what_is_done(ws: Workspace, sessions: Sequence[date]) -> Mapping[str, Mapping[date, Done]]:
    """What is done of each of the sessions (ascending), by the name of each book that is traded."""
    clock = ws.clock if ws.deployment.clock == "system" else None
    return {
        book.name: done(
            ws.store,
            ws.ledger.outbox,
            ws.ledger.facts,
            ws.cuts,
            clock,
            book,
            sessions,
            lambda p: (ws.reports / p).exists(),
            shared=len(ws.sharing(book)) > 1,
        )
        for book in ws.books(live=True)
    }


def status(ws: Workspace, session: date, now: datetime | None = None) -> list[Status]:
    """The questions of the day and their answers. In a historical run, seen from just before the next open unless
    `now` is given.
    """
    beat = read_heartbeat(ws.home / "heartbeat.json")
    seen = now or (ws.cuts.of(session) if ws.deployment.clock == "session" else ws.clock.now())
    by_book = what_is_done(ws, [session])
    found = day_status(
        ws.store,
        ws.ledger.kill_switch,
        ws.ledger.breaks,
        ws.ledger.audit,
        ws.cuts,
        ws.deployment.strategies,
        [(book, by_book[book.name][session]) for book in ws.books(live=True)],
        session,
        now=seen,
        heartbeat=beat.ts if beat else None,
    )
    return found if ws.deployment.strategies else found[:1]  # of a market without a strategy: is its data there?
