"""The tables of a research home: those of a production home, which are only read, with its own rows beside them.

What a production home has stored, known by a cut that it has read, never changes; so each read takes the tables
as they are. A row that both hold is production's. One key never shows two contents: that is refused.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import ConfigurationError, ConflictingRow
from resources.tables.rows import conflict, projected, spans
from resources.tables.store import DeltaStore

PRODUCTION = "production/"  # before the name of a table of the production home, where versions are cited


class ResearchTables:
    """The Store port on two homes. `computed`: whether a table, by its name, is one that this home writes too; the
    others are production's alone.
    """

    def __init__(self, own: DeltaStore, production: DeltaStore, computed: Callable[[str], bool]) -> None:
        self.own = own
        self.production = production
        self._computed = computed

    def exists(self, table: Table) -> bool:
        """Whether either home has anything in the table."""
        return self.production.exists(table) or self.own.exists(table)

    def version(self, table: Table) -> int:
        """The version of the home's own table or, where it has none, of production's."""
        version = self.own.version(table)
        return self.production.version(table) if version < 0 else version

    def versions(self, tables: Collection[Table]) -> dict[str, int]:
        """The versions of both homes' tables, by name."""
        theirs = {f"{PRODUCTION}{t.name}": self.production.version(t) for t in tables}
        return theirs | self.own.versions([t for t in tables if self._computed(t.name)])

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
        """See the port. Raises ConflictingRow where production has since stored a key of this home's with another
        content.
        """
        theirs = self.production.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)
        if not self._computed(table.name):
            return theirs
        ours = self.own.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)
        if ours.is_empty():
            return theirs
        compared = [c for c in table.content if c in projected(table, columns)]
        ours = _unlike(table, theirs, ours, compared)
        return pl.concat([theirs, ours]).sort(table.key) if ours.height else theirs

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port; a row that production has is a no-op. Raises ConfigurationError where the table is
        production's alone.
        """
        rows = table.conform(frame)
        if rows.is_empty():
            return 0
        if not self._computed(table.name):
            raise ConfigurationError(
                f"this is a research home, and {table.name} is written by production alone: run the command "
                f"there, with QUANT_HOME={self.production.root.parent}"
            )
        stored = [
            self.production.read(table, as_of=None, first=first, last=last) for first, last in spans(rows[table.event])
        ]
        return self.own.append(table, _unlike(table, pl.concat(stored), rows, table.content))


def _unlike(table: Table, theirs: pl.DataFrame, ours: pl.DataFrame, content: Sequence[str]) -> pl.DataFrame:
    """Our rows but for those that they have too. Raises ConflictingRow where a key has another content there."""
    same = theirs.join(ours.select(table.key), on=table.key, how="semi")
    if same.is_empty():
        return ours
    other = ours.join(same.select(content), on=list(content), how="anti", nulls_equal=True)
    if (conflicting := other.join(same.select(table.key), on=table.key, how="semi")).height:
        raise ConflictingRow(
            f"{conflict(table, same, conflicting)}. Production's rows come first; give what is computed here in "
            "another way another name or version"
        )
    return other
