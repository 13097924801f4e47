"""Feeds of any dataset in files: every row of a file is told once, in our units, known when the rule says."""

import bz2
import gzip
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError, ContractViolation
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.market_data.observations import screen
from quant_assets.records import Capture
from quant_assets.tables import QUARANTINE
from quant_assets.vendor_tables import ECONOMIC_SERIES
from resources.sources.reading import opening
from resources.sources.tabular import Feed, Tabular
from resources.tables.store import DeltaStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MAPPING = {"session": "day", "base": "from", "quote": "to", "rate": "rate"}
RATES: dict[str, Any] = {"dataset": "fx_rates", "mapping": MAPPING, "known_at": "event+1d"}
CSV = "day,from,to,rate\n2024-03-04,EUR,USD,1.08\n2024-03-05,EUR,USD,1.09\n"


def feed(folder: Path, files: str, **declared: Any) -> Tabular:
    """A feed on files of this folder, declared as in a deployment file."""
    return Tabular(msgspec.convert({**declared, "files": str(folder / files)}, Feed))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def only(source: Tabular) -> Capture:
    (label,) = source.labels()
    return source.fetch(label)


def clean(capture: Capture) -> pl.DataFrame:
    return screen(dataset(capture.dataset), capture)[0]


def refused(capture: Capture) -> list[tuple[Any, ...]]:
    return screen(dataset(capture.dataset), capture)[1].select("file", "line", "reason", "content").rows()


def as_csv(folder: Path) -> Path:
    return written(folder, "rates.csv", CSV)


def as_gzip(folder: Path) -> Path:
    return written(folder, "rates.csv.gz", gzip.compress(CSV.encode()))


def as_bzip2(folder: Path) -> Path:
    return written(folder, "rates.csv.bz2", bz2.compress(CSV.encode()))


def as_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "rates.zip", "w") as archive:
        archive.writestr("inside.csv", CSV)
    return folder / "rates.zip"


def as_json_lines(folder: Path) -> Path:
    rows = [
        dict(zip(CSV.split("\n", maxsplit=1)[0].split(","), line.split(","), strict=True)) for line in CSV.split()[1:]
    ]
    return written(
        folder,
        "rates.jsonl",
        "\n" + "".join(f"{msgspec.json.encode({**r, 'rate': float(r['rate'])}).decode()}\n" for r in rows),
    )


def as_parquet(folder: Path) -> Path:
    pl.read_csv(CSV.encode(), try_parse_dates=True).write_parquet(folder / "rates.parquet")
    return folder / "rates.parquet"


@pytest.mark.parametrize(
    ("make", "first"), [(as_csv, 2), (as_gzip, 2), (as_bzip2, 2), (as_zip, 2), (as_json_lines, 2), (as_parquet, 1)]
)
def test_a_row_is_the_same_in_every_kind_of_file(tmp_path: Path, make: Callable[[Path], Path], first: int) -> None:
    """CSV, packed or not, JSON lines and Parquet give the same typed rows, each with the line an editor would show."""
    capture = only(feed(tmp_path, make(tmp_path).name, **RATES))
    rows = clean(capture)
    assert rows.select("session", "base", "quote", "rate").rows() == [
        (date(2024, 3, 4), "EUR", "USD", 1.08),
        (date(2024, 3, 5), "EUR", "USD", 1.09),
    ]
    assert rows["line"].to_list() == [first, first + 1]
    assert rows["declared_known_at"].to_list() == [datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 6, tzinfo=UTC)]
    assert (capture.label, capture.known_at, capture.assumed, capture.dataset) == (
        date(2024, 3, 5),
        datetime(2024, 3, 6, tzinfo=UTC),
        True,
        "fx_rates",
    )


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ({"column": "c", "format": "%m/%d/%y"}, "1/31/85", date(1985, 1, 31)),
        ({"column": "c", "format": "%Y%m", "month_end": True}, "192602", date(1926, 2, 28)),
        ({"column": "c", "month_end": True}, "1949-01-01", date(1949, 1, 31)),
        ({"column": "c", "format": "%Y-%m-%d %H:%M:%S%z"}, "1990-01-02 23:30:00-05:00", date(1990, 1, 2)),
        ({"column": "c", "format": "%Y-%m-%dT%H:%M:%SZ"}, "2024-08-15T00:00:00Z", date(2024, 8, 15)),
        ("c", " 2024-08-15 ", date(2024, 8, 15)),
    ],
)
def test_days_as_vendors_write_them(tmp_path: Path, column: Any, cell: str, value: date) -> None:
    """A format, a month's end and a time zone lead to the day that is meant."""
    path = written(tmp_path, "x.csv", f"c,rate\n{cell},1\n")
    source = feed(
        tmp_path,
        path.name,
        dataset="reference_rates",
        mapping={"session": column, "rate": {"column": "rate", "scale": 0.01}},
        constants={"curve": "x", "tenor": "1y"},
        known_at="event+1d",
    )
    assert clean(only(source))["session"].to_list() == [value]


