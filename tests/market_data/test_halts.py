"""A halt is no death: what ends a name that trades no more, and what becomes of it when it trades again."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.calendars import calendar
from quant_assets.contract import in_force
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.ingest import ingest
from quant_assets.tables import ACTIONS, BARS, LISTINGS
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
START = date(2016, 3, 7)
FILL = [f"F{i}" for i in range(5)]
Play = Callable[..., DeltaStore]


@pytest.fixture
def play(capture: Callable[..., Any], captures: Any, tmp_path: Path) -> Play:
    """Take in so many sessions of five names and of AA, which trades in `there` (positions to closes); the vendor lists
    nobody.
    """

    def run(
        sessions: int,
        there: Mapping[int, float],
        evidence: Evidence = EVIDENCE,
        *,
        each: bool = False,
        thin: range = range(0),
        actions: Mapping[int, pl.DataFrame] | None = None,
    ) -> DeltaStore:
        days = [XNYS.shift(START, i) for i in range(sessions)]
        held = {
            d: capture(
                d,
                [(s, d, 10.0) for s in (FILL[:2] if i in thin else FILL)]
                + ([("AA", d, there[i])] if i in there else []),
                actions=(actions or {}).get(i),
            )
            for i, d in enumerate(days)
        }
        store = DeltaStore(tmp_path / str(each))
        for labels in [[d] for d in days] if each else [days]:
            ingest(captures(held), store, None, NOW, labels, XNYS, evidence=evidence)
        return store

    return run


def of_aa(store: DeltaStore) -> tuple[list[int], list[tuple[object, ...]], list[bool]]:
    """The instruments that traded as AA, the actions of them (position of ex, kind, withdrawn), and whether they were
    listed, in the order of knowledge.
    """
    sids = store.read(BARS, as_of=None, where={"symbol": "AA"})["sid"].unique().to_list()
    acted = store.read(ACTIONS, as_of=None).sort("known_at", "withdrawn")
    at = [(XNYS.index(s) - XNYS.index(START), k, w) for s, k, w in acted.select("session", "kind", "withdrawn").rows()]
    listed = store.read(LISTINGS, as_of=None).filter(pl.col("sid").is_in(sids)).sort("known_at")["listed"].to_list()
    return sids, at, listed


@pytest.mark.parametrize("halt", [4, 21, 59])
def test_a_name_that_trades_again_within_the_declared_time_never_ended(play: Play, halt: int) -> None:
    """Sessions without a bar, fewer than are declared: the instrument is the same, still listed, and no delisting is
    made up.
    """
    sids, acted, listed = of_aa(play(halt + 4, {0: 10.0, 1: 10.0, halt + 2: 3.0, halt + 3: 3.0}))
    assert (len(sids), acted, listed) == (1, [], [True])


def test_an_absence_as_long_as_declared_ends_a_name(play: Play) -> None:
    """The delisting is ex the session after the last bar, and known with the capture that completes the declared
    number.
    """
    store = play(8, {0: 10.0, 1: 10.0}, Evidence(delisted_after=5))
    assert of_aa(store)[1:] == ([(2, "delisting", False)], [True, False])
    row = store.read(ACTIONS, as_of=None).row(0, named=True)
    assert (row["capture"], row["origin"], row["confidence"]) == (XNYS.shift(START, 6), "derived", 0.5)


def test_a_name_that_had_ended_and_reopens_is_listed_again(play: Play) -> None:
    """The delisting made of a long absence is withdrawn by a later row, the instrument is the one it was; by range and
    day by day alike.
    """
    there = {0: 10.0, 1: 10.0, 27: 3.0, 28: 3.0}
    stores = [play(29, there, Evidence(delisted_after=5), each=each) for each in (False, True)]
    assert of_aa(stores[0]) == (
        [of_aa(stores[0])[0][0]],
        [(2, "delisting", False), (2, "delisting", True)],
        [True, False, True],
    )
    for table in (BARS, ACTIONS, LISTINGS):
        assert_frame_equal(*(s.read(table, as_of=None) for s in stores), check_exact=True)


def test_a_capture_may_tell_of_several_sessions_of_a_name_that_was_silent(
    capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """A name without a bar for some captures comes back with two sessions in one: both are taken in."""
    days = [XNYS.shift(START, i) for i in range(8)]
    back = [("AA", days[6], 9.0), ("AA", days[7], 9.0)]
    held = {
        d: capture(d, [(s, d, 10.0) for s in FILL] + ([("AA", d, 10.0)] if i == 0 else back if i == 7 else []))
        for i, d in enumerate(days)
    }
    store = DeltaStore(tmp_path)
    ingest(captures(held), store, None, NOW, days, XNYS, evidence=Evidence(delisted_after=7))
    assert store.read(BARS, as_of=None, where={"symbol": "AA"}).height == 3


def test_after_a_year_a_symbol_without_a_name_is_another_instrument(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the vendor gives no names, and absence alone ended the name, it is taken for another one after a year
    (here: 20 sessions), not before.
    """
    monkeypatch.setattr("quant_assets.market_data.identity.REOPENS_WITHIN", 20)
    there = {0: 10.0, 1: 10.0, 23: 50.0}
    assert len(of_aa(play(24, there, Evidence(delisted_after=5)))[0]) == 2


