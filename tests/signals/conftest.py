"""A small market whose every table is written by hand or by the stages before: 21 names, 30 sessions, two universes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import copytree

import msgspec
import numpy as np
import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import Table, in_force, known_by
from quant_assets.features.drift import freeze
from quant_assets.features.publish import publish
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.quality import session_hash
from quant_assets.models.boosting import LightGBM
from quant_assets.models.promotion import Metrics
from quant_assets.models.scoring import score
from quant_assets.records import Provenance, StageReport, content_id
from quant_assets.signals.decide import decide
from quant_assets.strategy import Limits, ModelRule, Strategy, UniverseRule
from quant_assets.tables import ACTIONS, BARS, CAPTURES, DECISIONS, MODELS, PROMOTIONS, UNIVERSE, VERDICTS
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
DAYS = CUTS.calendar.between(date(2016, 4, 1), date(2016, 5, 13))
MAY = date(2016, 5, 2)
CUT_SESSION = DAYS[11]  # the model is used from DAYS[12] on
LEFT = 20  # a member in April, none in May
JOINED = 21
NOW = datetime(2016, 6, 1, tzinfo=UTC)
BESIDE = Provenance(table_versions={"bars": 3}, commit="c0ffee", lock_hash="10c4", run_id="r1", machine="x86_64")


def _momentum(panel: pl.DataFrame) -> pl.DataFrame:
    close = pl.col("close")
    return panel.with_columns((close / close.shift(n).over("series") - 1).alias(f"ret_{n}") for n in (1, 3))


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(rank_1=(pl.col("ret_1").rank("average") / pl.col("ret_1").count()).over("session"))


FEATURES = FeatureSet(
    name="two_returns",
    version="1",
    features=("ret_1", "ret_3", "rank_1"),
    columns=("close",),
    lookback=5,
    kernel=_momentum,
    cross_section=_ranked,
)
STRATEGY = Strategy(
    name="tiny",
    universe=UniverseRule(name="few", size=20),
    feature_set=FEATURES.name,
    model=ModelRule(rounds=10, params={"objective": "regression", "num_leaves": 4, "min_data_in_leaf": 5}, threads=1),
    limits=Limits(max_weight=0.25, max_psi=5.0),
    holdings=5,
)


def rows(table: Table, records: Sequence[dict]) -> pl.DataFrame:
    """Rows of a table; columns not named are null."""
    return pl.DataFrame([dict.fromkeys(table.schema) | r for r in records], schema=dict(table.schema))


def bar(sid: int, session: date, close: float, known_at: datetime, **other: object) -> dict:
    """One bar."""
    prices = {"open": close * 0.99, "high": close * 1.02, "low": close * 0.98, "close": close, "volume": 1000}
    return {
        "session": session,
        "sid": sid,
        "symbol": f"S{sid}",
        **prices,
        "withdrawn": False,
        "source": "hand",
        "capture": session,
        "known_at": known_at,
        "declared_known_at": known_at,
        **other,
    }


def bars() -> pl.DataFrame:
    """Prices of 21 names; name 7 has no bar on DAYS[20], name 3 is restated after DAYS[22], name 4's DAYS[18] arrives
    two sessions late.
    """
    rng = np.random.default_rng(3)
    closes = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (len(DAYS), 21)), axis=0))
    out = []
    for n, day in enumerate(DAYS):
        for sid in range(1, 22):
            late = timedelta(days=2) if (sid, n) == (4, 18) else timedelta(0)
            if (sid, n) != (7, 20):
                out.append(
                    bar(sid, day, round(float(closes[n, sid - 1]), 2), CUTS.of(day) - timedelta(minutes=30) + late)
                )
    out.append(bar(3, DAYS[20], 61.5, CUTS.of(DAYS[22]) - timedelta(minutes=10)))
    return rows(BARS, out)


@dataclass(frozen=True)
class Market:
    """A store, the declarations it was filled with, and the calls that the tests repeat."""

    store: DeltaStore
    days: Sequence[date] = tuple(DAYS)
    cuts: Cuts = CUTS
    features: FeatureSet = FEATURES
    strategy: Strategy = STRATEGY
    left: int = LEFT
    joined: int = JOINED
    may: date = MAY
    provenance: Provenance = BESIDE

    def decided(self, *days: date) -> pl.DataFrame:
        """Decide these days; what stands then."""
        self.decide(days)
        return self.decisions(*days)

    def decisions(self, *days: date) -> pl.DataFrame:
        """What stands, of these days or of all."""
        rows = self.store.read(DECISIONS, as_of=None)
        return rows.filter(pl.col("session").is_in(days)) if days else rows

    def add_bar(self, sid: int, session: date, close: float, known_at: datetime, **other: object) -> None:
        """One more version of a bar."""
        self.store.append(BARS, rows(BARS, [bar(sid, session, close, known_at, **other)]))

    def add_action(self, sid: int, session: date, kind: str, known_at: datetime, **values: object) -> None:
        """One corporate action."""
        action = {
            "session": session,
            "sid": sid,
            "kind": kind,
            "origin": "declared",
            "withdrawn": False,
            "known_at": known_at,
            "declared_known_at": known_at,
        }
        self.store.append(ACTIONS, rows(ACTIONS, [action | values]))

    def add_member(self, sid: int, session: date) -> None:
        """One more member, from `session` to the end of May."""
        self.store.append(
            UNIVERSE,
            rows(
                UNIVERSE,
                [
                    {
                        "session": session,
                        "until": date(2016, 6, 1),
                        "universe": "few",
                        "sid": sid,
                        "rank": sid,
                        "dollar_volume": 1.0,
                        "known_at": CUTS.of(session),
                    }
                ],
            ),
        )

    def verdicts(
        self, days: Sequence[date], *, passed: bool = True, rule: str = "prices_positive", severity: str = "block"
    ) -> None:
        """Judge the sessions as they are known at their cuts."""
        written = []
        standing = self.store.read(BARS, as_of=None)
        for day in days:
            content = session_hash(in_force(known_by(standing.filter(session=day), CUTS.of(day)), BARS))
            written.append(
                {
                    "session": day,
                    "table": "bars",
                    "content_hash": content,
                    "rule": rule,
                    "severity": severity,
                    "passed": passed,
                    "message": f"{rule} 3 (at most 2)",
                    "known_at": CUTS.of(day),
                }
            )
        self.store.append(VERDICTS, rows(VERDICTS, written))

    def bars_known(self, day: date) -> pl.DataFrame:
        """The session's bars in force at its cut."""
        return in_force(self.store.read(BARS, as_of=CUTS.of(day), first=day, last=day), BARS)

    def captures(self, days: Sequence[date], *, late: bool = False) -> None:
        """Captures that arrived in time, or not."""
        known = {d: CUTS.of(d) + timedelta(minutes=30 if late else -30) for d in days}
        self.store.append(
            CAPTURES,
            rows(
                CAPTURES,
                [
                    {
                        "capture": d,
                        "dataset": "bars",
                        "source": "hand",
                        "location": "",
                        "sha256": str(d),
                        "rows": 21,
                        "quarantined": 0,
                        "assumed": False,
                        "known_at": k,
                        "declared_known_at": k,
                    }
                    for d, k in known.items()
                ],
            ),
        )

    def champion(self) -> None:
        """Train on what stands and promote from the session after `CUT_SESSION` on."""
        frame = self.store.read(FEATURES.table, as_of=CUTS.of(CUT_SESSION))
        target = frame.with_columns(target=-pl.col("ret_1").fill_null(0.0))
        text = str(LightGBM().fit(target, FEATURES.features, STRATEGY.model).content)
        metrics = Metrics(
            ic=0.0,
            ic_error=1.0,
            ic_t=0.0,
            ic_sessions=2,
            decile_spread=0.0,
            rows=frame.height,
            sessions=12,
            drift=freeze(frame, FEATURES.features, bins=4),
        )
        known = {"strategy": STRATEGY.name, "model_id": content_id(text), "known_at": CUTS.of(CUT_SESSION)}
        model = {
            "session": CUT_SESSION,
            "text": text,
            "feature_set": FEATURES.name,
            "feature_version": "1",
            "rows": frame.height,
            "params": "{}",
            "snapshot": "{}",
            "registry_version": "1",
        }
        self.store.append(MODELS, rows(MODELS, [known | model | {"metrics": msgspec.json.encode(metrics).decode()}]))
        promoted = {
            "session": CUTS.calendar.shift(CUT_SESSION, 1),
            "cut": CUT_SESSION,
            "promoted": True,
            "rule": "",
            "detail": "",
            "by": "rule",
        }
        self.store.append(PROMOTIONS, rows(PROMOTIONS, [known | promoted]))

    def decide(
        self,
        days: Sequence[date],
        *,
        kill: tuple[bool, str] = (False, ""),
        strategy: Strategy = STRATEGY,
        now: datetime = NOW,
    ) -> StageReport:
        """Decide with this market's provenance."""
        return decide(self.store, FEATURES, strategy, CUTS, days, kill_switch=kill, provenance=BESIDE, now=now)


