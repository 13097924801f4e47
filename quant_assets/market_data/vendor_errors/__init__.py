"""Errors that vendors really make in adjusted daily bars: found by comparing the columns with each other, and repaired
as new rows.

Call only `diagnose`. `levels` judges prices, `payouts` dividends and the adjusted close, on the basis that `levels` has
restored. Split-adjusted bars are expected: `split_adjusted` converts raw ones, `raw` converts repairs back.
"""

from quant_assets.market_data.vendor_errors.basis import raw, split_adjusted
from quant_assets.market_data.vendor_errors.diagnosis import FINDINGS, diagnose

__all__ = ["FINDINGS", "diagnose", "raw", "split_adjusted"]
