"""The tables as a lane sees them that decides names of several venues."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.calendars import Calendar, Cuts
from quant_assets.calendars.beside import parts
from quant_assets.contract import Table
from quant_assets.frames import bounds
from quant_assets.market_data.markets import named
from quant_assets.market_data.spanning import composed, moved
from quant_assets.tables import ACTIONS, BARS, LISTINGS, PROPOSED_ACTIONS
from quant_assets.vendor_tables import IDENTIFIERS, INSTRUMENTS
from resources.tables.lanes import LaneStore
from resources.tables.rows import projected

IN_SESSIONS = (BARS.name, ACTIONS.name, PROPOSED_ACTIONS.name)
AS_THEY_ARE = (LISTINGS.name, INSTRUMENTS.name, IDENTIFIERS.name)
DAY = timedelta(days=1)
LONGEST = timedelta(days=15)  # without an own session, at most


class SpanningStore:
    """The Store port: what its own market's store shows, and beside it the bars, actions, listings and terms of other
    markets' names.

    A bar or an action of another venue is shown in the own session in which that venue's session ends, made anew at
    each read from what is stored of it: nothing is stored twice, and a name has one id. Its symbol has the market
    behind it, since two venues may have the same one. All that is written goes where the own store writes it.
    """

    def __init__(self, own: LaneStore, beside: Mapping[str, LaneStore], cuts: Callable[[], Cuts]) -> None:
        """`beside`: by calendar the stores of the other markets. `cuts`: those of the lane."""
        self._own = own
        self._beside = beside
        self._cuts = cuts

    def read(
        self,
        table: Table,
        *,
        as_of: datetime | None,
        first: date | None = None,
        last: date | None = None,
        where: Mapping[str, str | int] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """See the port."""
        own = self._own.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)
        if table.market or table.name not in (*IN_SESSIONS, *AS_THEY_ARE):
            return own
        found = [own]
        for code, there in self._beside.items():
            if table.name in AS_THEY_ARE:
                rows = there.read(table, as_of=as_of, first=first, last=last, where=where)
            else:
                rows = self._in_sessions(table, code, there, as_of, first, last, where)
            if "symbol" in rows.columns:
                rows = rows.with_columns(pl.col("symbol") + named("", code))
            if "counterpart" in rows.columns:
                rows = rows.with_columns(pl.col("counterpart") + named("", code))
            if table.name == LISTINGS.name:
                rows = rows.with_columns(calendar=pl.lit(code))
            found.append(rows.select(projected(table, columns)))
        return pl.concat(found).sort(table.key)

    def _in_sessions(
        self,
        table: Table,
        code: str,
        there: LaneStore,
        as_of: datetime | None,
        first: date | None,
        last: date | None,
        where: Mapping[str, str | int] | None,
    ) -> pl.DataFrame:
        """The rows of another venue's names in the own sessions of a range of days."""
        low, high = None if first is None else first - LONGEST, None if last is None else last + DAY
        rows = there.read(table, as_of=as_of, first=low, last=high, where=where)
        days = bounds(rows["session"], date)
        if days is None:
            return rows
        held = self._parts(code, *days)
        if table.name != BARS.name:
            made = moved(rows, held)
        else:
            both = held["session"].is_duplicated().any()
            acts = there.read(ACTIONS, as_of=as_of, first=low, last=high) if both else ACTIONS.empty()
            made = composed(rows, acts, held)
        inside = [pl.col("session") >= first] if first is not None else []
        inside += [pl.col("session") <= last] if last is not None else []
        return made.filter(inside) if inside else made

    def _parts(self, code: str, first: date, last: date) -> pl.DataFrame:
        """Columns part, session, of the other venue's sessions in a range of days, and the own ones that hold them."""
        cuts = self._cuts()
        other: Calendar = next(one for one in cuts.beside if one.code == code)
        own = cuts.calendar
        start = own.on_or_before(first - DAY)
        end = own.on_or_after(min(last + LONGEST, own.before(own.last)))
        return parts(cuts, other, start, end).filter(pl.col("part").is_between(first, last))

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        return self._own.append(table, frame)

    def exists(self, table: Table) -> bool:
        """Whether anything was ever committed to the table."""
        return self._own.exists(table)

    def version(self, table: Table) -> int:
        """See the port."""
        return self._own.version(table)

    def versions(self, tables: Collection[Table]) -> dict[str, int]:
        """The versions of the tables, by name."""
        return self._own.versions(tables)
