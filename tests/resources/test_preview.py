"""What the preview of a file proposes reads that file, and what it cannot tell is said."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
import yaml

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable
from resources.clock import SystemClock
from resources.sources.files import Files
from resources.sources.open import open_source
from resources.sources.preview import preview

XNYS = calendar("XNYS")
DAYS = XNYS.between(date(2024, 3, 4), date(2024, 3, 15))


def rows(day: str, head: str = "Ticker,Date,Open,High,Low,Close,Volume", mark: str = ",") -> str:
    """Ten sessions of one name, with days in a form."""
    lines = [head, *(f"NO,{d.strftime(day)},1.5,2.5,1.25,1.75,1000" for d in DAYS)]
    return "\n".join([line.replace(".", ",").replace(",", mark) if mark != "," else line for line in lines]) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rows("%Y-%m-%d"), []),
        (rows("%d/%m/%Y"), ["%d/%m/%Y or %m/%d/%Y", "decides for %d/%m/%Y"]),
        (rows("%m/%d/%Y"), []),
        (rows("%Y%m%d"), []),
        (rows("%d-%b-%Y"), []),
        (rows("%Y-%m-%d") + "Total,,,,,,10000\n", []),
        (rows("%Y-%m-%d", "whose,trade_date,o,h,l,c,vol"), ["no column is a symbol"]),
        (rows("%Y-%m-%d", "instrument,Datum,o,h,l,c,vol"), []),
    ],
)
def test_what_is_proposed_reads_the_file(tmp_path: Path, text: str, said: list[str]) -> None:
    """The YAML of the preview, pasted, gives every row that the preview counted; an ambiguous day is named with what
    decides it.
    """
    (tmp_path / "p.csv").write_text(text)
    found = preview(str(tmp_path / "p.csv"), XNYS)
    for words in said:
        assert any(words in note for note in found.ambiguous) or found.yaml == ""
    if not found.yaml:
        return
    assert (found.kept, found.rows - found.kept) == (len(DAYS), text.count("Total"))
    source = open_source(yaml.safe_load(found.yaml)["source"], XNYS, cache=tmp_path, clock=SystemClock())
    assert isinstance(source, Files)
    assert [d for label in source.labels() for d in source.fetch(label).prices["session"].to_list()] == list(DAYS)
    assert set(source.fetch(DAYS[0]).prices["symbol"]) <= {"NO", "p"}


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([int(f"{d:%Y%m%d}") for d in DAYS], "%Y%m%d"),
        ([(d - date(1899, 12, 30)).days for d in DAYS], "excel"),
        ([(d - date(1970, 1, 1)).days * 86_400_000 for d in DAYS], "unit: ms"),
    ],
)
def test_numbers_as_days_are_proposed_in_their_unit(tmp_path: Path, values: list[int], written: str) -> None:
    """A typed column of numbers is proposed in the one unit or format in which it is a plausible day."""
    frame = pl.DataFrame(
        {"symbol": "A", "date": values, "open": 1.0, "high": 2.0, "low": 1.0, "close": 1.0, "volume": 5}
    )
    frame.write_parquet(tmp_path / "p.parquet")
    found = preview(str(tmp_path / "p.parquet"), XNYS)
    assert found.kept == len(DAYS)
    assert written in found.yaml


def test_a_preview_says_what_would_be_refused(tmp_path: Path) -> None:
    """Reasons with the first place; an adjusted close and bars within the day are pointed out; a file that is none is
    an error.
    """
    text = (
        rows("%Y-%m-%d")
        .replace("2024-03-04,1.5", "2024-03-04,x")
        .replace("Volume", "Volume,Adj Close")
        .replace(",1000\n", ",1000,1.75\n")
    )
    (tmp_path / "p.csv").write_text(text)
    found = preview(str(tmp_path / "p.csv"), XNYS)
    assert [(why.reason, why.rows, why.first) for why in found.refused] == [("open is not a number", 1, "p.csv:2")]
    assert any("whole history of adjusted closes" in note for note in found.ambiguous)
    minutes = [f"A,2024-03-04 {h:02}:30:00-05:00,1,2,1,1,5" for h in range(9, 16)]
    (tmp_path / "m.csv").write_text("\n".join(["symbol,time,open,high,low,close,volume", *minutes, ""]))
    assert any("intraday_bars" in note for note in preview(str(tmp_path / "m.csv"), XNYS).ambiguous)
    with pytest.raises(CaptureUnreadable, match="no such file"):
        preview(str(tmp_path / "absent.csv"), XNYS)


def test_blank_cells_do_not_hide_how_days_are_written(tmp_path: Path) -> None:
    """A summary row has no day: in a short file it is a large part of the rows, and says nothing of the form."""
    (tmp_path / "p.csv").write_text(
        rows("%Y-%m-%d").split("\n", 3)[0] + "\nNO,2024-03-04,1,2,1,1,5\nTotal,,,,,,5\n,,,,,,\n"
    )
    found = preview(str(tmp_path / "p.csv"), XNYS)
    assert not [note for note in found.ambiguous if "no form" in note]