def test_percent_becomes_a_fraction_to_the_bit(tmp_path: Path) -> None:
    """Scaling by a hundredth divides by a hundred: 0.13% is 0.0013 and nothing beside it; what is no number stays as it
    was said.
    """
    written(tmp_path, "x.csv", "day,rate\n2024-01-02,0.13\n2024-01-03,n/a\n")
    source = feed(
        tmp_path,
        "x.csv",
        dataset="reference_rates",
        mapping={"session": "day", "rate": {"column": "rate", "scale": 0.01}},
        constants={"curve": "x", "tenor": "1y"},
        known_at="event+1d",
    )
    assert clean(only(source))["rate"].to_list() == [0.0013]
    assert refused(only(source)) == [("x.csv", 3, "rate is no number", "2024-01-03,x,1y,n/a")]


def test_a_wide_file_becomes_a_row_for_each_cell(tmp_path: Path) -> None:
    """Every column without a mapping is a thing of its own; blank and missing cells are no rows; one that is no number,
    and a line of another length, are kept with their place.
    """
    written(tmp_path, "x.csv", "day,A,B,C\n2024-01-02,1,,0.0\n2024-01-03,2,x,3\n2024-01-04,1,2\n\nnever,7,8,\n")
    source = feed(
        tmp_path,
        "x.csv",
        dataset="economic_series",
        mapping={"session": "day"},
        wide={"name": "series", "value": "value", "missing": ["0.0"]},
        known_at="event+0d",
    )
    capture = only(source)
    assert sorted(clean(capture).select("session", "series", "value", "line").rows()) == [
        (date(2024, 1, 2), "A", 1.0, 2),
        (date(2024, 1, 3), "A", 2.0, 3),
        (date(2024, 1, 3), "C", 3.0, 3),
    ]
    assert sorted(refused(capture)) == [
        ("x.csv", 3, "value is no number", "2024-01-03,B,x"),
        ("x.csv", 4, "has 3 fields instead of 4", "2024-01-04,1,2"),
        ("x.csv", 6, "session is no date YYYY-MM-DD", "never,A,7"),
        ("x.csv", 6, "session is no date YYYY-MM-DD", "never,B,8"),
    ]


def test_quotes_and_bad_json(tmp_path: Path) -> None:
    """A quoted comma or line break is part of its cell and the lines after it keep their number; a line that is no JSON
    is kept as it stands.
    """
    written(
        tmp_path,
        "x.csv",
        'session,symbol,sector\n2024-01-02,A,"Oil, Gas"\n2024-01-02,B,"two\nlines"\n2024-01-02,C,Coal\n',
    )
    said = {
        "dataset": "sectors",
        "mapping": {"session": "session", "symbol": "symbol", "sector": "sector"},
        "constants": {"scheme": "own"},
        "known_at": "event+0d",
    }
    assert clean(only(feed(tmp_path, "x.csv", **said))).select("symbol", "sector", "line").rows() == [
        ("A", "Oil, Gas", 2),
        ("B", "two\nlines", 3),
        ("C", "Coal", 5),
    ]
    written(tmp_path, "y.jsonl", '{"session":"2024-01-02","symbol":"A","sector":"Oil"}\n{"session":\n')
    capture = only(feed(tmp_path, "y.jsonl", **said))
    assert clean(capture).height == 1
    assert refused(capture) == [("y.jsonl", 2, "is no JSON object", '{"session":')]


