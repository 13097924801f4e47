"""Sets of bars are audited by the same laws: a bar's start stands for the session, its end for the cut."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.features.audit import bars
from quant_assets.features.audit.audit import LAWS, recorded, standing
from quant_assets.features.audit.bars import audit_bars
from quant_assets.features.intraday import on_bars
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.sets import FeatureSet
from quant_assets.vendor_tables import INTRADAY_BARS
from tests.features.audited_market import Memory
from tests.features.leaks import CLOSE, RET, declared
from tests.features.test_intraday import ALWAYS, DAYS, rows

NOW = datetime(2026, 4, 1, tzinfo=UTC)
NEW_YORK = calendar("XNYS")
HONEST = on_bars(PRICE_VOLUME, "15m")


@pytest.fixture(scope="module")
def store() -> Memory:
    """Four days of four names on a venue that never closes."""
    made = Memory()
    made.append(INTRADAY_BARS, rows(4, DAYS))
    return made


def leaking(expression: pl.Expr) -> FeatureSet:
    """A set of bars with this column."""
    return on_bars(declared("leak", "leak", lambda panel: panel.with_columns(leak=expression)), "15m")


@pytest.mark.parametrize("delay", [timedelta(), timedelta(seconds=30)])
def test_an_honest_set_of_bars_passes(store: Memory, delay: timedelta) -> None:
    """Every law holds, on bars of every kind, and the verdict stands as that of any set."""
    audited = audit_bars(store, HONEST, "v", ALWAYS, DAYS, now=NOW, delay=delay)
    assert audited.filter(~pl.col("passed")).select("law", "evidence").rows() == []
    assert set(audited["law"]) == set(LAWS)
    told = audited.filter(law="truncation").row(0, named=True)
    assert told["cuts"] >= 5
    assert told["cells"] > 300
    for kind in (
        "eve of a restatement",
        "a bar that was late",
        "first bar of a session",
        "last bar of a session",
        "at random",
    ):
        assert kind in told["evidence"]
    home = Memory()
    assert recorded(home, HONEST, audited).state == "done"
    assert standing(home, HONEST).state == "passed"


def test_hours_with_a_close(store: Memory) -> None:
    """On a venue that closes, ranges go over the night."""
    days = NEW_YORK.between(date(2026, 3, 3), date(2026, 3, 9))
    held = Memory()
    held.append(INTRADAY_BARS, rows(2, days, hours=NEW_YORK, seconds=900))
    audited = audit_bars(held, HONEST, "v", NEW_YORK, days[3:], now=NOW)
    assert audited.filter(~pl.col("passed")).select("law", "evidence").rows() == []


@pytest.mark.parametrize(
    ("expression", "laws"),
    [
        (CLOSE.shift(-1).over("series") / CLOSE - 1, {"truncation", "poisoned_future", "prefix_causality"}),
        ((RET - RET.mean()) / RET.std(), {"truncation", "independence"}),
    ],
)
def test_a_leak_of_bars_is_caught(store: Memory, expression: pl.Expr, laws: set[str]) -> None:
    """The bar, the symbol and the column are named."""
    broken = audit_bars(store, leaking(expression), "v", ALWAYS, DAYS, now=NOW).filter(~pl.col("passed"))
    assert laws <= set(broken["law"])
    told = broken.filter(law="truncation").row(0, named=True)
    assert told["column"] == "leak"
    assert told["sid"] is None
    assert " S" in told["at"]


def test_nothing_to_audit_on(store: Memory) -> None:
    """No session, no bars of the venue: no pass, and why."""
    for venue, days, why in (("v", [], "no session was given"), ("nowhere", DAYS, "nowhere has no bar in 2026-03-02")):
        audited = audit_bars(store, HONEST, venue, ALWAYS, days, now=NOW).filter(law="truncation")
        assert not audited["passed"][0]
        assert why in audited["evidence"][0]


def test_stretches() -> None:
    """Positions that follow on each other are computed together."""
    assert bars._runs([3]) == [(3, 3)]
    assert bars._runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
