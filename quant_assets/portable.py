"""Logarithm and exponential whose bits are the same on every processor, from + - × ÷ and the bits of a float64.

IEEE 754 fixes the result of + - × ÷ and √ to the last bit. It does not fix log, exp and pow, and libraries choose
another routine, with other last bits, by what the processor can do (AVX-512, FMA) and by their own version. On the path
from a row to a decision these stand in for them: within one unit in the last place of the true value, special values as
in IEEE 754. The formulas are those of FDLIBM (Sun Microsystems, 1993): argument reduction by a power of two, then a
polynomial, each step rounded as written. Nothing here may be contracted to a fused multiply-add or reordered.

On arrays `log` and `exp`, in Polars `ln` and `raised`. Sums that must not hang on an order are `math.fsum`, which is
exact.
"""

import platform
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

PROMISED = "x86_64"
"""The architecture on which ids are promised, whatever its instruction set.

Elsewhere compilers may fuse a multiplication with an addition."""

LN2_HIGH, LN2_LOW = (
    6.93147180369123816490e-01,
    1.90821492927058770002e-10,
)  # the first with 32 zero bits: k · it is exact
PER_LN2 = 1.44269504088896338700e00
SQRT_HALF = 0x3FE6A09E667F3BCD  # the bits of √½
EXPONENT = 52
SMALLEST_NORMAL, TO_NORMAL, TO_NORMAL_BITS = 2.0**-1022, 2.0**54, 54
# log(1 + f) = 2s + s·R(s²), s = f / (2 + f), |f| < √2 − 1
L1, L2, L3, L4 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01
L5, L6, L7 = 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01
# exp(r) = 1 + r + r·c / (2 − c), c = r − r²·P(r²), |r| ≤ ½ ln 2
P1, P2, P3 = 1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05
P4, P5 = -1.65339022054652515390e-06, 4.13813679705723846039e-08
LARGEST, LEAST = 709.782712893383973096, -745.133219101941108420  # beyond them exp is infinite, or rounds to zero
BLOCK = 4096  # elements at a time: what lies between stays in the processor's cache


def log(values: npt.ArrayLike) -> Floats:
    """The natural logarithm, element by element: −∞ at 0, NaN below and where `values` is NaN."""
    return _by_blocks(_log, values)


def exp(values: npt.ArrayLike) -> Floats:
    """The power of e by `values`, element by element; 0 and ∞ where it is too small or too large for a float."""
    return _by_blocks(_exp, values)


def ln(expr: pl.Expr) -> pl.Expr:
    """`log` of a Polars expression: Float64, null where it is null."""
    return expr.map_batches(lambda s: _on_series(log, s), return_dtype=pl.Float64, is_elementwise=True)


def raised(expr: pl.Expr) -> pl.Expr:
    """`exp` of a Polars expression: Float64, null where it is null."""
    return expr.map_batches(lambda s: _on_series(exp, s), return_dtype=pl.Float64, is_elementwise=True)


def architecture() -> str:
    """What kind of processor this is: x86_64, aarch64, …"""
    return {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}.get(machine := platform.machine().lower(), machine)


def _by_blocks(function: Callable[[Floats], Floats], values: npt.ArrayLike) -> Floats:
    given = np.ascontiguousarray(values, dtype=np.float64)
    flat, out = given.reshape(-1), np.empty(given.size)
    with np.errstate(all="ignore"):
        for start in range(0, given.size, BLOCK):
            out[start : start + BLOCK] = function(flat[start : start + BLOCK])
    return out.reshape(np.shape(values))


def _on_series(function: Callable[[npt.ArrayLike], Floats], values: pl.Series) -> pl.Series:
    missing = values.is_null()
    out = pl.Series(values.name, function(values.cast(pl.Float64).fill_null(1.0).to_numpy()))
    return out.set(missing, None) if missing.any() else out


def _log(x: Floats) -> Floats:
    tiny = x < SMALLEST_NORMAL
    bits = np.where(tiny, x * TO_NORMAL, x).view(np.int64)
    k = (bits - SQRT_HALF) >> EXPONENT
    f = (bits - (k << EXPONENT)).view(np.float64) - 1.0
    k -= np.where(tiny, TO_NORMAL_BITS, 0)
    power = k.astype(np.float64)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    rest = z * (L1 + w * (L3 + w * (L5 + w * L7))) + w * (L2 + w * (L4 + w * L6))
    half = 0.5 * f * f
    out = power * LN2_HIGH - ((half - (s * (half + rest) + power * LN2_LOW)) - f)
    out = np.where((x > 0.0) & (x < np.inf), out, np.where(x > 0.0, np.inf, np.nan))
    return np.where(x == 0.0, -np.inf, out)


def _exp(x: Floats) -> Floats:
    within = np.where((x >= LEAST) & (x <= LARGEST), x, 0.0)
    k = np.rint(within * PER_LN2)
    high, low = within - k * LN2_HIGH, k * LN2_LOW
    r = high - low
    z = r * r
    c = r - z * (P1 + z * (P2 + z * (P3 + z * (P4 + z * P5))))
    out = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    whole = k.astype(np.int64)
    first = whole >> 1  # in two steps: 2^1024 is no float, and a subnormal result is rounded once
    out = out * _power_of_two(first) * _power_of_two(whole - first)
    out = np.where(x > LARGEST, np.inf, np.where(x < LEAST, 0.0, out))
    return np.where(np.isnan(x), x, out)


def _power_of_two(k: npt.NDArray[np.int64]) -> Floats:
    return ((k + 1023) << EXPONENT).view(np.float64)
