"""What late actions need to know of the sessions between their ex-session and the one that books them."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import polars as pl

from quant_assets.books.actions import Between, whole_shares
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Action, exact
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.adjustment import SPLITS
from quant_assets.tables import ACTIONS

LOOK_BACK = 10  # sessions within which a name that is not held any longer has its last price


def between(actions: pl.DataFrame, due: pl.DataFrame, since: date, cuts: Cuts, past: Past) -> Between:
    """Of the `due` actions, whose marks are older than they; the splits booked since; prices of names not held.

    `since`: the session booked last.
    """

    def price(sid: int) -> Decimal:
        day = since
        for _ in range(LOOK_BACK):
            found = _close(past, day, sid)
            if found is not None:
                return found
            day = cuts.booked_before(day)
        return Decimal(0)

    def mark_before(sid: int, ex: date) -> Decimal | None:
        return past.evening(cuts.booked_before(cuts.calendar.on_or_after(ex))).marks.get(sid)

    late = due.filter(pl.col("session") <= since).select("sid", "session").unique().sort("sid", "session")
    old = {(sid, ex) for sid, ex in late.iter_rows() if not marked_since(sid, ex, since, cuts, past)}
    return Between(
        unmarked=old, ratios=lambda sid, ex: ratios(actions, sid, ex, since, cuts), price=price, mark_before=mark_before
    )


def marked_since(sid: int, ex: date, since: date, cuts: Cuts, past: Past) -> bool:
    """Whether the mark of a name at the end of `since` is a close printed from `ex` on, and no older one."""
    day = since
    while day >= ex:
        found = _close(past, day, sid)
        if found is not None:
            return past.evening(day).marks.get(sid) == found
        day = cuts.booked_before(day)
    return False


def _close(past: Past, session: date, sid: int) -> Decimal | None:
    close = past.closes(session).get(sid)
    return None if close is None else exact(close)


def ratios(actions: pl.DataFrame, sid: int, after: date, since: date, cuts: Cuts) -> Sequence[Action]:
    """The splits and stock dividends of a name that are ex after `after` and booked by the end of `since`, in order."""
    asked = actions.filter(
        pl.col("sid") == sid, pl.col("kind").is_in(SPLITS), pl.col("session") > after, pl.col("session") <= since
    )
    return in_force(known_by(asked, cuts.of(since)), ACTIONS).sort("session", "kind").rows(named=True)


def entitlements(
    actions: pl.DataFrame, due: pl.DataFrame, since: date, cuts: Cuts, past: Past
) -> dict[tuple[int, date], int]:
    """Shares by (sid, ex-session) at the end of the session before ex, in the shares of that day as they are known now:
    through the splits before it that were booked later.
    """
    found: dict[tuple[int, date], int] = {}
    for sid, ex in due.select("sid", "session").unique().sort("session", "sid").iter_rows():
        evening = cuts.booked_before(cuts.calendar.on_or_after(ex))
        shares = past.evening(evening).quantities.get(sid, 0)
        if shares and evening < since:
            known = {(a["session"], a["kind"]) for a in ratios(actions, sid, date.min, evening, cuts)}
            for split in ratios(actions, sid, date.min, since, cuts):
                if split["session"] < ex and (split["session"], split["kind"]) not in known:
                    shares = whole_shares(shares, split)[0]
        found[sid, ex] = shares
    return found
