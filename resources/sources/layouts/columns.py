"""A declared mapping: the vendor's column for each of a dataset's columns, and its unit."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import polars as pl

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import ConfigurationError, ContractViolation
from quant_assets.market_data.datasets import Dataset
from quant_assets.records import Frozen
from resources.sources.reading.moments import Read, days, moments
from resources.sources.reading.names import names
from resources.sources.reading.numbers import numbers, plain, whole
from resources.sources.reading.splitting import PLACE, said
from resources.sources.reading.written import Column

BESIDE = {
    "label": pl.Date,
    "known_at": UTC_MICROS,
    "withdrawn": pl.Boolean,
}  # what a mapping may give beside the dataset's columns


class Wide(Frozen, frozen=True, forbid_unknown_fields=True):
    """A file with one column for each thing: every column that no mapping names becomes rows, its name in `name`, its
    cells in `value`. A blank cell, or one of `missing`, is no row.
    """

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
    tz: str | None = None
    decimal: Literal[".", ","] | None = None

    def column(self, declared: str | Column) -> Column:
        """A column of the mapping, with what holds for all of them."""
        named = Column(column=declared) if isinstance(declared, str) else declared
        return msgspec.structs.replace(named, tz=named.tz or self.tz, decimal=named.decimal or self.decimal)


def check(shape: Shape, dataset: Dataset) -> None:
    """Check that the mapping is one of this dataset's columns, and has all columns of a row's subject.

    Raises ConfigurationError.
    """
    wide = (shape.wide.name, shape.wide.value) if shape.wide else ()
    given = [*shape.mapping, *wide, *shape.constants]
    strange = [c for c in given if c not in (*dataset.columns, *BESIDE)]
    absent = [c for c in dataset.table.subject if c not in given]
    twice = sorted({c for c in given if given.count(c) > 1})
    if strange or absent or twice:
        raise ConfigurationError(
            f"a feed of {dataset.name} has the columns {list(dataset.columns)} to give; not among them: "
            f"{strange}, not given: {absent}, given twice: {twice}"
        )


def shaped(sheet: pl.LazyFrame, shape: Shape, dataset: Dataset) -> pl.LazyFrame:
    """Rows with the columns that the mapping gives, file, line, fault and content.

    Raises ContractViolation where the file does not have the columns that the mapping names, ConfigurationError where
    one of them cannot be read as it is declared.
    """
    schema = sheet.collect_schema()
    wanted = {ours: shape.column(c) for ours, c in shape.mapping.items()}
    vendor = [c for c in schema if c not in PLACE]
    if missing := [c.column for c in wanted.values() if c.column not in schema]:
        raise ContractViolation(
            f"the mapping names the columns {missing}, which the vendor's file does not have: it has {vendor}. "
            f"The contract of {dataset.name} is {list(dataset.columns)}; correct the feed's mapping: "
            f"{ ({o: c.column for o, c in wanted.items()}) }"
        )
    types = {**dataset.table.schema, **BESIDE}
    read = {o: _read(o, schema[c.column], types[o], c) for o, c in wanted.items()}
    sheet = sheet.with_columns(parts.alias(f"#{o}=") for o, parts in read.items())
    value = {o: pl.col(f"#{o}=").struct.field("value") for o in read}
    fault = pl.coalesce("#fault", *(pl.col(f"#{o}=").struct.field("why") for o in read))
    line = said([c for c in vendor if not _unprintable(schema[c])])
    content = pl.when(fault.is_not_null()).then(pl.coalesce("#content", line))
    place = {"file": pl.col("#file"), "line": pl.col("#line"), "fault": fault, "content": content}
    if shape.wide is None:
        return sheet.select(**value, **place)
    wide = shape.wide
    cells = [c for c in vendor if c not in {w.column for w in wanted.values()}]
    cell = shape.column(Column(column="#value", scale=wide.scale))
    for c in cells:
        _read(c, schema[c], types[wide.value], cell)
    mixed = len({schema[c] for c in cells}) > 1
    # the cells keep the vendor's names until they are rows, and ours must not meet them
    apart = sheet.select(
        *(e.alias(f"#{o}") for o, e in value.items()),
        *(e.alias(f"##{o}") for o, e in place.items()),
        *(pl.col(c).cast(pl.String) if mixed else pl.col(c) for c in cells),
    )
    kept = [*(f"#{o}" for o in wanted), *(f"##{o}" for o in place)]
    long = apart.unpivot(on=cells, index=kept, variable_name="#name", value_name="#value")
    held = pl.String() if mixed or not cells else schema[cells[0]]
    told = pl.col("#value").is_not_null()
    if held == pl.String:
        bare = pl.col("#value").str.strip_chars()
        told = told & (bare != "") & ~bare.is_in(list(wide.missing))
    elif held.is_float():
        told = told & pl.col("#value").is_not_nan()
    unread = pl.col("##fault").is_not_null() & (pl.col("#name") == (cells[0] if cells else ""))
    cell_value = _read(wide.value, held, types[wide.value], cell).struct.field("value")
    return long.filter((told & pl.col("##fault").is_null()) | unread).select(
        *(pl.col(f"#{o}").alias(o) for o in wanted),
        pl.col("#name").alias(wide.name),
        cell_value.alias(wide.value),
        *(pl.col(f"##{o}").alias(o) for o in place),
    )


def _read(field: str, held: pl.DataType, wanted: pl.DataType | type[pl.DataType], column: Column) -> pl.Expr:
    """The column in our units, and the reason if a cell cannot be read: a struct of value and why.

    Text that cannot be read stays text, so that quarantine shows what the vendor sent.
    """
    value = pl.col(column.column)
    worded = isinstance(held, (pl.String, pl.Categorical, pl.Enum))
    if _unprintable(held):
        raise ConfigurationError(
            f"column {column.column!r} for {field} holds {held}, of which nothing is read; map another column"
        )
    if wanted == pl.Date or isinstance(wanted, pl.Datetime):
        return _time(field, held, column, worded=worded, moment=wanted != pl.Date)
    if wanted == pl.String:
        if worded or (held != pl.Boolean and not held.is_temporal()) or field == "symbol":
            return _mapped(value, names(field, held, column), pl.String)
        return _plain(value.cast(pl.String))
    if wanted == pl.Boolean:
        if held.is_temporal():
            raise ConfigurationError(
                f"column {column.column!r} for {field} holds {held}, which is no truth value; map another column"
            )
        return _plain(value.cast(pl.String) if worded else value)
    integer = wanted in {pl.Int8, pl.Int16, pl.Int32, pl.Int64}
    read = (whole if integer else numbers)(field, held, column)
    if worded:
        return _plain(
            value.map_batches(
                lambda s: _canonical(s, column, read, integer=integer), return_dtype=pl.String, is_elementwise=True
            )
        )
    return _plain(value) if column.scale == 1.0 else _mapped(value, read, pl.Float64)


def _time(field: str, held: pl.DataType, column: Column, *, worded: bool, moment: bool) -> pl.Expr:
    read = (moments if moment else days)(field, held, column)
    kind = UTC_MICROS if moment else pl.Date
    if not worded:
        return _mapped(pl.col(column.column), read, kind)
    generic = f"{field} is not a {'time' if moment else 'date'} YYYY-MM-DD{' HH:MM with an offset' if moment else ''}"
    iso = "%Y-%m-%dT%H:%M:%S%.6fZ" if moment else "%Y-%m-%d"

    def as_text(s: pl.Series) -> pl.Series:
        """The contract's own words for a text that is no time at all."""
        frame = pl.DataFrame({"read": read(s), "text": s.cast(pl.String)})
        why = pl.col("read").struct.field("why")
        value = pl.coalesce(pl.col("read").struct.field("value").dt.to_string(iso), "text")
        return frame.select(pl.struct(value=value, why=pl.when(why != generic).then(why))).to_series()

    return _mapped(pl.col(column.column), as_text, pl.String)


def _plain(value: pl.Expr) -> pl.Expr:
    return pl.struct(value=value, why=pl.lit(None, pl.String))


def _mapped(value: pl.Expr, read: Read, kind: pl.DataType | type[pl.DataType]) -> pl.Expr:
    return value.map_batches(read, return_dtype=pl.Struct({"value": kind, "why": pl.String}), is_elementwise=True)


def _unprintable(held: pl.DataType) -> bool:
    return held.is_nested() or isinstance(held, (pl.Binary, pl.Object))


def _canonical(cells: pl.Series, column: Column, read: Read, *, integer: bool) -> pl.Series:
    """Text in which numbers are written as programs write them; one that is no number stays as it is."""
    text = plain(cells, column)
    if not integer and column.scale == 1.0:
        return text
    number = read(cells).struct.field("value")
    return pl.DataFrame({"n": number.cast(pl.String), "t": text}).select(pl.coalesce("n", "t")).to_series()
