"""A feature set that does not pass its audit while a champion feeds on it: the day is recorded, told and settled,
and nothing is traded on it.
"""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from desk.day import provenance
from desk.workspace import Workspace
from jobs.execute import runner
from jobs.live import run_daily
from quant_assets.errors import FeaturesRefused
from quant_assets.features.audit import gate
from quant_assets.features.catalogue import find_set
from quant_assets.signals.replay import replay
from quant_assets.signals.why import why
from quant_assets.tables import AUDITS, DECISIONS
from tests.jobs.small import CUTS, FEATURES, START, STRATEGY, live, workspace

DAY = CUTS.calendar.shift(START, 1)  # the capture of the first live session is a thin one
FOUND = "ret_1 of a session is another one once the future is known"


@pytest.fixture
def failing(home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A home in which the set's audit fails, whenever it is made, from `DAY` on."""
    live(workspace(home), [START])
    ws = workspace(home)
    stored = ws.store.read(
        AUDITS, as_of=None, where={"feature_set": FEATURES.name, "fingerprint": FEATURES.fingerprint}
    )
    broken = stored.filter(pl.col("known_at") == pl.col("known_at").max()).with_columns(
        known_at=pl.col("known_at") + timedelta(microseconds=1),
        passed=pl.col("law") != "truncation",
        evidence=pl.when(law="truncation").then(pl.lit(FOUND)).otherwise("evidence"),
    )
    ws.store.append(AUDITS, broken)
    monkeypatch.setattr(gate, "record", lambda *_, **__: None)  # asked again it finds the same
    return ws


@pytest.mark.parametrize("by_dagster", [False, True])
def test_a_failed_audit_is_no_trade(failing: Workspace, by_dagster: bool):
    """Every name is NO_TRADE(FEATURES_REFUSED) with what was found, somebody is told, positions are booked and the
    page is written; replayed, a decision is the same.
    """
    if by_dagster:
        with runner(failing) as running:
            jobs = [s.job for s in run_daily(running, [DAY])]
        assert jobs == ["daily", "deliver", "post_trade", "today"]
    else:
        live(failing, [DAY])
    rows = failing.store.read(DECISIONS, as_of=None, first=DAY, last=DAY)
    assert set(rows.select("verdict", "reason").iter_rows()) <= {
        ("NO_TRADE", "FEATURES_REFUSED"),
        ("NO_TRADE", "DATA_NO_BAR"),
    }
    refused = rows.filter(reason="FEATURES_REFUSED")
    assert refused.height > 0
    assert FOUND in " ".join(why(failing.store, STRATEGY.name, DAY)["text"])
    told = (failing.home / "notifications.jsonl").read_text()
    assert "FEATURES_REFUSED" in told
    assert FOUND in told
    assert [w for w in failing.ledger.outbox.orders("paper") if w.order.decided == DAY] == []
    assert list(failing.reports.glob(f"*paper*{DAY}*.html"))
    again = replay(
        failing.store,
        find_set,
        failing.deployment.strategy,
        failing.cuts,
        refused["decision_id"][0],
        provenance(failing),
    )
    again.require_equal()


def test_a_failed_audit_stops_a_backfill(failing: Workspace):
    """A range that only builds features stops there, and the error says what to do."""
    with runner(failing) as running, pytest.raises(FeaturesRefused, match="quant features audit"):
        running.range("backfill", DAY, DAY)
