"""The one thing to do next in a home: history first, then its sessions; or until when nothing is due."""

from datetime import date, datetime
from typing import TYPE_CHECKING

from quant_assets.calendars import Cuts
from quant_assets.records import Frozen
from quant_assets.tables import BARS, DECISIONS

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
    start = ws.deployment.start
    if ws.store.version(BARS) < 0:
        return Next(f"{ws.home} holds no data yet; its history comes first", "quant backfill", first=True)
    if ws.store.version(DECISIONS) < 0:
        return Next("data is stored, and nothing was computed from it yet", "quant backfill", first=True)
    if ws.store.read(DECISIONS, as_of=None, first=start, columns=()).height:
        return None
    if ws.deployment.clock == "system" and ws.cuts.of(start) > ws.clock.now():
        return None
    return Next(f"history is there; {start} is the first session to be run", "quant run daily", first=True)


def next_step(ws: "Workspace") -> Next:
    """What to do in a home where all is fine."""
    from jobs.hours import next_slot, slots_due
    from jobs.live import due

    if sessions := due(ws, None):
        return Next(f"{sessions[0]} is the next session to be run", "quant run daily")
    if slots := slots_due(ws):
        return Next(f"the slot {slots[0].slot} of {slots[0].session} is the next to be run", "quant run daily")
    if ws.deployment.clock == "system":
        if slot := next_slot(ws):
            return Next(
                f"nothing is due until {slot.cut:%Y-%m-%d %H:%M:%S} UTC, when {slot.session} {slot.slot} is decided"
            )
        return Next(nothing_until(ws.cuts, ws.deployment.start, ws.clock.now()))
    book = next((b.name for live in (True, False) for b in ws.books(live=live)), "")
    return Next(
        f"every session up to the source's last, {ws.span[1]}, was run", f"quant report --book {book}" if book else ""
    )


def nothing_until(cuts: Cuts, start: date, now: datetime) -> str:
    """Until when nothing is due, on the venue's clock and UTC, and what is due then. `start`: the first session that
    is decided day by day.
    """
    session = cuts.calendar.on_or_after(max(start, cuts.calendar.after(cuts.due(now))))
    while not cuts.decides(session):
        session = cuts.calendar.after(session)
    at = cuts.of(session)
    local = cuts.calendar.local(at)
    return (
        f"nothing is due until {local:%A %Y-%m-%d %H:%M} on the venue's clock ({at:%Y-%m-%d %H:%M} UTC), "
        f"when {session} is decided"
    )
