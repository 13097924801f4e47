"""The path from a row to a decision: no function on it whose answer hangs on the processor.

NumPy's argsort puts equal values in another order with AVX-512, with AVX2 and without either; its logarithm,
exponential and power have other last bits with AVX-512, glibc's (behind `math` and Polars) without FMA, a BLAS by its
kernel.

What is on it is read from the imports: the stages of the chain that end in decisions, replay, every source of rows and
every feature set, and whatever these import in turn.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_assets import chain

REPOSITORY = Path(__file__).parents[1]
SOURCES = [p for floor in ("quant_assets", "resources", "desk") for p in sorted((REPOSITORY / floor).rglob("*.py"))]
FILES = {".".join(p.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): p for p in SOURCES}

ROOTS = ("quant_assets.signals.replay", "quant_assets.features.feature")
BRANCHES = ("resources.sources.", "quant_assets.features.labels", "quant_assets.features.inputs")

OFF_THE_PATH = {
    "quant_assets.models.training": "fits: an artifact is stored, and replay reads it; no replay fits again",
    "quant_assets.models.drift_page": "draws a page of numbers that are stored",
    "quant_assets.features.audit": "asks of the code whether it looks ahead; a decision reads whether it passed",
}
"""Modules that the path imports and that no replayed bit comes from, each with the reason."""

# correctly rounded everywhere, or exact: sqrt, fsum, frexp, ldexp, floor, ceil, trunc, fabs, gcd, comb, isclose, isnan
# …
LIBRARY = {
    "log",
    "log2",
    "log10",
    "log1p",
    "exp",
    "exp2",
    "expm1",
    "pow",
    "power",
    "float_power",
    "cbrt",
    "hypot",
    "logaddexp",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "arcsin",
    "arccos",
    "arctan",
    "arctan2",
    "arcsinh",
    "arccosh",
    "arctanh",
    "erf",
    "erfc",
    "gamma",
    "lgamma",
}
BY_BLAS = {
    "dot",
    "vdot",
    "inner",
    "matmul",
    "tensordot",
    "einsum",
    "vecdot",
    "matvec",
    "vecmat",
    "linalg",
    "fft",
    "cov",
    "corrcoef",
    "polyfit",
    "convolve",
    "correlate",
}
EXPRESSIONS = {
    "log",
    "log10",
    "log1p",
    "exp",
    "pow",
    "cbrt",
    "dot",
    "skew",
    "kurtosis",
    "rolling_skew",
    "rolling_kurtosis",
    "entropy",
    "sin",
    "cos",
    "tan",
    "cot",
    "sinh",
    "cosh",
    "tanh",
    "arcsin",
    "arccos",
    "arctan",
    "arcsinh",
    "arccosh",
    "arctanh",
}
INDICATORS = {
    "ln",
    "log10",
    "exp",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "linearreg_angle",
    "mama",
    "ht_dcperiod",
    "ht_dcphase",
    "ht_phasor",
    "ht_sine",
    "ht_trendline",
    "ht_trendmode",
}
OWNERS = {"np": LIBRARY | BY_BLAS, "numpy": LIBRARY | BY_BLAS, "math": LIBRARY, "ta": INDICATORS}
SOLVERS = {"scipy", "sklearn", "statsmodels", "cmath"}


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(FILES)


def called_by_a_day() -> set[str]:
    """The modules of the stages that end in decisions."""
    stages = (chain.STAGES["market_data"], *chain.between("universe", "decisions"))
    return {s.function.__module__ for s in stages}


def off(module: str) -> bool:
    """Whether a module is named as off the path, with those below it."""
    return any(module == name or module.startswith(f"{name}.") for name in OFF_THE_PATH)


def decision_path() -> set[str]:
    """The modules on the way from a row to a decision."""
    todo = [*called_by_a_day(), *ROOTS, *(m for m in FILES if m.startswith(BRANCHES))]
    found: set[str] = set()
    while todo:
        module = todo.pop()
        if module not in found and not off(module):
            found.add(module)
            todo += imported(FILES[module])
    return found


def offences(source: str) -> Iterator[str]:
    """What in a source hangs on the processor, each with its line."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for found in (*_by_name(node), *_by_operator(node), *_by_import(node)):
            yield f"{getattr(node, 'lineno', 0)}: {found}"


