"""Another venue's rows in the sessions of a strategy's own calendar.

A bar of an own session is made of the other venue's sessions that close between two cuts: as a rule of one, of several
after an own holiday, of none on a holiday there.
"""

from collections.abc import Collection

import polars as pl

from quant_assets.contract import in_force
from quant_assets.tables import ACTIONS, BARS

GROUP = ("sid", "session")


def sids_of(listings: pl.DataFrame, calendars: Collection[str]) -> pl.Series:
    """The names, by LISTINGS rows, whose venue has one of these calendars."""
    return listings.filter(pl.col("calendar").is_in(list(calendars)))["sid"].unique()


def moved(rows: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """The rows of the sessions of `parts` (part, session), each in the own session that holds it."""
    columns = rows.columns
    held = rows.rename({"session": "part"}).join(parts, on="part", how="inner", maintain_order="left")
    return held.select(columns)


def composed(bars: pl.DataFrame, actions: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Versions of BARS in own sessions, of versions of `bars` of the sessions of `parts` (part, session).

    What is made of one session are its versions as they are. What is made of several has a version at each moment at
    which one of theirs was known: the first open, the last close, the extremes and the volume of those in force then;
    the origin is the last one's. Where one of `actions` has its ex-session among them, the bar begins with that
    session: a bar has one kind of share.
    """
    held = bars.rename({"session": "part"}).join(parts, on="part", how="inner", maintain_order="left")
    several = parts.filter(pl.col("session").is_duplicated())
    if several.is_empty():
        return held.select(*BARS.schema)
    alone = held.join(several.select("session").unique(), on="session", how="anti", maintain_order="left")
    together = held.join(several, on=["part", "session"], how="semi", maintain_order="left")
    ex = in_force(actions, ACTIONS).rename({"session": "part"}).join(several, on="part", how="inner")
    begins = ex.group_by(GROUP).agg(begins=pl.col("part").max())
    kept = together.join(begins, on=GROUP, how="left", maintain_order="left").filter(
        pl.col("begins").is_null() | (pl.col("part") >= pl.col("begins"))
    )
    return pl.concat([alone.select(*BARS.schema), _joined(kept.drop("begins"))])


def _joined(held: pl.DataFrame) -> pl.DataFrame:
    """A version of each own session's bar at each moment at which a version of one of its parts was known."""
    moments = held.select(*GROUP, moment="known_at").unique(maintain_order=True)
    seen = moments.join(held, on=GROUP, how="inner").filter(pl.col("known_at") <= pl.col("moment"))
    latest = seen.sort(*GROUP, "moment", "part", "known_at").unique(
        [*GROUP, "moment", "part"], keep="last", maintain_order=True
    )
    there = ~pl.col("withdrawn")
    last = [c for c in BARS.schema if c not in {*GROUP, "open", "high", "low", "volume", "withdrawn", "known_at"}]
    made = latest.group_by(*GROUP, "moment", maintain_order=True).agg(
        *(pl.coalesce(pl.col(c).filter(there).last(), pl.col(c).last()) for c in last),
        open=pl.coalesce(pl.col("open").filter(there).first(), pl.col("open").first()),
        high=pl.coalesce(pl.col("high").filter(there).max(), pl.col("high").max()),
        low=pl.coalesce(pl.col("low").filter(there).min(), pl.col("low").min()),
        volume=pl.col("volume").filter(there).sum(),
        withdrawn=~there.any(),
        known_at=pl.col("moment").first(),
    )
    return made.select(pl.col(c).cast(t) for c, t in BARS.schema.items())
