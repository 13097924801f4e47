"""What every market data source must hold, whichever vendor stands behind it."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.market_data.observations import screen
from quant_assets.ports import MarketDataSource
from quant_assets.records import Capture
from quant_assets.tables import CAPTURES, QUARANTINE
from resources.sources.files import ColumnMapping, Files
from resources.sources.histories import Histories
from resources.sources.market import Market
from resources.sources.rows import ACTIONS, LISTINGS, MALFORMED, PRICES
from resources.sources.simulated import SimulatedMarket
from resources.sources.tabular import Feed, Tabular
from resources.sources.vendor_drops import VendorDrops
from resources.tables.store import DeltaStore
from tests.stubs.http_vendor import http_announcements, http_bars
from tests.stubs.sources import exchange_bars, exchange_trades, ib_bars, ib_minutes

XNYS = calendar("XNYS")
HEADER = "symbol,date,open,high,low,close,volume,adj_close"
ROWS = {
    date(2015, 4, 1): [
        "A,2015-04-01,10.0,11.0,9.5,10.5,1000,10.5",
        "A,2015-03-31,10.0,10.5,9.5,10.0,900,9.9",
        "B,2015-04-01,oops,2.0,1.0,1.5,10,1.5",
    ],
    date(2015, 4, 2): [
        "A,2015-04-02,10.5,11.0,10.0,10.8,1100,10.8",
        "A,2015-04-01,10.0,11.0,9.5,10.5,1000,10.5",
        "B,2015-04-02,1.5,1.0,2.0,1.5,10,",
    ],
}


def drop(
    folder: Path, label: date, prices: str, symbols: str = "A\tAlder\nB\tBirch\n", ended: datetime | None = None
) -> Path:
    """Write one daily drop as the vendor does."""
    path = folder / f"{label:%Y%m%d}.tar.gz"
    moment = ended or datetime(label.year, label.month, label.day + 1, 12, 5, tzinfo=UTC)
    with tarfile.open(path, "w:gz") as archive:
        for n, (name, text) in enumerate(
            {"symbols.txt": symbols, "prices.csv": prices, "reports.csv": "symbol\n"}.items()
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text.encode()), int(moment.timestamp()) - 120 + 60 * n
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def rates(folder: Path) -> tuple[MarketDataSource, int]:
    (folder / "r1.csv").write_text("day,from,to,rate\n2024-03-04,EUR,USD,1.08\n2024-03-04,GBP,USD,oops\n")
    (folder / "r2.csv").write_text(
        "day,from,to,rate\n2024-03-05,EUR,USD,1.09\n2024-03-05,GBP,USD,1.27\n2024-03-05,CHF,USD,-1\n"
    )
    mapping = {"session": "day", "base": "from", "quote": "to", "rate": "rate"}
    return Tabular(
        msgspec.convert(
            {"dataset": "fx_rates", "files": str(folder / "r*.csv"), "mapping": mapping, "known_at": "event+1d"}, Feed
        )
    ), 5


def relived(folder: Path) -> tuple[MarketDataSource, None]:
    rows = [
        "2024-03-04,1,2,0.5,1.5,1.4,100",
        "2024-03-05,1.5,2,1,1.6,1.5,200",
        "2024-03-06,null,null,null,null,null,null",
    ]
    (folder / "AA.csv").write_text("\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *rows, ""]))
    return Histories("yahoo", str(folder / "AA.csv"), XNYS), None


def simulated(folder: Path) -> tuple[MarketDataSource, None]:
    return SimulatedMarket(
        Market(first=date(2024, 1, 2), last=date(2024, 3, 28), calendar=XNYS, names=25, malformed=0.01)
    ), None


def drops(folder: Path) -> tuple[MarketDataSource, int]:
    for label, rows in ROWS.items():
        drop(folder, label, "\n".join([HEADER, *rows, ""]))
    return VendorDrops(folder), sum(map(len, ROWS.values()))


def csv(folder: Path) -> tuple[MarketDataSource, int]:
    rows = [f"{row},{label}" for label, rows in ROWS.items() for row in rows]
    (folder / "prices.csv").write_text("\n".join([HEADER + ",seen", *rows, ""]))
    return Files(
        folder / "prices.csv",
        ColumnMapping(session="date", adj_close="adj_close", label="seen"),
        XNYS,
        known_at="label+1d@13:00",
    ), len(rows)


def parquet(folder: Path) -> tuple[MarketDataSource, int]:
    frame = pl.DataFrame(
        {
            "ticker": ["B", "A", "A", None],
            "day": [date(2015, 4, 2), date(2015, 4, 1), date(2015, 4, 2), date(2015, 4, 2)],
            "open": [1.0, 10.0, 10.0, 3.0],
            "high": [0.5, 11.0, 11.0, 3.0],
            "low": [1.0, 9.0, 9.0, 3.0],
            "close": [1.0, 10.0, float("nan"), 3.0],
            "volume": [5.0, 10.0, 0.0, 1.0],
        }
    )
    frame.write_parquet(folder / "prices.parquet")
    return Files(folder / "prices.parquet", ColumnMapping(symbol="ticker", session="day"), XNYS, known_at="close+1h"), 4


PLAIN = (simulated, drops, csv, parquet, rates, relived)
SERVED = (
    exchange_bars,
    exchange_trades,
    ib_bars,
    ib_minutes,
    http_bars,
    http_announcements,
)  # by a stub that speaks the vendor's protocol, while the source is asked


@pytest.fixture(params=[*PLAIN, *SERVED], ids=lambda f: f.__name__)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[MarketDataSource, int | None]]:
    made = request.param(tmp_path)
    with made if request.param in SERVED else nullcontext(made) as opened:
        yield opened


def told(capture: Capture) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a capture that are good, and those that are not; both with file and line."""
    if capture.dataset == "bars":
        return capture.prices, capture.malformed
    return screen(dataset(capture.dataset), capture)


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
        assert one.others.keys() == two.others.keys()
        assert all(one.others[name].equals(two.others[name]) for name in one.others)


