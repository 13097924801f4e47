"""Price files with a declared mapping: typed, sliced by capture, known by rule."""

import gc
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from resources.clock import SystemClock
from resources.sources.files import ColumnMapping, Files
from resources.sources.open import open_source

XNYS = calendar("XNYS")
BY_LABEL = ColumnMapping(session="date", adj_close="adj_close", label="captured_on")


def frame(**columns: Sequence[object]) -> pl.DataFrame:
    base: dict[str, Sequence[object]] = {
        "symbol": ["A", "A", "B"],
        "date": [date(2015, 4, 2), date(2015, 4, 1), date(2015, 4, 2)],
        "open": [1.0] * 3,
        "high": [2.0] * 3,
        "low": [1.0] * 3,
        "close": [1.5] * 3,
        "volume": [10, 20, 30],
        "adj_close": [1.5, None, 1.4],
        "captured_on": [date(2015, 4, 2), date(2015, 4, 1), date(2015, 4, 2)],
    }
    return pl.DataFrame({**base, **columns})


def files(
    folder: Path,
    data: pl.DataFrame,
    mapping: ColumnMapping = BY_LABEL,
    known_at: str = "label+1d@13:00",
    listings: Path | None = None,
) -> Files:
    data.write_parquet(folder / "p.parquet")
    return Files(folder / "p.parquet", mapping, XNYS, known_at=known_at, listings=listings)


def test_a_column_that_nobody_mapped_is_not_used(tmp_path: Path) -> None:
    """An adj_close beside the mapped columns tells no action, whatever stands in it."""
    unmapped = ColumnMapping(session="date", label="captured_on")
    source = files(tmp_path, frame(adj_close=[0.0, None, 1e9]), unmapped)
    assert source.fetch(date(2015, 4, 2)).prices["adj_close"].to_list() == [None, None]


def test_rows_go_with_their_label_and_keep_their_line(tmp_path: Path) -> None:
    """A capture holds the rows of its label in the file's order, with the row numbers of the file."""
    source = files(tmp_path, frame())
    assert list(source.labels()) == [date(2015, 4, 1), date(2015, 4, 2)]
    capture = source.fetch(date(2015, 4, 2))
    assert capture.prices.select("symbol", "file", "line", "adj_close").rows() == [
        ("A", "p.parquet", 1, 1.5),
        ("B", "p.parquet", 3, 1.4),
    ]
    assert not capture.assumed
    assert capture.known_at == datetime(2015, 4, 3, 13, tzinfo=UTC)


def test_without_a_label_sessions_are_captures_and_knowledge_is_assumed(tmp_path: Path) -> None:
    """Knowledge follows the close, early on half days; rows of a day without a session are known after the next one."""
    days = [date(2015, 11, 27), date(2015, 4, 3), date(2015, 4, 2)]  # a half day, Good Friday, a whole day
    source = files(tmp_path, frame(date=days), ColumnMapping(session="date"), "close+1h")
    known = {d: source.fetch(d).known_at for d in source.labels()}
    assert known == {
        date(2015, 4, 2): datetime(2015, 4, 2, 21, tzinfo=UTC),
        date(2015, 4, 3): datetime(2015, 4, 6, 21, tzinfo=UTC),
        date(2015, 11, 27): datetime(2015, 11, 27, 19, tzinfo=UTC),
    }
    assert source.fetch(days[0]).assumed


def test_csv_and_parquet_give_the_same_prices(tmp_path: Path) -> None:
    """The same rows written as CSV are read as the same typed prices; only the line counts the header."""
    parquet = files(tmp_path, frame())
    frame().write_csv(tmp_path / "p.csv")
    csv = Files(tmp_path / "p.csv", BY_LABEL, XNYS, known_at="label+1d@13:00")
    assert list(csv.labels()) == list(parquet.labels())
    for label in csv.labels():
        one, two = csv.fetch(label).prices, parquet.fetch(label).prices
        assert one.drop("file", "line").equals(two.drop("file", "line"))
        assert (one["line"] - 1).to_list() == two["line"].to_list()


