"""The cost of vintages on the real panel: rows and CPU of evaluating features on what was known then, against on what
is known now.

    python -m bench.vintages            (QUANT_SHARED_DATA, or ../shared/data)

"With" is what the platform does: each session's features on the rows known at its cut. "Without" evaluates the same
blocks on the rows in force at the block's end, each name one series. The kernel is the same: mean and deviation of 20
sessions and an exponential mean of each column. CPU time from the rows as stored to the features, threads included, the
least of three. "Cells that differ" is what one would get wrong without: numbers that the session could not have known,
or known to other bits.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import polars as pl

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force
from quant_assets.features.blocks import Block, default_anchor, evaluate, panel, quarter_start, versions
from quant_assets.features.catalogue import find_set
from quant_assets.features.sets import PRICES, FeatureSet
from quant_assets.market_data.ingest import ingest
from quant_assets.ports import Store
from quant_assets.tables import ACTIONS, BARS
from resources.sources.files import ColumnMapping, Files
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
FIRST, LAST = date(2015, 4, 1), date(2016, 6, 30)
TERMS = ("numerator", "denominator", "cash", "value")
SETS = {"close": ("close",), "OHLC": PRICES, "OHLCV": (*PRICES, "volume")}


class Cost(NamedTuple):
    """What one way costs: rows of the panel, CPU seconds of its panels alone and of everything, and the features."""

    rows: int
    panels: float
    cpu: float
    values: pl.DataFrame


def rolling(columns: tuple[str, ...]) -> FeatureSet:
    """Three features of each column; no cross-section."""

    def kernel(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(
            e.over("series").alias(f"{c}_{name}")
            for c in columns
            for name, e in {
                "mean": pl.col(c).rolling_mean(20, min_samples=1),
                "std": pl.col(c).rolling_std(20, min_samples=2),
                "ewm": pl.col(c).ewm_mean(span=10, adjust=False),
            }.items()
        )

    features = tuple(f"{c}_{name}" for c in columns for name in ("mean", "std", "ewm"))
    return FeatureSet("rolling", "1", features, columns, lookback=60, kernel=kernel, cross_section=lambda rows: rows)


def known_then(
    rows: pl.DataFrame, located: pl.DataFrame, values: tuple[str, ...], subject: tuple[str, ...]
) -> pl.DataFrame:
    """The versions of rows, as the platform takes them."""
    return versions(rows, located, values, subject)


def known_now(
    rows: pl.DataFrame, located: pl.DataFrame, values: tuple[str, ...], subject: tuple[str, ...]
) -> pl.DataFrame:
    """The rows in force, as if each had been known at its own session."""
    table = BARS if subject == ("sid",) else ACTIONS
    standing = in_force(rows, table).join(located.select("session", "i"), on="session")
    return standing.select(*subject, "i", *values, "withdrawn", e="i", late=pl.lit(value=False))


def cost(store: Store, features: FeatureSet, located: Callable[..., pl.DataFrame]) -> Cost:
    """Evaluate every block of the panel for all names that have a bar."""
    rows, panels, cpu, values = 0, 0.0, 0.0, list[pl.DataFrame]()
    for start, group in groupby(CUTS.calendar.between(FIRST, LAST), key=lambda s: quarter_start(CUTS.calendar, s)):
        days = list(group)
        anchor = default_anchor(CUTS.calendar, start, features.lookback)
        block = Block(*map(CUTS.calendar.index, (anchor, days[0], days[-1])))
        as_of, sessions = CUTS.of(days[-1]), CUTS.frame(anchor, days[-1])
        stored = store.read(BARS, as_of=as_of, first=anchor, last=days[-1])
        adjusting = store.read(ACTIONS, as_of=as_of, first=anchor, last=days[-1]).filter(
            pl.col("kind").is_in(["split", "dividend"])
        )
        members = (
            stored.select("session", "sid")
            .unique()
            .join(sessions.select("session", "i"), on="session")
            .filter(pl.col("i") >= block.first)
        )
        begun = time.process_time()
        bars, actions = (
            located(stored, sessions, features.stored_columns, ("sid",)),
            located(adjusting, sessions, TERMS, ("sid", "kind")),
        )
        values.append(evaluate(features, bars, actions, members, block))
        cpu += time.process_time() - begun
        begun = time.process_time()
        rows += panel(features, bars, actions, block).height
        panels += time.process_time() - begun
    return Cost(rows, panels, cpu, pl.concat(values))


def least(store: Store, features: FeatureSet, located: Callable[..., pl.DataFrame]) -> Cost:
    """The cheapest of three runs, part by part."""
    runs = [cost(store, features, located) for _ in range(3)]
    return runs[0]._replace(panels=min(r.panels for r in runs), cpu=min(r.cpu for r in runs))


def differing(one: pl.DataFrame, other: pl.DataFrame) -> float:
    """The share of cells, of the names and sessions in both, that are not equal in every bit."""
    features = one.columns[2:]
    both = one.join(other, on=["i", "sid"], suffix=" other")
    return sum(int(both[f].ne_missing(both[f"{f} other"]).sum()) for f in features) / (both.height * len(features))


def load(store: Store, data: Path, captures: int | None) -> None:
    """Take in the panel, or its first captures."""
    mapping = ColumnMapping(session="date", label="captured_on", adj_close="adj_close")
    source = Files(
        data / "prices_20150323_20160630.parquet",
        mapping,
        CUTS.calendar,
        known_at="label+1d@13:00",
        listings=data / "listings_to_20160630.parquet",
    )
    report = ingest(source, store, None, datetime(2026, 12, 1, tzinfo=UTC), source.labels()[:captures], CUTS.calendar)
    print({k: int(v) for k, v in report.numbers.items()}, flush=True)


def main(data: Path, captures: int | None = None) -> None:
    """The table."""
    print(
        "| columns | results | panel rows without | with | | CPU-s of the panels without | with | | CPU-s "
        "in all without | with | | cells that differ |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        store = DeltaStore(Path(folder))
        load(store, data, captures)
        own = find_set("price_volume")
        for name, features in {
            **{n: rolling(c) for n, c in SETS.items()},
            f"{own.name} ({', '.join(own.columns)})": own,
        }.items():
            now, then = (least(store, features, located) for located in (known_now, known_then))
            ratios = [
                f"{b:{f}} | +{b / a - 1:.0%}"
                for a, b, f in (
                    (now.rows, then.rows, ","),
                    (now.panels, then.panels, ".2f"),
                    (now.cpu, then.cpu, ".2f"),
                )
            ]
            print(
                f"| {name} | {then.values.height:,} | {now.rows:,} | {ratios[0]} | {now.panels:.2f} | "
                f"{ratios[1]} | {now.cpu:.2f} | {ratios[2]} | {differing(then.values, now.values):.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    shared = Path(os.environ.get("QUANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "pystock"
    main(shared, *(int(argument) for argument in sys.argv[1:]))
