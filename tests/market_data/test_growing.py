"""Deliveries of which a part is known before the whole: a day under way, a file that reaches past the present, a file
to which a line is added each day.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.market_data.arrivals import arrivals
from quant_assets.vendor_tables import FX_RATES
from resources.sources.tabular import Feed, Tabular
from resources.tables.store import DeltaStore

FIRST, RULE, DAY = date(2025, 3, 3), calendar("24/7"), timedelta(days=1)
DAYS = [FIRST + n * DAY for n in range(9)]
MAPPING = {"session": "day", "base": "base", "quote": "quote", "rate": "rate"}


class Notices:
    """A notifier that keeps what it was given."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def notify(self, _severity: str, subject: str, body: str = "") -> None:
        """See the port."""
        self.sent.append(f"{subject}: {body}")


@pytest.fixture
def notices() -> Iterator[Notices]:
    """Nothing is to be sent."""
    one = Notices()
    yield one
    assert one.sent == []


def written(folder: Path, days: list[date], rate: float = 1.0) -> Tabular:
    """A file of rates, each known at the midnight after its day."""
    lines = [f"{d},EUR,USD,{rate + (d - FIRST).days / 100:.2f}" for d in days]
    (folder / "fx.csv").write_text("\n".join(["day,base,quote,rate", *lines, ""]))
    return Tabular(Feed("fx_rates", str(folder / "fx.csv"), MAPPING, known_at="event+1d"))


def ingested(store: DeltaStore, source: Tabular, notices: Notices, day: date, cut: datetime | None) -> datetime:
    """Ingest in the evening of a day, when what the midnight before made known is read; that moment."""
    now = datetime.combine(day, time(20), UTC)
    assert arrivals(source, store, notices, cut, now, day, RULE).state in {"done", "empty"}
    return now


def rows(store: DeltaStore, as_of: datetime | None = None) -> pl.DataFrame:
    """The versions stored."""
    shown = ("session", "base", "quote", "rate", "known_at", "declared_known_at")
    return store.read(FX_RATES, as_of=as_of).select(shown).sort("session", "known_at")


@pytest.mark.parametrize("grows", [False, True], ids=["reaches past the present", "grows by a line a day"])
def test_each_row_is_there_when_it_is_known(tmp_path: Path, notices: Notices, grows: bool) -> None:
    """Day by day each row is read from the moment on at which it is declared known; a range has the same rows."""
    store, cut = DeltaStore(tmp_path / "days"), None
    for day in DAYS[:-1]:
        source = written(tmp_path, [d for d in DAYS if d <= day] if grows else DAYS)
        cut = ingested(store, source, notices, day, cut)
        assert rows(store, cut)["session"].to_list() == [d for d in DAYS if d < day]
    one = DeltaStore(tmp_path / "range")
    ingested(one, written(tmp_path, DAYS), notices, DAYS[-2], None)
    assert rows(store).equals(rows(one))


def test_a_correction_of_what_came_already_is_known_when_it_comes(tmp_path: Path, notices: Notices) -> None:
    """The rest is known as declared, and a row that was sent otherwise before, at its arrival."""
    store = DeltaStore(tmp_path / "days")
    cut = ingested(store, written(tmp_path, DAYS), notices, DAYS[4], None)
    lines = (tmp_path / "fx.csv").read_text().replace("1.01", "1.5")
    source = written(tmp_path, DAYS)
    (tmp_path / "fx.csv").write_text(lines)
    now = ingested(store, source, notices, DAYS[6], cut)
    late = rows(store).filter(pl.col("known_at") != pl.col("declared_known_at"))
    assert late.select("session", "rate", "known_at").rows() == [(DAYS[1], 1.5, now)]
    assert rows(store, cut).filter(session=DAYS[1])["rate"].to_list() == [1.01]
    assert rows(store).filter(session=DAYS[5])["known_at"].to_list() == [datetime.combine(DAYS[6], time(), UTC)]


def test_an_earlier_day_that_is_run_again_takes_nothing_back(tmp_path: Path, notices: Notices) -> None:
    """What was known later is there already."""
    store, source = DeltaStore(tmp_path / "days"), written(tmp_path, DAYS)
    cut = ingested(store, source, notices, DAYS[5], None)
    before = rows(store)
    ingested(store, source, notices, DAYS[2], cut)
    assert rows(store).equals(before)
