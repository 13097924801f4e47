"""The feature sets that come with the platform."""

from quant_assets.features.price_volume import PRICE_VOLUME

SETS = (PRICE_VOLUME,)
