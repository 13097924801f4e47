"""The deployment file of a research home: it names a production home, whose market data it reads, and what is its own.

Whatever it does not name is as production's own file has it: the source, the calendar, the start, the clock.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from msgspec import Meta

from desk.document.reading import Reading
from desk.document.yaml12 import parse
from quant_assets.errors import ConfigurationError
from quant_assets.records import Book, Frozen
from quant_assets.strategy import Strategy

KEY = "production"
OWN = ("strategies", "books", "packages")


class Research(Frozen, frozen=True, forbid_unknown_fields=True):
    """The file of a research home."""

    production: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(description="The production home whose tables are read and never written; relative to this file."),
    ]
    strategies: Annotated[tuple[Strategy, ...], Meta(description="What is tried; without any, production's.")] = ()
    books: Annotated[tuple[Book, ...], Meta(description="Research books; none where nothing is traded.")] = ()
    packages: Annotated[
        tuple[str, ...], Meta(description="Modules of your own, beside production's: mine.features.")
    ] = ()


def production_of(root: yaml.Node, file: Path) -> Path | None:
    """The production home that a document names, relative to its file; None where it names none."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    named = [v.value for k, v in pairs if k.value == KEY and isinstance(v, yaml.ScalarNode) and v.value]
    return (file.absolute().parent / Path(str(named[0])).expanduser()).resolve() if named else None


def production_in(file: Path) -> Path | None:
    """The production home that a deployment file names, however faulty it is; None where it names none or cannot be
    read.
    """
    try:
        return production_of(parse(file.read_bytes()), file)
    except (OSError, ConfigurationError):
        return None


def inherit(found: Reading, theirs: Mapping[str, Any], root: yaml.Node) -> None:
    """Note production's parts, by key, as values of the document, so that the home's own are tried against them."""
    for name, value in theirs.items():
        if name in OWN and (name != "strategies" or found.each("strategies")):
            continue
        found.values[name] = value
        found.nodes.setdefault(name, root)
        items: Sequence[Any] = value if isinstance(value, tuple) else ()
        for i, item in enumerate(items):
            path = f"{name}[{i}]"
            found.values[path], found.nodes[path] = item, root
            keys: Sequence[str] = getattr(item, "__struct_fields__", ())
            found.values |= {f"{path}.{key}": getattr(item, key) for key in keys}


def clashes(found: Reading, theirs: Sequence[Strategy], their_books: Sequence[Book]) -> None:
    """Note what would share a name in a table and mean something else, and every book that could trade."""
    strategies = {s.name.lower(): s for s in theirs}
    universes = {s.universe.name.lower(): s.universe for s in theirs}
    books = {b.name.lower(): b for b in their_books}
    for path, one in found.each("strategies").items():
        known = strategies.get(one.name.lower())
        if known is not None and known.config_hash != one.config_hash:
            found.fault(f"{path}.name", f"production declares {one.name} otherwise; give yours another name")
        if universes.get(one.universe.name.lower(), one.universe) != one.universe:
            what = f"production has another rule under the name {one.universe.name}; give yours another name"
            found.fault(f"{path}.universe", what)
    for path, book in found.each("books").items():
        if not book.research:
            what = "a research home delivers nothing, and its books trade nowhere: leave broker and armed out"
            found.fault(f"{path}.broker", what)
        elif books.get(book.name.lower(), book) != book:
            found.fault(f"{path}.name", f"production has a book {book.name} that is another; give yours another name")
