"""Files as people have them: what each kind of column, quoting and packing is read as, and what is refused with its
reason.
"""

import gzip
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.derivation import derive, pairs
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.market_data.observations import screen
from quant_assets.records import Capture
from quant_assets.tables import DATA_FINDINGS, QUARANTINE
from resources.clock import SystemClock
from resources.sources.files import Files
from resources.sources.open import open_source
from resources.sources.reading import opening
from resources.sources.reading.moments import days, moments
from resources.sources.reading.numbers import numbers, whole
from resources.sources.reading.written import Column
from resources.sources.tabular import Feed, Tabular
from resources.tables.store import DeltaStore

XNYS, XTKS = calendar("XNYS"), calendar("XTKS")
HEAD = "symbol,date,open,high,low,close,volume"
NEW_YORK, TOKYO = ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")
MONDAY = datetime(2024, 3, 4)  # noqa: DTZ001  # zones are put to it
EPOCH = int(MONDAY.replace(tzinfo=UTC).timestamp())


def files(path: Path, where: str = "XNYS", **declared: Any) -> Files:
    """A files source as a deployment declares it."""
    said = {"kind": "files", "prices": str(path), "mapping": {"session": "date"}, **declared}
    source = open_source(said, calendar(where), cache=path.parent, clock=SystemClock())
    assert isinstance(source, Files)
    return source


def csv(folder: Path, *lines: str, name: str = "p.csv", head: str = HEAD) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes("\n".join([head, *lines, ""]).encode())
    return path


