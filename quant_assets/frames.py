"""What a Series holds, with its type: Polars types the smallest and largest value of a Series by no dtype."""

from typing import TypeVar

import polars as pl

T = TypeVar("T")


def bounds(series: pl.Series, kind: type[T]) -> tuple[T, T] | None:
    """The smallest and the largest value of a series of `kind`; None if it has no values but nulls.

    Raises TypeError if the values are of another type.
    """
    low, high = series.min(), series.max()
    if low is None and high is None:
        return None
    if not isinstance(low, kind) or not isinstance(high, kind):
        raise TypeError(f"{series.name!r} holds {series.dtype}, not {kind.__name__}")
    return low, high


def span(series: pl.Series, kind: type[T]) -> tuple[T, T]:
    """`bounds` of a series that has values. Raises ValueError if it has none."""
    found = bounds(series, kind)
    if found is None:
        raise ValueError(f"{series.name!r} has no values")
    return found
