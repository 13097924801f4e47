"""What a person does to data is a later row and on record; what a vendor repeats changes nothing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force
from quant_assets.errors import ContractViolation, DataError
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.repairs import drop, explained, find, listed, release, repair
from quant_assets.records import Act
from quant_assets.tables import BARS, QUARANTINE
from resources.ledger.open import Ledger, open_ledger
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
DAYS = [XNYS.shift(date(2016, 3, 7), i) for i in range(4)]
NOW = datetime(2016, 4, 1, tzinfo=UTC)
WHO: dict[str, Any] = {"act": Act(by="ada", reason="asked the vendor", at=NOW)}


@pytest.fixture
def sent(capture: Callable[..., Any], captures: Any) -> Any:
    """Four captures of three names; in the second, two rows say different things about one of them; the last repeats
    the one before.
    """
    names = [("AA", 10.0), ("BB", 20.0), ("CC", 30.0)]
    held = {d: capture(d, [(n, d, c + i) for n, c in names]) for i, d in enumerate(DAYS)}
    held[DAYS[1]] = capture(
        DAYS[1], [("AA", DAYS[1], 11.0), ("BB", DAYS[1], 21.0), ("CC", DAYS[1], 31.0), ("CC", DAYS[1], 99.0)]
    )
    held[DAYS[3]] = capture(DAYS[3], [("AA", DAYS[2], 12.0), *((n, DAYS[3], c + 3) for n, c in names)])
    return captures(held)


@pytest.fixture
def home(tmp_path: Path, sent: Any) -> tuple[DeltaStore, Ledger]:
    """The first three captures, taken in; the last cut that was read is the third session's."""
    store, ledger = DeltaStore(tmp_path / "tables"), open_ledger(tmp_path)
    ingest(sent, store, None, NOW, DAYS[:3], XNYS)
    ledger.knowledge.note_cut(CUTS.of(DAYS[2]))
    return store, ledger


def bar(store: DeltaStore, symbol: str, session: date, as_of: datetime | None = None) -> list[float]:
    """The close in force."""
    return (
        in_force(store.read(BARS, as_of=as_of, first=session, last=session), BARS)
        .filter(pl.col("symbol") == symbol)["close"]
        .to_list()
    )


def test_a_released_row_is_known_from_then_on(home: tuple[DeltaStore, Ledger]) -> None:
    """It stands with the vendor's file and line; whoever asks as of before does not see it; the act is in the audit; it
    is held no more.
    """
    store, ledger = home
    held = listed(store.read(QUARANTINE, as_of=None))
    assert held["reason"].to_list() == ["CONFLICT", "CONFLICT"]
    right = held.filter(pl.col("content").str.contains("31"))["id"].item()
    release(store, ledger.knowledge, ledger.audit, right, now=NOW, **WHO)
    assert bar(store, "CC", DAYS[1]) == [31.0]
    assert bar(store, "CC", DAYS[1], NOW - timedelta(microseconds=1)) == []
    row = (
        in_force(store.read(BARS, as_of=None, first=DAYS[1], last=DAYS[1]), BARS).filter(symbol="CC").row(0, named=True)
    )
    assert (row["file"], row["line"]) == tuple(held.filter(id=right).select("file", "line").row(0))
    assert (
        row["sid"]
        == in_force(store.read(BARS, as_of=None, first=DAYS[0], last=DAYS[0]), BARS).filter(symbol="CC")["sid"].item()
    )
    assert listed(store.read(QUARANTINE, as_of=None))["id"].to_list() == [i for i in held["id"] if i != right]
    assert find(store, right)["state"] == "released"
    assert [(a["act"], a["subject"], a["by"]) for a in ledger.audit.acts()] == [
        ("release quarantined row", right, "ada")
    ]


def test_an_act_is_done_once(home: tuple[DeltaStore, Ledger]) -> None:
    """A row that was released or dropped can be neither again, and nothing is written by the attempt."""
    store, ledger = home
    one, two = listed(store.read(QUARANTINE, as_of=None))["id"]
    release(store, ledger.knowledge, ledger.audit, one, now=NOW, **WHO)
    drop(store, ledger.knowledge, ledger.audit, two, now=NOW, **WHO)
    versions = [store.version(t) for t in (BARS, QUARANTINE)]
    for act in (release, drop):
        for row in (one, two):
            with pytest.raises(DataError, match="by ada already"):
                act(store, ledger.knowledge, ledger.audit, row, now=NOW, **WHO)
    assert [store.version(t) for t in (BARS, QUARANTINE)] == versions
    assert len(ledger.audit.acts()) == 2


def test_a_release_behind_a_cut_is_known_after_it(home: tuple[DeltaStore, Ledger]) -> None:
    """What a decision has read does not change: the row is known after the last cut, whatever the clock says."""
    store, ledger = home
    release(
        store,
        ledger.knowledge,
        ledger.audit,
        listed(store.read(QUARANTINE, as_of=None))["id"][0],
        now=CUTS.of(DAYS[1]),
        **WHO,
    )
    assert bar(store, "CC", DAYS[1], CUTS.of(DAYS[2])) == []
    assert len(bar(store, "CC", DAYS[1])) == 1


