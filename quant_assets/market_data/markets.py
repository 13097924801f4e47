"""Several markets and moments in one home: which rows are of which.

A market is a calendar with its sources. Of the deployment's own market and moment nothing is marked. A source of
another market is named NAME@CALENDAR, so its captures, its rows and the ids of its instruments follow from its name; an
instrument's listings have the calendar.
"""

import re
from dataclasses import replace

import polars as pl

from quant_assets.contract import Table
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LABELS, LISTINGS, PROPOSED_ACTIONS, QUARANTINE

AT = "@"
OF_INSTRUMENTS = tuple(t.name for t in (BARS, ACTIONS, PROPOSED_ACTIONS, LABELS))
"""Tables of which a market sees the rows of its own instruments."""


def elsewhere(table: Table, calendar: str) -> Table:
    """A table of instruments as the market of that calendar sees it, for a lane of another one to read.

    Raises ValueError for a table of which a market does not see its own instruments alone.
    """
    if table.name not in OF_INSTRUMENTS:
        raise ValueError(f"{table.name} is not among the tables of instruments: {', '.join(OF_INSTRUMENTS)}")
    return replace(table, name=f"{table.name}_of_{re.sub('[^A-Za-z0-9]', '_', calendar)}", market=calendar)


def named(name: str, of: str) -> str:
    """A name, marked as that of a market or lane; the deployment's own (empty) marks none."""
    return f"{name}{AT}{of}" if of else name


def is_named(name: pl.Expr, of: str) -> pl.Expr:
    """Whether a name is marked so."""
    return name.str.ends_with(named("", of)) if of else ~name.str.contains(AT, literal=True)


def market_of(source: str) -> str:
    """The market of a source, by its name; empty for the deployment's own."""
    return source.partition(AT)[2]


def shared_by_markets(table: Table) -> bool:
    """Whether the rows of a dataset are of every market: they have no symbol, as rates of currencies have none."""
    return "symbol" not in table.schema


def is_of(table: Table, market: str) -> pl.Expr | None:
    """Whether a row of `table` is of the market, by its own columns; None where the table has nothing to tell by."""
    if table.name == LISTINGS.name:
        return pl.col("calendar") == market
    by_source = table.name in {CAPTURES.name, QUARANTINE.name} or {"source", "symbol"} <= {*table.schema}
    return is_named(pl.col("source"), market) if by_source and table.name not in OF_INSTRUMENTS else None
