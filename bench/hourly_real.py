"""Real bars of LEAN (Coinbase, FXCM) through an hourly strategy, by range and live, compared to the bit.

    python -m bench.hourly_real FOLDER     FOLDER holds `lean`; without it $QUANT_SHARED_DATA is taken

The minutes of the files are made into hours. The files have one or two names and few days, so the model is no question
here: a small one is fitted on the first sessions and put in force by hand. What is asked is whether a range of slots
gives the scores, decisions, orders, fills and cash of slots that are decided one by one, each in a store that has only
what was known by its cut; and those of a home in which the same strategy trades at a paper venue, by the functions of
the daily run (`desk.day.run_slot`, `run_day`), on the clock of the session.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from desk.day import arrive, derive, run_day, run_slot, slots_in
from desk.deployment import Deployment
from desk.workspace import Workspace
from quant_assets.backtest.loop import run
from quant_assets.calendars import Cuts, calendar
from quant_assets.calendars.slots import Slot, slots_between
from quant_assets.contract import Table
from quant_assets.features.declared import declare
from quant_assets.features.drift import freeze
from quant_assets.features.intraday import OnBars, publish_bars
from quant_assets.features.labels.bars import publish_bar_labels
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.universe import update
from quant_assets.models.bar_training_set import bar_training_set
from quant_assets.models.boosting import LightGBM
from quant_assets.models.promotion import Metrics
from quant_assets.models.slot_scoring import score_slots
from quant_assets.moments import Every
from quant_assets.records import Book, Provenance, content_id
from quant_assets.signals.decide_slots import decide_slots, in_time
from quant_assets.strategy import Limits, ModelRule, Strategy, UniverseRule
from quant_assets.tables import DECISIONS, FILLS, JOURNAL, MODELS, NAV, ORDERS, POSITIONS, PROMOTIONS, SCORES
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.sources.bars_of import BarsOf, DailyBars
from resources.sources.layouts.lean import bars as lean_bars
from resources.tables.store import DeltaStore

HOUR, EVERY = 3600, Every(60, 30)
DELAY = timedelta(seconds=EVERY.delay)
COMPARED = (SCORES, DECISIONS, ORDERS, FILLS, JOURNAL, POSITIONS, NAV)
HERE = Provenance(table_versions={}, commit="bench", lock_hash="", run_id="bench", machine="")


class Real(NamedTuple):
    """Bars of a venue: its folder, calendar, the sessions of which files are there, and the last one to learn from."""

    venue: str
    folder: str
    calendar: str
    first: date
    trained: date
    last: date


COINBASE = Real("coinbase", "crypto/coinbase", "24/7", date(2018, 4, 4), date(2018, 4, 5), date(2018, 4, 6))
FXCM = Real("fxcm", "forex/fxcm", "FX", date(2014, 5, 2), date(2014, 5, 7), date(2014, 5, 14))


def _momentum(panel: pl.DataFrame) -> pl.DataFrame:
    close = pl.col("close")
    return panel.with_columns((close / close.shift(n).over("series") - 1).alias(f"ret_{n}") for n in (1, 3))


FEATURES = declare(
    FeatureSet(
        name="returns_of_hours",
        version="1",
        features=("ret_1", "ret_3"),
        columns=("close",),
        lookback=3,
        kernel=_momentum,
        frequency="1h",
    )
)


class Compared(NamedTuple):
    """What came out, and which tables differ between the range and the slots one by one."""

    venue: str
    slots: int
    decisions: int
    trades: int
    fills: int
    equity: Decimal
    range_seconds: float
    slots_seconds: float
    live_seconds: float
    differ: tuple[str, ...]
    live_differ: tuple[str, ...]


class _Market:
    """One venue's declarations."""

    def __init__(self, real: Real) -> None:
        self.real = real
        self.hours = calendar(real.calendar)
        self.cuts = Cuts(self.hours, EVERY)
        self.on_bars = OnBars(feature_set=FEATURES.name, venue=real.venue, calendar=real.calendar, delay=EVERY.delay)
        self.days = self.hours.between(real.first, real.last)
        self.strategy = Strategy(
            name="hours",
            calendar=real.calendar,
            universe=UniverseRule(name="all", size=5, lookback=1, min_price=0.0),
            feature_set=FEATURES.name,
            model=ModelRule(rounds=20, params={"num_leaves": 4, "min_data_in_leaf": 5}),
            limits=Limits(max_weight=1.0, min_members=1, min_coverage=0.5, max_psi=100.0),
            horizon=1,
            holdings=1,
            decide=EVERY,
        )
        self.book = Book(name="sim", strategy="hours", account="SIM", capital=Decimal(1_000_000))

    def hourly(self, folder: Path) -> pl.DataFrame:
        """The hours of the venue, made of the minutes of the files; each known when it has ended."""
        files = sorted((folder / "lean" / self.real.folder / "minute").rglob("*.zip"))
        spanned = [f for f in files if f"{self.real.first:%Y%m%d}" <= f.name[:8] <= f"{self.real.last:%Y%m%d}"]
        minutes = pl.concat([lean_bars(f, folder, ()) for f in spanned], how="diagonal_relaxed")
        numbers = [pl.col(c).cast(pl.Float64) for c in ("open", "high", "low", "close", "volume")]
        sound = minutes.filter(pl.col("fault").is_null()).with_columns(numbers).sort("symbol", "ts")
        made = sound.group_by("symbol", pl.col("ts").dt.truncate("1h"), maintain_order=True).agg(
            open=pl.col("open").first(),
            high=pl.col("high").max(),
            low=pl.col("low").min(),
            close=pl.col("close").last(),
            volume=pl.when(pl.col("volume").is_not_null().any()).then(pl.col("volume").sum()),
        )
        known = (pl.col("ts") + pl.duration(seconds=HOUR)).dt.cast_time_unit("us")
        origin = {"source": "lean", "capture": self.real.first, "file": "minutes", "line": 1, "withdrawn": False}
        return INTRADAY_BARS.conform(
            made.with_columns(
                venue=pl.lit(self.real.venue),
                seconds=pl.lit(HOUR, pl.Int32),
                known_at=known,
                declared_known_at=known,
                **{c: pl.lit(v) for c, v in origin.items()},
            ).select(*INTRADAY_BARS.schema)
        )

    def evening(self, store: DeltaStore, days: Sequence[date]) -> None:
        """The daily bars of some sessions, the names drawn from them, and the book."""
        source = DailyBars(BarsOf(venue=self.real.venue, delay=EVERY.delay), store, self.hours)
        ingest(source, store, None, self.cuts.of(days[-1]), days, self.hours)
        update(store, self.cuts, self.strategy.universe, days)

    def learnt(self, store: DeltaStore, days: Sequence[date]) -> None:
        """A small model of the bars of these sessions, in force from the next one on."""
        end = self.cuts.of(days[-1])
        publish_bars(store, FEATURES, self.real.venue, self.hours, days, delay=DELAY, now=end)
        publish_bar_labels(store, self.strategy.rule, self.on_bars, self.hours, days, now=end)
        frame, snapshot = bar_training_set(store, FEATURES, self.strategy, self.on_bars, self.cuts, end)
        learner = LightGBM()
        text = str(learner.fit(frame.with_columns(target="value"), FEATURES.features, self.strategy.model).content)
        metrics = Metrics(
            ic=0.0,
            ic_error=0.0,
            ic_t=None,
            ic_sessions=0,
            decile_spread=0.0,
            rows=frame.height,
            sessions=len(days),
            drift=freeze(frame, FEATURES.features),
        )
        model = {
            "session": days[-1],
            "strategy": self.strategy.name,
            "model_id": content_id(text),
            "text": text,
            "feature_set": FEATURES.name,
            "feature_version": FEATURES.version,
            "rows": frame.height,
            "params": "{}",
            "metrics": msgspec.json.encode(metrics).decode(),
            "snapshot": msgspec.json.encode(snapshot).decode(),
            "registry_version": "0",
            "known_at": end,
        }
        promoted = {"cut": days[-1], "promoted": True, "rule": "bench", "detail": "{}", "by": "bench"}
        about = {c: model[c] for c in ("strategy", "model_id", "known_at")}
        following = {"session": self.hours.after(days[-1])}
        store.append(MODELS, pl.DataFrame([model], schema=dict(MODELS.schema)))
        store.append(PROMOTIONS, pl.DataFrame([promoted | about | following], schema=dict(PROMOTIONS.schema)))

    def decide(self, store: DeltaStore, asked: Sequence[Slot]) -> None:
        """Features, scores and decisions of the slots asked."""
        days = sorted({s.session for s in asked} | {self.hours.before(s.session) for s in asked})
        publish_bars(store, FEATURES, self.real.venue, self.hours, days, delay=DELAY, now=asked[-1].cut)
        score_slots(store, FEATURES, self.strategy, self.on_bars, self.cuts, asked)
        decide_slots(
            store,
            FEATURES,
            self.strategy,
            self.on_bars,
            self.cuts,
            asked,
            kill_switch=(False, ""),
            provenance=HERE,
            now=datetime(2026, 1, 1, tzinfo=UTC),
            late=in_time,
        )

    def trade(self, store: DeltaStore, days: Sequence[date]) -> None:
        """The research book over some sessions."""
        run(store, self.strategy, self.book, self.cuts, days, bars=self.on_bars)


