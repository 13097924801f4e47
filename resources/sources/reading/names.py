"""Symbols and other names: text without the blanks around it, whatever the column's type."""

import polars as pl

from quant_assets.errors import ConfigurationError
from resources.sources.reading.moments import Read
from resources.sources.reading.written import Column


def names(field: str, held: pl.DataType, column: Column) -> Read:
    """Reads a column as text; a whole number is written without a point.

    Raises ConfigurationError where a column of that type names nothing.
    """
    worded = isinstance(held, (pl.String, pl.Null, pl.Categorical, pl.Enum))
    if not (worded or held.is_integer() or held.is_float()):
        raise ConfigurationError(
            f"column {column.column!r} for {field} holds {held}, which names nothing; map a column of text"
        )

    def read(s: pl.Series) -> pl.Series:
        text = s.cast(pl.String)
        if s.dtype.is_float():
            text = text.str.replace(r"\.0$", "")
        bare = text.str.strip_chars()
        return (
            pl.DataFrame({"value": bare})
            .select(pl.struct(value=pl.when(pl.col("value") != "").then("value"), why=pl.lit(None, pl.String)))
            .to_series()
        )

    return read
