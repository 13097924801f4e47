"""The walls of the house: what may import what, what may not stand in the code, what every contract has."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from jobs import daily, live
from quant_assets import chain
from quant_assets.contract import UTC_MICROS, Table
from quant_assets.market_data.datasets import contracts
from quant_assets.stage import Stage
from tests.test_portable_path import FILES, decision_path, offences

REPOSITORY = Path(__file__).parents[1]
FLOORS = ("quant_assets", "resources", "desk", "jobs")  # from the ground up
FLOW = (
    "market_data",
    "features",
    "models",
    "signals",
    "books",
    "execution",
    "post_trade",
    "backtest",
    "today",
    "testing",
)  # a stage imports what comes before it, and the ground: what stands in no stage
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

# Imports every module in turn; a heavy library is refused at the door, so that each module that needs one fails by
# itself.
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


Arrow = tuple[str, str]  # importer, imported


def arrows(sources: Mapping[str, str]) -> list[Arrow]:
    """Which module imports which, of the modules in `sources` (their texts by name), inside functions too."""
    found = set[Arrow]()
    for name, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                named = [f"{node.module}.{a.name}" for a in node.names]
            else:
                continue
            for full in named:
                module = full if full in sources else full.rpartition(".")[0]
                if module in sources and module != name:
                    found.add((name, module))
    return sorted(found)


def stage(module: str) -> int:
    """The place of a module in the flow; -1 on the ground. The chain imports all stages, so it comes last."""
    if module == CHAIN:
        return len(FLOW)
    package, *below = module.split(".")
    return FLOW.index(below[0]) if package == "quant_assets" and below and below[0] in FLOW else -1


def going_up(of: Iterable[Arrow]) -> list[str]:
    """The imports of a floor above, and those against the flow."""

    def height(module: str) -> tuple[int, int]:
        return FLOORS.index(module.partition(".")[0]), stage(module)

    return [f"{a} imports {b}" for a, b in of if height(b) > height(a)]


def circles(of: Iterable[Arrow]) -> list[str]:
    """Modules that import each other, directly or not: what is left when modules that import nothing left are taken
    away, from both ends.
    """
    left = set(of)
    while True:
        sources, targets = {a for a, _ in left}, {b for _, b in left}
        kept = {(a, b) for a, b in left if b in sources and a in targets}
        if kept == left:
            return [f"{a} imports {b}" for a, b in sorted(left)]
        left = kept


CHAIN = "quant_assets.chain"
SOURCE = {module_name(p): p.read_text() for p in SOURCES}
ARROWS = arrows(SOURCE)


def test_imports_go_down_and_with_the_flow() -> None:
    """No module imports from a floor above its own, nor from a stage that comes after its own, not even inside a
    function.
    """
    assert len(ARROWS) > 500
    none(going_up(ARROWS))


def test_no_modules_import_each_other() -> None:
    """There is no circle, of two modules or of many."""
    none(circles(ARROWS))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("quant_assets.features.publish", "from desk.day import run_day"),
        ("resources.clock", "import jobs.cli"),
        ("desk.lock", "def f():\n    from jobs import cli"),
        ("quant_assets.market_data.universe", "from quant_assets.signals.decide import decide"),
        ("quant_assets.strategy", "from quant_assets.features.sets import FeatureSet"),
        ("quant_assets.signals.assets", "from quant_assets.chain import STAGES"),
        ("quant_assets.books.holdings", "from quant_assets.backtest.loop import run"),
    ],
)
def test_an_import_against_the_flow_is_seen(module: str, line: str) -> None:
    """Each fault is put into the house, and found."""
    broken = {**SOURCE, module: f"{SOURCE[module]}\n{line}\n"}
    (offence,) = going_up(arrows(broken))
    assert offence.startswith(f"{module} imports ")


def test_a_circle_is_seen() -> None:
    """Two stores that import each other are found, and nothing else is."""
    store, files = "resources.tables.store", "resources.tables.data_files"
    broken = {**SOURCE, files: f"{SOURCE[files]}\nfrom {store} import DeltaStore\n"}
    assert f"{files} imports {store}" in circles(arrows(broken))


def naming_dagster(sources: Mapping[str, str]) -> list[str]:
    """The modules that import Dagster, at the top or in a function, and are neither assets, checks nor jobs."""
    return [
        name
        for name, text in sources.items()
        if not name.startswith("jobs.") and name.rpartition(".")[2] not in {"assets", "checks"}
        for node in ast.walk(ast.parse(text))
        for named in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if named.partition(".")[0] == "dagster"
    ]


def test_dagster_is_a_shell() -> None:
    """Only assets, checks and jobs know it; a core that imports it is seen, in a function too."""
    none(naming_dagster(SOURCE))
    core = "quant_assets.signals.decide"
    for line in ("import dagster as dg", "def f():\n    from dagster import asset"):
        assert naming_dagster({**SOURCE, core: f"{SOURCE[core]}\n{line}\n"}) == [core]


def not_in_the_chain(sources: Mapping[str, str]) -> list[str]:
    """The stage functions (they take sessions and yield reports) that neither the chain nor an asset names."""
    known = "\n".join(text for name, text in sources.items() if name == CHAIN or name.endswith(".assets"))
    return [
        f"{name}.{node.name}"
        for name, text in sources.items()
        if name.startswith("quant_assets.")
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
        and node.returns is not None
        and ast.unparse(node.returns) == "Iterator[StageReport]"
        and "sessions" in {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
        and not re.search(rf"\b{node.name}\b", known)
    ]


def test_every_stage_is_in_the_chain() -> None:
    """A stage that is written and not listed is seen."""
    none(not_in_the_chain(SOURCE))
    for function in ("cost_books", "judge_sessions", "deliver_books"):
        broken = {**SOURCE, CHAIN: re.sub(rf"\b{function}\b", "other", SOURCE[CHAIN])}
        (missing,) = not_in_the_chain(broken)
        assert missing.endswith(f".{function}")


def unwritten(stages: Sequence[Stage]) -> list[str]:
    """What stages read that comes neither from outside, nor from the ledger, nor from a stage before them."""
    written, found = {"vendor", "venue", "outbox"}, list[str]()
    for stage in stages:
        found += [f"{stage.name} reads {t}" for t in sorted(set(stage.reads) - set(stage.writes) - written)]
        written |= set(stage.writes)
    return found


def test_what_is_read_was_written_before() -> None:
    """The chain's order is that of its tables; two stages the other way round are seen, and so is one left out."""
    none(unwritten(chain.CHAIN))
    names = [s.name for s in chain.CHAIN]
    for early, late in (("scores", "decisions"), ("universe", "features"), ("fills", "positions"), ("costs", "report")):
        swapped = list(chain.CHAIN)
        a, b = names.index(early), names.index(late)
        swapped[a], swapped[b] = swapped[b], swapped[a]
        assert any(f.startswith(f"{late} reads") for f in unwritten(swapped)), (early, late)
        assert unwritten([s for s in chain.CHAIN if s.name != early])


