"""What another venue did, by its bars as they are known at one's own cut."""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import in_force, known_by
from quant_assets.features.sets import Input
from quant_assets.market_data.adjustment import ADJUSTING, growth, terms
from quant_assets.market_data.markets import elsewhere
from quant_assets.ports import Store
from quant_assets.tables import ACTIONS, BARS

BACK = timedelta(days=21)  # before a session: no venue rests longer, and no vendor is later
_TERMS = ("numerator", "denominator", "cash", "value")


@cache  # sets that read the same venue have one and the same input, and can be put together
def venue_return(calendar: str) -> Input:
    """Columns return_XLON and age_XLON (after the calendar; what is no letter or digit is _), in the panel: of the
    market of another calendar, which the deployment declares under `markets`, the mean return of its names from the
    close before to the close of the last session that is known, splits and payments included, each name as much as the
    other; and how many days it lies before the cut.

    Both are as known at the cut of one's own session, whichever day it is there: a bar counts from its knowledge time.
    Null where fewer than two of its sessions are known.
    """
    bars, actions = elsewhere(BARS, calendar), elsewhere(ACTIONS, calendar)
    returned, aged = (f"{what}{bars.name.removeprefix(f'{BARS.name}_of')}" for what in ("return", "age"))

    def read(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:  # noqa: ARG001  # the port's
        first, last = min(sessions) - BACK, max(sessions) + timedelta(days=7)  # a cut may lie days after its session
        known = {"as_of": cuts.of(max(sessions)), "first": first, "last": last}
        closes = store.read(bars, **known, columns=("close", "withdrawn"))  # type: ignore[arg-type]
        moved = store.read(actions, **known, columns=(*_TERMS, "withdrawn"))  # type: ignore[arg-type]
        adjusting = moved.filter(pl.col("kind").is_in(ADJUSTING))
        rows = [(s, *_last_known(closes, adjusting, cuts, s)) for s in sessions]
        schema = {"session": pl.Date, returned: pl.Float64, aged: pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    return Input(
        name=f"venue_return_{bars.name}",
        columns={returned: pl.Float64, aged: pl.Float64},
        tables=(bars.name, actions.name),
        read=read,
        on=("session",),
        markets=(calendar,),
    )


def _last_known(
    closes: pl.DataFrame, moved: pl.DataFrame, cuts: Cuts, session: date
) -> tuple[float | None, float | None]:
    """The mean return of the last session known at a session's cut, and its age in days."""
    cut = cuts.of(session)
    there = in_force(known_by(closes.filter(pl.col("session") > session - BACK), cut), BARS)
    days = there.filter(pl.col("close").is_finite())["session"].unique().sort().to_list()
    if len(days) < 2:  # a return is from one close to the next
        return None, None
    before, after = (there.filter(session=day).select("sid", "close") for day in days[-2:])
    acted = in_force(known_by(moved, cut), ACTIONS).filter(
        (pl.col("session") > days[-2]) & (pl.col("session") <= days[-1])
    )
    both = after.join(before, on="sid", suffix="_before").join(terms(acted, "sid"), on="sid", how="left")
    ratio, paid = pl.col("ratio").fill_null(1.0), pl.col("paid").fill_null(0.0)
    return_ = pl.col("close") / pl.col("close_before") * growth(ratio, paid / pl.col("close_before")) - 1.0
    values = both.select(value=return_)["value"]
    finite = values.filter(values.is_finite()).to_list()
    # an exact sum: it hangs neither on the order of the names nor on the processor
    return (math.fsum(finite) / len(finite) if finite else None), float((cut.date() - days[-1]).days)
