"""Files made to harm: each is refused with a sentence that names it, within the memory of a batch, and the good ones
beside it are ingested.
"""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.contract import in_force
from quant_assets.errors import QuantError
from quant_assets.market_data.arrivals import arrivals
from quant_assets.market_data.ingest import ingest
from quant_assets.tables import BARS, QUARANTINE
from resources.sources.files import ColumnMapping, Files
from resources.sources.tabular import Feed, Tabular
from resources.sources.vendor_drops import VendorDrops
from resources.tables.store import DeltaStore

HEAD = "symbol,date,open,high,low,close,volume\n"
ROW = "AAA,2024-03-04,1,2,0.5,1.5,100\n"
GOOD = (HEAD + ROW).encode()
XNYS = calendar("XNYS")
NOW = datetime(2024, 3, 8, tzinfo=UTC)


def zipped(content: bytes) -> bytes:
    """A zip with one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    return out.getvalue()


def zstandard(content: bytes) -> bytes:
    """One frame of Zstandard."""
    import pyarrow as pa

    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "a.csv.gz": gzip.compress,
    "a.csv.bz2": bz2.compress,
    "a.csv.xz": lzma.compress,
    "a.csv.zst": zstandard,
    "a.zip": zipped,
}


def prices(path: Path) -> Files:
    """The file as daily prices."""
    return Files(path, ColumnMapping(session="date"), XNYS, known_at="close+1h")


@pytest.mark.parametrize("name", PACKERS)
def test_every_packer_is_read(tmp_path: Path, name: str) -> None:
    """By its first bytes, whatever the name."""
    (tmp_path / name).write_bytes(PACKERS[name](GOOD))
    assert prices(tmp_path / name).fetch(date(2024, 3, 4)).prices.height == 1


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_is_refused_within_the_budget(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the ratio of unpacked to packed bytes, and by an absolute limit; packed twice too."""
    monkeypatch.setattr("resources.sources.reading.opening.MIN_BUDGET", 2**20)
    (tmp_path / name).write_bytes(PACKERS[name]((HEAD + ROW * 200_000).encode()))
    with pytest.raises(QuantError, match=r"would unpack to more than [\d,]+ bytes"):
        prices(tmp_path / name).labels()
    (tmp_path / name).write_bytes(PACKERS[name](PACKERS["a.csv.gz"](GOOD)))
    with pytest.raises(QuantError, match="packed twice"):
        prices(tmp_path / name).labels()


HOSTILE: dict[str, bytes] = {
    "columns.csv": (",".join(f"c{i}" for i in range(100_000)) + "\n").encode(),
    "narrow.csv": (",".join(f"{i}" for i in range(20_001)) + "\n").encode(),
    "deep.jsonl": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "deep_lists.jsonl": b'{"symbol":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "names.jsonl": "\n".join(json.dumps({f"k{i}_{j}": 1 for j in range(30)}) for i in range(1_000)).encode(),
    "line.csv": HEAD.encode() + b"AAA," + b"9" * 5_000_000,
    "header.csv": b"a" * 5_000_000,
    "cut.csv.xz": lzma.compress(GOOD)[:-8],
    "cut.csv.gz": gzip.compress(GOOD)[:-8],
    "tar.csv": b"",
    "half.parquet": b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1",
    "nul.csv": b"\0" * 10_000,
    "empty.csv": b"",
}
with tarfile.open(fileobj=(tarred := io.BytesIO()), mode="w") as _archive:
    _archive.addfile(tarfile.TarInfo("prices.csv"), io.BytesIO())
HOSTILE["tar.csv"] = tarred.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_named_and_refused(tmp_path: Path, name: str) -> None:
    """With a sentence of a line, in daily prices and in feeds."""
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises(QuantError) as refused:
        prices(tmp_path / name).labels()
    assert name in str(refused.value)
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize("name", HOSTILE)
def test_the_files_beside_it_are_ingested(tmp_path: Path, name: str) -> None:
    """Of a feed, each file is a delivery of its own: the bad one is refused and reported."""
    (tmp_path / name).write_bytes(HOSTILE[name])
    (tmp_path / "good.csv").write_bytes(GOOD)
    fields: dict[str, str] = {"session": "date", "base": "symbol", "rate": "close"}
    feed = Feed("fx_rates", str(tmp_path / "*.*"), fields, constants={"quote": "USD"}, known_at="event+1d")
    source = Tabular(feed)
    now = datetime.now(UTC)
    report = ingest(source, DeltaStore(tmp_path / "store"), None, now, source.labels(), XNYS)
    assert report.state == "refused"
    assert report.numbers["observed"] == 1
    assert any(name in note for note in report.notes)


