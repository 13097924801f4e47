"""Scores to target weights: the long-only top of the ranking, equally weighted."""

import polars as pl

from quant_assets.strategy import Limits


def target_weights(scores: pl.DataFrame, holdings: int, limits: Limits) -> pl.DataFrame:
    """`scores` with rank (1 is best, ties by sid; null without a finite score) and target_weight, sorted by (session,
    sid).

    `scores`: session, sid, score and whatever else. The best `holdings` of each session get max_gross / holdings of
    equity, at most max_weight; all others 0. A session's result does not depend on what other sessions are in the
    frame.
    """
    usable = pl.col("score").is_finite().fill_null(value=False)
    ordered = scores.with_columns(usable=usable).sort(
        "session", "usable", "score", "sid", descending=[False, True, True, False]
    )
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("session")
    weight = min(limits.max_gross / holdings, limits.max_weight)
    ranked = ordered.with_columns(rank=pl.when("usable").then(place))
    chosen = (pl.col("rank") <= holdings).fill_null(value=False)
    return (
        ranked.with_columns(target_weight=pl.when(chosen).then(weight).otherwise(0.0))
        .drop("usable")
        .sort("session", "sid")
    )
