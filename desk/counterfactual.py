"""What the platform would have computed had something been known in time: its own functions, run again on an overlay, for the sessions that can differ."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from quant_assets.backtest.loop import run
from quant_assets.calendars import Cuts
from quant_assets.contract import Table
from quant_assets.features.catalogue import find_set
from quant_assets.features.labels import publish_labels
from quant_assets.features.publish import publish
from quant_assets.market_data.partitions import HISTORY
from quant_assets.market_data.quality import gate
from quant_assets.market_data.restatements import AsIf
from quant_assets.market_data.universe import update
from quant_assets.models.scoring import score
from quant_assets.models.training import retrain
from quant_assets.ports import Progress, Store
from quant_assets.records import Book, Provenance
from quant_assets.signals.decide import decide, first_recorded
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
from resources.tables.overlay import Overlay

if TYPE_CHECKING:
    from desk.workspace import Workspace

QUARTER = 66  # sessions of a block, at most
BOOKED = (ORDERS, FILLS, POSITIONS, JOURNAL, PNL, NAV, COSTS)
_NOWHERE = Provenance(table_versions={}, commit="", lock_hash="", run_id="")


class Unregistered:
    """A model registry that keeps nothing: what would have been is tracked nowhere."""

    def log(self, **_: object) -> str:
        """See the port."""
        return ""

    def promote(self, strategy: str, registry_version: str) -> None:
        """See the port."""


def first_known(store: Store, table: Table, cuts: Cuts, sessions: Sequence[date]) -> pl.DataFrame:
    """Of derived rows of `sessions` (ascending), those known at their own session's cut: what a rebuild added later is left out."""
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
    ws: "Workspace", as_if: Mapping[str, AsIf], first: date, learnt: date, step: Callable[[str], None]
) -> tuple[Overlay, list[date]]:
    """Verdicts to decisions again, from `first` on; and the sessions that were looked at.

    Rows themselves read otherwise up to the session `learnt`. A verdict looks back HISTORY sessions, a label its rule's reach, so that is how far all is
    computed again; further only where a universe differs (its members stay for the month) or a model does, which learns
    from the sessions before. Models are cut where they were cut, switches stood as recorded.
    """
    store, cuts = Overlay(ws.store, as_if), ws.cuts
    derived: list[date] = (
        ws.store.read(VERDICTS, as_of=None, first=first, where={"table": BARS.name})["session"]
        .unique()
        .sort()
        .to_list()
    )
    # a kernel that reads what each session's own cut knew of it, such as the market's return, remembers it for a block
    sets = [find_set(name) for _, name in needed(ws.deployment.strategies)]
    blocks = [s.lookback + QUARTER for s in sets if any(i.of_panel for i in s.inputs)]
    reach = cuts.calendar.shift(learnt, max([HISTORY, *blocks, *(s.rule.reach for s in ws.deployment.strategies)]))
    near = [s for s in derived if s <= reach]
    if not near:
        return store, []
    step("universe")
    store.redo((UNIVERSE,), near)
    for strategy in ws.deployment.strategies:
        update(store, cuts, strategy.universe, near)
    near = near if same(store, ws.store, UNIVERSE, cuts, near, ("universe", "session", "until", "sid")) else derived
    store.redo((UNIVERSE, VERDICTS, DATA_FINDINGS), near)
    for strategy in ws.deployment.strategies:
        update(store, cuts, strategy.universe, near)
    step("verdicts")
    gate(store, cuts, near)
    looked = near
    for universe, name in needed(
        ws.deployment.strategies
    ):  # all of them first: one strategy's labels may be net of what another's model reads
        step(f"features {name} of {universe}")
        published = find_set(name)
        store.redo((published.table,), near, version=published.version, universe=universe)
        publish(store, published, universe, cuts, near)
    for rule in {(s.rule.name, s.rule.horizon): s.rule for s in ws.deployment.strategies}.values():
        step(f"labels {rule.name}")
        store.redo((LABELS,), near, label=rule.name, horizon=rule.horizon)
        publish_labels(store, cuts, rule, near)
    for strategy in ws.deployment.strategies:
        features = ws.feature_set_of(strategy)
        learns = not all(same(store, ws.store, t, cuts, near) for t in (features.table, LABELS))
        cut_at = _cuts(ws, strategy, first) if learns else []
        _retrain(ws, store, strategy, cut_at, step)
        far = (
            near
            if all(
                same(store, ws.store, t, cuts, derived, c)
                for t, c in ((MODELS, ("strategy", "model_id")), (PROMOTIONS, ("model_id", "promoted")))
            )
            else derived
        )
        step(f"decisions {strategy.name}")
        _decide(ws, store, strategy, far)
        looked = max(looked, far, key=len)
    return store, looked


def _cuts(ws: "Workspace", strategy: Strategy, first: date) -> list[date]:
    return (
        ws.store.read(MODELS, as_of=None, first=first, where={"strategy": strategy.name})["session"]
        .unique()
        .sort()
        .to_list()
    )


def _retrain(
    ws: "Workspace", store: Overlay, strategy: Strategy, cut_at: Sequence[date], step: Callable[[str], None]
) -> None:
    if not cut_at:
        return
    store.redo((MODELS,), cut_at, strategy=strategy.name)
    store.redo((PROMOTIONS,), [ws.cuts.calendar.shift(c, 1) for c in cut_at], strategy=strategy.name)
    for cut in cut_at:
        step(f"model cut {cut}")
        retrain(store, Unregistered(), ws.feature_set_of(strategy), strategy, ws.cuts, cut)


def _decide(ws: "Workspace", store: Overlay, strategy: Strategy, sessions: Sequence[date]) -> None:
    """Score and decide the sessions that were decided, each with the switches of its first set."""
    recorded = first_recorded(
        ws.store.read(DECISIONS, as_of=None, first=sessions[0], last=sessions[-1], where={"strategy": strategy.name})
    )
    alike: dict[tuple[tuple[bool, str], bool, str], list[date]] = {}
    for (session,), rows in recorded.partition_by("session", as_dict=True, maintain_order=True).items():
        alike.setdefault(switches(rows), []).append(session)  # pyright: ignore[reportArgumentType]  # the key is a date
    decided = sorted(s for days in alike.values() for s in days)
    if not decided:
        return
    features = ws.feature_set_of(strategy)
    store.redo((SCORES, DECISIONS), decided, strategy=strategy.name)
    score(store, features, strategy, ws.cuts, decided)
    for (kill_switch, late, features_refused), days in alike.items():
        decide(
            store,
            features,
            strategy,
            ws.cuts,
            days,
            kill_switch=kill_switch,
            provenance=_NOWHERE,
            now=ws.cuts.of(days[-1]),
            late=late,
            features_refused=features_refused,
        )


def retrade(ws: "Workspace", store: Overlay, book: Book, first: date, last: date | None = None) -> list[date]:
    """Trade the book's booked sessions in [first, last] again, by the one fill model, on the decisions in `store`; return them."""
    booked: list[date] = ws.store.read(NAV, as_of=None, first=first, last=last, where={"book": book.name})[
        "session"
    ].to_list()
    if booked:
        store.redo(BOOKED, booked, book=book.name)
        run(store, ws.strategy_of(book), msgspec.structs.replace(book, broker="research", armed=False), ws.cuts, booked)
    return booked


def retrade_both(
    ws: "Workspace", was: Overlay, would: Overlay, book: Book, sessions: Sequence[date], step: Callable[[str], None]
) -> list[date]:
    """`retrade` on both, over the sessions looked at, and on to the last one booked where the book does not stand the same after them; return those traded."""
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