def test_thin_captures_say_nothing_about_absence(play: Play) -> None:
    """Captures that lack half of the names count for nobody's absence; as many good ones as are declared do."""
    store = play(9, dict.fromkeys(range(3), 10.0), Evidence(delisted_after=3), thin=range(3, 6))
    assert of_aa(store)[1] == [(3, "delisting", False)]
    assert store.read(ACTIONS, as_of=None)["capture"].item() == XNYS.shift(START, 8)


def test_a_market_that_grew_was_not_thin_before(capture: Callable[..., Any], captures: Any, tmp_path: Path) -> None:
    """Names listed later make no thin session of the earlier ones: an absence is counted from its beginning."""
    days = [XNYS.shift(START, i) for i in range(32)]
    there = [[*FILL, *(["AA"] if i < 2 else []), *(["G0", "G1", "G2"] if i >= 8 else [])] for i in range(32)]
    held = {d: capture(d, [(s, d, 10.0) for s in names]) for d, names in zip(days, there, strict=True)}
    store = DeltaStore(tmp_path)
    ingest(captures(held), store, None, NOW, days, XNYS, evidence=Evidence(delisted_after=30))
    ended = store.read(ACTIONS, as_of=None)
    assert ended.select("session", "kind", "capture").rows() == [(days[2], "delisting", days[31])]


def test_a_declared_delisting_ends_the_listing_at_once(play: Play) -> None:
    """What is declared is not waited for: listed no more with the first capture in which it does not trade, and nothing
    is derived beside it.
    """
    row = {
        "symbol": "AA",
        "session": XNYS.shift(START, 2),
        "kind": "delisting",
        "value": -0.3,
        "file": "a.csv",
        "line": 2,
    }
    schema = {
        c: ACTIONS.schema[c] for c in ("session", "kind", "numerator", "denominator", "cash", "value", "counterpart")
    }
    said = pl.DataFrame([row], schema={"symbol": pl.String, **schema, "file": pl.String, "line": pl.Int64})
    acted = {i: said if i == 1 else said.clear() for i in range(4)}
    store = play(4, {0: 10.0, 1: 10.0}, actions=acted)
    assert in_force(store.read(ACTIONS, as_of=None), ACTIONS).select("kind", "origin", "value").rows() == [
        ("delisting", "declared", -0.3)
    ]
    ended = store.read(LISTINGS, as_of=None).filter(~pl.col("listed"))
    assert ended.select("symbol", "capture").rows() == [("AA", XNYS.shift(START, 2))]
