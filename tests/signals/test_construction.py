"""The top of the ranking, equally weighted; and as much short as long."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.signals.construction import EqualWeightTop, LongShort
from quant_assets.testing import conforms


def top(holdings: int) -> EqualWeightTop:
    """At most 0.3 a name, 0.9 in all."""
    return EqualWeightTop(holdings=holdings, max_gross=0.9, max_weight=0.3)


DAY = date(2016, 4, 1)


def scored(*days: list[float | None]) -> pl.DataFrame:
    """Scores of sids 1, 2, … on consecutive days."""
    rows = [(DAY + timedelta(days=n), sid, s) for n, scores in enumerate(days) for sid, s in enumerate(scores, 1)]
    return pl.DataFrame(rows, schema={"session": pl.Date, "sid": pl.Int64, "score": pl.Float64}, orient="row")


def test_the_best_are_held_and_ties_go_to_the_lower_sid() -> None:
    """Rank is by score, then sid; names without a finite score have none and weigh nothing."""
    scores = scored([0.1, 0.5, None, 0.5, float("nan"), float("inf"), 0.2]).sample(fraction=1.0, shuffle=True, seed=1)
    out = top(3).weights(scores)
    assert out["sid"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert out["rank"].to_list() == [4, 1, None, 2, None, None, 3]
    assert out["target_weight"].to_list() == [0, 0.3, 0, 0.3, 0, 0, 0.3]


def test_no_weight_is_beyond_the_cap() -> None:
    """Where few names are held, each stops at max_weight."""
    assert top(2).weights(scored([3.0, 2.0, 1.0]))["target_weight"].to_list() == [0.3, 0.3, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.none() | st.floats(), min_size=1, max_size=8), min_size=1, max_size=4), st.integers(1, 6))
def test_a_range_equals_its_days_and_stays_within_limits(days: list[list[float | None]], holdings: int) -> None:
    """A session's weights do not depend on other sessions, and never add up to more than max_gross."""
    frame = scored(*days)
    out = top(holdings).weights(frame)
    assert out.equals(pl.concat(top(holdings).weights(d) for d in frame.partition_by("session")))
    assert (out.group_by("session").agg(pl.col("target_weight").sum())["target_weight"] <= 0.9 + 1e-12).all()


NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "weights"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0], [0.25, 0.25, 0, -0.25, -0.25]),
        ([1.0, 1.0, 1.0, 1.0], [0.25, 0.25, -0.25, -0.25]),  # ties by sid
        ([5.0, None, NAN, 1.0], [0.4, 0, 0, -0.4]),  # fewer than wanted: one on either side, each at most 0.4
        ([3.0, 2.0, 1.0], [0.4, 0, -0.4]),
        ([1.0], [0]),
        ([None, None], [0, 0]),
    ],
)
def test_as_much_is_short_as_long(scores: list[float | None], weights: list[float]) -> None:
    """The worst are sold for what the best cost; no name is on both sides."""
    made = LongShort(holdings=2, max_gross=1.0, max_weight=0.4)
    assert made.weights(scored(scores))["target_weight"].to_list() == weights
    both = scored([1.0, 2.0], scores)
    assert made.weights(both).filter(session=DAY + timedelta(days=1))["target_weight"].to_list() == weights


def test_both_keep_the_laws() -> None:
    """Of every construction, as a team's own tests try them."""
    conforms("construction", lambda: top(3))
    conforms("construction", lambda: LongShort(holdings=3, max_gross=0.9, max_weight=0.3))
