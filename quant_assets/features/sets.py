"""What a feature set is: a pure function of a panel, declared once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import ConfigurationError
from quant_assets.tables import feature_table

Kernel = Callable[[pl.DataFrame], pl.DataFrame]
"""Per-name features: a panel sorted by (series, i), one row per session of each series (halted sessions are
rows of nulls), to the same rows with the features added. It groups by ``series`` and knows nothing else."""

CrossSection = Callable[[pl.DataFrame], pl.DataFrame]
"""Cross-sectional features: the members' rows of some sessions to the same rows with the features added;
every expression is over("session")."""

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class FeatureSet:
    """A declared set of features.

    `columns`: what the kernel reads: open, high, low, close (forward-adjusted from the block's anchor), volume
    (split-adjusted), or raw_* for the values as printed. Only changes of these start a vintage.
    `lookback`: sessions before a block's first session from which its panel starts.
    """

    name: str
    version: str
    features: tuple[str, ...]
    columns: tuple[str, ...]
    lookback: int
    kernel: Kernel
    cross_section: CrossSection

    @cached_property
    def table(self) -> Table:
        """Where the set is published."""
        return feature_table(self.name, self.features)

    @cached_property
    def stored_columns(self) -> tuple[str, ...]:
        """The columns of BARS that the set reads; adjusting a price for dividends reads the close."""
        stored = {c.removeprefix("raw_") for c in self.columns}
        return tuple(sorted(stored | ({"close"} if set(self.columns) & set(PRICES) else set())))


_SETS: dict[str, FeatureSet] = {}


def declare(feature_set: FeatureSet) -> FeatureSet:
    """Make a set known by its name. Raises ConfigurationError where another has taken it."""
    if _SETS.setdefault(feature_set.name, feature_set) is not feature_set:
        raise ConfigurationError(f"a feature set named {feature_set.name!r} is declared already; choose another name")
    return feature_set


def feature_set(name: str) -> FeatureSet:
    """The set of that name. Raises ConfigurationError listing the sets that exist."""
    from quant_assets.features import price_volume  # the sets that come with the platform

    declare(price_volume.PRICE_VOLUME)
    if name not in _SETS:
        raise ConfigurationError(f"no feature set is named {name!r}; there are {sorted(_SETS)}")
    return _SETS[name]
