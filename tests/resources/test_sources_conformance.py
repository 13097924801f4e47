"""What every market data source must hold, whichever vendor stands behind it."""

import io
import tarfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data.calendars import calendar
from quant_assets.ports import MarketDataSource
from resources.sources.files import ColumnMapping, Files
from resources.sources.market import Market
from resources.sources.rows import ACTIONS, LISTINGS, MALFORMED, PRICES
from resources.sources.simulated import SimulatedMarket
from resources.sources.vendor_drops import VendorDrops

XNYS = calendar("XNYS")
HEADER = "symbol,date,open,high,low,close,volume,adj_close"
ROWS = {
    date(2015, 4, 1): ["A,2015-04-01,10.0,11.0,9.5,10.5,1000,10.5", "A,2015-03-31,10.0,10.5,9.5,10.0,900,9.9", "B,2015-04-01,oops,2.0,1.0,1.5,10,1.5"],
    date(2015, 4, 2): ["A,2015-04-02,10.5,11.0,10.0,10.8,1100,10.8", "A,2015-04-01,10.0,11.0,9.5,10.5,1000,10.5", "B,2015-04-02,1.5,1.0,2.0,1.5,10,"],
}


def drop(folder: Path, label: date, prices: str, symbols: str = "A\tAlder\nB\tBirch\n", ended: datetime | None = None) -> Path:
    """Write one daily drop as the vendor does."""
    path = folder / f"{label:%Y%m%d}.tar.gz"
    moment = ended or datetime(label.year, label.month, label.day + 1, 12, 5, tzinfo=UTC)
    with tarfile.open(path, "w:gz") as archive:
        for n, (name, text) in enumerate({"symbols.txt": symbols, "prices.csv": prices, "reports.csv": "symbol\n"}.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text.encode()), int(moment.timestamp()) - 120 + 60 * n
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def simulated(folder: Path) -> tuple[MarketDataSource, None]:
    return SimulatedMarket(Market(first=date(2024, 1, 2), last=date(2024, 3, 28), calendar=XNYS, names=25, malformed=0.01)), None


def drops(folder: Path) -> tuple[MarketDataSource, int]:
    for label, rows in ROWS.items():
        drop(folder, label, "\n".join([HEADER, *rows, ""]))
    return VendorDrops(folder), sum(map(len, ROWS.values()))


def csv(folder: Path) -> tuple[MarketDataSource, int]:
    rows = [f"{row},{label}" for label, rows in ROWS.items() for row in rows]
    (folder / "prices.csv").write_text("\n".join([HEADER + ",seen", *rows, ""]))
    return Files(folder / "prices.csv", ColumnMapping(session="date", adj_close="adj_close", label="seen"), XNYS, known_at="label+1d@13:00"), len(rows)


def parquet(folder: Path) -> tuple[MarketDataSource, int]:
    frame = pl.DataFrame({
        "ticker": ["B", "A", "A", None], "day": [date(2015, 4, 2), date(2015, 4, 1), date(2015, 4, 2), date(2015, 4, 2)],
        "open": [1.0, 10.0, 10.0, 3.0], "high": [0.5, 11.0, 11.0, 3.0], "low": [1.0, 9.0, 9.0, 3.0], "close": [1.0, 10.0, float("nan"), 3.0], "volume": [5.0, 10.0, 0.0, 1.0],
    })  # fmt: skip
    frame.write_parquet(folder / "prices.parquet")
    return Files(folder / "prices.parquet", ColumnMapping(symbol="ticker", session="day"), XNYS, known_at="close+1h"), 4


@pytest.fixture(params=[simulated, drops, csv, parquet], ids=lambda f: f.__name__)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[MarketDataSource, int | None]:
    make: Callable[[Path], tuple[MarketDataSource, int | None]] = request.param
    return make(tmp_path)


def test_labels_ascend_and_respect_bounds(source: tuple[MarketDataSource, int | None]) -> None:
    """Labels are unique and ascending, and bounds are inclusive."""
    labels = list(source[0].labels())
    assert labels == sorted(set(labels))
    assert len(labels) > 1
    assert list(source[0].labels(labels[1], labels[-1])) == labels[1:]
    assert list(source[0].labels(last=labels[0])) == labels[:1]


def test_fetch_gives_the_same_frames_twice(source: tuple[MarketDataSource, int | None]) -> None:
    """Two fetches of a label agree in frames, hash and knowledge time."""
    for label in source[0].labels():
        one, two = source[0].fetch(label), source[0].fetch(label)
        assert (one.sha256, one.known_at, one.assumed) == (two.sha256, two.known_at, two.assumed)
        assert one.prices.equals(two.prices)
        assert one.malformed.equals(two.malformed)


def test_captures_differ_in_hash(source: tuple[MarketDataSource, int | None]) -> None:
    """Different captures have different content hashes."""
    hashes = [source[0].fetch(label).sha256 for label in source[0].labels()]
    assert len(set(hashes)) == len(hashes)


def test_frames_have_the_declared_columns_and_dtypes(source: tuple[MarketDataSource, int | None]) -> None:
    """Whatever the vendor's types, a capture's frames have the types of the port."""
    for label in source[0].labels():
        capture = source[0].fetch(label)
        assert dict(capture.prices.schema) == PRICES
        assert dict(capture.malformed.schema) == MALFORMED
        assert capture.listings is None or dict(capture.listings.schema) == LISTINGS
        assert capture.actions is None or dict(capture.actions.schema) == ACTIONS
        assert capture.label == label
        assert capture.source == source[0].name


def test_known_after_the_close_in_utc(source: tuple[MarketDataSource, int | None]) -> None:
    """No capture is known before its last session is over."""
    for label in source[0].labels():
        known = source[0].fetch(label).known_at
        assert known.tzinfo is UTC  # not just another name of it
        assert known > XNYS.close(label)


def test_every_row_is_either_good_or_malformed(source: tuple[MarketDataSource, int | None]) -> None:
    """Good and malformed rows add up to the file's, no line stands twice, and the malformed say where and why."""
    captures = [source[0].fetch(label) for label in source[0].labels()]
    total = sum(c.prices.height + c.malformed.height for c in captures)
    assert source[1] is None or total == source[1]
    where = pl.concat([f.select("file", "line").with_columns(capture=pl.lit(c.label)) for c in captures for f in (c.prices, c.malformed)])
    assert where.is_unique().all()
    assert where["line"].min() >= 1
    malformed = pl.concat([c.malformed for c in captures])
    assert malformed.height > 0
    assert malformed.select("file", "line", "reason", "content").null_count().sum_horizontal().item() == 0


def test_good_rows_are_possible_prices(source: tuple[MarketDataSource, int | None]) -> None:
    """A row that was let in has finite positive prices, high not below low and a volume."""
    for label in source[0].labels():
        rows = source[0].fetch(label).prices
        assert rows.drop("adj_close").null_count().sum_horizontal().item() == 0
        assert (
            rows.select((pl.min_horizontal("open", "high", "low", "close") > 0).all(), (pl.col("high") >= pl.col("low")).all(), (pl.col("volume") >= 0).all(), pl.col("close").is_finite().all()).row(0)
            == (True,) * 4
        )


def test_an_absent_label_is_unreadable(source: tuple[MarketDataSource, int | None]) -> None:
    """A capture that does not exist is an error that says so, never an empty frame."""
    with pytest.raises(CaptureUnreadable):
        source[0].fetch(date(2001, 1, 2))
