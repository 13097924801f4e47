"""Hypothesis strategies for what a deployment file may say, key by key, drawn from the types that declare it; and for
what it may not.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec.inspect as mi
from hypothesis import strategies as st

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True).filter(
    lambda n: n.upper() not in {"CON", "PRN", "AUX", "NUL"} and not n.upper().startswith(("COM", "LPT"))
)
UNSAFE = st.sampled_from(
    [
        "../x",
        "a/b",
        "",
        ".",
        "a b",
        "Bücher",
        "CON",
        "nul",
        "Com1",
        "x\n",
        "-x",
        "a" * 65,
        "%41",
        "x.yaml",
        "a\\b",
        "x\x00",
    ]
)
"""Names after which no file must be called."""


# a type, a line
def values(kind: mi.Type, extra: Mapping[str, Any] | None = None) -> st.SearchStrategy[Any]:  # noqa: PLR0911
    """Values that a type of scalars or of lists of them allows."""
    extra = extra or {}
    match kind:
        case mi.Metadata():
            return values(kind.type, {**extra, **(kind.extra or {})})
        case mi.BoolType():
            return st.booleans()
        case mi.IntType():
            return st.integers(
                int(kind.ge if kind.ge is not None else -1000), int(kind.le if kind.le is not None else 1000)
            )
        case mi.FloatType():
            low = kind.ge if kind.ge is not None else kind.gt
            high = kind.le if kind.le is not None else kind.lt
            return st.floats(
                low,
                high,
                exclude_min=kind.gt is not None,
                exclude_max=kind.lt is not None,
                allow_nan=False,
                allow_infinity=False,
            )
        case mi.DecimalType():
            return st.decimals(1, 10**9, places=2).map(str)
        case mi.DateType():
            return st.dates(date(1995, 1, 1), date(2029, 12, 31))
        case mi.LiteralType():
            return st.sampled_from(kind.values)
        case mi.StrType() if kind.pattern is None:
            return st.sampled_from(["NO", "on", "007", "1e3", "true", "null", "~", "a: b", "x"])
        case mi.VarTupleType():
            return st.lists(values(kind.item_type, extra), min_size=kind.min_length or 0, max_size=3)
        case _:
            return st.nothing()


def beyond(kind: mi.Type) -> list[Any]:  # noqa: PLR0911  # a type, a line
    """Values that a type of scalars does not allow."""
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    match kind:
        case mi.BoolType():
            return ["no", "off", 0, 1, "true", [True], {}]
        case mi.IntType() | mi.FloatType():
            below = kind.ge - 1 if kind.ge is not None else kind.gt
            above = kind.le + 1 if kind.le is not None else kind.lt
            numbers = [n for n in (below, above) if n is not None]
            return [
                *numbers,
                float("nan"),
                float("inf"),
                float("-inf"),
                "5",
                "x",
                True,
                [1],
                {},
                *([0.5] if isinstance(kind, mi.IntType) else []),
            ]
        case mi.DecimalType():
            return [0, -1, "NaN", "Infinity", "1,000", "1.000,00", "$5", True, [1], {}]
        case mi.DateType():
            return ["2025-6-2", "02/06/2025", "20250602", "2025-02-30", 20250602, "2025-06-02T00:00", [], {}]
        case mi.LiteralType():
            return ["", "sesion", 1, True, [], {}]
        case mi.VarTupleType():
            return ["x", 1, {"a": 1}]
        case _:
            return []
