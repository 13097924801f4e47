"""Decisions: what each name of the universe should weigh, or why it is not traded."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import UTC_MICROS
from quant_assets.features.catalogue import find_set
from quant_assets.features.sets import FeatureSet
from quant_assets.moments import slot_of
from quant_assets.ports import Clock, KillSwitch, KnowledgeLog, Progress, Stamp, Store, quiet
from quant_assets.records import SLOT, Provenance, StageReport, content_id
from quant_assets.signals.construction import construction_of
from quant_assets.signals.guardrails import CLEAR, HAS_BAR, NO_TRADE, TRADE, guardrails
from quant_assets.signals.inputs import Stored, day, read
from quant_assets.strategy import Strategy
from quant_assets.tables import DECISIONS

STAGE = "decisions"


def decide(
    store: Store,
    feature_set: FeatureSet,
    strategy: Strategy,
    cuts: Cuts,
    sessions: Sequence[date],
    *,
    kill_switch: tuple[bool | None, str],
    provenance: Provenance,
    now: datetime,
    late: bool = False,
    features_refused: str = "",
    progress: Progress = quiet,
) -> StageReport:
    """Write DECISIONS of `sessions`, each on what was known at its cut. What stands already is not written again.

    `kill_switch`: whether it is on (None: unknown, which refuses), and the reason given. `late`: the deadline passed
    with nothing ready; `features_refused`: what an audit found against the features, if anything; either way every row
    is NO_TRADE. State `done` where anything may be traded, else `refused` with the reason most rows carry.
    """
    ordered = sorted(set(sessions))
    stored = read(store, feature_set, strategy, cuts, ordered)
    rows = decisions(
        stored,
        feature_set,
        strategy,
        cuts,
        ordered,
        kill_switch=kill_switch,
        late=late,
        features_refused=features_refused,
        progress=progress,
    )
    return report(rows, ordered, write(store, strategy, rows, provenance, now))


def decisions(
    stored: Stored,
    feature_set: FeatureSet,
    strategy: Strategy,
    cuts: Cuts,
    sessions: Sequence[date],
    *,
    kill_switch: tuple[bool | None, str],
    late: bool = False,
    features_refused: str = "",
    progress: Progress = quiet,
) -> pl.DataFrame:
    """The content columns of DECISIONS for `sessions` (ascending), sorted by (session, sid): a pure function of what is
    given.
    """
    days: list[pl.DataFrame] = []
    for session in sessions:
        progress(len(days), len(sessions), f"decide {session}")
        days.append(day(stored, feature_set, strategy, cuts, session))
    progress(len(days), len(sessions), "decide")
    rows = switched(pl.concat(days), kill_switch, features_refused, late=late)
    return judged(rows.with_columns(slot=pl.lit(slot_of(strategy.moment))), feature_set, strategy)


def switched(
    rows: pl.DataFrame, kill_switch: tuple[bool | None, str], features_refused: str, *, late: bool
) -> pl.DataFrame:
    """The rows with what forbids all of them alike."""
    on, reason = kill_switch
    return rows.with_columns(
        kill_switch=pl.lit(on, dtype=pl.Boolean),
        kill_reason=pl.lit(reason),
        late=pl.lit(late),
        features_refused=pl.lit(features_refused) if features_refused else pl.col("vanished"),
    )


def judged(rows: pl.DataFrame, feature_set: FeatureSet, strategy: Strategy) -> pl.DataFrame:
    """The content columns of DECISIONS for rows (as `guardrails` takes them, with slot and valid_until) of whole
    sessions, or of one slot, in their order.
    """
    complete = guardrails(_weighted(rows, strategy), strategy.limits).with_columns(
        pl.lit(strategy.name).alias("strategy"),
        pl.lit(strategy.config_hash).alias("strategy_hash"),
        pl.lit(feature_set.name).alias("feature_set"),
        pl.lit(feature_set.version).alias("feature_version"),
        pl.when(pl.col("verdict") == TRADE).then("target_weight").otherwise(0.0).alias("target_weight"),
        pl.col("model_id").fill_null(""),
        reference_price="close",
        known_at="as_of",
    )
    return identified(complete).select(*DECISIONS.content)


def write(store: Store, strategy: Strategy, rows: pl.DataFrame, provenance: Provenance, now: datetime) -> int:
    """Store decided rows of a strategy, with what is recorded beside them; the number of those that are new."""
    sessions = [rows["session"][0], rows["session"][-1]]
    return store.append(DECISIONS, _beside(rows, provenance, _after_those_recorded(store, strategy, sessions, now)))


def first_recorded(rows: pl.DataFrame) -> pl.DataFrame:
    """Of DECISIONS rows, those of the set that each strategy recorded first for a slot of a session, sorted by
    (strategy, session, slot, sid).
    """
    by = ["strategy", "session", "slot"]
    first = rows.sort(*by, "recorded_at", "decision_set_id").unique(by, keep="first", maintain_order=True)
    return rows.join(first.select(*by, "decision_set_id"), on=[*by, "decision_set_id"], how="semi").sort(*by, "sid")


def _weighted(rows: pl.DataFrame, strategy: Strategy) -> pl.DataFrame:
    """Rank and target weight among the members that have a bar and a score, and whose shares are known."""
    there = HAS_BAR | pl.col("rests") if "rests" in rows.columns else HAS_BAR
    offered = pl.when(pl.col("member") & there & CLEAR).then("score").alias("score")
    ranked = construction_of(strategy).weights(rows.select("session", "sid", offered))
    return rows.join(
        ranked.select("session", "sid", "rank", "target_weight"), on=["session", "sid"], maintain_order="left"
    )


def identified(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows (sorted by session, slot and sid) with decision_id per row, from what was read and how it is thought
    about, and decision_set_id per slot of a session, from what came out.

    The slot `open` is no part of an id: days were decided before sessions had other slots.
    """
    about = (
        "strategy",
        "strategy_hash",
        "session",
        "sid",
        "as_of",
        "inputs_hash",
        "model_id",
        "feature_set",
        "feature_version",
    )
    ids = [
        content_id(*what) if slot == SLOT else content_id(*what, slot)
        for *what, slot in rows.select(*about, "slot").iter_rows()
    ]
    named = rows.with_columns(pl.Series("decision_id", ids, dtype=pl.String))
    sets = [
        d.select("session", "slot")
        .head(1)
        .with_columns(
            decision_set_id=pl.lit(content_id(d.select("decision_id", "verdict", "reason", "target_weight").rows()))
        )
        for d in named.partition_by("session", "slot", maintain_order=True)
    ]
    return named.drop("decision_set_id", strict=False).join(
        pl.concat(sets), on=["session", "slot"], maintain_order="left"
    )


