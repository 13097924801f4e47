"""The order of the day: one list, which the jobs, the day, the range and the what-if read; and what its stages say
they read and write.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph  # it has no public name

from desk import counterfactual
from desk.day import clock_of, ports
from jobs.definitions import build
from jobs.execute import runner
from jobs.resources import build as resources
from quant_assets import chain
from quant_assets.assets import OF_SESSIONS, resources_of
from quant_assets.backtest.assets import REPORT
from quant_assets.chain import CHAIN, HISTORY, RESEARCH, STAGES
from quant_assets.contract import Table
from quant_assets.market_data.datasets import DATASETS
from quant_assets.ports import Store
from quant_assets.stage import Stage
from tests.jobs.small import LIVE, deployment, workspace

NAMES = [s.name for s in CHAIN]
OF_TABLE = {"bars": "market_data", "actions": "market_data", "listings": "market_data", "quarantine": "market_data"}
IN_THE_LEDGER = {"venue", "vendor", "outbox", "executions", "breaks", "facts", "pages"}


def stage_of(asset: str) -> str:
    """The stage that makes an asset."""
    return "features" if asset.startswith("features_") else OF_TABLE.get(asset, asset)


def out_of_order(made: Sequence[str]) -> list[tuple[str, str]]:
    """Neighbours in a run that the chain has the other way round."""
    places = [NAMES.index(stage_of(a)) for a in made]
    return [(made[i], made[i + 1]) for i, (a, b) in enumerate(pairwise(places)) if a > b]


def test_the_slices_of_a_range_are_the_chain() -> None:
    """What a range computes are the stages of a day that send nothing, in their order."""
    data, *after = HISTORY.values()
    ranged = [s.name for s in (*data, STAGES["features"], *(s for part in after for s in part))]
    live_only = {"fills", "positions", "reconciliation", "orders", "costs", "report", "no_look_ahead"}
    assert ranged == [n for n in NAMES if n not in live_only]


def test_dagster_runs_a_day_in_this_order(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of a real run, as its events have them, follow each other as the chain's stages do."""
    import shutil

    monkeypatch.setenv("DAGSTER_HOME", "")
    ws = workspace(Path(shutil.copytree(prepared, tmp_path / "home")))
    with runner(ws) as started:
        made = [a for job in ("daily", "deliver", "post_trade") for a in started.session(job, LIVE[1])]
    assert len(made) == len(NAMES) - 1 + len(OF_TABLE) - 1  # the audit is a check
    assert out_of_order(made) == []
    swapped = [*made[:-2], made[-1], made[-2]]
    assert out_of_order(swapped) == [("report", "costs")]


class Seen:
    """A store that notes what is read and appended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read_tables: set[str] = set()
        self.written: set[str] = set()

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        self.written.add(table.name)
        return self._store.append(table, frame)

    def read(
        self,
        table: Table,
        *,
        as_of: datetime | None,
        first: date | None = None,
        last: date | None = None,
        where: Mapping[str, str | int] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """See the port."""
        self.read_tables.add(table.name)
        return self._store.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)

    def version(self, table: Table) -> int:
        """See the port."""
        return self._store.version(table)


def named(tables: set[str]) -> set[str]:
    """The tables as the chain names them."""
    fed = {d.name for d in DATASETS}
    return {"features_*" if t.startswith("features_") else "datasets_*" if t in fed else t for t in tables}


@pytest.fixture(scope="module")
def touched(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Seen]:
    """What each stage reads and writes on two days, one after the other, and over a range."""
    import shutil

    ws = workspace(Path(shutil.copytree(prepared, tmp_path_factory.mktemp("chain") / "home")))
    found: dict[str, Seen] = {}
    for session in LIVE[:3]:
        given = ports(ws, clock_of(ws, session)) | {"sessions": [session], "run_id": ""}
        for stage in (*CHAIN, RESEARCH):
            seen = found.setdefault(stage.name, Seen(ws.store))
            list(stage.run(given | {"store": seen}))
    return found


@pytest.mark.parametrize("stage", [*CHAIN, RESEARCH], ids=lambda s: s.name)
def test_a_stage_reads_and_writes_what_it_says(stage: Stage, touched: Mapping[str, Seen]) -> None:
    """Run on a store that notes it, a stage touches the tables that it declares, and no other."""
    seen = touched[stage.name]
    declared_reads = set(stage.reads) - IN_THE_LEDGER
    assert named(seen.written) <= set(stage.writes)
    assert named(seen.read_tables) <= declared_reads | set(stage.writes)


@pytest.mark.parametrize("stage", [*CHAIN, RESEARCH, REPORT], ids=lambda s: s.name)
def test_every_port_is_given(stage: Stage, tmp_path: Path) -> None:
    """Day and jobs have every argument that a stage needs."""
    ws = workspace(tmp_path, deployment())
    given = ports(ws, ws.clock)
    assert set(stage.needs) - {"sessions"} <= set(given)
    assert resources_of(stage) <= set(resources(ws))
    # what it can do without is left out in no job: a deployment's own rules, say, would count in a day alone
    assert set(stage.takes) - resources_of(stage) <= {"sessions", "run_id", "train_at", *OF_SESSIONS}


def test_the_what_if_leaves_out_what_it_says() -> None:
    """Every stage from the universe to the decisions is computed again, or left out with a reason."""
    again = [s.name for s in chain.between("universe", "decisions") if s.name not in counterfactual.NOT_AGAIN]
    assert again == ["universe", "verdicts", "features", "labels", "champion", "scores", "decisions"]
    assert all(counterfactual.written(name, deployment().strategies) for name in again)


def paths(graph: AssetGraph, key: dg.AssetKey) -> Iterator[str]:
    """The assets that an asset is made from, directly or not."""
    todo = [key]
    while todo:
        for parent in graph.get(todo.pop()).parent_keys:
            yield parent.to_user_string()
            todo.append(parent)


def test_the_lineage_has_the_chains_order(tmp_path: Path) -> None:
    """Where a stage makes what a later one decides or trades on, Dagster has a way from one to the other."""
    graph = build(workspace(tmp_path, deployment())).get_repository_def().asset_graph
    for asset, sources in {
        "orders": {"decisions", "verdicts", "scores", "reconciliation", "positions", "bars"},
        "decisions": {"scores", "champion", "labels", "features_price_volume", "universe", "verdicts"},
        "report": {"costs", "reconciliation", "decisions", "fills"},
    }.items():
        assert sources <= set(paths(graph, dg.AssetKey(asset))), asset
