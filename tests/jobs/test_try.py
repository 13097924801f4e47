"""A feature is tried before anything is deployed, and a package of one's own begins with two commands: the how-to,
followed literally.
"""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
import typer
import yaml
from rich.console import Console

from desk import trial_market
from desk.notebook import Notebook
from desk.workspace import Workspace
from jobs.beside import beside
from jobs.commands import features
from quant_assets.assets import FIRST, LAST, quarter
from quant_assets.errors import ConfigurationError, QuantError
from quant_assets.features.catalogue import find_set
from tests.jobs.commands import declare
from tests.jobs.small import deployment

ROOT = Path(__file__).parents[2]
Said = tuple[int, str]
Quant = Callable[..., Said]

HONEST = '''
from quant_assets.features.feature import feature

@feature(lookback=10)
def week(volume):
    """Volume of three sessions against that of ten."""
    return volume.rolling_mean(3, min_samples=2) / volume.rolling_mean(10, min_samples=5)
'''
LEAKS = {
    "tomorrow": "open.shift(-1) / close - 1",
    "centred": "close / close.rolling_mean(5, center=True) - 1",
    "whole": "(close / close.shift(1) - 1) / (close / close.shift(1) - 1).std()",
    "dollars": "close - open",
    "further": "close / close.shift(20) - 1",  # than the five sessions that it declares
}


pytestmark = pytest.mark.usefixtures("forgotten")


