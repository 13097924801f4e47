"""Another vendor in the deployment file: a session that the source lost is decided on its bars; where both disagree too
much, nothing is traded.
"""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import polars as pl
import pytest

from desk.day import arrive, derive
from desk.deployment import Backup, DeploymentRefused, load
from jobs.definitions import build
from quant_assets.tables import BARS, DECISIONS, VERDICTS
from resources.sources.market import Market
from resources.sources.simulated import SimulatedMarket
from tests.jobs.small import CUTS, FIRST, LAST, LIVE, deployment, workspace

LOST = LIVE[1]
MAPPING = {"session": "session", "adj_close": "adj_close"}
TEXT = """clock: session
start: 2024-05-21
source: {kind: simulated, first: 2024-01-02, last: 2024-06-28}
strategies: [{name: small}]
books: []
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Two sources of one quiet market: `ours` lost a session, `theirs` has all under other symbols' dialect; in
    `apart` a third of the closes of the last session are wrong.
    """
    folder = tmp_path_factory.mktemp("vendors")
    market = SimulatedMarket(Market(first=FIRST, last=LAST, calendar=CUTS.calendar, names=24, seed=60))
    labels = market.labels(None, LIVE[2])
    rows = pl.concat(market.fetch(d).prices.filter(pl.col("session") == d) for d in labels).drop("file", "line")
    ours, last = rows.filter(pl.col("session") != LOST), pl.col("session") == LIVE[2]
    wrong = last & (pl.col("symbol").rank("dense") % 3 == 0)
    apart = rows.with_columns(pl.when(wrong).then(pl.col(c) * 1.02).otherwise(c).alias(c) for c in ("high", "close"))
    theirs = rows.with_columns(pl.col("symbol").str.to_lowercase())
    made: dict[str, dict[str, Any]] = {}
    for name, frame in (("ours", ours), ("theirs", theirs), ("apart", apart)):
        frame.write_parquet(folder / f"{name}.parquet")
        made[name] = {"kind": "files", "prices": str(folder / f"{name}.parquet"), "mapping": MAPPING}
    return made


def states(ws: Any) -> dict[Any, bool]:
    """Whether each session was released by its verdicts."""
    return {
        s: ws.store.read(VERDICTS, as_of=None, first=s, last=s, where={"table": "bars", "severity": "block"})[
            "passed"
        ].all()
        for s in LIVE[:3]
    }


def test_a_session_that_the_source_lost_is_decided(files: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Without the backup the session is blocked; with it, it has all bars, under the sids of the source, and is
    released.
    """
    alone = workspace(tmp_path / "alone", deployment(source=files["ours"]))
    second: Any = files["theirs"]
    backed = msgspec.structs.replace(deployment(source=files["ours"]), backups=(Backup(name="second", source=second),))
    both = workspace(tmp_path / "both", backed)
    for ws in (alone, both):
        for session in LIVE[:3]:
            list(arrive(ws, session))
            list(derive(ws, [session]))
    assert states(alone) == {LIVE[0]: True, LOST: False, LIVE[2]: True}
    assert states(both) == {LIVE[0]: True, LOST: True, LIVE[2]: True}
    bars = both.store.read(BARS, as_of=None)
    assert bars.filter(pl.col("session") == LOST)["source"].unique().to_list() == ["vendor_bars/second"]
    assert set(bars["sid"]) == set(alone.store.read(BARS, as_of=None)["sid"])
    decided = both.store.read(DECISIONS, as_of=None, first=LOST, last=LOST)
    assert decided.filter(pl.col("reason") == "DATA").is_empty()


def test_a_session_on_which_vendors_disagree_is_blocked(files: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """A third of the closes is apart and a tenth is allowed: the session's verdict says so, and the one before is
    released.
    """
    third: Any = files["apart"]
    check = Backup(name="third", source=third, role="check", block_above=0.1)
    ws = workspace(tmp_path, msgspec.structs.replace(deployment(source=files["theirs"]), backups=(check,)))
    list(arrive(ws, LIVE[2]))
    list(derive(ws, LIVE[:3]))
    said = ws.store.read(VERDICTS, as_of=None, first=LIVE[0], last=LIVE[2], where={"rule": "agrees_with_third"})
    assert said.sort("session").select("session", "passed").rows() == [(LIVE[0], True), (LOST, True), (LIVE[2], False)]
    assert states(ws)[LIVE[2]] is False


def test_the_asset_of_the_bars_asks_the_backups_too(files: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Materialised by Dagster, the market data of a session have what the backup filled in."""
    second: Any = files["theirs"]
    backed = msgspec.structs.replace(deployment(source=files["ours"]), backups=(Backup(name="second", source=second),))
    ws = workspace(tmp_path, backed)
    list(arrive(ws, LIVE[0]))
    with dg.DagsterInstance.ephemeral() as instance:
        job = (
            build(ws)
            .resolve_job_def("daily")
            .get_subset(
                asset_selection={dg.AssetKey(n) for n in ("bars", "actions", "listings", "quarantine")},
                asset_check_selection=set(),
            )
        )
        assert job.execute_in_process(partition_key=str(LOST), instance=instance).success
    assert ws.store.read(BARS, as_of=None, first=LOST, last=LOST).height > 0


@pytest.mark.parametrize(
    ("backups", "said"),
    [
        ("[{source: {kind: files, prices: p.csv}}]", "backups[0].name: a backup lacks it"),
        ("[{name: b, role: primary, source: {kind: files, prices: p.csv}}]", "backups[0].role"),
        (
            "[{name: b, source: {kind: files, prices: p.csv}}, {name: B, source: {kind: files, prices: q.csv}}]",
            "two backups have the name B",
        ),
        ("[{name: b, source: {kind: files, prices: p.csv, currency: EUR}}]", "its prices are in EUR"),
        ("[{name: b, source: {kind: ib, symbols: [A], first: 2024-01-02, dataset: intraday_bars}}]", "daily bars"),
    ],
)
def test_what_a_backup_cannot_be_is_refused(tmp_path: Path, backups: str, said: str) -> None:
    """Each fault is told with its place."""
    place = tmp_path / "deployment.yaml"
    place.write_text(TEXT + f"backups: {backups}\n")
    with pytest.raises(DeploymentRefused) as caught:
        load(place)
    assert said in str(caught.value)


def test_a_backup_is_read_from_the_file(tmp_path: Path) -> None:
    """Its role and tolerances have defaults; the source is a source like any other."""
    place = tmp_path / "deployment.yaml"
    place.write_text(TEXT + "backups: [{name: b, source: {kind: files, prices: p.csv}}]\n")
    (backup,) = load(place).backups
    assert (backup.role, backup.close, backup.volume, backup.block_above) == ("backup", 0.005, None, None)
    assert backup.source["prices"] == "p.csv"


def test_the_page_on_vendors_has_an_example_that_loads(tmp_path: Path) -> None:
    """What docs/vendors.md declares is what its words describe."""
    page = (Path(__file__).parents[2] / "docs" / "vendors.md").read_text()
    example, *_ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    place = tmp_path / "deployment.yaml"
    place.write_text(TEXT + example)
    second, third = load(place).backups
    assert (second.role, second.close, third.role, third.volume, third.block_above) == (
        "backup",
        0.005,
        "check",
        0.2,
        0.1,
    )
