"""What the deliveries ingested so far have established: the state that ingest carries from delivery to delivery.

It is read only from the store, from rows of deliveries that were completed. So a range of deliveries in one call, and
each in a call of its own, see the same state, and a delivery whose ingest was interrupted is judged again from the
start.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache
from statistics import median

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.contract import Table
from quant_assets.frames import bounds, span
from quant_assets.market_data.actions import COLUMNS
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.identity import REUSE_AFTER
from quant_assets.market_data.proposals import ROW
from quant_assets.market_data.taken import Taken
from quant_assets.market_data.vendors import BESIDE
from quant_assets.ports import Store
from quant_assets.records import Capture
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS, PROPOSED_ACTIONS, QUARANTINE

WINDOW = REUSE_AFTER + 5  # sessions held in memory between commits, beside those that absence is counted over
THIN = 0.8  # of the median row count of the sessions before: a session with fewer rows proves nobody absent
UNLISTED_FOR = 3  # good sessions without a bar end a name that the vendor lists no more
SAYS = ("symbol", "open", "high", "low", "close", "volume")  # the content of a bar; a version with the same content is
# a no-op
_BAR = ("sid", "session", *SAYS, "withdrawn")


class Known:
    """Instruments, actions and the bars of recent sessions, each in its latest version."""

    def __init__(self, store: Store, source: str, calendar: Calendar, evidence: Evidence = EVIDENCE) -> None:
        self._store = store
        self.evidence = evidence
        self._window = WINDOW + evidence.delisted_after
        self._silent: dict[int, date | None] = {}  # the last bar of listed names that had none in the latest session
        self._calendar = calendar
        captures = store.read(CAPTURES, as_of=None)
        ours = captures.filter(pl.col("source") == source)
        self.taken = Taken(ours)
        self.changed: list[date] = []  # labels that will be ingested again
        _, self.moment = bounds(ours["known_at"], datetime) or (None, None)
        self._done = captures.select("source", "capture").unique()
        self._absorbed: list[tuple[str, date]] = []
        self.unfinished: dict[str, pl.DataFrame] = {}
        listed = _latest(self._finished(LISTINGS, store.read(LISTINGS, as_of=None)), "sid")
        self.instruments = listed.drop("capture", "calendar")
        acted = _latest(self._finished(ACTIONS, store.read(ACTIONS, as_of=None)), "sid", "session", "kind")
        self.actions = acted.select(*COLUMNS, "withdrawn")
        proposed = self._finished(PROPOSED_ACTIONS, store.read(PROPOSED_ACTIONS, as_of=None))
        self.proposals = _latest(proposed, "sid", "session").select(ROW)
        self._finished(QUARANTINE, store.read(QUARANTINE, as_of=None))
        self._days: dict[date, pl.DataFrame] = {}
        self._trading: dict[date, pl.Series] = {}  # of `_days`: the sids that have a bar in force
        self._stored_until: date | None = None
        self._read_window()

    def _read_window(self) -> None:
        if self._done.is_empty():
            first = None
        else:
            _, last = span(self._done["capture"], date)
            first = self._calendar.shift(self._calendar.on_or_before(last), 1 - self._window)
        bars = self._store.read(BARS, as_of=None, first=first)
        _, self._stored_until = bounds(bars["session"], date) or (None, None)
        for (day,), rows in self._finished(BARS, bars).partition_by("session", as_dict=True).items():
            # the key is a date
            self._days[day] = _latest(rows, "sid").select(_BAR)  # pyright: ignore[reportArgumentType]
        if first is not None and self._stored_until is not None:
            for day in self._calendar.between(first, self._stored_until):
                self._days.setdefault(day, _NO_BARS)

    def _finished(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of completed captures; the others are kept aside in `unfinished`."""
        by = [c for c in ("source", "capture") if c in table.schema]
        if table is BARS:  # the source never delivered what other vendors filled in
            rows = rows.filter(~pl.col("source").str.starts_with(BESIDE))
        left = rows.join(self._done, on=by, how="anti")
        if left.height:
            self.unfinished[table.name] = pl.concat([self.unfinished.get(table.name, left.clear()), left]).unique()
        return rows.join(self._done, on=by, how="semi")

    def day(self, session: date) -> pl.DataFrame:
        """The latest version of each bar of a session: sid, session, `SAYS`, withdrawn."""
        if session not in self._days:
            past = self._stored_until is not None and session <= self._stored_until
            if not past:
                self._days[session] = _NO_BARS
                return _NO_BARS
            rows = self._finished(BARS, self._store.read(BARS, as_of=None, first=session, last=session))
            self._days[session] = _latest(rows, "sid").select(_BAR)
        return self._days[session]

    def standing(self, sessions: Iterable[date]) -> pl.DataFrame:
        """`day` for each of the sessions."""
        return pl.concat([_NO_BARS, *(rows for s in sessions if (rows := self.day(s)).height)])

    def holders(self) -> pl.DataFrame:
        """Of `instruments`, the one that each symbol means: the one listed under it, else the last that was."""
        return self.instruments.sort("listed", "known_at", "sid").unique("symbol", keep="last", maintain_order=True)

    @property
    def newest(self) -> date | None:
        """The last session of which anything is known."""
        held = (d for d, rows in self._days.items() if rows.height)
        return max([*held, *([] if self._stored_until is None else [self._stored_until])], default=None)

    def days(self, first: date, last: date) -> pl.DataFrame:
        """`day` for each session in [first, last]."""
        return self.standing(self._calendar.between(first, last))

    def trading(self, session: date) -> pl.Series:
        """The sids that have a bar in force, as `day` has them."""
        if session not in self._trading:
            rows = self.day(session)
            self._trading[session] = rows["sid"].filter(~rows["withdrawn"])
        return self._trading[session]

    def last_session(self, sid: int) -> date | None:
        """The last session for which the instrument has a bar in force."""
        days = sorted(self._days, reverse=True)
        held = next((d for d in days if (self.trading(d) == sid).any()), None)
        if held is not None and held in days[: self._window]:
            return held
        stored = _latest(
            self._finished(BARS, self._store.read(BARS, as_of=None, where={"sid": sid})), "session"
        ).filter(~pl.col("withdrawn"))
        return max(
            [*([] if held is None else [held]), *(d for d in stored["session"].to_list() if d not in self._days)],
            default=None,
        )

    def absent(self, session: date, sessions: int) -> pl.Series:
        """Sids listed but without a bar in the last `sessions` good sessions up to `session`; none where `session`
        itself is thin, or where so many are not known.
        """
        spanned = self._calendar.between(sessions_back(self._calendar, session, REUSE_AFTER + sessions), session)
        good = [spanned[i] for i in good_sessions([len(self.trading(s)) for s in spanned])][-sessions:]
        listed = self.instruments.filter(pl.col("listed"))["sid"]
        if len(good) < sessions or good[-1] != session:
            return listed.clear()
        missing = listed.filter(~listed.is_in(self.trading(session).implode()))
        self._silent = {sid: self._silent.get(sid) or self.last_session(sid) for sid in missing}
        long = [(at := self._silent[sid]) is None or at < good[0] for sid in missing]
        return missing.filter(pl.Series(long, dtype=pl.Boolean))

    def learn(self, table: Table, rows: pl.DataFrame) -> None:
        """Learn new versions."""
        if table is LISTINGS:
            self.instruments = pl.concat([self.instruments, rows.select(self.instruments.columns)]).unique(
                "sid", keep="last", maintain_order=True
            )
        elif table is ACTIONS:
            self.actions = pl.concat([self.actions, rows.select(self.actions.columns)]).unique(
                ["sid", "session", "kind"], keep="last", maintain_order=True
            )
        elif table is PROPOSED_ACTIONS:
            self.proposals = pl.concat([self.proposals, rows.select(self.proposals.columns)]).unique(
                ["sid", "session"], keep="last", maintain_order=True
            )
        elif table is BARS:
            for (day,), news in rows.select(_BAR).partition_by("session", as_dict=True).items():
                before = self.day(day)  # pyright: ignore[reportArgumentType]  # the key is a date
                kept = pl.concat([before.join(news, on="sid", how="anti"), news]) if before.height else news
                self._days[day] = kept  # pyright: ignore[reportArgumentType]  # see above
                self._trading.pop(day, None)  # pyright: ignore[reportArgumentType, reportCallIssue]  # see above
            for sid in rows["sid"].filter(rows["sid"].is_in(list(self._silent))) if self._silent else ():
                self._silent.pop(sid, None)  # a name may be in several sessions of the rows

    def done(self, capture: Capture, moment: datetime) -> None:
        """Mark a capture as absorbed."""
        self._absorbed.append((capture.source, capture.label))
        self.moment = moment

    def committed(self) -> None:
        """All that was learnt is stored: forget old sessions."""
        self._done = pl.concat(
            [self._done, pl.DataFrame(self._absorbed, schema=self._done.schema, orient="row")]
        ).unique()
        self._absorbed.clear()
        if self._days:
            newest = max(self._days)
            self._stored_until = max(newest, self._stored_until or newest)
            for day in sorted(self._days)[: -self._window]:
                del self._days[day]
                self._trading.pop(day, None)


_NO_BARS = pl.DataFrame(
    schema={c: BARS.schema[c] for c in _BAR}
)  # no query at import: it would start the threads that a forked process then waits for


def good_sessions(bars: Sequence[int]) -> list[int]:
    """Of consecutive sessions with so many bars each, the positions of those that have as many, nearly, as those up to
    it had: a market that has grown since was not thin.
    """
    held = [(i, n) for i, n in enumerate(bars) if n]
    counts = tuple(n for _, n in held)
    return [i for k, (i, n) in enumerate(held) if n >= THIN * _usual(counts[max(0, k - REUSE_AFTER) : k + 1])]


@lru_cache(4_096)  # one and the same window is looked at with each session that comes after it
def _usual(bars: tuple[int, ...]) -> float:
    return median(bars)


def sessions_back(calendar: Calendar, session: date, by: int) -> date:
    """The session `by` sessions earlier, or the first that the calendar knows."""
    return calendar.at(max(0, calendar.index(session) - by))


def _latest(rows: pl.DataFrame, *subject: str) -> pl.DataFrame:
    return rows.sort(*subject, "known_at").unique(subject, keep="last", maintain_order=True)
