"""Feature sets that look ahead, or break a law of kernels, written as a user might in good faith; and honest ones that
look like them.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.features.audit.audit import audit
from quant_assets.features.point_in_time import View, point_in_time
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.sets import CrossSection, FeatureSet, Input, Kernel, as_is
from quant_assets.ports import Store
from quant_assets.tables import ACTIONS, BARS, LABELS, LISTINGS
from quant_assets.vendor_tables import FILINGS

CLOSE, RET = pl.col("close"), pl.col("close") / pl.col("close").shift(1).over("series") - 1


@dataclass(frozen=True)
class Leak:
    """A set, the column that gives it away, and a law that must catch it."""

    name: str
    feature_set: FeatureSet
    column: str
    law: str


def declared(
    name: str,
    column: str,
    kernel: Kernel = as_is,
    cross_section: CrossSection = as_is,
    inputs: Sequence[Input] = (),
    lookback: int = 21,
) -> FeatureSet:
    """A set, called after `name`, with an honest return of five sessions, and the column in question."""

    def with_return(panel: pl.DataFrame) -> pl.DataFrame:
        return kernel(panel).with_columns(ret_5=CLOSE / CLOSE.shift(5).over("series") - 1)

    return FeatureSet(
        re.sub(r"\W", "_", name),
        "1",
        ("ret_5", column),
        ("close", "volume", "raw_close"),
        lookback,
        with_return,
        cross_section,
        tuple(inputs),
    )


def made(name: str, column: str, expression: pl.Expr, law: str, lookback: int = 21) -> Leak:
    """A leak in a kernel of one expression."""
    return Leak(
        name,
        declared(name, column, lambda panel: panel.with_columns(expression.alias(column)), lookback=lookback),
        column,
        law,
    )


def sectioned(name: str, column: str, expression: pl.Expr, law: str) -> Leak:
    """A leak in a cross-section of one expression."""
    return Leak(
        name,
        declared(name, column, cross_section=lambda rows: rows.with_columns(expression.alias(column))),
        column,
        law,
    )


def reading(column: str, read: Callable[[Store, Cuts, str, Sequence[date]], pl.DataFrame], *tables: str) -> FeatureSet:
    """A set whose column an input brings."""
    return declared(column, column, inputs=[Input(column, {column: pl.Float64}, tables, read)])


def spine(sessions: Sequence[date], names: pl.DataFrame) -> pl.DataFrame:
    """session, and every row of `names`."""
    return pl.DataFrame({"session": sorted(sessions)}, schema={"session": pl.Date}).join(names, how="cross")


def bars_of(store: Store) -> pl.DataFrame:
    """Everything there is, the latest version of it: the sin of most of what follows."""
    return in_force(store.read(BARS, as_of=None), BARS)


def adjusted_by_the_future(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The close, back-adjusted for all splits there ever were."""
    splits = (
        in_force(store.read(ACTIONS, as_of=None), ACTIONS)
        .filter(kind="split")
        .select("sid", ex="session", ratio=pl.col("numerator") / pl.col("denominator"))
    )
    bars = bars_of(store).filter(pl.col("session").is_in(list(sessions))).select("session", "sid", "close")
    later = (
        bars.join(splits, on="sid")
        .filter(pl.col("ex") > pl.col("session"))
        .group_by("session", "sid")
        .agg(factor=pl.col("ratio").product())
    )
    return bars.join(later, on=["session", "sid"], how="left").select(
        "session", "sid", back_adjusted=pl.col("close") / pl.col("factor").fill_null(1.0)
    )