def by_range(market: _Market, store: DeltaStore, hours: pl.DataFrame) -> list[Slot]:
    """Everything at once."""
    store.append(INTRADAY_BARS, hours)
    market.evening(store, market.days)
    market.learnt(store, [d for d in market.days if d <= market.real.trained])
    asked = slots_between(market.hours, EVERY, [d for d in market.days if d > market.real.trained])
    market.decide(store, asked)
    market.trade(store, [d for d in market.days if d >= market.real.trained])
    return asked


def by_slots(market: _Market, store: DeltaStore, hours: pl.DataFrame) -> None:
    """A slot at a time: the store has only the bars that were known by its cut; a session is booked when it is over."""
    for day in market.days:
        if day > market.real.trained:
            for slot in slots_between(market.hours, EVERY, [day]):
                store.append(INTRADAY_BARS, hours.filter(pl.col("known_at") <= slot.cut))
                market.decide(store, [slot])
        store.append(INTRADAY_BARS, hours.filter(pl.col("known_at") <= market.cuts.of(day)))
        market.evening(store, [day])
        if day == market.real.trained:
            market.learnt(store, [d for d in market.days if d <= day])
        if day >= market.real.trained:
            market.trade(store, [day])


class _Registry:
    """Keeps nothing: no model is trained in these days."""

    def log(self, **_: object) -> str:
        """See the port."""
        return "1"

    def promote(self, strategy: str, registry_version: str) -> None:
        """See the port."""