def _after_those_recorded(store: Store, strategy: Strategy, sessions: Sequence[date], now: datetime) -> datetime:
    """`now`, or a moment after the last set recorded: the clock of a historical run stands still, and the first set
    must stay the first.
    """
    last = store.read(DECISIONS, as_of=None, first=sessions[0], last=sessions[-1], where={"strategy": strategy.name})[
        "recorded_at"
    ].max()
    return max(now, last + timedelta(microseconds=1)) if isinstance(last, datetime) else now


def _beside(rows: pl.DataFrame, provenance: Provenance, now: datetime) -> pl.DataFrame:
    """The rows with what is recorded beside them and never hashed."""
    return rows.with_columns(
        pl.lit(provenance.commit).alias("commit"),
        pl.lit(provenance.lock_hash).alias("lock_hash"),
        pl.lit(provenance.run_id).alias("run_id"),
        pl.lit(provenance.machine).alias("machine"),
        table_versions=pl.lit(msgspec.json.encode(provenance.table_versions, order="deterministic").decode()),
        recorded_at=pl.lit(now).cast(UTC_MICROS),
    )


def report(rows: pl.DataFrame, sessions: Sequence[date], written: int) -> StageReport:
    """What was decided: rows by verdict and by reason."""
    verdicts, reasons = (
        dict(rows[c].value_counts().sort("count", c, descending=[True, False]).iter_rows())
        for c in ("verdict", "reason")
    )
    traded = verdicts.get(TRADE, 0)
    return StageReport(
        stage=STAGE,
        first=sessions[0],
        last=sessions[-1],
        state="done" if traded else "refused",
        reason="" if traded else next(iter(reasons)),
        rows=written,
        numbers={
            "decisions": rows.height,
            "trade": traded,
            "no_trade": verdicts.get(NO_TRADE, 0),
            **{code.lower(): n for code, n in reasons.items()},
        },
    )


def decide_strategies(
    store: Store,
    knowledge: KnowledgeLog,
    kill_switch: KillSwitch,
    cuts: Cuts,
    clock: Clock,
    stamp: Stamp,
    late: Callable[[Sequence[date], datetime], bool],
    refused: Callable[[FeatureSet], str],
    strategies: Sequence[Strategy],
    sessions: Sequence[date],
    run_id: str = "",
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Decide the sessions for each strategy, once the cut that is read is noted.

    `late`: whether the sessions come to be decided after the open that they were to trade. `refused`: why a feature
    set may not be used; empty where it may.
    """
    knowledge.note_cut(cuts.of(max(sessions)))
    switch, is_late = kill_switch.state(), late(sessions, clock.now())
    for strategy in strategies:
        features = find_set(strategy.feature_set)
        yield decide(
            store,
            features,
            strategy,
            cuts,
            sessions,
            kill_switch=(switch.on, switch.reason),
            provenance=stamp(run_id),
            now=clock.now(),
            late=is_late,
            features_refused=refused(features),
            progress=progress,
        )
