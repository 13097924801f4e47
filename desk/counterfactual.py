"""What the platform would have computed had something been known in time: its own functions, run again on an
overlay, for the sessions that can differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime

import msgspec
import polars as pl

from desk.day import ports
from desk.workspace import Workspace
from quant_assets import chain
from quant_assets.backtest.loop import run
from quant_assets.calendars import Cuts
from quant_assets.contract import Table
from quant_assets.features.catalogue import find_set
from quant_assets.features.labels import label_rules
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.partitions import HISTORY
from quant_assets.market_data.restatements import AsIf
from quant_assets.ports import Clock, Progress, Store
from quant_assets.records import Book, Provenance, Switch
from quant_assets.signals.decide import first_recorded
from quant_assets.signals.replay import switches
from quant_assets.strategy import Strategy, needed
from quant_assets.tables import (
    BARS,
    COSTS,
    DATA_FINDINGS,
    DECISIONS,
    FILLS,
    JOURNAL,
    LABELS,
    MODELS,
    NAV,
    ORDERS,
    PNL,
    POSITIONS,
    PROMOTIONS,
    SCORES,
    UNIVERSE,
    VERDICTS,
)
from resources.clock import SessionClock
from resources.tables.overlay import Overlay

QUARTER = 66  # sessions of a block, at most
BOOKED = (ORDERS, FILLS, POSITIONS, JOURNAL, PNL, NAV, COSTS)
_NOWHERE = Provenance(table_versions={}, commit="", lock_hash="", run_id="")


class Unnoted:
    """A knowledge log in which a what-if leaves no note."""

    def note_cut(self, as_of: datetime) -> None:
        """See the port."""


class AsItWas:
    """A kill switch in the position that was recorded."""

    def __init__(self, on: bool, reason: str) -> None:
        self._switch = Switch(on=on, reason=reason, scope="all")

    def state(self, _book: Book | None = None) -> Switch:
        """See the port."""
        return self._switch


class Silent:
    """A notifier that sends nothing: what would have been is no news."""

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port."""


class Unregistered:
    """A model registry that keeps nothing: what would have been is tracked nowhere."""

    def log(self, **_: object) -> str:
        """See the port."""
        return ""

    def promote(self, strategy: str, registry_version: str) -> None:
        """See the port."""


def first_known(store: Store, table: Table, cuts: Cuts, sessions: Sequence[date]) -> pl.DataFrame:
    """Of derived rows of `sessions` (ascending), those known at their own session's cut: what a rebuild added later
    is left out.
    """
    if not sessions:
        return table.empty()
    rows = store.read(table, as_of=None, first=sessions[0], last=sessions[-1])
    of = rows.join(
        cuts.frame(sessions[0], sessions[-1]).select("session", "cut"),
        left_on=table.event,
        right_on="session",
        how="left",
        maintain_order="left",
    )
    return of.filter(
        (pl.col("known_at") <= pl.col("cut")).fill_null(value=False), pl.col(table.event).is_in(sessions)
    ).drop("cut")


def same(
    one: Store, other: Store, table: Table, cuts: Cuts, sessions: Sequence[date], columns: Sequence[str] = ()
) -> bool:
    """Whether both stores hold the same rows of these sessions, to the bit; where `columns` are given, in these."""
    ours, theirs = (
        first_known(s, table, cuts, sessions).sort(table.key).select(columns or table.content) for s in (one, other)
    )
    return ours.equals(theirs)


def rederive(
    ws: Workspace, as_if: Mapping[str, AsIf], first: date, learnt: date, step: Callable[[str], None]
) -> tuple[Overlay, list[date]]:
    """Universe to decisions again, from `first` on, on an overlay; and the sessions that were looked at.

    Input rows differ only up to the session `learnt`. A verdict looks back HISTORY sessions, a label as far as its rule
    reaches: so far everything is computed again; further only where a universe differs (its members stay for the
    month) or
    a model does, which learns from the sessions before.
    """
    again = _Again(ws, Overlay(ws.store, as_if), first, learnt)
    for stage in chain.between("universe", "decisions"):
        for sessions, strategies, others in again.runs(stage.name):
            step(stage.name)
            again.hide(stage.name, sessions, strategies)
            list(stage.run({**again.ports, **others, "strategies": strategies, "sessions": sessions}))
    return again.store, again.looked_at


