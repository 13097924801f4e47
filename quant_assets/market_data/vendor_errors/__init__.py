"""Errors that vendors really make in adjusted daily bars: found by what the columns say about each other, and repaired
as new rows.

`diagnose` is all there is to call; `levels` judges prices, `payouts` dividends and the adjusted close, on the basis
that `levels` has restored. Split-adjusted bars are expected: `split_adjusted` brings raw ones there, `raw` brings
repairs back.
"""

from quant_assets.market_data.vendor_errors.basis import raw, split_adjusted
from quant_assets.market_data.vendor_errors.diagnosis import FINDINGS, diagnose

__all__ = ["FINDINGS", "diagnose", "raw", "split_adjusted"]
