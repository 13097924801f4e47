"""A venue's sessions, and what is known of them by when: a closure announced tonight is no session from now on, and
was one before.

Inside, all times are UTC; a venue's wall clock appears at its edges only (`Calendar.local`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CalendarUnknown
from quant_assets.records import Frozen

COUNTED = (date(2015, 1, 1), date(2024, 12, 31))  # the ten years in which a year's sessions are counted
_DAYS_A_YEAR = 365.2425
_SCHEDULE = {
    "session": pl.Date,
    "open": UTC_MICROS,
    "break_start": UTC_MICROS,
    "break_end": UTC_MICROS,
    "close": UTC_MICROS,
    "early": pl.Boolean,
}


class Hours(Frozen, frozen=True):
    """When a session opens and closes, and where it pauses [start, end); UTC."""

    open: datetime
    close: datetime
    pause: tuple[datetime, datetime] | None = None


class Change(Frozen, frozen=True):
    """From `known_at` on a day is a session, with these hours, or is none (`hours` None)."""

    session: date
    known_at: datetime
    hours: Hours | None = None


class Calendar:
    """The sessions of one venue, with opens, breaks and closes in UTC. `tz` is the venue's own clock.

    It answers with all that is known; `as_of` gives the calendar that somebody had at an earlier time.
    """

    def __init__(
        self,
        code: str,
        sessions: Sequence[date],
        opens: Sequence[datetime],
        closes: Sequence[datetime],
        *,
        tz: str = "UTC",
        breaks: Sequence[tuple[datetime, datetime] | None] = (),
        early: Iterable[date] = (),
        known: tuple[date, date] | None = None,
        changes: Iterable[Change] = (),
    ) -> None:
        """`breaks`: by session, where the venue pauses; `early`: sessions that close before their usual time.

        `known`: the first and last day about which all is known, by default the first and last session; `changes`:
        what became known of single days later than of the others.
        """
        self.code = code
        self.tz = ZoneInfo(tz)
        self.known = known or (sessions[0], sessions[-1])
        pauses = breaks or [None] * len(sessions)
        self._base = {s: Hours(o, c, p) for s, o, c, p in zip(sessions, opens, closes, pauses, strict=True)}
        self._early = frozenset(early)
        self._changes: dict[date, list[Change]] = {}
        for change in sorted(changes, key=lambda c: c.known_at):
            self._changes.setdefault(change.session, []).append(change)
        self._hours = dict(self._base)
        for day, said in self._changes.items():
            if said[-1].hours is None:
                self._hours.pop(day, None)
            else:
                self._hours[day] = said[-1].hours
        self._sessions = sorted(self._hours)
        self._ever = sorted({*self._base, *self._changes})
        self._index = {s: i for i, s in enumerate(self._sessions)}

    @property
    def first(self) -> date:
        """The first known session."""
        return self._sessions[0]

    @property
    def last(self) -> date:
        """The last known session; what lies after it is not known, whatever the weekday."""
        return self._sessions[-1]

    @property
    def changes(self) -> list[Change]:
        """What became known of single days later than of the others, by day and knowledge time."""
        return [c for _, said in sorted(self._changes.items()) for c in said]

    def amended(self, changes: Iterable[Change]) -> "Calendar":
        """The calendar with more `changes`. Raises CalendarUnknown where one speaks of a day outside the known
        range.
        """
        more = list(changes)
        for change in more:
            self._inside(change.session)
        return self._with([*self.changes, *more]) if more else self

    def as_of(self, known_at: datetime) -> "Calendar":
        """The calendar as it was known at a time."""
        then = [c for c in self.changes if c.known_at <= known_at]
        return self._with(then) if len(then) < len(self.changes) else self

    def _with(self, changes: Iterable[Change]) -> "Calendar":
        hours = self._base.values()
        return Calendar(
            self.code,
            list(self._base),
            [h.open for h in hours],
            [h.close for h in hours],
            tz=self.tz.key,
            breaks=[h.pause for h in hours],
            early=self._early,
            known=self.known,
            changes=changes,
        )

    def hours_at(self, day: date, known_at: datetime) -> Hours | None:
        """The hours of `day` as known at a time; None where it was no session then."""
        if day not in self._changes:
            return self._hours.get(day)
        said = [c for c in self._changes[day] if c.known_at <= known_at]
        return said[-1].hours if said else self._base.get(day)

    def ever_after(self, day: date) -> Iterator[tuple[date, list[tuple[Hours, datetime | None]]]]:
        """The days after `day` that are sessions or were held to be ones, ascending, each with the hours ever known
        of it and since when (None: always).
        """
        for i in range(bisect_right(self._ever, day), len(self._ever)):
            s = self._ever[i]
            said = [(self._base.get(s), None), *((c.hours, c.known_at) for c in self._changes.get(s, ()))]
            yield s, [(hours, since) for hours, since in said if hours is not None]

    def last_hours(self, session: date) -> Hours:
        """The hours of a session, or those last known of a day that is none any more. Raises CalendarUnknown where
        it never was one.
        """
        said = [self._base.get(session), *(c.hours for c in self._changes.get(session, ()))]
        given = [h for h in said if h is not None]
        return given[-1] if given else self._of(session)

    def is_session(self, day: date) -> bool:
        """Whether the venue trades on `day`. Raises CalendarUnknown outside the known range."""
        self._inside(day)
        return day in self._index

    def _inside(self, day: date) -> None:
        if not self.known[0] <= day <= self.known[1]:
            raise CalendarUnknown(
                f"{self.code}: {day} lies outside the known days {self.known[0]} to {self.known[1]}; "
                "update exchange-calendars"
            )

    def index(self, session: date) -> int:
        """The position of `session`; neighbours differ by one. Raises CalendarUnknown where it is no session."""
        if session not in self._index:
            self._inside(session)
            closed = [c for c in self._changes.get(session, ()) if c.hours is None]
            known = f", as is known since {closed[-1].known_at:%Y-%m-%d %H:%M} UTC" if closed else ""
            before = self._sessions[max(0, bisect_left(self._sessions, session) - 1)]
            raise CalendarUnknown(
                f"{self.code}: {session} is not a session{known}; the session before it is {before}, "
                f"the one after it {self.after(session)}"
            )
        return self._index[session]

    def at(self, index: int) -> date:
        """The session at a position. Raises CalendarUnknown outside the known range."""
        if not 0 <= index < len(self._sessions):
            raise CalendarUnknown(
                f"{self.code}: position {index} lies outside the {len(self._sessions)} known sessions"
            )
        return self._sessions[index]

    def shift(self, session: date, by: int) -> date:
        """The session `by` sessions later (earlier where negative)."""
        return self.at(self.index(session) + by)

    def before(self, day: date) -> date:
        """The last session before `day`, which need be none itself: a stored row may be of a day that is no session
        any more.
        """
        return self.on_or_before(day - timedelta(days=1))

    def after(self, day: date) -> date:
        """The first session after `day`, which need be none itself."""
        return self.on_or_after(day + timedelta(days=1))

    def on_or_before(self, day: date) -> date:
        """The last session not after `day`. Raises CalendarUnknown where `day` is not known."""
        self._inside(day)
        return self.at(bisect_right(self._sessions, day) - 1)

    def on_or_after(self, day: date) -> date:
        """The first session not before `day`. Raises CalendarUnknown where `day` is not known."""
        self._inside(day)
        return self.at(bisect_left(self._sessions, day))

    def ever(self, day: date) -> bool:
        """Whether `day` is a session, or was held to be one at some time."""
        return day in self._base or any(c.hours is not None for c in self._changes.get(day, ()))

    def ever_before(self, day: date) -> Iterator[date]:
        """The days before `day` that are sessions or were held to be ones, descending."""
        yield from (s for s in reversed(self._ever[: bisect_left(self._ever, day)]) if self.ever(s))

    def age(self, then: date, session: date) -> int:
        """The sessions after `then`, which need be none itself any more, up to `session`."""
        return self.index(session) + 1 - bisect_right(self._sessions, then)

    def between(self, first: date, last: date) -> list[date]:
        """The sessions in [first, last]. Raises CalendarUnknown where an end is not known."""
        if first > last:
            return []
        for edge in (first, last):
            self._inside(edge)
        return self._sessions[bisect_left(self._sessions, first) : bisect_right(self._sessions, last)]

    def open(self, session: date) -> datetime:
        """The opening auction, UTC."""
        return self._of(session).open

    def close(self, session: date) -> datetime:
        """The close, UTC; early on half days."""
        return self._of(session).close

    def pause(self, session: date) -> tuple[datetime, datetime] | None:
        """The break of the session [start, end), UTC, where the venue has one."""
        return self._of(session).pause

    def closes_early(self, session: date) -> bool:
        """Whether the session ends before its usual time."""
        return self.at(self.index(session)) in self._early

    def _of(self, session: date) -> Hours:
        return self._hours[self.at(self.index(session))]

    def local(self, moment: datetime) -> datetime:
        """A moment on the venue's clock."""
        return moment.astimezone(self.tz)

    def usual_hours(self, day: date) -> Hours:
        """The hours that `day` would have on the venue's clock if it were a session like the last one before it
        that did not close early.
        """
        like = next(s for s in reversed(self.between(self.first, self.before(day))) if s not in self._early)
        days = (day - like).days

        def moved(moment: datetime) -> datetime:
            return (self.local(moment) + timedelta(days=days)).astimezone(UTC)

        usual = self._hours[like]
        pause = usual.pause and (moved(usual.pause[0]), moved(usual.pause[1]))
        return Hours(open=moved(usual.open), close=moved(usual.close), pause=pause)

    @property
    def sessions_per_year(self) -> int:
        """How many sessions a year has, counted over `COUNTED`, or over all that is known where that is not a year
        of it.

        252 on XNYS, 261 in FX, 365 on 24/7: what a figure of one session is annualised with.
        """
        first, last = max(self.known[0], COUNTED[0]), min(self.known[1], COUNTED[1])
        if (last - first).days < 364:  # less than a year
            first, last = self.known
        return round(len(self.between(first, last)) / ((last - first).days + 1) * _DAYS_A_YEAR)

    def schedule(self, first: date, last: date) -> pl.DataFrame:
        """Columns session, open, break_start, break_end (null without a break), close (all UTC), early; ascending."""
        rows = [
            (s, self.open(s), *(self.pause(s) or (None, None)), self.close(s), self.closes_early(s))
            for s in self.between(first, last)
        ]
        return pl.DataFrame(rows, schema=_SCHEDULE, orient="row")

    def grid(self, first: date, last: date, seconds: int) -> pl.DataFrame:
        """Columns session, ts: the starts (UTC) of all bars of `seconds` that a complete series has in [first,
        last]; ascending.

        Bars are counted from the open, and anew from the end of a break; the last one before a break or the close
        may be
        shorter. Early closes, breaks and daylight saving are the schedule's.
        """
        hours = self.schedule(first, last)
        until_break, after = pl.coalesce("break_start", "close"), hours.filter(pl.col("break_end").is_not_null())
        parts = [
            hours.select("session", start="open", end=until_break),
            after.select("session", start="break_end", end="close"),
        ]
        starts = pl.datetime_ranges(
            "start", "end", interval=f"{seconds}s", closed="left", time_unit="us", time_zone="UTC"
        )
        return pl.concat(parts).select("session", ts=starts).explode("ts", empty_as_null=False).sort("ts")

    def closes(self, first: date, last: date) -> pl.DataFrame:
        """Columns session, cut: the close of each session in [first, last], as `align` takes it; ascending."""
        return self.schedule(first, last).select("session", cut="close")