def everything(source: Files) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All good rows, and all malformed ones."""
    captures = [source.fetch(label) for label in source.labels()]
    return pl.concat(c.prices for c in captures), pl.concat(c.malformed for c in captures)


def parquet(folder: Path, **columns: Sequence[Any] | pl.Series) -> Path:
    base = {
        "symbol": ["A"],
        "date": [date(2024, 3, 4)],
        "open": [1.0],
        "high": [2.0],
        "low": [1.0],
        "close": [1.0],
        "volume": [5],
    }
    pl.DataFrame({**base, **columns}, strict=False).write_parquet(folder / "p.parquet")
    return folder / "p.parquet"


def feed(path: Path, **declared: Any) -> Tabular:
    return Tabular(msgspec.convert({"kind": "tabular", "files": str(path), **declared}, Feed))


def told(capture: Capture) -> tuple[pl.DataFrame, list[str]]:
    good, refused = screen(dataset(capture.dataset), capture)
    return good, refused["reason"].to_list()


@pytest.mark.parametrize(
    ("cell", "written", "day"),
    [
        ("2024-03-04", {}, date(2024, 3, 4)),
        (" 2024-03-04 ", {}, date(2024, 3, 4)),
        ("2024-3-4", {}, date(2024, 3, 4)),
        ("2024/03/04", {}, date(2024, 3, 4)),
        ("2024-03-04T00:00:00Z", {}, date(2024, 3, 4)),
        ("2024-03-04 00:00:00+09:00", {}, date(2024, 3, 4)),
        ("2024-03-04 16:00-05:00", {}, date(2024, 3, 4)),
        ("2024-03-04 00:00:00", {}, date(2024, 3, 4)),
        ("2024-03-03T15:00:00Z", {"tz": "Asia/Tokyo"}, date(2024, 3, 4)),
        ("04/03/2024", {"format": "%d/%m/%Y"}, date(2024, 3, 4)),
        ("3/4/24", {"format": "%m/%d/%y"}, date(2024, 3, 4)),
        ("20240304", {"format": "%Y%m%d"}, date(2024, 3, 4)),
        ("04-Mar-2024", {"format": "%d-%b-%Y"}, date(2024, 3, 4)),
        (str(EPOCH), {"unit": "s"}, date(2024, 3, 4)),
        ("45355", {"unit": "excel"}, date(2024, 3, 4)),
        ("2024-03-04 23:30 -0500", {"format": "%Y-%m-%d %H:%M %z"}, date(2024, 3, 4)),
    ],
)
def test_a_day_that_can_be_told(cell: str, written: Mapping[str, Any], day: date) -> None:
    """A day is read as declared, or where it can mean one thing; it is the day where it was written."""
    column = msgspec.convert({"column": "c", **written}, Column)
    assert days("session", pl.String(), column)(pl.Series([cell])).struct.unnest().rows() == [(day, None)]


@pytest.mark.parametrize(
    ("cell", "written", "reason"),
    [
        ("03/04/2024", {}, "day or month may come first; declare its format"),
        ("20240304", {}, "a number tells no day"),
        (str(EPOCH), {}, "a number tells no day"),
        ("2024-03-03T15:00:00Z", {}, "depends on the zone: declare tz"),
        ("2024-03-04 16:00", {}, "depends on the zone: declare tz"),
        ("24-03-04", {}, "declare its format"),
        ("13/1/24", {"format": "%d/%m/%Y"}, "not written as %d/%m/%Y"),
        ("2024-02-30", {}, "not a date"),
        ("2204-01-01", {}, "2204-01-01 lies outside"),
        ("0204-01-01", {}, "lies outside"),
        (str(EPOCH * 1000), {"unit": "s"}, "not a date"),
        ("2024-03-04 00:00 EST", {}, "not a date"),
        ("100.5", {"unit": "excel"}, "depends on the zone"),
    ],
)
def test_a_day_that_cannot_be_told(cell: str, written: Mapping[str, Any], reason: str) -> None:
    """What may mean several days, or none, is refused with what to declare."""
    column = msgspec.convert({"column": "c", **written}, Column)
    ((value, why),) = days("session", pl.String(), column)(pl.Series([cell])).struct.unnest().rows()
    assert value is None
    assert reason in why


@pytest.mark.parametrize(
    ("cell", "written", "moment"),
    [
        ("2024-03-04 09:30:00-05:00", {}, "14:30"),
        ("2024-03-04T14:30:00.000000001Z", {}, "14:30"),
        ("2024-03-04 14:30 UTC", {}, "14:30"),
        ("2024-03-04 09:30", {"tz": "America/New_York"}, "14:30"),
        ("2024-03-04 09:30:00 EST", {"tz": "America/New_York"}, "14:30"),
        ("03/04/2024 04:00 PM", {"format": "%m/%d/%Y %I:%M %p", "tz": "America/New_York"}, "21:00"),
        ("03/04/2024 12:00 AM", {"format": "%m/%d/%Y %I:%M %p", "tz": "UTC"}, "00:00"),
        (str(EPOCH * 1000 + 52_200_000), {"unit": "ms"}, "14:30"),
        ("2024-03-04 09:30:00", {}, "a time without a zone: declare tz"),
        ("2024-03-04 09:30:00 EST", {}, "not a time"),
        ("2024-03-04 09:30:00 EDT", {"tz": "America/New_York"}, "not a time"),
        (str(EPOCH), {"unit": "ms"}, "lies outside"),
        ("2023-11-05 01:30", {"tz": "America/New_York"}, "show twice or never"),
        ("2024-03-10 02:30", {"tz": "America/New_York"}, "show twice or never"),
        ("2024-03-04", {}, "without a zone"),
    ],
)
def test_a_moment_has_a_zone(cell: str, written: Mapping[str, Any], moment: str) -> None:
    """A time is read with its offset, its zone's name or a declared zone; one without any is refused, and so is one
    that a clock shows twice.
    """
    column = msgspec.convert({"column": "c", **written}, Column)
    ((value, why),) = moments("ts", pl.String(), column)(pl.Series([cell])).struct.unnest().rows()
    assert f"{value:%H:%M}" == moment if value else moment in why


@pytest.mark.parametrize(
    ("cell", "decimal", "number", "count"),
    [
        ("1000.0", None, 1000.0, 1000),
        ("1,000", None, 1000.0, 1000),
        ("1e3", None, 1000.0, 1000),
        (" 7 ", None, 7.0, 7),
        ("0.5", None, 0.5, None),
        ("3,5", None, None, None),
        ("9007199254740993", None, 9007199254740992.0, 9007199254740993),
        ("1.000,5", ",", 1000.5, None),
        ("100,5", ",", 100.5, None),
        ("100.5", ",", None, None),
        ("1.000", ",", 1000.0, 1000),
        ("-1,234.5", None, -1234.5, None),
        ("1,23,456", None, None, None),
        ("$5", None, None, None),
    ],
)
def test_numbers_as_people_write_them(cell: str, decimal: Any, number: float | None, count: int | None) -> None:
    """Groups of three, exponents and whole floats are numbers; a comma that may be a decimal one is not, unless it is
    declared.
    """
    column = Column(column="c", decimal=decimal)
    cells = pl.Series([cell])
    assert numbers("x", pl.String(), column)(cells).struct.field("value").to_list() == [number]
    assert whole("x", pl.String(), column)(cells).struct.field("value").to_list() == [count]


@given(st.lists(st.text(alphabet="0123456789.,+-eE _inf", max_size=6), min_size=1, max_size=4), st.sampled_from(".,"))
@example(["1000.0", "2.5"], ".").via("programs write so")
@example(["12", "-3"], ".").via("programs write so")
@example(["inf", "1"], ".").via("no number, though it converts")
@example(["1.000", "2"], ",").via("a thousand, with a decimal comma")
def test_a_number_is_read_alike_whatever_its_neighbours(texts: list[str], decimal: str):
    """A column of plain numbers is converted at once, another cell by cell: a cell's value and fault are the same."""
    column = Column(column="x", decimal=decimal)
    for reader in (numbers, whole):
        read = reader("x", pl.String(), column)
        beside = read(pl.Series([*texts, "x"]))
        assert read(pl.Series(texts)).to_list() == beside.to_list()[:-1]


