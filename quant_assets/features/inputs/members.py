"""Whom an input speaks of: the members of each session as known at its cut, under the names that their listings gave
them.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.frames import bounds
from quant_assets.market_data.membership import Membership
from quant_assets.market_data.securities import canonical
from quant_assets.ports import Store
from quant_assets.tables import LISTINGS, UNIVERSE


def members(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """session, sid, cut: the members of each session as known at its cut; sorted."""
    rows = store.read(UNIVERSE, as_of=cuts.of(max(sessions)), where={"universe": universe})
    asked = cuts.frame(min(sessions), max(sessions)).select("session", "cut")
    return (
        Membership.from_universe(rows)
        .at(sessions, cuts)
        .select("session", sid="who")
        .join(asked, on="session")
        .sort("session", "sid")
    )


def listings_of(store: Store, asked: pl.DataFrame) -> pl.DataFrame:
    """The versions of LISTINGS rows known by the last of the cuts that can bear on what a symbol of one of the `asked`
    (session, sid, cut) meant: those of all that ever had one of their symbols. With `name`, the symbol in canonical
    form.
    """
    _, cut = bounds(asked["cut"], datetime) or (None, None)
    listed = store.read(LISTINGS, as_of=cut).with_columns(name=canonical())
    theirs = listed.join(asked.select("sid").unique(), on="sid", how="semi").select("name")
    claiming = listed.join(theirs, on="name", how="semi").select("sid")
    return listed.join(claiming, on="sid", how="semi", maintain_order="left")


def by_knowledge(asked: pl.DataFrame, listings: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """`asked` (session, sid, cut; ascending) in stretches at whose cuts the same of `listings` was known."""
    learnt = listings.select(pl.col("known_at").unique().sort())["known_at"]
    numbered = asked.with_columns(knowledge=pl.Series(learnt.search_sorted(asked["cut"], side="right")))
    yield from numbered.partition_by("knowledge", maintain_order=True, include_key=False)
