"""How each kind of a scalar is read from a document's node, and what it has to be, in words."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import msgspec.inspect as mi
import yaml

from desk.document.yaml12 import boolean, integer, is_null, number

Extra = Mapping[str, Any]
"""`Meta.extra` of a field: `write` (the form of such a text), `above` (of a Decimal), `hint` (what a number means)."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONEY = re.compile(r"[-+]?(0|[1-9]\d{0,17})(\.\d{1,9})?([eE]\+?\d{1,2})?")
_NEAR = 0.6  # of difflib's ratio: max_wieght and max_weight have 0.9
_MANY = 20  # names that an error lists


@dataclass(frozen=True)
class Found:
    """A scalar that is as it should be."""

    value: Any


def _text(node: yaml.Node, wanted: mi.StrType, extra: Extra) -> "Found | str | None":
    if is_null(node):
        return "must be a word; where nothing or null is meant as text, put it in quotes"
    form = wanted.pattern or extra.get("form")
    fits = re.search(form, node.value) if form else True
    length = (wanted.min_length or 0) <= len(node.value) <= (wanted.max_length or len(node.value))
    return Found(node.value) if fits and length else None


def _whole(node: yaml.Node, wanted: mi.IntType, extra: Extra) -> "Found | str | None":
    found = integer(node)
    if found is None:
        return _quoted(node, integer) or wanted_of(wanted, extra)
    return Found(found) if _within(found, wanted) else None


def _real(node: yaml.Node, wanted: mi.FloatType, extra: Extra) -> "Found | str | None":
    found = number(node)
    if found is None:
        return _quoted(node, number) or wanted_of(wanted, extra)
    return Found(found) if _within(found, wanted) else None


def _money(node: yaml.Node, _: mi.DecimalType, extra: Extra) -> "Found | str | None":
    if not _MONEY.fullmatch(node.value):
        plain = re.sub(r"[\s_,']", "", node.value)
        return f"must be an amount without anything between thousands: write {plain}" if plain.isdigit() else None
    found = Decimal(node.value)
    whole = found.to_integral_value()
    exact = Decimal(int(whole)) if whole == found else found  # 1e6 is 1000000
    return Found(exact) if exact > Decimal(str(extra.get("above", "-Infinity"))) else None


def _flag(node: yaml.Node, *_: object) -> "Found | str | None":
    found = boolean(node)
    return None if found is None else Found(found)


def _day(node: yaml.Node, *_: object) -> "Found | str | None":
    try:
        return Found(date.fromisoformat(node.value)) if _DAY.fullmatch(node.value) else None
    except ValueError:
        return "no calendar has such a day"


def _one_of(node: yaml.Node, wanted: mi.LiteralType, _: Extra) -> "Found | str | None":
    allowed = [str(v) for v in wanted.values]
    return (
        Found(node.value) if node.value in allowed else f"{meant(node.value, allowed)}must be one of {listed(allowed)}"
    )


READERS: Mapping[type[mi.Type], Callable[[Any, Any, Extra], "Found | str | None"]] = {
    mi.StrType: _text,
    mi.IntType: _whole,
    mi.FloatType: _real,
    mi.DecimalType: _money,
    mi.BoolType: _flag,
    mi.DateType: _day,
    mi.LiteralType: _one_of,
}


def _within(value: float, wanted: "mi.IntType | mi.FloatType") -> bool:
    return (
        (wanted.ge is None or value >= wanted.ge)
        and (wanted.gt is None or value > wanted.gt)
        and (wanted.le is None or value <= wanted.le)
        and (wanted.lt is None or value < wanted.lt)
    )


def _quoted(node: yaml.Node, reading: Callable[[yaml.Node], float | None]) -> str | None:
    """What to do where only the quotes are wrong."""
    bare = yaml.ScalarNode(node.tag, node.value)
    return (
        "must be a number: write it without quotes"
        if isinstance(node, yaml.ScalarNode) and node.style and reading(bare) is not None
        else None
    )


def wanted_of(wanted: mi.Type, extra: Extra) -> str:
    """What a scalar has to be, in words."""
    if isinstance(wanted, mi.IntType | mi.FloatType):
        kind = "a whole number" if isinstance(wanted, mi.IntType) else "a number"
        hint = f" ({extra['hint']})" if "hint" in extra else ""
        return f"must be {kind}{allowed(wanted)}{hint}"
    if isinstance(wanted, mi.DecimalType):
        above = f" above {extra['above']}" if "above" in extra else ""
        return (
            f"must be an amount{above}, in digits with a point for the fraction and nothing between thousands "
            f"(1000000 or 2500.50)"
        )
    if isinstance(wanted, mi.StrType):
        return f"must be {extra.get('write', 'a word')}"
    words: Mapping[type[mi.Type], str] = {
        mi.BoolType: "must be true or false",
        mi.DateType: "must be a day, as in 2025-06-02 (year, month, day)",
    }
    return words.get(type(wanted), "must be something else")


def allowed(wanted: "mi.IntType | mi.FloatType") -> str:
    """The range of a number, in words; empty where there is none."""
    low = f" from {wanted.ge:,}" if wanted.ge is not None else f" above {wanted.gt:,}" if wanted.gt is not None else ""
    up_to = ", at most" if wanted.gt is not None else " to"
    high = (
        f"{up_to} {wanted.le:,}" if wanted.le is not None else f", below {wanted.lt:,}" if wanted.lt is not None else ""
    )
    return low + high


def meant(said: str, among: Sequence[str] | Mapping[str, Any]) -> str:
    """Did you mean …?; empty where nothing is near."""
    return f"did you mean {near}? " if (near := nearest(said, among)) else ""


def nearest(said: str, among: Sequence[str] | Mapping[str, Any]) -> str | None:
    """The name that is most like it, capitals aside; None where none is."""
    by_lower = {str(n).lower(): str(n) for n in among}
    near = get_close_matches(said.lower(), by_lower, n=1, cutoff=_NEAR)
    return by_lower[near[0]] if near else None


def listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """The names; of many the first."""
    known = list(names)
    return ", ".join(known[:_MANY]) + (f" and {len(known) - _MANY} more" if len(known) > _MANY else "")