def _by_name(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if name in OWNERS.get(owner, ()):
            yield f"{owner}.{name}"
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in EXPRESSIONS:
            if not (isinstance(value, ast.Name) and value.id in {*OWNERS, "self"}):
                yield f".{name}()"
        case ast.Call(keywords=keywords) if any(k.arg == "fastmath" for k in keywords):
            yield "fastmath"
        case ast.Call(func=ast.Attribute(attr="argsort"), keywords=keywords) if not any(
            k.arg == "kind" and isinstance(k.value, ast.Constant) and k.value.value == "stable" for k in keywords
        ):
            yield 'argsort without kind="stable"'
        case ast.Attribute(attr="argpartition"):
            yield "argpartition"
        case ast.Constant(value="contract" | "reassoc" as licence):
            yield licence
        case _:
            pass


def _by_operator(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.BinOp(op=ast.MatMult()) | ast.AugAssign(op=ast.MatMult()):
            yield "@"
        case ast.BinOp(left=left, op=ast.Pow()) if not _exact(left):
            yield "**"
        case _:
            pass


def _by_import(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.ImportFrom(module="math" | "numpy" as module, names=names):
            yield from (f"{module}.{a.name}" for a in names if a.name in LIBRARY | BY_BLAS)
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in SOLVERS:
            yield f"from {module}"
        case ast.Import(names=names):
            yield from (f"import {a.name}" for a in names if a.name.split(".")[0] in SOLVERS)
        case _:
            pass


def _exact(base: ast.expr) -> bool:
    """Whether it is an integer, written out, or 2.0: their whole powers are exact."""
    return isinstance(base, ast.Constant) and (isinstance(base.value, int) or base.value == 2.0)


def test_the_path_is_the_whole_way() -> None:
    """The modules found by their imports include every stage, the sources of rows and each feature set; what is
    excepted exists and is met.
    """
    found = decision_path()
    assert {
        "resources.sources.simulated", "quant_assets.market_data.ingest", "quant_assets.market_data.adjustment",
        "quant_assets.market_data.quality", "quant_assets.features.publish", "quant_assets.features.price_volume",
        "quant_assets.features.alpha158.formulas", "quant_assets.features.technical", "quant_assets.features.style",
        "quant_assets.features.labels.net", "quant_assets.features.drift", "quant_assets.models.boosting",
        "quant_assets.models.scoring", "quant_assets.signals.decide", "quant_assets.signals.guardrails",
        "quant_assets.signals.construction", "quant_assets.portable",
    } <= found  # fmt: skip
    reached = {m for module in found for m in imported(FILES[module])} | called_by_a_day()
    assert {name for name in OFF_THE_PATH if not any(m.startswith(name) for m in reached)} == set()


@pytest.mark.parametrize(
    "line",
    [
        "np.log(x)",
        "numpy.exp(x)",
        "math.pow(x, 2)",
        "from math import log1p",
        "pl.col('a').log()",
        "(a / b).exp()",
        "x @ y",
        "x @= y",
        "np.einsum('ij,ij->i', x, y)",
        "np.linalg.lstsq(a, b)",
        "x ** 2",
        "10.0 ** k",
        "f = np.log",
        "njit(f, fastmath=True)",
        "flags = {'contract', 'nsz'}",
        "import scipy.special",
        "from sklearn.linear_model import Ridge",
        "ta.linearreg_angle(c, 14)",
        "np.argsort(x)",
        "x.argsort(axis=1)",
        "np.argpartition(x, 3)",
    ],
)
def test_what_is_banned(line: str) -> None:
    """Each way to write a thing that differs by processor is seen."""
    assert list(offences(line))


@pytest.mark.parametrize(
    "line",
    [
        "np.sqrt(x)",
        "math.fsum(x)",
        "log(x)",
        "ln(pl.col('a'))",
        "2.0 ** -1022",
        "10**6",
        "x * x",
        "ta.sma(c, 20)",
        "self.log(x)",
        "np.argsort(x, kind='stable')",
    ],
)
def test_what_is_allowed(line: str) -> None:
    """What IEEE 754 fixes, and our own functions, may stand."""
    assert not list(offences(line))
