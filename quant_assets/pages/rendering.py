"""How a page is put together: templates, numbers as a desk writes them, sparklines, and a write that nobody sees half
done.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant_assets import durable
from quant_assets.characters import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

Number = Decimal | float | int | None
_NOTHING = "–"
_HERE = "quant_assets.pages"


def number(value: Number, places: int = 0, *, signed: bool = False, unit: str = "") -> str:
    """With thousands, a true minus, and a plus where `signed`; what rounds to zero has no sign."""
    if value is None or value != value:  # noqa: PLR0124  # NaN is not equal to itself
        return _NOTHING
    text = f"{abs(value):,.{places}f}"
    if not any(c in "123456789" for c in text):
        return text + unit
    return ("−" if value < 0 else "+" if signed else "") + text + unit


def percent(value: Number, places: int = 2, *, signed: bool = False) -> str:
    """A fraction in per cent."""
    return number(None if value is None else float(value) * 100, places, signed=signed, unit="%")


def tone(value: Number) -> str:
    """The CSS class of a gain or a loss."""
    return "" if not value else "gain" if value > 0 else "loss"


def day(value: date) -> str:
    """Wednesday 3 January 2024."""
    return f"{value:%A} {value.day} {value:%B %Y}"


def moment(value: datetime | None) -> str:
    """2024-01-04 14:15 UTC."""
    return f"{value:%Y-%m-%d %H:%M} UTC" if value else _NOTHING


def spark(values: Sequence[float], width: int = 132, height: int = 30, label: str = "") -> "Markup":
    """An SVG line through the values, nothing for fewer than two.

    `label` says what it shows, by default that many sessions.
    """
    from markupsafe import Markup, escape

    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = [
        (1 + i * (width - 5) / (len(values) - 1), 3 + (high - v) / span * (height - 6)) for i, v in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return Markup(  # noqa: S704  # drawn from numbers, and a label that is escaped
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label or f"the last {len(values)} sessions")}">'
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="1.5" '
        f'stroke-linejoin="round"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="currentColor"/></svg>'
    )


def render(template: str, facts: dict[str, Any], package: str) -> str:
    """The page, from the templates of `package`, which may extend those of this one.

    Everything is escaped but what this module itself draws; a name that a template misses raises.
    """
    return _environment(package).get_template(template).render(facts)


def _shown(value: object) -> object:
    """What is printed into a page: hidden characters of text as their escapes. What is drawn here is Markup."""
    return visible(value) if type(value) is str else value


@cache
def _environment(package: str) -> "Environment":
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(p) for p in dict.fromkeys((package, _HERE))])
    env = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    env.filters.update(
        {"number": number, "percent": percent, "tone": tone, "day": day, "moment": moment, "spark": spark}
    )
    return env


def write(path: Path, text: str) -> Path:
    """Put the page in place whole, replacing what was there; durable when it returns."""
    return durable.write(path, text.encode())
