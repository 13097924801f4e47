"""Files that are replaced: whatever the source and the kind of file, what differs comes in known now, and the rest
stays as it was.
"""

import io
import os
import tarfile
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.market_data.ingest import ingest, outstanding
from quant_assets.ports import MarketDataSource
from quant_assets.tables import ACTIONS, BARS, CAPTURES
from quant_assets.vendor_tables import FX_RATES
from resources.sources.files import ColumnMapping, Files
from resources.sources.histories import Histories
from resources.sources.seen import Seen
from resources.sources.tabular import Feed, Tabular
from resources.sources.vendor_drops import VendorDrops
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
NOW, LATER = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
DAYS = [XNYS.shift(date(2024, 3, 4), i) for i in range(7)]
Said = Mapping[tuple[str, date], float]
Write = Callable[[Path, Said], MarketDataSource]

OLD = {(s, d): 100.0 * n + i for n, s in enumerate(("AA", "BB", "CC"), 1) for i, d in enumerate(DAYS[:6])}
NEW = (
    {k: v for k, v in OLD.items() if k != ("BB", DAYS[2])}
    | {("AA", DAYS[3]): 103.5, ("AA", DAYS[6]): 106.0, ("BB", DAYS[6]): 206.0, ("CC", DAYS[6]): 306.0}
    | {("DD", d): 50.0 + i for i, d in enumerate(DAYS)}
)
"""A close corrected, a row removed, a session appended, a name's whole history added."""


def frame(said: Said) -> pl.DataFrame:
    rows = [(s, d, c, c + 1, c - 1, c, 1000) for (s, d), c in sorted(said.items())]
    columns = {
        "symbol": pl.String,
        "date": pl.Date,
        **dict.fromkeys(("open", "high", "low", "close"), pl.Float64),
        "volume": pl.Int64,
    }
    return pl.DataFrame(rows, schema=columns, orient="row")  # fmt: skip


def files(path: Path) -> MarketDataSource:
    return Files(path, ColumnMapping(session="date"), XNYS, known_at="close+1h", seen=Seen(path.parent.parent / "seen"))


def csv(folder: Path, said: Said) -> MarketDataSource:
    frame(said).write_csv(folder / "prices.csv")
    return files(folder / "prices.csv")


def parquet(folder: Path, said: Said) -> MarketDataSource:
    frame(said).write_parquet(folder / "prices.parquet")
    return files(folder / "prices.parquet")


def a_file_a_name(folder: Path, said: Said) -> MarketDataSource:
    for (symbol,), rows in frame(said).partition_by("symbol", as_dict=True, include_key=False).items():
        rows.write_csv(folder / f"{symbol}.csv")
    return files(folder)


