"""The feature sets that come with the platform."""

from quant_assets.features.alpha158.feature_set import ALPHA158
from quant_assets.features.cross_sectional import CROSS_SECTIONAL
from quant_assets.features.intraday import on_bars
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.style import STYLE
from quant_assets.features.technical import TECHNICAL

OF_SESSIONS = (PRICE_VOLUME, ALPHA158, TECHNICAL, CROSS_SECTIONAL, STYLE)
OF_BARS = tuple(on_bars(one, length) for one in (PRICE_VOLUME, ALPHA158, TECHNICAL) for length in ("1m", "5m", "1h"))
SETS = (*OF_SESSIONS, *OF_BARS)
