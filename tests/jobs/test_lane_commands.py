"""Every command looks at every lane, or asks which one is meant."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from desk.notebook import Notebook
from quant_assets.contract import in_force
from quant_assets.market_data.restatements import Selection, changes
from quant_assets.tables import AUDITS, BARS, CALENDAR_CHANGES, DECISIONS
from tests.jobs.commands import Quant, fails
from tests.jobs.two_venues import CHRISTMAS

EVE = date(2025, 12, 22)  # decided last in both; London has read further
WHO = ("--by", "ops", "--reason", "seen")


@pytest.fixture(scope="module")
def home(christmas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this module share; each looks at what it changed itself."""
    return Path(shutil.copytree(christmas.with_name("christmas-22"), tmp_path_factory.mktemp("commands") / "home"))


@pytest.fixture
def asked(home: Path, at: Callable[[Path], Quant]) -> Quant:
    return at(home)


def opened(home: Path) -> Notebook:
    return Notebook(home, CHRISTMAS)


def both(home: Path) -> str:
    """A symbol with a bar of that session in both markets."""
    there = [
        set(in_force(w.store.read(BARS, as_of=None, first=EVE, last=EVE), BARS)["symbol"]) for w in opened(home).lanes
    ]
    return min(there[0] & there[1])


def test_today_names_the_earliest_of_all_lanes(asked: Quant) -> None:
    """London decides at noon on Christmas Eve, before New York does."""
    answer: Any = asked("today", "--json").json
    assert answer["next"]["text"] == "2025-12-23 of XLON is the next session to be run"
    names = {a["name"] for a in answer["stages"]}
    assert {"data", "XLON data", "decisions_small", "XLON decisions_late"} <= names


def test_check_tries_each_source_and_each_schedule(asked: Quant) -> None:
    found: Any = asked("check", "--json").json
    rows = found if isinstance(found, list) else found["findings"]
    named = {(row["what"], row["name"]) for row in rows}
    assert {
        ("source", "simulated"),
        ("source", "simulated of XLON"),
        ("when", "daily"),
        ("when", "daily of XLON"),
    } <= named
    (when,) = (row["says"] for row in rows if row["name"] == "daily of XLON")
    assert "Europe/London" in when


def test_an_audit_covers_each_lane_that_reads_the_set(asked: Quant, home: Path) -> None:
    """One row a law, with what was tried in New York and in London."""
    answer = asked("features", "audit", "price_volume", "--from", "2025-12-15", "--to", str(EVE))
    assert answer.code == 0, answer.text
    ws = opened(home)
    rows = ws.store.read(AUDITS, as_of=None)
    latest = rows.filter(pl.col("known_at") == pl.col("known_at").max())
    assert latest["law"].is_unique().all()
    (tried,) = latest.filter(law="truncation")["evidence"]
    assert tried.count(" cuts: ") == 2


def test_a_set_is_published_in_each_lane(asked: Quant) -> None:
    answer = asked("features", "backfill", "price_volume", "--from", "2025-12-01", "--to", str(EVE))
    assert answer.code == 0
    assert answer.text.count("price_volume") >= 2


def test_a_repair_asks_for_the_market_and_changes_no_other(asked: Quant, home: Path) -> None:
    """One symbol trades in both; what is repaired in London is known after London's cut, and listed once."""
    symbol = both(home)
    fails(asked("repair", symbol, str(EVE), "--set", "volume=7", *WHO), 1, "XNYS and XLON", "--lane")
    assert asked("repair", symbol, str(EVE), "--set", "volume=7", "--lane", "XLON", *WHO).code == 0
    own, london = opened(home).lanes
    (row,) = (
        in_force(london.store.read(BARS, as_of=None, first=EVE, last=EVE), BARS)
        .filter(symbol=symbol)
        .iter_rows(named=True)
    )
    assert row["volume"] == 7
    assert row["known_at"] > (london.knowledge.latest_cut() or row["known_at"])
    mine = in_force(own.store.read(BARS, as_of=None, first=EVE, last=EVE), BARS).filter(symbol=symbol)
    assert mine["source"].to_list() == ["simulated"]
    listed: Any = asked("restatement", "list", str(EVE), "--json").json
    (change,) = (c for c in listed if c["sid"] == row["sid"])
    assert change["kind"] == "restated"
    assert changes(own.store, own.cuts, Selection(first=EVE, last=EVE)).is_empty()
    shown: Any = asked("restatement", "show", "--symbol", symbol, "--since", "2025-12-23T16:15", "--json").json
    assert set(shown["lanes"]) == {"", "XLON"}
    assert [len(shown["lanes"][lane]["changes"]) for lane in ("", "XLON")] == [0, 1]
    answer = asked("restatement", "show", "--symbol", symbol, "--lane", "nowhere")
    fails(answer, 1, "no lane, strategy or book is named 'nowhere'")


def test_the_calendar_of_which_market(asked: Quant, home: Path) -> None:
    """A closure is of one market, known after what that one has read."""
    fails(asked("calendar", "close", "2025-12-31", *WHO), 1, "XNYS, XLON", "--lane")
    answer = asked("calendar", "close", "2025-12-31", "--lane", "XLON", *WHO)
    assert answer.code == 0
    assert "XLON: 2025-12-31 does not trade" in answer.text
    ws = opened(home)
    own, london = ws.lanes
    (said,) = ws.store.read(CALENDAR_CHANGES, as_of=None).iter_rows(named=True)
    assert said["calendar"] == "XLON"
    assert said["known_at"] > (london.knowledge.latest_cut() or said["known_at"])
    assert (own.cuts.calendar.is_session(date(2025, 12, 31)), london.cuts.calendar.is_session(date(2025, 12, 31))) == (
        True,
        False,
    )


def test_a_decision_of_london_is_rebuilt_by_its_own_cut(asked: Quant, home: Path) -> None:
    ws = opened(home)
    for strategy in ("small", "late"):
        stored = ws.store.read(DECISIONS, as_of=None, first=EVE, last=EVE, where={"strategy": strategy})
        answer = asked("replay", stored["decision_id"][0])
        assert answer.code == 0, answer.text


def test_what_would_be_fetched_names_each_market(asked: Quant) -> None:
    text = " ".join(asked("ingest", "--plan").text.split())
    assert "simulated: " in text
    assert "simulated@XLON: " in text


def test_a_notebook_answers_for_the_lane_of_what_is_asked(home: Path) -> None:
    """Training set, members and fills of London's strategy, by London's cuts."""
    ws = opened(home)
    rows, snapshot = ws.training_set("late", as_of=EVE)
    assert rows.height
    assert snapshot.label == CHRISTMAS.strategy("late").rule.name
    assert ws.membership("late", until=EVE).at([EVE], ws.lane_of("late").cuts).height
    assert ws.backtest("late_research", EVE, EVE)["session"].to_list() == [EVE]
