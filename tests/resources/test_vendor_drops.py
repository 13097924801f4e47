"""Daily drops: what a broken archive does, and what the 21 original ones hold."""

import io
import tarfile
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.observations import screen
from resources.clock import SystemClock
from resources.sources import vendor_drops
from resources.sources.open import open_source
from resources.sources.vendor_drops import VendorDrops

DAY = date(2015, 4, 2)
HEADER = "symbol,date,open,high,low,close,volume,adj_close"
GOOD = "A,2015-04-02,10.5,11.0,10.0,10.8,1100,10.8"


def drop(
    folder: Path, prices: str, *, symbols: str = "A\tAlder\n", prices_name: str = "prices.csv", **others: str
) -> VendorDrops:
    with tarfile.open(folder / f"{DAY:%Y%m%d}.tar.gz", "w:gz") as archive:
        for hour, (name, text) in enumerate(
            {prices_name: prices, "symbols.txt": symbols, **{f"{n}.csv": t for n, t in others.items()}}.items(),
            start=12,
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text.encode()), int(datetime(2015, 4, 3, hour, tzinfo=UTC).timestamp())
            archive.addfile(member, io.BytesIO(text.encode()))
    return VendorDrops(folder)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (HEADER, "repeated header"),
        ("A,2015-04-02,10.5,11.0", "has 4 fields instead of 8"),
        (GOOD + ",9", "has 9 fields instead of 8"),
        (",2015-04-02,10.5,11.0,10.0,10.8,1100,10.8", "no symbol"),
        (
            "A,04/02/2015,10.5,11.0,10.0,10.8,1100,10.8",
            "session is not a date YYYY-MM-DD: day or month may come first; declare its format",
        ),
        ("A,2015-02-30,10.5,11.0,10.0,10.8,1100,10.8", "session is not a date YYYY-MM-DD"),
        ("A,2015-04-02,ten,11.0,10.0,10.8,1100,10.8", "open is not a number"),
        ("A,2015-04-02,10.5,11.0,10.0,nan,1100,10.8", "close is not a number"),
        ("A,2015-04-02,10.5,inf,10.0,10.8,1100,10.8", "high is not a number"),
        ("A,2015-04-02,10.5,11.0,-10.0,10.8,1100,10.8", "low is not positive"),
        ("A,2015-04-02,0.00,0.00,0.00,0.00,0,10.8", "open is not positive"),
        ("A,2015-04-02,10.5,10.0,11.0,10.8,1100,10.8", "high is below low"),
        ("A,2015-04-02,10.5,11.0,10.0,10.8,,10.8", "volume is not a whole number"),
        ("A,2015-04-02,10.5,11.0,10.0,10.8,11.5,10.8", "volume is not a whole number"),
        ("A,2015-04-02,10.5,11.0,10.0,10.8,99999999999999999999,10.8", "volume is not a whole number"),
        ("A,2015-04-02,10.5,11.0,10.0,10.8,-5,10.8", "volume is negative"),
        ("A,2015-04-02,10.5,11.0,10.0,10.8,1100,x", "adj_close is not a positive number"),
    ],
)
def test_a_malformed_line_is_named_and_its_neighbours_stay(tmp_path: Path, line: str, reason: str) -> None:
    """The bad line comes back with file, line, reason and content; the good ones around it are read."""
    capture = drop(tmp_path, f"{HEADER}\n{GOOD}\n{line}\n{GOOD}\n").fetch(DAY)
    assert capture.prices["line"].to_list() == [2, 4]
    assert capture.malformed.drop("symbol").rows() == [("20150402.tar.gz/prices.csv", 3, reason, line)]


def test_what_is_unusual_but_right(tmp_path: Path) -> None:
    """CRLF, blank lines, a missing adj_close and zero volume are no defects; duplicates stay for the ingest to
    judge.
    """
    text = f"{HEADER}\r\n{GOOD}\r\n\r\nA,2015-04-01,10,11,9,10,0,\r\n{GOOD}\r\n"
    capture = drop(tmp_path, text).fetch(DAY)
    assert capture.malformed.is_empty()
    assert capture.prices.select("line", "volume", "adj_close").rows() == [
        (2, 1100, 10.8),
        (4, 0, None),
        (5, 1100, 10.8),
    ]


def test_known_when_the_crawl_ended(tmp_path: Path) -> None:
    """The latest member's time is the knowledge time, and it is declared, not assumed."""
    capture = drop(tmp_path, f"{HEADER}\n{GOOD}\n").fetch(DAY)
    assert capture.known_at == datetime(2015, 4, 3, 13, tzinfo=UTC)
    assert not capture.assumed


REPORT = "A,2014-12-31,False,FY,2014,10-K,193314000.0,,-16183000.0,-0.9,-0.9,0.0,209961000.0,,,,,,,"


@pytest.mark.parametrize("head", [vendor_drops.REPORTS_HEADER + "\n", ""])
def test_filings_become_a_row_for_each_number(tmp_path: Path, head: str) -> None:
    """Numbers that are there are rows, known with the drop; a line of another length keeps its place; a drop may lack
    the header, as a real one does.
    """
    capture = drop(tmp_path, f"{HEADER}\n{GOOD}\n", reports=f"{head}{REPORT}\nB,2014-12-31\n").fetch(DAY)
    line = 2 if head else 1
    assert capture.known_at == datetime(2015, 4, 3, 14, tzinfo=UTC)
    clean, refused = screen(dataset("filings"), capture)
    assert clean.select("symbol", "session", "form", "fiscal_year", "fiscal_period", "amended").unique().rows() == [
        ("A", date(2014, 12, 31), "10-K", "2014", "FY", False)
    ]
    assert dict(clean.select("item", "value").iter_rows()) == {
        "revenues": 193314000.0,
        "net_income": -16183000.0,
        "eps_basic": -0.9,
        "eps_diluted": -0.9,
        "dividend": 0.0,
        "assets": 209961000.0,
    }
    assert clean.select("file", "line", "declared_known_at").unique().rows() == [
        ("20150402.tar.gz/reports.csv", line, capture.known_at)
    ]
    assert refused.select("line", "reason", "content").rows() == [
        (line + 1, "has 2 fields instead of 20", "B,2014-12-31")
    ]


