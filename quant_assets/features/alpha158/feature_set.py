"""Alpha158, the factors of Qlib's published definition, over adjusted bars.

What differs from the definition, and why:

- Bars carry no VWAP: the typical price (high + low + close) / 3 stands in for it.
- Denominators of prices have no 1e-12 added, so that the factors do not depend on the currency's unit; without a range
  or a change they are 0, as in the definition.
- RSQR and CORR are missing where the close deviates by no more than 2e-5 in prices as they are printed; in the
  definition
  in adjusted ones, which depend on the day to which they are adjusted.
- CORR takes the logarithm of the volume in double precision; the definition in NumPy's float32, whose last bit is not
  always the right one. VSTD of an unchanging volume is exactly 0; in Qlib what a running sum has left over.
- WVMA on flat prices is exactly 0; in Qlib it is the rounding residual of a running sum over 1e-12.

As in the definition, VMA and VSTD of a session without volume are divided by 1e-12: huge, not missing.
"""

import numpy as np
import polars as pl

from quant_assets.features.alpha158.factors import FACTORS, MEANING
from quant_assets.features.sets import FeatureSet

COLUMNS = ("open", "high", "low", "close", "volume")
PRINTED = "raw_close"


def kernel(panel: pl.DataFrame) -> pl.DataFrame:
    """The panel with the 158 factors as Float32, NaN where missing; rows outside the stretches from a selected row to
    the next may stay NaN.
    """
    import pyarrow as pa

    from quant_assets.features.alpha158.tiles import factors  # compiles at the first call

    series = panel["series"].to_numpy()
    starts = (
        np.concatenate([[0], np.flatnonzero(series[1:] != series[:-1]) + 1, [panel.height]])
        if panel.height
        else np.zeros(1, np.int64)
    )
    unit = pl.col("close") / pl.col(PRINTED)
    bars = (
        panel.select(pl.col(*COLUMNS), unit.alias("unit"))
        .select(pl.all().fill_null(np.nan).cast(pl.Float32))
        .to_numpy(order="fortran")
        .T
    )
    selected = panel["selected"].to_numpy()
    shape = (len(FACTORS), panel.height)
    out = np.empty(shape, np.float32) if selected.all() else np.full(shape, np.nan, np.float32)
    factors(starts, bars, selected, out)
    rows = panel.height
    made = pl.Series(
        pa.Array.from_buffers(pa.float32(), out.size, [None, pa.py_buffer(out)])
    )  # the memory as it is, handed over at once
    return panel.hstack([made.slice(n * rows, rows).alias(name) for n, name in enumerate(FACTORS)])


ALPHA158 = FeatureSet(
    name="alpha158",
    version="1",
    features=FACTORS,
    columns=(*COLUMNS, PRINTED),
    lookback=60,
    kernel=kernel,
    doc="The 158 factors of Qlib's Alpha158: the bar's shape, trend, range, rank, volume and their correlation "
    "over 5 to 60 sessions, free of price units.",
    meaning=MEANING,
    dtype=pl.Float32,
)
