"""Prints docs/deployment.md, or with `schema` the JSON Schema, from the types that declare a deployment.

`make docs` writes both; a test holds them current.
"""

import sys
from decimal import Decimal
from itertools import takewhile

import msgspec
import msgspec.inspect as mi

from desk.deployment import Deployment, schema
from desk.document.scalars import wanted_of

HEAD = """\
# The deployment file

Made from the types that declare its parts by `make docs`; do not edit.

One file declares what runs in a home: `$QUANT_HOME/deployment.yaml`, or the file that `QUANT_DEPLOYMENT` names. It is a
contract: an unknown key, a key given twice or an impossible value is refused when the file is loaded. All faults are
reported at once, each with its line, the likely correction and the allowed values. `quant check FILE` does the same; it
also opens each source and broker for reading and prints what would run when. It writes nothing.

The file is YAML 1.2: only `true` and `false` are booleans (`NO` and `on` are text), days are written 2025-06-02, `007`
stays text if text is expected, and tags and merge keys are not read. `quant check --schema` prints the JSON Schema of
the file: an editor with YAML support that finds `# yaml-language-server: $schema=deployment.schema.json` in the first
line completes keys and shows their meaning.

Books may share an account: they have one broker, currency and costs, trade one calendar at one moment, and none is
called like the account. Their orders leave as one order of the account for each name, and what is executed is shared
out ([Operations](operations.md#several-books-on-one-account)). A strategy has the calendar of the deployment or
of one of its `markets`, and each dataset that its feature set reads needs a feed. Secrets are never in the file.
"""


def bare(kind: mi.Type) -> tuple[mi.Type, dict[str, object], str]:
    """The type without what is said about it, and that: extra, description."""
    extra: dict[str, object] = {}
    said = ""
    while isinstance(kind, mi.Metadata):
        said = said or str((kind.extra_json_schema or {}).get("description", ""))
        extra = {**(kind.extra or {}), **extra}
        kind = kind.type
    return kind, extra, said


def must_be(kind: mi.Type) -> str:
    """What a value has to be, in words."""
    inner, extra, _ = bare(kind)
    match inner:
        case mi.StructType():
            said = f"[{inner.cls.__name__}](#{inner.cls.__name__.lower()})"
        case mi.UnionType():
            said = ", or ".join(must_be(t) for t in inner.types if not isinstance(t, mi.NoneType))
        case mi.VarTupleType():
            said = f"a list of: {must_be(inner.item_type)}"
        case mi.DictType():
            said = f"keys, each with {must_be(inner.value_type)}"
        case mi.LiteralType():
            said = " or ".join(f"`{v}`" for v in inner.values)
        case mi.AnyType():
            said = "a value"
        case _:
            said = wanted_of(inner, extra).removeprefix("must be ")
    return said


def default(one: mi.Field) -> str:
    """What holds where the key is not there."""
    if one.required:
        return "needed"
    value = one.default if one.default is not msgspec.NODEFAULT else one.default_factory
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str | int | float | Decimal) and value != "" else ""


def sections(root: mi.Type) -> list[mi.StructType]:
    """Every type of the file, each once, the file's own first."""
    found: dict[type, mi.StructType] = {}
    below = [root]
    while below:
        kind, _, _ = bare(below.pop(0))
        if isinstance(kind, mi.StructType) and kind.cls not in found:
            found[kind.cls] = kind
            below += [f.type for f in kind.fields]
        elif isinstance(kind, mi.UnionType):
            below += kind.types
        elif isinstance(kind, mi.VarTupleType):
            below.append(kind.item_type)
        elif isinstance(kind, mi.DictType):
            below.append(kind.value_type)
    return list(found.values())


def section(one: mi.StructType) -> str:
    """The keys of one part."""
    kind = f"`{one.tag_field}: {one.tag}`. " if one.tag_field else ""
    first, *more = (one.cls.__doc__ or "").split("\n\n")
    prose = takewhile(lambda paragraph: not paragraph.lstrip().startswith("`"), more)  # the table has the keys
    doc = kind + " ".join(" ".join([first, *prose]).split())
    rows = [
        f"| `{f.encode_name}` | {must_be(f.type)} | {default(f)} | {bare(f.type)[2]} |".replace("\n", " ")
        for f in one.fields
    ]
    head = ["| key | must be | by default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {one.cls.__name__}", "", doc, "", *head, *rows, ""])


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *map(section, sections(mi.type_info(Deployment)))])


if __name__ == "__main__":
    sys.stdout.write(schema() if "schema" in sys.argv[1:] else page())