def test_an_open_quote_takes_no_line_with_it(tmp_path: Path) -> None:
    """A quote that is never closed, or closed in the middle of a cell, is that line's fault alone; a file without any
    line is unreadable.
    """
    good = "2024-01-02,{},1"
    written(
        tmp_path,
        "x.csv",
        "\n".join(
            [
                "day,A,B",
                good.format(1),
                '2024-01-03,"2,1',
                good.format(3).replace("-02", "-04"),
                '2024-01-05,"4"x,1',
                "2024-01-06,5,1",
                "",
            ]
        ),
    )
    source = feed(
        tmp_path,
        "x.csv",
        dataset="economic_series",
        mapping={"session": "day"},
        wide={"name": "series", "value": "value"},
        known_at="event+0d",
    )
    assert clean(only(source)).filter(pl.col("series") == "A").select("line", "value").rows() == [
        (2, 1.0),
        (4, 3.0),
        (6, 5.0),
    ]
    assert [(line, content) for _, line, _, content in refused(only(source))] == [
        (3, '2024-01-03,"2,1'),
        (5, '2024-01-05,"4"x,1'),
    ]
    written(tmp_path, "x.csv", "\n\n")
    with pytest.raises(CaptureUnreadable, match=r"x\.csv: has no line"):
        only(source)


BARS: dict[str, Any] = {
    "dataset": "intraday_bars",
    "mapping": {"ts": "t", "symbol": "s", "open": "p", "high": "p", "low": "p", "close": "p"},
    "constants": {"venue": "v", "seconds": 3600},
}


@pytest.mark.parametrize(
    ("rule", "known", "assumed"),
    [
        ("event+0m", datetime(2024, 3, 4, 22, tzinfo=UTC), True),
        ("event+90m", datetime(2024, 3, 4, 23, 30, tzinfo=UTC), True),
        ("event+1d@13:00", datetime(2024, 3, 5, 13, tzinfo=UTC), True),
        ("label+1d@06:30", datetime(2024, 3, 6, 6, 30, tzinfo=UTC), False),
        ("label+26h", datetime(2024, 3, 6, 2, tzinfo=UTC), False),
    ],
)
def test_known_as_the_rule_says(tmp_path: Path, rule: str, known: datetime, assumed: bool) -> None:
    """A bar's event is its end; a label counts from its day's beginning.

    What only our rule tells is assumed, a label in the file's name is the vendor's.
    """
    written(tmp_path, "drop_20240305.csv", "t,s,p\n2024-03-04T21:00:00Z,X,1\n")
    capture = only(feed(tmp_path, "*.csv", **BARS, known_at=rule, day=r"_(\d{4})(\d\d)(\d\d)"))
    assert (capture.label, capture.assumed) == (date(2024, 3, 5), assumed)
    assert clean(capture)["declared_known_at"].to_list() == [known]
    assert capture.known_at == known


def test_known_as_the_vendor_says(tmp_path: Path) -> None:
    """A column of knowledge times is taken as it is, and not assumed; a row without one is not let in."""
    written(
        tmp_path,
        "x.csv",
        "day,from,to,rate,seen\n2024-03-04,EUR,USD,1.08,2024-03-04T16:00:00Z\n2024-03-05,EUR,USD,1.09,\n",
    )
    capture = only(feed(tmp_path, "x.csv", dataset="fx_rates", mapping={**MAPPING, "known_at": "seen"}))
    assert clean(capture)["declared_known_at"].to_list() == [datetime(2024, 3, 4, 16, tzinfo=UTC)]
    assert not capture.assumed
    assert refused(capture) == [("x.csv", 3, "no known_at", "2024-03-05,EUR,USD,1.09")]


