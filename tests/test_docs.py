"""The documents tell the truth about the tree and the tables."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.md")])
CONFIGURATION = sorted([*ROOT.glob("*.yaml"), ROOT / ".pre-commit-config.yaml", *(ROOT / "infra").rglob("*.yaml")])


@pytest.mark.parametrize(
    ("script", "page"),
    [("data_contracts.py", "data-contracts.md"), ("features.py", "features.md"), ("deployment.py", "deployment.md")],
)
def test_the_pages_made_from_the_code_are_current(script: str, page: str) -> None:
    """The data contracts and the feature sets stand in docs as the code declares them; `make docs` writes them."""
    printed = subprocess.run(
        [sys.executable, f"docs/{script}"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / page).read_text() == printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file or folder that exists."""
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_code_spans_exist(page: Path) -> None:
    """A path of this repository that a page names stands in the tree."""
    named = re.findall(r"`((?:quant_assets|resources|jobs|tests|docs|infra|bench)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", CONFIGURATION, ids=lambda path: path.name)
def test_configuration_is_yaml(path: Path) -> None:
    """Every configuration file parses."""
    assert yaml.safe_load(path.read_text())


def test_postgres_changes_the_storage_only() -> None:
    """The Dagster instance on PostgreSQL is the embedded one in everything but where it keeps its records."""
    embedded, postgres = (
        yaml.safe_load(path.read_text()) for path in (ROOT / "dagster.yaml", ROOT / "infra" / "dagster.postgres.yaml")
    )
    assert (embedded.pop("storage").keys(), postgres.pop("storage").keys()) == ({"custom"}, {"postgres"})
    assert embedded == postgres


@pytest.mark.parametrize(
    "port",
    [
        p
        for s in yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())["services"].values()
        for p in s.get("ports", [])
    ],
)
def test_what_knows_no_passwords_listens_on_loopback(port: str) -> None:
    """No published port of the compose file is reachable from another machine."""
    assert port.startswith("127.0.0.1:")


def test_the_exit_codes_are_documented() -> None:
    """The runbook has a line for every exit code that the command line can give."""
    from jobs.live import Exit

    documented = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert {str(int(code)) for code in Exit} <= documented


BLOCKS = re.findall(r"```(python|yaml)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def declared_in_readme(name: str) -> Any:
    """What the README's example of that name declares."""
    (code,) = (code for language, code in BLOCKS if language == "python" and f"{name} = " in code)
    declared: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), declared)  # noqa: S102  # our own page
    return declared[name]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example declares is there for no other test."""
    from quant_assets import plugged
    from quant_assets.features import declared

    monkeypatch.setattr(declared, "DECLARED", dict(declared.DECLARED))
    monkeypatch.setattr(plugged, "REGISTRY", dict(plugged.REGISTRY))


@pytest.mark.parametrize(
    "code", [code for language, code in BLOCKS if language == "python" and "Notebook.open" not in code]
)
def test_examples_of_code_fit_the_code(code: str) -> None:
    """The README's declarations run against the modules as they are, and each is under twenty lines."""
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  # our own page
    assert len([line for line in code.splitlines() if line.strip()]) < 20


def test_examples_of_deployments_fit_the_contract() -> None:
    """The README's source opens, and its strategy is one."""
    import msgspec

    from quant_assets.calendars import calendar
    from quant_assets.strategy import Strategy
    from resources.clock import SystemClock
    from resources.sources.open import open_source

    examples = [yaml.safe_load(code) for language, code in BLOCKS if language == "yaml"]
    declared = {key: value for example in examples for key, value in example.items()}
    sources = [example["source"] for example in examples if "source" in example]
    opened = [open_source(s, calendar("XNYS"), cache=ROOT, clock=SystemClock()).name for s in sources]
    assert opened == ["files", "myvendor"]
    feeds = [feed for language, code in BLOCKS if language == "yaml" for feed in yaml.safe_load(code).get("feeds", ())]
    assert [
        open_source(f, calendar("XNYS"), cache=ROOT, clock=SystemClock()).name for f in feeds if f["kind"] != "tabular"
    ] == ["binance_1m", "ib_1m"]
    (strategy,) = msgspec.convert(declared["strategies"], tuple[Strategy, ...])
    assert strategy.limits.max_weight == 0.04


TEMPLATE = ROOT / "desk" / "template" / "myfund"
HOW_TO = (ROOT / "docs" / "plug-ins.md").read_text()


def test_the_examples_of_plug_ins_are_those_of_the_template() -> None:
    """Each of the page's blocks is, line by line, in the package that `quant init` writes, whose own tests run it
    against the laws of its kind; each is under twenty lines, and every kind has one.
    """
    from quant_assets.testing import LAWS

    written = "".join((TEMPLATE / f"{name}.py.txt").read_text() for name in ("plugins", "features"))
    blocks = re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL)
    assert [block for block in blocks if block not in written] == []
    imports, *examples = blocks
    assert all(len([line for line in block.splitlines() if line.strip()]) < 20 for block in examples)
    assert len(examples) == len(LAWS)
    assert set(re.findall(r"^\| `(\w+)` \|", HOW_TO, re.MULTILINE)) == set(LAWS)
    assert imports
    tested = (TEMPLATE.parent / "tests" / "test_plugins.py.txt").read_text()
    assert set(re.findall(r'conforms\("(\w+)"', tested)) == set(LAWS)
