"""Through Dagster as production drives it: a month end is that of the functions alone, and a range costs few events."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from jobs.execute import runner
from jobs.live import DAY, run_daily
from quant_assets.features import declared
from quant_assets.tables import MODELS
from tests.jobs.small import CUTS, FIRST, START, TABLES, outcome, workspace

SESSIONS = CUTS.calendar.between(date(2024, 5, 30), date(2024, 6, 3))


def test_a_month_end_through_dagster_is_the_month_end_of_the_functions(
    by_day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Three sessions with a month end between them leave the rows, orders, executions and pages that they leave without
    Dagster; the model of the month end is trained once, and used from the next session.
    """
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setattr(declared, "DECLARED", {})
    ws = workspace(Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{SESSIONS[0]}"), tmp_path / "home")))
    with runner(ws) as started:
        steps = list(run_daily(started, SESSIONS))
    assert [s.job for s in steps] == [*DAY] * len(SESSIONS)
    trained = {s.session: s.assets["champion"]["state"] for s in steps if s.job == "daily"}
    assert trained == {SESSIONS[0]: "empty", SESSIONS[1]: "done", SESSIONS[2]: "empty"}
    assert ws.store.read(MODELS, as_of=None, first=SESSIONS[1], last=SESSIONS[1]).height == 1
    after = workspace(by_day.with_name(f"{by_day.name}-{CUTS.calendar.shift(SESSIONS[-1], 1)}"))
    found, expected = outcome(ws), outcome(after)
    assert {k for k in expected if found[k] != expected[k]} == set()


YEARS_OF_QUARTERS = 41  # 2,500 sessions
AT_MOST = 500


def test_a_range_costs_few_events(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A backfill stores an event for each asset and quarter and a few for each step, so that ten years stay below
    500; it
    reports progress from its first stage on, and computes nothing again.
    """
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setattr(declared, "DECLARED", {})
    ws = workspace(Path(shutil.copytree(prepared, tmp_path / "home")))
    heard: list[str] = []
    before = {t.name: ws.store.version(t) for t in TABLES}

    def tick(done: int, total: int, what: str) -> None:
        heard.append(what)

    with runner(ws, tick) as started:
        made = started.range("backfill", FIRST, CUTS.calendar.shift(START, -1))
        (run,) = started.instance.get_runs()
        events = len(started.instance.all_logs(run.run_id))
    quarters = 2
    steps = events - len(made) * quarters
    assert steps + len(made) * YEARS_OF_QUARTERS < AT_MOST
    assert heard
    booked = {"orders", "fills", "positions", "journal", "pnl", "nav", "costs", "feature_drift"}
    assert {n for n, v in before.items() if ws.store.version(next(t for t in TABLES if t.name == n)) != v} <= booked
