"""Which instrument a symbol means, case by case."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.contract import in_force
from quant_assets.market_data.identity import content_sid
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.known import Known
from quant_assets.tables import ACTIONS, BARS, LISTINGS
from resources.sources.rows import ACTIONS as DECLARED
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
START = date(2016, 3, 7)
FILL = {f"F{i}": f"Filler {i}" for i in range(4)}  # names that are always there, so that no capture is thin
Day = Mapping[str, tuple[str | None, float]]  # symbol to company and close


@pytest.fixture
def store(tmp_path: Path, capture: Callable[..., Any], captures: Any) -> Callable[..., DeltaStore]:
    """Play days (one capture each, with that session and the one before, as both stand that day) and return the
    store.
    """

    def play(
        days: Sequence[Day], *, names: bool = True, actions: Mapping[int, pl.DataFrame] | None = None
    ) -> DeltaStore:
        held = {}
        for i, day in enumerate(days):
            label = XNYS.shift(START, i)
            rows = [(s, label, 10.0) for s in FILL] + [(s, label, close) for s, (_, close) in day.items()]
            if i:
                rows += [(s, XNYS.shift(label, -1), close) for s, (_, close) in days[i - 1].items() if s in day]
            listed = FILL | {s: n for s, (n, _) in day.items()}
            held[label] = capture(label, rows, listed if names else None, actions=(actions or {}).get(i))
        opened = DeltaStore(tmp_path)
        source = captures(held)
        ingest(source, opened, None, NOW, source.labels(), XNYS)
        return opened

    return play


def sids(store: DeltaStore, symbol: str) -> list[int]:
    bars = in_force(store.read(BARS, as_of=None), BARS).filter(pl.col("symbol") == symbol).sort("session")
    return bars["sid"].unique(maintain_order=True).to_list()


def test_an_id_is_content(store: Callable[..., DeltaStore]) -> None:
    """The sid follows from the symbol and the first capture's label, and fits a double exactly."""
    opened = store([{"AA": ("Alpha", 10.0)}])
    assert sids(opened, "AA") == [content_sid("AA", START)]
    assert 0 < content_sid("AA", START) < 2**52


def test_a_new_name_alone_is_the_same_instrument(store: Callable[..., DeltaStore]) -> None:
    """A company that changes its name while its closes agree stays; the listing records the new name."""
    opened = store([{"AA": ("Alpha", 10.0)}, {"AA": ("Omega", 10.1)}])
    assert len(sids(opened, "AA")) == 1
    assert opened.read(LISTINGS, as_of=None).filter(pl.col("symbol") == "AA").sort("known_at")["name"].to_list() == [
        "Alpha",
        "Omega",
    ]