@pytest.fixture
def quant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Quant:
    """`quant("try", "my.py:week")`: the exit code, and what was said."""
    app = typer.Typer()
    app.command("try")(features.trial)
    app.command("init")(features.init)
    monkeypatch.setattr("jobs.console.console", Console(width=100))

    def run(*argv: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(argv)
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


@pytest.fixture
def stored(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a market of 24 names over five months."""
    declare(home, deployment())
    monkeypatch.setenv("QUANT_HOME", str(home))
    return home


def test_an_honest_feature_is_measured_and_nothing_is_stored(stored: Path, tmp_path: Path, quant: Quant) -> None:
    """Laws, coverage, distribution, IC by horizon and what it repeats, on the stored market; a document for a
    script, a page for a browser; no table is touched.
    """
    (tmp_path / "my.py").write_text(HONEST)
    before = sorted(p.relative_to(stored) for p in (stored / "tables").rglob("*"))
    code, out = quant("try", f"{tmp_path / 'my.py'}:week", "--json", "--page")
    said = json.loads(out)
    assert (code, said["fine"], said["universe"]) == (0, True, "small")
    assert said["verdict"].startswith("FREE OF LOOK-AHEAD. rank IC ")
    assert all(a["passed"] for a in said["audits"])
    assert {"truncation", "poisoned_future", "knowledge_time", "homogeneity", "prefix_causality", "independence"} <= {
        a["law"] for a in said["audits"]
    }
    assert [d["horizon"] for d in said["decay"]] == [1, 2, 5, 10, 20]
    assert (said["correlation"][0]["set"], said["correlation"][0]["other"]) == ("price_volume", "volume_shock")
    assert 0.95 < said["summary"][0]["coverage"] <= 1.0
    assert Path(said["page"]).is_relative_to(stored / "reports")
    assert "week" in Path(said["page"]).read_text()
    assert sorted(p.relative_to(stored) for p in (stored / "tables").rglob("*")) == before
    code, out = quant("try", f"{tmp_path / 'my.py'}:week", "--from", "2024-04-01", "--to", "2024-05-10")
    assert code == 0
    for told in (
        "30 sessions, 2024-04-01 to 2024-05-10, members of small",
        "truncation",
        "volume_shock",
        "FREE OF LOOK-AHEAD",
    ):
        assert told in out


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_refused_and_named(leak: str, stored: Path, tmp_path: Path, quant: Quant) -> None:
    """With the law it breaks, the column, the session and the instrument; the exit code is 1."""
    body = LEAKS[leak]
    (tmp_path / "my.py").write_text(
        "from quant_assets.features.feature import feature\n\n@feature(lookback=5)\n"
        f'def {leak}(open, close):\n    """A leak."""\n    return {body}\n'
    )
    code, out = quant("try", f"{tmp_path / 'my.py'}:{leak}", "--json", "--from", "2024-04-01")
    said = json.loads(out)
    assert (code, said["fine"]) == (1, False)
    assert said["verdict"].startswith("REFUSED by the law of ")
    broken = [a for a in said["audits"] if not a["passed"]]
    assert broken[0]["evidence"] in said["verdict"]
    assert (broken[0]["column"], leak in said["verdict"]) == (leak, True)
    assert broken[0]["at"]
    assert broken[0]["sid"] is not None


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--universe", "large"], "no universe 'large'.*small"),
        (["--from", "2030-01-02"], "nothing can be tried on 2030-01-02"),
    ],
)
def test_what_cannot_be_tried_says_what_there_is(argv: list[str], words: str, stored: Path, tmp_path: Path) -> None:
    """Universes and sessions that are stored."""
    (tmp_path / "my.py").write_text(HONEST)
    app = typer.Typer()
    app.command("try")(features.trial)
    with pytest.raises(ConfigurationError, match=words):
        app([f"{tmp_path / 'my.py'}:week", *argv], standalone_mode=False)


def test_without_data_there_is_a_small_market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quant: Quant) -> None:
    """An empty home is tried on a simulated market, which says so and is kept; the home itself stays without data."""
    for name, value in {"FIRST": date(2024, 9, 3), "LAST": date(2024, 12, 31), "NAMES": 30}.items():
        monkeypatch.setattr(trial_market, name, value)
    monkeypatch.setenv("QUANT_HOME", str(tmp_path / "home"))
    (tmp_path / "my.py").write_text(HONEST)
    code, out = quant("try", f"{tmp_path / 'my.py'}:week")
    assert code == 0, out
    assert "holds no market yet" in out.replace("\n", " ")
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["trial"]


def test_the_how_to_followed_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quant: Quant) -> None:
    """`quant init`, its tests, its assets beside the platform's with every key under its name, its features
    materialised and audited in one Dagster run, `quant try` on what it stored.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUANT_HOME", raising=False)
    code, out = quant("init", "tenfund")
    assert code == 0
    assert "cd tenfund && quant try tenfund/features.py:gap_20" in out
    folder = tmp_path / "tenfund"
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout
    assert re.search(r"= [1-9]\d* passed in ", tests.stdout), tests.stdout  # and nothing was skipped

    declared = yaml.safe_load((folder / "deployment.yaml").read_text())
    declared["source"] |= {"names": 16, "first": date(2025, 1, 2), "last": date(2025, 3, 14)}  # the same, smaller
    declared["start"] = date(2025, 3, 14)
    (folder / "deployment.yaml").write_text(yaml.safe_dump(declared))
    monkeypatch.chdir(folder)
    ws = Notebook.open()
    assert (ws.home, ws.feature_set_of(ws.deployment.strategies[0]).features) == (
        folder / ".quant",
        ("gap_20", "surge"),
    )

    definitions = importlib.import_module("tenfund.definitions").defs()
    repository = definitions.get_repository_def()
    assert {k.path[0] for k in repository.asset_graph.get_all_asset_keys()} == {"tenfund"}
    assert {k.asset_key.path[0] for k in repository.asset_graph.asset_check_keys} == {"tenfund"}
    assert not {"orders", "fills", "day_status"} & {k.path[-1] for k in repository.asset_graph.get_all_asset_keys()}
    assert (list(repository.sensor_defs), list(repository.schedule_defs)) == ([], [])

    sessions = ws.cuts.calendar.between(*[date(2025, 1, 2), date(2025, 3, 14)])
    made = ran(definitions, "backfill", sessions[0], sessions[-1]) | ran(
        definitions, "features", sessions[-3], sessions[-1]
    )
    assert made >= {
        "tenfund/history/market_data",
        "tenfund/history/labels",
        "tenfund/history/features_tenfund",
        "tenfund/history/features_gap_20",
        "tenfund/history/features_surge",
    }
    values = ws.features("tenfund", sessions[-3], sessions[-1])
    assert values["session"].unique().sort().to_list() == sessions[-3:]
    assert values["gap_20"].null_count() < values.height
    alone = ws.features("gap_20", sessions[-3], sessions[-1])
    assert alone["gap_20"].equals(values["gap_20"])

    code, out = quant("try", "tenfund/features.py:gap_20", "--json")
    assert (code, json.loads(out)["note"]) == (0, ws.notice)


def ran(definitions: dg.Definitions, job: str, first: date, last: date) -> set[str]:
    """Run a job over a range, in this process; the assets that it made."""
    tags = {
        "dagster/asset_partition_range_start": quarter(first).isoformat(),
        "dagster/asset_partition_range_end": quarter(last).isoformat(),
        FIRST: first.isoformat(),
        LAST: last.isoformat(),
    }
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = definitions.resolve_job_def(job).execute_in_process(run_config=quiet, instance=instance, tags=tags)
    return {e.asset_key.to_user_string() for e in outcome.get_asset_materialization_events() if e.asset_key}


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quant: Quant) -> None:
    """A file that stands stops all of it; so does a name under which something else would be found, or that no
    module can have.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "README.md").write_text("mine")
    for argv, words in (
        (["twofund", "there"], "README.md would be overwritten"),
        (["json"], "a module 'json' already"),
        (["Two-Fund"], "cannot be a package's name"),
    ):
        app = typer.Typer()
        app.command()(features.init)
        with pytest.raises(QuantError, match=words):
            app(argv, standalone_mode=False)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == ["there/README.md"]
    assert (tmp_path / "there" / "README.md").read_text() == "mine"


def test_a_package_beside_the_platform_keeps_what_its_strategies_read(stored: Path) -> None:
    """Where a deployment has no sets of its own, its research assets are still all there, and dependencies stay
    among them.
    """
    graph = beside(Workspace.open(), "other").get_repository_def().asset_graph
    (used,) = {find_set(s.feature_set).table.name for s in deployment().strategies}
    champion = graph.get(dg.AssetKey(["other", "history", "champion"]))
    assert dg.AssetKey(["other", "history", used]) in champion.parent_keys
    assert {k.path[0] for k in graph.get_all_asset_keys()} == {"other"}