def test_the_jobs_of_a_day_are_the_chain() -> None:
    """Daily, deliver and post_trade, in the order in which a day runs them, are its stages in its order."""
    slices = {"daily": daily.DAILY, "deliver": daily.DELIVERED, "post_trade": daily.REPORTED, "today": ()}
    assert [name for job in live.DAY for name in slices[job]] == [s.name for s in chain.CHAIN]


def test_only_assets_checks_and_jobs_import_heavy_libraries() -> None:
    """Module by module: the pure ones import where none of the heavy libraries can be."""
    pure = [
        module_name(p)
        for p in SOURCES
        if p.name not in {"assets.py", "checks.py"} and p.relative_to(REPOSITORY).parts[0] != "jobs"
    ]
    assert len(pure) > 20
    none(json.loads(run_python(IMPORT_ALL, json.dumps(pure), json.dumps(HEAVY))))


@pytest.mark.parametrize("module", ["quant_assets", "quant_assets.ports", "desk.workspace", "jobs.cli"])
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
    """No logarithm, power or angle of a library, no BLAS, no solver, no order of equals, no licence to contract or
    reorder: see `quant_assets.portable`.
    """
    none(
        [
            f"{FILES[module].relative_to(REPOSITORY)}:{offence}"
            for module in sorted(decision_path())
            for offence in offences(FILES[module].read_text())
        ]
    )