def test_another_close_alone_is_a_restatement(
    store: Callable[..., DeltaStore], capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """A close restated by a fifth under the same name is a new version of the same instrument's bar."""
    after = XNYS.shift(START, 1)
    source = captures(
        {
            START: capture(START, [("AA", START, 10.0)], {"AA": "Alpha"}),
            after: capture(after, [("AA", START, 12.0), ("AA", after, 12.0)], {"AA": "Alpha"}),
        }
    )
    opened = DeltaStore(tmp_path)
    ingest(source, opened, None, NOW, source.labels(), XNYS)
    assert opened.read(BARS, as_of=None, first=START, last=START)["sid"].n_unique() == 1


def test_a_vanished_symbol_is_continued_by_name(store: Callable[..., DeltaStore]) -> None:
    """A new symbol with the name of one that has gone is the same instrument, spelling aside; an action tells."""
    opened = store([{"AA": ("Alpha Inc.", 10.0)}, {"AA": ("Alpha Inc.", 10.1)}, {"NEW": ("ALPHA INC", 10.2)}])
    assert sids(opened, "NEW") == sids(opened, "AA") == [content_sid("AA", START)]
    assert opened.read(ACTIONS, as_of=None)["kind"].to_list() == ["symbol_change"]


def test_a_delisting_turns_out_to_be_a_symbol_change(store: Callable[..., DeltaStore]) -> None:
    """Where the new symbol comes after the delisting was derived, the delisting is withdrawn."""
    opened = store([{"AA": ("Alpha", 10.0)}, *[{}] * 3, {"NEW": ("Alpha", 10.2)}])
    assert sids(opened, "NEW") == [content_sid("AA", START)]
    assert opened.read(ACTIONS, as_of=None).sort("known_at", "withdrawn").select("kind", "withdrawn").rows() == [
        ("delisting", False),
        ("symbol_change", False),
        ("delisting", True),
    ]
    assert opened.read(LISTINGS, as_of=None).filter(pl.col("sid") == content_sid("AA", START)).sort("known_at")[
        "listed"
    ].to_list() == [True, False, True]


def test_share_classes_are_not_merged(store: Callable[..., DeltaStore]) -> None:
    """Two classes under one name: a third symbol continues neither while both are there, and the one that vanished
    afterwards.
    """
    both = {"GA": ("Twins", 10.0), "GB": ("Twins", 20.0)}
    opened = store([both, both | {"GC": ("Twins", 20.0)}])
    assert len({*sids(opened, "GA"), *sids(opened, "GB"), *sids(opened, "GC")}) == 3


def test_an_ambiguous_name_continues_nothing(store: Callable[..., DeltaStore]) -> None:
    """Where two of one name have gone and no common session tells which, a third symbol is a new instrument."""
    opened = store([{"GA": ("Twins", 10.0), "GB": ("Twins", 20.0)}, {}, {"GC": ("Twins", 20.0)}])
    assert sids(opened, "GC") == [content_sid("GC", XNYS.shift(START, 2))]


def test_a_company_moves_on_while_its_symbol_is_taken(
    capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """AA becomes BB on the day on which AA begins to mean another company: the old instrument goes on as BB and is
    neither withdrawn nor delisted.
    """
    after = XNYS.shift(START, 1)
    source = captures(
        {
            START: capture(START, [("AA", START, 10.0)], {"AA": "Alpha"}),
            after: capture(
                after,
                [("AA", START, 55.0), ("AA", after, 56.0), ("BB", START, 10.0), ("BB", after, 10.1)],
                {"AA": "Other", "BB": "Alpha"},
            ),
        }
    )
    opened = DeltaStore(tmp_path)
    ingest(source, opened, None, NOW, source.labels(), XNYS)
    assert sids(opened, "BB") == [content_sid("AA", START)]
    assert sids(opened, "AA") == [content_sid("AA", after)]
    assert opened.read(ACTIONS, as_of=None)["kind"].to_list() == ["symbol_change"]
    assert not opened.read(BARS, as_of=None)["withdrawn"].any()


def test_a_first_capture_sent_again_does_not_overrule_a_later_one(
    capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """A first capture delivered again, with a name added, after its symbol had changed hands: what it says as before
    stays withdrawn, for a later capture said otherwise, and the name is new.
    """
    after, day = XNYS.shift(START, 1), ("AA", START, 10.0)
    opened = DeltaStore(tmp_path)
    for held in (
        {
            START: capture(START, [day], {"AA": "Alpha"}),
            after: capture(after, [("AA", START, 55.0), ("AA", after, 56.0)], {"AA": "Other"}),
        },
        {START: capture(START, [day, ("BB", START, 1.0)], {"AA": "Alpha", "BB": "Beta"})},
    ):
        ingest(captures(held), opened, None, NOW, sorted(held), XNYS)
    versions = opened.read(BARS, as_of=None, first=START, last=START, where={"sid": content_sid("AA", START)}).sort(
        "known_at"
    )
    assert versions.select("close", "withdrawn").rows() == [(10.0, False), (10.0, True)]
    added = opened.read(BARS, as_of=None, first=START, last=START, where={"symbol": "BB"})
    assert added.select("close", "withdrawn").rows() == [(1.0, False)]


def test_the_last_session_is_found_wherever_it_lies(store: Callable[..., DeltaStore]) -> None:
    """An instrument's last bar before the window is found in the store, also when an older session is in memory
    already.
    """
    opened = store([{"AA": ("Alpha", 10.0)}] * 3 + [{}] * 30)
    known = Known(opened, "test", XNYS)
    known.day(START)
    assert known.last_session(content_sid("AA", START)) == XNYS.shift(START, 2)


def test_of_two_classes_renamed_each_finds_its_own(
    store: Callable[..., DeltaStore], capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """Both classes change their symbols on one day: the closes of the common session tell which is which."""
    after, names = XNYS.shift(START, 1), {"OA": "Twins", "OB": "Twins"}
    source = captures(
        {
            START: capture(START, [("OA", START, 10.0), ("OB", START, 20.0)], names),
            after: capture(
                after,
                [("NA", START, 10.0), ("NA", after, 10.1), ("NB", START, 20.0), ("NB", after, 20.1)],
                {"NA": "Twins", "NB": "Twins"},
            ),
        }
    )
    opened = DeltaStore(tmp_path)
    ingest(source, opened, None, NOW, source.labels(), XNYS)
    assert sids(opened, "NA") == [content_sid("OA", START)]
    assert sids(opened, "NB") == [content_sid("OB", START)]


def test_a_ticker_comes_back_as_somebody_else(store: Callable[..., DeltaStore]) -> None:
    """After more than twenty sessions under another name it is another instrument; under its own name the same, and its
    delisting is withdrawn.
    """
    opened = store(
        [{"AA": ("Alpha", 10.0), "BB": ("Beta", 10.0)}, *[{}] * 21, {"AA": ("Somebody", 50.0), "BB": ("Beta", 11.0)}]
    )
    assert len(sids(opened, "AA")) == 2
    assert len(sids(opened, "BB")) == 1
    delisted = in_force(opened.read(ACTIONS, as_of=None), ACTIONS).filter(pl.col("kind") == "delisting")
    assert delisted["sid"].to_list() == [content_sid("AA", START)]


def test_a_listed_name_without_trades_is_not_delisted(
    store: Callable[..., DeltaStore], capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """A halted name that the vendor still lists keeps its listing; two absent sessions are too few in any case."""
    labels = [XNYS.shift(START, i) for i in range(6)]
    held = {
        d: capture(d, [(s, d, 10.0) for s in FILL] + ([("AA", d, 10.0)] if i == 0 else []), FILL | {"AA": "Alpha"})
        for i, d in enumerate(labels)
    }
    opened = DeltaStore(tmp_path)
    ingest(captures(held), opened, None, NOW, labels, XNYS)
    assert opened.read(ACTIONS, as_of=None).is_empty()


def delisting(symbol: str, ex: date) -> pl.DataFrame:
    """What a vendor declares."""
    row = {"symbol": symbol, "session": ex, "kind": "delisting", "value": -0.3, "file": "actions.csv", "line": 2}
    return pl.DataFrame([dict.fromkeys(DECLARED) | row], schema=DECLARED)


@pytest.mark.parametrize("names", [True, False])
def test_a_ticker_may_be_taken_days_after_a_declared_delisting(store: Callable[..., DeltaStore], names: bool) -> None:
    """Where the vendor declared the end, a bar under that symbol a few sessions later is of another instrument, unless
    it bears the old name.
    """
    ex = XNYS.shift(START, 1)
    both = pl.concat([delisting("AA", ex), delisting("BB", ex)])
    said = dict.fromkeys(range(4), both.clear()) | {1: both}
    opened = store(
        [{"AA": ("Alpha", 10.0), "BB": ("Beta", 10.0)}, {}, {}, {"AA": ("Other", 44.0), "BB": ("Beta", 10.0)}],
        names=names,
        actions=said,
    )
    assert (len(sids(opened, "AA")), len(sids(opened, "BB"))) == (2, 1 if names else 2)


def test_a_declared_delisting_stands_alone(store: Callable[..., DeltaStore]) -> None:
    """Where the vendor declares the delisting with its proceeds, none is derived, and the name is listed no more."""
    ex, said = XNYS.shift(START, 1), delisting("AA", XNYS.shift(START, 1))
    opened = store(
        [{"AA": ("Alpha", 10.0)}, *[{}] * 4],
        actions={0: said.clear(), 1: said, 2: said, 3: said.clear(), 4: said.clear()},
    )
    assert opened.read(ACTIONS, as_of=None).select("session", "kind", "value", "origin", "confidence").rows() == [
        (ex, "delisting", -0.3, "declared", 1.0)
    ]
    assert opened.read(LISTINGS, as_of=None).filter(pl.col("symbol") == "AA").sort("known_at")["listed"].to_list() == [
        True,
        False,
    ]
