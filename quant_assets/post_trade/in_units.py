"""Quantities and prices of a row as a person reads them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from quant_assets.currencies import quoted_in
from quant_assets.instruments import Instrument
from quant_assets.pages.rendering import number

SMALL, LARGE = 6, 2  # decimal places below one and above, where no tick is known


def in_units(
    row: Mapping[str, Any], one: Instrument, base: str, counts: Sequence[str], prices: Sequence[str]
) -> dict[str, Any]:
    """The row with `counts` in whole units (coins, not 1e-8 of one) and `prices` with the decimal places of the tick
    and the currency that they are in, where it is not `base`; both as text.
    """
    unit = quoted_in(one.currency, one.multiplier)
    suffix = "" if unit in {base, ""} else f" {unit}"
    units = {name: one.step * row[name] for name in counts}
    whole = {name: number(quantity, _places(quantity)) for name, quantity in units.items()}
    return {**row, **whole, **{name: _price(row[name], one, suffix) for name in prices}}


def _price(value: Decimal | float | None, one: Instrument, suffix: str) -> str:
    if value is None:
        return number(None)
    fit = LARGE if abs(value) >= 1 else SMALL
    return number(value, max(LARGE, _places(one.tick)) if one.tick else fit, unit=suffix)


def _places(value: Decimal) -> int:
    """The decimal places that a value needs."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
