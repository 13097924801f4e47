"""The wheel takes one top-level name, and what is installed from it is the platform."""

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SITE = Path(np.__file__).parents[1]


@pytest.fixture(scope="module")
def packing() -> ModuleType:
    """infra/wheel.py, which is a hook and no package."""
    spec = importlib.util.spec_from_file_location("infra_wheel", ROOT / "infra" / "wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as site-packages has it: the wheel's content and nothing of this repository beside it."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, *arguments: str, home: Path, team: Path | None = None) -> str:
    """What an interpreter prints that finds the wheel and the libraries, and not this repository."""
    path = ":".join(str(p) for p in (team, installed, SITE) if p)
    environment: Mapping[str, str] = {
        "PYTHONPATH": path,
        "QUANT_HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
    }
    ran = subprocess.run(
        [sys.executable, "-S", *arguments], env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_wheel_takes_no_name_that_others_use(wheel: Path) -> None:
    """quant_assets and its metadata; the command is in it."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"quant_assets"}
    (points,) = (n for n in names if n.endswith("entry_points.txt"))
    assert "quant = quant_assets.platform.jobs.cli:main" in zipfile.ZipFile(wheel).read(points).decode()


def test_the_wheel_has_every_file_of_the_floors(wheel: Path) -> None:
    """Modules, templates, migrations, pages, the golden market, and what is read beside them."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "jobs", "desk", "resources"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [f for f in listed.stdout.split() if (ROOT / f).exists()]
    assert len(files) > 100
    assert [f for f in (*files, "dagster.yaml") if f"quant_assets/platform/{f}" not in packed] == []


def test_a_team_with_packages_of_the_same_names_works_beside_it(installed: Path, tmp_path: Path) -> None:
    """Its own `jobs`, `desk` and `resources` are found, and the platform's as well; the command answers."""
    for name in ("jobs", "desk", "resources"):
        (tmp_path / "team" / name).mkdir(parents=True)
        (tmp_path / "team" / name / "__init__.py").write_text("OURS = True\n")
    code = (
        "import jobs, desk, resources, quant_assets.testing\n"
        "from quant_assets.platform.desk.notebook import Notebook\n"
        "from quant_assets.platform.jobs import cli\n"
        "print(jobs.OURS, desk.OURS, resources.OURS, Notebook.__module__)\n"
    )
    if importlib.util.find_spec("quant_assets.testing") is None:
        code = code.replace(", quant_assets.testing", "")
    out = run(installed, "-c", code, home=tmp_path, team=tmp_path / "team")
    assert out.split() == ["True", "True", "True", "quant_assets.platform.desk.notebook"]
    command = ("-m", "quant_assets.platform.jobs.cli")
    assert "quant demo" in run(installed, *command, "--help", home=tmp_path, team=tmp_path / "team")
    assert "fine" in run(installed, *command, "check", home=tmp_path, team=tmp_path / "team")
    assert "quant backfill" in run(installed, "-c", TODAY, home=tmp_path, team=tmp_path / "team")


TODAY = """
import sys
from quant_assets.platform.jobs import cli
sys.argv = ["quant", "today"]
try:
    cli.main()
except SystemExit as ended:
    assert ended.code == 20
"""


@pytest.mark.slow
def test_every_module_of_the_wheel_can_be_imported(installed: Path, tmp_path: Path) -> None:
    """Under its new name, with no module of the old ones."""
    code = (
        "import importlib, pkgutil, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "import quant_assets.platform as platform\n"
        "for found in pkgutil.walk_packages(platform.__path__, 'quant_assets.platform.'):\n"
        "    if 'migrations' not in found.name: importlib.import_module(found.name)\n"
        "print([n for n in sys.modules if n.split('.')[0] in {'jobs', 'desk', 'resources'}])\n"
    )
    assert run(installed, "-c", code, home=tmp_path).strip().endswith("[]")


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("from jobs.cli import main\n", "from quant_assets.platform.jobs.cli import main\n"),
        ("    from desk import home\n", "    from quant_assets.platform.desk import home\n"),
        ("from quant_assets.records import jobs\n", "from quant_assets.records import jobs\n"),
        ('MODULE = "jobs.definitions"\n', 'MODULE = "quant_assets.platform.jobs.definitions"\n'),
        (
            '"""\n>>> from desk.day import status\n"""\n',
            '"""\n>>> from quant_assets.platform.desk.day import status\n"""\n',
        ),
        ("jobs = resources.get(desk)\n", "jobs = resources.get(desk)\n"),
        ("x = 1  # comes from\njobs = 2\n", "x = 1  # comes from\njobs = 2\n"),
        ("raise E from jobs.error\n", "raise E from jobs.error\n"),
        ('P = "a/jobs.txt", "my.jobs.x", "all jobs."\n', 'P = "a/jobs.txt", "my.jobs.x", "all jobs."\n'),
        ('f"{jobs.x} jobs.y"\n', 'f"{jobs.x} quant_assets.platform.jobs.y"\n'),
    ],
    ids=[
        "from",
        "indented",
        "a name of ours",
        "a string",
        "a docstring",
        "names",
        "a comment",
        "a cause",
        "other words",
        "f",
    ],
)
def test_names_are_moved_where_they_are_modules(packing: ModuleType, here: str, there: str) -> None:
    """Imports and the modules that strings name; nothing else changes."""
    source = f"if True:\n{here}" if here.startswith(" ") else here
    assert packing.moved_code(source).endswith(there)


def test_an_import_that_cannot_be_moved_ends_the_build(packing: ModuleType) -> None:
    """`import jobs.cli` binds `jobs`, which is not there."""
    with pytest.raises(ValueError, match="line 2: write `from jobs import"):
        packing.moved_code("import os\nimport jobs.cli\n")