ZONES = st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo", "Europe/London", "Australia/Sydney", "Asia/Kolkata"])


@settings(max_examples=60, deadline=None)
@given(
    at=st.datetimes(datetime(1972, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001  # zones are put to them
    zone=ZONES,
    form=st.sampled_from(
        ["%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S.%f", "%m/%d/%y %I:%M:%S.%f %p", "iso", "typed", "us"]
    ),
)
def test_a_moment_comes_back_whatever_it_is_written_as(at: datetime, zone: str, form: str) -> None:
    """Formats by zones: a moment that the clock shows once is read as it was meant, its day is the one on that clock,
    and one that it shows twice or never is refused.
    """
    there = at.replace(tzinfo=ZoneInfo(zone))
    meant = there.astimezone(UTC)
    once = (
        meant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == at
        and there.utcoffset() == at.replace(fold=1, tzinfo=ZoneInfo(zone)).utcoffset()
    )
    if form == "typed":
        cells, column = pl.Series([meant]).dt.convert_time_zone(zone), Column(column="c", tz=zone)
    elif form == "us":
        cells, column = (
            pl.Series([(meant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)]),
            Column(column="c", unit="us", tz=zone),
        )
    elif form == "iso":
        cells, column = pl.Series([there.isoformat()]), Column(column="c", tz=zone)
    else:
        cells, column = pl.Series([there.strftime(form)]), Column(column="c", format=form, tz=zone)
    value, _ = moments("ts", cells.dtype, column)(cells).struct.unnest().row(0)
    local = meant.astimezone(ZoneInfo(zone))
    if form.startswith("%"):
        assert value == (meant if once else None)
        local = at
    else:
        assert value == meant
    assert days("d", cells.dtype, column)(cells).struct.field("value").to_list() == [local.date()]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pl.Series([EPOCH]), r"'date' for session holds Int64.*declare"),
        (pl.Series([20240304]), "declare how they are written"),
        (pl.Series([45355.0]), "unit: s"),
        (pl.Series([True]), "Boolean"),
        (pl.Series([[1]]), "List"),
        (pl.Series([b"x"]), "Binary"),
    ],
)
def test_a_typed_column_that_tells_no_day_is_named(tmp_path: Path, values: pl.Series, said: str) -> None:
    """Numbers and other types as dates: an error with the column and what to declare, before any row is read."""
    with pytest.raises(ConfigurationError, match=said):
        files(parquet(tmp_path, date=values)).labels()


