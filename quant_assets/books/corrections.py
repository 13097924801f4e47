"""What puts the books right where an action that was booked turns out to be withdrawn, or to have other terms.

The action is booked again in thought, as it was and as it should have been, on the holdings that it met. The difference
is the entry, and its movements name those of the first. Shares are counted in those of today; where fewer are left than
go back, the rest is settled in cash.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

import polars as pl

from quant_assets.books.actions import Correction, apply_actions, whole_shares
from quant_assets.books.due import booked_in, changed, versions_of
from quant_assets.books.explained import Past
from quant_assets.books.holdings import TICK, Holdings, Movement
from quant_assets.books.late import between, entitlements, marked_since, ratios
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.adjustment import ENDING
from quant_assets.tables import ACTIONS

TERMS = ("numerator", "denominator", "cash", "value", "counterpart")
RIGHT = "put right"


def corrections(
    actions: pl.DataFrame, cuts: Cuts, session: date, since: date, past: Past, sids: Mapping[str, int]
) -> list[Correction]:
    """For each action that was booked before `session` and that its cut newly knows to be withdrawn, reinstated or of
    other terms, what puts the books right.

    `since`: the session booked last; `sids`: who trades under a symbol in `session`.
    """
    found: list[Correction] = []
    for subject in {
        tuple(row[c] for c in ACTIONS.subject): row for row in changed(actions, cuts, session, since)
    }.values():
        versions = versions_of(actions, subject)
        was, now = (in_force(known_by(versions, cuts.of(day)), ACTIONS) for day in (since, session))
        if not was.select(TERMS).equals(now.select(TERMS)):
            booked = _booked(versions, was, cuts, session)
            found += _correction(actions, was, now, booked, since, cuts, past, sids)
    return found


def _booked(versions: pl.DataFrame, was: pl.DataFrame, cuts: Cuts, session: date) -> date | None:
    """The session that booked what is in force; None where nothing is."""
    if was.is_empty():
        return None
    gone = versions.filter(pl.col("withdrawn"), pl.col("known_at") < was["known_at"][0])["known_at"]
    run = versions.filter(pl.col("known_at") > gone[-1]) if gone.len() else versions
    return booked_in(run, cuts, session)


def _correction(
    actions: pl.DataFrame,
    was: pl.DataFrame,
    now: pl.DataFrame,
    booked: date | None,
    since: date,
    cuts: Cuts,
    past: Past,
    sids: Mapping[str, int],
) -> Iterator[Correction]:
    about = was if was.height else now
    sid, ex, kind = about.select("sid", "session", "kind").row(0)
    met = cuts.booked_before(booked) if booked else since
    base, entitled = past.evening(met), entitlements(actions, about, met, cuts, past)
    at_the_time = between(actions, about, met, cuts, past)
    names = dict(past.bars(booked).select("symbol", "sid").iter_rows()) if booked else sids
    (first, paid), (second, owed) = (
        apply_actions(base, rows, entitled, {**sids, **names}, between=at_the_time) for rows in (was, now)
    )
    from_day = met if kind in ENDING else ex
    shares: dict[int, int] = {}
    marks: dict[int, Decimal] = {}
    held = past.evening(since)
    for name in sorted({*first.quantities, *second.quantities}):
        change = today = second.quantities.get(name, 0) - first.quantities.get(name, 0)
        for split in ratios(actions, name, from_day, since, cuts) if change else ():
            today = whole_shares(today, split)[0]
        if today:
            shares[name] = today
            if name not in held.quantities and name in second.marks:
                marks[name] = (second.marks[name] * change / today).quantize(TICK)
    moved = _difference(paid, owed)
    if sid in held.marks and not marked_since(sid, booked or ex, since, cuts, past):
        marks |= _restated(sid, held, first, second)
    if shares or moved or marks:
        owner = entitled[sid, ex] or base.quantities.get(sid, 0)
        yield Correction(sid=sid, ex=ex, kind=kind, owner=owner, shares=shares, moved=moved, marks=marks)


def _restated(sid: int, held: Holdings, first: Holdings, second: Holdings) -> dict[int, Decimal]:
    """The mark of a name that no close has marked since the action: in the terms that are right."""
    was, now = first.marks.get(sid), second.marks.get(sid)
    return {sid: (held.marks[sid] * now / was).quantize(TICK)} if was and now and was != now else {}


def _difference(paid: list[Movement], owed: list[Movement]) -> tuple[Movement, ...]:
    """What was to be paid less what was, by what it was paid for."""
    amounts: dict[tuple[int, str, str], Decimal] = {}
    for sign, moved in ((-1, paid), (1, owed)):
        for m in moved:
            key = (m.sid, m.kind, m.reference)
            amounts[key] = amounts.get(key, Decimal(0)) + sign * m.amount
    return tuple(
        Movement(sid=sid, kind=kind, reference=f"{reference} {RIGHT}", amount=amount)
        for (sid, kind, reference), amount in amounts.items()
        if amount
    )
