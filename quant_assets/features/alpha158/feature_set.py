"""Alpha158, the factors of Qlib's published definition, over adjusted bars.

What differs from the definition, and why:

- Bars carry no VWAP: the typical price (high + low + close) / 3 stands in for it.
- Denominators of prices have no 1e-12 added, so that the factors do not depend on the currency's unit; without a range
  or a change they are 0, as in the definition.
- RSQR and CORR are missing where the close deviates by no more than 2e-7 of its mean; in the definition by 2e-5, which
  is the same at a price of 100.
- WVMA on flat prices is exactly 0; in Qlib it is the rounding residual of a running sum over 1e-12.

As in the definition, VMA and VSTD of a session without volume are divided by 1e-12: huge, not missing.
"""

import numpy as np
import polars as pl

from quant_assets.features.alpha158.factors import FACTORS, MEANING
from quant_assets.features.sets import FeatureSet

COLUMNS = ("open", "high", "low", "close", "volume")


def kernel(panel: pl.DataFrame) -> pl.DataFrame:
    """The panel with the 158 factors as Float32, NaN where missing; rows outside the stretches from a selected row to the next may stay NaN."""
    import pyarrow as pa

    from quant_assets.features.alpha158.tiles import factors  # compiles at the first call

    series = panel["series"].to_numpy()
    starts = np.concatenate([[0], np.flatnonzero(series[1:] != series[:-1]) + 1, [panel.height]]) if panel.height else np.zeros(1, np.int64)
    bars = np.empty((len(COLUMNS), panel.height), np.float32)
    for column, values in zip(COLUMNS, bars, strict=True):
        values[:] = panel[column].cast(pl.Float32).to_numpy()
    selected = panel["selected"].to_numpy()
    shape = (len(FACTORS), panel.height)
    out = np.empty(shape, np.float32) if selected.all() else np.full(shape, np.nan, np.float32)
    factors(starts, bars, selected, out)
    return panel.with_columns(pl.Series(name, pa.array(column)) for name, column in zip(FACTORS, out, strict=True))  # Arrow takes the memory over as it is


ALPHA158 = FeatureSet(
    name="alpha158",
    version="1",
    features=FACTORS,
    columns=COLUMNS,
    lookback=60,
    kernel=kernel,
    doc="The 158 factors of Qlib's Alpha158: the bar's shape, trend, range, rank, volume and their correlation over 5 to 60 sessions, free of price units.",
    meaning=MEANING,
    dtype=pl.Float32,
)
