"""A store whose rows of some days are read once: for who asks for the same tables session after session."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.contract import Table
from quant_assets.ports import Store


class ReadOnce:
    """The Store port over `below`. What is asked of `tables` within [first, last] comes from one read of each, made
    when it is first asked for; the rest as ever. What is written to `tables` in the meantime is not seen.
    """

    def __init__(self, below: Store, tables: Sequence[Table], first: date, last: date) -> None:
        self._below = below
        self._names = {t.name for t in tables}
        self._first, self._last = first, last
        self._rows: dict[str, pl.DataFrame] = {}

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
        inside = first is not None and last is not None and self._first <= first and last <= self._last
        if table.name not in self._names or not inside:
            return self._below.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)
        if table.name not in self._rows:
            self._rows[table.name] = self._below.read(table, as_of=None, first=self._first, last=self._last)
        keep = [pl.col(table.event).is_between(first, last)]
        keep += [] if as_of is None else [pl.col("known_at") <= as_of]
        keep += [pl.col(column) == pl.lit(value) for column, value in (where or {}).items()]
        wanted = [c for c in table.schema if columns is None or c in columns or c in table.key]
        return self._rows[table.name].filter(keep).select(wanted)

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        return self._below.append(table, frame)

    def version(self, table: Table) -> int:
        """See the port."""
        return self._below.version(table)