def test_parquet_that_is_small_on_disk_and_large_in_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its cells and by what its footer declares, before anything is unpacked; too many columns too."""
    monkeypatch.setattr("resources.sources.reading.opening.MIN_BUDGET", 2**22)
    many = pl.DataFrame(
        {"symbol": pl.repeat("AAA", 5_000_000, eager=True), "date": pl.repeat("2024-03-04", 5_000_000, eager=True)}
    )
    many.write_parquet(tmp_path / "many.parquet", row_group_size=5_000_000)
    pl.DataFrame({f"c{i}": [1] for i in range(20_001)}).write_parquet(tmp_path / "wide.parquet")
    for name, why in (("many", "would unpack"), ("wide", "columns")):
        with pytest.raises(QuantError, match=why):
            prices(tmp_path / f"{name}.parquet").labels()


MEASURED = """
import resource, sys
from pathlib import Path
from quant_assets.calendars import calendar
from resources.sources.files import ColumnMapping, Files
from resources.sources.preview import preview
import duckdb, pyarrow.parquet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if sys.argv[2] == "preview":
    preview(sys.argv[1], calendar("XNYS"))
else:
    source = Files(Path(sys.argv[1]), ColumnMapping(session="date"), calendar("XNYS"), known_at="close+1h")
    assert sum(source.fetch(d).prices.height for d in source.labels()) == 3_000_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("how", ["ingest", "preview"])
def test_a_large_file_is_read_in_pieces(tmp_path: Path, how: str) -> None:
    """The memory is that of some batches, and less than the rows take: 3 million lines of 130 MB."""
    days = XNYS.between(date(2024, 1, 2), date(2024, 12, 31))[:200]
    with (tmp_path / "large.csv").open("w") as file:
        file.write(HEAD)
        for day in days:
            file.write("".join(f"N{i},{day},1.0,2.0,0.5,1.5,{i}\n" for i in range(15_000)))
    told = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "large.csv"), how], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 700 * 2**20


