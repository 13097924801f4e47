"""The feature sets that come with the platform."""

from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.technical import TECHNICAL

SETS = (PRICE_VOLUME, TECHNICAL)
