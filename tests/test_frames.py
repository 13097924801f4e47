"""The bounds of a series have a type, and a series of another type has none."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from quant_assets.frames import bounds, span

DAYS = [date(2025, 6, 3), None, date(2025, 6, 2)]
NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("series", "kind", "expected"),
    [
        (pl.Series(DAYS), date, (date(2025, 6, 2), date(2025, 6, 3))),
        (pl.Series([NOON]), datetime, (NOON, NOON)),
        (pl.Series([3, 1, 2], dtype=pl.UInt32), int, (1, 3)),
        (pl.Series([0.5, -0.5]), float, (-0.5, 0.5)),
        (pl.Series([], dtype=pl.Date), date, None),
        (pl.Series([None], dtype=pl.Int64), int, None),
    ],
)
def test_bounds_are_the_smallest_and_the_largest_value(series: pl.Series, kind: type, expected: object) -> None:
    """Nulls do not count; a series without values has no bounds."""
    assert bounds(series, kind) == expected


def test_bounds_of_another_type_are_refused() -> None:
    """A column that is not what the caller takes it for is an error, not a wrong value."""
    with pytest.raises(TypeError, match="'session' holds String, not date"):
        bounds(pl.Series("session", ["2025-06-02"]), date)


def test_a_series_without_values_has_no_span() -> None:
    """The error names the column."""
    with pytest.raises(ValueError, match="'session' has no values"):
        span(pl.Series("session", [], dtype=pl.Date), date)
