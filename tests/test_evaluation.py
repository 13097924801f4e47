"""Measures of scores, against SciPy and by hand."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_assets.evaluation import decile_spread, ic_by_month, ic_estimate, left_out, newey_west, rank_ic

DAYS = [date(2024, 1, 20) + timedelta(days=i) for i in range(30)]


def panel(seed=0, names=37):
    """Scores and values with ties, some missing."""
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 12, size=(len(DAYS), names)).astype(float)
    value = 0.1 * score + rng.normal(size=score.shape).round(1)
    frame = pl.DataFrame(
        {
            "session": [d for d in DAYS for _ in range(names)],
            "sid": list(range(names)) * len(DAYS),
            "score": score.ravel(),
            "value": value.ravel(),
        }
    )
    return frame.with_columns(
        score=pl.when(pl.col("sid") != 3).then("score"),
        value=pl.when(pl.col("sid") != 5).then("value").otherwise(float("nan")),
    )


def test_rank_ic_is_spearmans():
    """Each session's IC equals scipy's on the rows that have both, ties included."""
    from scipy.stats import spearmanr

    frame = panel()
    ours = rank_ic(frame)
    kept = frame.filter(~pl.col("sid").is_in([3, 5]))
    theirs = [spearmanr(*(kept.filter(session=d)[c] for c in ("score", "value"))).statistic for d in DAYS]
    assert ours["session"].to_list() == DAYS
    assert ours["n"].unique().to_list() == [35]
    np.testing.assert_allclose(ours["ic"], theirs, rtol=0, atol=1e-14)


def test_rank_ic_depends_on_neither_row_order_nor_other_sessions():
    """Shuffled rows and a session alone give the same bits."""
    frame = panel()
    whole = rank_ic(frame)
    assert rank_ic(frame.sample(fraction=1, shuffle=True, seed=3)).equals(whole)
    assert pl.concat([rank_ic(frame.filter(session=d)) for d in DAYS]).equals(whole)


def test_a_constant_session_has_no_ic():
    """Where scores or values do not vary nothing is said, instead of a NaN."""
    frame = panel().with_columns(score=pl.when(session=DAYS[0]).then(1.0).otherwise("score"))
    assert rank_ic(frame)["session"].to_list() == DAYS[1:]


def test_sessions_below_the_minimum_have_no_ic():
    """Fewer names than asked for say nothing; how many sessions were left out can be told."""
    frame = panel().filter((pl.col("session") != DAYS[0]) | (pl.col("sid") < 5))
    ics = rank_ic(frame, minimum=30)
    assert ics["session"].to_list() == DAYS[1:]
    assert left_out(frame, ics) == 1


def test_values_that_do_not_vary_have_no_t():
    """The error of equal values is nothing, or the last bits of their sum; a t made of that would be huge."""
    assert newey_west([0.1] * 7, 3).t is None
    assert newey_west([1 / 3] * 50, 4).t is None


def test_newey_west_by_hand():
    """Values 1, 2, 4, 1 at one lag: γ₀ = 6/4, γ₁ = −2/4, Var = (6/4 − 2/4)/4; at no lag it is the plain error with
    n.
    """
    e = np.array([1.0, 2.0, 4.0, 1.0]) - 2
    g0, g1 = 6 / 4, (e[1] * e[0] + e[2] * e[1] + e[3] * e[2]) / 4
    assert g1 == -0.5
    at_one = newey_west([1.0, 2.0, 4.0, 1.0], 1)
    assert at_one.error == pytest.approx(np.sqrt((g0 + 2 * 0.5 * g1) / 4))
    assert at_one.t == pytest.approx(2 / 0.5)
    assert newey_west([1.0, 2.0, 4.0, 1.0], 0).error == pytest.approx(np.std([1, 2, 4, 1]) / 2)


def test_newey_west_covers_overlapping_windows():
    """On means of five overlapping shocks the error is near the truth over many draws, where the plain one is less than
    half.
    """
    rng = np.random.default_rng(5)
    shocks = rng.normal(size=(300, 404))
    series = np.stack([np.convolve(s, np.ones(5) / 5, "valid") for s in shocks])
    truth = series.mean(axis=1).std()
    errors = np.mean([[newey_west(s, lag).error for lag in (0, 8)] for s in series], axis=0)
    assert errors[0] < 0.5 * truth
    assert 0.85 * truth < errors[1] < 1.1 * truth


def test_errors_need_two_finite_values():
    """One value, or a NaN, has no standard error."""
    for values in ([1.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="finite"):
            newey_west(values, 1)


def test_months_and_deciles():
    """Months average their sessions; the spread is the mean of the top tenth less that of the bottom one."""
    ics = pl.DataFrame({"session": DAYS, "ic": [1.0] * 12 + [0.5] * 18})
    assert ic_by_month(ics).rows() == [(date(2024, 1, 1), 1.0, 12), (date(2024, 2, 1), 0.5, 18)]
    assert ic_estimate(ics, 5).mean == pytest.approx(0.7)
    frame = pl.DataFrame(
        {
            "session": [DAYS[0]] * 20 + [DAYS[1]] * 5,
            "sid": range(25),
            "score": [float(i) for i in range(25)],
            "value": [i * i / 10 for i in range(25)],
        }
    )
    (spread,) = decile_spread(frame).rows()
    assert spread == (DAYS[0], pytest.approx((18**2 + 19**2) / 20 - 1 / 20))