@pytest.mark.parametrize(
    ("values", "written"),
    [
        (pl.Series([20240304]), {"format": "%Y%m%d"}),
        (pl.Series([EPOCH]), {"unit": "s"}),
        (pl.Series([EPOCH * 1000]), {"unit": "ms"}),
        (pl.Series([45355.0]), {"unit": "excel"}),
        (pl.Series([MONDAY]), {}),
        (pl.Series([MONDAY]).dt.replace_time_zone("America/New_York"), {}),
        (pl.Series([MONDAY.replace(tzinfo=UTC)]), {}),
        (pl.Series([MONDAY.replace(tzinfo=NEW_YORK).astimezone(UTC)]), {"tz": "America/New_York"}),
        (pl.Series(["2024-03-04"]).cast(pl.Categorical), {}),
    ],
)
def test_days_of_a_typed_column(tmp_path: Path, values: pl.Series, written: Mapping[str, Any]) -> None:
    """Declared units and formats, zone-aware midnights and categories come to the same day."""
    source = files(parquet(tmp_path, date=values), mapping={"session": {"column": "date", **written}})
    assert list(source.labels()) == [date(2024, 3, 4)]


def test_a_day_is_the_vendors_own(tmp_path: Path) -> None:
    """Midnights of Tokyo are days of Tokyo, known after its close; in UTC nothing tells them, unless the zone is
    declared.
    """
    day = datetime(2024, 3, 5, tzinfo=TOKYO)
    aware = files(parquet(tmp_path, date=pl.Series([day]).dt.convert_time_zone("Asia/Tokyo")), "XTKS")
    assert [(d, aware.fetch(d).known_at) for d in aware.labels()] == [
        (date(2024, 3, 5), XTKS.close(date(2024, 3, 5)) + timedelta(hours=1))
    ]
    moved = parquet(tmp_path, date=pl.Series([day.astimezone(UTC)]))
    assert everything(files(moved, "XTKS"))[1]["reason"].to_list() == [
        "session is a time whose day depends on the zone: declare tz"
    ]
    assert list(files(moved, "XTKS", tz="Asia/Tokyo").labels()) == [date(2024, 3, 5)]


def test_what_is_not_mapped_is_not_used(tmp_path: Path) -> None:
    """Neither an adjusted close nor junk beside the mapped columns says anything."""
    path = csv(tmp_path, "A,2024-03-04,1,2,1,1,5,0,junk", "A,2024-03-05,1,2,1,1,5,0,", head=HEAD + ",adj_close,note")
    good, bad = everything(files(path))
    assert (good.height, bad.height, good["adj_close"].null_count()) == (2, 0, 2)


@pytest.mark.parametrize("places", [2, 6])
def test_a_whole_history_of_adjusted_closes_tells_each_action_once(tmp_path: Path, places: int) -> None:
    """One dividend and one split in sixty sessions are derived once each, on their ex-sessions, whatever the rounding;
    no other factor is.
    """
    sessions = XNYS.between(date(2024, 1, 2), date(2024, 4, 1))[:60]
    raw = [100 + n / 10 if n < 40 else (100 + n / 10) / 2 for n in range(60)]
    factor = [(0.5 if n < 40 else 1.0) * (1 - 1.0 / raw[19] if n < 20 else 1.0) for n in range(60)]
    rows = [
        f"A,{d},{p},{p + 1},{p - 1},{p},100,{round(p * f, places)}"
        for d, p, f in zip(sessions, raw, factor, strict=True)
    ]
    path = csv(tmp_path, *rows, head=HEAD + ",adjusted")
    source = files(path, mapping={"session": "date", "adj_close": "adjusted"})
    captures = [source.fetch(label).prices for label in source.labels()]
    assert all(
        c.filter(pl.col("session") == c["session"].max()).select((pl.col("adj_close") == pl.col("close")).all()).item()
        for c in captures
    )
    derived = derive(pl.concat(pairs(c.with_columns(sid=pl.lit(1, pl.Int64)), XNYS) for c in captures))
    found = derived.actions
    assert sorted(found.select("session", "kind").rows()) == [(sessions[20], "dividend"), (sessions[40], "split")]
    assert float(found.filter(kind="dividend")["cash"][0]) == pytest.approx(1.0, abs=0.02)


