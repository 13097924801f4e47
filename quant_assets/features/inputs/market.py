"""The market's return: what the members of a session made of it, each as much as the other."""

from collections.abc import Sequence
from datetime import date
from functools import partial

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.blocks import versions
from quant_assets.features.cross_section import AMONG
from quant_assets.features.inputs.members import members
from quant_assets.features.sets import Input
from quant_assets.market_data.adjustment import ADJUSTING, growth, terms
from quant_assets.ports import Store
from quant_assets.tables import ACTIONS, BARS

_TERMS = ("numerator", "denominator", "cash", "value")


def market_return(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """session, market: the equal-weighted mean, over the members of the session that have both closes, of the simple
    return from the close before to its own, splits and payments included.

    Prices, actions and members as known at the session's cut; what is learnt later changes no value. Sessions without a
    member of that kind (before the universe begins) have no row. A payment counts as in the panel's adjusted prices.
    """
    calendar = cuts.calendar
    first, last = calendar.shift(min(sessions), -1), max(sessions)
    located, of = cuts.frame(first, last), members(store, cuts, universe, sessions)
    read = partial(store.read, as_of=cuts.of(last), first=first, last=last)
    bars = _member_rows(read(BARS, columns=("close", "withdrawn")), of)
    actions = _member_rows(read(ACTIONS, columns=(*_TERMS, "withdrawn")), of)
    moved = terms(
        _in_force(
            versions(actions.filter(pl.col("kind").is_in(ADJUSTING)), located, _TERMS, ("sid", "kind")),
            ["sid", "kind"],
            0,
        ),
        "sid",
        "i",
    )
    closes = versions(bars.drop_nulls("close"), located, ("close",), ("sid",))
    before = _in_force(closes, ["sid"], 1).select("sid", i=pl.col("i") + 1, before="close")
    both = (
        of.join(located.select("session", "i"), on="session")
        .join(_in_force(closes, ["sid"], 0), on=["sid", "i"])
        .join(before, on=["sid", "i"])
    )
    priced = (
        both.join(moved, on=["sid", "i"], how="left")
        .with_columns(pl.col("ratio").fill_null(1.0), pl.col("paid").fill_null(0.0))
        .sort("session", "sid")
    )
    return_ = pl.col("close") / pl.col("before") * growth(pl.col("ratio"), pl.col("paid") / pl.col("before")) - 1.0
    finite = priced.with_columns(value=return_).filter(pl.col("value").is_finite())
    return finite.select("session", market=pl.col("value").mean().over(AMONG)).unique(
        "session", keep="first", maintain_order=True
    )


def _member_rows(rows: pl.DataFrame, of: pl.DataFrame) -> pl.DataFrame:
    return rows.join(of.select("sid").unique(), on="sid", how="semi", maintain_order="left")


def _in_force(known: pl.DataFrame, subject: list[str], after: int) -> pl.DataFrame:
    """Of `blocks.versions`, for each session the one in force at the cut `after` sessions later."""
    held = (
        known.filter(pl.col("e") <= pl.col("i") + after)
        .sort(*subject, "i", "e")
        .unique([*subject, "i"], keep="last", maintain_order=True)
    )
    return held.filter(~pl.col("withdrawn"))


MARKET = Input(
    name="market",
    columns={"market": pl.Float64},
    tables=("bars", "actions", "universe"),
    read=market_return,
    on=("session",),
)
