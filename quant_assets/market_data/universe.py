"""Who may be traded: the most liquid names, as known when each month began."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from quant_assets.contract import in_force, known_by
from quant_assets.market_data.calendars import Calendar, Cuts
from quant_assets.ports import Store
from quant_assets.records import StageReport
from quant_assets.signals.strategy import UniverseRule
from quant_assets.tables import BARS, LISTINGS, UNIVERSE


def update(store: Store, cuts: Cuts, rule: UniverseRule, sessions: Sequence[date]) -> StageReport:
    """Write the intervals of membership that begin in `sessions`.

    One begins at each month's first session and ends before the next month's; the very first one, at the session that
    completes `rule.lookback` sessions of data. Membership is decided from what is known at the cut of its first session.
    """
    standing = store.read(UNIVERSE, as_of=None, where={"universe": rule.name}).select("session", "until").unique().rows()
    written = names = 0
    for session in sorted(sessions):
        monthly = is_first_of_month(cuts.calendar, session)
        if not monthly and any(start <= session < until for start, until in standing):
            continue
        if not monthly and not _enough(store, cuts, rule, session):
            continue
        chosen = select(store, cuts, rule, session)
        written += store.append(UNIVERSE, chosen)
        names = chosen.height
        if names:
            standing.append((session, next_month(cuts.calendar, session)))
    first, last = (min(sessions), max(sessions)) if sessions else (date.min, date.min)
    return StageReport(stage="universe", first=first, last=last, state="done" if written else "empty", rows=written, numbers={"members": names, "written": written})


def is_first_of_month(calendar: Calendar, session: date) -> bool:
    """Whether `session` is the first one of its month."""
    return calendar.on_or_after(session.replace(day=1)) == session


def next_month(calendar: Calendar, session: date) -> date:
    """The first session of the month after."""
    year, month = divmod(session.year * 12 + session.month, 12)
    return calendar.on_or_after(date(year, month + 1, 1))


def _enough(store: Store, cuts: Cuts, rule: UniverseRule, session: date) -> bool:
    """Whether `rule.lookback` sessions of data are there, the last of them `session`'s."""
    first = cuts.calendar.shift(session, -2 * rule.lookback)
    return store.read(BARS, as_of=cuts.of(session), first=first, last=session)["session"].n_unique() >= rule.lookback


def select(store: Store, cuts: Cuts, rule: UniverseRule, session: date) -> pl.DataFrame:
    """The members from `session` on (rows of UNIVERSE): the `rule.size` listed names with the largest median of close × volume over `rule.lookback` sessions, ties by sid.

    A name needs bars in half of these sessions and a last close of `rule.min_price`, all as known at the cut of `session`.
    """
    cut = cuts.of(session)
    bars = in_force(store.read(BARS, as_of=cut, first=cuts.calendar.shift(session, 1 - rule.lookback), last=session), BARS)
    turnover = bars.sort("sid", "session").group_by("sid", maintain_order=True).agg(bars=pl.len(), close=pl.col("close").last(), dollar_volume=(pl.col("close") * pl.col("volume")).median())
    listed = known_by(store.read(LISTINGS, as_of=cut), cut).sort("sid", "known_at").unique("sid", keep="last", maintain_order=True).filter("listed")
    liquid = turnover.filter((pl.col("bars") * 2 >= rule.lookback) & (pl.col("close") >= rule.min_price)).join(listed.select("sid"), on="sid", how="semi")
    chosen = liquid.sort(["dollar_volume", "sid"], descending=[True, False]).head(rule.size).with_row_index("rank", offset=1)
    fixed = {"session": session, "until": next_month(cuts.calendar, session), "universe": rule.name, "known_at": cut}
    return UNIVERSE.conform(chosen.with_columns(**{k: pl.lit(v) for k, v in fixed.items()}).select(*UNIVERSE.schema))


def members(universe: pl.DataFrame, sessions: Sequence[date]) -> pl.DataFrame:
    """session, sid: who is a member at each of `sessions`, by the intervals of one universe (rows of UNIVERSE); sorted."""
    return _during(universe, sessions, pl.col("start") <= pl.col("session"), pl.col("session") < pl.col("until"))


def former_members(universe: pl.DataFrame, sessions: Sequence[date], months: int = 12) -> pl.DataFrame:
    """session, sid: who was a member within the `months` before each of `sessions` and is none at it; sorted."""
    before = _during(universe, sessions, pl.col("start") < pl.col("session"), pl.col("until") > pl.col("session").dt.offset_by(f"-{months}mo"))
    return before.join(members(universe, sessions), on=["session", "sid"], how="anti").sort("session", "sid")


def _during(universe: pl.DataFrame, sessions: Sequence[date], *conditions: pl.Expr) -> pl.DataFrame:
    days = pl.DataFrame({"session": sorted(set(sessions))}, schema={"session": pl.Date})
    intervals = universe.select(start="session", until="until").unique().join(days, how="cross").filter(*conditions)
    return intervals.join(universe.select("sid", start="session", until="until"), on=["start", "until"]).select("session", "sid").unique().sort("session", "sid")
