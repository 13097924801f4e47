"""The source text that a function's behaviour comes from: its module, and what that imports of the same package."""

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

OURS = "quant_assets.features"
FRAME = {f"{OURS}.sets", f"{OURS}.declared"}  # what every set is declared with says nothing about one of them


def source_hash(function: Callable[..., object]) -> str:
    """A hash of the function's module and of the modules that it imports, directly or not, from its own package: a
    changed line in any of them is another hash.

    Of the platform's own functions: from `quant_assets.features`. A function that stands in no file counts by its code.
    """
    own = inspect.unwrap(function)
    name = getattr(own, "__module__", "") or ""
    if _file(name) is None:
        code = getattr(own, "__code__", None)
        text = repr((code.co_code, code.co_consts, code.co_names)) if code else repr(own)
        return hashlib.sha256(text.encode()).hexdigest()
    return _of_modules(name)


def _of_modules(name: str) -> str:
    package = OURS if name.startswith(f"{OURS}.") else name.partition(".")[0]
    seen, waiting = set(FRAME), [name]
    digest = hashlib.sha256()
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if module in seen or path is None:
            continue
        seen.add(module)
        stands = path.stat()
        text, imported = _read(path, module, package, (stands.st_mtime_ns, stands.st_size))
        waiting += sorted(imported, reverse=True)
        digest.update(module.encode() + b"\0" + text + b"\0")
    return digest.hexdigest()


@lru_cache(1024)
def _read(path: Path, module: str, package: str, _stands: tuple[int, int]) -> tuple[bytes, frozenset[str]]:
    """The file's text, and the modules of `package` that it imports, wherever in it; read again where its time or
    size is another.
    """
    text = path.read_bytes()
    within = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            named = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), within) if node.level else node.module or ""
            named = [origin, *(f"{origin}.{a.name}" for a in node.names)]
        else:
            continue
        found.update(n for n in named if n == package or n.startswith(f"{package}."))
    return text, frozenset(found)


def _file(module: str) -> Path | None:
    """Where a module's text stands; None where it has none. Nothing is imported for it: a compiler takes seconds to
    load.
    """
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded and module != "__main__":
        return Path(loaded) if loaded.endswith(".py") else None
    root, *below = module.split(".")
    try:
        spec = find_spec(root) if root and root != "__main__" else None
    except (ImportError, ValueError):  # made by hand
        return None
    if spec is None or spec.origin is None:
        return None
    if not below:
        return Path(spec.origin) if spec.origin.endswith(".py") else None
    place = Path(spec.origin).parent.joinpath(*below)
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)
