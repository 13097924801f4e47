"""The portable logarithm and exponential: accurate against 40 digits, lawful, and the same bits in each form."""

import decimal
import math
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from quant_assets.features.alpha158.logarithm import log_into
from quant_assets.portable import BLOCK, Floats, exp, ln, log, raised

DIGITS = decimal.Context(prec=40, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
RANDOM = np.random.default_rng(11)
NEAR_ONE = 1.0 + np.concatenate([np.linspace(-1e-3, 1e-3, 801), RANDOM.normal(0.0, 1e-9, 200)])
POSITIVE = np.concatenate([np.ldexp(RANDOM.uniform(1.0, 2.0, 1500), RANDOM.integers(-1074, 1023, 1500)), NEAR_ONE])
MODERATE = np.concatenate([RANDOM.uniform(-745.0, 709.7, 1500), RANDOM.normal(0.0, 1.0, 1000), NEAR_ONE - 1.0])


def worst(got: Floats, of: Floats, true: Callable[[Decimal], Decimal]) -> float:
    """The largest error in units in the last place of what came out."""
    return max(
        float(abs(Decimal(y) - true(Decimal(x))) / Decimal(math.ulp(y)))
        for x, y in zip(of.tolist(), got.tolist(), strict=True)
    )


def bits(values: Floats) -> list[int]:
    """The values' bits."""
    return np.ascontiguousarray(values).view(np.int64).tolist()


def test_the_logarithm_is_within_one_unit_in_the_last_place() -> None:
    """Against 40 digits, from the smallest subnormal to the largest float, and close to 1 where it cancels."""
    assert worst(log(POSITIVE), POSITIVE, DIGITS.ln) < 1.0


def test_the_exponential_is_within_one_unit_in_the_last_place() -> None:
    """Against 40 digits, down to subnormal results."""
    assert worst(exp(MODERATE), MODERATE, DIGITS.exp) < 1.0


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.0, -np.inf),
        (-0.0, -np.inf),
        (-1.0, np.nan),
        (-np.inf, np.nan),
        (np.inf, np.inf),
        (np.nan, np.nan),
        (1.0, 0.0),
    ],
)
def test_special_values_of_the_logarithm(x: float, expected: float) -> None:
    """As IEEE 754 has them."""
    np.testing.assert_array_equal(log([x]), [expected])


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.0, 1.0), (-np.inf, 0.0), (np.inf, np.inf), (np.nan, np.nan), (710.0, np.inf), (-746.0, 0.0), (-745.1, 5e-324)],
)  # fmt: skip
def test_special_values_of_the_exponential(x: float, expected: float) -> None:
    """Overflow is infinite, underflow rounds once."""
    np.testing.assert_array_equal(exp([x]), [expected])


def test_both_rise() -> None:
    """A larger argument never has a smaller value, neighbouring floats around 1 and around each power of two
    included.
    """
    for function, around in ((log, 2.0 ** np.arange(-30, 31)), (exp, np.linspace(-1.0, 1.0, 61))):
        x = np.concatenate([around + k * np.spacing(around) for k in range(-20, 21)])
        assert (np.diff(function(np.sort(x))) >= 0).all()


def test_each_undoes_the_other() -> None:
    """log(exp(x)) is x within the rounding of both, where exp(x) has all its digits."""
    x = MODERATE[MODERATE > -708.0]
    np.testing.assert_allclose(log(exp(x)), x, rtol=3e-16, atol=3e-16)


def test_the_compiled_loop_has_the_same_bits() -> None:
    """Also on special values, and where it writes over what it read."""
    x = np.concatenate([POSITIVE, [0.0, -0.0, -1.0, np.inf, -np.inf, np.nan, 2.0**-1022, 2.0**-1022 - 5e-324]])
    out = x.copy()
    log_into(out, out)
    assert bits(out) == bits(log(x))


def test_a_value_does_not_depend_on_its_neighbours() -> None:
    """One by one, in blocks and in any shape the bits are the same."""
    x = np.resize(POSITIVE, BLOCK + 7)
    whole = log(x)
    assert bits(whole[-9:]) == [bits(log(v))[0] for v in x[-9:]]
    assert bits(log(x[:12].reshape(3, 4)).ravel()) == bits(whole[:12])


def test_in_polars_a_null_stays_one() -> None:
    """Expressions keep nulls, take integers, and work within a window."""
    frame = pl.DataFrame({"g": [1, 1, 2], "n": [1, None, 3], "x": [0.5, None, 2.0]})
    got = frame.select(a=ln(pl.col("n")), b=raised(pl.col("x")), c=ln(pl.col("x") * 2).over("g"))
    assert got.rows() == [(0.0, exp(0.5), 0.0), (None, None, None), (log(3.0), exp(2.0), log(4.0))]
    assert frame.head(0).select(ln(pl.col("x"))).schema == {"x": pl.Float64}


def test_the_bits_are_these() -> None:
    """On any processor: the hash of a thousand values, as on every machine it was run on."""
    from quant_assets.records import frame_hash

    x = np.arange(1.0, 1001.0) / 37.0
    assert frame_hash(pl.DataFrame({"log": log(x), "exp": exp(x)})) == EXPECTED


EXPECTED = "78232c2c7938f60f566757314b4fd7c84573b5d4ae0735e001ef27a15e993b60"
