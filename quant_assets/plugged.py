"""The one registry of what is plugged in: by kind and name, with the options of each in a deployment file.

A plug-in is a class or a function that makes what its port asks for. Its parameters are its options, each with its
type; the parameters that its kind is given (`quant_assets.plugins`) are filled in by the platform.
"""

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from quant_assets.errors import ConfigurationError
from quant_assets.source import source_hash

GROUP = "quant_assets.plugins"
OWN = ("quant_assets.", "resources.")  # of the platform's own
PLUG_NAME = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,64})*$(?!\n)"

NAMED = "letters, digits, _ and -, with points between its parts, as in myfund.venue"

# no `pattern`: msgspec frees that of a text which may also be a mapping as what it is not, and the process crashes
PlugName = Annotated[
    str,
    Meta(extra={"form": PLUG_NAME, "write": f"a name of {NAMED}"}, extra_json_schema={"pattern": PLUG_NAME}),
]
Plug = PlugName | Mapping[str, Any]
"""How a plug-in is named where it is used: its name, or `kind` with its name beside its options."""


@dataclass(frozen=True)
class Plugin:
    """What was declared: `make` gives what the port asks for; `options` is what a deployment file may set."""

    kind: str
    name: str
    make: Callable[..., Any] = field(repr=False)
    options: type[msgspec.Struct] = field(repr=False)
    given: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Module and name of what was declared."""
        return origin(self.make)

    @property
    def own(self) -> bool:
        """Whether it comes with the platform."""
        return self.origin.startswith(OWN)

    @property
    def fingerprint(self) -> str:
        """The hash of the source that it comes from, with what that imports of its own package; empty for the
        platform's own, whose commit is recorded beside each result.
        """
        return "" if self.own else source_hash(self.make)[:16]


REGISTRY: dict[tuple[str, str], Plugin] = {}
"""The platform's own, and those of the modules that were loaded."""


def origin(of: Callable[..., Any]) -> str:
    """Module and name of a function or class."""
    own = inspect.unwrap(of)
    return f"{getattr(own, '__module__', None) or '__main__'}.{getattr(own, '__qualname__', type(own).__name__)}"


def declare(
    kind: str,
    name: str,
    make: Callable[..., Any],
    *,
    given: Sequence[str] = (),
    methods: Sequence[str] = (),
    stated: type[msgspec.Struct] | None = None,
) -> None:
    """Make a plug-in known.

    `given`: the parameters that the platform fills in. `methods`: what a class must have. `stated`: options of every
    plug-in of this kind. The same module may declare it again (a notebook's cell). Raises ConfigurationError if
    another one has the name, if its name or options cannot be read in a deployment file, or if the class lacks a
    method.
    """
    if not re.fullmatch(PLUG_NAME, name):
        raise ConfigurationError(f"{name!r} is no name of a plug-in: {NAMED}")
    options = _options(kind, name, make, given, stated)
    if isinstance(make, type) and (lacking := [m for m in methods if not callable(getattr(make, m, None))]):
        raise ConfigurationError(
            f"{kind} {name!r}: {origin(make)} lacks {', '.join(lacking)}; see the port in quant_assets/ports.py"
        )
    made = Plugin(kind, name, make, options, tuple(given))
    there = REGISTRY.get((kind, name))
    if there is not None and there.origin != made.origin:
        raise ConfigurationError(
            f"two plug-ins of kind {kind} are named {name!r}: {there.origin} and {made.origin}; rename one of them"
        )
    REGISTRY[kind, name] = made


def plugged_in(kind: str) -> list[Plugin]:
    """What is known of a kind, sorted by name."""
    return [REGISTRY[kind, name] for name in names(kind)]


def names(kind: str) -> list[str]:
    """The names that are known of a kind, sorted."""
    return sorted(n for k, n in REGISTRY if k == kind)


def look_up(kind: str, name: str) -> Plugin | None:
    """The plug-in, also one that the entry point of an installed package declares; None if there is none.

    Of installed packages only those are imported whose entry point has this name, or what precedes a point of it:
    `myfund` for `myfund.venue`. Raises ConfigurationError if such a module cannot be loaded.
    """
    parts = name.split(".")
    if (kind, name) not in REGISTRY:
        for n in range(1, len(parts) + 1):
            load_entry_points(".".join(parts[:n]))
    return REGISTRY.get((kind, name))


