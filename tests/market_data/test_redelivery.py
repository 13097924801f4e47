"""A label whose content changed is taken in again: what differs is known from now on, and nothing else moves."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.records import Capture
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
DAYS = [XNYS.shift(date(2016, 3, 7), i) for i in range(5)]
Row = tuple[object, ...]


def rows(*changes: Row, without: Sequence[tuple[str, date]] = ()) -> Mapping[date, list[Row]]:
    """Three names over the days, a session a label, but for `changes` (symbol, session, close) and what is left out."""
    said = {(s, d): (s, d, 10.0 * n + i) for n, s in enumerate(("AA", "BB", "CC"), 1) for i, d in enumerate(DAYS)}
    said |= {(str(c[0]), c[1]): c for c in changes if isinstance(c[1], date)}
    return {d: [r for (s, day), r in said.items() if day == d and (s, day) not in without] for d in DAYS}


@pytest.fixture
def source(capture: Callable[..., Capture], captures: Any) -> Callable[[Mapping[date, list[Row]]], Any]:
    """A vendor that says these rows, by label."""
    return lambda said: captures({label: capture(label, given) for label, given in said.items() if given})


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(tmp_path)


def arrive(store: DeltaStore, vendor: Any, now: datetime = LATER, cut: datetime | None = None) -> Any:
    """What a run takes in."""
    return ingest(vendor, store, cut, now, pending(vendor, store, date(2100, 1, 1)), XNYS)


def news(store: DeltaStore, since: datetime = NOW) -> list[tuple[object, ...]]:
    """Versions of bars that came after the first load: symbol, session, close, withdrawn."""
    later = store.read(BARS, as_of=None).filter(pl.col("known_at") >= since)
    return later.sort("symbol", "session", "known_at").select("symbol", "session", "close", "withdrawn").rows()


CASES: Mapping[str, tuple[Mapping[date, list[Row]], list[tuple[object, ...]]]] = {
    "nothing": (rows(), []),
    "a corrected close": (rows(("AA", DAYS[1], 11.5)), [("AA", DAYS[1], 11.5, False)]),
    "a row removed": (rows(without=[("BB", DAYS[2])]), [("BB", DAYS[2], 22.0, True)]),
    "a row of a name that was not there": (
        rows(("DD", DAYS[0], 7.0), ("DD", DAYS[3], 8.0)),
        [("DD", DAYS[0], 7.0, False), ("DD", DAYS[3], 8.0, False)],
    ),
    "all three": (
        rows(("AA", DAYS[1], 11.5), ("DD", DAYS[1], 7.0), without=[("CC", DAYS[4])]),
        [("AA", DAYS[1], 11.5, False), ("CC", DAYS[4], 34.0, True), ("DD", DAYS[1], 7.0, False)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_known_from_now_on(case: str, store: DeltaStore, source: Any) -> None:
    """A corrected, removed or added row of an old label is one version known now; what was known before reads as
    before, and the same again is nothing.
    """
    said, expected = CASES[case]
    arrive(store, source(rows()), NOW)
    before = store.read(BARS, as_of=NOW)
    report = arrive(store, source(said))
    assert news(store) == expected
    assert store.read(BARS, as_of=NOW).equals(before)
    assert report.state == ("done" if expected else "empty")
    assert arrive(store, source(said), LATER + timedelta(days=1)).state == "empty"
    known = store.read(CAPTURES, as_of=None).sort("known_at")["known_at"]
    assert known.is_unique().all()
    assert (known.filter(known >= NOW) >= LATER).all()


def test_what_was_taken_back_comes_back(store: DeltaStore, source: Any) -> None:
    """A file that is put right and then as it was again is two restatements, the second in the words of the first
    delivery.
    """
    for n, said in enumerate((rows(), rows(("AA", DAYS[1], 11.5), without=[("BB", DAYS[2])]), rows())):
        arrive(store, source(said), NOW + timedelta(days=n))
    assert news(store, NOW + timedelta(days=1)) == [
        ("AA", DAYS[1], 11.5, False),
        ("AA", DAYS[1], 11.0, False),
        ("BB", DAYS[2], 22.0, True),
        ("BB", DAYS[2], 22.0, False),
    ]
    assert arrive(store, source(rows()), NOW + timedelta(days=9)).state == "empty"


def test_new_labels_are_known_as_declared(store: DeltaStore, source: Any) -> None:
    """A session appended to a file in which an old close was corrected is known when it says so, not with the
    correction.
    """
    said = rows(("AA", DAYS[1], 11.5))
    arrive(store, source({d: r for d, r in rows().items() if d != DAYS[4]}), NOW)
    arrive(store, source(said))
    bars = store.read(BARS, as_of=None)
    assert bars.filter(session=DAYS[4])["known_at"].max() < NOW
    assert news(store) == [("AA", DAYS[1], 11.5, False)]


def test_a_later_capture_has_the_last_word(store: DeltaStore, capture: Callable[..., Capture], captures: Any) -> None:
    """Of a row that a later capture has said otherwise since, an older label changes nothing; and a row that a later
    one still has is not withdrawn.
    """
    first = [("AA", DAYS[0], 10.0), ("BB", DAYS[0], 20.0), ("CC", DAYS[0], 30.0)]
    second = [("AA", DAYS[0], 10.5), ("BB", DAYS[0], 20.0), *((s, DAYS[1], 11.0) for s in ("AA", "BB", "CC"))]
    arrive(store, captures({DAYS[0]: capture(DAYS[0], first), DAYS[1]: capture(DAYS[1], second)}), NOW)
    changed = [("AA", DAYS[0], 9.0), ("CC", DAYS[0], 31.0)]
    arrive(store, captures({DAYS[0]: capture(DAYS[0], changed), DAYS[1]: capture(DAYS[1], second)}))
    assert news(store) == [("CC", DAYS[0], 31.0, False)]


def test_a_delivery_gone_wrong_takes_nothing_back(store: DeltaStore, source: Any) -> None:
    """Where most of a label's rows have vanished, or a delivery is not there any more, what stands stays and the report
    says so.
    """
    arrive(store, source(rows()), NOW)
    report = arrive(store, source(rows(("AA", DAYS[1], 11.5), without=[("BB", DAYS[1]), ("CC", DAYS[1])])))
    assert (report.state, news(store)) == ("refused", [])
    assert "2 of the 3 rows in force" in report.notes[0]


def test_a_symbol_means_what_it_meant(store: DeltaStore, capture: Callable[..., Capture], captures: Any) -> None:
    """A correction of an old session goes to the instrument that had the symbol then, not to the one that has it
    now.
    """
    days = [XNYS.shift(DAYS[0], i) for i in range(30)]
    held = {
        d: capture(
            d,
            [("FF", d, 10.0), ("GG", d, 5.0)] + ([("AA", d, 10.0 + i)] if i in (0, 1, 28, 29) else []),
            {"FF": "Filler", "GG": "Gap"} | ({"AA": f"Name {i // 20}"} if i in (0, 1, 28, 29) else {}),
        )
        for i, d in enumerate(days)
    }
    arrive(store, captures(held), NOW)
    sids = store.read(BARS, as_of=None, where={"symbol": "AA"}).sort("session")["sid"].to_list()
    assert sids[0] == sids[1] != sids[2]
    held[days[1]] = capture(
        days[1],
        [("FF", days[1], 10.0), ("GG", days[1], 5.0), ("AA", days[1], 12.5)],
        {"FF": "Filler", "GG": "Gap", "AA": "Name 0"},
    )
    arrive(store, captures(held))
    later = store.read(BARS, as_of=None).filter(pl.col("known_at") >= NOW)
    assert later.select("sid", "session", "close").rows() == [(sids[0], days[1], 12.5)]
    assert store.read(LISTINGS, as_of=None).filter(pl.col("known_at") >= NOW).is_empty()


def test_adjusted_closes_scaled_anew_say_nothing(
    store: DeltaStore, capture: Callable[..., Capture], captures: Any
) -> None:
    """A history exported again after a later dividend has every adjusted close scaled: the actions that stand stay as
    they are, each once.
    """

    def paired(scale: float) -> Any:
        """Each session with the one before; a dividend of 0.25 at the third."""
        adjusted = {
            d: round(scale * (100.0 + i) * (1.0 if i >= 2 else 1 - 0.25 / 101.0), 6) for i, d in enumerate(DAYS)
        }
        ratio = {d: adjusted[d] / (100.0 + i) for i, d in enumerate(DAYS)}
        made = {}
        for i, d in enumerate(DAYS):
            pair = [("AA", d, 100.0 + i, 100.0 + i)]
            if i:
                pair.append(("AA", DAYS[i - 1], 99.0 + i, (99.0 + i) * ratio[DAYS[i - 1]] / ratio[d]))
            made[d] = capture(d, pair)
        return captures(made)

    arrive(store, paired(1.0), NOW)
    standing = store.read(ACTIONS, as_of=None)
    assert standing.select("session", "kind").rows() == [(DAYS[2], "dividend")]
    assert arrive(store, paired(0.871234)).numbers["captures"] > 0
    assert store.read(ACTIONS, as_of=None).equals(standing)
    assert news(store) == []