def _universe() -> pl.DataFrame:
    months = [(DAYS[0], MAY, range(1, 21)), (MAY, date(2016, 6, 1), [*range(1, 20), JOINED])]
    return rows(
        UNIVERSE,
        [
            {
                "session": a,
                "until": b,
                "universe": "few",
                "sid": s,
                "rank": s,
                "dollar_volume": 1.0,
                "known_at": CUTS.of(a),
            }
            for a, b, sids in months
            for s in sids
        ],
    )


@pytest.fixture
def days() -> Sequence[date]:
    """The market's sessions."""
    return tuple(DAYS)


def _scored(folder: Path, given: pl.DataFrame) -> Market:
    """A market up to its scores; no captures, no verdicts."""
    market = Market(DeltaStore(folder))
    market.store.append(BARS, given)
    market.add_action(5, DAYS[21], "split", CUTS.of(DAYS[21]) - timedelta(minutes=30), numerator=2, denominator=1)
    market.store.append(UNIVERSE, _universe())
    publish(market.store, FEATURES, STRATEGY.universe.name, CUTS, DAYS)
    market.champion()
    score(market.store, FEATURES, STRATEGY, CUTS, DAYS)
    return market


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The market that most tests begin with a copy of."""
    return _scored(tmp_path_factory.mktemp("signals") / "market", bars()).store.root


@pytest.fixture
def build(tmp_path: Path, template: Path) -> Callable[..., Market]:
    """Builds markets in folders of their own; `captures` and `verdicts` name the sessions that have them, `given` are
    other bars.
    """

    def make(
        name: str = "market",
        *,
        captures: Sequence[date] = DAYS,
        verdicts: Sequence[date] = DAYS,
        given: pl.DataFrame | None = None,
    ) -> Market:
        market = (
            Market(DeltaStore(copytree(template, tmp_path / name)))
            if given is None
            else _scored(tmp_path / name, given)
        )
        market.captures(captures)
        market.verdicts(verdicts)
        return market

    return make


@pytest.fixture
def market(build: Callable[..., Market]) -> Market:
    """The market with everything in place."""
    return build()
