"""How a value is written: a column of a vendor's file as a declaration says it, and what its format means.

session: {column: Date, format: "%d/%m/%Y"}
ts: {column: time, tz: America/New_York}
ts: {column: epoch, unit: ms}
close: {column: Schluss, decimal: ","}
"""

import re
from functools import cache
from typing import Annotated, Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Meta

from quant_assets.errors import ConfigurationError
from quant_assets.records import Frozen

Unit = Literal["s", "ms", "us", "ns", "d", "excel"]
Character = Annotated[str, Meta(min_length=1, max_length=1, extra={"write": "one character"})]
FILE = "{file}"  # in the place of a column: the file's name, without what follows its first dot


class Column(Frozen, frozen=True, forbid_unknown_fields=True):
    """A vendor's column, and how its values are written where that is not plain.

    `format`: of a day or time, as strftime has it. `tz`: the zone of times that name none, and the one whose days are
    meant. `unit`: what numbers count since 1970 (s, ms, us, ns, d), or `excel` for a spreadsheet's days. `month_end`: a
    day means the last of its month. `decimal`: the decimal mark of numbers. `scale`: what makes them ours (0.01:
    percent to fraction).
    """

    column: str
    format: str | None = None
    tz: str | None = None
    unit: Unit | None = None
    month_end: bool = False
    decimal: Literal[".", ","] | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for a declaration that can mean nothing; a file of declarations adds the line."""
        if self.unit and self.format:
            raise ValueError(f"column {self.column!r} is written in a unit or in a format, not in both")
        try:
            if self.format is not None:
                pattern(self.format)
            if self.tz is not None:
                zone(self.tz)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error


def zone(name: str) -> str:
    """The zone's name. Raises ConfigurationError where there is no such zone."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigurationError(
            f"no time zone is named {name!r}; write one such as America/New_York, Asia/Tokyo or UTC"
        ) from error
    return name


class Pattern(NamedTuple):
    """A format as a regular expression with groups Y y m b d j H I M S f p z Z s, and whether a literal Z ends it:
    UTC.
    """

    regex: str
    groups: frozenset[str]
    utc: bool


_NUMERIC = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "H": r"\d{1,2}",
    "I": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "j": r"\d{1,3}",
    "f": r"\d{1,9}",
    "s": r"-?\d{1,12}",
}
_WORDS = {
    "b": "[A-Za-z]{3}",
    "B": "[A-Za-z]{3,9}",
    "p": r"[AaPp]\.?[Mm]\.?",
    "z": r"(?:Z|[+-]\d{2}(?::?\d{2})?)",
    "Z": "[A-Za-z]{1,5}",
}
_WHOLE = {
    "F": "%Y-%m-%d",
    "T": "%H:%M:%S",
    "R": "%H:%M",
    "D": "%m/%d/%y",
    "e": "%d",
    "h": "%b",
    "P": "%p",
    ":z": "%z",
    "k": "%H",
    "l": "%I",
}
_UNCAPTURED = {"a": "[A-Za-z]{3}", "A": "[A-Za-z]{6,9}", "n": r"\s+", "t": r"\s+", "%": "%"}
_TOKEN = re.compile(r"%(:z|\.\d?f|\d?f|[A-Za-z%])|(\s+)|(.)", re.DOTALL)


@cache
def pattern(written: str) -> Pattern:
    """What a strftime format accepts, strictly: %Y has four digits.

    Raises ConfigurationError where it names no day, or what cannot be read.
    """
    expanded = re.sub(r"%(:z|[FTRDehPkl])", lambda m: _WHOLE[m[1]], written)
    out: list[str] = []
    groups: list[str] = []
    found = list(_TOKEN.finditer(expanded))
    touching = [bool(m[1]) and m[1] in _NUMERIC for m in found] + [False]
    for n, token in enumerate(found):
        name, blank, literal = token.groups()
        if blank:
            out.append(r"\s+")
        elif literal:
            out.append(re.escape(literal))
        elif name in _NUMERIC or name in _WORDS:
            beside = touching[n] and (touching[n - 1] or touching[n + 1])  # without a mark between, digits are counted
            digits = r"\d{2}" if beside and name in {"m", "d", "H", "I", "M", "S"} else None
            group = "b" if name == "B" else name
            groups.append(group)
            out.append(f"(?P<{group}>{digits or _NUMERIC.get(name) or _WORDS[name]})")
        elif name.endswith("f"):
            groups.append("f")
            out.append(r"(?:\.(?P<f>\d{1,9}))?" if name.startswith(".") else r"(?P<f>\d{1,9})")
        elif name in _UNCAPTURED:
            out.append(_UNCAPTURED[name])
        else:
            raise ConfigurationError(f"format {written!r}: %{name} is not read here; write the day with %Y %m %d")
    _sensible(written, groups)
    return Pattern(
        f"^{''.join(out)}$", frozenset(groups), bool(re.search(r"%[A-Za-z]Z$", expanded)) and "Z" not in groups
    )


def _sensible(written: str, groups: list[str]) -> None:
    """Raises ConfigurationError where a format names something twice, or no day."""
    twice = sorted({g for g in groups if groups.count(g) > 1})
    year, month = bool({"Y", "y"} & set(groups)), bool({"m", "b"} & set(groups)) or "j" in groups
    clock = "p" in groups
    if twice or not ("s" in groups or (year and month)) or {"Y", "y"} <= set(groups):
        raise ConfigurationError(
            f"format {written!r} names "
            f"{'twice ' + ', '.join('%' + g for g in twice) if twice else 'no year and month'}; write such "
            f"as %d/%m/%Y"
        )
    if clock != ("I" in groups) or (clock and "H" in groups):
        raise ConfigurationError(f"format {written!r}: hours of half a day are %I with %p, those of a whole day %H")
