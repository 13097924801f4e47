"""Which corporate actions a session books: those in force at its cut that no earlier cut knew.

An action that becomes known late is booked at the first session whose cut knows it, on the shares that were held
before its ex-session. What was booked once is never unbooked: where it is withdrawn or restated, the session whose cut
knows that books an entry that corrects it (`quant_assets.books.corrections`).
"""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from quant_assets.books.holdings import exact
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.adjustment import ENDING, SPLITS
from quant_assets.tables import ACTIONS


def due_actions(actions: pl.DataFrame, cuts: Cuts, session: date, since: date | None = None) -> pl.DataFrame:
    """The ACTIONS rows that are booked in `session`: ex not after it, in force at its cut, and in force at no earlier
    cut since ex.

    `actions` may hold any versions; sorted by ex-session, sid, kind. `since`: the session booked last, by default the
    one before; it differs where a day was booked that is no session any more.
    """
    yesterday = since or cuts.booked_before(session)
    current = in_force(known_by(actions.filter(pl.col("session") <= session), cuts.of(session)), ACTIONS)
    new = current.filter((pl.col("session") > yesterday) | (pl.col("known_at") > cuts.of(yesterday)))
    keep = [
        row["session"] > yesterday or not _booked(versions_of(actions, row), cuts, session)
        for row in new.iter_rows(named=True)
    ]
    return new.filter(pl.Series(keep, dtype=pl.Boolean)).sort("session", "sid", "kind")


def stopped(
    actions: pl.DataFrame,
    cuts: Cuts,
    session: date,
    sids: Collection[int],
    since: date | None = None,
    names: Mapping[str, int] | None = None,
) -> set[int]:
    """Those of `sids` on which no order of before may fill in `session`: their shares are restated in it, in time, late
    or back, so that orders count other shares; or a delisting or merger pays them out, which comes before the open.

    `since`: the session booked last; `names`: who trades under a symbol, for shares handed out that go back.
    """
    past = actions.filter(pl.col("session") <= session)
    asked = past.filter(pl.col("sid").is_in(sids))
    splits, ends = (asked.filter(pl.col("kind").is_in(kinds)) for kinds in (SPLITS, ENDING))
    ended = in_force(known_by(ends, cuts.of(session)), ACTIONS)
    restated = changed(asked.filter(pl.col("kind").is_in((*SPLITS, *ENDING))), cuts, session, since)
    handed = changed(past.filter(pl.col("counterpart").is_not_null()), cuts, session, since)
    others = [sid for symbol, sid in (names or {}).items() if symbol in {row["counterpart"] for row in handed}]
    found = {*due_actions(splits, cuts, session, since)["sid"].to_list(), *ended["sid"].to_list(), *others}
    return {*found, *(row["sid"] for row in restated)} & set(sids)


def paid_out(
    actions: pl.DataFrame, cuts: Cuts, session: date, sids: Collection[int]
) -> list[tuple[int, date, Decimal]]:
    """sid, ex-session and worth per share of the dividends and spin-offs of these names that are ex by `session`, as
    known at its cut.
    """
    asked = actions.filter(
        pl.col("sid").is_in(sids), pl.col("kind").is_in(("dividend", "spin_off")), pl.col("session") <= session
    )
    current = in_force(known_by(asked, cuts.of(session)), ACTIONS)
    return [
        (row["sid"], row["session"], row["cash"] if row["kind"] == "dividend" else exact(row["value"] or 0.0))
        for row in current.iter_rows(named=True)
    ]


def late_changes(actions: pl.DataFrame, cuts: Cuts, session: date, since: date | None = None) -> list[str]:
    """One sentence for each action that was booked before `session` and that its cut newly knows to be withdrawn or
    different: an entry corrects it.
    """
    return [
        f"{row['kind']} of sid {row['sid']} ex {row['session']} was "
        f"{'withdrawn' if row['withdrawn'] else 'restated'} after it was booked"
        for row in changed(actions, cuts, session, since)
    ]


def changed(actions: pl.DataFrame, cuts: Cuts, session: date, since: date | None) -> list[dict[str, Any]]:
    """The versions of actions that were booked before `session` which its cut knows and none before."""
    now, before = cuts.of(session), cuts.of(since or cuts.booked_before(session))
    fresh = actions.filter(pl.col("session") < session, pl.col("known_at") > before, pl.col("known_at") <= now)
    rows = fresh.sort(ACTIONS.key).iter_rows(named=True)
    return [row for row in rows if _booked(versions_of(actions, row), cuts, session)]


def versions_of(actions: pl.DataFrame, row: Mapping[str, object]) -> pl.DataFrame:
    """The versions of the action that a row is one of, in the order in which they became known."""
    return actions.filter(*(pl.col(c) == pl.lit(row[c]) for c in ACTIONS.subject)).sort("known_at")


def _booked(versions: pl.DataFrame, cuts: Cuts, session: date) -> bool:
    """Whether one action was in force at the cut of a session from its ex-session to the one before `session`."""
    return booked_in(versions, cuts, session) is not None


def booked_in(versions: pl.DataFrame, cuts: Cuts, session: date) -> date | None:
    """The first session before `session`, from the ex-session on, at whose cut one action was in force."""
    known, ends = versions["known_at"].to_list(), [*versions["known_at"].to_list()[1:], None]
    for at, end, withdrawn, ex in zip(known, ends, versions["withdrawn"], versions["session"], strict=True):
        if withdrawn:
            continue
        first = cuts.due(at)
        first = first if cuts.of(first) >= at else cuts.calendar.after(first)
        first = max(first, cuts.calendar.on_or_after(ex))
        if first < session and (end is None or cuts.of(first) < end):
            return first
    return None
