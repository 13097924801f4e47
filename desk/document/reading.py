"""A YAML document read against the types that declare it: the valid values, and every fault with its line, the likely
correction and the allowed values.

The types define everything: fields, defaults, ranges (`msgspec.Meta`), kinds of a tagged union. `Meta.extra` may have
`write` (the form of such a text in words), `form` (its pattern, where a mapping may stand instead), `above` (of a
Decimal), `hint` (what a number means), `plug` (the kind of plug-in that is named here: its name, or `kind` with its
name beside its options) and `more` (the kind of plug-in that a tagged union may be as well).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
import msgspec.inspect as mi
import yaml

from desk.document.scalars import READERS, Extra, Found, listed, meant, wanted_of
from desk.document.yaml12 import boolean, is_null, number, untyped
from quant_assets.errors import ConfigurationError
from quant_assets.plugged import Plugin, look_up, names


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong at a place of the document (from 1), under which key, in a sentence."""

    line: int
    column: int
    path: str
    what: str

    def line_in(self, file: str) -> str:
        """One line, as an editor or a terminal jumps to it."""
        return f"{file}:{self.line}:{self.column}: {self.path + ': ' if self.path else ''}{self.what}"


class _Missing:
    """A value that could not be read."""


MISSING = _Missing()


@dataclass
class Reading:
    """What was found.

    `values`: each valid value, by its path (`books[0]`, `books[0].name`), objects without their faulty keys; `nodes`:
    the place of each value.
    """

    faults: list[Fault] = field(default_factory=list[Fault])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    nodes: dict[str, yaml.Node] = field(default_factory=dict[str, yaml.Node])
    silent: list[yaml.Node] = field(default_factory=list[yaml.Node])  # values of unknown keys: never shown
    secret: tuple[str, ...] = ()  # roots below which no text is shown
    homes: Mapping[str, str] = field(default_factory=dict[str, str])  # where a key belongs, by its name
    partial: bool = False  # whether modules could not be loaded, so that an unknown plug-in may be one of theirs

    def fault(self, path: str, what: str, node: yaml.Node | None = None) -> None:
        """Note a fault at a path, or at the nearest thing above it that is in the document."""
        above = path
        while node is None and above and above not in self.nodes:
            above = re.sub(r"(\.[^.\[]+|\[\d+\]|^[^.\[]+)$", "", above)
        node = node or self.nodes.get(above) or self.nodes[""]
        self.faults.append(Fault(node.start_mark.line + 1, node.start_mark.column + 1, path, what))

    def each(self, root: str) -> dict[str, Any]:
        """The good items of a list, by their paths."""
        return {p: v for p, v in self.values.items() if re.fullmatch(rf"{root}\[\d+\]", p)}

    def partly(self, root: str) -> dict[str, dict[str, Any]]:
        """The good values of each item of a list by key, by the item's path; also of items that could not be made."""
        items = [p for p in self.nodes if re.fullmatch(rf"{root}\[\d+\]", p)]
        found: dict[str, dict[str, Any]] = {p: {} for p in items}
        for path, value in self.values.items():
            item, _, key = path.rpartition(".")
            if item in found:
                found[item][key] = value
        return found

    def wrong(self, *paths: str) -> bool:
        """Whether there is a fault at, below or above one of the paths (a value that could not be read causes no second
        fault).
        """
        return any(
            f.path == p or f.path.startswith((f"{p}.", f"{p}[")) or p.startswith((f"{f.path}.", f"{f.path}["))
            for f in self.faults
            for p in paths
        )

    def read(self, node: yaml.Node, wanted: mi.Type, path: str, extra: Extra | None = None) -> Any:
        """The value of the node as the type wants it, or MISSING where a fault was noted."""
        self.nodes.setdefault(path, node)
        found = self._read(node, wanted, path, extra or {})
        if found is not MISSING:
            self.values[path] = found
        return found

    def _read(self, node: yaml.Node, wanted: mi.Type, path: str, extra: Extra) -> Any:
        match wanted:
            case mi.Metadata():
                found = self._read(node, wanted.type, path, {**extra, **(wanted.extra or {})})
            case mi.UnionType() if "plug" in extra:
                found = self._plug(node, str(extra["plug"]), path)
            case mi.UnionType():
                found = self._union(node, wanted, path, extra)
            case mi.StructType():
                found = self._struct(node, wanted, path)
            case mi.VarTupleType():
                found = self._sequence(node, wanted, path)
            case mi.DictType():
                found = self._mapping(node, wanted, path)
            case mi.AnyType():
                found = untyped(node)
            case _:
                found = self._scalar(node, wanted, path, extra)
        return found

    def _scalar(self, node: yaml.Node, wanted: mi.Type, path: str, extra: Extra) -> Any:
        found = READERS[type(wanted)](node, wanted, extra) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(found, Found):
            return found.value
        self.fault(path, f"{found or wanted_of(wanted, extra)}; {self._found(node, path)}", node)
        return MISSING

    def _plug(self, node: yaml.Node, kind: str, path: str) -> Any:
        """The name of a plug-in, or its name and options."""
        if isinstance(node, yaml.ScalarNode):
            at, options = node, yaml.MappingNode("", [], node.start_mark, node.end_mark)
        else:
            named = [v for k, v in node.value if k.value == "kind"] if isinstance(node, yaml.MappingNode) else []
            if not named or not isinstance(named[0], yaml.ScalarNode):
                self.fault(path, f"must be a {kind}: its name, or {{kind: its name, …}} with its options", node)
                return MISSING
            at, options = named[0], node
        found = self._plugin(kind, at, path)
        made = self._options(options, found, path)
        if found is None or made is MISSING:
            return MISSING
        written = msgspec.to_builtins(made)
        return written if len(written) > 1 else found.name

    def _options(self, node: yaml.Node, plugin: Plugin | None, path: str) -> Any:
        """The options of a plug-in; MISSING where there is none, or a fault was noted."""
        if plugin is None:
            return MISSING
        wanted = mi.type_info(plugin.options)
        return self._struct(node, wanted, path) if isinstance(wanted, mi.StructType) else MISSING

    def _plugin(self, kind: str, at: yaml.ScalarNode, path: str) -> Plugin | None:
        """The plug-in that is named; None where a fault was noted."""
        try:
            found = look_up(kind, at.value)
        except ConfigurationError as error:
            self.fault(path, str(error), at)
            return None
        if found is None and not self.partial:
            known = names(kind)
            hint = f"{meant(at.value, known)}there {'is' if len(known) == 1 else 'are'} {listed(known) or 'none'}"
            where = "one of your own is found if `packages` names its module"
            self.fault(path, f"no {kind} is named so; {hint}; {where}", at)
        return found

    def _union(self, node: yaml.Node, wanted: mi.UnionType, path: str, extra: Extra) -> Any:
        options = [t for t in wanted.types if not isinstance(t, mi.NoneType)]
        if len(options) < len(wanted.types) and is_null(node):
            return None
        structs = [t for t in map(_bare, options) if isinstance(t, mi.StructType)]
        if len(structs) > 1:
            return self._tagged(node, structs, path, str(extra.get("more", "")))
        if isinstance(node, yaml.MappingNode):
            options = [t for t in options if isinstance(_bare(t), mi.StructType | mi.DictType)] or options
        elif isinstance(node, yaml.SequenceNode):
            options = [t for t in options if isinstance(_bare(t), mi.VarTupleType)] or options
        elif len(scalars := [t for t in options if isinstance(_bare(t), tuple(READERS))]) > 1:
            return untyped(node) if isinstance(untyped(node), int | float) and boolean(node) is None else node.value
        else:
            options = scalars or options
        return self.read(node, options[0], path, extra)

    def _tagged(self, node: yaml.Node, kinds: Sequence[mi.StructType], path: str, more: str) -> Any:
        """One of the kinds, or a plug-in of kind `more`."""
        key, by_tag = kinds[0].tag_field or "", {str(k.tag): k for k in kinds}
        said = [v for k, v in node.value if k.value == key] if isinstance(node, yaml.MappingNode) else []
        if not said:
            self.fault(path, f"it has no {key}; {key} is one of {listed(by_tag)}", node)
            return MISSING
        tag = said[0].value if isinstance(said[0], yaml.ScalarNode) else ""
        if more and tag not in by_tag:
            try:
                if (found := look_up(more, tag)) is not None or self.partial:
                    return self._options(node, found, path)
            except ConfigurationError as error:
                self.fault(f"{path}.{key}", str(error), said[0])
                return MISSING
            by_tag |= dict.fromkeys(names(more), kinds[0])
        if tag not in by_tag:
            self.nodes[f"{path}.{key}"] = said[0]
            self.silent.append(node)
            self.fault(f"{path}.{key}", f"no such {key}; {meant(tag, by_tag)}there are {listed(by_tag)}", said[0])
            return MISSING
        return self._struct(node, by_tag[tag], path)

    def _pairs(self, node: yaml.Node, path: str, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]] | None:
        """Key and value by the key's text; a key given twice is a fault. None if the node is no mapping."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(path, f"{what}; {self._found(node, path)}", node)
            return None
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.silent += [key, value]
                self.fault(path, f"a key is a word; {self._found(key, 'source')}", key)
            elif key.value in pairs:
                self.silent.append(value)
                first = pairs[key.value][0].start_mark.line + 1
                self.fault(_under(path, key.value), f"is given twice, first on line {first}; keep one", key)
            else:
                pairs[key.value] = key, value
        return pairs

    def _struct(self, node: yaml.Node, wanted: mi.StructType, path: str) -> Any:
        name, fields = _place(path), {f.encode_name: f for f in wanted.fields}
        known = {**fields, **({wanted.tag_field: None} if wanted.tag_field else {})}
        pairs = self._pairs(node, path, f"{name} has the keys {listed(known)}")
        if pairs is None:
            return MISSING
        values: dict[str, Any] = {}
        for key, (at, value) in pairs.items():
            below = _under(path, key)
            if key not in known:
                self.silent.append(value)
                elsewhere = self.homes.get(key)
                hint = f"it is a key of {elsewhere}" if elsewhere else meant(key, known).strip()
                self.fault(below, f"{name} has no such key; {hint or f'it has {listed(known)}'}", at)
            elif (one := fields.get(key)) is not None:
                values[one.name] = self.read(value, one.type, below)
        lacking = [f.encode_name for f in wanted.fields if f.required and f.encode_name not in pairs]
        for key in lacking:
            self.fault(_under(path, key), f"{name} lacks it, and it has no default", node)
        good = {k: v for k, v in values.items() if v is not MISSING}
        if any(f.required and f.name not in good for f in wanted.fields):
            return MISSING
        try:
            return wanted.cls(**good)
        except ValueError as error:
            if len(good) == len(values):  # else what is lacking may be why
                self.fault(path, str(error), node)
            return MISSING

    def _sequence(self, node: yaml.Node, wanted: mi.VarTupleType, path: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            self.fault(path, f"must be a list, [a, b] or a line “- a” for each; {self._found(node, path)}", node)
            return MISSING
        items = [self.read(n, wanted.item_type, f"{path}[{i}]") for i, n in enumerate(node.value)]
        if len(items) < (wanted.min_length or 0):
            self.fault(path, f"the list needs at least {wanted.min_length}; it is empty", node)
        return tuple(i for i in items if i is not MISSING)

    def _mapping(self, node: yaml.Node, wanted: mi.DictType, path: str) -> Any:
        pairs = self._pairs(node, path, "must be keys with their values, {a: b}")
        if pairs is None:
            return MISSING
        values = {k: self.read(v, wanted.value_type, _under(path, k)) for k, (_key, v) in pairs.items()}
        return {k: v for k, v in values.items() if v is not MISSING}

    def _found(self, node: yaml.Node, path: str) -> str:
        """The text at this place; nothing if it may hold a secret."""
        if isinstance(node, yaml.MappingNode):
            return "found keys with their values"
        if isinstance(node, yaml.SequenceNode):
            return "found a list"
        if is_null(node):
            return "found nothing"
        if path.startswith(self.secret) and number(node) is None and boolean(node) is None:
            return "found something else"
        text = str(node.value)
        shown = text if number(node) is not None else repr(text[:60])
        return f"found {shown}{'…' if len(text) > 60 else ''}"


def read(
    node: yaml.Node, wanted: type[Any], secret: tuple[str, ...] = (), *, partial: bool = False
) -> tuple[Any, Reading]:
    """The object, or MISSING, and all faults; below the roots named in `secret` no text of the document is shown.

    `partial`: not all modules could be loaded, so a plug-in that is not known is no fault of the document.
    """
    found = Reading(secret=secret, homes=_homes(wanted), partial=partial)
    return found.read(node, _info(wanted), ""), found


@cache
def _info(wanted: type[Any]) -> mi.Type:
    return mi.type_info(wanted)


@cache
def _homes(wanted: type[Any]) -> Mapping[str, str]:
    """What has a key, by the key, for those keys that one thing alone has."""
    found: dict[str, set[str]] = {}
    below: list[tuple[mi.Type, str]] = [(_info(wanted), "")]
    while below:
        kind, path = below.pop()
        if isinstance(kind, mi.Metadata):
            below.append((kind.type, path))
        elif isinstance(kind, mi.UnionType):
            below += [(t, path) for t in kind.types]
        elif isinstance(kind, mi.VarTupleType):
            below.append((kind.item_type, path))
        elif isinstance(kind, mi.StructType):
            for one in kind.fields:
                found.setdefault(one.encode_name, set()).add(_place(path))
                below.append((one.type, _under(path, one.encode_name)))
    return {key: places.pop() for key, places in found.items() if len(places) == 1}


def _bare(wanted: mi.Type) -> mi.Type:
    while isinstance(wanted, mi.Metadata):
        wanted = wanted.type
    return wanted


def _place(path: str) -> str:
    """What a thing is called, by its path: a book, the limits."""
    last = re.sub(r"\[\d+\]", "", path.rpartition(".")[2])
    called = {
        "": "a deployment",
        "strategies": "a strategy",
        "books": "a book",
        "feeds": "a feed",
        "backups": "a backup",
        "bars": "a set on bars",
    }
    return called.get(last, last)


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