def test_filings_of_other_columns_do_not_lose_the_prices(tmp_path: Path) -> None:
    """Where the vendor changes the columns, each line is malformed with both sides named, and the day's prices are
    there.
    """
    capture = drop(tmp_path, f"{HEADER}\n{GOOD}\n", reports="symbol,end,revenues\nA,2014-12-31,1\n").fetch(DAY)
    assert (capture.prices.height, dict(capture.others)) == (1, {})
    ((line, reason, content),) = capture.malformed.select("line", "reason", "content").rows()
    assert (line, content) == (2, "A,2014-12-31,1")
    assert "end_date" in reason
    assert "['symbol', 'end', 'revenues']" in reason


def test_listings_collapse_repetitions(tmp_path: Path) -> None:
    """A pair of symbol and name mentioned twice is listed once; a line that is no listing is malformed."""
    capture = drop(tmp_path, f"{HEADER}\n{GOOD}\n", symbols="A\tAlder\nB\tBirch, Inc\nA\tAlder\njunk\n").fetch(DAY)
    assert capture.listings is not None
    assert capture.listings.rows() == [("A", "Alder", None), ("B", "Birch, Inc", None)]
    assert capture.malformed.select("line", "reason", "content").rows() == [(4, "not `symbol TAB name`", "junk")]


def test_a_broken_archive_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncated, not an archive, empty, without prices or too large: CaptureUnreadable with the file's name and the
    cause.
    """
    source = drop(tmp_path, f"{HEADER}\n{GOOD * 500}\n")
    path = tmp_path / "20150402.tar.gz"
    whole = path.read_bytes()
    with monkeypatch.context() as small:
        small.setattr(vendor_drops, "MAX_MEMBER_BYTES", 100)
        with pytest.raises(CaptureUnreadable, match="the limit is 100"):
            source.fetch(DAY)
    for broken in (
        whole[: len(whole) // 2],
        b"not an archive",
        b"",
        bytes([*whole[:30], whole[30] ^ 0xFF, *whole[31:]]),
    ):
        path.write_bytes(broken)
        with pytest.raises(CaptureUnreadable, match="20150402"):
            source.fetch(DAY)
    drop(tmp_path, "", prices_name="price.csv")
    with pytest.raises(CaptureUnreadable, match=r"no prices.csv among .*price.csv"):
        source.fetch(DAY)


def test_other_files_are_no_drops(tmp_path: Path) -> None:
    """Only files named by a day have labels."""
    drop(tmp_path, HEADER)
    for name in ("2015_initial.tar.gz", "20151301.tar.gz", "20150403.tar", "README.md"):
        (tmp_path / name).touch()
    assert list(VendorDrops(tmp_path).labels()) == [DAY]


def test_a_deployment_opens_it(tmp_path: Path) -> None:
    """The declaration names the folder and nothing else."""
    assert (
        open_source(
            {"kind": "vendor_drops", "folder": str(tmp_path)}, calendar("XNYS"), cache=Path(), clock=SystemClock()
        ).labels()
        == []
    )
    for wrong in ({}, {"folder": "x", "glob": "*"}):
        with pytest.raises(ConfigurationError):
            open_source({"kind": "vendor_drops", **wrong}, calendar("XNYS"), cache=Path(), clock=SystemClock())


def test_the_original_drops_load(shared_data: Path) -> None:
    """All 21 drops: every line accounted for, known the next day before the New York open, and the traps of 2015-04-06
    as they are.
    """
    source = VendorDrops(shared_data / "pystock" / "vendor_drops")
    labels = list(source.labels())
    assert len(labels) == 21
    for label in labels:
        capture = source.fetch(label)
        with tarfile.open(capture.location) as archive:
            prices = archive.extractfile("prices.csv")
            assert prices is not None
            lines = prices.read().count(b"\n") - 1
            reports = archive.extractfile("reports.csv")
            assert reports is not None
            filed = [line for line in reports.read().decode().splitlines() if line and not line.startswith("symbol,")]
        assert capture.prices.height + capture.malformed.height == lines
        numbers = sum(cell != "" for line in filed for cell in line.split(",")[6:])
        assert sum(rows.height for rows in capture.others.values()) == numbers
        assert 12 <= capture.known_at.hour < 13
        assert (capture.known_at.date() - label).days == 1
        assert capture.listings is not None
        assert 6_000 < capture.listings.height < 6_200
    tripled = source.fetch(date(2015, 4, 6))
    assert tripled.malformed.filter(reason="repeated header")["line"].to_list() == [12089]
    assert set(tripled.malformed.filter(pl.col("reason") != "repeated header")["symbol"]) == {"CUI"}
    raw = ["open", "high", "low", "close", "volume"]
    keys = tripled.prices.group_by("symbol", "session").agg(
        pl.len(), raw=pl.struct(raw).n_unique(), all=pl.struct(*raw, "adj_close").n_unique()
    )
    assert (keys["len"] == 3).sum() == 12_081  # of 12,087
    assert (
        keys["raw"] > 1
    ).sum() == 8  # the other eleven differ in adj_close alone: ex-dividend sessions seen by the later pass
    assert (keys["all"] > 1).sum() == 19
