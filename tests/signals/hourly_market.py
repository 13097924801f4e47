"""A venue that never closes, with hourly bars of a few names: one that lags another, so that there is something to
learn.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from quant_assets.calendars import Cuts, calendar
from quant_assets.calendars.slots import Slot, slots_between
from quant_assets.features.audit.audit import LAWS
from quant_assets.features.declared import declare
from quant_assets.features.intraday import OnBars, publish_bars
from quant_assets.features.labels.bars import publish_bar_labels
from quant_assets.features.sets import FeatureSet
from quant_assets.models.slot_scoring import score_slots
from quant_assets.models.training import retrain
from quant_assets.moments import Every
from quant_assets.ports import Store
from quant_assets.records import Provenance, StageReport
from quant_assets.signals.decide_slots import decide_slots, in_time
from quant_assets.strategy import Limits, ModelRule, Strategy, UniverseRule
from quant_assets.tables import AUDITS, LISTINGS, UNIVERSE
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.tables.store import DeltaStore

ALWAYS, EVERY = calendar("24/7"), Every(60, 20)
CUTS = Cuts(ALWAYS, EVERY)
DAYS = ALWAYS.between(date(2026, 1, 30), date(2026, 2, 10))
TRAINED = date(2026, 2, 8)  # its model is used from the 9th on
VENUE, NAMES, HOUR = "nine", 9, timedelta(hours=1)
BESIDE = Provenance(table_versions={}, commit="c0ffee", lock_hash="10c4", run_id="r1", machine="x86_64")
NOBODY_STOPS = (False, "")


def _momentum(panel: pl.DataFrame) -> pl.DataFrame:
    close = pl.col("close")
    return panel.with_columns((close / close.shift(n).over("series") - 1).alias(f"ret_{n}") for n in (1, 3))


FEATURES = declare(
    FeatureSet(
        name="two_returns_1h",
        version="1",
        features=("ret_1", "ret_3"),
        columns=("close",),
        lookback=5,
        kernel=_momentum,
        frequency="1h",
    )
)
ON_BARS = OnBars(feature_set=FEATURES.name, venue=VENUE, calendar="24/7", delay=20)
STRATEGY = Strategy(
    name="hourly",
    calendar="24/7",
    universe=UniverseRule(name="nine", size=NAMES),
    feature_set=FEATURES.name,
    model=ModelRule(
        rounds=10,
        params={"objective": "regression", "num_leaves": 4, "min_data_in_leaf": 20},
        threads=1,
        validation=3,
        embargo=0,
        min_sessions=3,
    ),
    limits=Limits(max_weight=0.4, max_psi=5.0, min_members=3, min_coverage=0.7),
    horizon=2,
    holdings=3,
    decide=EVERY,
)


def bars(days: Sequence[date] = DAYS, seed: int = 11) -> pl.DataFrame:
    """Prices that go on as they went, with noise; some bars are missing, some are late, some are restated."""
    rng = np.random.default_rng(seed)
    starts = ALWAYS.grid(days[0], days[-1], 3600)["ts"].to_list()
    moves = rng.normal(0, 0.004, (len(starts), NAMES))
    for n in range(1, len(starts)):
        moves[n] += 0.5 * moves[n - 1]
    closes = np.round(100 * np.exp(np.cumsum(moves, axis=0)), 2)
    found = []
    for n, ts in enumerate(starts):
        for name in range(NAMES):
            close, opened = float(closes[n, name]), float(closes[max(n - 1, 0), name])
            late = timedelta(minutes=int(rng.integers(1, 300))) if rng.random() < 0.01 else timedelta(0)
            row = bar(name, ts, opened, close, ts + HOUR + late)
            if rng.random() > 0.01:
                found.append(row)
            if rng.random() < 0.01:
                found.append(row | {"close": close + 0.01, "known_at": row["known_at"] + timedelta(minutes=90)})
    return conformed(found)


def bar(name: int, ts: datetime, opened: float, close: float, known_at: datetime) -> dict:
    """One bar."""
    prices = {"open": opened, "high": max(opened, close) + 0.01, "low": min(opened, close) - 0.01, "close": close}
    about = {"ts": ts, "venue": VENUE, "symbol": f"N{name}", "seconds": 3600, "volume": 5000.0, "known_at": known_at}
    return about | prices


def conformed(rows: Sequence[dict]) -> pl.DataFrame:
    """Rows of INTRADAY_BARS."""
    origin = {"source": "x", "capture": date(2026, 1, 1), "file": "f", "line": 1, "withdrawn": False}
    frame = pl.DataFrame(
        [{**origin, **r, "declared_known_at": r["known_at"]} for r in rows],
        schema_overrides={"known_at": INTRADAY_BARS.schema["known_at"]},
    )
    return INTRADAY_BARS.conform(frame.select(*INTRADAY_BARS.schema))


def begun(root: Path) -> DeltaStore:
    """A store of the venue before its first bar: who is listed, who is a member, and that the features were audited."""
    store = DeltaStore(root)
    known = datetime(2026, 1, 29, tzinfo=UTC)
    listed = {"session": date(2026, 1, 1), "listed": True, "capture": date(2026, 1, 1), "known_at": known}
    store.append(
        LISTINGS,
        pl.DataFrame(
            [{"sid": 100 + n, "symbol": f"n{n}", "name": "", "sector": None} | listed for n in range(NAMES)],
            schema=dict(LISTINGS.schema),
        ),
    )
    spans = [(date(2026, 1, 1), date(2026, 2, 9), range(NAMES)), (date(2026, 2, 9), date(2026, 3, 1), range(1, 9))]
    members = [
        {"session": a, "until": b, "universe": "nine", "sid": 100 + n, "rank": n, "dollar_volume": 1.0, "known_at": k}
        for a, b, names in spans
        for n in names
        for k in [known if a.month == 1 else CUTS.of(a)]
    ]
    store.append(UNIVERSE, pl.DataFrame(members, schema=dict(UNIVERSE.schema)))
    audit = {"feature_set": FEATURES.name, "version": FEATURES.version, "fingerprint": FEATURES.fingerprint}
    passed = {"session": known.date(), "known_at": known, "passed": True, "cuts": 1, "cells": 1, "evidence": "planted"}
    store.append(AUDITS, pl.DataFrame([audit | passed | {"law": law} for law in LAWS], schema=dict(AUDITS.schema)))
    return store


def history(store: Store, registry: object, last: date = TRAINED) -> StageReport:
    """Features and labels up to a session, and the model that is cut at its end."""
    days = [d for d in DAYS if d <= last]
    publish_bars(store, FEATURES, VENUE, ALWAYS, days, delay=timedelta(seconds=20), now=CUTS.of(last))
    publish_bar_labels(store, STRATEGY.rule, ON_BARS, ALWAYS, days, now=CUTS.of(last))
    return retrain(store, registry, FEATURES, STRATEGY, CUTS, last, bars=ON_BARS)  # type: ignore[arg-type]


def at_once(store: Store, asked: Sequence[Slot], strategy: Strategy = STRATEGY) -> StageReport:
    """Features, scores and decisions at some slots, as far as is known at the last of them."""
    now = asked[-1].cut
    days = sorted({s.session for s in asked} | {ALWAYS.before(s.session) for s in asked})
    publish_bars(store, FEATURES, VENUE, ALWAYS, days, delay=timedelta(seconds=20), now=now)
    score_slots(store, FEATURES, strategy, ON_BARS, CUTS, asked)
    return decide_slots(
        store,
        FEATURES,
        strategy,
        ON_BARS,
        CUTS,
        asked,
        kill_switch=NOBODY_STOPS,
        provenance=BESIDE,
        now=now,
        late=in_time,
    )


def slots_after(session: date) -> list[Slot]:
    """The slots of the days after a session."""
    return slots_between(ALWAYS, EVERY, [d for d in DAYS if d > session])


def renamed(strategy: Strategy, **others: object) -> Strategy:
    """A strategy that differs."""
    return msgspec.structs.replace(strategy, **others)
