"""A feed in the deployment file: its dataset has an asset, checks, a place in the jobs; its rows come with the
day's.
"""

from datetime import date
from pathlib import Path

import dagster as dg
import msgspec
import pytest

from desk.day import arrive
from desk.deployment import load
from jobs.definitions import build
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError
from quant_assets.tables import CAPTURES, QUARANTINE
from quant_assets.vendor_tables import FX_RATES
from tests.jobs.small import CUTS, LIVE, deployment, workspace

FEED = {
    "kind": "tabular",
    "dataset": "fx_rates",
    "mapping": {"session": "day", "base": "from", "quote": "to", "rate": "rate"},
    "known_at": "event+1d",
    "name": "ecb",
}


@pytest.fixture
def rates(tmp_path: Path) -> dict[str, object]:
    """A feed of one file for each session: the second day's is quoted the other way round, and a line of it is
    broken.
    """
    for session, rate in zip(LIVE[:3], ("1.25", "0.8", "1.26"), strict=True):
        (tmp_path / f"{session}.csv").write_text(
            f"day,from,to,rate\n{session},EUR,USD,{rate}\n{session},GBP,USD,{'x' if session == LIVE[1] else '1.5'}\n"
        )
    return {**FEED, "files": str(tmp_path / "*.csv")}


def test_a_feed_has_an_asset_and_its_checks(rates: dict[str, object], tmp_path: Path) -> None:
    """Definitions made from the deployment have the dataset's asset before the universe, a check for each of its
    rules, and run it every day; materialised, the checks show what was found.
    """
    ws = workspace(tmp_path / "home", msgspec.structs.replace(deployment(), feeds=(rates,)))
    definitions = build(ws)
    graph = definitions.get_repository_def().asset_graph
    assert graph.get(dg.AssetKey("fx_rates")).group_name == "1_market_data"
    assert dg.AssetKey("fx_rates") in graph.get(dg.AssetKey("universe")).parent_keys
    names = {k.name for k in graph.asset_check_keys if k.asset_key.to_user_string() == "fx_rates"}
    assert names == {"inverted", "unit", "outlier", "great_expectations"}
    daily = definitions.resolve_job_def("daily")
    assert {"fx_rates", "fx_rates_quality"} <= {n.name for n in daily.nodes}
    assert "fx_rates_great_expectations" in {n.name for n in definitions.resolve_job_def("data_docs").nodes}
    with dg.DagsterInstance.ephemeral() as instance:
        checks = [dg.AssetCheckKey(dg.AssetKey("fx_rates"), n) for n in ("inverted", "unit", "outlier")]
        ran = daily.get_subset(
            asset_selection={dg.AssetKey("fx_rates")}, asset_check_selection=set(checks)
        ).execute_in_process(partition_key=str(LIVE[1]), instance=instance)
        passed = {e.check_name: e.passed for e in ran.get_asset_check_evaluations()}
        (event,) = ran.get_asset_materialization_events()
    assert passed == {"inverted": False, "unit": True, "outlier": False}
    metadata = event.step_materialization_data.materialization.metadata
    assert (metadata["rows_of_sessions"].value, metadata["quarantined"].value) == (1, 1)


def test_its_rows_come_with_the_day(rates: dict[str, object], tmp_path: Path) -> None:
    """What `ingest` takes in are the bars and the feed; a range leaves the rows that its days leave."""
    declared = msgspec.structs.replace(deployment(), feeds=(rates,))
    days, span = (workspace(tmp_path / name, declared) for name in ("days", "span"))
    for session in LIVE[:3]:
        list(arrive(days, session))
    reports = {r.stage: r for r in arrive(span, LIVE[2])}
    assert {"ingest simulated", "ingest fx_rates/ecb"} <= set(reports)
    for table in (FX_RATES, QUARANTINE, CAPTURES):
        one, other = (
            ws.store.read(table, as_of=None, where={"dataset": "fx_rates"} if "dataset" in table.schema else None)
            for ws in (days, span)
        )
        assert one.height > 0
        assert one.equals(other)
    in_time = in_force(span.store.read(FX_RATES, as_of=CUTS.of(LIVE[1])), FX_RATES)
    assert in_time.filter(base="EUR")["rate"].to_list() == [1.25, 0.8]


def test_a_feed_of_nothing_declared_is_refused(tmp_path: Path) -> None:
    """A feed without a dataset, or of one that nobody declared, is an error of the deployment file; so are two
    feeds of one name.
    """
    path = tmp_path / "deployment.yaml"
    for feed, why in (
        ({"kind": "tabular", "files": "a.csv"}, "dataset"),
        ({"kind": "tabular", "files": "a.csv", "dataset": "moods"}, "no dataset is named so"),
    ):
        written = msgspec.to_builtins(deployment(), builtin_types=(date,))
        path.write_bytes(msgspec.yaml.encode({**written, "feeds": [feed]}))
        with pytest.raises(ConfigurationError, match=why):
            load(path)
    (tmp_path / "a.csv").write_text("day,from,to,rate\n")
    twice = {**FEED, "files": str(tmp_path / "*.csv")}
    with pytest.raises(ConfigurationError, match="two feeds are named"):
        _ = workspace(tmp_path, msgspec.structs.replace(deployment(), feeds=(twice, twice))).feeds
