"""Sources over slices of the real panel, and over captures written by hand."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from quant_assets.records import Capture, frame_hash

PRICES = {
    "symbol": pl.String,
    "session": pl.Date,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Int64,
    "adj_close": pl.Float64,
}
MALFORMED = {"file": pl.String, "line": pl.Int64, "symbol": pl.String, "reason": pl.String, "content": pl.String}


def knowledge(label: date) -> datetime:
    """When the vendor's capture of a session is there: 13:00 UTC on the day after."""
    return datetime.combine(label + timedelta(days=1), datetime.min.time(), UTC).replace(hour=13)


def build(
    label: date,
    prices: pl.DataFrame,
    listings: pl.DataFrame | None = None,
    actions: pl.DataFrame | None = None,
    known_at: datetime | None = None,
) -> Capture:
    """A capture of `prices` (columns `PRICES`; file and line are added where missing)."""
    if "line" not in prices.columns:
        prices = prices.with_row_index("line", offset=2).with_columns(
            pl.col("line").cast(pl.Int64), file=pl.lit(f"{label}.csv")
        )
    return Capture(
        source="test",
        label=label,
        location="memory",
        sha256=frame_hash(prices),
        known_at=known_at or knowledge(label),
        assumed=False,
        prices=prices,
        listings=listings,
        actions=actions,
        malformed=pl.DataFrame(schema=MALFORMED),
    )


class Captures:
    """A MarketDataSource of captures held in memory."""

    name = "test"

    def __init__(self, captures: Mapping[date, Capture]) -> None:
        self.captures = captures

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """The labels held."""
        return sorted(d for d in self.captures if (first is None or d >= first) and (last is None or d <= last))

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """By content; what is not held is not there."""
        return {d: self.captures[d].sha256 for d in labels if d in self.captures}

    def fetch(self, label: date) -> Capture:
        """The capture held."""
        return self.captures[label]


@pytest.fixture(scope="session")
def panel(shared_data: Path) -> Callable[..., Captures]:
    """Open `panel(first, last, symbols=None)`: the real captures with labels in [first, last], of all or some
    symbols.
    """
    folder = shared_data / "pystock"
    scan = (
        pl.scan_parquet(folder / "prices_20150323_20160630.parquet")
        .with_row_index("line", offset=1)
        .with_columns(pl.col("line").cast(pl.Int64), file=pl.lit("prices.parquet"))
    )
    listed = pl.read_parquet(folder / "listings_to_20160630.parquet")

    def open_(first: date, last: date, symbols: Sequence[str] | None = None, *, names: bool = True) -> Captures:
        rows = scan.filter(pl.col("captured_on").is_between(first, last))
        known = listed
        if symbols is not None:
            rows = rows.filter(pl.col("symbol").is_in(list(symbols)))
            known = listed.filter(pl.col("symbol").is_in(list(symbols)))
        labels = rows.rename({"date": "session"}).collect().partition_by("captured_on", as_dict=True, include_key=False)
        captures: dict[date, Capture] = {}
        for (label,), prices in labels.items():
            at = known.filter((pl.col("first_capture") <= label) & (pl.col("last_capture") >= label)).select(
                "symbol", "name", sector=pl.lit(None, pl.String)
            )
            captures[label] = build(label, prices, at if names else None)
        return Captures(captures)

    return open_


@pytest.fixture(scope="session")
def capture() -> Callable[..., Capture]:
    """Build `capture(label, rows, names=None)`: rows are (symbol, session, close) or (symbol, session, close,
    adj_close), names symbol to company.
    """

    def make(
        label: date, rows: Sequence[tuple[object, ...]], names: Mapping[str, str] | None = None, **more: object
    ) -> Capture:
        data = [(s, d, c, c, c, c, 1000, rest[0] if rest else c) for s, d, c, *rest in rows]
        listings = (
            None
            if names is None
            else pl.DataFrame(
                {"symbol": list(names), "name": list(names.values()), "sector": [None] * len(names)},
                schema_overrides={"sector": pl.String},
            )
        )
        # keywords of build
        return build(label, pl.DataFrame(data, schema=PRICES, orient="row"), listings, **more)  # pyright: ignore[reportArgumentType]

    return make


@pytest.fixture(scope="session")
def captures() -> type[Captures]:
    """The source class over captures in memory."""
    return Captures
