"""Which instruments an intraday strategy looks at in a session, and what they are called at the venue of its bars.

A session begins with what the evening before it knew: members and names stay the same over its slots, so that a range
of sessions and one slot alone read the same.
"""

from collections.abc import Sequence
from datetime import date

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.market_data.membership import Membership
from quant_assets.market_data.securities import canonical, symbols
from quant_assets.ports import Store
from quant_assets.tables import LISTINGS, UNIVERSE

NAMES = {"session": pl.Date, "sid": pl.Int64, "symbol": pl.String, "member": pl.Boolean}


def names_of(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """Columns session, sid, symbol, member (false: it left within the last year), by session and sid: who may be traded
    in each of the sessions, as known at the cut of the session booked before it. A name that is listed no more has no
    symbol.
    """
    evenings = {s: cuts.booked_before(s) for s in sorted(sessions)}
    if not evenings:
        return pl.DataFrame(schema=NAMES)
    last = max(evenings.values())
    as_of = cuts.of(last)
    membership = Membership.from_universe(store.read(UNIVERSE, as_of=as_of, last=last, where={"universe": universe}))
    listings = store.read(LISTINGS, as_of=as_of, last=last)
    asked = sorted(set(evenings.values()))
    found = pl.concat(
        [
            rows.select("session", sid="who", member=pl.lit(member))
            for rows, member in ((membership.at(asked, cuts), True), (membership.former(asked, cuts), False))
        ]
    ).partition_by("session", as_dict=True)
    none = pl.DataFrame(schema={c: t for c, t in NAMES.items() if c != "symbol"})
    parts = [
        symbols(found.get((evening,), none), listings, cuts.of(evening)).with_columns(session=pl.lit(session))
        for session, evening in evenings.items()
    ]
    return pl.concat(parts).select(pl.col(c).cast(t) for c, t in NAMES.items()).sort("session", "sid")


def with_sids(rows: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """The `rows` (session, symbol of the venue, …) of the instruments in `names`, with sid and member."""
    known = names.drop_nulls("symbol").with_columns(_key=canonical()).drop("symbol")
    return rows.with_columns(_key=canonical()).join(known, on=["session", "_key"]).drop("_key")
