"""What Dagster loads: which assets, checks, jobs and triggers there are, when they fire, and that a day run through
them is the day itself.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import msgspec
import pytest

from desk.workspace import Workspace
from jobs import sensors
from jobs.definitions import build
from jobs.execute import Runner, runner
from jobs.left import left_lately
from jobs.live import Exit, Step, outcome, run_daily
from quant_assets.assets import session_partitions
from quant_assets.calendars import calendar as venue
from quant_assets.errors import CalendarUnknown, ConfigurationError
from quant_assets.features import declared
from quant_assets.market_data.quality import RULES
from quant_assets.records import frame_hash
from quant_assets.tables import VERDICTS
from resources.clock import SessionClock
from tests.jobs.small import CUTS, FIRST, LAST, LIVE, PAPER, START, STRATEGY, TABLES, content, deployment, workspace

SETS = ("alpha158", "cross_sectional", "price_volume", "style", "technical")
GROUPS = {
    "0_today": ["day_status"],
    "1_market_data": ["actions", "bars", "listings", "quarantine", "universe", "verdicts"],
    "2_features": ["features_price_volume", "labels"],
    "3_models": ["champion", "feature_drift", "scores"],
    "4_signals": ["decisions"],
    "5_execution": ["fills", "orders"],
    "6_post_trade": ["costs", "positions", "reconciliation", "report"],
    "9_research": [
        *(f"explorer_{name}" for name in SETS),
        *(f"history/{name}" for name in ("champion", "decisions")),
        *(f"history/features_{name}" for name in SETS),
        *(f"history/{name}" for name in ("labels", "market_data")),
        "research_books_traded",
        "research_report",
    ],
}
CHECKS = {
    "bars": sorted(["great_expectations", *(r.name for r in RULES)]),
    "features_price_volume": ["no_look_ahead"],
    **{f"history/features_{name}": ["no_look_ahead"] for name in SETS},
    "day_status": sorted(
        ["acts", "booked", "breaks", "data", "decisions", "heartbeat", "kill_switch", "model", "orders", "report"]
    ),
}
JOBS = {  # and their steps; market_data makes bars, actions, listings and quarantine
    "backfill": [
        "history__champion",
        "history__decisions",
        "history__features_price_volume",
        "history__features_price_volume_no_look_ahead",
        "history__labels",
        "history__market_data",
        "research_books_traded",
        "research_report",
    ],
    "daily": [
        "champion",
        "decisions",
        "feature_drift",
        "features_price_volume",
        "features_price_volume_no_look_ahead",
        "fills",
        "labels",
        "market_data",
        "positions",
        "quality",
        "reconciliation",
        "scores",
        "universe",
        "verdicts",
    ],
    "data_docs": ["bars_great_expectations"],
    "deliver": ["orders"],
    "maintenance": ["upkeep"],
    "post_trade": ["costs", "report"],
    "retrain": ["champion"],
    "today": ["day_questions", "day_status"],
}
SENSORS = {
    "new_decisions": "deliver",
    "orders_delivered": "post_trade",
    "report_published": "today",
}
SCHEDULES = {
    "daily_at_decision_time": ("daily", "15 9 * * 1-5", "America/New_York"),
    "weekly_maintenance": ("maintenance", "0 6 * * 6", "UTC"),
}

THIN, TRADED = LIVE[:2]


@dataclass
class Ran:
    """Two days run through Dagster in one process, the second one twice."""

    ws: Workspace
    runner: Runner
    thin: list[Step]
    traded: list[Step]
    again: list[Step]
    checks: Mapping[date, Mapping[str, bool]]  # by session and check
    before: object
    after: object


def stands(ws: Workspace) -> object:
    """All that a rerun must not change: the rows and versions of the tables, our orders and fills, the venue's
    orders.
    """
    tables = {t.name: (ws.store.version(t), frame_hash(content(ws, t))) for t in TABLES}
    return (
        tables,
        ws.ledger.outbox.orders(PAPER.name),
        ws.ledger.executions.fills(PAPER.name),
        ws.brokers.open(PAPER).events(None).orders,
    )


def checked(instance: dg.DagsterInstance) -> dict[str, bool]:
    """Whether each check passed when it was last asked."""
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for asset, names in CHECKS.items() for name in names]
    latest = {k.name: instance.get_latest_asset_check_evaluation_record(k) for k in keys}
    return {name: record.status.value == "SUCCEEDED" for name, record in latest.items() if record}


@pytest.fixture(scope="module")
def ran(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    ws = workspace(Path(shutil.copytree(prepared, tmp_path_factory.mktemp("dagster") / "home")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")  # set by what follows, and put back after it
        patch.setattr(declared, "DECLARED", {})  # what other tests declare is none of this deployment's
        with runner(ws) as started:
            thin = list(run_daily(started, [THIN]))
            of_thin = checked(started.instance)
            traded = list(run_daily(started, [TRADED]))
            of_traded, before = checked(started.instance), stands(ws)
            again = list(run_daily(started, [TRADED]))
            yield Ran(ws, started, thin, traded, again, {THIN: of_thin, TRADED: of_traded}, before, stands(ws))


@pytest.fixture(scope="module")
def repository(ran: Ran) -> dg.RepositoryDefinition:
    return ran.runner.definitions.get_repository_def()


def test_every_asset_is_in_its_group(repository: dg.RepositoryDefinition) -> None:
    """The groups, numbered in the order of the flow, and their assets; each with an owner and a runbook."""
    nodes = sorted(
        (n for n in repository.asset_graph.asset_nodes if n.is_materializable),
        key=lambda n: (n.group_name, n.key.to_user_string()),
    )
    assert {
        group: [n.key.to_user_string() for n in of_group]
        for group, of_group in groupby(nodes, key=lambda n: n.group_name)
    } == GROUPS
    for node in nodes:
        assert node.owners == ["team:quant"]
        assert "Runbook: " in (node.description or ""), node.key


def test_every_dependency_has_a_partition_mapping(repository: dg.RepositoryDefinition) -> None:
    """Dagster finds for each partition those that it is made from: what `dagster definitions validate` asks."""
    repository.validate_loadable()
    repository.asset_graph.validate_partitions()


def test_every_check_asks_its_question(repository: dg.RepositoryDefinition) -> None:
    """The checks of the data and of the day."""
    keys = sorted(repository.asset_graph.asset_check_keys)
    assert {
        asset: [k.name for k in of_asset]
        for asset, of_asset in groupby(keys, key=lambda k: k.asset_key.to_user_string())
    } == CHECKS


def test_every_job_has_its_steps(repository: dg.RepositoryDefinition) -> None:
    """The jobs, and what runs in each: Great Expectations only in its own, and nothing that sends in what may run
    over a range.
    """
    assert {
        j.name: sorted(n.name for n in j.nodes) for j in repository.get_all_jobs() if not j.name.startswith("__")
    } == JOBS


def test_every_trigger_starts_its_job(repository: dg.RepositoryDefinition) -> None:
    """The sensors and the schedule, what they start and when."""
    started = {s.name: " ".join(sorted(t.job_name for t in s.targets)) for s in repository.sensor_defs}
    assert started == SENSORS | {"sessions_left": "daily deliver post_trade", "notices_waiting": ""}
    assert {s.name: (s.job.name, s.cron_schedule, s.execution_timezone) for s in repository.schedule_defs} == SCHEDULES


def test_partitions_are_the_sessions(repository: dg.RepositoryDefinition) -> None:
    """Every session from the start on is a partition of what is live, and nothing else is; history and research have
    the quarters of the span.
    """
    graph = repository.asset_graph
    sessions = [s.isoformat() for s in CUTS.calendar.between(START, LAST)]
    assert not {"2024-05-27", "2024-06-19"} & set(sessions)
    for node in graph.asset_nodes:
        keys = node.partitions_def.get_partition_keys() if node.partitions_def else None
        assert keys == (["2024-01-01", "2024-04-01"] if node.group_name == "9_research" else sessions), node.key


def test_a_strategy_on_bars_is_refused(tmp_path: Path) -> None:
    """A strategy that names a set of bars is told so, not that a job cannot be resolved."""
    with pytest.raises(ConfigurationError, match="alpha158_1m"):
        build(workspace(tmp_path, deployment(strategy=msgspec.structs.replace(STRATEGY, feature_set="alpha158_1m"))))


def test_partitions_without_an_end_follow_the_calendar() -> None:
    """Over years with holidays, and days on which the venue closed for mourning or a storm, every key is a session;
    past the calendar's known end there is none.
    """
    calendar = CUTS.calendar
    open_ended = session_partitions(calendar, date(2012, 1, 3), None)
    known = [s.isoformat() for s in calendar.between(date(2012, 1, 3), calendar.last)]
    assert open_ended.get_partition_keys(current_time=datetime(2026, 1, 2, 12, tzinfo=UTC)) == [
        k for k in known if k <= "2026-01-02"
    ]
    assert open_ended.get_partition_keys(current_time=datetime(calendar.last.year + 2, 1, 3, tzinfo=UTC)) == known


def test_past_the_calendar_nothing_is_a_session() -> None:
    """A date that the calendar does not know is an error, whatever its weekday."""
    beyond = date(CUTS.calendar.last.year + 1, 3, 3)
    always = session_partitions(venue("24/7"), date(2024, 3, 1), date(2024, 3, 31))
    assert len(always.get_partition_keys()) == 31
    for ask in (
        CUTS.of,
        CUTS.calendar.is_session,
        partial(CUTS.calendar.between, FIRST),
        partial(session_partitions, CUTS.calendar, FIRST),
    ):
        with pytest.raises(CalendarUnknown):
            ask(beyond)


def tick(ran: Ran, repository: dg.RepositoryDefinition, day: date) -> tuple[str | None, list[str | None]]:
    """What the schedule says on a day at 9:15 in New York: why it skips, or the sessions that it asks for."""
    at = datetime.combine(day, time(9, 15), ZoneInfo("America/New_York"))
    context = dg.build_schedule_context(
        instance=ran.runner.instance, scheduled_execution_time=at, repository_def=repository
    )
    asked = repository.get_schedule_def("daily_at_decision_time").evaluate_tick(context)
    requests = asked.run_requests or []
    assert [r.run_key for r in requests] == [f"daily {r.partition_key}" for r in requests]
    return asked.skip_message, [r.partition_key for r in requests]


def test_the_schedule_names_the_session_that_is_due(ran: Ran, repository: dg.RepositoryDefinition) -> None:
    """On a Monday morning that is Friday's, after a long weekend too."""
    assert tick(ran, repository, date(2024, 6, 3))[1][-1] == "2024-05-31"
    assert tick(ran, repository, date(2024, 5, 28))[1][-1] == "2024-05-24"


