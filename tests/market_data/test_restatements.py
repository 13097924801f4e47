"""What counts as a change after the fact, how the tables read as if it had been known in time, and who is told."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import Table, in_force
from quant_assets.market_data.datasets import datasets
from quant_assets.market_data.restatements import CHANGES, DERIVING, Selection, as_if_known, changes, seen, tell
from quant_assets.tables import ACTIONS, BARS, LISTINGS
from quant_assets.vendor_tables import FX_RATES
from resources.tables.overlay import Overlay
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
DAY = date(2024, 3, 5)
BEFORE, AFTER = CUTS.of(DAY) - timedelta(hours=1), CUTS.of(DAY) + timedelta(hours=3)
LATER = AFTER + timedelta(days=2)
ORIGIN = {"source": "test", "capture": DAY, "file": "a.csv", "line": 2}


class Told:
    """A Notifier that remembers."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port."""
        self.said.append((severity, subject, body))


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(tmp_path)


def put(store: DeltaStore, table: Table, known_at: datetime, **row: Any) -> None:
    """Append one version."""
    stamp = {**ORIGIN, "known_at": known_at, "declared_known_at": known_at, "withdrawn": False, "session": DAY}
    full = {c: {**stamp, **row}.get(c) for c in table.schema}
    store.append(table, pl.DataFrame([full], schema=dict(table.schema)))


def bar(
    store: DeltaStore, known_at: datetime, close: float = 10.0, *, sid: int = 1, withdrawn: bool = False, **more: Any
) -> None:
    """Append a version of the bar of `DAY`."""
    put(
        store,
        BARS,
        known_at,
        sid=sid,
        symbol=f"S{sid}",
        **{**dict.fromkeys(("open", "high", "low", "close"), close), "volume": 100, **more},
        withdrawn=withdrawn,
    )


Version = tuple[datetime, float | None]  # None: withdrawn
CASES: Sequence[tuple[str, Sequence[Version], Sequence[tuple[str, str | None, str | None]], Sequence[Version]]] = [
    # name, versions in the order of knowledge, changes (newest first; closes old and new), how it reads as if known in
    # time
    ("one version, in time", [(BEFORE, 10.0)], [], [(BEFORE, 10.0)]),
    ("restated", [(BEFORE, 10.0), (AFTER, 11.0)], [("restated", "10.0", "11.0")], [(BEFORE, 11.0)]),
    ("the same again", [(BEFORE, 10.0), (AFTER, 10.0)], [], [(BEFORE, 10.0), (AFTER, 10.0)]),
    (
        "restated twice",
        [(BEFORE, 10.0), (AFTER, 11.0), (LATER, 12.0)],
        [("restated", "11.0", "12.0"), ("restated", "10.0", "11.0")],
        [(BEFORE, 12.0)],
    ),
    (
        "restated and taken back",
        [(BEFORE, 10.0), (AFTER, 11.0), (LATER, 10.0)],
        [("restated", "11.0", "10.0"), ("restated", "10.0", "11.0")],
        [(BEFORE, 10.0)],
    ),
    ("withdrawn", [(BEFORE, 10.0), (AFTER, None)], [("withdrawn", "10.0", None)], [(BEFORE, None)]),
    (
        "withdrawn and returned",
        [(BEFORE, 10.0), (AFTER, None), (LATER, 10.0)],
        [("returned", None, "10.0"), ("withdrawn", "10.0", None)],
        [(BEFORE, 10.0)],
    ),
    ("late", [(AFTER, 10.0)], [("late", None, "10.0")], [(CUTS.of(DAY), 10.0)]),
    (
        "late, then restated",
        [(AFTER, 10.0), (LATER, 11.0)],
        [("restated", "10.0", "11.0"), ("late", None, "10.0")],
        [(CUTS.of(DAY), 11.0)],
    ),
]


