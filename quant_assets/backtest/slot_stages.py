"""What the stages of a lane do where its strategies decide at slots: the functions of days, on bars.

`sessions` are whole sessions, up to the end of the last one; `asked` are slots that have come.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.execution.turns import slots_of
from quant_assets.features.audit.gate import audit_bars_if_due
from quant_assets.features.bars_read import bars_of
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars, publish_bars
from quant_assets.features.labels.bars import publish_bar_labels
from quant_assets.features.sets import FeatureSet
from quant_assets.models.slot_scoring import score_slots
from quant_assets.models.training import month_ends, retrain, untrained
from quant_assets.ports import Clock, KillSwitch, KnowledgeLog, ModelRegistry, Notifier, Progress, Stamp, Store, quiet
from quant_assets.records import StageReport
from quant_assets.signals.decide import STAGE as DECIDE
from quant_assets.signals.decide_slots import decide_slots
from quant_assets.strategy import Strategy
from quant_assets.tables import DECISIONS


def read_by(strategies: Sequence[Strategy], on_bars: Sequence[OnBars]) -> list[tuple[Strategy, OnBars]]:
    """The intraday strategies, each with the bars that it reads. Raises ConfigurationError."""
    return [(s, bars) for s in strategies if (bars := bars_of(s, on_bars)) is not None]


def publish_bar_sets(
    store: Store,
    knowledge: KnowledgeLog,
    cuts: Cuts,
    strategies: Sequence[Strategy],
    on_bars: Sequence[OnBars],
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Publish the sets on bars of the sessions, as far as their bars have ended by the cut of the last one."""
    end = cuts.of(max(sessions))
    knowledge.note_cut(end)
    for bars in dict.fromkeys(b for _, b in read_by(strategies, on_bars)):
        features, delay = find_set(bars.feature_set), timedelta(seconds=bars.delay)
        yield publish_bars(
            store, features, bars.venue, cuts.calendar, sessions, delay=delay, now=end, progress=progress
        )