def yahoo(folder: Path, said: Said) -> MarketDataSource:
    for (symbol,), rows in frame(said).partition_by("symbol", as_dict=True, include_key=False).items():
        named = {"date": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
        rows.rename(named).insert_column(5, rows["close"].alias("Adj Close")).write_csv(folder / f"{symbol}.csv")
    return Histories("yahoo", str(folder / "*.csv"), XNYS)


def wiki(folder: Path, said: Said) -> MarketDataSource:
    rows = frame(said).rename({"symbol": "ticker"}).with_columns(pl.lit(0.0).alias("ex-dividend"), split_ratio=1.0)
    rows.write_csv(folder / "WIKI.csv")
    return Histories("wiki", str(folder / "WIKI.csv"), XNYS)


def drops(folder: Path, said: Said) -> MarketDataSource:
    for (day,), rows in frame(said).partition_by("date", as_dict=True).items():
        text = rows.with_columns(adj_close="close").write_csv()
        with tarfile.open(folder / f"{day:%Y%m%d}.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo("prices.csv")
            member.size, member.mtime = (
                len(text.encode()),
                int(datetime(day.year, day.month, day.day, 23, tzinfo=UTC).timestamp()),
            )
            archive.addfile(member, io.BytesIO(text.encode()))
    return VendorDrops(folder)


KINDS = (csv, parquet, a_file_a_name, yahoo, wiki, drops)


@pytest.fixture(params=KINDS, ids=lambda f: f.__name__)
def write(request: pytest.FixtureRequest) -> Write:
    """Writes files as one kind of vendor does, and opens them."""
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(tmp_path / "tables")


def arrive(store: DeltaStore, source: MarketDataSource, now: datetime = LATER) -> float:
    """Take in all there is; how many captures that were."""
    labels = outstanding(source, store, date(2100, 1, 1)).labels
    return ingest(source, store, None, now, labels, XNYS).numbers["captures"]


def versions(store: DeltaStore) -> list[tuple[object, ...]]:
    """Versions of bars known since the first load."""
    rows = store.read(BARS, as_of=None).filter(pl.col("known_at") >= LATER)
    return sorted(rows.select("symbol", "session", "close", "withdrawn").rows())


def test_a_file_that_is_replaced(folder: Path, store: DeltaStore, write: Write) -> None:
    """What changed, came or went in old sessions is known now, each once and where it stands in the new file; the new
    session is known when it was; nothing else has another version.
    """
    arrive(store, write(folder, OLD), NOW)
    before = store.read(BARS, as_of=NOW)
    source = write(folder, NEW)
    arrive(store, source)
    expected = [("AA", DAYS[3], 103.5, False), ("BB", DAYS[2], 202.0, True)] + [
        ("DD", d, 50.0 + i, False) for i, d in enumerate(DAYS[:6])
    ]
    assert versions(store) == expected
    bars = store.read(BARS, as_of=None)
    assert store.read(BARS, as_of=NOW).filter(pl.col("session") < DAYS[6]).equals(before)
    assert sorted(bars.filter(session=DAYS[6])["close"]) == [56.0, 106.0, 206.0, 306.0]
    assert bars.filter(pl.col("session") == DAYS[6])["known_at"].max() < NOW
    assert bars.group_by("symbol").agg(pl.col("sid").n_unique())["sid"].to_list() == [1] * 4
    corrected = bars.filter(close=103.5)
    assert corrected["line"][0] > 1
    assert corrected["file"][0] in {
        "prices.csv",
        "prices.parquet",
        "AA.csv",
        "WIKI.csv",
        f"{DAYS[3]:%Y%m%d}.tar.gz/prices.csv",
    }
    assert store.read(ACTIONS, as_of=None).is_empty()
    assert arrive(store, source, LATER + timedelta(days=1)) == 0


def test_a_file_that_was_only_touched(folder: Path, store: DeltaStore, write: Write) -> None:
    """Another time of change, or the same rows written again, is nothing."""
    arrive(store, write(folder, OLD), NOW)
    taken = store.version(CAPTURES)
    for path in folder.iterdir():
        os.utime(path, (1.7e9, 1.7e9))
    assert arrive(store, write(folder, OLD)) == 0 or write is drops
    assert versions(store) == []
    assert store.version(CAPTURES) == taken or write is drops


@pytest.mark.parametrize("write", [a_file_a_name, yahoo])
def test_one_file_of_many_that_is_lost(folder: Path, store: DeltaStore, write: Write) -> None:
    """The rows of a file that is not there any more stand; what changed in the others comes in."""
    arrive(store, write(folder, OLD), NOW)
    source = write(folder, OLD | {("AA", DAYS[3]): 103.5})
    (folder / "CC.csv").unlink()
    arrive(store, source)
    assert versions(store) == [("AA", DAYS[3], 103.5, False)]


@pytest.mark.parametrize("write", [csv, parquet, wiki])
def test_a_file_that_was_cut_off(folder: Path, store: DeltaStore, write: Write) -> None:
    """A file of which most is missing takes nothing back, and the report says why."""
    arrive(store, write(folder, OLD), NOW)
    source = write(folder, {k: v for k, v in OLD.items() if k[1] < DAYS[3]})
    report = ingest(source, store, None, LATER, outstanding(source, store, DAYS[6]).labels, XNYS)
    assert (report.state, versions(store)) == ("refused", [])
    assert "cut off" in report.notes[0]


def test_a_delivery_that_is_not_there_any_more(folder: Path, store: DeltaStore) -> None:
    """A drop that was taken in and is gone is named as absent, and takes nothing back."""
    source = drops(folder, OLD)
    arrive(store, source, NOW)
    (folder / f"{DAYS[1]:%Y%m%d}.tar.gz").unlink()
    found = outstanding(source, store, DAYS[6])
    assert (list(found.labels), list(found.absent)) == ([], [DAYS[1]])


def test_a_feed_that_is_replaced(folder: Path, store: DeltaStore) -> None:
    """Rows of another dataset likewise: changed, added and removed ones known now, under the capture that has them."""

    def rates(*rows: str) -> MarketDataSource:
        (folder / "20240308.csv").write_text("\n".join(["session,base,quote,rate", *rows, ""]))
        declared = {
            "kind": "tabular",
            "dataset": "fx_rates",
            "files": str(folder / "*.csv"),
            "known_at": "event+1d",
            "day": r"(\d{4})(\d\d)(\d\d)",
            "mapping": {c: c for c in ("session", "base", "quote", "rate")},
        }
        return Tabular(msgspec.convert(declared, Feed))

    old = ["2024-03-05,EUR,USD,1.08", "2024-03-06,EUR,USD,1.09", "2024-03-07,EUR,USD,1.10", "2024-03-07,GBP,USD,1.27"]
    arrive(store, rates(*old), NOW)
    before = store.read(FX_RATES, as_of=NOW)
    changed = [
        "2024-03-05,EUR,USD,1.08",
        "2024-03-06,EUR,USD,1.095",
        "2024-03-07,EUR,USD,1.10",
        "2024-03-05,CHF,USD,1.13",
    ]
    arrive(store, rates(*changed))
    news = store.read(FX_RATES, as_of=None).filter(pl.col("known_at") >= LATER).sort("base")
    assert news.select("session", "base", "rate", "withdrawn", "line").rows() == [
        (date(2024, 3, 5), "CHF", 1.13, False, 5),
        (date(2024, 3, 6), "EUR", 1.095, False, 3),
        (date(2024, 3, 7), "GBP", 1.27, True, None),
    ]
    assert store.read(FX_RATES, as_of=NOW).equals(before)
    assert arrive(store, rates(*changed), LATER + timedelta(days=1)) == 0


def test_a_feed_that_grows_corrects_the_past_now(folder: Path, store: DeltaStore) -> None:
    """A file whose label is its last event: with a new day comes a corrected old one, which is not known at the assumed
    time of its first word but with the day that brought it.
    """

    def rates(*rows: str) -> MarketDataSource:
        (folder / "rates.csv").write_text("\n".join(["session,base,quote,rate", *rows, ""]))
        declared = {
            "kind": "tabular",
            "dataset": "fx_rates",
            "files": str(folder / "rates.csv"),
            "known_at": "event+1d",
            "mapping": {c: c for c in ("session", "base", "quote", "rate")},
        }
        return Tabular(msgspec.convert(declared, Feed))

    arrive(store, rates("2024-03-05,EUR,USD,1.08", "2024-03-06,EUR,USD,1.09"), NOW)
    grown = rates("2024-03-05,EUR,USD,1.085", "2024-03-06,EUR,USD,1.09", "2024-03-07,EUR,USD,1.10")
    assert list(outstanding(grown, store, DAYS[6]).absent) == []
    arrive(store, grown)
    rows = store.read(FX_RATES, as_of=None).sort("session", "known_at").select("session", "rate", "known_at").rows()
    told = {d: datetime(2024, 3, d + 1, tzinfo=UTC) for d in (5, 6, 7)}
    assert rows == [
        (date(2024, 3, 5), 1.08, told[5]),
        (date(2024, 3, 5), 1.085, told[7]),
        (date(2024, 3, 6), 1.09, told[6]),
        (date(2024, 3, 7), 1.10, told[7]),
    ]
