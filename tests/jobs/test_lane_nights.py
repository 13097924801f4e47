"""Christmas in a home of two venues: both close early on the 24th, London rests on the 26th too, and in the night a
closure of London alone is announced. By day and by range everything comes out the same, and in time.
"""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from desk.day import arrive, derive
from desk.workspace import Workspace
from quant_assets.backtest.loop import run
from quant_assets.contract import Table
from quant_assets.market_data.closures import close
from quant_assets.records import Act
from quant_assets.tables import CALENDAR_CHANGES, DECISIONS, FILLS, NAV, POSITIONS, SCORES
from tests.jobs.test_calendar_changes import Closed
from tests.jobs.two_venues import CHRISTMAS, lived, workspace

CALLED_OFF, LAST = date(2025, 12, 29), date(2025, 12, 30)
NEW_YORK = [date(2025, 12, day) for day in (22, 23, 24, 26, 29, 30)]
LONDON = [date(2025, 12, day) for day in (22, 23, 24, 30)]


def opened(home: Path) -> Workspace:
    """The home, where London's vendor sends nothing of the day that is called off."""
    listed = workspace(home.parent / "listed", CHRISTMAS).lane_of("XLON").source  # made with the calendar as listed
    vendor = Closed(listed, CALLED_OFF)
    vendor.name = listed.name
    ws = workspace(home, CHRISTMAS)
    ws.lane_of("XLON").source = vendor
    return ws


@pytest.fixture(scope="module")
def live(christmas: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Christmas, day by day: the closure is heard of on the evening of the 23rd's London session."""
    home = Path(shutil.copytree(christmas, tmp_path_factory.mktemp("nights") / "home"))
    before = workspace(home, CHRISTMAS)
    london = before.lane_of("XLON")
    act = Act(by="ops", reason="mourning", at=london.cuts.of(date(2025, 12, 23)))
    calendar, knowledge = london.cuts.calendar, london.knowledge
    close(before.store, knowledge, before.ledger.audit, calendar, CALLED_OFF, act=act, now=london.clock.now())
    ws = opened(home)
    lived(ws, LAST)
    return ws


def rows(ws: Workspace, table: Table, columns: tuple[str, ...] | list[str], **where: Any) -> pl.DataFrame:
    found = ws.store.read(table, as_of=None, where=where).filter(pl.col("session") >= CHRISTMAS.start)
    return found.select(columns).sort(columns)


def test_every_session_is_decided_in_time(live: Workspace) -> None:
    """Each by its cut, before the auction at which it trades; the closure moved London's alone."""
    for lane, strategy, sessions in zip(live.lanes, ("small", "late"), (NEW_YORK, LONDON), strict=True):
        assert lane.cuts.calendar.between(CHRISTMAS.start, LAST) == sessions
        decided = rows(live, DECISIONS, ["session", "as_of", "valid_until", "reason"], strategy=strategy)
        assert decided["session"].unique().sort().to_list() == sessions
        for session, as_of, until in decided.select("session", "as_of", "valid_until").unique().iter_rows():
            assert (as_of, until) == (lane.cuts.of(session), lane.cuts.trades_at(session))
            assert as_of < until
        assert "LATE" not in decided["reason"].to_list()
    eve = live.lane_of("late").cuts.of(date(2025, 12, 24))
    assert f"{eve:%Y-%m-%d %H:%M}" == "2025-12-30 16:15"


def test_an_early_close_is_where_london_trades(live: Workspace) -> None:
    """On the 24th its auction is at half past twelve; on the day that was called off it has none."""
    filled = dict(rows(live, FILLS, ["session", "ts"], book="late_paper").unique().iter_rows())
    assert set(filled) == {date(2025, 12, 23), date(2025, 12, 24), LAST}
    assert f"{filled[date(2025, 12, 24)]:%H:%M}" == "12:30"
    assert CALLED_OFF in rows(live, FILLS, ["session"], book="paper")["session"].to_list()


def test_a_range_decides_what_the_days_decided(live: Workspace, christmas: Path, tmp_path: Path) -> None:
    """With the closure known as it was known then, to the bit."""
    home = Path(shutil.copytree(christmas, tmp_path / "home"))
    workspace(home, CHRISTMAS).store.append(CALENDAR_CHANGES, live.store.read(CALENDAR_CHANGES, as_of=None))
    ws = opened(home)
    for lane, sessions in zip(ws.lanes, (NEW_YORK, LONDON), strict=True):
        list(arrive(lane, sessions[-1]))
        list(derive(lane, sessions))
    for table in (SCORES, DECISIONS):
        columns = [c for c in table.content if c != "known_at"]
        one, other = rows(ws, table, columns), rows(live, table, columns)
        assert one.height
        assert one.equals(other), table.name


def test_a_research_book_has_the_cents_of_the_live_one(live: Workspace) -> None:
    for lane, research, traded in zip(live.lanes, ("research", "late_research"), ("paper", "late_paper"), strict=True):
        sessions = lane.cuts.calendar.between(CHRISTMAS.start, LAST)
        run(lane.store, lane.deployment.strategies[0], lane.deployment.book(research), lane.cuts, sessions)
        for table, columns in (
            (NAV, ["session", "equity", "cash"]),
            (POSITIONS, ["session", "sid", "quantity", "value"]),
            (FILLS, ["session", "sid", "side", "quantity", "price", "fee", "ts"]),
        ):
            here, there = (rows(live, table, columns, book=book) for book in (research, traded))
            assert here.height
            assert here.equals(there), table.name