def publish_at(
    store: Store,
    knowledge: KnowledgeLog,
    cuts: Cuts,
    strategies: Sequence[Strategy],
    on_bars: Sequence[OnBars],
    asked: Sequence[Slot],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Publish the sets on bars as far as their bars have ended by the cut of the last of the slots."""
    end = asked[-1].cut
    knowledge.note_cut(end)
    days = sorted({d for s in asked for d in (cuts.calendar.before(s.session), s.session)})
    for bars in dict.fromkeys(b for _, b in read_by(strategies, on_bars)):
        features, delay = find_set(bars.feature_set), timedelta(seconds=bars.delay)
        yield publish_bars(store, features, bars.venue, cuts.calendar, days, delay=delay, now=end, progress=progress)


def audit_bar_sets(
    store: Store,
    cuts: Cuts,
    clock: Clock,
    notifier: Notifier,
    strategies: Sequence[Strategy],
    on_bars: Sequence[OnBars],
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Audit each set on bars that the strategies read and whose source was not audited yet."""
    last = max(sessions)
    for bars in dict.fromkeys(b for _, b in read_by(strategies, on_bars)):
        found = audit_bars_if_due(
            store, bars, cuts.calendar, last, now=clock.now(), notifier=notifier, progress=progress
        )
        state = "done" if found.state == "passed" else "refused" if found.state == "failed" else "empty"
        reason = "" if state == "done" else found.reason
        yield StageReport(stage=f"audit {bars.feature_set}", first=last, last=last, state=state, reason=reason)


def label_bars(
    store: Store,
    cuts: Cuts,
    strategies: Sequence[Strategy],
    on_bars: Sequence[OnBars],
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Publish the labels of bars that the strategies' models learn, as known at the cut of the last session."""
    for bars, rule in dict.fromkeys((b, s.rule) for s, b in read_by(strategies, on_bars)):
        end = cuts.of(max(sessions))
        yield publish_bar_labels(store, rule, bars, cuts.calendar, sessions, now=end, progress=progress)


def train_on_bars(
    store: Store,
    registry: ModelRegistry,
    cuts: Cuts,
    notifier: Notifier,
    strategies: Sequence[Strategy],
    on_bars: Sequence[OnBars],
    sessions: Sequence[date],
    train_at: Sequence[date] | None = None,
) -> Iterator[StageReport]:
    """Train a model of each strategy at each month end among `sessions`, or `train_at`; used from the session after."""
    ends = month_ends(cuts.calendar, min(sessions), max(sessions)) if train_at is None else train_at
    if not ends:
        yield untrained(sessions)
    for cut in ends:
        for strategy, bars in read_by(strategies, on_bars):
            features = find_set(strategy.feature_set)
            yield retrain(store, registry, features, strategy, cuts, cut, notifier=notifier, bars=bars)


def score_at(
    store: Store, cuts: Cuts, strategies: Sequence[Strategy], on_bars: Sequence[OnBars], asked: Sequence[Slot]
) -> Iterator[StageReport]:
    """Score the slots with the champion of each strategy."""
    for strategy, bars in read_by(strategies, on_bars):
        yield score_slots(store, find_set(strategy.feature_set), strategy, bars, cuts, asked)


def decide_at(
    store: Store,
    knowledge: KnowledgeLog,
    kill_switch: KillSwitch,
    cuts: Cuts,
    clock: Clock,
    stamp: Stamp,
    slot_late: Callable[[Slot], bool],
    refused: Callable[[FeatureSet], str],
    strategies: Sequence[Strategy],
    on_bars: Sequence[OnBars],
    asked: Sequence[Slot],
    run_id: str = "",
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Decide the slots that are not decided yet for each strategy, once the cut that is read is noted. The report
    counts the slots asked, those decided, and those that were too late.
    """
    knowledge.note_cut(asked[-1].cut)
    switch = kill_switch.state()
    for strategy, bars in read_by(strategies, on_bars):
        features = find_set(strategy.feature_set)
        if open_ones := undecided(store, strategy, asked):
            report = decide_slots(
                store,
                features,
                strategy,
                bars,
                cuts,
                open_ones,
                kill_switch=(switch.on, switch.reason),
                provenance=stamp(run_id),
                now=clock.now(),
                late=slot_late,
                features_refused=refused(features),
                progress=progress,
            )
        else:
            report = StageReport(stage=DECIDE, first=asked[0].session, last=asked[-1].session, state="done")
        found = slots_decided(store, strategy, asked)
        counts = {"slots_due": len(asked), "slots_decided": len(found), "slots_late": sum(found.values())}
        yield msgspec.structs.replace(report, numbers={**report.numbers, **counts})


def undecided(store: Store, strategy: Strategy, asked: Sequence[Slot]) -> list[Slot]:
    """Those of the slots of which no decision is stored."""
    there = slots_decided(store, strategy, asked)
    return [s for s in asked if (s.session, s.slot) not in there]


def slots_decided(store: Store, strategy: Strategy, asked: Sequence[Slot]) -> Mapping[tuple[date, str], bool]:
    """Those of the slots of which decisions are stored, by session and slot, with whether it was too late for each."""
    if not asked:
        return {}
    first, last, where = asked[0].session, asked[-1].session, {"strategy": strategy.name}
    rows = store.read(DECISIONS, as_of=None, first=first, last=last, where=where, columns=("reason",))
    late = rows.group_by("session", "slot").agg((pl.col("reason") == "LATE").all()).rows()
    wanted = {(s.session, s.slot) for s in asked}
    return {(session, slot): was for session, slot, was in late if (session, slot) in wanted}


def all_slots(strategies: Sequence[Strategy], cuts: Cuts, sessions: Sequence[date]) -> list[Slot]:
    """The slots of the sessions, ascending: the strategies of a lane decide at the same ones."""
    return [slot for session in sorted(sessions) for slot in slots_of(strategies[0], cuts, session)]
