"""A line of a deployment file as it may be shown: without values of a source, a feed or an unknown key, and without
comments, because they may hold a secret.
"""

import re
from collections.abc import Iterator

import yaml

from desk.document.reading import Fault, Reading

WIDTH = 72
_SHOWN = {"kind", "dataset", "layout", "name"}  # of a source or feed: names of ours
_COMMENT = re.compile(r"(^|\s)#.*$")


def excerpt(text: str, found: Reading, fault: Fault) -> str:
    """The faulty line, what is not for the eye as …, and below it where the fault is.

    Empty for a fault of the whole document.
    """
    lines = text.splitlines()
    if not fault.path or fault.line > len(lines):
        return ""
    shown, at = "", 0
    line, column = lines[fault.line - 1], fault.column - 1
    pointer = column
    for begin, end in sorted(_hidden_on(fault.line - 1, found, len(line))):
        if begin < at:
            continue
        shown += line[at:begin] + "…"
        pointer += 1 - (end - begin) if end <= column else 0
        at = end
    whole = _COMMENT.sub("", shown + line[at:])
    if (cut := max(0, pointer - WIDTH // 2)) and len(whole) > WIDTH:
        whole, pointer = f"…{whole[cut:]}", pointer - cut + 1
    return f"{whole[:WIDTH]}\n{' ' * max(pointer, 0)}^"


def _hidden_on(line: int, found: Reading, length: int) -> Iterator[tuple[int, int]]:
    """The columns of the line at which a value begins and ends that is not shown."""
    for node in _hidden(found):
        first, last = node.start_mark, node.end_mark
        if first.line <= line <= last.line:
            begin, end = first.column if first.line == line else 0, last.column if last.line == line else length
            if end > begin:
                yield begin, end


def _hidden(found: Reading) -> Iterator[yaml.Node]:
    for node in found.silent:
        yield from _scalars(node)
    for root in found.secret:
        if root in found.nodes:
            yield from _scalars(found.nodes[root])


def _scalars(node: yaml.Node) -> Iterator[yaml.Node]:
    """Every value below a node but those that are names of ours."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if (
                not isinstance(key, yaml.ScalarNode)
                or key.value not in _SHOWN
                or not isinstance(value, yaml.ScalarNode)
            ):
                yield from _scalars(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    else:
        yield node
