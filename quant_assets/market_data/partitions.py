"""What the quality rules look at: a session's bars as known at its cut, beside what was there before and what was to be
expected.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.beside import resting
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.spanning import sids_of
from quant_assets.market_data.vendors import filled
from quant_assets.ports import Store
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS, QUARANTINE, UNIVERSE

HISTORY = 20  # sessions from which the normal number of rows is taken
JUDGED = ("session", "sid", "symbol", "open", "high", "low", "close", "volume")
BEFORE = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Partition:
    """A session to be judged.

    `rows`: `JUDGED`, open_before … volume_before (the session before), split_ratio (price after / before) and dividend
    of its actions, acted (any is known), captured (or filled in from a backup), usual_rows (median row count of the
    sessions before, each as known at its own cut; its own where there are none), quarantined_share, gap_share (of the
    listed names that traded in the session before, those without a bar), uncovered_share (of the members of all
    universes, likewise). `absent`: sid,
    session, symbol and last close of the names that make up the gap.
    """

    session: date
    rows: pl.DataFrame
    absent: pl.DataFrame


def partitions(store: Store, cuts: Cuts, sessions: Sequence[date]) -> Iterator[Partition]:
    """Session by session, as known at each session's cut."""
    if not sessions:
        return
    calendar = cuts.calendar
    start = calendar.shift(min(sessions), -HISTORY - 1)
    latest = cuts.of(max(sessions))
    bars = store.read(BARS, as_of=latest, first=start, last=max(sessions)).partition_by("session", as_dict=True)
    there = {s: _in_force(bars, s, cuts.of(s)) for s in calendar.between(start, max(sessions))}
    actions, captures, quarantine = (
        store.read(t, as_of=latest, first=start, last=max(sessions)) for t in (ACTIONS, CAPTURES, QUARANTINE)
    )
    listings, universe = store.read(LISTINGS, as_of=latest), store.read(UNIVERSE, as_of=latest, last=max(sessions))
    for session in sessions:
        cut, before = cuts.of(session), calendar.shift(session, -1)
        idle = sids_of(listings, resting(cuts, session))  # a venue that rests has no bar
        here = ~pl.col("sid").is_in(idle.implode())
        now = there[session] if session in there else _in_force(bars, session, cut)
        was = _in_force(bars, before, cut).filter(here)
        absent = _absent(now, was, listings, cut, session)
        came = known_by(_bar_rows(captures, session), cut)
        refused = in_force(known_by(_bar_rows(quarantine, session), cut), QUARANTINE).height
        usual = pl.Series(
            [
                n
                for s in calendar.between(calendar.shift(session, -HISTORY), before)
                if (n := (there[s].filter(here) if idle.len() else there[s]).height)
            ],
            dtype=pl.Float64,
        )
        fixed = {
            "captured": came.height > 0 or filled(now),
            "usual_rows": usual.median() if usual.len() else float(now.height),
            "quarantined_share": refused / max(1, int(came["rows"].sum())),
            "gap_share": absent.height / max(1, was.height),
            "uncovered_share": _uncovered(now, known_by(universe, cut).filter(here), session),
        }
        acts = in_force(known_by(actions.filter(pl.col("session") == session), cut), ACTIONS)
        rows = now.select(JUDGED).join(
            was.select("sid", *(pl.col(c).alias(f"{c}_before") for c in BEFORE)),
            on="sid",
            how="left",
            maintain_order="left",
        )
        rows = rows.join(_terms(acts), on="sid", how="left", maintain_order="left")
        yield Partition(
            session,
            rows.with_columns(
                acted=pl.col("sid").is_in(acts["sid"].implode()), **{k: pl.lit(v) for k, v in fixed.items()}
            ),
            absent,
        )


def _in_force(bars: Mapping[tuple[object, ...], pl.DataFrame], session: date, cut: datetime) -> pl.DataFrame:
    """The bars of a session in force at a cut, of those given by session."""
    return in_force(known_by(bars.get((session,), BARS.empty()), cut), BARS)


def _bar_rows(frame: pl.DataFrame, session: date) -> pl.DataFrame:
    return frame.filter((pl.col("capture") == session) & (pl.col("dataset") == BARS.name))


def _terms(acts: pl.DataFrame) -> pl.DataFrame:
    """sid, split_ratio, dividend of one session's actions."""
    ratio, cash = pl.col("denominator") / pl.col("numerator"), pl.col("cash").cast(pl.Float64)
    of = {
        "split_ratio": ratio.filter(pl.col("kind") == "split").first(),
        "dividend": cash.filter(pl.col("kind") == "dividend").first(),
    }
    return acts.sort("sid", "kind").group_by("sid", maintain_order=True).agg(**of)


def _absent(now: pl.DataFrame, was: pl.DataFrame, listings: pl.DataFrame, cut: datetime, session: date) -> pl.DataFrame:
    gone = (
        known_by(listings, cut)
        .sort("sid", "known_at")
        .unique("sid", keep="last", maintain_order=True)
        .filter(~pl.col("listed"))
    )
    missing = was.join(now.select("sid"), on="sid", how="anti").join(gone.select("sid"), on="sid", how="anti")
    return missing.select("sid", "symbol", "close", session=pl.lit(session)).sort("sid")


def _uncovered(now: pl.DataFrame, universe: pl.DataFrame, session: date) -> float:
    members = universe.filter((pl.col("session") <= session) & (session < pl.col("until")))["sid"].unique()
    return members.filter(~members.is_in(now["sid"].implode())).len() / max(1, members.len())
