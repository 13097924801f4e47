"""A declared mapping: under which of the vendor's columns a dataset's columns stand, and in which units."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import ConfigurationError, ContractViolation
from quant_assets.market_data.datasets import Dataset
from quant_assets.records import Frozen
from resources.sources.layouts.text import PLACE

BESIDE = {
    "label": pl.Date,
    "known_at": UTC_MICROS,
    "withdrawn": pl.Boolean,
}  # what a mapping may give beside the dataset's columns


class Column(Frozen, frozen=True, forbid_unknown_fields=True):
    """A vendor's column. `format`: how a day or time is written (strftime, UTC); `month_end`: it means the last day of its month; `scale`: what makes its numbers ours (0.01: percent to fraction)."""

    column: str
    format: str | None = None
    month_end: bool = False
    scale: float = 1.0


class Wide(Frozen, frozen=True, forbid_unknown_fields=True):
    """A file with one column for each thing: every column that no mapping names becomes rows, its name in `name`, its cells in `value`. A blank cell, or one of `missing`, is no row."""

    name: str
    value: str
    scale: float = 1.0
    missing: tuple[str, ...] = ()


class Shape(Frozen, frozen=True):
    """How a sheet becomes rows of a dataset."""

    dataset: str
    mapping: Mapping[str, str | Column]
    wide: Wide | None = None
    constants: Mapping[str, Any] = {}


def check(shape: Shape, dataset: Dataset) -> None:
    """Hold that the mapping is one of this dataset's columns, and gives all that says what a row is about. Raises ConfigurationError."""
    wide = (shape.wide.name, shape.wide.value) if shape.wide else ()
    given = [*shape.mapping, *wide, *shape.constants]
    strange = [c for c in given if c not in (*dataset.columns, *BESIDE)]
    absent = [c for c in dataset.table.subject if c not in given]
    twice = sorted({c for c in given if given.count(c) > 1})
    if strange or absent or twice:
        raise ConfigurationError(
            f"a feed of {dataset.name} has the columns {list(dataset.columns)} to give; not among them: {strange}, not given: {absent}, given twice: {twice}"
        )


def shaped(sheet: pl.LazyFrame, shape: Shape, dataset: Dataset) -> pl.LazyFrame:
    """Rows with the columns that the mapping gives, file, line, fault and content. Raises ContractViolation where the file does not have the columns that the mapping names."""
    schema = sheet.collect_schema()
    wanted = {ours: Column(column=c) if isinstance(c, str) else c for ours, c in shape.mapping.items()}
    vendor = [c for c in schema if c not in PLACE]
    if missing := [c.column for c in wanted.values() if c.column not in schema]:
        raise ContractViolation(
            f"the mapping names the columns {missing}, which the vendor's file does not have: it has {vendor}. "
            f"The contract of {dataset.name} is {list(dataset.columns)}; correct the feed's mapping: { ({o: c.column for o, c in wanted.items()}) }"
        )
    types = {**dataset.table.schema, **BESIDE}
    ours = [_read(schema[c.column], types[o], c).alias(o) for o, c in wanted.items()]
    place = [pl.col(c).alias(c.removeprefix("#")) for c in PLACE]
    if shape.wide is None:
        return sheet.select(*ours, *place)
    wide = shape.wide
    cells = [c for c in vendor if c not in {w.column for w in wanted.values()}]
    mixed = len({schema[c] for c in cells}) > 1
    # the cells keep the vendor's names until they are rows, and ours must not meet them
    apart = sheet.select(
        *(e.alias(f"#{o}") for o, e in zip(wanted, ours, strict=True)),
        *PLACE,
        *(pl.col(c).cast(pl.String) if mixed else pl.col(c) for c in cells),
    )
    long = apart.unpivot(
        on=cells, index=[*(f"#{o}" for o in wanted), *PLACE], variable_name="#name", value_name="#value"
    )
    held = pl.String() if mixed or not cells else schema[cells[0]]
    said = pl.col("#value").is_not_null()
    if held == pl.String:
        said = (
            said
            & (pl.col("#value").str.strip_chars() != "")
            & ~pl.col("#value").str.strip_chars().is_in(list(wide.missing))
        )
    elif held.is_float():
        said = said & pl.col("#value").is_not_nan()
    unread = pl.col("#fault").is_not_null() & (pl.col("#name") == (cells[0] if cells else ""))
    value = _read(held, types[wide.value], Column(column="#value", scale=wide.scale)).alias(wide.value)
    return long.filter(said | unread).select(
        *(pl.col(f"#{o}").alias(o) for o in wanted), pl.col("#name").alias(wide.name), value, *place
    )


def _read(given: pl.DataType, wanted: pl.DataType | type[pl.DataType], column: Column) -> pl.Expr:
    """The column in our units. Text stays text where it cannot be read, so that quarantine shows what the vendor said."""
    value = pl.col(column.column)
    text = given == pl.String
    if column.format or column.month_end:
        moments = wanted != pl.Date
        written = value.cast(pl.String).str.strip_chars()
        day_only = column.format is None or not any(f in column.format for f in ("%H", "%T", "%s", "%z"))
        # a day is read at its first, for %Y%m alone is none
        read = (
            _day(written, column.format)
            if day_only
            else written.str.to_datetime(column.format, time_unit="us", time_zone="UTC", strict=False)
        )
        read = read if moments and not day_only else read.cast(pl.Date)
        read = read.dt.month_end() if column.month_end else read
        return pl.coalesce(
            read.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ" if moments and not day_only else "%Y-%m-%d"), written
        )
    if column.scale != 1.0:
        number = (
            value.cast(pl.Float64, strict=False) if not text else value.str.strip_chars().cast(pl.Float64, strict=False)
        )
        scaled = (
            number / (1 / column.scale) if column.scale < 1 else number * column.scale
        )  # by 100 and not by 0.01, which no binary number is
        return pl.coalesce(scaled.cast(pl.String), value) if text else scaled
    return value


def _day(written: pl.Expr, format_: str | None) -> pl.Expr:
    if format_ is None:
        return written.str.to_date("%Y-%m-%d", strict=False)
    if "%d" not in format_ and "%j" not in format_:
        return (written + "-01").str.to_date(f"{format_}-%d", strict=False)
    return written.str.to_date(format_, strict=False)
