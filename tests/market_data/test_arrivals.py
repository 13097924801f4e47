"""What a run takes in of a source, and what it tells of it: deliveries that are lost, sources that cannot be read,
changes of sessions long past.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.errors import CaptureUnreadable, ContractViolation
from quant_assets.market_data.arrivals import arrivals
from quant_assets.market_data.restatements import watching
from quant_assets.records import Capture
from quant_assets.tables import BARS
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAYS = [XNYS.shift(date(2016, 3, 7), i) for i in range(90)]


class Told:
    """A Notifier that remembers subjects and bodies."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port."""
        self.said.append(f"{severity}: {subject}: {body}")


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(tmp_path)


def arrive(store: DeltaStore, source: Any, told: Told, now: datetime = NOW) -> Any:
    """What a run does with a source."""
    with watching(store, Cuts(XNYS), told, DAYS[-1]):
        return arrivals(source, store, told, None, now, DAYS[-1], XNYS)


def said(capture: Callable[..., Capture], close: float = 10.0, count: int = 90) -> Mapping[date, Capture]:
    """Two names; the close of one on the first day."""
    return {d: capture(d, [("AA", d, close if d == DAYS[0] else 10.0), ("BB", d, 20.0)]) for d in DAYS[:count]}


def test_a_lost_delivery_is_told_once(store: DeltaStore, capture: Callable[..., Capture], captures: Any) -> None:
    """A delivery that is gone makes the report refused and is told, once; its rows stand, and when it is back nothing
    is taken in.
    """
    told, every = Told(), said(capture, count=4)
    arrive(store, captures(every), told)
    rest = captures({d: c for d, c in every.items() if d != DAYS[1]})
    first, again = (arrive(store, rest, told, NOW + timedelta(days=n)) for n in (1, 2))
    assert (first.state, again.state) == ("refused", "empty")
    assert len(told.said) == 1
    assert f"1 ingested delivery(s) have disappeared, {DAYS[1]}" in told.said[0]
    assert arrive(store, captures(every), told, NOW + timedelta(days=3)).state == "empty"
    assert store.read(BARS, as_of=None)["withdrawn"].any() is False


@pytest.mark.parametrize(
    "error", [CaptureUnreadable("the folder is not mounted"), ContractViolation("a column is gone")]
)
def test_a_source_that_cannot_be_read_is_refused_and_told(store: DeltaStore, error: Exception) -> None:
    """It ends in a report and a notice, not in an exception that would keep the sources after it from being taken
    in.
    """

    class Broken:
        name = "broken"

        def labels(self, *_: date | None) -> Sequence[date]:
            """See the port."""
            raise error

    told = Told()
    report = arrive(store, Broken(), told)
    assert (report.state, report.notes) == ("refused", (str(error),))
    assert told.said == [f"warning: broken: 1 delivery(s) could not be ingested: {error}"]


def test_a_correction_of_long_ago_is_told(store: DeltaStore, capture: Callable[..., Capture], captures: Any) -> None:
    """A file in which a close of a session more than a quarter back was corrected: somebody is told of it."""
    told = Told()
    arrive(store, captures(said(capture)), told)
    assert told.said == []
    arrive(store, captures(said(capture, 12.0)), told, NOW + timedelta(days=1))
    assert len(told.said) == 1
    assert "1 restated in bars" in told.said[0]
    assert f"AA {DAYS[0]}" in told.said[0]
