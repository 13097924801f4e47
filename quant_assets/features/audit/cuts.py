"""Which sessions an audit cuts at: those at which something happened in the stored data that a look ahead would give
away.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.blocks import quarter_start
from quant_assets.frames import span
from quant_assets.market_data.adjustment import ADJUSTING, ENDING
from quant_assets.market_data.membership import Membership
from quant_assets.ports import Store
from quant_assets.records import Frozen
from quant_assets.tables import ACTIONS, BARS, UNIVERSE

MOST = 8
GONE = 5  # sessions without a bar up to the last one looked at, after which a name counts as gone


class Cut(Frozen, frozen=True):
    """A session to cut at, and what happens there."""

    session: date
    kinds: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.session} ({', '.join(self.kinds)})"


def choose(
    store: Store,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    *,
    lookback: int,
    each: int = 1,
    most: int = MOST,
    seed: int = 0,
) -> list[Cut]:
    """At most `most` of `sessions`, ascending: of each kind of event the `each` sessions with most of it, and some at
    random.

    Those come into question that have members, a session after them, and `lookback` sessions of data before; where no
    session has all of that, those that have members. Empty where none has.
    """
    if not sessions:
        return []
    ordered = sorted(sessions)
    first, last = ordered[0], ordered[-1]
    membership = Membership.from_universe(store.read(UNIVERSE, as_of=cuts.of(last), where={"universe": universe}))
    members = membership.at(ordered, cuts).select("session", sid="who")
    located = cuts.frame(first, last)
    bars = store.read(
        BARS, as_of=cuts.of(last), first=cuts.calendar.shift(first, -lookback), last=last, columns=("withdrawn",)
    )
    began = None if bars.is_empty() else span(bars["session"], date)[0]
    grown = (
        cuts.calendar.shift(began, lookback)
        if began and cuts.calendar.index(began) + lookback <= cuts.calendar.index(last)
        else last
    )
    with_members = set(members["session"])
    wanted = [s for s in ordered[:-1] if s in with_members and s >= grown] or [s for s in ordered if s in with_members]
    rows = (
        bars.filter(pl.col("session") >= first)
        .join(located, on="session")
        .join(members.select("sid").unique(), on="sid", how="semi")
    )
    actions = store.read(ACTIONS, as_of=cuts.of(last), first=first, last=last, columns=()).join(
        members.select("sid").unique(), on="sid", how="semi"
    )
    found = events(rows, actions, located) | _edges(cuts, ordered, membership)
    picked = pick(found, [cuts.calendar.index(s) for s in wanted], each=each, most=most, seed=seed)
    return [Cut(session=cuts.calendar.at(i), kinds=kinds) for i, kinds in picked.items()]


def pick(
    found: Mapping[str, pl.DataFrame], wanted: Sequence[int], *, each: int, most: int, seed: int
) -> dict[int, tuple[str, ...]]:
    """At most `most` of the positions `wanted`, ascending, with what happens there: of each kind in `found` (column i,
    a row for each event) the `each` with most of it, and some at random.
    """
    allowed, chosen = set(wanted), dict[int, list[str]]()
    for kind, at in found.items():
        often = (
            at.filter(pl.col("i").is_not_null()).group_by("i").len().sort(["len", "i"], descending=[True, False])["i"]
        )
        for i in [i for i in often if i in allowed][:each]:
            chosen.setdefault(i, []).append(kind)
    left = [i for i in wanted if i not in chosen]
    by_chance = np.random.default_rng(seed).permutation(len(left))[:each]
    told = {i: tuple(k) for i, k in list(chosen.items())[: most - (1 if left else 0)]} | {
        left[n]: ("at random",) for n in by_chance
    }
    return dict(sorted(told.items())[:most])


def events(bars: pl.DataFrame, actions: pl.DataFrame, located: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """By kind of event the positions `i` at which to cut, a row for each event.

    `bars`: versions with i and cut of their session; `located`: session, i, cut.
    """
    at = located.select("session", "i")
    versions = bars.sort("sid", "session", "known_at").with_columns(n=pl.int_range(pl.len()).over("sid", "session"))
    news = versions.filter((pl.col("n") > 0) & (pl.col("known_at") > pl.col("cut"))).select("known_at").sort("known_at")
    restated = news.join_asof(
        located.select("cut", "i").sort("cut"),
        left_on="known_at",
        right_on="cut",
        strategy="backward",
        allow_exact_matches=False,
    )
    days = versions.select("sid", "i").unique().sort("sid", "i")
    after = pl.col("i").shift(-1).over("sid")
    _, end = span(located["i"], int)
    adjusting, ending = (
        actions.filter(pl.col("kind").is_in(k)).join(at, on="session").unique(["sid", "i"]) for k in (ADJUSTING, ENDING)
    )
    return {
        "eve of an ex-date": adjusting.select(pl.col("i") - 1),
        "ex-date": adjusting.select("i"),
        "last session of a name": pl.concat(
            [
                ending.select(pl.col("i") - 1),
                days.group_by("sid").agg(pl.col("i").max()).filter(pl.col("i") < end - GONE).select("i"),
            ]
        ),
        "eve of a restatement": restated.select("i"),
        "a bar that was late": versions.filter((pl.col("n") == 0) & (pl.col("known_at") > pl.col("cut"))).select("i"),
        "first session after a halt": days.with_columns(after=after)
        .filter(pl.col("after") > pl.col("i") + 1)
        .select(i="after"),
    }


def _edges(cuts: Cuts, sessions: Sequence[date], membership: Membership) -> dict[str, pl.DataFrame]:
    """The last sessions before members change, and before a block ends."""
    calendar = cuts.calendar
    who = membership.at(sessions, cuts).group_by("session").agg(pl.col("who").sort()).sort("session")
    changed = who.with_columns(before=pl.col("session").shift(1), same=pl.col("who") == pl.col("who").shift(1)).filter(
        ~pl.col("same")
    )
    starts = {quarter_start(calendar, s) for s in sessions}
    eves = {
        "eve of a change of members": list(changed["before"]),
        "end of a block": [calendar.shift(s, -1) for s in starts if s > sessions[0]],
    }
    return {
        k: pl.DataFrame({"i": [calendar.index(s) for s in days if s is not None]}, schema={"i": pl.Int32})
        for k, days in eves.items()
    }
