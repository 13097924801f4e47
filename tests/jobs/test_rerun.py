"""Run again, restated, computed with later knowledge: the first decision set binds, and nothing is ordered twice."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from desk.day import provenance, run_day
from desk.workspace import Workspace
from quant_assets.calendars import Cuts
from quant_assets.features.catalogue import find_set
from quant_assets.market_data.ingest import ingest
from quant_assets.records import Capture
from quant_assets.signals.decide import decide
from quant_assets.signals.replay import replay
from quant_assets.tables import BARS, DECISIONS
from tests.jobs.small import CUTS, FEATURES, LIVE, PAPER, STRATEGY, TABLES, deliver_at, live, workspace

DAY = LIVE[6]


class Restating:
    """A vendor that delivers one capture again, a day after `label`'s cut, with every close and high a tenth higher."""

    name = "simulated"

    def __init__(self, ws: Workspace, label: date) -> None:
        self._ws = ws
        self._label = label

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return [s for s in (self._label,) if (first or s) <= s <= (last or s)]

    def fetch(self, label: date) -> Capture:
        """See the port."""
        first = self._ws.source.fetch(label)
        higher = first.prices.with_columns((pl.col(c) * 1.1).round(2) for c in ("high", "close"))
        return Capture(
            **{f: getattr(first, f) for f in first.__struct_fields__}
            | {"prices": higher, "sha256": "restated", "known_at": CUTS.of(label) - timedelta(minutes=1)}
        )


@pytest.fixture
def traded(by_day: Path, tmp_path: Path) -> Workspace:
    """A home in which `LIVE` has been traded up to and including `DAY`."""
    following = LIVE[LIVE.index(DAY) + 1]
    return workspace(Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{following}"), tmp_path / "home")))


def counts(ws: Workspace) -> Mapping[str, int]:
    """Rows by table."""
    return {t.name: ws.store.read(t, as_of=None).height for t in TABLES}


def sent(ws: Workspace) -> list[str]:
    """The client order ids that the venue holds, doubled ones twice."""
    return sorted(o.client_order_id for o in ws.brokers.open(PAPER).events(None).orders)


def restate(ws: Workspace) -> None:
    """Take in another version of `DAY`'s capture, declared a minute before the cut, arriving a day after it."""
    source, now = Restating(ws, DAY), CUTS.of(DAY) + timedelta(days=1)
    report = ingest(source, ws.store, ws.ledger.knowledge.latest_cut(), now, [DAY], CUTS.calendar)
    assert report.numbers["restated"] > 10


def ids(ws: Workspace) -> set[str]:
    """The decision ids of `DAY`."""
    return set(ws.store.read(DECISIONS, as_of=None, first=DAY, last=DAY)["decision_id"])


def test_the_daily_run_twice(traded: Workspace):
    """The same session again: the same decision ids, no row more in any table, no second order at the venue."""
    before, rows, orders = ids(traded), counts(traded), sent(traded)
    assert len(orders) > 5
    assert len(set(orders)) == len(orders)
    list(run_day(traded, DAY))
    assert (ids(traded), counts(traded), sent(traded)) == (before, rows, orders)


def test_a_restatement_behind_the_cut_is_known_at_arrival(traded: Workspace):
    """What declares a time before a cut that was read, but arrives after it, is known from its arrival on and keeps
    what it declared.
    """
    restate(traded)
    late = traded.store.read(BARS, as_of=None, first=DAY, last=DAY).filter(pl.col("known_at") > CUTS.of(DAY))
    assert late.height > 10
    assert (late["declared_known_at"] < CUTS.of(DAY)).all()


def test_after_a_restatement_the_old_decision_replays(traded: Workspace):
    """Each decision of the session comes out with the same bits as before the restatement, and a rerun at the same
    cut is the same set.
    """
    decided = traded.store.read(DECISIONS, as_of=None, first=DAY, last=DAY)
    chosen = decided.filter(pl.col("reason") == "SELECTED")["decision_id"][0]
    restate(traded)
    answer = replay(traded.store, find_set, traded.deployment.strategy, CUTS, chosen, provenance(traded))
    answer.require_equal()
    rows, orders = counts(traded), sent(traded)
    list(run_day(traded, DAY))
    assert (counts(traded), sent(traded)) == (rows, orders)


class Informed(Cuts):
    """Cuts that know what came in the day and a half after the open."""

    def of(self, session: date) -> datetime:
        """Too late."""
        return super().of(session) + timedelta(hours=36)


def test_another_set_is_diverged_and_orders_nothing(traded: Workspace):
    """A set computed with what became known later is recorded beside the one that binds, somebody is told, and
    nothing is ordered.
    """
    restate(traded)
    bound, orders, ours = (
        traded.ledger.outbox.bound(PAPER.name, STRATEGY.name, DAY),
        sent(traded),
        traded.ledger.outbox.orders(PAPER.name),
    )
    informed = Informed(CUTS.calendar)
    now = CUTS.of(DAY)
    decide(
        traded.store,
        FEATURES,
        STRATEGY,
        informed,
        [DAY],
        kill_switch=(False, ""),
        provenance=provenance(traded),
        now=now,
    )
    sets = traded.store.read(DECISIONS, as_of=None, first=DAY, last=DAY)["decision_set_id"].unique()
    assert sets.len() == 2
    deliver_at(traded, DAY, now)
    assert traded.ledger.outbox.bound(PAPER.name, STRATEGY.name, DAY) == bound
    assert [d["decision_set_id"] for d in traded.ledger.outbox.divergences(PAPER.name)] == [
        s for s in sets if s != bound
    ]
    assert sent(traded) == orders
    assert traded.ledger.outbox.orders(PAPER.name) == ours
    assert "DIVERGED" in (traded.home / "notifications.jsonl").read_text()


def test_live_goes_on_after_a_restatement(traded: Workspace):
    """The next session sees the restated rows and trades."""
    restate(traded)
    reports = {r.stage: r for r in live(traded, [LIVE[LIVE.index(DAY) + 1]])}
    assert reports["deliver"].state in {"done", "empty"}
    assert reports["reconcile"].numbers["breaks_found"] == 0
