"""Chains of futures: which contract of an underlying is held in a session, and when the next one takes its place.

A rule sees nothing but what was known at the cut of the session before, so the contract of each session is settled
before it opens, and is never changed by what becomes known later.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from quant_assets.calendars import Calendar
from quant_assets.market_data.identity import content_sid
from quant_assets.records import Frozen
from quant_assets.rolls import FIRST_NOTICE, Roll
from quant_assets.strategy import UniverseRule

LISTED = date(1, 1, 1)  # of a series in LISTINGS.capture: no delivery lists it


class Series(Frozen, frozen=True):
    """The continuous series of a chain by one rule: an instrument of its own, which is decided on and never held."""

    calendar: str
    root: str
    roll: Roll

    @property
    def symbol(self) -> str:
        """What it is called: the underlying, and the rule."""
        return f"{self.root}@{self.roll.name}"

    @property
    def sid(self) -> int:
        """The same in every home."""
        return content_sid(f"{self.calendar}:{self.symbol}", LISTED)


class Contract(Frozen, frozen=True):
    """A contract of a chain, as known at a cut."""

    sid: int
    symbol: str
    expiry: date
    first_notice: date | None = None

    def end(self, roll: Roll) -> date:
        """The day before which it has to be left."""
        if self.first_notice is None or roll.when == "before_expiry":
            return self.expiry
        return min(self.first_notice, self.expiry)


class Quote(Frozen, frozen=True):
    """A contract in the session before: its close, and what rules compare (None: not known)."""

    close: float
    volume: int | None = None
    open_interest: int | None = None


def series_of(calendar: str, universe: UniverseRule) -> list[Series]:
    """The continuous series among the names of a universe; of one without chains none."""
    chains = universe.chains if isinstance(universe.chains, tuple) else ()
    roll = universe.roll if isinstance(universe.roll, Roll) else FIRST_NOTICE
    return [Series(calendar, root, roll) for root in chains]


def leaves(contract: Contract, roll: Roll, calendar: Calendar, session: date) -> bool:
    """Whether the rule's days before the contract's end have begun by `session`."""
    end = contract.end(roll)
    if end - session > timedelta(days=3 * roll.days + 30):  # farther than the calendar may know
        return False
    last = calendar.on_or_before(end)
    return last <= session or calendar.index(session) >= calendar.index(last) - roll.days


def held_next(
    roll: Roll,
    calendar: Calendar,
    chain: Sequence[Contract],
    held: Contract | None,
    session: date,
    quotes: Mapping[int, Quote],
) -> Contract | None:
    """The contract of `chain` that the rule holds in `session`: `held`, that of the session before, or one that expires
    later and that traded; None where there is no contract yet.

    `quotes`: of the session before, as known at its cut. Where nothing can take the place of `held`, it stays, though
    its days have come: see `leaves`.
    """
    later = sorted(
        (c for c in chain if c.sid in quotes and not leaves(c, roll, calendar, session)),
        key=lambda c: (c.expiry, c.symbol),
    )
    if held is None:
        return later[0] if later else None
    later = [c for c in later if c.expiry > held.expiry]
    if not later:
        return held
    return later[0] if leaves(held, roll, calendar, session) or _passed(roll, held, later[0], quotes) else held


def _passed(roll: Roll, held: Contract, other: Contract, quotes: Mapping[int, Quote]) -> bool:
    """Whether the other contract has more of what the rule compares."""
    if roll.when not in {"volume", "open_interest"} or held.sid not in quotes:
        return False
    mine, theirs = (getattr(quotes[c.sid], roll.when) for c in (held, other))
    return mine is not None and theirs is not None and theirs > mine


class Bars:
    """The closes and volumes of one contract by session, every version: what a cut knew of them."""

    def __init__(self, rows: Sequence[tuple[date, datetime, float | None, int | None, bool]]) -> None:
        self._versions: dict[date, list[tuple[datetime, float | None, int | None]]] = {}
        for session, known_at, close, volume, withdrawn in sorted(rows, key=lambda r: r[:2]):
            self._versions.setdefault(session, []).append((known_at, None if withdrawn else close, volume))
        self.sessions = sorted(self._versions)

    def at(self, session: date, cut: datetime) -> tuple[float, int | None] | None:
        """Close and volume of a session as known at the cut; None where it has no bar."""
        versions = self._versions.get(session, [])
        place = bisect_right(versions, cut, key=lambda v: v[0])
        close = versions[place - 1][1] if place else None
        return None if close is None or not 0 < close < float("inf") else (close, versions[place - 1][2])

    def last(self, session: date, cut: datetime) -> float | None:
        """The last close up to a session, as known at the cut."""
        for day in reversed(self.sessions[: bisect_right(self.sessions, session)]):
            if found := self.at(day, cut):
                return found[0]
        return None


def gap(old: Bars, new: Bars, session: date, cut: datetime) -> float:
    """What the old contract cost more than the new one when both had last traded, by `session`, as known at the cut;
    of two that never traded in one session, by their last closes; 0 where one has none.
    """
    common = [s for s in old.sessions if s <= session and old.at(s, cut) and new.at(s, cut)]
    at = common[-1] if common else session
    before, after = old.last(at, cut), new.last(at, cut)
    return 0.0 if before is None or after is None else before - after
