"""Lanes that decide at slots: which of them are due, and what a run of them does and shows.

`quant run daily` and Dagster's schedule start the same job, which calls `run_slots`; the session's own jobs follow when
it is over. Dagster has sessions and no slots: what a slot did is in the tables.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from desk.day import open_books, run_day, run_slot, slots_in
from jobs.left import left_lately
from quant_assets.backtest.slot_stages import undecided
from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot, due_slots
from quant_assets.moments import Every
from quant_assets.ports import Progress, quiet
from quant_assets.records import Frozen, OrderState, StageReport
from quant_assets.tables import DECISIONS

if TYPE_CHECKING:
    from desk.workspace import Workspace

WITHIN = timedelta(days=3)  # before now: no session is longer
AHEAD = timedelta(days=10)  # longer than any holiday
WAITING = (OrderState.PENDING, OrderState.SUBMITTING, OrderState.UNKNOWN)
EARLIER = 10  # sessions whose end is made up for before a slot
JOB, ASSET = "run_slots", "slots"  # a job that is called like the step of its asset cannot be loaded beside it
COUNTED = ("decisions", "deliver", "fills")  # stages whose numbers a run of slots shows


class SlotSeen(Frozen, frozen=True):
    """What came of a slot that has come: `state` is decided, late or due; rows to trade, orders, those with a fill."""

    slot: str
    cut: datetime
    state: str
    trades: int
    orders: int
    filled: int


def at_slots(ws: "Workspace") -> bool:
    """Whether the strategies of a lane decide at slots."""
    return isinstance(ws.moment, Every)


def slots_due(ws: "Workspace", cuts: Cuts | None = None) -> list[Slot]:
    """The slots of the session under way that have come and of which something is left to do, ascending; by the wall
    alone. What is left of a session that is over is done at its end. `cuts`: as they are known now.
    """
    moment = ws.moment
    if ws.deployment.clock != "system" or not isinstance(moment, Every):
        return []
    now, by = ws.clock.now(), cuts or ws.cuts
    come = due_slots(by.calendar, moment, now - WITHIN, now)
    under_way = [s for s in come if s.session >= ws.deployment.start and by.of(s.session) > now]
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


def run_slots(ws: "Workspace", session: date, progress: Progress = quiet, run_id: str = "") -> StageReport:
    """Run the slots of a session that have come and of which something is left; in a historical run all of them.
    Sessions before it that are over and were not ended are ended first: a slot trades from the evening before.
    """
    reports, notes = list[StageReport](), list[str]()
    for day in left_lately(ws, EARLIER):
        if day < session:
            list(run_day(ws, day, progress, run_id))
            notes.append(f"the end of {day} was made up for first")
    list(open_books(ws, session, progress))
    asked = [s for s in slots_due(ws) if s.session == session]
    if ws.deployment.clock == "session":
        asked = slots_in(ws, [session])
    for n, slot in enumerate(asked):
        progress(n, len(asked), f"slot {slot.session} {slot.slot}")
        reports += run_slot(ws, slot, progress, run_id)
    return _summed(ws, session, asked, reports, notes)


def _summed(
    ws: "Workspace", session: date, asked: Sequence[Slot], reports: Sequence[StageReport], notes: Sequence[str]
) -> StageReport:
    """The report on a run of slots, with the counts of the whole session so far."""
    from quant_assets.assets import merged

    seen = slots_of_session(ws, session)
    ran = merged([r for r in reports if r.stage in COUNTED]) if reports else None
    delivered = [r for r in reports if r.stage == "deliver"]
    state = "empty" if not asked else merged(delivered).state if delivered else "done"
    counts = {
        "slots_due": len(seen),
        "slots_run": len(asked),
        "slots_decided": sum(s.state != "due" for s in seen),
        "slots_late": sum(s.state == "late" for s in seen),
    }
    refused = dict.fromkeys(r.reason for r in delivered if r.state == "refused")
    return StageReport(
        stage=ASSET,
        first=session,
        last=session,
        state=state,
        reason="; ".join(refused) if asked else "no slot of the session is due",
        rows=sum(r.rows for r in reports if r.stage in COUNTED),
        numbers={**counts, **{k: v for k, v in (ran.numbers if ran else {}).items() if k not in counts}},
        notes=tuple(notes),
    )


def slots_of_session(ws: "Workspace", session: date) -> list[SlotSeen]:
    """What came of the slots of a session that have come by its clock, or of which something is stored; ascending."""
    names = [s.name for s in ws.deployment.strategies]
    rows = ws.store.read(DECISIONS, as_of=None, first=session, last=session, columns=("verdict", "reason"))
    by_slot = {
        slot: (late, trades)
        for slot, late, trades in rows.filter(pl.col("strategy").is_in(names))
        .group_by("slot")
        .agg((pl.col("reason") == "LATE").all(), (pl.col("verdict") == "TRADE").sum().alias("trades"))
        .iter_rows()
    }
    orders: dict[str, list[bool]] = {}
    for book in ws.books(live=True):
        for w in ws.ledger.outbox.orders(book.name, since=session):
            if w.order.session == session:
                orders.setdefault(w.order.slot, []).append(w.filled > 0)
    now = ws.clock.now()
    return [
        _seen(slot, by_slot.get(slot.slot), orders.get(slot.slot, []))
        for slot in slots_in(ws, [session])
        if slot.slot in by_slot or (ws.deployment.clock == "system" and slot.cut <= now)
    ]


def _seen(slot: Slot, decided: tuple[bool, int] | None, orders: Sequence[bool]) -> SlotSeen:
    state = "due" if decided is None else "late" if decided[0] else "decided"
    trades = decided[1] if decided else 0
    return SlotSeen(slot.slot, slot.cut, state, trades, len(orders), sum(orders))
