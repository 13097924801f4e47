"""Modules that a deployment names are loaded with it, and those alone; what is wrong with one is said with its name."""

import random
import sys
from pathlib import Path

import pytest
import yaml

from desk.deployment import DEFAULT
from desk.packages import feature_set_in
from desk.workspace import Workspace
from quant_assets.errors import ConfigurationError
from quant_assets.features.catalogue import find_set

FEATURES = '''
from quant_assets.features.feature import feature

@feature(lookback=2)
def {name}(open, close):
    """Yesterday's gap."""
    return open / close.shift(1) - 1
'''


pytestmark = pytest.mark.usefixtures("forgotten")


def deployed(folder: Path, *packages: str) -> Path:
    """A deployment file in the folder that names the packages, and whose strategy reads gap_1."""
    declared = yaml.safe_load(DEFAULT.read_text()) | {"packages": list(packages)}
    declared["strategies"][0]["feature_set"] = "gap_1"
    (folder / "deployment.yaml").write_text(yaml.safe_dump(declared))
    return folder / "deployment.yaml"


def package(folder: Path, name: str, source: str) -> Path:
    """A package with a module `features`."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    path = folder / name / "features.py"
    path.write_text(source)
    return path


def test_a_package_beside_the_deployment_file_is_loaded_with_it(tmp_path: Path) -> None:
    """Its sets are found by the strategies, and the file loaded a second time by its path is the module that is
    there already.
    """
    path = package(tmp_path, "fund_a", FEATURES.format(name="gap_1"))
    package(tmp_path, "never", "raise RuntimeError('nobody named me')")
    ws = Workspace.open(tmp_path / "home", deployed(tmp_path, "fund_a.features"))
    (strategy,) = ws.deployment.strategies
    assert ws.feature_set_of(strategy) is find_set("gap_1")
    assert feature_set_in(f"{path}:gap_1") is find_set("gap_1")
    assert Workspace.open(tmp_path / "home", tmp_path / "deployment.yaml").deployment == ws.deployment


def test_what_stands_in_the_folder_takes_no_installed_place(tmp_path: Path) -> None:
    """A module of the folder that is called as an installed one is not found in its stead."""
    package(tmp_path, "fund_b", f"import msgspec\n{FEATURES.format(name='gap_1')}")
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('shadowed')")
    Workspace.open(tmp_path / "home", deployed(tmp_path, "fund_b.features"))
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    ("named", "source", "words"),
    [
        (
            "fund_c.features",
            "import nowhere_at_all",
            r"fund_c\.features cannot be loaded \(features\.py, line 1\): ModuleNotFoundError.*nowhere_at_all",
        ),
        (
            "fund_c.features",
            "x = 1\ny = 1 / 0",
            r"fund_c\.features cannot be loaded \(features\.py, line 2\): ZeroDivisionError",
        ),
        ("fund_c.features", "def (", r"fund_c\.features cannot be loaded: SyntaxError.*features\.py, line 1"),
        (
            "fund_c.features",
            FEATURES.format(name="gap_1").replace("lookback=2", "lookback=-2"),
            r"fund_c\.features cannot be loaded.*looks ahead",
        ),
        ("fund_c.signals", "", r"no module is named 'fund_c\.signals', neither in .* nor among what is installed"),
        ("fund_d", "", "no module is named 'fund_d'"),
        ("../fund_c", "", "is not the name of a module"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_named(named: str, source: str, words: str, tmp_path: Path) -> None:
    """With the cause and the line: a deployment whose modules are broken opens no workspace."""
    package(tmp_path, "fund_c", source)
    with pytest.raises(ConfigurationError, match=words):
        Workspace.open(tmp_path / "home", deployed(tmp_path, named))


def test_one_file_is_enough(tmp_path: Path) -> None:
    """FILE.py:NAME is the set of that name; without a name the file's only one; else the answer lists what is there."""
    path = tmp_path / "random.py"  # named as a module of the standard library
    path.write_text(FEATURES.format(name="gap_1"))
    assert feature_set_in(str(path)) is feature_set_in(f"{path}:gap_1") is find_set("gap_1")
    assert sys.modules["random"] is random
    path = tmp_path / "two.py"
    path.write_text(FEATURES.format(name="gap_2") + FEATURES.format(name="gap_3"))
    with pytest.raises(ConfigurationError, match=r"which feature\? it has .*two\.py:gap_2, .*two\.py:gap_3"):
        feature_set_in(str(path))
    with pytest.raises(ConfigurationError, match="has no feature 'gap_4'"):
        feature_set_in(f"{path}:gap_4")
    with pytest.raises(ConfigurationError, match=r"there is no file 'my\.py'"):
        feature_set_in("my.py:gap_1")
    (tmp_path / "none.py").touch()
    with pytest.raises(ConfigurationError, match="declares none; write @feature"):
        feature_set_in(str(tmp_path / "none.py"))
