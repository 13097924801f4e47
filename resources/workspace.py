"""Where `Workspace` was until 0.2. It is `desk.notebook.Notebook` now; this name goes with the next release."""

import importlib
import warnings

MOVED = {"Workspace": ("desk.notebook", "Notebook"), "home": ("desk.workspace", "home")}


def __getattr__(name: str) -> object:
    """The thing where it is now, with a warning. Raises AttributeError for what never was here."""
    if name not in MOVED:
        raise AttributeError(name)
    module, now = MOVED[name]
    warnings.warn(
        f"resources.workspace.{name} is {module}.{now} now; change the import, the old name goes with the next release",
        DeprecationWarning,
        stacklevel=2,
    )
    # by name, since nothing in this folder may import from the floor above it
    return getattr(importlib.import_module(module), now)
