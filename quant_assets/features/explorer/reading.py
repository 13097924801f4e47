"""The explorer of what is published: reads a set's values a quarter at a time, and the returns that followed."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from pathlib import Path

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError
from quant_assets.features.blocks import quarter_start, versions
from quant_assets.features.explorer.measures import HORIZONS, Part, explore_parts
from quant_assets.features.explorer.page import Heading, write
from quant_assets.features.labels import forward_returns
from quant_assets.features.sets import DAILY, FeatureSet
from quant_assets.market_data.adjustment import ADJUSTING, ENDING
from quant_assets.market_data.listings import sectors
from quant_assets.ports import Progress, Store, quiet
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS


def explorer(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    first: date,
    last: date,
    *,
    folder: Path,
    horizons: Sequence[int] = HORIZONS,
    as_of: datetime | None = None,
    audit: str = "",
    audit_passed: bool | None = None,
    notice: str = "",
    progress: Progress = quiet,
) -> Path:
    """Write the page on the published values of [first, last] as known at `as_of` (None: all that is stored), and
    return its path.

    Forward returns run from open to open and are those known at `as_of`; the youngest sessions have none yet. A quarter
    of values is in memory at a time. Raises ConfigurationError for a set on bars shorter than a session.
    """
    if feature_set.frequency != DAILY:
        raise ConfigurationError(
            f"{feature_set.name} has a value each {feature_set.frequency}, and the explorer reads sets of "
            f"sessions; `explore` measures any frame that has a row for each session and name"
        )
    sessions = cuts.calendar.between(first, last)
    measures = explore_parts(
        feature_set,
        _quarters(store, feature_set, universe, cuts, sessions, horizons, as_of, progress),
        horizons=horizons,
    )
    assumed = bool(store.read(CAPTURES, as_of=as_of, last=last, columns=("assumed",))["assumed"].any())
    listed = sectors(store.read(LISTINGS, as_of=as_of, last=last))
    symbols = dict(
        listed.filter(pl.col("sid").is_in(measures.extremes["sid"].implode())).select("sid", "symbol").iter_rows()
    )
    heading = Heading(
        universe=universe,
        cut=as_of,
        assumed=assumed,
        audit=audit,
        audit_passed=audit_passed,
        notice=notice,
        symbols=symbols,
    )
    return write(measures, folder / page_name(feature_set, universe, first, last), heading=heading)


def page_name(feature_set: FeatureSet, universe: str, first: date, last: date) -> str:
    """The file name of a set's page."""
    return f"features_{feature_set.name}_{universe}_{first}_{last}.html"


def _quarters(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    horizons: Sequence[int],
    as_of: datetime | None,
    progress: Progress,
) -> Iterator[Part]:
    where: dict[str, str | int] = {"version": feature_set.version, "universe": universe}
    quarters = [list(of) for _, of in groupby(sessions, key=lambda s: quarter_start(cuts.calendar, s))]
    for done, quarter in enumerate(quarters):
        progress(done, len(quarters), f"{feature_set.name} {quarter[0]} to {quarter[-1]}")
        values = in_force(
            store.read(feature_set.table, as_of=as_of, first=quarter[0], last=quarter[-1], where=where),
            feature_set.table,
        )
        yield (
            values.select("session", "sid", *feature_set.features),
            forward(store, cuts, quarter, horizons, values.select("sid").unique(), as_of),
        )
    progress(len(quarters), len(quarters), feature_set.name)


def forward(
    store: Store,
    cuts: Cuts,
    sessions: Sequence[date],
    horizons: Sequence[int],
    names: pl.DataFrame,
    as_of: datetime | None,
) -> pl.DataFrame:
    """Columns session, sid, horizon, value: the values that LABELS would have of `sessions` (consecutive) and `names`
    (column sid), of windows that have ended in what is known at `as_of`.
    """
    calendar = cuts.calendar
    furthest = min(
        calendar.index(sessions[-1]) + max(horizons) + 1, calendar.index(calendar.last) - 1
    )  # the cut of a session needs the open after it
    begin, end = sessions[0], calendar.at(furthest)
    located = cuts.frame(begin, end)
    bars = store.read(BARS, as_of=as_of, first=begin, last=end, columns=("open", "close", "withdrawn"))
    # beyond the last session with bars nothing has ended: prices are not there yet
    located = located.filter(pl.col("session") <= (bars["session"].max() or begin))
    terms = ("numerator", "denominator", "cash", "value", "counterpart")
    actions = store.read(ACTIONS, as_of=as_of, first=begin, last=end, columns=(*terms, "withdrawn")).filter(
        pl.col("kind").is_in([*ADJUSTING, *ENDING])
    )
    named = [f.join(names, on="sid", how="semi") for f in (bars, actions)]
    prices = versions(named[0], located, ("open", "close"), ("sid",))
    moved = versions(named[1], located, terms, ("sid", "kind"))
    started = located.filter(pl.col("session").is_in(sessions)).select("session", "i")
    out = [pl.DataFrame(schema={"session": pl.Date, "sid": pl.Int64, "horizon": pl.Int64, "value": pl.Float64})]
    for horizon in horizons:
        ends = started.select("session", u=(pl.col("i") + horizon + 1).cast(pl.Int32)).filter(
            pl.col("u") <= (located["i"].max() or -1)
        )
        values = forward_returns(prices, moved, horizon, ends.select("u")).join(ends, on="u")
        out.append(values.select("session", "sid", pl.lit(horizon, dtype=pl.Int64).alias("horizon"), "value"))
    return pl.concat(out)
