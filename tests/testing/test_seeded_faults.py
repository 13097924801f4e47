"""The suites pass what is sound, and catch each broken plug-in by the law that it breaks."""

# ruff: noqa: D102, ARG002  # the methods are the ports', whose docstrings say what they are

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
import numpy as np
import polars as pl
import pytest

from quant_assets.backtest.fills import FillModel
from quant_assets.captured import bars_capture
from quant_assets.errors import CaptureUnreadable
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.datasets import DATASETS, Dataset
from quant_assets.market_data.rules import Rule
from quant_assets.models.boosting import LightGBM
from quant_assets.records import OrderState
from quant_assets.signals.construction import EqualWeightTop
from quant_assets.testing import LAWS, DoesNotConform, broken_laws, conforms
from quant_assets.vendor_tables import vendor_table
from tests.execution.small_market import CUTS, SESSIONS
from tests.stubs.venue import WeekVenue


class BatchLearner(LightGBM):
    """Its scores are relative to the batch."""

    def predict(self, artifact, frame, threads):
        scores = super().predict(artifact, frame, threads)
        return scores - (scores.mean() or 0.0)


class RandomLearner(LightGBM):
    """Each fit is another model."""

    def fit(self, frame, features, rule):
        return super().fit(
            frame,
            features,
            msgspec.structs.replace(
                rule,
                seed=time.perf_counter_ns() % 10_000,
                params={**rule.params, "bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.5},
            ),
        )


class RanksAll(EqualWeightTop, frozen=True):
    """It ranks all sessions together."""

    def weights(self, scores, held=None):
        place = scores["score"].rank("ordinal", descending=True)
        made = scores.with_columns(rank=place, target_weight=pl.when(place <= 40).then(0.01).otherwise(0.0))
        return made.with_columns(
            pl.when(pl.col("score").is_null()).then(0.0).otherwise("target_weight").alias("target_weight")
        ).sort("session", "sid")


class Clipped:
    """A sound label."""

    def value(self, path):
        return path.list.last().clip(-0.05, 0.05)


class LooksOn(Clipped):
    """It reads the next name's window."""

    def value(self, path):
        return path.list.last().shift(-1).fill_null(0.0)


class LooksPast(Clipped):
    """It reads a column beyond the end of the window."""

    def value(self, path):
        return path.list.last() + pl.col("later")


class Remembers(Clipped):
    """It adds what it saw before."""

    def __init__(self):
        self.asked = 0

    def value(self, path):
        self.asked += 1
        return path.list.last() + self.asked


class Rebate(FillModel, frozen=True):
    """It pays for small orders."""

    def fee(self, quantity):
        return Decimal("0.01") * quantity - Decimal("1.00")


class Shrinking(FillModel, frozen=True):
    """More shares cost less."""

    def fee(self, quantity):
        return Decimal(max(1, 100 - quantity)).quantize(Decimal("0.01"))


class ByBatch:
    """The first order of the day is free."""

    def __init__(self):
        self.plain, self.asked = FillModel(), 0

    def price(self, opened, side):
        return self.plain.price(opened, side)

    def capacity(self, volume):
        return self.plain.capacity(volume)

    def fee(self, quantity):
        self.asked += 1
        return Decimal("0.00") if self.asked == 1 else self.plain.fee(quantity)


class Loses(WeekVenue):
    """An order that has traded is not found under its client id."""

    def find(self, client_order_id):
        held = super().find(client_order_id)
        return None if held is not None and held.state is OrderState.FILLED else held


class Twice(WeekVenue):
    """It takes an order twice and shows it once."""

    def open_orders(self):
        return list({o.client_order_id: o for o in super().open_orders()}.values())


class StillOpen(WeekVenue):
    """What is filled is reported as open."""

    def find(self, client_order_id):
        held = super().find(client_order_id)
        return held and msgspec.structs.replace(held, state=OrderState.ACKED)


def venue(kind: type[WeekVenue]) -> Callable[[], WeekVenue]:
    """A fresh one with some cash."""
    return lambda: kind(CUTS.of(SESSIONS[0]), cash=Decimal(100_000))


def trade(broker: WeekVenue) -> None:
    """All that is open trades."""
    broker.now = CUTS.calendar.open(SESSIONS[1])
    for held in WeekVenue.open_orders(broker):
        execution = broker.execute(held.client_order_id, held.quantity, "27.1234")
        broker.charge(execution.exec_id, "1.00")


class Source:
    """Two sessions of one name, from memory."""

    name = "memory"
    close = 10.5

    def labels(self, first=None, last=None):
        days = [date(2024, 1, 3), date(2024, 1, 4)]
        return [d for d in days if (first is None or d >= first) and (last is None or d <= last)]

    def fetch(self, label):
        if label not in self.labels():
            raise CaptureUnreadable(f"no capture of {label}")
        row = {
            "symbol": "A",
            "session": label,
            "open": 10.0,
            "high": 11.0,
            "low": 9.0,
            "close": self.close,
            "volume": 5,
        }
        return bars_capture(self.name, label, pl.DataFrame([row]), known_at=datetime(2024, 2, 1, tzinfo=UTC))

    def fingerprints(self, labels):
        return {label: self.fetch(label).fingerprint for label in labels}


class NeverChanges(Source):
    """Its fingerprint is that of the day."""

    def fetch(self, label):
        return msgspec.structs.replace(super().fetch(label), fingerprint=str(label))


class KnownEarly(Source):
    """Its captures are known in the morning of their session."""

    def fetch(self, label):
        known = datetime(label.year, label.month, label.day, 9, tzinfo=UTC)
        return msgspec.structs.replace(super().fetch(label), known_at=known)


def restated() -> date:
    """The vendor corrects a close."""
    Source.close = 10.6
    return date(2024, 1, 4)


COLUMNS = {"session": pl.Date, "symbol": pl.String, "shares": pl.Int64}


def interest(key: tuple[str, ...] = ("symbol", "session"), *rules: Rule) -> Callable[[], Dataset]:
    """Short interest by some key."""
    return lambda: Dataset(vendor_table("short_interest", "Shares sold short.", COLUMNS, key=key), tuple(rules))


ROWS = pl.DataFrame({"session": [date(2024, 1, 3)] * 2, "symbol": ["A", "B"], "shares": [1, None]}, schema=COLUMNS)
LOW = Rule("low", "warn", "Is no close below ten?", pl.col("close") < 10, 0.5)
FOREIGN = Rule("foreign", "warn", "Is it?", pl.col("nowhere") > 0)


def by_chance() -> Rule:
    """Its answer is drawn."""
    drawn = pl.col("close").map_batches(lambda s: pl.Series(np.random.default_rng().random(len(s)) < 0.5), pl.Boolean)
    return Rule("drawn", "warn", "Is it?", drawn)


def by_order() -> Rule:
    """It compares a row with the one above it."""
    return Rule(
        "above", "warn", "Does no close fall?", (pl.col("close") < pl.col("close").shift(1)).fill_null(value=False)
    )


def looks_ahead() -> FeatureSet:
    """Tomorrow's close."""

    def kernel(panel: pl.DataFrame) -> pl.DataFrame:
        return panel.with_columns(next=(pl.col("close").shift(-1) / pl.col("close")).over("series"))

    return FeatureSet("ahead", "1", ("next",), ("close",), 2, kernel)


class Notes:
    """A sound notifier."""

    def notify(self, severity, subject, body=""):
        return None


class Breaks(Notes):
    """It knows three severities."""

    def notify(self, severity, subject, body=""):
        {"info": 1, "warning": 2, "critical": 3}[severity]


class Sends:
    """A sound channel."""

    name = "sends"
    sent: ClassVar[list[str]] = []

    def send(self, notice, what, limit):
        self.sent.append(notice.subject)


class Blocks(Sends):
    """It waits for an answer that never comes."""

    def send(self, notice, what, limit):
        time.sleep(5)


class Swallows(Sends):
    """It says that it sent, and did not."""

    def send(self, notice, what, limit):
        return


def top() -> EqualWeightTop:
    """The platform's construction."""
    return EqualWeightTop(holdings=3, max_gross=1.0, max_weight=0.5)


CLOSE = CUTS.calendar.close
SOUND: list[tuple[str, Callable[[], Any], dict[str, Any]]] = [
    ("learner", LightGBM, {}),
    ("construction", top, {}),
    ("label", Clipped, {}),
    ("feature_set", lambda: PRICE_VOLUME, {}),
    ("costs", FillModel, {}),
    ("broker", venue(WeekVenue), {"trade": trade}),
    ("source", Source, {"close": CLOSE, "rows": 2, "change": restated}),
    *(("dataset", lambda d=d: d, {}) for d in DATASETS),
    ("dataset", interest(), {"rows": ROWS}),
    ("check", lambda: LOW, {}),
    ("notifier", Notes, {}),
    ("channel", Sends, {"received": lambda: Sends.sent}),
]
BROKEN: list[tuple[str, Callable[[], Any], dict[str, Any], str]] = [
    ("learner", BatchLearner, {}, "score_of_a_row"),
    ("learner", RandomLearner, {}, "same_rows_same_model"),
    ("construction", lambda: RanksAll(3, 1.0, 0.5), {}, "weights_by_session"),
    ("label", LooksOn, {}, "value_of_a_session"),
    ("label", LooksPast, {}, "value_of_a_path"),
    ("label", Remembers, {}, "value_of_a_session"),
    ("feature_set", looks_ahead, {}, "examined"),
    ("costs", Rebate, {}, "fees_grow"),
    ("costs", Shrinking, {}, "fees_grow"),
    ("costs", ByBatch, {}, "same_whenever_asked"),
    ("broker", venue(Loses), {"trade": trade}, "found_by_its_id"),
    ("broker", venue(Twice), {"trade": trade}, "twice_is_seen"),
    ("broker", venue(StillOpen), {"trade": trade}, "found_by_its_id"),
    ("source", NeverChanges, {"close": CLOSE, "change": restated}, "fingerprints_follow_content"),
    ("source", KnownEarly, {"close": CLOSE}, "known_after_it_happened"),
    ("source", Source, {"rows": 3}, "every_row_once"),
    ("dataset", interest(("symbol", "session", "shares")), {"rows": ROWS}, "rows_have_a_key"),
    ("dataset", interest(("session",)), {"rows": ROWS}, "rows_have_a_key"),
    ("dataset", interest(("symbol", "session"), FOREIGN), {}, "rules_can_be_read"),
    ("check", by_chance, {}, "answer_of_rows"),
    ("check", by_order, {}, "answer_of_rows"),
    ("check", lambda: FOREIGN, {}, "rule_of_bars"),
    ("notifier", Breaks, {}, "never_raises"),
    ("channel", Blocks, {}, "does_not_block"),
    ("channel", Swallows, {"received": list}, "sends_or_raises"),
]


@pytest.fixture(autouse=True)
def as_sold() -> None:
    """The source in memory has its first close again."""
    Source.close = 10.5


@pytest.mark.parametrize(("kind", "make", "known"), SOUND, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_sound_conforms(kind, make, known) -> None:
    """The platform's own, and small ones, break no law."""
    conforms(kind, make, **known)


@pytest.mark.parametrize(
    ("kind", "make", "known", "law"), BROKEN, ids=[f"{k} {getattr(m, '__name__', '')}" for k, m, _, _ in BROKEN]
)
def test_each_seeded_fault_is_caught_by_its_law(kind, make, known, law) -> None:
    """By that law, named in the message with what it says."""
    assert law in broken_laws(kind, make, **known)
    with pytest.raises(DoesNotConform, match=law):
        conforms(kind, make, **known)


def test_every_kind_has_a_seeded_fault() -> None:
    """All eleven kinds, and each has laws that say in words what must hold."""
    assert {kind for kind, *_ in BROKEN} == {kind for kind, *_ in SOUND} == set(LAWS)
    assert len(LAWS) == 11
    assert all((law.__doc__ or "").strip().endswith(".") for laws in LAWS.values() for law in laws.values())