def test_the_schedule_starts_with_the_deployment(ran: Ran, repository: dg.RepositoryDefinition) -> None:
    """The session before the first that is traded is history: nothing runs, and it says why."""
    why, sessions = tick(ran, repository, START)
    assert sessions == []
    assert f"before {START}" in (why or "")


@pytest.mark.parametrize(("day", "before"), [(date(2024, 5, 27), "2024-05-23"), (date(2024, 6, 19), "2024-06-17")])
def test_the_schedule_skips_holidays(day: date, before: str, ran: Ran, repository: dg.RepositoryDefinition) -> None:
    """On a weekday without a session it starts nothing, and says why."""
    why, sessions = tick(ran, repository, day)
    assert sessions == []
    assert "does not open today" in (why or "")
    assert before in (why or "")


def test_the_schedule_catches_up_in_order(ran: Ran, repository: dg.RepositoryDefinition) -> None:
    """Two sessions were decided; those missed since then come first, oldest first."""
    assert tick(ran, repository, date(2024, 5, 30)) == (None, ["2024-05-23", "2024-05-24", "2024-05-28", "2024-05-29"])


def test_the_schedule_fails_where_the_calendar_ends(ran: Ran, repository: dg.RepositoryDefinition) -> None:
    """Past the known sessions the tick is an error that says so, not a weekday's run."""
    with pytest.raises(dg.DagsterError, match="daily_at_decision_time") as failed:
        tick(ran, repository, CUTS.calendar.last + timedelta(days=7))
    assert isinstance(failed.value.__cause__, CalendarUnknown)


