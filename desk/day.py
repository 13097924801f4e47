"""The order of a day, and of a range: which stage follows which. The Dagster assets call the same stages.

A day of session D happens at D's decision time, before the next open:

    ingest → verdicts → fills → book → reconcile → universe → features → labels → (month end: train) → scores
           → drift → decisions → orders for the next open → costs → report
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from quant_assets.books.booking import book_session
from quant_assets.execution.delivery import deliver
from quant_assets.execution.drop_copy import collect
from quant_assets.features.audit.audit import Standing
from quant_assets.features.audit.gate import ensured
from quant_assets.features.catalogue import find_set
from quant_assets.features.labels import publish_labels
from quant_assets.features.publish import publish
from quant_assets.market_data.arrivals import arrivals
from quant_assets.market_data.quality import gate
from quant_assets.market_data.restatements import watching
from quant_assets.market_data.universe import update
from quant_assets.models.drift import measure
from quant_assets.models.drift_page import drift_page
from quant_assets.models.scoring import score
from quant_assets.models.training import month_ends, retrain
from quant_assets.portable import architecture
from quant_assets.ports import Clock, Progress, quiet
from quant_assets.post_trade.costs import write_costs
from quant_assets.post_trade.reconciliation import reconcile_session
from quant_assets.post_trade.report import session_report
from quant_assets.records import Book, Provenance, StageReport, content_id
from quant_assets.signals.decide import decide
from quant_assets.strategy import needed, sets_of, universes_of
from quant_assets.tables import (
    ACTIONS,
    BARS,
    CAPTURES,
    DECISIONS,
    LISTINGS,
    MODELS,
    PROMOTIONS,
    PROPOSED_ACTIONS,
    SCORES,
    UNIVERSE,
    VERDICTS,
)
from quant_assets.today.status import Status, day_status
from resources.clock import SessionClock
from resources.telemetry import heartbeat, read_heartbeat

if TYPE_CHECKING:
    from desk.workspace import Workspace

Reports = Iterator[StageReport]
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


def provenance(ws: "Workspace", run_id: str = "") -> Provenance:
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
        table_versions={t.name: ws.store.version(t) for t in (*READ, *features)},  # what is named here is kept for good
        commit=asked or os.environ.get("QUANT_COMMIT", "unknown"),
        lock_hash=content_id(lock.read_text()) if lock.exists() else "unknown",
        run_id=run_id,
        machine=architecture(),
    )


def arrive(ws: "Workspace", last: date, now: datetime, progress: Progress = quiet) -> Reports:
    """Take in every capture up to `last` that has arrived by `now` and was not taken in yet; where rows that sessions were decided on changed, somebody is told."""
    sources = [ws.source, *(f for of_dataset in ws.feeds.values() for f in of_dataset)]
    with watching(ws.store, ws.cuts, ws.notifier, last):
        for source in sources:
            yield arrivals(
                source,
                ws.store,
                ws.notifier,
                ws.ledger.knowledge.latest_cut(),
                now,
                last,
                ws.cuts.calendar,
                progress,
                ws.deployment.evidence,
            )


def derive(
    ws: "Workspace",
    sessions: Sequence[date],
    now: datetime,
    progress: Progress = quiet,
    run_id: str = "",
    cut_at: Sequence[date] | None = None,
) -> Reports:
    """Verdicts, universe, features, labels, models, scores and decisions of consecutive sessions, by range or by day. Models are cut at month ends, or `cut_at`."""
    for strategy in ws.deployment.strategies:
        yield update(ws.store, ws.cuts, strategy.universe, sessions)
    yield gate(ws.store, ws.cuts, sessions)
    is_late, switch = late(ws, sessions, now), ws.ledger.kill_switch.state()
    ws.ledger.knowledge.note_cut(ws.cuts.of(max(sessions)))
    proven = {f: _audited(ws, f, max(sessions), now, progress) for f in sets_of(ws.deployment.strategies)}
    for universe, name in needed(ws.deployment.strategies):
        yield publish(ws.store, find_set(name), universe, ws.cuts, sessions, progress)
    for strategy in ws.deployment.strategies:
        features = ws.feature_set_of(strategy)
        yield publish_labels(ws.store, ws.cuts, strategy.rule, sessions)
        for cut in month_ends(ws.cuts.calendar, min(sessions), max(sessions)) if cut_at is None else cut_at:
            yield retrain(ws.store, ws.registry, features, strategy, ws.cuts, cut, notifier=ws.notifier)
        yield score(ws.store, features, strategy, ws.cuts, sessions)
        yield measure(ws.store, features, strategy, ws.cuts, sessions)
        drift_page(ws.store, strategy, max(sessions), ws.reports)
        found = proven[features.name]
        yield decide(
            ws.store,
            features,
            strategy,
            ws.cuts,
            sessions,
            kill_switch=(switch.on, switch.reason),
            provenance=provenance(ws, run_id),
            now=now,
            late=is_late,
            features_refused=found.refusal,
        )


def _audited(ws: "Workspace", name: str, last: date, now: datetime, progress: Progress) -> Standing:
    """The standing of a feature set, asked once however many strategies read it, on the first of their universes."""
    universe = universes_of(ws.deployment.strategies, name)[0]
    return ensured(ws.store, find_set(name), universe, ws.cuts, last, now=now, notifier=ws.notifier, progress=progress)


def late(ws: "Workspace", sessions: Sequence[date], now: datetime) -> bool:
    """Whether a live session comes to be decided only after the open that it was to trade; somebody is told. What was decided in time stays so on a rerun."""
    session = max(sessions)
    live = ws.deployment.clock == "system" and len(sessions) == 1 and session >= ws.deployment.start
    if (
        not live
        or now < ws.cuts.trades_at(session)
        or ws.store.read(DECISIONS, as_of=None, first=session, last=session).height
    ):
        return False
    ws.notifier.notify(
        "critical", f"{session} was not decided before its open: NO_TRADE(LATE)", "see docs/operations.md, LATE"
    )
    return True


def clock_of(ws: "Workspace", session: date) -> Clock:
    """The clock of a live session: the wall's, or in a historical run one that shows the session's decision time."""
    return SessionClock(ws.cuts.of(session)) if ws.deployment.clock == "session" else ws.clock


def settle(ws: "Workspace", book: Book, session: date) -> Reports:
    """What the venue did in `session`, booked and reconciled."""
    broker, ledger, clock = ws.brokers.open(book), ws.ledger, clock_of(ws, session)
    broker.sync(session)
    yield collect(ws.store, ledger.outbox, ledger.executions, broker, book, ws.cuts, session, clock.now())
    yield book_session(ws.store, book, ws.cuts, session, ledger.executions.fills(book.name))
    yield reconcile_session(
        ledger.outbox,
        ledger.executions,
        ledger.breaks,
        broker,
        ws.store,
        book,
        session,
        ws.notifier,
        now=clock.now(),
    )


def status(ws: "Workspace", session: date, now: datetime | None = None) -> list[Status]:
    """The questions of the day and their answers. In a historical run, seen from just before the next open unless `now` is given."""
    beat = read_heartbeat(ws.home / "heartbeat.json")
    seen = now or (ws.cuts.of(session) if ws.deployment.clock == "session" else ws.clock.now())
    pages = [p.name for p in ws.reports.glob(f"*{session}*.html")]
    return day_status(
        ws.store,
        ws.ledger.outbox,
        ws.ledger.kill_switch,
        ws.ledger.breaks,
        ws.cuts,
        ws.deployment.strategies,
        ws.books(live=True),
        session,
        now=seen,
        reports=pages,
        heartbeat=beat.ts if beat else None,
    )


def run_day(ws: "Workspace", session: date, progress: Progress = quiet, run_id: str = "") -> Reports:
    """One live session from its capture to the orders for the next open and the page. A historical run's clock stands at the decision time."""
    clock, ledger = clock_of(ws, session), ws.ledger
    now = clock.now()
    yield from arrive(ws, session, now, progress)
    for book in ws.books(live=True):
        yield from settle(ws, book, session)
    yield from derive(ws, [session], now, progress, run_id)
    for book in ws.books(live=True):
        yield deliver(
            ws.store,
            ledger.outbox,
            ledger.kill_switch,
            ledger.breaks,
            ws.brokers.open(book),
            book,
            ws.strategy_of(book),
            ws.cuts,
            session,
            clock,
            ws.notifier,
        )
        yield write_costs(ws.store, book, ws.cuts, session)
        session_report(ws.store, ledger.breaks.listed(book.name), book, session, folder=ws.reports, notice=ws.notice)
    heartbeat(ws.home / "heartbeat.json", now=now, session=session, state="done")
