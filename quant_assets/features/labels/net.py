"""Labels net of something: of the mean of a universe or an index, of an instrument, of what factors explain.

Who is a member, what a symbol means and which exposures a name has is as known at the cut of the label's own session;
returns are as known at the end. All sums are over the session (AMONG) on rows in the order of sid, so that a session's
bits do not depend on which others are computed with it.
"""

from collections.abc import Sequence
from datetime import date
from itertools import groupby

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError
from quant_assets.features.catalogue import find_set
from quant_assets.features.cross_section import AMONG
from quant_assets.market_data.membership import Membership
from quant_assets.market_data.securities import canonical, resolve
from quant_assets.ports import Store
from quant_assets.strategy import NetOf
from quant_assets.tables import LISTINGS, UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS

COLLINEAR = (
    1e-9  # of an exposure's own variance: what the constant and the exposures before it leave of it; less is rounding
)


def net(store: Store, cuts: Cuts, of: NetOf, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` (session, sid, value, …) with `value` net of it; sessions and names for which it is not known have no
    row.
    """
    ordered = rows.sort("session", "sid")
    sessions: list[date] = ordered["session"].unique().sort().to_list()
    if not sessions:
        return ordered
    if of.factors:
        exposures = _exposures(store, cuts, of, sessions)
        names = exposures.columns[2:]
        return _residuals(ordered.join(exposures, on=["session", "sid"], maintain_order="left"), names).drop(names)
    there = _weights(store, cuts, of, sessions)
    return _above_mean(ordered.join(there, on=["session", "sid"], how="left", maintain_order="left")).drop("weight")


def _above_mean(rows: pl.DataFrame) -> pl.DataFrame:
    """`value` less the weighted mean of the rows that have a `weight`."""
    weight = pl.col("weight")
    mean = (pl.col("value") * weight).sum().over(AMONG) / weight.sum().over(AMONG)
    return rows.with_columns(value=pl.col("value") - mean).filter(pl.col("value").is_finite())


def _weights(store: Store, cuts: Cuts, of: NetOf, sessions: Sequence[date]) -> pl.DataFrame:
    """session, sid, weight: of whom the mean is taken."""
    as_of = cuts.of(sessions[-1])
    if of.universe:
        members = Membership.from_universe(store.read(UNIVERSE, as_of=as_of, where={"universe": of.universe})).at(
            sessions, cuts
        )
        return members.select("session", sid="who", weight=pl.lit(1.0))
    if of.index:
        told = Membership.from_index(store.read(INDEX_MEMBERS, as_of=as_of, where={"index": of.index})).at(
            sessions, cuts
        )
        whole = pl.col("weight").is_not_null().all().over(AMONG)
        named = told.select("session", symbol="who", weight=pl.when(whole).then("weight").otherwise(1.0))
    else:
        named = pl.DataFrame({"session": sessions, "symbol": of.symbol, "weight": 1.0})
    found = _resolved(store, cuts, named, sessions).drop_nulls("sid")
    return found.unique(["session", "sid"], keep="first", maintain_order=True).select("session", "sid", "weight")


def _resolved(store: Store, cuts: Cuts, named: pl.DataFrame, sessions: Sequence[date]) -> pl.DataFrame:
    """`named` (session, symbol, weight) with `sid`, what each symbol meant as known at its session's cut.

    Sessions between two news of the listings are resolved together.
    """
    listings = store.read(LISTINGS, as_of=cuts.of(sessions[-1]))
    concerned = (
        listings.filter(canonical().is_in(named.select(canonical()).to_series().unique().implode()))
        .select("sid")
        .unique()
    )
    about = listings.join(concerned, on="sid", how="semi").sort("known_at", "sid", "session")
    news = about["known_at"]
    parts = [resolve(named.head(0), about.head(0), cuts.of(sessions[0]))]
    for _, alike in groupby(sessions, key=lambda s: news.search_sorted(cuts.of(s), side="right")):
        some = list(alike)
        parts.append(resolve(named.filter(pl.col("session").is_in(some)), about, cuts.of(some[0])))
    return pl.concat(parts)


def _exposures(store: Store, cuts: Cuts, of: NetOf, sessions: Sequence[date]) -> pl.DataFrame:
    """session, sid and the exposures, as published by each session's cut; names of which one is missing are left out.

    Raises ConfigurationError where the set is at another version or has no such exposure.
    """
    factors = find_set(of.factors)
    if factors.version != of.version:
        raise ConfigurationError(
            f"labels are declared net of {of.factors!r} at version {of.version!r}, which is at "
            f"{factors.version!r} now: what is left over is another label. Declare the version that is meant"
        )
    names = list(of.exposures or factors.features)
    if unknown := [n for n in names if n not in factors.features]:
        raise ConfigurationError(
            f"the feature set {of.factors!r} has no {unknown}; its features are {list(factors.features)}"
        )
    rows = store.read(
        factors.table,
        as_of=cuts.of(sessions[-1]),
        first=sessions[0],
        last=sessions[-1],
        where={"version": of.version, "universe": of.universe},
        columns=names,
    )
    known = rows.join(cuts.frame(sessions[0], sessions[-1]).select("session", "cut"), on="session").filter(
        pl.col("known_at") <= pl.col("cut")
    )
    return (
        in_force(known, factors.table)
        .drop_nulls(names)
        .select("session", "sid", *(pl.col(n).cast(pl.Float64) for n in names))
    )


def _residuals(rows: pl.DataFrame, exposures: Sequence[str]) -> pl.DataFrame:
    """`value` less what a constant and the exposures explain of it, by least squares within each session, all names
    alike.

    Modified Gram–Schmidt (Björck 1967): each exposure in turn is freed of the ones before it, and the label of each. An
    exposure that the ones before it explain takes no part. Sessions with no more names than coefficients have no
    residual.
    """
    freed = {f"_{n}": pl.col(n) - pl.col(n).mean().over(AMONG) for n in exposures}
    out = rows.with_columns(value=pl.col("value") - pl.col("value").mean().over(AMONG), **freed).with_columns(
        (pl.col(n) * pl.col(n)).sum().over(AMONG).alias(f"_of{n}") for n in freed
    )
    for done, name in enumerate(freed):
        q = pl.col(name)
        size = (q * q).sum().over(AMONG)
        spans = size > COLLINEAR * pl.col(f"_of{name}")
        out = out.with_columns(pl.when(spans).then(q / size.sqrt()).otherwise(0.0).alias(name))
        out = out.with_columns(
            pl.col(c) - q * (q * pl.col(c)).sum().over(AMONG) for c in ("value", *list(freed)[done + 1 :])
        )
    enough = pl.len().over(AMONG) > len(exposures) + 1
    return out.filter(enough).select(rows.columns)