def survivors(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """Whether a name is listed, by the last that was heard of it."""
    last = (
        store.read(LISTINGS, as_of=None)
        .sort("known_at")
        .unique("sid", keep="last")
        .select("sid", survives=pl.col("listed").cast(pl.Float64))
    )
    return spine(sessions, last)


def has_bars_later(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """Whether a name still trades at the end of the data."""
    last = bars_of(store).group_by("sid").agg(last=pl.col("session").max())
    return spine(
        sessions,
        last.select("sid", trades_on=(pl.col("last") >= pl.col("last").max() - timedelta(days=5)).cast(pl.Float64)),
    )


def target(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The label of the session itself, demeaned to look innocent."""
    rows = in_force(store.read(LABELS, as_of=None), LABELS).filter(pl.col("session").is_in(list(sessions)))
    return rows.select("session", "sid", momentum=pl.col("value") - pl.col("value").mean().over("session"))


def by_period(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The revenue of the last quarter that has ended: filed or not."""
    filed = in_force(store.read(FILINGS, as_of=None), FILINGS).select("symbol", "session", "value").sort("session")
    asked = spine(sessions, filed.select("symbol").unique()).sort("session")
    return asked.join_asof(filed.with_columns(end="session"), on="session", by="symbol", check_sortedness=False).pipe(
        _by_sid, "revenue"
    )


def restated(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The revenue of the last quarter filed by the cut, but as it was amended later."""
    rows = store.read(FILINGS, as_of=None)
    first = (
        rows.sort("known_at")
        .unique(["symbol", "session"], keep="first")
        .select("symbol", "known_at", period="session")
        .sort("known_at")
    )
    latest = in_force(rows, FILINGS).select("symbol", "value", period="session")
    asked = _with_cut(cuts, spine(sessions, rows.select("symbol").unique())).sort("cut")
    found = asked.join_asof(first, left_on="cut", right_on="known_at", by="symbol", check_sortedness=False).join(
        latest, on=["symbol", "period"], how="left"
    )
    return found.pipe(_by_sid, "revenue")


def local_time(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The close known by the cut, where the vendor's clock is taken for UTC."""
    naive = pl.col("known_at").dt.convert_time_zone("America/New_York").dt.replace_time_zone(None)
    rows = store.read(BARS, as_of=None, first=min(sessions), last=max(sessions)).pipe(lambda f: _with_cut(cuts, f))
    known = rows.filter(naive <= pl.col("cut").dt.replace_time_zone(None), pl.col("session").is_in(list(sessions)))
    return in_force(known.drop("cut"), BARS).select("session", "sid", vendors_close=pl.col("close"))


def fitted_on_all(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """A name's usual volume, fitted on everything that is stored."""
    return spine(sessions, bars_of(store).group_by("sid").agg(usual_volume=pl.col("volume").mean()))


REMEMBERED: dict[str, pl.DataFrame] = {}


def fitted_once(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The same, kept from the first time on."""
    if "fit" not in REMEMBERED:
        REMEMBERED["fit"] = bars_of(store).group_by("sid").agg(kept_volume=pl.col("volume").mean())
    return spine(sessions, REMEMBERED["fit"])


def todays_close(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The close of the session, whether or not it has been told by the cut."""
    return (
        bars_of(store)
        .filter(pl.col("session").is_in(list(sessions)))
        .select("session", "sid", todays_close=pl.col("close"))
    )


def market_move(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The mean move of all names in the session, from rows of whatever time."""
    moves = (
        bars_of(store)
        .filter(pl.col("session").is_in(list(sessions)))
        .group_by("session")
        .agg(moved=(pl.col("close") / pl.col("open") - 1).mean())
    )
    return moves.sort("session")


def tomorrow(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The overnight move of the next session, from the published features."""
    rows = store.read(PRICE_VOLUME.table, as_of=None, where={"universe": universe}, columns=("overnight",))
    before = pl.DataFrame(
        [(s, cuts.calendar.shift(s, 1)) for s in sessions], schema={"asked": pl.Date, "session": pl.Date}, orient="row"
    )
    return rows.join(before, on="session").select("sid", session="asked", gap=pl.col("overnight"))


def as_of_the_end(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """Filings as of the last session asked for, for all of them."""
    known = (
        in_force(store.read(FILINGS, as_of=cuts.of(max(sessions))), FILINGS)
        .sort("session")
        .unique("symbol", keep="last", maintain_order=True)
    )
    return spine(sessions, known.select("symbol", "value")).pipe(_by_sid, "last_revenue")


def known_revenue(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """Honest: the revenue of the last quarter, in the version known by each session's own cut."""
    rows = store.read(FILINGS, as_of=cuts.of(max(sessions)))
    asked = _with_cut(cuts, spine(sessions, rows.select("symbol").unique())).rename({"cut": "ts"})
    found = point_in_time(
        asked,
        [View("f", rows.select("symbol", "session", "known_at", "value", "withdrawn"), ("value",), by=("symbol",))],
    )
    return found.rename({"f_value": "value"}).pipe(_by_sid, "known_revenue")


def known_move(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """Honest: the mean move of the names whose bars were known by the session's own cut."""
    rows = _with_cut(cuts, store.read(BARS, as_of=cuts.of(max(sessions)), first=min(sessions), last=max(sessions)))
    known = in_force(rows.filter(pl.col("known_at") <= pl.col("cut")).drop("cut"), BARS).sort("session", "sid")
    moves = known.select("session", moved=(pl.col("close") / pl.col("open") - 1).mean().over("session")).unique(
        "session", maintain_order=True
    )
    return moves.filter(pl.col("session").is_in(list(sessions)))


def known_labels(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """Honest: the label that became known last, of each name."""
    rows = store.read(LABELS, as_of=cuts.of(max(sessions))).sort("session")
    # windows that a halt held open end together, and are known together: of them the last begun
    rows = rows.unique(["sid", "label_end", "known_at"], keep="last", maintain_order=True)
    rows = rows.select("sid", "label_end", "known_at", past_return="value")
    asked = _with_cut(cuts, spine(sessions, rows.select("sid").unique())).rename({"cut": "ts"})
    found = point_in_time(asked, [View("l", rows, ("past_return",), event="label_end")])
    return found.select("session", "sid", past_return="l_past_return")


def _with_cut(cuts: Cuts, rows: pl.DataFrame) -> pl.DataFrame:
    located = cuts.frame(min(rows["session"]), max(rows["session"])) if rows.height else cuts.frame(date.max, date.min)
    return rows.join(located.select("session", "cut"), on="session")


def _by_sid(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.select("session", sid=pl.col("symbol").str.strip_prefix("S").cast(pl.Int64), **{column: "value"})


def of_market(name: str, read: Callable[[Store, Cuts, str, Sequence[date]], pl.DataFrame]) -> FeatureSet:
    """The return of a name less the market's, which an input brings into the panel."""
    # a kernel with one line
    kernel: Kernel = lambda panel: panel.with_columns(excess=RET - pl.col("moved"))  # noqa: E731
    return declared(
        name, "excess", kernel, inputs=[Input("market", {"moved": pl.Float64}, ("bars",), read, on=("session",))]
    )


def across_names(panel: pl.DataFrame) -> pl.DataFrame:
    """The return less the mean return of all names in the panel."""
    return panel.with_columns(ret=RET).with_columns(excess=pl.col("ret") - pl.col("ret").mean().over("i"))


def without_the_dead() -> FeatureSet:
    """A set whose cross-section drops the names that are gone by the end of the data."""
    brought = Input("survivors", {"survives": pl.Float64}, ("listings",), survivors)
    return declared(
        "survivor_universe",
        "rank_5",
        cross_section=lambda rows: rows.filter(pl.col("survives") > 0).with_columns(
            rank_5=pl.col("ret_5").rank().over("session")
        ),
        inputs=[brought],
    )


LEAKS = (
    made("centred window", "smooth", CLOSE / CLOSE.rolling_mean(5, center=True).over("series") - 1, "truncation"),
    made("global z-score in the kernel", "z", (RET - RET.mean()) / RET.std(), "truncation"),
    made("z-score of a name's whole series", "z", ((RET - RET.mean()) / RET.std()).over("series"), "prefix_causality"),
    sectioned(
        "global z-score in the cross-section",
        "z",
        (pl.col("ret_5") - pl.col("ret_5").mean()) / pl.col("ret_5").std(),
        "truncation",
    ),
    made("backward fill", "move", CLOSE / CLOSE.shift(1).backward_fill().over("series") - 1, "prefix_causality"),
    made("shift(-1)", "next", CLOSE.shift(-1).over("series") / CLOSE - 1, "truncation"),
    Leak(
        "future-adjusted price",
        reading("back_adjusted", adjusted_by_the_future, "actions", "bars"),
        "back_adjusted",
        "poisoned_future",
    ),
    Leak("survivors by the last listing", reading("survives", survivors, "listings"), "survives", "poisoned_future"),
    Leak("survivors by bars to come", reading("trades_on", has_bars_later, "bars"), "trades_on", "poisoned_future"),
    Leak("survivor universe", without_the_dead(), "", "poisoned_future"),
    Leak("target in the features", reading("momentum", target, "labels"), "momentum", "poisoned_future"),
    Leak("fundamentals by period end", reading("revenue", by_period, "filings"), "revenue", "poisoned_future"),
    Leak("restated value", reading("revenue", restated, "filings"), "revenue", "knowledge_time"),
    Leak("timezone slip", reading("vendors_close", local_time, "bars"), "vendors_close", "knowledge_time"),
    Leak("normaliser fitted on all data", reading("usual_volume", fitted_on_all, "bars"), "usual_volume", "truncation"),
    Leak("normaliser fitted once and kept", reading("kept_volume", fitted_once, "bars"), "kept_volume", "inputs"),
    Leak(
        "close used before it is known", reading("todays_close", todays_close, "bars"), "todays_close", "knowledge_time"
    ),
    Leak("market move used before it is known", of_market("market", market_move), "excess", "knowledge_time"),
    Leak(
        "tomorrow's open from published features",
        reading("gap", tomorrow, "features_price_volume"),
        "gap",
        "truncation",
    ),
    Leak(
        "a range's own end as the cut",
        reading("last_revenue", as_of_the_end, "filings"),
        "last_revenue",
        "knowledge_time",
    ),
    Leak("a table that is not declared", reading("known_revenue", known_revenue, "bars"), "known_revenue", "inputs"),
    made("average of prices", "sma_20", CLOSE.rolling_mean(20, min_samples=1).over("series"), "homogeneity"),
    made("difference of log prices", "log_ret", CLOSE.log() - CLOSE.log().shift(1).over("series"), "homogeneity"),
    Leak("mean across names in the kernel", declared("across", "excess", across_names), "excess", "independence"),
    made(
        "lookback declared too short",
        "slow",
        CLOSE / CLOSE.rolling_mean(40, min_samples=10).over("series") - 1,
        "lookback",
    ),
    made("sum from the start", "wealth", RET.fill_null(0.0).cum_sum().over("series"), "lookback"),
    made(
        "long exponential mean",
        "ema",
        CLOSE / CLOSE.ewm_mean(span=20, ignore_nulls=True).over("series") - 1,
        "lookback",
    ),
    sectioned(
        "ties broken by position",
        "place",
        pl.col("ret_5").round(1).rank("ordinal").over("session").cast(pl.Float64),
        "cross_section",
    ),
)

HONEST = (
    PRICE_VOLUME,
    reading("known_revenue", known_revenue, "filings"),
    reading("past_return", known_labels, "labels"),
    of_market("known_market", known_move),
    declared(
        "honest",
        "smooth",
        lambda panel: panel.with_columns(smooth=CLOSE / CLOSE.rolling_mean(20, min_samples=10).over("series") - 1),
        lambda rows: rows.with_columns((pl.col("ret_5").rank() / pl.len()).over("session").alias("rank_5")),
    ),
)


def caught(
    store: Store, leak: Leak, universe: str, cuts: Cuts, sessions: Sequence[date], *, most: int
) -> tuple[pl.DataFrame, float]:
    """The laws that the leak broke (rows of AUDITS), and the CPU milliseconds that the audit took."""
    REMEMBERED.clear()
    start = time.process_time()
    rows = audit(store, leak.feature_set, universe, cuts, sessions, now=cuts.of(max(sessions)), most=most)
    return rows.filter(~pl.col("passed")), (time.process_time() - start) * 1e3
