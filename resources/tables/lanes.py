"""The tables of a home as one of its lanes sees them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

import polars as pl

from quant_assets.contract import Table
from quant_assets.market_data.markets import OF_INSTRUMENTS, is_named, is_of, named
from quant_assets.tables import ANCHORS, LABELS, LISTINGS, UNIVERSE, VERDICTS
from resources.tables.beside import ResearchTables
from resources.tables.rows import projected
from resources.tables.store import DeltaStore


class LaneStore:
    """The Store port on the tables of a home, where it shows the bars, actions, listings, captures and rows by symbol
    of one market alone: what is computed of one market never hangs on another.

    What a lane knows at its own cuts is its own too: labels, verdicts, and the universes that it draws (those of the
    other lanes are `hidden`). Where a block of a feature set is anchored depends on the sessions of a market. Such rows
    are stored under marked names, which only a lane sees without the mark. All other tables are the home's.
    """

    def __init__(
        self,
        below: "DeltaStore | ResearchTables | LaneStore",
        *,
        market: str,
        lane: str,
        own: str = "",
        hidden: Collection[str] = (),
        beside: Collection[str] = (),
    ) -> None:
        """`own`: the calendar of the deployment's own market, which nothing is marked with. `beside`: the other markets
        whose names the lane decides; it has labels of them.
        """
        self._below = below
        self.market = market
        self._own = own
        self._markets = (market, *beside)
        self._marked = {ANCHORS.name: ("feature_set", "+".join(self._markets)), LABELS.name: ("label", lane)}
        self._marked[VERDICTS.name] = ("table", lane)
        self._hidden = sorted(hidden)
        self._listed: dict[str, tuple[int, pl.Series]] = {}

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
        """See the port. Of a table that is read `elsewhere`, the rows of that market's instruments."""
        if table.market:
            there = "" if table.market == self._own else table.market
            plain = replace(table, name=table.name.rpartition("_of_")[0], market="")
            needed = None if columns is None else [*columns, "sid"]
            rows = self._below.read(plain, as_of=as_of, first=first, last=last, where=where, columns=needed)
            return rows.filter(self._traded_in(there)).select(projected(plain, columns))
        column, of = self._marked.get(table.name, ("", ""))
        if where and column in where:
            where = {**where, column: named(str(where[column]), of)}
        keep = [] if (mine := is_of(table, self.market)) is None else [mine]
        needed = None if columns is None else [*columns, *(name for one in keep for name in one.meta.root_names())]
        rows = self._below.read(table, as_of=as_of, first=first, last=last, where=where, columns=needed)
        if table.name in OF_INSTRUMENTS:
            markets = self._markets if table.name == LABELS.name else self._markets[:1]
            keep.append(pl.any_horizontal(map(self._traded_in, markets)))
        if table.name == UNIVERSE.name:
            keep.append(~pl.col("universe").is_in(self._hidden))
        if column:
            keep.append(is_named(pl.col(column), of))
        found = rows.filter(keep) if keep else rows
        if of:
            found = found.with_columns(pl.col(column).str.strip_suffix(named("", of)))
        return found.select(projected(table, columns))

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        column, of = self._marked.get(table.name, ("", ""))
        return self._below.append(table, frame.with_columns(pl.col(column) + named("", of)) if of else frame)

    def exists(self, table: Table) -> bool:
        """Whether anything was ever committed to the table."""
        return self._below.exists(table)

    def version(self, table: Table) -> int:
        """See the port."""
        return self._below.version(table)

    def versions(self, tables: Collection[Table]) -> dict[str, int]:
        """The versions of the tables, by name."""
        return self._below.versions(tables)

    def _traded_in(self, market: str) -> pl.Expr:
        """Whether the instrument of a row is of a market; one without a listing is of the deployment's own."""
        version = self.version(LISTINGS)
        held = self._listed.get(market)
        if held is None or held[0] != version:
            rows = self._below.read(LISTINGS, as_of=None, columns=["calendar"])
            chosen = pl.col("calendar") == market if market else pl.col("calendar") != ""
            held = self._listed[market] = version, rows.filter(chosen)["sid"].unique()
        found = pl.col("sid").is_in(held[1].implode())
        return found if market else ~found
