"""The declaration of a source of files, as a person would write it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from resources.sources.reading.sheets import Dialect
from resources.sources.reading.written import Column

UNMAPPED = ("adj_close", "label")  # not used unless they are named, whatever the column is called


def declared_source(
    where: str, mapping: Mapping[str, Column], mark: str | None, dialect: Dialect, given: Mapping[str, Any]
) -> dict[str, object]:
    """The keys and values of a source that reads the files under the mapping; what a person gave goes before.

    `mark`: the decimal mark where it is no point.
    """
    columns: dict[str, object] = {}
    for field, column in mapping.items():
        written = {
            k: v for k, v in msgspec.structs.asdict(column).items() if k != "column" and v not in {None, False, 1.0}
        }
        if written:
            columns[field] = {"column": column.column, **written}
        elif column.column != field or field in UNMAPPED:
            columns[field] = column.column
    source: dict[str, object] = {
        "kind": "files",
        "prices": str(Path(where).expanduser().absolute()),
        "known_at": given.get("known_at", "close+1h"),
        "mapping": columns,
    }
    if mark:
        source["decimal"] = mark
    if dialect.encoding != "utf-8":
        source["encoding"] = dialect.encoding
    return source | {k: v for k, v in given.items() if k not in {"mapping", "known_at"}}


def as_yaml(source: Mapping[str, object], comments: Mapping[str, str] | None = None) -> str:
    """The declaration; text that YAML might take for something else is quoted. `comments`: a line before a key."""
    lines = ["source:"]
    for key, value in source.items():
        if comments and key in comments:
            lines += [f"  # {line}" for line in comments[key].splitlines()]
        if isinstance(value, dict):
            lines.append(f"  {key}:" if value else f"  {key}: {{}}")
            lines += [f"    {k}: {flow(v)}" for k, v in value.items()]
        else:
            lines.append(f"  {key}: {flow(value)}")
    return "\n".join(lines)


def flow(value: object) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {flow(v)}" for k, v in value.items()) + "}"
    text = str(value)
    plain = (
        re.fullmatch(r"[A-Za-z/][\w./+-]*", text) and yaml.safe_load(text) == text and text.lower() not in {"y", "n"}
    )
    return text if plain else json.dumps(value, ensure_ascii=False)
