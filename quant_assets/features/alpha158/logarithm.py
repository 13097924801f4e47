"""The portable logarithm as a compiled loop: the bits of `quant_assets.portable.log`, at the speed of the loops around
it.
"""

import numpy as np

from quant_assets.features.alpha158.rolling import F64, compiled
from quant_assets.portable import (
    EXPONENT,
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
    L7,
    LN2_HIGH,
    LN2_LOW,
    SMALLEST_NORMAL,
    SQRT_HALF,
    TO_NORMAL,
    TO_NORMAL_BITS,
)


@compiled
def log_into(values: F64, out: F64) -> None:
    """Writes the natural logarithm of each of `values` (contiguous) to `out`, which may be `values`: −∞ at 0, NaN
    below.
    """
    scaled, power = np.empty(len(values)), np.empty(len(values))
    for t in range(len(values)):
        tiny = values[t] < SMALLEST_NORMAL
        scaled[t] = values[t] * TO_NORMAL if tiny else values[t]
        power[t] = -TO_NORMAL_BITS if tiny else 0.0
    bits = scaled.view(np.int64)
    for t in range(len(values)):
        k = (bits[t] - SQRT_HALF) >> EXPONENT
        bits[t] -= k << EXPONENT
        power[t] += np.float64(k)
    for t in range(len(values)):
        f = scaled[t] - 1.0
        s = f / (2.0 + f)
        z = s * s
        w = z * z
        rest = z * (L1 + w * (L3 + w * (L5 + w * L7))) + w * (L2 + w * (L4 + w * L6))
        half = 0.5 * f * f
        y = power[t] * LN2_HIGH - ((half - (s * (half + rest) + power[t] * LN2_LOW)) - f)
        x = values[t]
        beyond = np.inf if x > 0.0 else (-np.inf if x == 0.0 else np.nan)
        out[t] = y if 0.0 < x < np.inf else beyond