def test_pairs_are_the_same_however_little_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session before is found across stretches, also where captures are fetched from the last to the first."""
    sessions = XNYS.between(date(2024, 1, 2), date(2024, 1, 19))
    rows = [
        f"{s},{d},{p},{p},{p},{p},1,{p / (2 if n < 5 else 1)}"
        for s, p in (("A", 10.0), ("B", 20.0))
        for n, d in enumerate(sessions)
    ]
    path = csv(tmp_path, *rows, head=HEAD + ",adj")
    mapping = {"session": "date", "adj_close": "adj"}
    whole_ = files(path, mapping=mapping)
    expected = {d: whole_.fetch(d) for d in whole_.labels()}
    monkeypatch.setattr("resources.sources.large.ROWS", 5)
    monkeypatch.setattr("resources.sources.reading.splitting.CHARACTERS", 100)
    source = files(path, mapping=mapping)
    for d in reversed(source.labels()):
        assert source.fetch(d).prices.equals(expected[d].prices)
        assert source.fetch(d).sha256 == expected[d].sha256
    assert expected[sessions[5]].prices.filter(pl.col("session") == sessions[4])["adj_close"].to_list() == [5.0, 10.0]


GOOD = ("A,2024-03-04,1,2,1,1,5", "A,2024-03-05,1,2,1,1,5")


def as_bom(folder: Path) -> Path:
    path = csv(folder, *GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    return path


def as_quoted(folder: Path) -> Path:
    return csv(
        folder, *('"' + row.replace(",", '","') + '"' for row in GOOD), head='"' + HEAD.replace(",", '","') + '"'
    )


def as_gzip(folder: Path) -> Path:
    (folder / "p.csv.gz").write_bytes(gzip.compress(csv(folder, *GOOD).read_bytes()))
    return folder / "p.csv.gz"


def as_zstandard(folder: Path) -> Path:
    (folder / "p.csv.zst").write_bytes(pa.compress(csv(folder, *GOOD).read_bytes(), codec="zstd", asbytes=True))
    return folder / "p.csv.zst"


def as_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        archive.write(csv(folder, *GOOD), "p.csv")
    return folder / "p.zip"


def as_pq(folder: Path) -> Path:
    pl.read_csv(csv(folder, *GOOD), try_parse_dates=True).write_parquet(folder / "p.pq")
    return folder / "p.pq"


def as_folder(folder: Path) -> Path:
    csv(folder, *(row.removeprefix("A,") for row in GOOD), name="many/A.csv", head=HEAD.removeprefix("symbol,"))
    return folder / "many"


def as_glob(folder: Path) -> Path:
    return as_folder(folder) / "*.csv"


def with_blanks(folder: Path) -> Path:
    return csv(folder, *(row.replace(",", ", ") for row in GOOD), head=HEAD.replace(",", ", "))


def with_index(folder: Path) -> Path:
    return csv(folder, *(f"{n},{row}" for n, row in enumerate(GOOD)), head="," + HEAD)


def with_semicolons(folder: Path) -> Path:
    return csv(folder, *(row.replace(",", ";") for row in GOOD), head=HEAD.replace(",", ";"))


def with_carriage_returns(folder: Path) -> Path:
    path = csv(folder, *GOOD)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return path


def as_json(folder: Path) -> Path:
    pl.read_csv(csv(folder, *GOOD)).write_ndjson(folder / "p.jsonl")
    return folder / "p.jsonl"


@pytest.mark.parametrize(
    "make",
    [
        as_bom,
        as_quoted,
        as_gzip,
        as_zstandard,
        as_zip,
        as_pq,
        as_folder,
        as_glob,
        with_blanks,
        with_index,
        with_semicolons,
        with_carriage_returns,
        as_json,
    ],
)
def test_ten_shapes_of_one_file(tmp_path: Path, make: Any) -> None:
    """The same two rows, however they are packed, quoted, split over files or separated."""
    good, bad = everything(files(make(tmp_path)))
    assert good.drop("file", "line").rows() == [("A", date(2024, 3, d), 1.0, 2.0, 1.0, 1.0, 5, None) for d in (4, 5)]
    assert bad.is_empty()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ((HEAD + ",close\nA,2024-03-04,1,2,1,1,5,7\n").encode(), r"named twice: \['close'\]"),
        ((HEAD + "\nA,2024-03-04,1,2,1,1,5\n").encode("utf-16"), "UTF-16"),
        (b"<!DOCTYPE html><html>503</html>", "web page"),
        (b"%PDF-1.7", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1", "Excel"),
        (b"a\0b\0", "NUL"),
        (b"", "has no line"),
        (b"\n\n", "has no line"),
        (gzip.compress(b"a,b\n" + b"1,2\n" * 100_000, mtime=0), "would unpack to more than"),
        (b"x" * 200_000, "names no columns"),
        (gzip.compress(HEAD.encode(), mtime=0)[:-9], "not readable"),
        (b"PAR1junk", "p.csv"),
    ],
)
def test_a_file_that_is_no_table_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    """Duplicate columns, another encoding, other kinds of file, bombs and stumps are errors with the file's name."""
    monkeypatch.setattr(opening, "MIN_BUDGET", 1000)
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(CaptureUnreadable, match=said) as caught:
        files(tmp_path / "p.csv").labels()
    assert "p.csv" in str(caught.value)


