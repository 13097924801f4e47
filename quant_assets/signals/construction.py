"""Scores to target weights: the platform's own `Construction`, and whichever a strategy names."""

import polars as pl

from quant_assets.plugged import opened
from quant_assets.plugins import construction
from quant_assets.ports import Construction
from quant_assets.records import Frozen
from quant_assets.strategy import Strategy


class EqualWeightTop(Frozen, frozen=True):
    """The long-only top of the ranking, equally weighted: the best `holdings` of each session get max_gross / holdings
    of equity, at most max_weight; all others 0.
    """

    holdings: int
    max_gross: float
    max_weight: float

    def weights(self, scores: pl.DataFrame, held: pl.DataFrame | None = None) -> pl.DataFrame:  # noqa: ARG002  # the port's
        """See the port. Rank 1 is best, ties by sid; it is null without a finite score."""
        usable = pl.col("score").is_finite().fill_null(value=False)
        ordered = scores.with_columns(usable=usable).sort(
            "session", "usable", "score", "sid", descending=[False, True, True, False]
        )
        place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("session")
        weight = min(self.max_gross / self.holdings, self.max_weight)
        ranked = ordered.with_columns(rank=pl.when("usable").then(place))
        chosen = (pl.col("rank") <= self.holdings).fill_null(value=False)
        return (
            ranked.with_columns(target_weight=pl.when(chosen).then(weight).otherwise(0.0))
            .drop("usable")
            .sort("session", "sid")
        )


class LongShort(Frozen, frozen=True):
    """As much short as long: the best `holdings` of each session get half of max_gross in equal parts, the worst as
    many get minus that, each at most max_weight; all others 0. No name is on both sides: of fewer than twice as many
    names with a score the better half is long, and the other short.
    """

    holdings: int
    max_gross: float
    max_weight: float

    def weights(self, scores: pl.DataFrame, held: pl.DataFrame | None = None) -> pl.DataFrame:
        """See the port. Rank 1 is best, ties by sid; it is null without a finite score."""
        top = EqualWeightTop(holdings=self.holdings, max_gross=self.max_gross, max_weight=self.max_weight)
        ranked = top.weights(scores, held)
        usable = pl.col("rank").count().over("session")
        side = pl.min_horizontal(pl.lit(self.holdings), usable // 2)
        each = pl.min_horizontal(self.max_gross / 2 / side, pl.lit(self.max_weight))
        weight = (
            pl.when(pl.col("rank") <= side).then(each).when(pl.col("rank") > usable - side).then(-each).otherwise(0.0)
        )
        return ranked.with_columns(target_weight=weight)


DEFAULT = "equal_weight_top"


@construction(DEFAULT)
def equal_weight_top(strategy: Strategy) -> EqualWeightTop:
    """The one of a strategy that names none, within the strategy's own limits."""
    limits = strategy.limits
    return EqualWeightTop(holdings=strategy.holdings, max_gross=limits.max_gross, max_weight=limits.max_weight)


@construction("long_short")
def long_short(strategy: Strategy) -> LongShort:
    """As much short as long, within the strategy's own limits."""
    limits = strategy.limits
    return LongShort(holdings=strategy.holdings, max_gross=limits.max_gross, max_weight=limits.max_weight)


def construction_of(strategy: Strategy) -> Construction:
    """The construction that a strategy declares. Raises ConfigurationError where there is none of that name."""
    return opened("construction", strategy.construction or DEFAULT, strategy=strategy)
