"""The sector of each member, as known at each session's cut."""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.inputs.members import by_knowledge, listings_of, members
from quant_assets.features.point_in_time import View, point_in_time
from quant_assets.features.sets import Input
from quant_assets.frames import span
from quant_assets.market_data.securities import canonical, symbols
from quant_assets.ports import Store
from quant_assets.vendor_tables import SECTORS

SCHEME = "GICS"


def classified(scheme: str) -> Input:
    """Column sector.

    In sessions at whose cut the scheme (table `sectors`) classifies a member, its sectors, and null of members that it
    does not classify; in the others the listing's own sector: never two schemes in one cross-section. A row dated from
    the next session on holds at the cut before it opens, if it was known.
    """

    def read(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
        asked = members(store, cuts, universe, sessions)
        if asked.is_empty():
            return asked.select("session", "sid", sector=pl.lit(None, pl.String))
        _, cut = span(asked["cut"], datetime)
        rows = store.read(SECTORS, as_of=cut, where={"scheme": scheme}, columns=("sector", "withdrawn"))
        listings = listings_of(store, asked)
        own = point_in_time(asked, [View("listing", listings.drop("name"), ("sector",))], cut="cut")
        if rows.is_empty():
            return own.select("session", "sid", sector="listing_sector")
        # one name can have two spellings; of rows of one moment about one day, the last row counts
        named = (
            rows.with_columns(name=canonical())
            .sort("name", "session", "known_at", "symbol")
            .unique(["name", "session", "known_at"], keep="last", maintain_order=True)
        )
        called = pl.concat([symbols(stretch, listings, stretch["cut"][0]) for stretch in by_knowledge(own, listings)])
        spine = called.with_columns(name=canonical().fill_null(""))
        told = point_in_time(spine, [View("scheme", named.drop("symbol"), ("sector",), by=("name",))], cut="cut")
        speaks = pl.col("scheme_sector").is_not_null().any().over("session")
        return told.select("session", "sid", sector=pl.when(speaks).then("scheme_sector").otherwise("listing_sector"))

    return Input(
        name=f"sector_{scheme}",
        columns={"sector": pl.String},
        tables=("universe", "listings", "sectors"),
        read=read,
        without=("sectors",),
    )


SECTOR = classified(SCHEME)