def load_entry_points(name: str) -> bool:
    """Import what installed packages declare under this entry point; False if none does.

    Raises ConfigurationError with the module, the error in it, and its line.
    """
    found = entry_points(group=GROUP, name=name)
    for one in found:
        try:
            importlib.import_module(one.module)
        except Exception as error:
            raise broken(f"the entry point {name} of {one.dist.name if one.dist else 'a package'}", error) from error
    return bool(found)


def find(kind: str, name: str) -> Plugin:
    """The plug-in of that kind and name. Raises ConfigurationError with the nearest name and those that exist."""
    found = look_up(kind, name)
    if found is None:
        near = get_close_matches(name, names(kind), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(
            f"no {kind} is named {name!r}; {hint}there are {', '.join(names(kind)) or 'none'}. One of your own is "
            "found if its module is named in the deployment (packages: [myfund.plugins]) or in an entry point of its "
            f"package ({GROUP})"
        )
    return found


def name_of(plug: Plug) -> str:
    """The name in a declaration."""
    return plug if isinstance(plug, str) else str(plug.get("kind", ""))


def opened(kind: str, plug: Plug, **given: Any) -> Any:
    """What the plug-in of that declaration makes, with its options and what the platform gives.

    Raises ConfigurationError where there is none, or where the options do not fit; the message has keys and no values.
    """
    found = find(kind, name_of(plug))
    options = {} if isinstance(plug, str) else {k: v for k, v in plug.items() if k != "kind"}
    try:
        chosen = msgspec.convert({**options, "kind": found.name}, found.options, strict=False)
    except msgspec.ValidationError as error:
        what = "a word is none of those that it takes" if str(error).startswith("Invalid") else str(error)
        raise ConfigurationError(
            f"{kind} {found.name}: {what}; its options are {', '.join(found.options.__struct_fields__) or 'none'}"
        ) from None  # without its cause, which holds the value
    return made(found, chosen, **given)


def made(plugin: Plugin, chosen: msgspec.Struct, **given: Any) -> Any:
    """What the plug-in makes with these options and of what is given the parameters that it names."""
    parameters = inspect.signature(plugin.make).parameters
    values = {k: v for k, v in (*msgspec.structs.asdict(chosen).items(), *given.items()) if k in parameters}
    return plugin.make(**values)


def fingerprints(*plugs: tuple[str, object]) -> list[str]:
    """Of the (kind, declaration) pairs that are set, what identifies the source behind each; none for the platform's
    own.
    """
    found = [look_up(kind, name_of(plug)) for kind, plug in plugs if isinstance(plug, str | Mapping)]
    return [f"{one.kind} {one.fingerprint}" for one in found if one is not None and not one.own]


def broken(what: str, error: Exception, loader: str = __file__) -> ConfigurationError:
    """The error in a team's module, and its line. `loader`: the file that imports it."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if "importlib" not in f.filename and f.filename not in {loader, __file__}
    ]
    line = (
        f" ({Path(frames[0].filename).name}, line {frames[0].lineno})"
        if frames and not isinstance(error, SyntaxError)
        else ""
    )
    return ConfigurationError(f"{what} cannot be loaded{line}: {type(error).__name__}: {error}")


def _options(
    kind: str, name: str, make: Callable[..., Any], given: Sequence[str], stated: type[msgspec.Struct] | None
) -> type[msgspec.Struct]:
    """What a deployment file may set: the parameters that the platform does not fill in."""
    initial = make.__init__ if isinstance(make, type) else make
    annotated = make if isinstance(make, type) and not inspect.isfunction(initial) else initial
    try:
        hints, parameters = get_type_hints(annotated, include_extras=True), inspect.signature(make).parameters
    except (TypeError, NameError, ValueError) as error:
        raise ConfigurationError(f"{kind} {name!r}: its parameters cannot be read ({error})") from error
    fields: list[tuple[Any, ...]] = []
    inherited = set(stated.__struct_fields__) if stated else set[str]()
    for one in parameters.values():
        if one.name in given or one.name in inherited or one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD}:
            continue
        if one.name not in hints:
            filled = f", or is one of {', '.join(given)}, which the platform fills in" if given else ""
            raise ConfigurationError(f"{kind} {name!r}: its option {one.name!r} has no type; annotate it{filled}")
        default = () if one.default is one.empty else (one.default,)
        fields.append((one.name, hints[one.name], *default))
    try:
        return msgspec.defstruct(
            f"{kind} {name}",
            fields,
            bases=(stated,) if stated else None,
            frozen=True,
            forbid_unknown_fields=True,
            omit_defaults=True,
            kw_only=True,
            tag=name,
            tag_field="kind",
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{kind} {name!r}: its options cannot be read from a file: {error}") from error
