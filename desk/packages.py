"""A team's own modules: those that the deployment file names, and the one file that `quant try` is given; nothing else
is ever imported. And the package with which a team begins.
"""

import importlib
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from quant_assets.errors import ConfigurationError
from quant_assets.features.sets import FeatureSet
from quant_assets.plugged import GROUP, broken, load_entry_points
from quant_assets.records import content_id

TEMPLATE = Path(__file__).with_name("template")


def load_packages(names: Sequence[str], folder: Path) -> None:
    """Import the modules, so that their declarations are known; packages in `folder` are found after the installed
    ones. A name may also be that of an installed package's entry point `quant_assets.plugins`.

    Raises ConfigurationError with the module, the error in it, and its line.
    """
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
            raise ConfigurationError(
                f"packages: {name!r} is not the name of a module; write it as in an import: myfund.features"
            )
    if names:
        _find_in(folder)
    for name in names:
        installed = load_entry_points(name)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise broken(f"packages: {name}", error, __file__) from error  # a module that it imports is missing
            if installed:
                continue
            raise ConfigurationError(
                f"packages: no module is named {error.name!r}, neither in {folder.absolute()} nor among "
                f"what is installed, nor an entry point {GROUP}; name one that is there, or put it beside the "
                f"deployment file"
            ) from error
        except Exception as error:
            raise broken(f"packages: {name}", error, __file__) from error


def feature_set_in(target: str) -> FeatureSet:
    """The set of FILE.py:NAME, by its own name or its variable's; the file's only one if no name is given.

    Raises ConfigurationError with the sets that exist.
    """
    file, _, name = target.partition(":")
    path = Path(file).expanduser().absolute()
    if path.suffix != ".py" or not path.is_file():
        raise ConfigurationError(f"there is no file {file!r}; write FILE.py:NAME, as in my.py:gap_20")
    module = _module_of(path)
    found = {k: v for k, v in vars(module).items() if isinstance(v, FeatureSet)}
    for called, one in found.items():
        if name in {called, one.name}:
            return one
    if not name and len(found) == 1:
        return next(iter(found.values()))
    there = (
        f"it has {', '.join(f'{file}:{k}' for k in found)}"
        if found
        else "it declares none; write @feature(lookback=…) over a function of columns (quant init shows one)"
    )
    raise ConfigurationError(f"{file} has no feature {name!r}: {there}" if name else f"{file}: which feature? {there}")


def write_package(name: str, folder: Path) -> list[Path]:
    """Write a team's own package of that name into the folder, and return its files.

    Raises ConfigurationError if a file exists already, or if the name cannot be a package's.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigurationError(
            f"{name!r} cannot be a package's name; write lower-case letters, digits and underscores: myfund"
        )
    texts = {folder / _place(t, name): t.read_text().replace("myfund", name) for t in sorted(TEMPLATE.rglob("*.txt"))}
    if standing := [str(p) for p in texts if p.exists()]:
        raise ConfigurationError(
            f"nothing was written: {', '.join(standing)} would be overwritten; name another folder"
        )
    found = find_spec(name)
    if found and found.origin:  # a folder without modules has none
        raise ConfigurationError(
            f"there is a module {name!r} already, and it would be found instead; choose another name"
        )
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(texts)


def _place(template: Path, name: str) -> str:
    """Where a file of the template goes."""
    place = template.relative_to(TEMPLATE).as_posix().removesuffix(".txt").replace("myfund", name)
    return f".{place}" if place == "gitignore" else place


def _module_of(path: Path) -> ModuleType:
    """The file as a module: the one as which it is loaded already, or else under its name in its package."""
    for loaded in list(sys.modules.values()):
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        root, parts = root.parent, [root.name, *parts]
    name = ".".join(parts)
    if name in sys.modules:  # another file's
        name = f"{parts[-1]}_{content_id(str(path))}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} cannot be loaded as Python")
    _find_in(root)
    try:
        if len(parts) > 1:
            importlib.import_module(".".join(parts[:-1]))
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise broken(str(path), error, __file__) from error
    return module


def _find_in(folder: Path) -> None:
    """Make packages in the folder importable; last, so that they never replace an installed one."""
    if (where := str(folder.absolute())) not in sys.path:
        sys.path.append(where)
    importlib.invalidate_caches()  # it may have been written a moment ago
