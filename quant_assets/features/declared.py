"""The feature sets that were declared, by name."""

from quant_assets.errors import ConfigurationError
from quant_assets.features.sets import FeatureSet

DECLARED: dict[str, FeatureSet] = {}
"""The platform's own, and those of the packages that were loaded."""


def declare(one: FeatureSet) -> FeatureSet:
    """Make a set known by its name. Raises ConfigurationError where another set has the name."""
    if DECLARED.setdefault(one.name, one) is not one:
        raise ConfigurationError(f"a feature set named {one.name!r} is declared already; choose another name")
    return one
