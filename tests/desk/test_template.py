"""The package that `quant init` writes passes its own tests, plug-in by plug-in, and its deployment is one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from desk.deployment import load
from desk.packages import write_package
from desk.workspace import Workspace
from quant_assets import plugged
from quant_assets.features import declared

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the package plugs in is there for no other test."""
    monkeypatch.setattr(plugged, "REGISTRY", dict(plugged.REGISTRY))
    monkeypatch.setattr(declared, "DECLARED", dict(declared.DECLARED))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [n for n in sys.modules if n.partition(".")[0] == "planted"]:
        del sys.modules[name]


def test_its_own_tests_pass(tmp_path: Path) -> None:
    """In a process of its own, as a team runs them."""
    write_package("planted", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "14 passed" in done.stdout


def test_its_deployment_names_what_it_plugs_in(tmp_path: Path) -> None:
    """Also with every example in use: each is made, and stands where the deployment has it."""
    write_package("planted", tmp_path)
    file = tmp_path / "deployment.yaml"
    used = file.read_text().replace(
        "    limits: {max_weight: 0.1}\n",
        "    limits: {max_weight: 0.1}\n    label: {horizon: 5, by: planted.best_exit}\n"
        "    construction: planted.linear\n",
    )
    used = used.replace("rounds: 80}", "rounds: 80, learner: planted.slopes}").replace(
        "broker: paper", "broker: planted.small"
    )
    file.write_text(
        used + "channels: [planted.spool]\nfeeds:\n  - {kind: planted.csv, dataset: short_interest, folder: s}\n"
    )
    ws = Workspace(tmp_path / ".quant", load(file))
    (strategy,) = ws.deployment.strategies
    assert strategy.config_hash
    assert ws.rules[-1].name == "penny_names"
    assert {one.kind for one in plugged.REGISTRY.values() if one.name.startswith("planted.")} == {
        "source", "label", "learner", "construction", "costs", "check", "broker", "notifier", "channel",
    }  # fmt: skip