Run = tuple[list[date], Sequence[Strategy], Mapping[str, object]]
"""Sessions, strategies, and the ports that are others than in a day."""


class _Again:
    """What is computed again of each stage: as little as can differ."""

    def __init__(self, ws: Workspace, store: Overlay, first: date, learnt: date) -> None:
        self._ws, self.store, self._first = ws, store, first
        judged = ws.store.read(VERDICTS, as_of=None, first=first, where={"table": BARS.name})
        self._all: list[date] = judged["session"].unique().sort().to_list()
        # a kernel that reads what each session's own cut knew of it, such as the market's return, keeps it for a block
        sets = [find_set(name) for _, name in needed(self._strategies)]
        blocks = [s.lookback + QUARTER for s in sets if any(i.reads_panel for i in s.inputs)]
        reach = ws.cuts.calendar.shift(learnt, max([HISTORY, *blocks, *(s.rule.reach for s in self._strategies)]))
        self._near = [s for s in self._all if s <= reach]
        self.looked_at = self._near
        self.ports = {**ports(ws, ws.clock), "store": store, "knowledge": Unnoted(), "registry": Unregistered()}

    @property
    def _strategies(self) -> Sequence[Strategy]:
        return self._ws.deployment.strategies

    def runs(self, stage: str) -> Iterator[Run]:
        """The runs of a stage, one after another: what one changes decides what the next looks at."""
        if not self._near or stage in NOT_AGAIN:
            return
        if stage == "champion":
            yield from self._retrained()
        elif stage == "decisions":
            yield from self._decided()
        elif stage == "scores":
            same_models = self._same(MODELS, self._all, "strategy", "model_id")
            same_models &= self._same(PROMOTIONS, self._all, "model_id", "promoted")
            self.looked_at = self._near if same_models else self._all
            yield self.looked_at, self._strategies, {}
        else:
            yield self._near, self._strategies, {}
        if stage == "universe" and not self._same(UNIVERSE, self._near, "universe", "session", "until", "sid"):
            self._near = self.looked_at = self._all
            yield self._near, self._strategies, {}

    def _retrained(self) -> Iterator[Run]:
        """Where features or labels differ, models are trained again where they were trained."""
        tables = {find_set(s.feature_set).table.name: find_set(s.feature_set).table for s in self._strategies}
        if all(self._same(t, self._near) for t in (*tables.values(), LABELS)):
            return
        trained = self._ws.store.read(MODELS, as_of=None, first=self._first)
        for strategy in self._strategies:
            cuts = trained.filter(pl.col("strategy") == strategy.name)["session"].unique().sort().to_list()
            if cuts:
                yield cuts, [strategy], {"train_at": cuts, "notifier": Silent()}

    def _decided(self) -> Iterator[Run]:
        """Sessions that were decided, each with the switches of its first set."""
        first, last = self.looked_at[0], self.looked_at[-1]
        for strategy in self._strategies:
            where = {"strategy": strategy.name}
            rows = first_recorded(self._ws.store.read(DECISIONS, as_of=None, first=first, last=last, where=where))
            alike: dict[tuple[tuple[bool, str], bool, str], list[date]] = {}
            for (session,), rows_then in rows.partition_by("session", as_dict=True, maintain_order=True).items():
                alike.setdefault(switches(rows_then), []).append(session)  # pyright: ignore[reportArgumentType]  # the key is a date
            for recorded, days in alike.items():
                yield days, [strategy], _as_recorded(*recorded, clock=SessionClock(self._ws.cuts.of(days[-1])))

    def hide(self, stage: str, sessions: Sequence[date], strategies: Sequence[Strategy]) -> None:
        """Hide what is stored of a stage for the sessions: it is computed again."""
        after = [self._ws.cuts.calendar.shift(s, 1) for s in sessions] if stage == "champion" else sessions
        for table, where in written(stage, strategies):
            self.store.redo((table,), after if table is PROMOTIONS else sessions, **where)

    def _same(self, table: Table, sessions: Sequence[date], *columns: str) -> bool:
        return same(self.store, self._ws.store, table, self._ws.cuts, sessions, columns)


