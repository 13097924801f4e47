"""What every market data source must hold, whichever vendor stands behind it."""

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.ports import MarketDataSource
from quant_assets.tables import CAPTURES, QUARANTINE
from quant_assets.testing import LAWS
from resources.sources.files import ColumnMapping, Files
from resources.sources.histories import Histories
from resources.sources.market import Market
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


@pytest.mark.parametrize("law", LAWS["source"].values(), ids=LAWS["source"])
def test_the_laws_of_a_source_are_kept(source: tuple[MarketDataSource, int | None], law: Callable[..., None]) -> None:
    """Each law of the shipped suite; of each of these vendors some rows are malformed."""
    law(lambda: source[0], close=XNYS.close, rows=source[1], malformed=True)


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
