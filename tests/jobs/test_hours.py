"""`quant run daily` of a strategy that decides by the hour, by the wall: slots as they come, then the session's end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import dagster as dg
import msgspec
import polars as pl
import pytest

from desk.day import arrive, derive, run_day, slots_in, what_is_done
from desk.deployment import Market
from desk.workspace import Workspace
from jobs.definitions import build
from jobs.execute import runner
from jobs.live import Exit, due_in_order, outcome, run_daily
from jobs.next_step import next_step
from quant_assets.calendars.slots import slots
from quant_assets.market_data.markets import named
from quant_assets.signals.why import why
from quant_assets.tables import DECISIONS, NAV
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.clock import SessionClock
from resources.notices.queue import Queue
from tests.desk.live_slots import BOOK, SESSIONS, TRAINED, opened, reopened, rows
from tests.desk.test_slots import STRATEGY
from tests.jobs import two_venues
from tests.signals import hourly_market as market

AT = slots(market.ALWAYS, market.EVERY, SESSIONS[0])[0].cut


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On the evening before the first slot."""
    ws = opened(tmp_path_factory.mktemp("hours"), live=True)
    list(run_day(ws, TRAINED))
    return ws.home


def test_what_is_due_by_the_hour(home: Path, tmp_path: Path) -> None:
    """Two slots in time, the rest of the day missed: its end comes before the first slot of the next day; what was
    missed is LATE, and nothing of it was sent.
    """
    planned = slots_in(reopened(home, live=True), SESSIONS)
    clock = SessionClock(planned[0].cut)
    ws = reopened(copytree(home, tmp_path / "home"), live=True, clock=clock)
    with runner(ws) as started:
        for slot in planned[:2]:
            clock.set(slot.cut + timedelta(seconds=5))
            assert due_in_order(ws, None) == [(ws, slot)]
            assert next_step(ws).text == f"the slot {slot.slot} of {slot.session} is the next to be run"
            steps = list(run_daily(started, due_in_order(ws, None)))
            assert [(s.job, s.session) for s in steps] == [("run_slots", slot.session)]
            assert outcome(steps) is Exit.DONE
            assert due_in_order(ws, None) == []
        assert "2026-02-08 02:00:20 UTC, when 2026-02-08 02:00 is decided" in next_step(ws).text
        clock.set(planned[24].cut)
        assert due_in_order(ws, None) == [(ws, SESSIONS[0]), (ws, planned[24])]
        list(run_daily(started, due_in_order(ws, None)))
        assert due_in_order(ws, None) == []
    assert set(why(ws.store, STRATEGY.name, SESSIONS[0], "05:00")["reason"]) == {"LATE"}
    assert "LATE" not in set(why(ws.store, STRATEGY.name, SESSIONS[0], "00:00")["reason"])
    subjects = [n.subject for n in Queue(ws.home).unanswered()]
    assert [s for s in subjects if f"slot(s) of {SESSIONS[0]}" in s] == [
        f"{BOOK.name}: 22 slot(s) of {SESSIONS[0]} were too late"
    ]
    decided = rows(ws, DECISIONS)
    late = set(decided.filter(reason="LATE")["slot"])
    assert late == {s.slot for s in planned[2:24]}
    assert rows(ws, NAV)["session"].to_list() == SESSIONS[:1]
    sent = {(w.order.session, w.order.slot) for w in ws.ledger.outbox.orders(BOOK.name)}
    assert sent <= {(s.session, s.slot) for s in (*planned[:2], planned[24])}
    assert len(sent) > 1


def test_a_historical_run_goes_through_the_slots(home: Path, tmp_path: Path) -> None:
    """The next session: each of its slots, and its end."""
    ws: Workspace = reopened(copytree(home, tmp_path / "home"), live=True)
    ((lane, session),) = due_in_order(ws, None)
    assert (lane, session) == (ws, SESSIONS[0])
    with runner(ws) as started:
        steps = list(run_daily(started, [(lane, session)]))
    assert [s.job for s in steps] == ["run_slots", "daily", "deliver", "post_trade", "today"]
    planned = len(slots_in(ws, [SESSIONS[0]]))
    for of in (steps[0].assets["slots"], steps[1].assets["decisions"]):
        assert (of["slots_due"], of["slots_decided"], of["slots_late"]) == (planned, planned, 0)
    assert steps[1].assets["champion"]["reason"] == "no month ends in these sessions"
    assert str(steps[0].assets["slots"]["table"]).count("decided") == planned
    ((_, following),) = due_in_order(ws, None)
    assert following == SESSIONS[1]


