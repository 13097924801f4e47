"""The daily run and the range backfill, as the CLI starts them: the daemon's jobs, in this process, in order."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import IntEnum
from typing import TYPE_CHECKING

from desk.lock import QUEUED_SECONDS, only_range, only_run
from jobs.hours import ASSET, JOB, at_slots, slots_due
from jobs.lanes import called
from jobs.left import DAY, day_of, left
from quant_assets.books.apart import FAILED as BOOKS_FAILED
from quant_assets.calendars.slots import Slot
from quant_assets.errors import ConfigurationError
from quant_assets.execution.outcome import FAILED
from quant_assets.records import Frozen

if TYPE_CHECKING:
    from desk.workspace import Workspace
    from jobs.execute import Runner


class Exit(IntEnum):
    """What the process tells its caller. Documented in docs/operations.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOTHING_TO_TRADE = 10
    BLOCKED = 20


class Step(Frozen, frozen=True):
    """A job that has run: its assets' metadata by name."""

    job: str
    session: date
    assets: Mapping[str, Mapping[str, object]]


def due(ws: "Workspace", session: date | None) -> list[date]:
    """The sessions to run, in order: from the first one not done to `session`, or to the last whose decision time
    has come.

    In a historical run without `session`: just the next one. A session that is done already is run again only where
    it is named.
    """
    calendar, start, live = ws.cuts.calendar, ws.deployment.start, ws.deployment.clock == "system"
    if session is not None:
        _may_run(ws, session)
    _, end = ws.span
    # nothing lies beyond the clock, whatever the source declares
    passed = ws.cuts.due(ws.clock.now()) if live else None
    last = session or min((d for d in (end, passed) if d), default=ws.cuts.due(ws.clock.now()))
    missing = list(left(ws, [s for s in calendar.between(start, last) if ws.cuts.decides(s)]))
    if session is None and not live:
        return missing[:1]
    return missing or ([session] if session else [])


def _may_run(ws: "Workspace", session: date) -> None:
    """Raise ConfigurationError, or CalendarUnknown of a holiday, where a session that somebody names cannot be run."""
    start = ws.deployment.start
    ws.cuts.calendar.index(session)  # raises CalendarUnknown, naming the sessions around a holiday
    if ws.deployment.clock == "system" and ws.cuts.of(session) > ws.clock.now():
        raise ConfigurationError(
            f"the decision time of {session} is {ws.cuts.of(session):%Y-%m-%d %H:%M} UTC: "
            "what decides before it would not see what arrives until then"
        )
    if session < start:
        raise ConfigurationError(
            f"{session} lies before {start}, the first session traded day by day; use `quant backfill` for history"
        )
    if not ws.cuts.decides(session):
        raise ConfigurationError(
            f"{session} was known to trade only after its decision time: it is read, and not decided"
        )


def due_in_order(
    ws: "Workspace", session: date | None, lane: str | None = None
) -> "list[tuple[Workspace, date | Slot]]":
    """`due` of all lanes, or of one, in the order in which they are decided, with the slots that have come of the
    sessions under way; without a session, the next one of all in a historical run.
    """
    asked = [ws.lane_of(lane)] if lane is not None else ws.lanes
    if session is not None and len(asked) > 1:  # a day may be no session of another venue
        asked = [w for w in asked if w.cuts.calendar.is_session(session)] or asked[:1]
    # a market without a strategy first: what is decided at the same moment may read its bars
    asked = sorted(asked, key=lambda w: bool(w.deployment.strategies))
    found: list[tuple[datetime, int, date | Slot]] = [
        (w.cuts.of(day), n, day) for n, w in enumerate(asked) for day in due(w, session)
    ]
    if session is None:
        found += [(slot.cut, n, slot) for n, w in enumerate(asked) for slot in slots_due(w)]
    # a session ends at the cut of the first slot of the next one, and is booked before it
    in_order = [(asked[n], one) for _, n, one in sorted(found, key=lambda f: f[:2])]
    return in_order[:1] if session is None and ws.deployment.clock == "session" else in_order


def run_daily(runner: "Runner", sessions: "Sequence[date | tuple[Workspace, date | Slot]]") -> Iterator[Step]:
    """Daily → deliver → post_trade → today, session after session, each of a lane (without one, of the deployment's
    own); of a session that was begun, what is left. Of lanes that decide at slots, the slots that have come, and in a
    historical run all of a session before its end.
    """
    own, begun = runner.ws.lanes[0], set[tuple[str, date]]()
    with only_run(runner.ws.home, QUEUED_SECONDS):
        for one in sessions:
            ws, session = (own, one) if isinstance(one, date) else one
            if isinstance(session, Slot):
                if (ws.name, session.session) in begun:
                    continue  # a run does all that have come
                begun.add((ws.name, session.session))
                yield _step(runner, ws, JOB, session.session)
                continue
            begin = left(ws, [session]).get(session, DAY[0])
            if at_slots(ws) and ws.deployment.clock == "session" and begin == DAY[0]:
                yield _step(runner, ws, JOB, session)
            for job in day_of(ws)[DAY.index(begin) :]:
                yield _step(runner, ws, job, session)


def _step(runner: "Runner", ws: "Workspace", job: str, session: date) -> Step:
    return Step(called(job, ws.name), session, runner.session(job, session, ws.name))


def run_backfill(runner: "Runner", first: date, last: date, lane: str = "") -> Iterator[Step]:
    """History, features, a model at each month end, decisions and research books of the range, in one run, which
    steps aside for every other run on the home.
    """
    with only_range(runner.ws.home):
        yield Step(called("backfill", lane), last, runner.range("backfill", first, last, lane=lane))


def outcome(steps: list[Step]) -> Exit:
    """The exit code of daily steps: BLOCKED where a stage of a book failed, a delivery was refused or an order came to
    nothing,
    NOTHING_TO_TRADE where none of the sessions had an order.
    """
    if any(numbers.get(BOOKS_FAILED) for s in steps for numbers in s.assets.values()):
        return Exit.BLOCKED
    delivered = [s.assets.get("orders", s.assets.get(ASSET, {})) for s in steps if s.job.startswith(("deliver", JOB))]
    if any(d.get("state") == "refused" or any(d.get(n) for n in (*FAILED, "unsure")) for d in delivered):
        return Exit.BLOCKED
    orders = sum(float(str(d.get("orders", d.get("sent", 0)))) for d in delivered)
    return Exit.DONE if orders or not delivered else Exit.NOTHING_TO_TRADE
