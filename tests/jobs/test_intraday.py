"""Feature sets on bars, as a deployment declares them: their assets, jobs and schedules."""

from datetime import UTC, date, datetime

import dagster as dg
import msgspec
import pytest

from desk.workspace import Workspace
from jobs.execute import Runner
from jobs.intraday import jobs, schedules
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars
from quant_assets.vendor_tables import INTRADAY_BARS
from tests.features.test_intraday import rows
from tests.jobs.small import deployment

DAYS = [date(2024, 3, 2), date(2024, 3, 3)]  # a Saturday and a Sunday
HOURLY = OnBars("price_volume_1h", "v", "24/7", 30)
NAME = "features_price_volume_1h_v"
JOB = f"publish_{NAME}"


@pytest.fixture
def ws(tmp_path) -> Workspace:
    """A home with a week-end of bars of an exchange that never closes."""
    made = Workspace(tmp_path / "home", msgspec.structs.replace(deployment(), bars=(HOURLY,)))
    made.store.append(INTRADAY_BARS, rows(2, DAYS, seconds=3600))
    return made


def test_a_venues_sessions_are_published(ws: Workspace) -> None:
    """The asset's partitions are the venue's own days, week-ends too; a run publishes one, known half a minute
    after each bar.
    """
    with dg.DagsterInstance.ephemeral() as instance:
        made = Runner(ws, instance).session(JOB, DAYS[1])[NAME]
    table = find_set(HOURLY.feature_set).table
    stored = ws.store.read(table, as_of=None)
    assert made["rows"] == stored.height > 40
    assert set(stored["ts"].dt.date()) == {DAYS[1]}
    assert ((stored["known_at"] - stored["ts"]).dt.total_seconds() == 3630).all()


@pytest.mark.parametrize(
    ("calendar", "now", "session"),
    [
        ("24/7", datetime(2024, 3, 3, 12, 0, tzinfo=UTC), "2024-03-03"),
        ("24/7", datetime(2024, 3, 3, 0, 0, tzinfo=UTC), "2024-03-02"),  # what ended at midnight
        ("XNYS", datetime(2024, 3, 4, 15, 0, tzinfo=UTC), "2024-03-04"),
        ("XNYS", datetime(2024, 3, 4, 21, 15, tzinfo=UTC), "2024-03-04"),  # once after the close
        ("XNYS", datetime(2024, 3, 4, 21, 30, tzinfo=UTC), None),
        ("XNYS", datetime(2024, 3, 4, 14, 15, tzinfo=UTC), None),
        ("XNYS", datetime(2024, 3, 3, 15, 0, tzinfo=UTC), None),
    ],
)
def test_the_schedule_asks_while_the_venue_is_open(calendar: str, now: datetime, session: str | None) -> None:
    """The session that is open, or has just closed, is asked for; otherwise nothing is."""
    declared = (msgspec.structs.replace(HOURLY, calendar=calendar),)
    (schedule,) = schedules(declared, jobs(declared))
    answer = schedule(dg.build_schedule_context(scheduled_execution_time=now))
    assert getattr(answer, "partition_key", None) == session
