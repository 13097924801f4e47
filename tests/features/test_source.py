"""The fingerprint follows every line that a set's behaviour comes from."""

import importlib
import sys

import polars as pl
import pytest

from quant_assets import source
from quant_assets.features.feature import feature
from quant_assets.features.price_volume import PRICE_VOLUME, kernel
from quant_assets.source import source_hash

FILES = {
    "__init__.py": "",
    "own.py": (
        "import polars as pl\nfrom .parts import lag\nfrom fundlike import deep\n\ndef kernel(panel):\n    "
        "return panel.with_columns(x=lag(pl.col('close')) * deep.FACTOR)\n"
    ),
    "parts.py": "def lag(e):\n    from fundlike.windows import BY\n    return e.shift(BY)\n",
    "windows.py": "BY = 1\n",
    "deep.py": "FACTOR = 2\n",
    "apart.py": "NOTHING = 0\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of several modules, and its kernel."""
    root = tmp_path / "fundlike"
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield root, importlib.import_module("fundlike.own").kernel
    for name in [m for m in sys.modules if m.startswith("fundlike")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "another"),
    [("own.py", True), ("parts.py", True), ("windows.py", True), ("deep.py", True), ("apart.py", False)],
)
def test_a_changed_line_anywhere_below_is_another_hash(package, file, another) -> None:
    """Whatever the kernel's module imports of its package counts, wherever the import stands; a module that it does not
    use does not.
    """
    root, function = package
    before = source_hash(function)
    (root / file).write_text(FILES[file] + "# changed\n")
    assert (source_hash(function) != before) is another


def test_the_platforms_sets_follow_their_own_modules() -> None:
    """A compiled kernel's modules count though they are imported when it first runs; two sets of different modules
    differ.
    """
    from quant_assets.features.alpha158.feature_set import kernel as compiled

    assert {f"quant_assets.features.alpha158.{m}" for m in ("tiles", "formulas")} <= _modules(compiled)
    assert source_hash(kernel) != source_hash(compiled)


def _modules(function) -> set[str]:
    seen: set[str] = set()
    waiting = [function.__module__]
    while waiting:
        module = waiting.pop()
        path = source._file(module)
        if module not in seen and path is not None:
            seen.add(module)
            waiting += source._read(path, module, source.OURS, (0, 0))[1]
    return seen


def test_a_function_of_no_file_counts_by_its_code() -> None:
    """What a notebook or a string made has a hash of its code: another constant, another hash."""
    made = []
    for factor in (1, 2, 2):
        scope = {"__name__": "__main__", "pl": pl}
        # a notebook's cell
        exec(f"def kernel(panel):\n    return panel.with_columns(x=pl.col('close') * {factor})", scope)  # noqa: S102
        made.append(source_hash(scope["kernel"]))
    assert made[0] != made[1] == made[2]


def test_a_decorated_function_counts_by_its_authors_file() -> None:
    """The decorator's wrapper hides nothing: the set of a function here has the hash of this file."""

    @feature(lookback=1)
    def hidden_by_nothing(close):
        """Yesterday's return."""
        return close / close.shift(1) - 1

    assert (
        source_hash(hidden_by_nothing.kernel)
        == source_hash(test_a_decorated_function_counts_by_its_authors_file)
        != source_hash(PRICE_VOLUME.kernel)
    )
