"""The one thing to do next in a home: history first, then its sessions; or until when nothing is due."""

from datetime import date, datetime
from typing import TYPE_CHECKING

from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.records import Frozen
from quant_assets.tables import BARS, CAPTURES, DECISIONS

if TYPE_CHECKING:
    from desk.workspace import Workspace


class Next(Frozen, frozen=True):
    """What to do next and why.

    `command`: to be given as it is; empty where there is nothing to do but to wait. `first`: whether the home is at
    its first steps, where nothing else that could be asked has an answer yet.
    """

    text: str
    command: str = ""
    first: bool = False


def first_step(ws: "Workspace") -> Next | None:
    """What a home needs before its first session can be run; None where it was run. Nothing is written."""
    if ws.store.version(BARS) < 0:
        return Next(f"{ws.home} holds no data yet; its history comes first", "quant backfill", first=True)
    if ws.store.version(DECISIONS) < 0:
        return Next("data is stored, and nothing was computed from it yet", "quant backfill", first=True)
    for lane in ws.markets[1:]:  # declared after others had run
        if lane.span[0] < lane.deployment.start and not lane.store.read(CAPTURES, as_of=None, columns=()).height:
            return Next(f"no data of {lane.name} is stored yet; its history comes first", "quant backfill", first=True)
    start = min(lane.deployment.start for lane in ws.lanes)
    if ws.store.read(DECISIONS, as_of=None, first=start, columns=()).height:
        return None
    at, _, lane = min((w.cuts.of(w.deployment.start), n, w) for n, w in enumerate(ws.lanes))
    if ws.deployment.clock == "system" and at > ws.clock.now():
        return None
    which = f"{lane.deployment.start} is the first session to be run{_of(lane)}"
    return Next(f"history is there; {which}", "quant run daily", first=True)


def next_step(ws: "Workspace") -> Next:
    """What to do in a home where all is fine: the earliest of all its lanes."""
    from jobs.live import due_in_order

    if todo := due_in_order(ws, None):
        lane, one = todo[0]
        if isinstance(one, Slot):
            text = f"the slot {one.slot} of {one.session}{_of(lane)} is the next to be run"
        else:
            text = f"{one}{_of(lane)} is the next session to be run"
        return Next(text, "quant run daily")
    if ws.deployment.clock == "system":
        return Next(min((_waits(lane) for lane in ws.lanes), key=lambda w: w[0])[1])
    book = next((b.name for live in (True, False) for b in ws.books(live=live)), "")
    lasts = ", ".join(f"{lane.span[1]}{_of(lane)}" for lane in ws.lanes)
    return Next(
        f"every session up to the source's last, {lasts}, was run", f"quant report --book {book}" if book else ""
    )


def _waits(lane: "Workspace") -> tuple[datetime, str]:
    """When the next session or slot of a lane is due, and the sentence on it."""
    from jobs.hours import next_slot

    if slot := next_slot(lane):
        at = f"{slot.cut:%Y-%m-%d %H:%M:%S} UTC, when {slot.session} {slot.slot}"
        return slot.cut, f"nothing is due until {at}{_of(lane)} is decided"
    start, now = lane.deployment.start, lane.clock.now()
    session = next_session(lane.cuts, start, now)
    return lane.cuts.of(session), nothing_until(lane.cuts, start, now, _of(lane))


def _of(lane: "Workspace") -> str:
    return f" of {lane.name}" if lane.name else ""


def next_session(cuts: Cuts, start: date, now: datetime) -> date:
    """The next session that is decided. `start`: the first one that is decided day by day."""
    session = cuts.calendar.on_or_after(max(start, cuts.calendar.after(cuts.due(now))))
    while not cuts.decides(session):
        session = cuts.calendar.after(session)
    return session


def nothing_until(cuts: Cuts, start: date, now: datetime, of: str = "") -> str:
    """Until when nothing is due, on the venue's clock and UTC, and what is due then. `start`: the first session that
    is decided day by day; `of`: the words that name the lane.
    """
    session = next_session(cuts, start, now)
    at = cuts.of(session)
    local = cuts.calendar.local(at)
    return (
        f"nothing is due until {local:%A %Y-%m-%d %H:%M} on the venue's clock ({at:%Y-%m-%d %H:%M} UTC), "
        f"when {session}{of} is decided"
    )
