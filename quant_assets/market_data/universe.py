"""Who may be traded: the most liquid of the eligible names, as known when each month began.

`membership.Membership` answers who was a member.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Calendar, Cuts
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.chains import LISTED, series_of
from quant_assets.market_data.continuous import extend
from quant_assets.market_data.membership import Membership
from quant_assets.market_data.securities import resolve
from quant_assets.market_data.spanning import sids_of
from quant_assets.ports import Store
from quant_assets.records import StageReport
from quant_assets.strategy import Eligibility, Strategy, UniverseRule
from quant_assets.tables import BARS, LISTINGS, UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS, INSTRUMENTS, SECTORS

Worth = Callable[[datetime], Mapping[str, float]]
"""By the calendar of another market what one unit of its prices is worth in that of one's own, as known at a cut."""


def alike(_: datetime) -> Mapping[str, float]:
    """The same everywhere."""
    return {}


def update(store: Store, cuts: Cuts, rule: UniverseRule, sessions: Sequence[date], worth: Worth = alike) -> StageReport:
    """Write the intervals of membership that begin in `sessions`.

    One begins at each month's first session and ends before the next month's; the very first one, at the session that
    completes `rule.lookback` sessions of data. Membership is decided from what is known at the cut of its first
    session.
    """
    if not sessions:
        return StageReport(
            stage="universe", first=date.min, last=date.min, state="empty", numbers={"members": 0, "written": 0}
        )
    standing = (
        store.read(UNIVERSE, as_of=cuts.of(max(sessions)), where={"universe": rule.name})
        .select("session", "until")
        .unique()
        .rows()
    )
    written = names = 0
    for session in sorted(sessions):
        monthly = is_first_of_month(cuts.calendar, session)
        if not monthly and any(start <= session < until for start, until in standing):
            continue
        if not monthly and not _enough(store, cuts, rule, session):
            continue
        chosen = select(store, cuts, rule, session, worth)
        written += store.append(UNIVERSE, chosen)
        names = chosen.height
        if names:
            standing.append((session, next_month(cuts.calendar, session)))
    return StageReport(
        stage="universe",
        first=min(sessions),
        last=max(sessions),
        state="done" if written else "empty",
        rows=written,
        numbers={"members": names, "written": written},
    )


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


def select(store: Store, cuts: Cuts, rule: UniverseRule, session: date, worth: Worth = alike) -> pl.DataFrame:
    """The members from `session` on (rows of UNIVERSE): the `rule.size` listed names with the largest median of close ×
    volume over `rule.lookback` sessions, ties by sid; of names of other markets by what their prices are worth.

    A name needs bars in half of these sessions, a last close of `rule.min_price`, and what `rule.eligible` asks for,
    all as known at the cut of `session`.
    """
    cut = cuts.of(session)
    bars = in_force(
        store.read(BARS, as_of=cut, first=cuts.calendar.shift(session, 1 - rule.lookback), last=session), BARS
    )
    turnover = (
        bars.sort("sid", "session")
        .group_by("sid", maintain_order=True)
        .agg(bars=pl.len(), close=pl.col("close").last(), dollar_volume=(pl.col("close") * pl.col("volume")).median())
    )
    listings = known_by(store.read(LISTINGS, as_of=cut), cut)
    for code, rate in worth(cut).items():
        each = pl.when(pl.col("sid").is_in(sids_of(listings, [code]).implode())).then(rate).otherwise(1.0)
        turnover = turnover.with_columns(pl.col("close", "dollar_volume") * each)
    listed = listings.sort("sid", "known_at").unique("sid", keep="last", maintain_order=True).filter("listed")
    liquid = turnover.filter((pl.col("bars") * 2 >= rule.lookback) & (pl.col("close") >= rule.min_price)).join(
        listed.select("sid"), on="sid", how="semi"
    )
    liquid = _tradable(store, cuts, rule, liquid, listings)
    if isinstance(rule.eligible, Eligibility):
        liquid = liquid.filter(pl.col("dollar_volume") >= rule.eligible.min_dollar_volume).join(
            _eligible(store, cuts, rule.eligible, listings, listed, session), on="sid", how="semi"
        )
    chosen = (
        liquid.sort(["dollar_volume", "sid"], descending=[True, False]).head(rule.size).with_row_index("rank", offset=1)
    )
    fixed = {"session": session, "until": next_month(cuts.calendar, session), "universe": rule.name, "known_at": cut}
    return UNIVERSE.conform(chosen.with_columns(**{k: pl.lit(v) for k, v in fixed.items()}).select(*UNIVERSE.schema))


def _tradable(
    store: Store, cuts: Cuts, rule: UniverseRule, liquid: pl.DataFrame, listings: pl.DataFrame
) -> pl.DataFrame:
    """Of the `liquid` names the series of the rule's chains; where it has none, all but series and single contracts,
    which end.
    """
    if isinstance(rule.chains, tuple):
        asked = [series.sid for series in series_of(cuts.calendar.code, rule)]
        return liquid.filter(pl.col("sid").is_in(asked))
    terms = store.read(INSTRUMENTS, as_of=None, columns=("kind", "symbol", "calendar"))
    ending = terms.filter(pl.col("kind").is_in(["future", "option"]), calendar=cuts.calendar.code)["symbol"].unique()
    if ending.is_empty():
        return liquid
    apart = listings.filter(pl.col("symbol").is_in(ending.implode()) | (pl.col("capture") == LISTED))
    return liquid.join(apart, on="sid", how="anti")


def _eligible(
    store: Store, cuts: Cuts, asked: Eligibility, listings: pl.DataFrame, listed: pl.DataFrame, session: date
) -> pl.DataFrame:
    """The sids of the `listed` names of which everything that `asked` wants is known at the session's cut."""
    cut, names = cuts.of(session), listed.select("sid", "sector")
    if asked.min_sessions:
        since = listings.filter("listed").group_by("sid").agg(pl.col("session").min())
        names = names.join(
            since.filter(pl.col("session") <= cuts.calendar.shift(session, 1 - asked.min_sessions)),
            on="sid",
            how="semi",
        )
    if asked.index:
        told = [
            Membership.from_index(store.read(INDEX_MEMBERS, as_of=cut, where={"index": index})).at([session], cuts)
            for index in asked.index
        ]
        names = names.join(
            resolve(pl.concat(told).select("session", symbol="who"), listings, cut), on="sid", how="semi"
        )
    if asked.sector_scheme:
        told = in_force(store.read(SECTORS, as_of=cut, last=session, where={"scheme": asked.sector_scheme}), SECTORS)
        latest = (
            told.sort("session", "symbol")
            .unique("symbol", keep="last", maintain_order=True)
            .select("symbol", "sector", session=pl.lit(session))
        )
        sectors = resolve(latest, listings, cut).unique("sid", keep="last", maintain_order=True)
        names = names.drop("sector").join(sectors.select("sid", "sector"), on="sid", how="left")
    return (
        names.filter(~pl.col("sector").is_in(asked.exclude_sectors)).select("sid")
        if asked.exclude_sectors
        else names.select("sid")
    )


def draw_universes(
    store: Store, cuts: Cuts, strategies: Sequence[Strategy], sessions: Sequence[date], worth: Worth = alike
) -> Iterator[StageReport]:
    """Draw the universe of each strategy, its continuous series first; strategies that share one draw it once."""
    for rule in dict.fromkeys(s.universe for s in strategies):
        for series in series_of(cuts.calendar.code, rule) if sessions else ():
            extend(store, cuts, series, max(sessions))
        yield update(store, cuts, rule, sessions, worth)