def test_files_of_one_label_are_one_capture(tmp_path: Path) -> None:
    """Files whose names tell the same day come together, each row under its own file; a month without a day is its
    last.
    """
    for name in ("a/20240304.csv", "b/20240304.csv", "b/20240305.csv"):
        written(tmp_path, name, CSV.replace("EUR", name[0].upper()).split("2024-03-05")[0])
    source = feed(tmp_path, "*/*.csv", **RATES, day=r"(\d{4})(\d\d)(\d\d)")
    assert list(source.labels()) == [date(2024, 3, 4), date(2024, 3, 5)]
    assert clean(source.fetch(date(2024, 3, 4))).select("base", "file").rows() == [
        ("A", "a/20240304.csv"),
        ("B", "b/20240304.csv"),
    ]
    assert list(source.labels(date(2024, 3, 5))) == [date(2024, 3, 5)]
    written(tmp_path, "month-2024-02.csv", CSV)
    assert list(feed(tmp_path, "month*.csv", **RATES, day=r"(\d{4})-(\d\d)").labels()) == [date(2024, 2, 29)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_may_tell_the_capture(tmp_path: Path, suffix: str) -> None:
    """One file of many captures is taken apart by the column: each row is in one capture, known after that capture's
    day; a row without a label is kept in the last.
    """
    frame = pl.DataFrame(
        {
            "day": ["2024-03-01", "2024-03-04", "2024-03-01", "2024-03-05"],
            "from": "EUR",
            "to": "USD",
            "rate": [1.0, 1.1, 1.2, 1.3],
            "seen": ["2024-03-04", "2024-03-04", "2024-03-05", None],
        }
    )
    frame.write_csv(tmp_path / "x.csv") if suffix == "csv" else frame.with_columns(
        pl.col("seen").str.to_date()
    ).write_parquet(tmp_path / "x.parquet")
    source = feed(
        tmp_path, f"x.{suffix}", dataset="fx_rates", mapping={**MAPPING, "label": "seen"}, known_at="label+1d@13:00"
    )
    captures = [source.fetch(label) for label in source.labels()]
    assert [(c.label, c.known_at, c.assumed) for c in captures] == [
        (date(2024, 3, d), datetime(2024, 3, d + 1, 13, tzinfo=UTC), False) for d in (4, 5)
    ]
    assert [c.others["fx_rates"]["rate"].cast(pl.Float64).to_list() for c in captures] == [[1.0, 1.1], [1.2, 1.3]]


def test_fetching_is_repeatable_and_content_is_told_apart(tmp_path: Path) -> None:
    """The same file has the same hash however often it is read, and another one where a value differs."""
    source = feed(tmp_path, as_csv(tmp_path).name, **RATES)
    hashes = {only(source).sha256, only(feed(tmp_path, "rates.csv", **RATES)).sha256}
    assert len(hashes) == 1
    written(tmp_path, "rates.csv", CSV.replace("1.09", "1.091"))
    assert only(feed(tmp_path, "rates.csv", **RATES)).sha256 not in hashes


def test_drift_names_both_sides(tmp_path: Path) -> None:
    """Where the vendor renames a column, the error names its columns, the contract's and the mapping, and nothing is
    taken in.
    """
    written(tmp_path, "20240304.csv", CSV.replace("rate", "px"))
    source = feed(tmp_path, "*.csv", **RATES, day=r"(\d{4})(\d\d)(\d\d)")
    with pytest.raises(
        ContractViolation,
        match=r"(?s)fx_rates/\*.*\['rate'\].*it has \['day', 'from', 'to', 'px'\].*\['session', 'base', 'quote', "
        r"'rate'\]",
    ):
        source.fetch(date(2024, 3, 4))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({**RATES, "dataset": "fx"}, "no dataset is named 'fx'"),
        ({**RATES, "layout": "spells"}, "a mapping, or a layout"),
        ({"dataset": "fx_rates", "known_at": "event+1d"}, "a mapping, or a layout"),
        ({"dataset": "fx_rates", "layout": "csv", "known_at": "event+1d"}, "no layout is named 'csv'"),
        ({**RATES, "known_at": "event+1h@13:00"}, "counts in days"),
        ({**RATES, "known_at": None}, "either as a rule, or as a column"),
        ({**RATES, "mapping": {**MAPPING, "known_at": "seen"}}, "either as a rule, or as a column"),
        ({**RATES, "mapping": {"session": "day", "rate": "rate"}}, r"not given: \['base', 'quote'\]"),
        ({**RATES, "constants": {"price": 1}}, r"not among them: \['price'\]"),
        ({**RATES, "constants": {"base": "EUR"}}, r"given twice: \['base'\]"),
    ],
)
def test_a_wrong_declaration_is_refused_at_once(tmp_path: Path, declared: dict[str, Any], said: str) -> None:
    """Before any file is opened, and saying what would be right."""
    with pytest.raises(ConfigurationError, match=said):
        feed(tmp_path, "x.csv", **declared)