def seen(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, name: str, cursor: str | None
) -> tuple[list[str | None], str | None]:
    """The partitions that a sensor asks for after a cursor, and its next cursor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository)
    found = repository.get_sensor_def(name).evaluate_tick(context)
    return [r.partition_key for r in found.run_requests or []], found.cursor


@pytest.mark.parametrize("batch", [100, 2, 1])
def test_the_sensor_sees_every_event(
    batch: int, repository: dg.RepositoryDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three events between two ticks are three deliveries, also where they do not fit into one tick; each is seen
    once.
    """
    monkeypatch.setattr(sensors, "BATCH", batch)
    sessions = [s.isoformat() for s in LIVE[:3]]
    with dg.DagsterInstance.ephemeral() as instance:
        for session in sessions:
            instance.report_runless_asset_event(dg.AssetMaterialization("decisions", partition=session))
        cursor, found = None, []
        for _ in range(4):
            new, cursor = seen(repository, instance, "new_decisions", cursor)
            found += new
        assert found == sessions
        instance.report_runless_asset_event(dg.AssetMaterialization("decisions", partition=sessions[0]))
        again, _ = seen(repository, instance, "new_decisions", cursor)
        assert again == sessions[:1]


def test_history_is_never_delivered(repository: dg.RepositoryDefinition) -> None:
    """Decisions of sessions before the start of the deployment are seen and start nothing; the session of the start
    does.
    """
    eve = CUTS.calendar.shift(START, -1)
    with dg.DagsterInstance.ephemeral() as instance:
        for session in (eve, START, date(2024, 5, 31)):
            instance.report_runless_asset_event(dg.AssetMaterialization("decisions", partition=session.isoformat()))
        assert seen(repository, instance, "new_decisions", None)[0] == [START.isoformat(), "2024-05-31"]