NOT_AGAIN = {
    "no_look_ahead": "an audit is of the code, and that is the same",
    "feature_drift": "the guardrail measures it itself; the table is shown to people",
}
"""Stages that a what-if does without, each with the reason."""


def written(stage: str, strategies: Sequence[Strategy]) -> Sequence[tuple[Table, Mapping[str, str | int]]]:
    """The rows that a stage writes for these strategies: tables, and the columns by which the rows are known."""
    by_strategy = [{"strategy": s.name} for s in strategies]
    sets = [(find_set(name), universe) for universe, name in needed(strategies)]
    rows: Mapping[str, Sequence[tuple[Table, Mapping[str, str | int]]]] = {
        "universe": [(UNIVERSE, {})],
        "verdicts": [(VERDICTS, {}), (DATA_FINDINGS, {})],
        "features": [(s.table, {"version": s.version, "universe": universe}) for s, universe in sets],
        "labels": [(LABELS, {"label": r.name, "horizon": r.horizon}) for r in label_rules(strategies)],
        "champion": [(table, where) for table in (MODELS, PROMOTIONS) for where in by_strategy],
        "scores": [(SCORES, where) for where in by_strategy],
        "decisions": [(DECISIONS, where) for where in by_strategy],
    }
    return rows[stage]


def _as_recorded(switch: tuple[bool, str], late: bool, refused: str, clock: Clock) -> dict[str, object]:
    """The ports of a decision with its switches as they were."""

    def was_late(_sessions: Sequence[date], _now: datetime) -> bool:
        return late

    def was_refused(_features: FeatureSet) -> str:
        return refused

    def no_stamp(_run_id: str) -> Provenance:
        return _NOWHERE

    return {
        "kill_switch": AsItWas(*switch),
        "late": was_late,
        "refused": was_refused,
        "clock": clock,
        "stamp": no_stamp,
    }


def retrade(ws: Workspace, store: Overlay, book: Book, first: date, last: date | None = None) -> list[date]:
    """Trade the book's booked sessions in [first, last] again, by the one fill model, on the decisions in `store`;
    return them.
    """
    booked: list[date] = ws.store.read(NAV, as_of=None, first=first, last=last, where={"book": book.name})[
        "session"
    ].to_list()
    if booked:
        store.redo(BOOKED, booked, book=book.name)
        run(store, ws.strategy_of(book), msgspec.structs.replace(book, broker="research", armed=False), ws.cuts, booked)
    return booked


def retrade_both(
    ws: Workspace, was: Overlay, would: Overlay, book: Book, sessions: Sequence[date], step: Callable[[str], None]
) -> list[date]:
    """`retrade` on both, over the sessions looked at, and on to the last one booked where the book does not stand
    the same after them; return those traded.
    """
    traded: list[date] = []
    for last in (sessions[-1], None):
        step(f"trades of {book.name}")
        retrade(ws, was, book, sessions[0], last)
        step(f"trades of {book.name} as they would have been")
        traded = retrade(ws, would, book, sessions[0], last)
        if all(same(was, would, t, ws.cuts, traded[-1:]) for t in (NAV, POSITIONS, ORDERS)):
            break
    return traded


def stepping(progress: Progress, total: int) -> Callable[[str], None]:
    """A counter of steps of which there may come more than foreseen."""
    done = 0

    def step(what: str) -> None:
        nonlocal done
        progress(done, max(total, done + 1), what)
        done += 1

    return step
