"""A store that shows another in a different light: some versions as if they had been known in time, some sessions
not computed yet. It writes to memory only.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import ConflictingRow
from quant_assets.frames import span
from quant_assets.market_data.restatements import AsIf
from quant_assets.ports import Store


class Overlay:
    """The Store port over `below`, which is only read: the platform's own functions run on it and change nothing."""

    def __init__(self, below: Store, as_if: Mapping[str, AsIf]) -> None:
        self._below = below
        self._as_if = as_if
        self._redone: dict[str, list[pl.Expr]] = {}
        self._written: dict[str, pl.DataFrame] = {}

    def redo(self, tables: Sequence[Table], sessions: Collection[date], **where: str | int) -> None:
        """Pass over what stands below for these sessions, of rows with columns equal to `where`: it is to be
        computed anew.
        """
        for table in tables:
            self._redone.setdefault(table.name, []).append(
                pl.all_horizontal(
                    pl.col(table.event).is_in(sorted(sessions)), *(pl.col(c) == pl.lit(v) for c, v in where.items())
                )
            )

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
        rows = self._below.read(table, as_of=as_of, first=first, last=last, where=where)
        own = [self._written[table.name]] if table.name in self._written else []
        if redone := self._redone.get(table.name):
            rows = rows.filter(~pl.any_horizontal(redone))
        if shown := self._as_if.get(table.name):
            rows = rows.join(shown.hidden, on=table.key, how="anti")
            own.append(shown.shown)
        wanted = [c for c in table.schema if columns is None or c in columns or c in table.key]
        if not own:
            return rows.select(wanted)
        keep = [pl.lit(value=True), *(pl.col(column) == pl.lit(value) for column, value in (where or {}).items())]
        keep += [] if as_of is None else [pl.col("known_at") <= as_of]
        keep += [] if first is None else [pl.col(table.event) >= first]
        keep += [] if last is None else [pl.col(table.event) <= last]
        return pl.concat([rows, *(f.filter(keep) for f in own)]).sort(table.key).select(wanted)

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        rows = table.conform(frame)
        if rows.is_empty():
            return 0
        first, last = span(rows[table.event], date)
        standing = self.read(table, as_of=None, first=first, last=last)
        new = rows.join(standing.select(table.content), on=list(table.content), how="anti", nulls_equal=True)
        if (conflicts := new.join(standing, on=list(table.key), how="semi")).height:
            raise ConflictingRow(
                f"{table.name}: {conflicts.height} row(s) stand already with another content, such as "
                f"{conflicts.select(table.key).row(0, named=True)}"
            )
        self._written[table.name] = pl.concat([self._written.get(table.name, table.empty()), new])
        return new.height

    def version(self, table: Table) -> int:
        """The version of the table below."""
        return self._below.version(table)
