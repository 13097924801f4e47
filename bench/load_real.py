"""All of the real market data through the sources: what was read, what became of each row, what the rules found.

    make load-real            (or: python -m bench.load_real HOME [NAME ...])

It needs the real market data (QUANT_SHARED_DATA, or ../shared/data). The feeds of datasets are those of real_feeds.yaml
and go into one home; each vendor of daily bars has a home of its own, for they tell different stories about the same
names. Every row that was read is written as a version, repeats what stands, or is in quarantine. `astray` proves it: it
counts the rows read, but not quarantined, of which the table has no version that says the same. It must be 0.
"""

import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import yaml

from quant_assets.calendars import Cuts, calendar
from quant_assets.market_data import observations, screening
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.market_data.quality import write_verdicts
from quant_assets.ports import MarketDataSource
from quant_assets.records import Capture
from quant_assets.tables import ACTIONS, BARS, DATA_FINDINGS, LISTINGS, QUARANTINE
from resources.sources.files import ColumnMapping, Files
from resources.sources.histories import Histories
from resources.sources.tabular import Feed, Tabular
from resources.sources.vendor_drops import VendorDrops
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
NOW = datetime(2026, 12, 1, tzinfo=UTC)
EVIDENCE = (
    "UNEXPLAINED_FACTOR",
    "UNKNOWN_SYMBOL",
)  # reasons that quarantine what a row says beside its bar; the bar is let in
BAR = ("symbol", "session", "open", "high", "low", "close", "volume")


def feeds(data: Path) -> list[Tabular]:
    """The feeds of datasets, on this folder."""
    declared = yaml.safe_load(Path(__file__).with_name("real_feeds.yaml").read_text(encoding="utf-8"))
    return [Tabular(msgspec.convert({**f, "files": str(data / f["files"])}, Feed)) for f in declared]


def daily(data: Path) -> Mapping[str, Callable[[], MarketDataSource]]:
    """The vendors of daily bars, by the name of their home."""
    mapping = ColumnMapping(session="date", label="captured_on", adj_close="adj_close")
    panel = data / "pystock"
    return {
        "wiki": lambda: Histories("wiki", str(data / "zipline" / "QUANDL_ARCHIVE.zip"), XNYS),
        "vendor_drops": lambda: VendorDrops(panel / "vendor_drops"),
        "stocknet": lambda: Histories("yahoo", str(data / "stocknet" / "*.csv.gz"), XNYS, name="stocknet"),
        "pystock": lambda: Files(
            panel / "prices_20150323_20160630.parquet",
            mapping,
            XNYS,
            known_at="label+1d@13:00",
            listings=panel / "listings_to_20160630.parquet",
        ),
    }


class Counted:
    """A source that counts what it hands over."""

    def __init__(self, source: MarketDataSource) -> None:
        self.name = source.name
        self.source = source
        self.read = Counter[str]()

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """Those of the source."""
        return self.source.labels(first, last)

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """Those of the source."""
        return self.source.fingerprints(labels)

    def fetch(self, label: date) -> Capture:
        """That of the source."""
        capture = self.source.fetch(label)
        if capture.dataset == BARS.name:
            self.read[BARS.name] += capture.prices.height + capture.malformed.height
        for name, rows in capture.others.items():
            self.read[name] += rows.height
        return capture


def astray(source: MarketDataSource, store: DeltaStore) -> Iterator[tuple[str, int]]:
    """By dataset, the rows that ought to stand and of which no version says the same."""
    clean: dict[str, list[pl.DataFrame]] = {}
    for label in source.labels():
        capture = source.fetch(label)
        if capture.dataset == BARS.name:
            clean.setdefault(BARS.name, []).append(screening.screen(capture, XNYS)[0].select(BAR))
        for name in capture.others:
            wanted = dataset(name)
            said = observations.screen(wanted, capture)[0]
            clean.setdefault(name, []).append(said.filter(~pl.col("withdrawn")).select(wanted.columns))
    for name, parts in clean.items():
        table = BARS if name == BARS.name else dataset(name).table
        rows = pl.concat(parts)
        standing = store.read(table, as_of=None).filter(~pl.col("withdrawn"))
        yield name, rows.join(standing, on=rows.columns, how="anti", nulls_equal=True).height


