"""Another venue's bars and actions in the sessions of one's own calendar."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.calendars.beside import deadline, opens, parts, resting
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.spanning import composed, moved
from quant_assets.moments import AtTime
from quant_assets.tables import ACTIONS, BARS

LONDON, TOKYO = calendar("XLON"), calendar("XTKS")
EVENING = Cuts(calendar("XNYS"), AtTime("18:00"), [LONDON, TOKYO])


def d(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("session", "london", "tokyo"),
    [
        ("2025-10-24", ["2025-10-24"], ["2025-10-24"]),
        ("2025-10-27", ["2025-10-27"], ["2025-10-27"]),  # the week in which only London has changed its clocks
        ("2025-11-28", ["2025-11-27", "2025-11-28"], ["2025-11-27", "2025-11-28"]),  # Thanksgiving here
        ("2025-11-04", ["2025-11-04"], ["2025-11-04"]),
        ("2025-11-24", ["2025-11-24"], []),  # Tokyo rests
        ("2025-12-24", ["2025-12-24"], ["2025-12-24"]),  # a half day in New York and London
        ("2025-12-26", [], ["2025-12-25", "2025-12-26"]),  # Boxing Day in London
        ("2025-12-29", ["2025-12-29"], ["2025-12-29"]),
        ("2026-01-02", ["2026-01-02"], []),
    ],
)
def test_which_sessions_end_between_two_cuts(session: str, london: list[str], tokyo: list[str]) -> None:
    day = d(session)
    for other, expected in ((LONDON, london), (TOKYO, tokyo)):
        found = parts(EVENING, other, day, day)
        assert found["part"].to_list() == [d(text) for text in expected]
        assert set(found["session"]) <= {day}
    assert resting(EVENING, day) == {c for c, held in (("XLON", london), ("XTKS", tokyo)) if not held}


def test_each_session_elsewhere_is_in_one_own_session() -> None:
    """Over five years none is lost, and none counts twice; a range has what its days have."""
    first, last = d("2020-01-02"), d("2024-12-31")
    for other in (LONDON, TOKYO):
        whole = parts(EVENING, other, first, last)
        between = other.between(d("2020-01-02"), d("2024-12-31"))
        assert whole["part"].to_list() == between
        own = EVENING.calendar.between(first, last)
        assert pl.concat([parts(EVENING, other, s, s) for s in own]).equals(whole)
        closes = [(other.close(part), EVENING.of(session)) for part, session in whole.iter_rows()]
        assert all(close <= cut for close, cut in closes)


def test_when_each_venue_opens_next() -> None:
    """The first of them is the deadline; one that rests has none."""
    day = d("2025-12-24")
    tokyo = datetime(2025, 12, 25, 0, tzinfo=UTC)
    assert opens(EVENING, day) == {"XLON": None, "XTKS": tokyo}
    assert deadline(EVENING, day) == tokyo
    london_alone = Cuts(calendar("XNYS"), AtTime("18:00"), [LONDON])
    assert deadline(london_alone, day) == london_alone.trades_at(day)
    assert deadline(london_alone, d("2025-10-27")) == datetime(2025, 10, 28, 8, tzinfo=UTC)


def bar(
    day: str, known: str, price: float, *, volume: int = 10, withdrawn: bool = False, sid: int = 1
) -> dict[str, Any]:
    at = datetime.fromisoformat(known).replace(tzinfo=UTC)
    prices = {"open": price, "high": price + 2, "low": price - 2, "close": price + 1}
    about = {"session": d(day), "sid": sid, "symbol": "A", "volume": volume, "adj_close": None, "withdrawn": withdrawn}
    return {**about, **prices, "source": "s", "capture": d(day), "file": "f", "line": 1, "known_at": at}


def rows(*bars: dict[str, Any]) -> pl.DataFrame:
    return BARS.conform(pl.DataFrame([{"declared_known_at": None, **b} for b in bars], schema=dict(BARS.schema)))


HELD = parts(EVENING, LONDON, d("2025-11-26"), d("2025-12-29"))
THURSDAY, FRIDAY = "2025-11-27", "2025-11-28"
NONE = ACTIONS.empty()


def prices_of(made: pl.DataFrame, as_of: str) -> list[tuple[Any, ...]]:
    """session, open, high, low, close and volume in force at a time."""
    at = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
    found = in_force(known_by(made, at), BARS)
    return found.select("session", "open", "high", "low", "close", "volume").rows()


@pytest.mark.parametrize(
    ("bars", "as_of", "expected"),
    [
        ([bar(FRIDAY, f"{FRIDAY}T18:00", 10)], f"{FRIDAY}T23:00", (10, 12, 8, 11, 10)),
        (
            [bar(THURSDAY, f"{THURSDAY}T18:00", 10), bar(FRIDAY, f"{FRIDAY}T18:00", 20)],
            f"{FRIDAY}T23:00",
            (10, 22, 8, 21, 20),
        ),
        (  # of Thursday alone, before Friday is known
            [bar(THURSDAY, f"{THURSDAY}T18:00", 10), bar(FRIDAY, f"{FRIDAY}T18:00", 20)],
            f"{THURSDAY}T23:00",
            (10, 12, 8, 11, 10),
        ),
        (  # Thursday is restated a week later
            [
                bar(THURSDAY, f"{THURSDAY}T18:00", 10),
                bar(FRIDAY, f"{FRIDAY}T18:00", 20),
                bar(THURSDAY, "2025-12-05T18:00", 11, volume=50),
            ],
            "2025-12-06T00:00",
            (11, 22, 9, 21, 60),
        ),
        (  # and not seen before
            [
                bar(THURSDAY, f"{THURSDAY}T18:00", 10),
                bar(FRIDAY, f"{FRIDAY}T18:00", 20),
                bar(THURSDAY, "2025-12-05T18:00", 11, volume=50),
            ],
            "2025-12-05T00:00",
            (10, 22, 8, 21, 20),
        ),
        (  # Friday is withdrawn
            [
                bar(THURSDAY, f"{THURSDAY}T18:00", 10),
                bar(FRIDAY, f"{FRIDAY}T18:00", 20),
                bar(FRIDAY, "2025-12-05T18:00", 20, withdrawn=True),
            ],
            "2025-12-06T00:00",
            (10, 12, 8, 11, 10),
        ),
    ],
    ids=["one", "two", "the first alone", "restated", "before it was", "withdrawn"],
)
def test_a_bar_is_made_of_what_is_in_force(bars: list[dict[str, Any]], as_of: str, expected: tuple[Any, ...]) -> None:
    made = composed(rows(*bars), NONE, HELD)
    assert BARS.conform(made).height == len(bars)
    assert prices_of(made, as_of) == [(d(FRIDAY), *expected)]


def test_a_bar_that_is_withdrawn_whole_is_none() -> None:
    bars = [bar(day, f"{day}T18:00", 10) for day in (THURSDAY, FRIDAY)]
    gone = [bar(day, "2025-12-05T18:00", 10, withdrawn=True) for day in (THURSDAY, FRIDAY)]
    made = composed(rows(*bars, *gone), NONE, HELD)
    assert prices_of(made, "2025-12-06T00:00") == []
    assert prices_of(made, "2025-12-04T00:00") == [(d(FRIDAY), 10, 12, 8, 11, 20)]


def test_a_bar_has_one_kind_of_share() -> None:
    """Where a split comes between the two sessions the bar is the second one; the split stands before its open."""
    bars = [bar(THURSDAY, f"{THURSDAY}T18:00", 10), bar(FRIDAY, f"{FRIDAY}T18:00", 5)]
    split = dict.fromkeys(ACTIONS.schema) | {
        "session": d(FRIDAY),
        "sid": 1,
        "kind": "split",
        "numerator": 2,
        "denominator": 1,
        "cash": Decimal(0),
        "withdrawn": False,
        "known_at": datetime(2025, 11, 20, tzinfo=UTC),
    }
    acts = pl.DataFrame([split], schema=dict(ACTIONS.schema))
    assert prices_of(composed(rows(*bars), acts, HELD), f"{FRIDAY}T23:00") == [(d(FRIDAY), 5, 7, 3, 6, 10)]
    early = acts.with_columns(session=pl.lit(d(THURSDAY)))
    assert prices_of(composed(rows(*bars), early, HELD), f"{FRIDAY}T23:00") == [(d(FRIDAY), 10, 12, 3, 6, 20)]
    assert moved(early, HELD)["session"].to_list() == [d(FRIDAY)]
    assert moved(acts, HELD).columns == list(ACTIONS.schema)