def test_bytes_that_are_no_text_are_a_lines_fault(tmp_path: Path) -> None:
    """A symbol in another encoding is not stored mangled: its line is refused, or the encoding is declared."""
    path = csv(tmp_path, *GOOD)
    path.write_bytes(path.read_bytes() + "SOCIÉTÉ,2024-03-05,1,2,1,1,5\n".encode("latin-1"))
    good, bad = everything(files(path))
    assert (good.height, bad.select("line", "reason").rows()) == (
        2,
        [(4, "has bytes that are no UTF-8; declare the file's encoding")],
    )
    assert "SOCIÉTÉ" in everything(files(path, encoding="latin-1"))[0]["symbol"].to_list()


def test_decimal_commas_where_they_are_declared(tmp_path: Path) -> None:
    """A European file is read under `decimal`; without it every row is refused, and none is read as another number."""
    path = csv(tmp_path, "A;2024-03-04;100,5;101,5;99,5;100,5;1.000", head=HEAD.replace(",", ";"))
    assert everything(files(path, decimal=","))[0].select("open", "volume").rows() == [(100.5, 1000)]
    assert everything(files(path))[1]["reason"].to_list() == ["open is not a number"]


def test_symbols_are_text_without_blanks(tmp_path: Path) -> None:
    """Integers and categories are symbols too; blanks around one make no second instrument, and are told as a finding;
    a truth value names nothing.
    """
    for values, symbol in (([700], "700"), (pl.Series(["AAA"], dtype=pl.Categorical), "AAA"), ([700.0], "700")):
        assert everything(files(parquet(tmp_path, symbol=values)))[0]["symbol"].to_list() == [symbol]
    with pytest.raises(ConfigurationError, match=r"'symbol'.*Boolean"):
        files(parquet(tmp_path, symbol=[True])).labels()
    source = files(csv(tmp_path, "A,2024-03-04,1,2,1,1,5", "A ,2024-03-05,1,2,1,1,5", "NA,2024-03-05,1,2,1,1,5"))
    store = DeltaStore(tmp_path / "store")
    report = ingest(source, store, None, datetime(2025, 1, 1, tzinfo=UTC), source.labels(), XNYS)
    assert (report.state, report.numbers["instruments"]) == ("done", 2)
    assert store.read(DATA_FINDINGS, as_of=None).select("rule", "severity", "symbol").rows() == [
        ("blanks around the symbol", "warn", "A")
    ]