@pytest.fixture(scope="module")
def repository(home: Path) -> dg.RepositoryDefinition:
    """What Dagster loads of a home of hours, by the wall: five minutes after a slot that nobody ran."""
    return build(reopened(home, live=True, clock=SessionClock(AT + timedelta(minutes=5)))).get_repository_def()


def test_dagster_has_sessions_and_no_slots(repository: dg.RepositoryDefinition) -> None:
    """Everything of a day is there beside the slots, a partition a session or a quarter, and all jobs load."""
    repository.validate_loadable()
    repository.asset_graph.validate_partitions()
    nodes = {n.key.to_user_string(): n for n in repository.asset_graph.asset_nodes if n.is_materializable}
    features = "features_two_returns_1h_nine"
    assert {"slots", "bars", features, "labels", "champion", "scores", "decisions", "orders", "fills"} <= set(nodes)
    assert {"positions", "report", f"history/{features}", "history/decisions", "research_books_traded"} <= set(nodes)
    assert "feature_drift" not in nodes
    sessions = dict.fromkeys(str(d) for d in market.ALWAYS.between(SESSIONS[0], SESSIONS[0] + timedelta(days=61)))
    for name in ("slots", "decisions", "report"):
        assert nodes[name].partitions_def.get_partition_keys(datetime(2026, 4, 9, 12, tzinfo=UTC)) == list(sessions)  # type: ignore[union-attr]
    assert {"daily", "deliver", "run_slots", "backfill", "retrain"} <= {j.name for j in repository.get_all_jobs()}


@pytest.mark.parametrize(
    ("minutes", "session"),
    [(0, None), (1, str(SESSIONS[0])), (2, None), (60 * 23 + 1, str(SESSIONS[0])), (60 * 24 + 1, str(SESSIONS[1]))],
)
def test_the_schedule_asks_at_the_cut_of_a_slot(
    repository: dg.RepositoryDefinition, minutes: int, session: str | None
) -> None:
    """Within the minute after the cut, 20 seconds past the hour; the session is the partition."""
    schedule = repository.get_schedule_def("slots_as_they_come")
    assert schedule.cron_schedule == "1 * * * *"
    midnight = datetime(2026, 2, 8, tzinfo=UTC)
    context = dg.build_schedule_context(
        scheduled_execution_time=midnight + timedelta(minutes=minutes), repository_def=repository
    )
    answer = schedule.evaluate_tick(context)
    assert [r.partition_key for r in answer.run_requests or []] == ([session] if session else [])


def test_the_sensor_goes_on_with_a_slot_that_was_left(repository: dg.RepositoryDefinition) -> None:
    """What the schedule left is started again within the bar."""
    sensor = repository.get_sensor_def("sessions_left")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=repository)
        asked = sensor.evaluate_tick(context).run_requests or []
    assert [(r.job_name, r.partition_key) for r in asked] == [("run_slots", str(SESSIONS[0]))]


def test_hours_beside_days(tmp_path: Path) -> None:
    """In a home of New York's days a lane of another market's hours loads with the definitions, and its slots run from
    the first one on: a new book begins with its capital, compared with the venue.
    """
    there: Any = {"kind": "bars_of", "venue": market.VENUE, "frequency": "1h", "delay": 20}
    whole = msgspec.structs.replace(
        two_venues.deployment(),
        strategies=(two_venues.NEW_YORK, STRATEGY),
        markets=(Market(calendar="24/7", source=there),),
        books=(BOOK,),
        bars=(market.ON_BARS,),
        start=SESSIONS[1],
    )
    ws = two_venues.workspace(tmp_path, whole)
    own, hours = ws.lanes
    ws.store.append(INTRADAY_BARS, market.bars().with_columns(source=pl.lit(named("x", "24/7"))))
    list(arrive(hours, TRAINED))
    list(derive(hours, [d for d in market.DAYS if d <= TRAINED], train_at=[TRAINED]))
    list(derive(hours, SESSIONS[:1], train_at=[]))
    assert due_in_order(ws, None, own.name) == []
    assert due_in_order(ws, None) == [(hours, SESSIONS[1])]
    with runner(ws) as started:
        names = {job.name for job in started.definitions.resolve_all_job_defs()}
        assert {"daily", "run_slots_24_7", "daily_24_7", "backfill_24_7"} <= names
        steps = list(run_daily(started, [(hours, SESSIONS[1])]))
    assert [s.job for s in steps] == [f"{n}_24_7" for n in ("run_slots", "daily", "deliver", "post_trade", "today")]
    assert steps[0].assets["slots"]["state"] == "done", steps[0].assets["slots"]
    assert {w.order.slot for w in ws.ledger.outbox.orders(BOOK.name)} >= {"00:00", "01:00"}
    assert what_is_done(hours, SESSIONS[1:])[BOOK.name][SESSIONS[1]].next_job is None
