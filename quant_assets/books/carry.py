"""What a session's corporate actions do before anything trades: the same for a research book, a live one and the paper
venue.
"""

from collections.abc import Mapping
from datetime import date

import polars as pl

from quant_assets.books.actions import apply_actions
from quant_assets.books.corrections import corrections
from quant_assets.books.due import due_actions
from quant_assets.books.explained import Past, unexplained
from quant_assets.books.holdings import Holdings, Movement
from quant_assets.books.late import between, entitlements
from quant_assets.calendars import Cuts
from quant_assets.records import Frozen


class Carried(Frozen, frozen=True):
    """The holdings after the actions, the cash that moved, and the names whose marks stay, each with why."""

    held: Holdings
    moved: tuple[Movement, ...] = ()
    kept: Mapping[int, str] = {}


def carry(
    before: Holdings, actions: pl.DataFrame, bars: pl.DataFrame, session: date, cuts: Cuts, past: Past
) -> Carried:
    """Carry `before`, the holdings after the session booked last, through the actions that `session` books.

    `actions`: all versions up to the session known at its cut; `bars`: sid, symbol, open, close of the session.
    """
    since = before.session if before.session > date.min else cuts.booked_before(session)
    due = due_actions(actions, cuts, session, since)
    sids = dict(bars.select("symbol", "sid").iter_rows())
    held, moved = apply_actions(
        before,
        due,
        entitlements(actions, due, since, cuts, past),
        sids,
        corrections(actions, cuts, session, since, past, sids),
        between(actions, due, since, cuts, past),
    )
    return Carried(held=held, moved=tuple(moved), kept=unexplained(before, held, bars, past, cuts))
