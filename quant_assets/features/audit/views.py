"""The stores that an audit looks through: read only, read once, and known by a cut.

`hostile` has the one with another future.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import ContractViolation
from quant_assets.ports import Store
from quant_assets.tables import ANCHORS, AUDITS

EXEMPT = frozenset(
    {ANCHORS.name, AUDITS.name}
)  # where the platform itself keeps what it must not forget, not what is known of the market


class ReadOnly:
    """The Store port over `below` for reading alone. `asked` names the tables that were read."""

    def __init__(self, below: Store) -> None:
        self.below = below
        self.asked: set[str] = set()

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
        self.asked.add(table.name)
        wanted = [c for c in table.schema if columns is None or c in columns or c in table.key]
        if table.name in EXEMPT:
            return self.below.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)
        return self.seen(table, as_of, first, last, where or {}, wanted)

    def seen(
        self,
        table: Table,
        as_of: datetime | None,
        first: date | None,
        last: date | None,
        where: Mapping[str, str | int],
        columns: list[str],
    ) -> pl.DataFrame:
        """The rows that this store shows instead of those of the store below."""
        return self.below.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """Raises ContractViolation: whoever is audited reads."""
        raise ContractViolation(
            f"{table.name}: {frame.height} rows were to be written while a feature set was audited; kernels "
            f"and inputs read, `publish` writes"
        )

    def version(self, table: Table) -> int:
        """The version of the table below."""
        return self.below.version(table)


class Remembered(ReadOnly):
    """`below`, of which every table is read once over [first, last] (or further, where further is asked for) and then
    served from memory.
    """

    def __init__(self, below: Store, first: date, last: date) -> None:
        super().__init__(below)
        self._span = (first, last)
        self._held: dict[tuple[object, ...], tuple[date, date, pl.DataFrame]] = {}

    def seen(
        self,
        table: Table,
        as_of: datetime | None,
        first: date | None,
        last: date | None,
        where: Mapping[str, str | int],
        columns: list[str],
    ) -> pl.DataFrame:
        """See the port."""
        asked = first or date.min, last or date.max
        kind = (table.name, *sorted(where.items()))
        lo, hi, held = self._held.get(kind, (date.max, date.min, table.empty().select(columns)))
        needed = list(dict.fromkeys([*columns, "known_at", table.event]))
        if asked[0] < lo or asked[1] > hi or not set(needed) <= set(held.columns):
            lo, hi = min(asked[0], lo, self._span[0]), max(asked[1], hi, self._span[1])
            needed = [c for c in table.schema if c in needed or c in held.columns]
            held = self.below.read(
                table,
                as_of=None,
                first=None if lo == date.min else lo,
                last=None if hi == date.max else hi,
                where=where,
                columns=needed,
            )
            self._held[kind] = (lo, hi, held)
        return held.filter(within(table, as_of, first, last, {})).select(columns)


class KnownBy(ReadOnly):
    """`below` as it was at `cut`: rows that became known later are not there, whatever a reader asks for."""

    def __init__(self, below: Store, cut: datetime) -> None:
        super().__init__(below)
        self._cut = cut

    def seen(
        self,
        table: Table,
        as_of: datetime | None,
        first: date | None,
        last: date | None,
        where: Mapping[str, str | int],
        columns: list[str],
    ) -> pl.DataFrame:
        """See the port."""
        return self.below.read(
            table, as_of=min(as_of or self._cut, self._cut), first=first, last=last, where=where, columns=columns
        )


def within(
    table: Table, as_of: datetime | None, first: date | None, last: date | None, where: Mapping[str, str | int]
) -> list[pl.Expr]:
    """The conditions of a read."""
    instants, event = isinstance(table.schema[table.event], pl.Datetime), pl.col(table.event)
    keep: list[pl.Expr] = [pl.lit(value=True)]
    if as_of is not None:
        keep.append(pl.col("known_at") <= as_of)
    if first is not None:
        keep.append(event >= (datetime.combine(first, time.min, UTC) if instants else first))
    if last is not None:
        keep.append(event <= (datetime.combine(last, time.max, UTC) if instants else last))
    return [*keep, *(pl.col(c) == pl.lit(v) for c, v in where.items())]
