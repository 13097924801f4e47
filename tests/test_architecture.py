"""The walls of the house: what may import what, what may not stand in the code, what every contract has."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_assets.contract import UTC_MICROS, Table
from quant_assets.market_data.datasets import contracts
from tests.test_portable_path import FILES, decision_path, offences

REPOSITORY = Path(__file__).parents[1]
FLOORS = ("quant_assets", "resources", "jobs")  # from the ground up
SOURCES = sorted(p for floor in FLOORS for p in (REPOSITORY / floor).rglob("*.py"))
HEAVY = (
    "dagster",
    "great_expectations",
    "mlflow",
    "sklearn",
    "lightgbm",
    "pandas",
    "exchange_calendars",
    "ib_async",
    "ccxt",
    "altair",
)
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "managers", "tools"}

# A package index named in a tracked file would tie installations to it; an absolute path ties them to one machine.
# in pieces, so that this file does not name what it forbids
REGISTRY = re.compile(
    r"\b("
    + "|".join(
        [
            "py" + "pi",
            "python" + "hosted",
            "reg" + r"istry\.npm" + "js",
            "cra" + "tes",
            "deb" + r"\.deb" + "ian",
            "proxy" + r"\.go" + "lang",
        ]
    )
    + r")\.(org|io)\b"
)
MACHINE = re.compile(r"(?<![\w.])/(work|root|home)/[a-z]")

# Imports every module in turn; a heavy library is refused at the door, so that each module that needs one fails by itself.
IMPORT_ALL = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in heavy:
            raise ModuleNotFoundError(f"refused: {name}", name=name)
sys.meta_path.insert(0, Refuse())
offenders = []
for module in modules:
    try:
        importlib.import_module(module)
    except Exception as error:
        offenders.append(f"{module}: {error!r}")
print(json.dumps(offenders))
"""


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def where(path: Path, node: ast.stmt | ast.expr) -> str:
    """File and line of a node."""
    return f"{path.relative_to(REPOSITORY)}:{node.lineno}"


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Every node of every source file."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def imports(path: Path, node: ast.AST) -> list[str]:
    """The modules that an import statement names, in full."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
        parent = package[: len(package) - node.level + 1] if node.level else []
        return [".".join([*parent, *(node.module or "").split(".")])]
    return []


def run_python(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def none(offenders: list[str]) -> None:
    """Fail and show all of them."""
    assert not offenders, "\n" + "\n".join(offenders)


def tracked() -> list[Path]:
    """The files under version control."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: which files are the project's is unknown")
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def test_imports_go_down_only() -> None:
    """No module imports from a floor above its own, not even inside a function."""
    rank = {floor: i for i, floor in enumerate(FLOORS)}
    upward = [
        f"{where(path, node)} imports {name}"
        for path, node in nodes()
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imports(path, node)
        if rank.get(name.split(".")[0], -1) > rank[path.relative_to(REPOSITORY).parts[0]]
    ]
    none(upward)


def test_only_assets_checks_and_jobs_import_heavy_libraries() -> None:
    """Module by module: the pure ones import where none of the heavy libraries can be."""
    pure = [
        module_name(p)
        for p in SOURCES
        if p.name not in {"assets.py", "checks.py"} and p.relative_to(REPOSITORY).parts[0] != "jobs"
    ]
    assert len(pure) > 20
    none(json.loads(run_python(IMPORT_ALL, json.dumps(pure), json.dumps(HEAVY))))


@pytest.mark.parametrize("module", ["quant_assets", "quant_assets.ports", "resources.workspace", "jobs.cli"])
def test_the_light_entries_stay_light(module: str) -> None:
    """Importing the package, a notebook's workspace or the command line loads none of the heavy libraries."""
    loaded = json.loads(
        run_python(f"import json, sys, {module}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))")
    )
    none(sorted(set(HEAVY) & set(loaded)))


def test_no_code_is_read_from_data() -> None:
    """No pickle in any of its forms, no eval or exec, no YAML that builds objects."""
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    attributes = {("yaml", "load"), ("yaml", "load_all"), ("yaml", "unsafe_load"), ("yaml", "full_load")}
    found: list[str] = []
    for path, node in nodes():
        found += [
            f"{where(path, node)} imports {name}"
            for name in imports(path, node)
            if name.split(".")[0] in modules and isinstance(node, ast.stmt)
        ]
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id="eval" | "exec" | "compile" | "__import__" as name):
                found.append(f"{where(path, node)} calls {name}")
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in attributes or name in {
                "read_pickle",
                "to_pickle",
            }:
                found.append(f"{where(path, node)} calls {owner}.{name}")
            case _:
                pass
        found += [
            f"{where(path, node)} passes allow_pickle" for keyword in node.keywords if keyword.arg == "allow_pickle"
        ]
    none(found)


def test_no_registry_and_no_machine_is_named() -> None:
    """No tracked file names a package registry's host or an absolute path of one machine."""
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {hit[0]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if (hit := REGISTRY.search(line) or MACHINE.search(line))
    ]
    none(found)


def test_every_public_function_and_class_says_what_it_is() -> None:
    """Public functions and classes of a module have a docstring."""
    silent = [
        f"{where(path, node)} {node.name}"
        for path in SOURCES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    none(silent)


def test_no_drawers() -> None:
    """Every file and folder is named after what it holds."""
    none(
        [
            str(p.relative_to(REPOSITORY))
            for p in SOURCES
            if DRAWERS & {part.removesuffix(".py") for part in p.relative_to(REPOSITORY).parts}
        ]
    )


@pytest.mark.parametrize("table", contracts(), ids=lambda table: table.name)
def test_every_table_keeps_the_laws(table: Table) -> None:
    """A table says what a row means, has its key and event column stored, and knows when each row was known."""
    assert table.doc.endswith(".")
    assert set(table.key) <= set(table.schema)
    assert set(table.beside) <= set(table.schema) - set(table.key)
    assert table.event in table.schema
    assert table.schema["known_at"] == UTC_MICROS
    assert "year" not in table.schema  # the partition column is the store's


def test_table_names_are_unique() -> None:
    """One name, one contract."""
    assert len({table.name for table in contracts()}) == len(contracts())


def test_nothing_on_the_decision_path_hangs_on_the_processor() -> None:
    """No logarithm, power or angle of a library, no BLAS, no solver, no order of equals, no licence to contract or reorder: see `quant_assets.portable`."""
    none(
        [
            f"{FILES[module].relative_to(REPOSITORY)}:{offence}"
            for module in sorted(decision_path())
            for offence in offences(FILES[module].read_text())
        ]
    )