def test_a_summary_row_is_quarantined_as_one(tmp_path: Path) -> None:
    """What adds the others up is no bar, and says so."""
    good, bad = everything(files(csv(tmp_path, *GOOD, "Total,,,,,,10")))
    assert (good.height, bad.select("line", "reason", "content").rows()) == (2, [(4, "a summary row", "Total,,,,,,10")])


def test_zeros_as_adjusted_closes_are_dropped_and_told(tmp_path: Path) -> None:
    """They put no bar in doubt."""
    source = files(
        csv(tmp_path, *(row + ",0" for row in GOOD), head=HEAD + ",adj"),
        mapping={"session": "date", "adj_close": "adj"},
    )
    assert everything(source)[0]["adj_close"].to_list() == [None, None]
    remarks = source.fetch(source.labels()[0]).remarks
    assert remarks is not None
    assert remarks["rule"].to_list() == ["an adjusted close that is no positive number was dropped"]


@pytest.mark.parametrize("cells", ["02/01/2024", "20240102", "1704153600", "yesterday"])
def test_an_ingest_that_kept_nothing_is_refused(tmp_path: Path, cells: str) -> None:
    """Each row is in quarantine with file, line and reason, under the last session that was over when the file was
    written; the report is refused and says where to look.
    """
    path = csv(tmp_path, f"A,{cells},1,2,1,1,5", f"B,{cells},1,2,1,1,5")
    source, store, now = files(path), DeltaStore(tmp_path / "store"), datetime.now(UTC) + timedelta(days=1)
    report = ingest(source, store, None, now, pending(source, store, now.date()), XNYS)
    assert (report.state, report.numbers["quarantined"], report.numbers["kept"]) == ("refused", 2, 0)
    assert "quarantine list" in report.reason
    rows = store.read(QUARANTINE, as_of=None)
    assert sorted(rows.select("file", "line").rows()) == [("p.csv", 2), ("p.csv", 3)]
    assert rows["reason"].str.starts_with("session is not a date").all()


