"""Lanes that decide at slots, as `quant run daily` runs them: in this process, slot by slot, then the session's end.

Dagster has sessions and no slots: it shows the feature sets on bars of such a lane; what a slot did is in the tables.
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from desk.day import run_day, run_slot, slots_in
from quant_assets.backtest.slot_stages import undecided
from quant_assets.calendars.slots import Slot, due_slots
from quant_assets.moments import Every
from quant_assets.records import Frozen, OrderState, StageReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from desk.workspace import Workspace

WITHIN = timedelta(days=3)  # before now: no session is longer
AHEAD = timedelta(days=10)  # longer than any holiday
WAITING = (OrderState.PENDING, OrderState.SUBMITTING, OrderState.UNKNOWN)
SHOWN_AS = {"deliver": "orders"}  # the report of a stage by the name of its asset


class Did(Frozen, frozen=True):
    """What was run of a lane of slots, named like a job, with the numbers of stages by the names of their assets."""

    job: str
    session: date
    assets: "Mapping[str, Mapping[str, object]]"


def at_slots(ws: "Workspace") -> bool:
    """Whether the strategies of a lane decide at slots."""
    return isinstance(ws.moment, Every)


def slots_due(ws: "Workspace") -> list[Slot]:
    """The slots of the session under way that have come and of which something is left to do, ascending; by the wall
    alone. What is left of a session that is over is done at its end.
    """
    moment = ws.moment
    if ws.deployment.clock != "system" or not isinstance(moment, Every):
        return []
    now = ws.clock.now()
    come = due_slots(ws.cuts.calendar, moment, now - WITHIN, now)
    under_way = [s for s in come if s.session >= ws.deployment.start and ws.cuts.of(s.session) > now]
    return [s for s in under_way if _is_left(ws, s)]


def next_slot(ws: "Workspace") -> Slot | None:
    """The next slot that has not come yet, by the wall; None where none comes within days."""
    moment = ws.moment
    if not isinstance(moment, Every):
        return None
    now = ws.clock.now()
    ahead = due_slots(ws.cuts.calendar, moment, now, now + AHEAD)
    return next((s for s in ahead if s.session >= ws.deployment.start), None)


def _is_left(ws: "Workspace", slot: Slot) -> bool:
    """Whether a slot is not decided, or may still be delivered and is not."""
    if any(undecided(ws.store, s, [slot]) for s in ws.deployment.strategies):
        return True
    if ws.clock.now() >= slot.valid_until:
        return False
    return any(_waits(ws, book.name, book.strategy, slot) for book in ws.books(live=True) if book.armed)


def _waits(ws: "Workspace", book: str, strategy: str, slot: Slot) -> bool:
    if ws.ledger.outbox.bound(book, strategy, slot.session, slot.slot) is None:
        return True
    waiting = ws.ledger.outbox.orders(book, WAITING, since=slot.session)
    return any((w.order.session, w.order.slot) == (slot.session, slot.slot) for w in waiting)


def run(ws: "Workspace", due: date | Slot) -> Iterator[Did]:
    """Run a slot, or a session: its end, and in a historical run its slots before that."""
    if isinstance(due, Slot):
        yield _did(f"slot {due.slot}", due.session, run_slot(ws, due))
        return
    if ws.deployment.clock == "session":
        for slot in slots_in(ws, [due]):
            yield _did(f"slot {slot.slot}", due, run_slot(ws, slot))
    yield _did("daily", due, run_day(ws, due))


def _did(job: str, session: date, reports: Iterable[StageReport]) -> Did:
    from quant_assets.assets import merged

    by_stage = sorted(reports, key=lambda r: r.stage)
    found = {stage: merged(list(some)).metadata() for stage, some in groupby(by_stage, key=lambda r: r.stage)}
    return Did(job, session, {SHOWN_AS.get(stage, stage): numbers for stage, numbers in found.items()})