def test_a_broken_file_is_named_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncated, empty or too large: the capture is unreadable, with the file's name; ingest says so and takes the
    rest.
    """
    written(tmp_path, "20240304.csv.gz", gzip.compress(CSV.encode())[:-12])
    written(tmp_path, "20240305.csv.gz", gzip.compress(CSV.encode()))
    source = feed(tmp_path, "*.gz", **RATES, day=r"(\d{4})(\d\d)(\d\d)")
    report = ingest(source, DeltaStore(tmp_path / "store"), None, NOW, source.labels(), calendar("XNYS"))
    assert (report.state, report.numbers["observed"]) == ("refused", 2)
    assert "20240304.csv.gz" in report.notes[0]
    assert list(feed(tmp_path, "20240304*", **RATES).labels()) == [
        datetime.fromtimestamp((tmp_path / "20240304.csv.gz").stat().st_mtime, UTC).date()
    ]
    monkeypatch.setattr(opening, "MAX_BYTES", 10)
    with pytest.raises(CaptureUnreadable, match="more than 10 bytes"):
        feed(tmp_path, "*.gz", **RATES, day=r"(\d{4})(\d\d)(\d\d)").fetch(date(2024, 3, 5))
    with pytest.raises(CaptureUnreadable, match="no file"):
        source.fetch(date(2001, 1, 1))


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    """Rows read are versions, repetitions or in quarantine, one by one; a second delivery adds only what it changes;
    nothing is pending then.
    """
    rows = [f"2024-01-{d:02},{1 + d / 100},{d}" for d in range(1, 21)]
    junk = ["2024-01-21,one,1", "2024-01-22,1", "2024-13-01,1,1", rows[3], "2024-01-02,99,2"]
    written(tmp_path, "a_20240201.csv", "\n".join(["day,A,B", *rows, *junk, ""]))
    written(tmp_path, "a_20240202.csv", "\n".join(["day,A,B", *rows[:-1], "2024-01-20,5,20", ""]))
    source = feed(
        tmp_path,
        "a_*.csv",
        dataset="economic_series",
        mapping={"session": "day"},
        wide={"name": "series", "value": "value"},
        known_at="label+1d@12:00",
        day=r"(\d{4})(\d\d)(\d\d)",
    )
    store = DeltaStore(tmp_path / "store")
    numbers = ingest(source, store, None, NOW, source.labels(), calendar("XNYS")).numbers
    read = sum(source.fetch(label).others["economic_series"].height for label in source.labels())
    assert numbers["rows"] == read == numbers["observed"] + numbers["repeated"] + numbers["quarantined"]
    standing, quarantine = store.read(ECONOMIC_SERIES, as_of=None), store.read(QUARANTINE, as_of=None)
    assert (standing.height, quarantine.height) == (numbers["observed"], numbers["quarantined"])
    assert standing.filter(pl.col("known_at") > datetime(2024, 2, 3, tzinfo=UTC)).select("series", "value").rows() == [
        ("A", 1.02),
        ("A", 5.0),
    ]  # the conflict is settled, too
    assert sorted(quarantine.select("line", "reason").rows()) == [
        (3, "CONFLICT"),
        (22, "value is no number"),
        (23, "has 2 fields instead of 3"),
        (24, "session is no date YYYY-MM-DD"),
        (24, "session is no date YYYY-MM-DD"),
        (26, "CONFLICT"),
    ]
    assert list(pending(source, store, date(2100, 1, 1))) == []


def test_a_day_is_not_known_before_it_is_over(tmp_path: Path) -> None:
    """Hours after a day's event would count from its first minute: the rule is refused, and says what to write."""
    with pytest.raises(ConfigurationError, match=r"event\+1h.*before the end of the day.*write event\+1d"):
        feed(tmp_path, "*.csv", dataset="fx_rates", mapping=MAPPING, known_at="event+1h")