def load(source: MarketDataSource, store: DeltaStore) -> list[dict[str, Any]]:
    """Take all of a source in and account for it: a row of the acceptance table for each dataset it has rows of."""
    counted, start, busy = Counted(source), time.perf_counter(), time.process_time()
    labels = list(pending(counted, store, date(2100, 1, 1)))
    report = ingest(counted, store, None, NOW, labels, XNYS)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    lost = dict(astray(source, store))
    rows = []
    for name, read in sorted(counted.read.items()):
        table = BARS if name == BARS.name else dataset(name).table
        written = store.read(table, as_of=None).filter(pl.col("source") == source.name)
        refused = store.read(QUARANTINE, as_of=None).filter(
            pl.col("source") == source.name, pl.col("dataset") == name, ~pl.col("reason").is_in(EVIDENCE)
        )
        withdrawals = int(written["withdrawn"].sum())
        # a vendor's own withdrawals are rows that were read; those of bars are made by ingest where a symbol changes
        # instrument
        versions = written.height - (withdrawals if name == BARS.name else 0)
        rows.append(
            {
                "source": source.name,
                "dataset": name,
                "captures": len(labels),
                "read": read,
                "versions": versions,
                "repeated": read - versions - refused.height,
                "quarantined": refused.height,
                "withdrawn": withdrawals,
                "astray": lost.get(name, 0),
                "seconds": round(seconds, 1),
                "cpu": round(cpu, 1),
                "state": report.state,
            }
        )
        seconds = cpu = 0.0
        print(
            "  " + "  ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in rows[-1].items()),
            flush=True,
        )
    for note in report.notes:
        print(f"  unreadable: {note}")
    return rows


def tell(store: DeltaStore) -> list[tuple[str, str, int]]:
    """What the rules found and what is in quarantine: (what, dataset / rule or reason, rows)."""
    found = (
        store.read(DATA_FINDINGS, as_of=None)
        .filter(pl.col("severity") != "refuse")
        .group_by("table", "rule", "severity")
        .len()
    )
    held = store.read(QUARANTINE, as_of=None).group_by("dataset", "reason").len()
    return [
        *(("found", f"{t} {r} ({s})", n) for t, r, s, n in found.sort("table", "rule").iter_rows()),
        *(("quarantined", f"{d} {r}", n) for d, r, n in held.sort("dataset", "reason").iter_rows()),
    ]


def main(home: Path, data: Path, only: Sequence[str]) -> None:
    """Load everything, print the tables."""
    start = time.perf_counter()
    shutil.rmtree(home, ignore_errors=True)
    # a question with one line for its answer
    chosen: Callable[[str], bool] = lambda name: not only or any(o in name for o in only)  # noqa: E731
    table: list[dict[str, Any]] = []
    told: list[tuple[str, str, str, int]] = []
    store = DeltaStore(home / "datasets")
    for feed in feeds(data):
        if chosen(feed.name):
            table += load(feed, store)
    told += [("datasets", *line) for line in tell(store)]
    for name, opened in daily(data).items():
        if not chosen(name):
            continue
        store = DeltaStore(home / name)
        table += load(opened(), store)
        began = time.perf_counter()
        sessions = store.read(BARS, as_of=None)["session"].unique().sort()
        report = write_verdicts(store, Cuts(XNYS), XNYS.between(sessions[0], sessions[-1]))
        print(
            f"  judged in {time.perf_counter() - began:.1f} s: { {k: int(v) for k, v in report.numbers.items()} }",
            flush=True,
        )
        actions = store.read(ACTIONS, as_of=None).group_by("origin", "kind").len().sort("origin", "kind").rows()
        print(
            f"  actions {actions}, versions of listings {store.read(LISTINGS, as_of=None).height:,}, "
            f"restated {restated(store):,}",
            flush=True,
        )
        told += [(name, *line) for line in tell(store)]
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=200,
        fmt_str_lengths=90,
        thousands_separator=True,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        print(pl.DataFrame(table))
        print(pl.DataFrame(told, schema=["home", "what", "which", "rows"], orient="row"))
    whole = pl.DataFrame(table)
    print(
        f"{whole['read'].sum():,} rows in {whole['captures'].sum():,} captures: {whole['versions'].sum():,} "
        f"versions, {whole['repeated'].sum():,} repeated, {whole['quarantined'].sum():,} quarantined, "
        f"{whole['astray'].sum():,} astray; {time.perf_counter() - start:.0f} s in all, peak memory "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


def restated(store: DeltaStore) -> int:
    """Versions of bars that are not the first of their instrument and session."""
    bars = store.read(BARS, as_of=None)
    return bars.height - bars.select("sid", "session").n_unique()


if __name__ == "__main__":
    import os

    here = Path(__file__).parents[1]
    shared = Path(os.environ.get("QUANT_SHARED_DATA", here.parent / "shared" / "data"))
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".quant/load-real").absolute(), shared, sys.argv[2:])