def test_rows_without_a_readable_label_are_not_lost(tmp_path: Path) -> None:
    """A row whose date cannot be read is reported as malformed in the capture of its neighbour."""
    (tmp_path / "p.csv").write_text(
        "symbol,date,open,high,low,close,volume\nA,2015-04-01,1,2,1,1,5\nB,yesterday,1,2,1,1,5\nA,2015-04-02,1,2,1,1,5\n"
    )
    source = Files(tmp_path / "p.csv", ColumnMapping(session="date"), XNYS, known_at="close+30m")
    assert source.fetch(date(2015, 4, 1)).malformed.select("line", "reason").rows() == [
        (3, "session is not a date YYYY-MM-DD")
    ]
    assert source.fetch(date(2015, 4, 2)).prices.height == 1


def test_malformed_rows_of_a_typed_file_show_their_content(tmp_path: Path) -> None:
    """Parquet has no lines of text; the fields are joined."""
    found = files(tmp_path, frame(close=[-1.5, 1.5, 1.5])).fetch(date(2015, 4, 2)).malformed
    assert found.rows() == [("p.parquet", 1, "A", "close is not positive", "A,2015-04-02,1.0,2.0,1.0,-1.5,10,1.5")]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    "order", [("date", "symbol"), ("symbol", "date"), ("open",)], ids=["by date", "by symbol", "in no order"]
)
def test_a_file_larger_than_a_stretch_gives_the_same_captures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, order: tuple[str, ...]
) -> None:
    """However the rows stand and however few are held at a time, captures have the same rows, lines and hashes; also a
    row whose date is unreadable, wherever a batch ends.
    """
    days = XNYS.between(date(2015, 4, 1), date(2015, 5, 1))
    price = [float(7 * n % 101 + 1) for n in range(5 * len(days))]
    data = pl.DataFrame(
        {
            "symbol": ["A", "Bé", "C", "D", "E"] * len(days),
            "date": [d for d in days for _ in range(5)],
            "open": price,
            "high": price,
            "low": price,
            "close": price,
            "volume": 1,
        }
    )
    data = data.sort(order).with_columns(
        pl.when(pl.int_range(pl.len()).is_in([0, 1, 2, 3, 4, 50, 77, 104])).then(None).otherwise("date").alias("date")
    )
    path = tmp_path / f"p.{suffix}"
    data.write_parquet(path) if suffix == "parquet" else path.write_text(
        data.write_csv(null_value="?").replace("D,", "\n\nD,").replace("\n", "\r\n")
    )
    mapping = ColumnMapping(session="date")
    whole = Files(path, mapping, XNYS, known_at="close+1h")
    expected = [whole.fetch(d) for d in whole.labels()]
    for rows, characters in ((1, 1), (3, 100), (40, 1000)):
        for module in ("reading.sheets", "large"):
            monkeypatch.setattr(f"resources.sources.{module}.ROWS", rows)
        monkeypatch.setattr("resources.sources.reading.splitting.CHARACTERS", characters)
        source = Files(path, mapping, XNYS, known_at="close+1h")
        labels = list(source.labels())
        assert labels == [c.label for c in expected]
        for one in reversed(expected):
            other = source.fetch(one.label)
            assert other.sha256 == one.sha256
            assert other.prices.equals(one.prices)
            assert other.malformed.equals(one.malformed)
            held = source._rows._held  # pyright: ignore[reportPrivateUsage]  # what is in memory is what this is about
            assert held is not None
            assert held[1].height <= max(rows, other.prices.height + other.malformed.height)
    assert sum(c.prices.height + c.malformed.height for c in expected) == data.height


def test_a_file_that_is_changed_meanwhile_is_unreadable(tmp_path: Path) -> None:
    """Rows of two states of a file are never mixed."""
    source = files(tmp_path, frame())
    labels = source.labels()
    frame(close=[1.5, 1.5, 1.6]).head(2).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(CaptureUnreadable, match="changed"):
        source.fetch(labels[0])


def test_what_was_put_down_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary rows of a file go with the source that put them there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("resources.sources.large.ROWS", 1)
    source = files(tmp_path, frame())
    source.fetch(date(2015, 4, 2))
    assert list(tmp_path.glob("rows-by-label-*/*"))
    del source
    gc.collect()
    assert not list(tmp_path.glob("rows-by-label-*"))


