"""What is left of sessions, by stored rows, and the job that goes on with each."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from desk.day import what_is_done
from quant_assets.tables import BARS, DECISIONS, VERDICTS

if TYPE_CHECKING:
    from desk.workspace import Workspace

DAY = ("daily", "deliver", "post_trade", "today")  # the jobs of a session, in order: together they are the chain


def day_of(ws: "Workspace") -> tuple[str, ...]:
    """The jobs of a session of a lane; of a market without a strategy, the first one alone."""
    return DAY if ws.deployment.strategies else DAY[:1]


def left(ws: "Workspace", sessions: Sequence[date]) -> Mapping[date, str]:
    """The sessions of which something is left to do, ascending, with the job that goes on with each.

    Read from stored rows: decisions, bindings, states of orders, NAV, and the facts of the ledger.
    """
    if not sessions:
        return {}
    by_book = what_is_done(ws, sessions)
    found: dict[date, str] = {}
    decided = _decided(ws, sessions)
    for session in sessions:
        jobs = [one for done in by_book.values() if (one := done[session].next_job) is not None]
        if session not in decided:
            jobs.append(DAY[0])
        if jobs:
            found[session] = min(jobs, key=DAY.index)
    return found


def left_lately(ws: "Workspace", sessions: int) -> Mapping[date, str]:
    """`left` of the last sessions whose decision time has come by the wall; nothing in a historical run."""
    if ws.deployment.clock != "system":
        return {}
    last = ws.cuts.due(ws.clock.now())
    if last < ws.deployment.start:
        return {}
    days = ws.cuts.calendar.between(ws.deployment.start, last)[-sessions:]
    return left(ws, [d for d in days if ws.cuts.decides(d)])


def _decided(ws: "Workspace", sessions: Sequence[date]) -> set[date]:
    """The sessions that every strategy has decided; without any, those whose bars were judged."""
    if not ws.deployment.strategies:
        where = {"table": BARS.name}
        return set(ws.store.read(VERDICTS, as_of=None, first=sessions[0], last=sessions[-1], where=where)["session"])
    rows = ws.store.read(DECISIONS, as_of=None, first=sessions[0], last=sessions[-1], columns=())
    by_strategy = [set(rows.filter(strategy=s.name)["session"]) for s in ws.deployment.strategies]
    return set[date].intersection(*by_strategy)
