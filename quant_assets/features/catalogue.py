"""The feature sets that come with the platform, and every declared set by its name."""

from quant_assets.errors import ConfigurationError
from quant_assets.features import declared
from quant_assets.features.alpha158.feature_set import ALPHA158
from quant_assets.features.cross_sectional import CROSS_SECTIONAL
from quant_assets.features.intraday import on_bars
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.sets import FeatureSet
from quant_assets.features.style import STYLE
from quant_assets.features.technical import TECHNICAL
from quant_assets.plugged import load_entry_points

OF_SESSIONS = (PRICE_VOLUME, ALPHA158, TECHNICAL, CROSS_SECTIONAL, STYLE)
OF_BARS = tuple(on_bars(one, length) for one in (PRICE_VOLUME, ALPHA158, TECHNICAL) for length in ("1m", "5m", "1h"))
SETS = (*OF_SESSIONS, *OF_BARS)


def find_sets() -> dict[str, FeatureSet]:
    """All declared sets by name: the platform's own, and those of the packages that were loaded."""
    for one in SETS:
        declared.declare(one)
    return dict(declared.DECLARED)


def find_set(name: str) -> FeatureSet:
    """The set of that name, also one that the entry point of that name declares. Raises ConfigurationError with the
    names that exist.
    """
    known = find_sets()
    if name not in known and load_entry_points(name):
        known = find_sets()
    if name not in known:
        raise ConfigurationError(
            f"no feature set is named {name!r}; there are {sorted(known)}. "
            "To use a set of your own, name its module in the deployment: packages: [myfund.features]"
        )
    return known[name]