@pytest.mark.parametrize(("versions", "told", "reads"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_counts_as_a_change(
    store: DeltaStore,
    versions: Sequence[Version],
    told: Sequence[tuple[str, str | None, str | None]],
    reads: Sequence[Version],
):
    """Each sequence of versions gives the changes of the table above, and over the overlay the versions that were
    always right.
    """
    for known_at, close in versions:
        bar(store, known_at, close or 10.0, withdrawn=close is None)
    found = changes(store, CUTS, Selection())
    assert found.schema == pl.Schema(CHANGES)
    closes = [
        tuple(None if said is None else str(json.loads(said)["close"]) for said in (r["old"], r["new"]))
        for r in found.iter_rows(named=True)
    ]
    assert [(kind, *c) for kind, c in zip(found["kind"], closes, strict=True)] == list(told)
    rows = Overlay(store, as_if_known(store, CUTS, Selection())).read(BARS, as_of=None)
    assert [(k, None if w else c) for k, c, w in rows.select("known_at", "close", "withdrawn").iter_rows()] == list(
        reads
    )


def test_only_what_differs_is_told(store: DeltaStore):
    """Old and new hold the columns that changed and no other, whatever file and line the version came from."""
    bar(store, BEFORE)
    bar(store, AFTER, volume=101, line=7)
    (change,) = changes(store, CUTS, Selection()).iter_rows(named=True)
    assert (change["old"], change["new"]) == ('{"volume": 100}', '{"volume": 101}')
    assert (change["was_known_at"], change["known_at"]) == (BEFORE, AFTER)


@pytest.mark.parametrize(
    ("selection", "sids"),
    [
        (Selection(), [1, 2, 3]),
        (Selection(since=BEFORE), [1, 2, 3]),
        (Selection(since=AFTER), [3]),
        (Selection(until=AFTER), [1, 2]),
        (Selection(sids=(2, 3)), [2, 3]),
        (Selection(since=BEFORE, until=AFTER, sids=(2,)), [2]),
        (Selection(first=DAY + timedelta(days=1)), []),
        (Selection(last=DAY, sids=(9,)), []),
    ],
)
def test_the_selection(store: DeltaStore, selection: Selection, sids: Sequence[int]):
    """A change belongs to the window in which it became known, to its event and its name; both bounds of events count,
    of knowledge the later one.
    """
    for sid, known_at in ((1, AFTER), (2, AFTER), (3, LATER)):
        bar(store, BEFORE, sid=sid)
        bar(store, known_at, 11.0, sid=sid)
    assert sorted(changes(store, CUTS, selection)["sid"]) == list(sids)
    assert sorted(f.shown["sid"].to_list() for f in as_if_known(store, CUTS, selection).values()) == (
        [list(sids)] if sids else []
    )


def test_an_earlier_change_that_is_not_meant_stays(store: DeltaStore):
    """The version in force before the first one selected is the one whose time the last one selected takes."""
    for known_at, close in ((BEFORE, 10.0), (AFTER, 11.0), (LATER, 12.0)):
        bar(store, known_at, close)
    overlay = Overlay(store, as_if_known(store, CUTS, Selection(since=AFTER)))
    assert overlay.read(BARS, as_of=None).select("known_at", "close").rows() == [(BEFORE, 10.0), (AFTER, 12.0)]
    assert in_force(overlay.read(BARS, as_of=AFTER), BARS)["close"].to_list() == [12.0]


def test_the_sessions_that_would_have_seen_it(store: DeltaStore):
    """From the first cut after what is changed was known to the last one before the change was; none where no cut lies
    between.
    """
    bar(store, BEFORE)
    bar(store, BEFORE + timedelta(minutes=5), 11.0)
    assert seen(CUTS, as_if_known(store, CUTS, Selection())) is None
    bar(store, LATER, 12.0, sid=2)
    bar(store, LATER, 12.0, sid=1)
    assert seen(CUTS, as_if_known(store, CUTS, Selection())) == (DAY, date(2024, 3, 7))


def test_an_ending_shown_by_absence_is_not_late(store: DeltaStore):
    """A delisting that was derived from missing bars comes after its session by nature; one that a vendor declares late
    is late.
    """
    for sid, origin in ((1, "derived"), (2, "vendor")):
        put(store, ACTIONS, AFTER, sid=sid, kind="delisting", value=0.0, origin=origin, confidence=1.0)
    found = changes(store, CUTS, Selection())
    assert (found["sid"].to_list(), found["kind"].to_list(), found["row"].to_list()) == ([2], ["late"], ["delisting"])


def test_every_table_of_vendors_is_watched(store: DeltaStore):
    """Tables that name no instrument are told of too, and left out where a name is asked for; a listing's name comes
    with its changes.
    """
    assert {BARS.name, ACTIONS.name, LISTINGS.name, FX_RATES.name} <= {
        t.name for t in (*DERIVING, *(d.table for d in datasets()))
    }
    for known_at, rate in ((BEFORE, 1.08), (AFTER, 1.09)):
        put(store, FX_RATES, known_at, base="EUR", quote="USD", rate=rate)
    put(store, LISTINGS, BEFORE, sid=1, symbol="ONE", listed=True)
    put(store, LISTINGS, AFTER, sid=1, symbol="UNO", listed=True)
    found = changes(store, CUTS, Selection())
    assert set(found.select("table", "row", "symbol").rows()) == {
        ("fx_rates", "EUR USD", None),
        ("listings", "listings", "UNO"),
    }
    assert changes(store, CUTS, Selection(symbols=("UNO",), sids=(1,)))["table"].to_list() == ["listings"]


def test_somebody_is_told(store: DeltaStore):
    """Prices that changed are a warning with the values, volumes alone a note; late rows and old news are none."""
    told = Told()
    bar(store, AFTER, sid=4)  # late
    assert (tell(store, CUTS, told, None), told.said) == (0, [])
    bar(store, BEFORE, sid=1)
    bar(store, AFTER, sid=1, volume=101)
    assert tell(store, CUTS, told, BEFORE) == 1
    bar(store, LATER, 11.0, sid=1)
    assert tell(store, CUTS, told, AFTER) == 1
    assert tell(store, CUTS, told, LATER) == 0
    (note, warning) = told.said
    assert (note[0], warning[0]) == ("info", "warning")
    assert "only volumes changed" in note[2]
    for word in ("S1", str(DAY), "11.0", "quant restatement show"):
        assert word in warning[2]
    since = datetime.fromisoformat(warning[2].rpartition("--since ")[2].split()[0]).replace(tzinfo=UTC)
    assert since == AFTER