def drop(folder: Path, label: str, when: float | str, content: bytes = GOOD, junk: int = 0) -> None:
    """A vendor's drop with members of that time."""
    line = ROW.strip() + ",1.5\n"
    body = content if content != GOOD else (HEAD.strip() + ",adj_close\n" + line.replace("2024-03-04", label)).encode()
    with tarfile.open(folder / f"{label.replace('-', '')}.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for n in range(junk):
            archive.addfile(tarfile.TarInfo(f"junk{n}"), io.BytesIO())
        member = tarfile.TarInfo("prices.csv")
        member.size = len(body)
        if isinstance(when, str):
            member.pax_headers = {"mtime": when}
        else:
            member.mtime = when
        archive.addfile(member, io.BytesIO(body))


AFTER = datetime(2024, 3, 5, 22, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("when", ["inf", "nan", "1e400", 1e14])
def test_a_drop_of_no_time_is_refused_and_the_others_go_on(tmp_path: Path, when: float | str) -> None:
    """The year 3,000,000, and what is no time at all."""
    drop(tmp_path, "2024-03-04", when)
    drop(tmp_path, "2024-03-05", AFTER)
    source, store = VendorDrops(tmp_path), DeltaStore(tmp_path / "store")
    report = ingest(source, store, None, NOW, source.labels(), XNYS)
    assert report.state == "refused"
    assert any("20240304" in note for note in report.notes)
    assert store.read(BARS, as_of=None)["session"].to_list() == [date(2024, 3, 5)]


@pytest.mark.parametrize("when", [0.0, datetime(2024, 3, 4, 20, 59, tzinfo=UTC).timestamp()])
def test_no_bar_is_known_before_its_session_closed(tmp_path: Path, when: float) -> None:
    """An archive that lost its times, and a session that was not over: the rows are in quarantine, with the reason."""
    drop(tmp_path, "2024-03-04", when)
    drop(tmp_path, "2024-03-05", AFTER)
    source, store = VendorDrops(tmp_path), DeltaStore(tmp_path / "store")
    ingest(source, store, None, NOW, source.labels(), XNYS)
    assert store.read(BARS, as_of=None)["session"].to_list() == [date(2024, 3, 5)]
    (why,) = store.read(QUARANTINE, as_of=None)["reason"].to_list()
    assert "before the close of 2024-03-04" in why


class Wall:
    """A clock at one time."""

    def now(self) -> datetime:
        """The time."""
        return NOW


def test_a_drop_from_the_future_is_reported(tmp_path: Path) -> None:
    """It would wait for years, in silence."""
    drop(tmp_path, "2024-03-04", datetime(2124, 1, 1, tzinfo=UTC).timestamp())
    with pytest.raises(QuantError, match=r"20240304\.tar\.gz.*yet to come"):
        VendorDrops(tmp_path, clock=Wall()).fetch(date(2024, 3, 4))


def test_only_named_members_are_read(tmp_path: Path) -> None:
    """Junk beside them takes no memory and is bounded."""
    drop(tmp_path, "2024-03-04", AFTER, junk=10_001)
    with pytest.raises(QuantError, match="more than 10,000 members"):
        VendorDrops(tmp_path).fetch(date(2024, 3, 4))


class Broken:
    """A source that raises what no port knows, with a secret in its text."""

    name = "broken"

    def labels(self, first: date | None = None, last: date | None = None) -> list[date]:  # noqa: ARG002
        """Two."""
        return [date(2024, 3, 4), date(2024, 3, 5)]

    def fingerprints(self, labels: object) -> dict[date, str | None]:  # noqa: ARG002
        """None."""
        return {}

    def fetch(self, label: date) -> object:
        """Raises."""
        raise KeyError(f"PLANTED {label}")


def test_whatever_a_source_raises_is_a_refused_delivery(tmp_path: Path) -> None:
    """Its text is not repeated: it may hold what was declared."""
    source: object = Broken()
    report = ingest(source, DeltaStore(tmp_path), None, NOW, Broken().labels(), XNYS)  # pyright: ignore[reportArgumentType]  # it is no source
    assert report.state == "refused"
    assert len(report.notes) == 2
    assert all("KeyError at test_hostile_files.py" in n and "PLANTED" not in n for n in report.notes)


class Quiet:
    """Keeps what it sends."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def notify(self, severity: str, subject: str, body: str = "") -> None:  # noqa: ARG002
        """See the port."""
        self.sent.append(body)


@pytest.mark.parametrize("name", [n for n in HOSTILE if n != "tar.csv"])
def test_a_bad_file_of_a_folder_does_not_stop_the_tickers_beside_it(tmp_path: Path, name: str) -> None:
    """It is named in the report; mended, its rows come in; broken again, they stay in force."""
    folder, now, notifier = tmp_path / "prices", datetime.now(UTC), Quiet()
    folder.mkdir()
    (folder / "AAA.csv").write_bytes(GOOD)
    bad = folder / name
    bad.write_bytes(HOSTILE[name])
    source, store = prices(folder), DeltaStore(tmp_path / "store")

    def arrived() -> list[str]:
        report = arrivals(source, store, notifier, None, now, date(2024, 3, 8), XNYS)
        named = any(name in note for note in report.notes)
        assert (report.state == "refused") == named
        return ["refused" if named else "fine", *sorted(in_force(store.read(BARS, as_of=None), BARS)["symbol"])]

    assert arrived() == ["refused", "AAA"]
    assert name in notifier.sent[-1]
    bad.unlink()
    good = folder / "BBB.csv"
    good.write_bytes(GOOD.replace(b"AAA", b"BBB"))
    assert arrived() == ["fine", "AAA", "BBB"]


def test_a_file_that_breaks_later_withdraws_nothing(tmp_path: Path) -> None:
    """What it held stays in force, and is there again when the file is."""
    folder, now = tmp_path / "prices", datetime.now(UTC)
    folder.mkdir()
    sound = gzip.compress(GOOD.replace(b"AAA", b"BBB"))
    (folder / "AAA.csv").write_bytes(GOOD)
    source, store = prices(folder), DeltaStore(tmp_path / "store")
    for content, state in ((sound, "done"), (sound[:-9], "refused"), (sound, "done")):
        (folder / "BBB.csv.gz").write_bytes(content)
        report = arrivals(source, store, Quiet(), None, now, date(2024, 3, 8), XNYS)
        assert report.state == state
        assert sorted(in_force(store.read(BARS, as_of=None), BARS)["symbol"]) == ["AAA", "BBB"]