def test_listings_stand_between_their_captures_and_tell_no_end(tmp_path: Path) -> None:
    """At a capture the listings begun and not ended are given, without any date; overlapping names are the reader's to
    judge.
    """
    pl.DataFrame(
        {
            "symbol": ["A", "A", "B", "C"],
            "name": ["Old", "New", "Birch", "Cedar"],
            "first_capture": [date(2015, 4, 1), date(2015, 4, 2), date(2015, 4, 2), date(2015, 4, 1)],
            "last_capture": [date(2015, 4, 2), date(2015, 4, 9), date(2015, 4, 2), date(2015, 4, 1)],
        }
    ).write_parquet(tmp_path / "l.parquet")
    source = files(tmp_path, frame(), listings=tmp_path / "l.parquet")
    first, second = (source.fetch(d).listings for d in source.labels())
    assert first is not None
    assert second is not None
    assert first.rows() == [("A", "Old", None), ("C", "Cedar", None)]
    assert second.rows() == [("A", "New", None), ("A", "Old", None), ("B", "Birch", None)]


def test_a_capture_keeps_its_hash_when_the_file_grows(tmp_path: Path) -> None:
    """Rows of other captures, wherever they are put in, do not make a capture another one."""
    before = files(tmp_path, frame()).fetch(date(2015, 4, 2)).sha256
    grown = pl.concat(
        [
            frame()
            .filter(pl.col("date") == date(2015, 4, 1))
            .with_columns(pl.lit(date(2015, 3, 31)).alias("captured_on")),
            frame(),
        ]
    )
    assert files(tmp_path, grown).fetch(date(2015, 4, 2)).sha256 == before
    changed = frame(close=[1.5, 1.5, 1.6])
    assert files(tmp_path, changed).fetch(date(2015, 4, 2)).sha256 != before


@pytest.mark.parametrize(
    "rule",
    [
        "label+1d",
        "close+1d",
        "label+1h",
        "close+1h@13:00",
        "soon",
        "label+0d@13:00",
        "",
        "label+1d@25:00",
        "label+1d@13:60",
    ],
)
def test_a_rule_that_says_nothing_is_refused(tmp_path: Path, rule: str) -> None:
    """Only label+Nd@HH:MM with N ≥ 1 and close+N(h|m) are rules."""
    with pytest.raises(ConfigurationError, match="known_at"):
        Files(tmp_path / "p.parquet", BY_LABEL, XNYS, known_at=rule)


def test_a_wrong_mapping_or_file_says_what_is_there(tmp_path: Path) -> None:
    """A column that does not exist, a file that does not or is none: errors that name it."""
    with pytest.raises(ConfigurationError, match=r"'day'.*'date'"):
        files(tmp_path, frame(), ColumnMapping(session="day")).labels()
    for name, content in (("absent.parquet", None), ("absent.csv", None), ("junk.parquet", b"junk")):
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(CaptureUnreadable, match=name):
            Files(tmp_path / name, BY_LABEL, XNYS, known_at="close+1h").labels()


def test_a_deployment_opens_it(tmp_path: Path) -> None:
    """Paths, mapping and rule come from the declaration."""
    frame().write_parquet(tmp_path / "p.parquet")
    declared = {
        "kind": "files",
        "prices": str(tmp_path / "p.parquet"),
        "mapping": {"session": "date", "label": "captured_on"},
        "known_at": "label+1d@13:00",
    }
    assert len(open_source(declared, XNYS, cache=Path(), clock=SystemClock()).labels()) == 2
    with pytest.raises(ConfigurationError, match="sesion"):
        open_source({**declared, "mapping": {"sesion": "date"}}, XNYS, cache=Path(), clock=SystemClock())


def test_the_real_panel_loads(shared_data: Path) -> None:
    """1,607,340 rows in 323 captures, none lost; CB on 2016-01-14 is one instrument in one capture and another in the
    next.
    """
    folder = shared_data / "pystock"
    source = Files(
        folder / "prices_20150323_20160630.parquet",
        BY_LABEL,
        XNYS,
        known_at="label+1d@13:00",
        listings=folder / "listings_to_20160630.parquet",
    )
    labels = list(source.labels())
    assert len(labels) == 323
    assert date(2015, 6, 10) not in labels
    heights = [c.prices.height + c.malformed.height for c in map(source.fetch, labels)]
    assert sum(heights) == 1_607_340
    chubb = [
        source.fetch(d).prices.filter(symbol="CB", session=date(2016, 1, 14))["close"].to_list()
        for d in (date(2016, 1, 14), date(2016, 1, 15))
    ]
    assert [round(c[0], 2) for c in chubb] == [127.26, 111.02]