def at_a_venue(market: _Market, home: Path, hours: pl.DataFrame) -> DeltaStore:
    """A home in which the strategy trades at a paper venue, slot by slot, each session with its end."""
    real, after = market.real, [d for d in market.days if d > market.real.trained]
    source: Any = {"kind": "bars_of", "venue": real.venue, "frequency": "1h", "delay": EVERY.delay}
    book = msgspec.structs.replace(market.book, broker="paper", armed=True)
    declared = Deployment(
        source=source,
        strategies=(market.strategy,),
        books=(book,),
        start=after[0],
        clock="session",
        calendar=real.calendar,
        bars=(market.on_bars,),
    )
    ws = Workspace(home, declared, registry=_Registry())
    before = [d for d in market.days if d <= real.trained]
    ws.tables.append(INTRADAY_BARS, hours)
    list(arrive(ws, real.trained))
    list(derive(ws, before, train_at=[]))
    market.learnt(ws.tables, before)
    list(run_day(ws, real.trained))
    for session in after:
        for slot in slots_in(ws, [session]):
            list(run_slot(ws, slot))
        list(run_day(ws, session))
    return ws.tables


def compare(folder: Path, real: Real, work: Path) -> Compared:
    """A venue through its hours, by range and live."""
    market = _Market(real)
    hours = market.hourly(folder)
    ranged, live = DeltaStore(work / f"{real.venue}_range"), DeltaStore(work / f"{real.venue}_live")
    began = time.process_time()
    asked = by_range(market, ranged, hours)
    middle = time.process_time()
    by_slots(market, live, hours)
    ended = time.process_time()
    venue = at_a_venue(market, work / f"{real.venue}_home", hours)
    traded = time.process_time()

    def content(store: DeltaStore, table: Table) -> pl.DataFrame:
        rows = store.read(table, as_of=None).filter(pl.col("session") > real.trained).select(table.content)
        return rows.sort(*(c for c in table.key if c in table.content))

    first = {t.name: content(ranged, t) for t in COMPARED}
    differ, live_differ = (
        tuple(t.name for t in COMPARED if not first[t.name].equals(content(other, t))) for other in (live, venue)
    )
    decisions = first["decisions"]
    return Compared(
        venue=real.venue,
        slots=len(asked),
        decisions=decisions.height,
        trades=decisions.filter(verdict="TRADE").height,
        fills=first["fills"].height,
        equity=first["nav"]["equity"][-1],
        range_seconds=middle - began,
        slots_seconds=ended - middle,
        live_seconds=traded - ended,
        differ=differ,
        live_differ=live_differ,
    )


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["QUANT_SHARED_DATA"])
    with tempfile.TemporaryDirectory() as made:
        for one in (COINBASE, FXCM):
            found = compare(where, one, Path(made))
            print(  # its answer
                f"{found.venue}: {found.slots} slots, {found.decisions} decisions ({found.trades} TRADE), "
                f"{found.fills} fills, equity {found.equity:,.2f}; CPU {found.range_seconds:.1f} s by range, "
                f"{found.slots_seconds:.1f} s slot by slot, {found.live_seconds:.1f} s at the paper venue; differ: "
                f"{', '.join(found.differ) or 'nothing'} slot by slot, {', '.join(found.live_differ) or 'nothing'} live"
            )