BARS: Mapping[str, Any] = {
    "dataset": "intraday_bars", "constants": {"venue": "XNAS", "seconds": 60}, "known_at": "event+0m",
    "mapping": {"ts": "time", "symbol": "ticker", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
}  # fmt: skip


def minutes(folder: Path, *rows: str) -> Path:
    return csv(folder, *rows, head="time,ticker,o,h,l,c,v", name="m.csv")


def test_intraday_bars_without_a_zone_are_refused(tmp_path: Path) -> None:
    """Text and Parquet alike; under the feed's `tz` they are the exchange's own time."""
    path = minutes(tmp_path, "2024-01-05 09:30:00,A,1,2,1,1,5")
    assert told(feed(path, **BARS).fetch(feed(path, **BARS).labels()[0]))[1] == [
        "ts is a time without a zone: declare tz"
    ]
    zoned = feed(path, **BARS, tz="America/New_York")
    assert told(zoned.fetch(zoned.labels()[0]))[0]["ts"].to_list() == [datetime(2024, 1, 5, 14, 30, tzinfo=UTC)]
    pl.read_csv(path, try_parse_dates=True).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(ConfigurationError, match=r"'time' for ts holds times without a zone.*declare its tz"):
        feed(tmp_path / "m.parquet", **BARS).labels()
    zoned = feed(tmp_path / "m.parquet", **BARS, tz="America/New_York")
    assert told(zoned.fetch(zoned.labels()[0]))[0]["ts"].to_list() == [datetime(2024, 1, 5, 14, 30, tzinfo=UTC)]


def test_a_bar_without_prices_is_no_observation(tmp_path: Path) -> None:
    """Blank prices are quarantined, a grouped volume is read, one with a comma that groups nothing is not."""
    path = minutes(
        tmp_path,
        "2024-01-05 14:30Z,A,1,2,1,,5",
        "2024-01-05 14:31Z,A,,,,,5",
        '2024-01-05 14:32Z,A,1,2,1,1,"1,200"',
        '2024-01-05 14:33Z,A,1,2,1,1,"3,5"',
    )
    source = feed(path, **BARS)
    good, reasons = told(source.fetch(source.labels()[0]))
    assert good["volume"].to_list() == [1200.0]
    assert sorted(reasons) == ["no_price", "no_price", "volume is no number"]


@pytest.mark.parametrize("values", [pl.Series([EPOCH * 1000]), pl.Series([20240304]), pl.Series([45355])])
def test_numbers_tell_no_day_in_a_feed_either(tmp_path: Path, values: pl.Series) -> None:
    """The error names the column and the feed; a zone-aware column tells the day where it was written, and shares
    written as 1000.0 are whole.
    """
    rates = {
        "dataset": "fx_rates",
        "mapping": {"session": "day", "base": "b", "quote": "q", "rate": "r"},
        "known_at": "event+1d",
    }
    pl.DataFrame({"day": values, "b": ["USD"], "q": ["JPY"], "r": [144.6]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(ConfigurationError, match=r"x\.parquet.*'day' for session.*declare"):
        feed(tmp_path / "x.parquet", **rates).labels()
    day = pl.Series([datetime(2024, 1, 5, tzinfo=TOKYO)]).dt.convert_time_zone("Asia/Tokyo")
    pl.DataFrame({"day": day, "b": ["USD"], "q": ["JPY"], "r": [144.6]}).write_parquet(tmp_path / "x.parquet")
    source = feed(tmp_path / "x.parquet", **rates)
    assert told(source.fetch(source.labels()[0]))[0]["session"].to_list() == [date(2024, 1, 5)]
    csv(tmp_path, "2024-01-05,A,0.01,1000.0", "2024-01-08,A,0.01,", head="day,t,r,a", name="b.csv")
    borrow = feed(
        tmp_path / "b.csv",
        dataset="borrow_rates",
        mapping={"session": "day", "symbol": "t", "rate": "r", "available": "a"},
        known_at="event+1d",
        constants=_rest("borrow_rates"),
    )
    assert told(borrow.fetch(borrow.labels()[0]))[0]["available"].to_list() == [1000, None]


def _rest(name: str) -> dict[str, str]:
    """What else says what a row is about."""
    return {c: "x" for c in dataset(name).table.subject if c not in {"session", "symbol"}}


def test_a_declaration_that_means_nothing_is_refused(tmp_path: Path) -> None:
    """A format without a year, half a day without its half, a zone that is none, a unit beside a format."""
    for written, said in (
        ({"format": "%d/%m"}, "year and month"),
        ({"format": "%Y-%m-%d %I:%M"}, "%p"),
        ({"format": "%Q"}, "%Q"),
        ({"tz": "EST9"}, "EST9"),
        ({"unit": "s", "format": "%Y"}, "not in both"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            files(csv(tmp_path, *GOOD), mapping={"session": {"column": "date", **written}})


def test_no_more_is_unpacked_than_a_file_is_good_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget follows the packed size; an archive of too many members is refused."""
    monkeypatch.setattr(opening, "MAX_MEMBERS", 1)
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("a.csv", HEAD)
        archive.writestr("b.csv", HEAD)
    with pytest.raises(CaptureUnreadable, match="2 members"):
        files(tmp_path / "p.zip").labels()
