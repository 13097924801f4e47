"""What a snapshot vouches for. A guard is made from its evidence alone, so that it cannot promise what the rows do not
show: a universe that was chosen with hindsight is called that.
"""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.errors import ReplayMismatch
from quant_assets.frames import bounds
from quant_assets.records import Frozen, LookAhead, Survivorship

HINDSIGHT = "chosen with hindsight"
NAME_YEARS = 150  # at 3% of names that end in a year, so many without one are seen once in 90 markets
YEAR = 365.25  # days


class Choice(Frozen, frozen=True):
    """How the members of a universe came to be known: how many names were ever listed and how many of them ended, over
    how many days, and the indices whose membership has no knowledge times of its own.
    """

    names: int
    ended: int
    days: int
    undated: tuple[str, ...] = ()

    @property
    def hindsight(self) -> str:
        """Why the choice knew what came later; empty where nothing shows that."""
        if self.undated:
            return f"the membership of {', '.join(self.undated)} has no knowledge times"
        if not self.ended and self.names * self.days / YEAR >= NAME_YEARS:
            return f"of {self.names} names none ended in {self.days} days: they are those that were left"
        return ""


def choice(listings: pl.DataFrame, memberships: pl.DataFrame, indices: Sequence[str], cut: datetime) -> Choice:
    """The evidence on a universe at a cut: of rows of LISTINGS, of the deliveries (CAPTURES) of index members, and the
    indices that the universe names.
    """
    known = listings.filter(pl.col("known_at") <= cut)
    edges = bounds(known["session"], date)
    delivered = memberships.filter(pl.col("known_at") <= cut)
    return Choice(
        names=known["sid"].n_unique(),
        ended=known.filter(~pl.col("listed"))["sid"].n_unique(),
        days=(cut.date() - edges[0]).days if edges else 0,
        undated=tuple(indices) if delivered["assumed"].any() else (),
    )


def survivorship(members: str, evidence: Choice) -> Survivorship:
    """How the names were chosen: `members`, or that hindsight chose them."""
    why = evidence.hindsight
    return Survivorship(f"{HINDSIGHT}: {why}; {members}" if why else members)


def look_ahead(rows: str, latest: datetime | None, cutoff: datetime) -> LookAhead:
    """What was read: `rows`. Raises ReplayMismatch where the latest of them was known only after the cut-off."""
    if latest is not None and latest > cutoff:
        raise ReplayMismatch(f"a row known at {latest} was read for a cut-off of {cutoff}; nothing may vouch for that")
    return LookAhead(rows)