def test_what_is_no_row_cannot_be_released(home: tuple[DeltaStore, Ledger]) -> None:
    """A held line that is no possible bar of a known name is refused with what it says, and stays held."""
    store, ledger = home
    cases = (
        ("CC,2016-03-08,1,2", ContractViolation, "is no row of bars"),
        ("CC,2016-03-08,n/a,31,31,31,100,", ContractViolation, "conversion"),
        ("CC,2016-03-08,31,30,31,31,100,", ContractViolation, "no possible bar"),
        ("ZZ,2016-03-08,31,31,31,31,100,", DataError, "means no instrument"),
    )
    for line, (content, error, why) in enumerate(cases):
        row = dict.fromkeys(QUARANTINE.schema) | {
            "source": "hand",
            "capture": DAYS[1],
            "file": "f",
            "line": line,
            "dataset": "bars",
            "symbol": "CC",
            "reason": "shape",
            "content": content,
            "state": "held",
        }
        store.append(QUARANTINE, pl.DataFrame([row | {"known_at": CUTS.of(DAYS[1])}], schema=dict(QUARANTINE.schema)))
        (held,) = listed(store.read(QUARANTINE, as_of=None)).filter(file="f", line=line)["id"]
        with pytest.raises(error, match=why):
            release(store, ledger.knowledge, ledger.audit, held, now=NOW, **WHO)
        assert find(store, held)["state"] == "held"
    assert ledger.audit.acts() == []


def test_what_a_later_capture_brought_needs_no_release(
    home: tuple[DeltaStore, Ledger], capture: Callable[..., Any], captures: Any
) -> None:
    """A row that stands by now is told so, and stays held until it is dropped."""
    store, ledger = home
    ingest(
        captures({DAYS[3]: capture(DAYS[3], [("CC", DAYS[1], 31.0), ("CC", DAYS[3], 33.0)])}),
        store,
        None,
        NOW,
        [DAYS[3]],
        XNYS,
    )
    (right,) = listed(store.read(QUARANTINE, as_of=None)).filter(pl.col("content").str.contains("31"))["id"]
    with pytest.raises(DataError, match="from a later delivery"):
        release(store, ledger.knowledge, ledger.audit, right, now=NOW, **WHO)
    assert find(store, right)["state"] == "held"


def test_a_held_row_is_explained(home: tuple[DeltaStore, Ledger]) -> None:
    """In words, with the row that contradicts it."""
    store, _ = home
    one, two = listed(store.read(QUARANTINE, as_of=None))["id"]
    why, others = explained(find(store, one[:8]), store)
    assert "contradict each other" in why
    assert others["id"].to_list() == [two]
    with pytest.raises(DataError, match="quant quarantine list"):
        find(store, "nothing")


def test_a_repair_is_a_later_row(home: tuple[DeltaStore, Ledger], sent: Any) -> None:
    """The bar says the right thing from then on, and before it what it said; the vendor's repetition of its error
    changes nothing, its own correction does.
    """
    store, ledger = home
    was, now = repair(
        store, ledger.knowledge, ledger.audit, "AA", DAYS[2], {"close": 12.5, "high": 12.5}, now=NOW, **WHO
    )
    assert (was["close"].item(), now["close"].item(), now["source"].item()) == (12.0, 12.5, "repair")
    assert bar(store, "AA", DAYS[2]) == [12.5]
    assert bar(store, "AA", DAYS[2], NOW - timedelta(microseconds=1)) == [12.0]
    later = NOW + timedelta(days=30)
    ingest(sent, store, NOW + timedelta(days=1), later, DAYS, XNYS)
    assert bar(store, "AA", DAYS[2]) == [12.5]
    with pytest.raises(DataError, match="already has these values"):
        repair(store, ledger.knowledge, ledger.audit, "AA", DAYS[2], {"close": 12.5}, now=later, **WHO)
    assert [a["act"] for a in ledger.audit.acts()] == ["repair bar"]


def test_a_vendor_that_corrects_itself_is_believed(
    home: tuple[DeltaStore, Ledger], capture: Callable[..., Any], captures: Any
) -> None:
    """After a repair, a capture that says a third thing is in force."""
    store, ledger = home
    repair(store, ledger.knowledge, ledger.audit, "AA", DAYS[2], {"close": 12.5, "high": 12.5}, now=NOW, **WHO)
    corrected = captures({DAYS[3]: capture(DAYS[3], [("AA", DAYS[2], 12.4), ("AA", DAYS[3], 13.0)])})
    ingest(corrected, store, NOW + timedelta(days=1), NOW + timedelta(days=2), [DAYS[3]], XNYS)
    assert bar(store, "AA", DAYS[2]) == [12.4]


def test_a_bar_that_should_not_be_is_withdrawn(home: tuple[DeltaStore, Ledger]) -> None:
    """Without values the repair says that there is no bar; one that is impossible, or of nothing, is refused."""
    store, ledger = home
    repair(store, ledger.knowledge, ledger.audit, "BB", DAYS[0], {}, now=NOW, **WHO)
    assert bar(store, "BB", DAYS[0]) == []
    with pytest.raises(DataError, match="no bar in force"):
        repair(store, ledger.knowledge, ledger.audit, "BB", DAYS[0], {"close": 1.0}, now=NOW, **WHO)
    with pytest.raises(ContractViolation, match="no possible bar"):
        repair(store, ledger.knowledge, ledger.audit, "BB", DAYS[2], {"close": -1.0}, now=NOW, **WHO)
    with pytest.raises(DataError, match="cannot be set"):
        repair(store, ledger.knowledge, ledger.audit, "BB", DAYS[2], {"symbol": 1.0}, now=NOW, **WHO)
