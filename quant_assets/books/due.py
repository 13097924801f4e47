"""Which corporate actions a session books: those in force at its cut that no earlier cut knew.

An action that becomes known late is booked at the first session whose cut knows it, on the shares that were held
before its ex-session. What was booked once is never unbooked, with one exception: a delisting that was withdrawn or
restated is corrected by an entry of the session whose cut knows that (see `corrections`).
"""

from collections.abc import Callable, Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from quant_assets.books.actions import Correction, whole_shares
from quant_assets.books.explained import Past
from quant_assets.books.holdings import TICK, Holdings, cents, exact
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
        row["session"] > yesterday or not _booked(_versions(actions, row), cuts, session)
        for row in new.iter_rows(named=True)
    ]
    return new.filter(pl.Series(keep, dtype=pl.Boolean)).sort("session", "sid", "kind")


def stopped(
    actions: pl.DataFrame, cuts: Cuts, session: date, sids: Collection[int], since: date | None = None
) -> set[int]:
    """Those of `sids` on which no order of before may fill in `session`: their shares are restated in it, in time, late
    or back, so that orders count other shares; or a delisting or merger pays them out, which comes before the open.
    """
    asked = actions.filter(pl.col("sid").is_in(sids), pl.col("session") <= session)
    ratios, ends = (asked.filter(pl.col("kind").is_in(kinds)) for kinds in (SPLITS, ENDING))
    changed = _changed(asked.filter(pl.col("kind").is_in((*SPLITS, *ENDING))), cuts, session, since)
    ended = in_force(known_by(ends, cuts.of(session)), ACTIONS)
    return {*due_actions(ratios, cuts, session, since)["sid"], *ended["sid"], *(row["sid"] for row in changed)}


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


def unmarked(due: pl.DataFrame, since: date, past: Past, cuts: Cuts) -> set[tuple[int, date]]:
    """Of the `due` actions that come late, sid and ex-session of those whose names were not marked at a close since:
    their marks are older than the action.

    `since`: the session booked last.
    """
    found: set[tuple[int, date]] = set()
    for sid, ex in due.filter(pl.col("session") <= since).select("sid", "session").unique().sort("sid").iter_rows():
        day, closes = since, list[float]()
        while day >= ex and not closes:
            printed = past.bars(day).filter(pl.col("sid") == sid, pl.col("close").is_finite())
            closes, evening, day = printed["close"].to_list(), day, cuts.booked_before(day)
            if closes and past.evening(evening).marks.get(sid) != exact(closes[0]):
                found.add((sid, ex))
        if not closes:
            found.add((sid, ex))
    return found


def late_changes(actions: pl.DataFrame, cuts: Cuts, session: date, since: date | None = None) -> list[str]:
    """One sentence for each action that was booked before `session` and that its cut newly knows to be withdrawn or
    different: nothing is unbooked, somebody looks.
    """
    return [
        f"{row['kind']} of sid {row['sid']} ex {row['session']} was "
        f"{'withdrawn' if row['withdrawn'] else 'restated'} after it was booked"
        for row in _changed(actions, cuts, session, since)
    ]


def _changed(actions: pl.DataFrame, cuts: Cuts, session: date, since: date | None) -> list[dict[str, Any]]:
    """The versions of actions that were booked before `session` which its cut knows and none before."""
    now, before = cuts.of(session), cuts.of(since or cuts.booked_before(session))
    fresh = actions.filter(pl.col("session") < session, pl.col("known_at") > before, pl.col("known_at") <= now)
    rows = fresh.sort(ACTIONS.key).iter_rows(named=True)
    return [row for row in rows if _booked(_versions(actions, row), cuts, session)]


def corrections(actions: pl.DataFrame, cuts: Cuts, session: date, held: Callable[[date], Holdings]) -> list[Correction]:
    """For each delisting that was booked before `session` and that its cut newly knows to be withdrawn, or to have paid
    otherwise, what puts the books right.

    A name that absence had ended and that trades again is held again, as before it was paid out, in the shares of
    today; what was paid goes back. `held`: session to what was held at its end.
    """
    now, before = cuts.of(session), cuts.of(cuts.booked_before(session))
    fresh = actions.filter(
        pl.col("kind") == "delisting",
        pl.col("session") < session,
        pl.col("known_at") > before,
        pl.col("known_at") <= now,
    )
    out = list[Correction]()
    for row in _latest(fresh).iter_rows(named=True):
        versions = _versions(actions, row)
        booked = _booked_in(versions, cuts, session)
        if booked is None:
            continue
        evening = held(cuts.booked_before(booked))
        shares, mark = evening.quantities.get(row["sid"], 0), evening.marks.get(row["sid"], Decimal(0))
        was = in_force(known_by(versions, cuts.of(booked)), ACTIONS).row(0, named=True)
        paid = cents(shares * mark * (1 + Decimal(str(was["value"] or 0.0))))
        owed = Decimal(0) if row["withdrawn"] else cents(shares * mark * (1 + Decimal(str(row["value"] or 0.0))))
        if shares and paid != owed:
            again = _in_shares_of(actions, cuts, row["sid"], booked, session, shares) if row["withdrawn"] else 0
            price = (mark * shares / again).quantize(TICK) if again else mark
            out.append(Correction(sid=row["sid"], ex=row["session"], shares=again, mark=price, paid=paid - owed))
    return out


def _latest(actions: pl.DataFrame) -> pl.DataFrame:
    """The latest version of each action, also where it says that there is none."""
    return actions.sort(*ACTIONS.subject, "known_at").unique(ACTIONS.subject, keep="last", maintain_order=True)


def _in_shares_of(actions: pl.DataFrame, cuts: Cuts, sid: int, booked: date, session: date, shares: int) -> int:
    """`shares` through the splits that went ex while none were held; what is left of a share is lost with the halt."""
    missed = actions.filter(
        pl.col("sid") == sid, pl.col("kind").is_in(SPLITS), pl.col("session") >= booked, pl.col("session") < session
    )
    current = in_force(known_by(missed, cuts.of(cuts.booked_before(session))), ACTIONS)
    for split in current.sort("session", "kind").iter_rows(named=True):
        shares = whole_shares(shares, split)[0]
    return shares


def _versions(actions: pl.DataFrame, row: Mapping[str, object]) -> pl.DataFrame:
    return actions.filter(*(pl.col(c) == pl.lit(row[c]) for c in ACTIONS.subject)).sort("known_at")


def _booked(versions: pl.DataFrame, cuts: Cuts, session: date) -> bool:
    """Whether one action was in force at the cut of a session from its ex-session to the one before `session`."""
    return _booked_in(versions, cuts, session) is not None


def _booked_in(versions: pl.DataFrame, cuts: Cuts, session: date) -> date | None:
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


def entitlements(
    due: pl.DataFrame, cuts: Cuts, held: Callable[[date], Mapping[int, int]]
) -> dict[tuple[int, date], int]:
    """Shares by (sid, ex-session), from `held`: session to the quantities at its end."""
    dates = {ex: held(cuts.booked_before(cuts.calendar.on_or_after(ex))) for ex in due["session"].unique().sort()}
    return {(sid, ex): dates[ex].get(sid, 0) for sid, ex in due.select("sid", "session").iter_rows()}