def test_captures_differ_in_hash(source: tuple[MarketDataSource, int | None]) -> None:
    """Different captures have different content hashes."""
    hashes = [source[0].fetch(label).sha256 for label in source[0].labels()]
    assert len(set(hashes)) == len(hashes)


def test_frames_have_the_declared_columns_and_dtypes(source: tuple[MarketDataSource, int | None]) -> None:
    """Whatever the vendor's types, a capture's frames have the types of the port; rows of other datasets have that
    dataset's columns and no other.
    """
    for label in source[0].labels():
        capture = source[0].fetch(label)
        assert dict(capture.prices.schema) == PRICES
        assert dict(capture.malformed.schema) == MALFORMED
        assert capture.listings is None or dict(capture.listings.schema) == LISTINGS
        assert capture.actions is None or dict(capture.actions.drop("withdrawn", strict=False).schema) == ACTIONS
        assert capture.label == label
        assert capture.source == source[0].name
        assert capture.dataset == "bars" or (capture.prices.is_empty() and list(capture.others) == [capture.dataset])
        for name, rows in capture.others.items():
            assert {*dataset(name).columns, "file", "line"} <= set(rows.columns)


def test_known_after_it_happened_in_utc(source: tuple[MarketDataSource, int | None]) -> None:
    """No capture of a session is known before that is over, and no row before its own event is."""
    for label in source[0].labels():
        capture = source[0].fetch(label)
        assert capture.known_at.tzinfo is UTC  # not just another name of it
        assert capture.dataset != "bars" or capture.known_at > XNYS.close(label)
        if capture.dataset != "bars":
            assert told(capture)[1].filter(pl.col("reason") == "known before it happened").is_empty()


def test_every_row_is_either_good_or_malformed(source: tuple[MarketDataSource, int | None]) -> None:
    """Good and malformed rows add up to the file's, no line stands twice, and the malformed say where and why."""
    captures = [source[0].fetch(label) for label in source[0].labels()]
    parts = [(c.label, good, bad) for c in captures for good, bad in [told(c)]]
    assert source[1] is None or sum(good.height + bad.height for _, good, bad in parts) == source[1]
    where = pl.concat(
        [
            f.select("file", "line").with_columns(capture=pl.lit(label))
            for label, good, bad in parts
            for f in (good, bad)
        ]
    )
    assert where.is_unique().all()
    assert where["line"].min() >= 1
    malformed = pl.concat([bad.select("file", "line", "reason", "content") for _, _, bad in parts])
    assert malformed.height > 0
    assert malformed.null_count().sum_horizontal().item() == 0


def test_good_rows_are_possible_prices(source: tuple[MarketDataSource, int | None]) -> None:
    """A row that was let in has finite positive prices, high not below low and a volume that is not negative."""
    for label in source[0].labels():
        rows = told(source[0].fetch(label))[0]
        prices = [c for c in ("open", "high", "low", "close", "price", "rate") if c in rows.columns]
        assert not any(rows[c].null_count() for c in prices)
        assert all(((rows[c] > 0) & rows[c].is_finite()).all() for c in prices)
        if "high" in rows.columns:
            assert rows.select((pl.col("high") >= pl.col("low")).all(), (pl.col("volume") >= 0).all()).row(0) == (
                True,
                True,
            )


def test_an_absent_label_is_unreadable(source: tuple[MarketDataSource, int | None]) -> None:
    """A capture that does not exist is an error that says so, never an empty frame."""
    with pytest.raises(CaptureUnreadable):
        source[0].fetch(date(2001, 1, 2))


def test_what_was_taken_in_is_pending_no_more(source: tuple[MarketDataSource, int | None], tmp_path: Path) -> None:
    """Through ingest each label is taken in once; a second call writes nothing, and every row of the vendor stands in
    exactly one capture's count.
    """
    store, now = DeltaStore(tmp_path / "tables"), datetime(2026, 1, 2, tzinfo=UTC)
    labels = pending(source[0], store, date(2026, 1, 1))
    report = ingest(source[0], store, None, now, labels, XNYS)
    assert (report.state, report.numbers["captures"]) == ("done", len(labels))
    assert pending(source[0], store, date(2026, 1, 1)) == []
    taken = store.read(CAPTURES, as_of=None)
    assert (taken["source"] == source[0].name).all()
    assert report.numbers["bars"] + report.numbers["observed"] > 0
    assert store.read(QUARANTINE, as_of=None).height > 0
