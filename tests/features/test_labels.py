"""Labels: hand-computed returns, and a range equals its days."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.features.labels import compute_labels, publish_labels
from quant_assets.tables import ACTIONS, BARS
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
DAYS = CUTS.calendar.between(date(2016, 4, 1), date(2016, 4, 29))
HORIZON = 3


def bar(sid: int, n: int, price: float, *, days_late: int = 0, withdrawn: bool = False) -> dict[str, object]:
    """A bar of session n whose open is `price` and whose close is one higher."""
    known = CUTS.of(DAYS[n]) - timedelta(minutes=30) + timedelta(days=days_late)
    origin = {
        "source": "test",
        "capture": DAYS[n],
        "file": "test",
        "line": n,
        "known_at": known,
        "declared_known_at": known,
    }
    prices = {"open": price, "high": price + 1, "low": price, "close": price + 1, "volume": 100, "adj_close": None}
    return {"session": DAYS[n], "sid": sid, "symbol": f"S{sid}", **prices, "withdrawn": withdrawn, **origin}


def action(sid: int, n: int, kind: str, **values: object) -> dict[str, object]:
    """An action with ex-session n, known the day before."""
    known = CUTS.of(DAYS[n - 1])
    origin = {
        "source": "test",
        "capture": DAYS[n],
        "file": "test",
        "line": 0,
        "known_at": known,
        "declared_known_at": known,
    }
    return {
        "session": DAYS[n],
        "sid": sid,
        "kind": kind,
        "numerator": None,
        "denominator": None,
        "cash": None,
        "value": None,
        "origin": "declared",
        "confidence": 1.0,
        "withdrawn": False,
        **origin,
        **values,
    }


def store(path: Path, bars: list[dict[str, object]], actions: list[dict[str, object]] | None = None) -> DeltaStore:
    """A store with these bars and actions."""
    out = DeltaStore(path)
    out.append(BARS, pl.DataFrame(bars, schema=dict(BARS.schema)))
    out.append(ACTIONS, pl.DataFrame(actions or [], schema=dict(ACTIONS.schema)))
    return out


CASES = {
    "plain": ([bar(1, n, 100.0 + 10 * (n == 4)) for n in range(6)], [], 110 / 100 - 1, False),
    "stock dividend inside": (
        [bar(1, n, 105.0 if n < 3 else 100.0) for n in range(6)],
        [action(1, 3, "stock_dividend", numerator=21, denominator=20)],
        0.0,
        False,
    ),
    "spin-off inside, before a split": (
        [bar(1, n, 100.0 if n < 3 else 45.0) for n in range(6)],
        [action(1, 3, "spin_off", value=10.0), action(1, 3, "split", numerator=2, denominator=1)],
        0.0,
        False,
    ),
    "merger for cash": ([bar(1, n, 100.0) for n in range(4)], [action(1, 4, "merger", cash=Decimal(130))], 0.3, True),
    "merger for shares": (
        [bar(1, n, 100.0) for n in range(4)],
        [action(1, 4, "merger", numerator=1, denominator=2, counterpart="BB")],
        101 / 100 - 1,
        True,
    ),
    "merger, then the listing ends": (
        [bar(1, n, 100.0) for n in range(4)],
        [action(1, 4, "merger", value=0.2), action(1, 4, "delisting", value=0.0)],
        101 / 100 * 1.2 - 1,
        True,
    ),
    "split inside": (
        [bar(1, n, 100.0 if n < 3 else 50.0) for n in range(6)],
        [action(1, 3, "split", numerator=2, denominator=1)],
        0.0,
        False,
    ),
    "split on the entry's session is not in the window": (
        [bar(1, n, 100.0 if n < 1 else 50.0) for n in range(6)],
        [action(1, 1, "split", numerator=2, denominator=1)],
        0.0,
        False,
    ),
    "dividend inside": (
        [bar(1, n, 100.0) for n in range(6)],
        [action(1, 4, "dividend", cash=Decimal("1.5"))],
        0.015,
        False,
    ),
    "delisted inside at half its last price": (
        [bar(1, n, 100.0) for n in range(3)],
        [action(1, 3, "delisting", value=-0.5)],
        101 / 100 * 0.5 - 1,
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_return_from_open_to_open(tmp_path: Path, case: str) -> None:
    """The label of session 0 is the return from open(1) to open(4), of what one share became."""
    bars, actions, value, died = CASES[case]
    labels = compute_labels(store(tmp_path, bars, actions), CUTS, HORIZON, [DAYS[4]])
    assert labels.select("session", "label_end", "known_at").rows() == [(DAYS[0], DAYS[4], CUTS.of(DAYS[4]))]
    assert labels["value"][0] == pytest.approx(value, abs=1e-12)
    assert labels["died"][0] is died


def test_no_entry_no_label(tmp_path: Path) -> None:
    """Where the name did not trade at open(t+1) an order could not have filled: there is no label."""
    labels = compute_labels(store(tmp_path, [bar(1, n, 100.0) for n in (0, 2, 3, 4)]), CUTS, HORIZON, [DAYS[4]])
    assert labels.is_empty()


def test_a_range_equals_its_days(tmp_path: Path) -> None:
    """Late, restated and withdrawn bars give each session the label that its own cut knew."""
    bars = [
        bar(s, n, 50.0 + s + n * ((s % 3) - 1), days_late=12 * (n == 7 and s == 2))
        for s in range(1, 6)
        for n in range(len(DAYS))
    ]
    bars += [bar(3, 9, 77.0, days_late=4), bar(4, 10, 1.0, days_late=3, withdrawn=True)]
    held = store(
        tmp_path,
        bars,
        [action(1, 8, "split", numerator=3, denominator=2), action(1, 8, "dividend", cash=Decimal("0.4"))],
    )
    sessions = DAYS[HORIZON + 1 : -1]
    ranged = compute_labels(held, CUTS, HORIZON, sessions)
    by_day = pl.concat([compute_labels(held, CUTS, HORIZON, [s]) for s in sessions]).sort("horizon", "session", "sid")
    assert ranged.equals(by_day)
    assert ranged.filter(pl.col("sid") == 2).height < ranged.filter(pl.col("sid") == 5).height


def test_publishing_twice_writes_once(tmp_path: Path) -> None:
    """The second time is a no-op."""
    held = store(tmp_path, [bar(1, n, 100.0) for n in range(8)])
    assert publish_labels(held, CUTS, HORIZON, DAYS[4:6]).rows == 2
    assert publish_labels(held, CUTS, HORIZON, DAYS[4:6]).rows == 0
