"""What a file's columns may mean: fields by the names that vendors give them, and the ways in which a column's days can
be read.

A proposal is no reading: a person puts it into the deployment, where it is a declaration.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import polars as pl

from quant_assets.errors import ConfigurationError
from resources.sources.reading.moments import days
from resources.sources.reading.numbers import numbers
from resources.sources.reading.written import FILE, Column

NAMES: Mapping[str, Sequence[str]] = {
    "symbol": (
        "symbol",
        "ticker",
        "sym",
        "instrument",
        "ric",
        "code",
        "security",
        "actsymbol",
        "tscode",
        "permno",
        "cusip",
        "sedol",
        "isin",
        "figi",
        "name",
    ),
    "session": (
        "session",
        "date",
        "day",
        "tradedate",
        "tradingdate",
        "datum",
        "timeperiod",
        "datetime",
        "timestamp",
        "time",
        "epoch",
        "ts",
        "price",
    ),
    "open": ("open", "o", "pxopen", "openprice", "eroeffnung", "eröffnung"),
    "high": ("high", "h", "pxhigh", "highprice", "hoch"),
    "low": ("low", "l", "pxlow", "lowprice", "tief"),
    "close": ("close", "c", "pxlast", "closeprice", "closelast", "last", "settle", "schluss"),
    "volume": ("volume", "vol", "v", "pxvolume", "totalvolume", "qty", "shares", "volumen"),
    "adj_close": ("adjclose", "adjusted", "adjustedclose", "adj", "closeadj", "adjustedclosingprice"),
}
FORMATS = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%y-%m-%d",
    "%Y%m%d",
    "%d-%b-%Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%d-%b-%y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%Y%m%d %H:%M:%S",
)
UNITS = ("s", "ms", "us", "ns", "excel", "d")
ENOUGH = 0.9  # of the cells that a reading must read: the rest may be broken rows
ALSO = 0.3  # of them that another must read to be reported beside it
RECENT = 1990  # of numbers that count from 1970: before it, hardly any file of prices


class Form(NamedTuple):
    """A way in which a column of days can be read; how many of its cells it reads, and which share of the days falls on
    a weekend.
    """

    column: Column
    read: int
    weekend: float

    @property
    def text(self) -> str:
        """The format or unit, in words."""
        return self.column.format or (f"unit {self.column.unit}" if self.column.unit else "as it stands") + (
            f" in {self.column.tz}" if self.column.tz else ""
        )


def fields(columns: Sequence[str], *, by_file: bool) -> dict[str, str]:
    """The likely column of each field.

    `by_file`: the files' names are the tickers if no column is a symbol.
    """
    plain = {c: re.sub(r"^\d+\.|[^\w]|_", "", c).lower() for c in columns}
    found: dict[str, str] = {}
    for field, names in NAMES.items():
        ranked = sorted((names.index(p), c) for c, p in plain.items() if p in names and c not in found.values())
        if ranked:
            found[field] = ranked[0][1]
    if "symbol" not in found and by_file:
        found["symbol"] = FILE
    return found


def forms(cells: pl.Series, name: str, zone: str) -> list[Form]:
    """The ways in which the cells can be read as days, the one that reads most first: several where nothing decides
    between them. `zone`: the exchange's.
    """
    said = cells.cast(pl.String, strict=False) if not cells.dtype.is_nested() else cells
    count = said.drop_nulls().len()
    if said.dtype == pl.String:
        count = said.filter(said.str.strip_chars() != "").len()  # a blank shows nothing of how days are written
    tried = [
        Column(column=name),
        *(Column(column=name, format=f) for f in FORMATS),
        *(Column(column=name, unit=u) for u in UNITS),
    ]
    tried += [msgspec.structs.replace(c, tz=zone) for c in tried if c.unit or c.format is None]
    found: list[Form] = []
    for column in tried:
        if column.tz and any(f.column.unit == column.unit and f.column.format == column.format for f in found):
            continue
        try:
            read = days("session", cells.dtype, column)(cells).struct.field("value").drop_nulls()
        except ConfigurationError:
            continue  # cells of this kind are never written so: the form is not proposed
        if column.unit and column.unit != "excel":
            read = read.filter(read.dt.year() >= RECENT)
        if count and read.len() >= ALSO * count:
            weekend = (read.dt.weekday() > 5).mean()
            found.append(Form(column, read.len(), float(weekend) if isinstance(weekend, (int, float)) else 0.0))
            if not (column.format or column.unit) and read.len() >= ENOUGH * count:
                break
    ranked = sorted(found, key=lambda f: (-f.read, f.weekend))
    return ranked if ranked and ranked[0].read >= ENOUGH * count else []


def decides(cells: pl.Series, one: Form, other: Form) -> int | None:
    """The place of the first cell that only one of two forms reads; None where they read the same."""
    read = [days("session", cells.dtype, f.column)(cells).struct.field("value").is_not_null() for f in (one, other)]
    differ = (read[0] != read[1]).arg_true()
    return int(differ[0]) if differ.len() else None


def decimal(cells: Sequence[pl.Series]) -> str | None:
    """A comma where the columns' numbers are read with decimal commas and not otherwise."""
    counts = {}
    for mark in (None, ","):
        column = Column(column="#", decimal=mark)
        counts[mark] = sum(
            numbers("#", c.dtype, column)(c).struct.field("why").null_count() for c in cells if c.dtype == pl.String
        )
    return "," if counts[","] > counts[None] else None
