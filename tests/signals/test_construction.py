"""The top of the ranking, equally weighted."""

from datetime import date, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.signals.construction import EqualWeightTop


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
