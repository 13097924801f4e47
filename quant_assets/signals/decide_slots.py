"""Decisions of an intraday strategy: a set for each slot, by the guardrails, the construction and the ids of days."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import Provenance, StageReport
from quant_assets.signals.decide import judged, report, switched, write
from quant_assets.signals.slot_inputs import SlotsStored, read_slots, slot_rows
from quant_assets.strategy import Strategy
from quant_assets.tables import DECISIONS

SESSIONS = 31  # whose slots are read and written at once


def decide_slots(
    store: Store,
    feature_set: FeatureSet,
    strategy: Strategy,
    bars: OnBars,
    cuts: Cuts,
    asked: Sequence[Slot],
    *,
    kill_switch: tuple[bool | None, str],
    provenance: Provenance,
    now: datetime,
    late: Callable[[Slot], bool],
    features_refused: str = "",
    progress: Progress = quiet,
) -> StageReport:
    """Write DECISIONS at the slots asked (ascending), each on what was known at its cut. What is stored already is not
    written again.

    `late`: whether a slot comes to be decided when it is too late for its orders to leave: every row is NO_TRADE, as
    with a kill switch that is on, or features that an audit refused. The report is as of `decide`.
    """
    written, parts = 0, list[pl.DataFrame]()
    for some in in_stretches(asked):
        progress(sum(p["slot"].n_unique() for p in parts), len(asked), f"decide {some[0].session} {some[0].slot}")
        stored = read_slots(store, feature_set, strategy, bars, cuts, some)
        rows = slot_decisions(
            stored,
            feature_set,
            strategy,
            bars,
            cuts,
            some,
            kill_switch=kill_switch,
            late=late,
            features_refused=features_refused,
        )
        written += write(store, strategy, rows, provenance, now)
        parts.append(rows.select("session", "slot", "verdict", "reason"))
    return report(pl.concat(parts), [asked[0].session, asked[-1].session], written)


def in_stretches(asked: Sequence[Slot]) -> Iterator[list[Slot]]:
    """The slots by stretches of `SESSIONS` sessions."""
    place = {session: n // SESSIONS for n, session in enumerate(dict.fromkeys(s.session for s in asked))}
    for _, some in groupby(asked, key=lambda s: place[s.session]):
        yield list(some)


def slot_decisions(
    stored: SlotsStored,
    feature_set: FeatureSet,
    strategy: Strategy,
    bars: OnBars,
    cuts: Cuts,
    asked: Sequence[Slot],
    *,
    kill_switch: tuple[bool | None, str],
    late: Callable[[Slot], bool],
    features_refused: str = "",
) -> pl.DataFrame:
    """The content columns of DECISIONS at the slots asked (ascending), by session, slot in its order, and sid: a pure
    function of what is given.
    """
    parts = [DECISIONS.empty().select(*DECISIONS.content)]
    for slot in asked:
        rows = slot_rows(stored, feature_set, strategy, bars, cuts, slot)
        parts.append(judged(switched(rows, kill_switch, features_refused, late=late(slot)), feature_set, strategy))
    return pl.concat(parts)


def in_time(_: Slot) -> bool:
    """Of a range, in which every slot is decided at its own cut."""
    return False