def test_what_is_left_of_a_session_is_started(by_day: Path, tmp_path: Path) -> None:
    """On the system's clock the job that goes on with it; nothing while a run is under way, or in a historical run."""
    home = Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{LIVE[4]}"), tmp_path / "home"))
    assert left_lately(workspace(home), 10) == {}
    wall = workspace(home, msgspec.structs.replace(deployment(), clock="system"))
    wall.clock = SessionClock(CUTS.of(LIVE[4]))
    repository = build(wall).get_repository_def()
    sensor = repository.get_sensor_def("sessions_left")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=repository)
        (request,) = sensor.evaluate_tick(context).run_requests or []
        assert (request.job_name, request.partition_key) == ("daily", LIVE[4].isoformat())
        instance.add_run(dg.DagsterRun(job_name="daily", status=dg.DagsterRunStatus.STARTED))
        assert not sensor.evaluate_tick(context).run_requests


def test_a_day_materialises_every_asset(ran: Ran) -> None:
    """The four jobs of a day, one after the other, make each asset once, with its state and its numbers."""
    assert [s.job for s in ran.traded] == ["daily", "deliver", "post_trade", "today"]
    made = [name for s in ran.traded for name in s.assets]
    assert sorted(made) == sorted(
        name for group, of_group in GROUPS.items() if group != "9_research" for name in of_group
    )
    metadata = {name: m for s in ran.traded for name, m in s.assets.items()}
    page, status = metadata.pop("report"), metadata.pop("day_status")
    for name, said in metadata.items():
        assert said["state"] in {"done", "empty", "refused"}, name
        assert isinstance(said["rows"], int | float), name
    assert metadata["bars"]["rows_of_sessions"] == 27
    assert metadata["decisions"]["decisions"] == 24
    assert (
        metadata["orders"]["sent"] == metadata["orders"]["orders"] == len(ran.ws.ledger.outbox.orders(PAPER.name)) == 8
    )
    assert Path(str(page["report_paper"])).read_text().startswith("<!")
    assert status["fine"] is True
    assert outcome(ran.traded) == Exit.DONE


def test_a_day_run_again_changes_nothing(ran: Ran) -> None:
    """No row, no version, no order, no second order at the venue; and the jobs still say what stands."""
    assert ran.before == ran.after
    assert max(Counter(o.client_order_id for o in ran.ws.brokers.open(PAPER).events(None).orders).values()) == 1
    orders = ran.again[1].assets["orders"]
    assert (orders["orders"], orders["sent"]) == (8, 0)
    assert outcome(ran.again) == Exit.DONE


def test_a_failed_verdict_shows_and_blocks(ran: Ran) -> None:
    """Each check of the bars shows what the stored verdict says; where one failed nothing is delivered, and the
    exit code says so.
    """
    for session, passed in ran.checks.items():
        stored = content(ran.ws, VERDICTS).filter(session=session, table="bars")
        assert {rule: passed[rule] for rule in stored["rule"]} == dict(stored.select("rule", "passed").iter_rows())
    assert ran.checks[THIN]["coverage"] is False
    assert ran.checks[THIN]["data"] is False
    assert all(ran.checks[TRADED].values())
    assert ran.thin[1].assets["orders"]["state"] == "refused"
    assert outcome(ran.thin) == Exit.BLOCKED
    assert [w for w in ran.ws.ledger.outbox.orders(PAPER.name) if w.order.decided == THIN] == []
