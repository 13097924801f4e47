"""Drift against frozen training edges."""

import msgspec
import numpy as np
import polars as pl
import pytest

from quant_assets.features.drift import Reference, freeze, median_psi, psi, vanished

RNG = np.random.default_rng(11)
TRAIN = pl.DataFrame(
    {
        "a": RNG.normal(size=20_000),
        "b": RNG.integers(0, 3, size=20_000).astype(float),
        "c": [None] * 10_000 + [1.0] * 10_000,
    }
)
FEATURES = ("a", "b", "c")
FROZEN = freeze(TRAIN, FEATURES)


def test_training_itself_has_not_drifted():
    """The training frame against its own reference is zero, for repeated and missing values too."""
    drift = psi(FROZEN, TRAIN)
    assert drift["feature"].to_list() == list(FEATURES)
    assert drift["psi"].to_list() == drift["ks"].to_list() == [0.0, 0.0, 0.0]


def test_psi_by_hand():
    """Shares 1/2, 1/2 against 3/4, 1/4 give (1/4) ln 1.5 − (1/4) ln 0.5, and a distance of 1/4."""
    reference = freeze(pl.DataFrame({"x": [0.0, 1.0] * 50}), ("x",))
    (_, value, noise, ks) = psi(reference, pl.DataFrame({"x": [0.0, 0.0, 0.0, 1.0]})).row(0)
    assert value == pytest.approx(0.25 * np.log(1.5) - 0.25 * np.log(0.5))
    assert (noise, ks) == (pytest.approx(1 / 4 + 1 / 100), pytest.approx(0.25))


def test_ks_is_close_to_scipys():
    """At the edges the distance is at most the exact one, and near it for a shift."""
    from scipy.stats import ks_2samp

    moved = TRAIN.select(pl.col("a") + 0.5)
    exact = ks_2samp(TRAIN["a"], moved["a"]).statistic
    ours = psi(freeze(TRAIN, ("a",)), moved)["ks"][0]
    assert exact - 0.02 < ours <= exact + 1e-12


@pytest.mark.parametrize("rows", [20, 100, 500])
def test_few_rows_are_not_drift(rows):
    """Undrifted samples, however small, stay under the limit that a shifted one exceeds."""
    names = [f"x{i}" for i in range(20)]
    reference = freeze(pl.DataFrame(RNG.normal(size=(20_000, 20)), schema=names), tuple(names))
    same = [median_psi(psi(reference, pl.DataFrame(RNG.normal(size=(rows, 20)), schema=names))) for _ in range(20)]
    moved = [
        median_psi(psi(reference, pl.DataFrame(RNG.normal(1.5, size=(rows, 20)), schema=names))) for _ in range(20)
    ]
    assert max(same) < 0.25
    assert min(moved) > 0.5


def test_a_feature_gone_missing_has_drifted():
    """Missing values are a bin of their own."""
    gone = TRAIN.head(500).with_columns(a=pl.lit(None, dtype=pl.Float64))
    assert psi(FROZEN, gone)["psi"][0] > 1


def test_nothing_measured_is_unknown():
    """No rows give no statistic, never a zero."""
    assert median_psi(psi(FROZEN, TRAIN.clear())) is None


def test_the_reference_is_all_that_drift_needs():
    """It travels as JSON and gives the same numbers."""
    read = msgspec.json.decode(msgspec.json.encode(FROZEN), type=Reference)
    moved = TRAIN.with_columns(pl.col("a") * 2)
    assert psi(read, moved).equals(psi(FROZEN, moved))


def test_a_feature_that_vanished_is_named():
    """Of a feature that training knew, a tenth of the values or fewer is no feature; one that training hardly knew may
    be missing by chance.
    """
    training = pl.DataFrame({"whole": [1.0] * 100, "half": [1.0, None] * 50, "rare": [1.0] + [None] * 99})
    reference = freeze(training, ("whole", "half", "rare"))
    names = 40

    def today(whole: int, half: int) -> pl.DataFrame:
        known = {"whole": whole, "half": half, "rare": 0}
        return pl.DataFrame(
            {f: [2.0] * n + [None] * (names - n) for f, n in known.items()}, schema=dict.fromkeys(known, pl.Float64)
        )

    assert vanished(reference, today(40, 20)) == []
    assert vanished(reference, today(5, 3)) == []
    assert vanished(reference, today(4, 2)) == ["whole", "half"]
    assert vanished(reference, today(0, 20)) == ["whole"]
    assert vanished(reference, today(0, 0).clear()) == []
    assert vanished(reference, today(0, 0).head(4)) == []
