"""YAML as its version 1.2 has it (the core schema), as nodes that know their line: what a scalar is, is decided by what
is wanted of it.

`NO`, `on` and `12:30` are text; `true` and `false` alone are booleans; `007`, where text is wanted, stays `007`.
"""

import re
from typing import Any

import yaml

from quant_assets.errors import ConfigurationError

DEEPEST = 40
MOST = 50_000  # nodes of a document, each alias counted at each use
_NULLS = ("", "~", "null")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,18})")
_NUMBER = re.compile(r"[-+]?(\.\d+|(0|[1-9]\d*)(\.\d*)?)([eE][-+]?\d{1,4})?")
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{t}" for t in ("str", "map", "seq"))


def parse(content: bytes) -> yaml.Node:
    """The document's root node.

    Raises ConfigurationError with line and column, and with no word of the document: it may hold a secret.
    """
    try:
        root = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.BaseLoader)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{line}: the file is not UTF-8; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{mark.line + 1}:{mark.column + 1}" if mark else "1"
        raise ConfigurationError(f"{at}: this is no YAML: {_problem(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError("1: this is no YAML: it has a character that YAML does not allow") from error
    except RecursionError as error:
        raise ConfigurationError(f"1: more than {DEEPEST} levels deep") from error
    if root is None:
        raise ConfigurationError(
            "1: the file is empty; `quant init` shows what one looks like, `quant restore` brings one back"
        )
    _bounded(root)
    return root


def _problem(error: yaml.MarkedYAMLError) -> str:
    """The parser's message, without names from the document."""
    said = str(error.problem or error.context or "unreadable")
    if "alias" in said:
        return "an alias (*name) without an anchor (&name) before it"
    if "anchor" in said:
        return "an anchor (&name) is defined twice"
    if "tag" in said or "handle" in said:
        return "a tag (!name) that it does not know"
    if "\\t" in said:
        return "a tab; indent with spaces"
    return said.replace("but found another document", "a second document; keep one").replace("'?'", "a key")


def _bounded(root: yaml.Node) -> None:
    """Raises ConfigurationError on tags, and on a document that is too large or deep, or holds itself."""
    seen, open_nodes = 0, [(root, 0)]
    while open_nodes:
        node, depth = open_nodes.pop()
        seen += 1
        if seen > MOST or depth > DEEPEST:
            what = f"more than {MOST:,} values" if seen > MOST else f"more than {DEEPEST} levels deep"
            raise ConfigurationError(f"{place(node)}: {what} (is an alias inside its own anchor?)")
        if node.tag not in _PLAIN_TAGS:
            raise ConfigurationError(f"{place(node)}: tags (!name) are not read; write the value without")
        if isinstance(node, yaml.MappingNode):
            open_nodes += [(n, depth + 1) for pair in node.value for n in pair]
        elif isinstance(node, yaml.SequenceNode):
            open_nodes += [(n, depth + 1) for n in node.value]


def place(node: yaml.Node) -> str:
    """line:column of a node, from 1."""
    return f"{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def is_null(node: yaml.Node) -> bool:
    """Whether the value is null: null, ~, or nothing at all."""
    return _plain(node) and node.value in _NULLS


def boolean(node: yaml.Node) -> bool | None:
    """The boolean of a text; None for any other text."""
    if not _plain(node) or node.value not in _TRUE + _FALSE:
        return None
    return node.value in _TRUE


def integer(node: yaml.Node) -> int | None:
    """A whole number in decimal digits, none of them a leading zero, below 10^19; None for everything else."""
    return int(node.value) if _plain(node) and _INTEGER.fullmatch(node.value) else None


def number(node: yaml.Node) -> float | None:
    """A finite number; None for everything else, .inf and .nan among it."""
    if not _plain(node) or not _NUMBER.fullmatch(node.value):
        return None
    found = float(node.value)
    return found if abs(found) < float("inf") else None


def untyped(node: yaml.Node) -> Any:
    """The value of a node of which nothing is wanted: by the core schema, but that numbers with leading zeros stay
    text.
    """
    if isinstance(node, yaml.MappingNode):
        return {str(k.value): untyped(v) for k, v in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [untyped(n) for n in node.value]
    if is_null(node):
        return None
    for reading in (boolean, integer, number):
        if (found := reading(node)) is not None:
            return found
    return node.value


def _plain(node: yaml.Node) -> bool:
    """A scalar without quotes."""
    return isinstance(node, yaml.ScalarNode) and node.style is None
