"""Numbers as vendors write them: 1000.0, 1e3, 1,000 with groups of three, or 1.000,5 if a decimal comma is declared.

A comma that does not group three digits is no number: `3,5` may be three and a half, but only if it is declared.
"""

import polars as pl

from quant_assets.errors import ConfigurationError
from resources.sources.reading.moments import Read, given, only
from resources.sources.reading.written import Column

_GROUPED = r"^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?$"
_COMMA = r"^[+-]?(?:\d+|\d{1,3}(?:[. '’\x{00a0}\x{202f}]\d{3})+)(?:,\d*)?(?:[eE][+-]?\d+)?$"
_WHOLE = 2.0**53  # beyond it a float cannot represent every whole number


def numbers(field: str, held: pl.DataType, column: Column) -> Read:
    """Reads a column of type `held` as floats, scaled.

    Raises ConfigurationError where such a column holds no numbers.
    """
    _hold_numeric(field, held, column)

    def read(s: pl.Series) -> pl.Series:
        quick = _quick(s, column, pl.Float64())
        if quick is not None and column.scale == 1.0 and quick.is_finite().all():
            return _sound(quick)
        value = plain(s, column).cast(pl.Float64, strict=False)
        said = given(s)
        if column.scale != 1.0:  # by 100 and not by 0.01, which no binary number is
            n = pl.col("n")
            scaled = n / (1 / column.scale) if column.scale < 1 else n * column.scale
            value = pl.DataFrame({"n": value}).select(scaled).to_series()
        return _struct(value, said & (value.is_null() | ~value.is_finite()), f"{field} is not a number")

    return read


def whole(field: str, held: pl.DataType, column: Column) -> Read:
    """Reads a column of type `held` as whole numbers, int64: 1000.0 is one, 0.5 is not.

    Raises ConfigurationError as `numbers` does.
    """
    _hold_numeric(field, held, column)

    def read(s: pl.Series) -> pl.Series:
        if (quick := _quick(s, column, pl.Int64())) is not None:
            return _sound(quick)
        cells = plain(s, column)
        value = cells.cast(pl.Int64, strict=False)
        if s.dtype != pl.String and not s.dtype.is_integer():
            value = only(value, value.cast(pl.Float64) == cells.cast(pl.Float64, strict=False))
        elif value.null_count():
            real = cells.cast(pl.Float64, strict=False)
            rounded = only(real, (real == real.round()) & (real.abs() <= _WHOLE))
            value = value.zip_with(value.is_not_null(), rounded.cast(pl.Int64, strict=False))
        return _struct(value, given(s) & value.is_null(), f"{field} is not a whole number")

    return read


def plain(s: pl.Series, column: Column) -> pl.Series:
    """The cells, of which each text that is a number is written as programs do: no blanks around it, no groups, a
    decimal point.
    """
    if isinstance(s.dtype, (pl.Categorical, pl.Enum)):
        s = s.cast(pl.String)
    if s.dtype != pl.String:
        return s
    cells = s.str.strip_chars()
    if column.decimal == ",":
        shaped = cells.str.contains(_COMMA)
        pointed = cells.str.replace_all(r"[. '’\x{00a0}\x{202f}]", "").str.replace(",", ".", literal=True)
        return pointed.zip_with(
            shaped,
            pl.select(
                pl.when(cells == "").then(cells).otherwise(pl.format("{} (no decimal comma)", cells))
            ).to_series(),
        )
    if cells.str.contains(",", literal=True).any():
        return cells.str.replace_all(",", "", literal=True).zip_with(cells.str.contains(_GROUPED), cells)
    return cells


def _hold_numeric(field: str, held: pl.DataType, column: Column) -> None:
    if not (held.is_numeric() or isinstance(held, (pl.String, pl.Null, pl.Categorical, pl.Enum))):
        raise ConfigurationError(
            f"column {column.column!r} for {field} holds {held}, which is no number; map another column"
        )


def _quick(s: pl.Series, column: Column, wanted: pl.DataType) -> pl.Series | None:
    """The texts as numbers, where all of them are written as programs do; None where a closer look is needed."""
    if s.dtype != pl.String or column.decimal == ",":
        return None
    value = s.cast(wanted, strict=False)
    return None if value.null_count() else value


def _sound(value: pl.Series) -> pl.Series:
    """What `_struct` makes of cells with which nothing is wrong."""
    return pl.DataFrame({"value": value}).select(pl.struct("value", why=pl.lit(None, pl.String))).to_series()


def _struct(value: pl.Series, wrong: pl.Series, why: str) -> pl.Series:
    frame = pl.DataFrame({"value": value, "wrong": wrong})
    return frame.select(pl.struct("value", why=pl.when("wrong").then(pl.lit(why)))).to_series()
