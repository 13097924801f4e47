"""Several markets and moments in one deployment: its lanes, what each sees of the tables, and what is refused."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from desk.day import arrive
from desk.deployment import Deployment, DeploymentRefused, load
from desk.lanes import lanes
from quant_assets.moments import AtTime, BeforeClose, BeforeOpen
from quant_assets.tables import ANCHORS, BARS, CAPTURES, LISTINGS, UNIVERSE
from resources.tables.store import DeltaStore
from tests.jobs.two_venues import LONDON, NEW_YORK, deployment, workspace


def with_strategies(*strategies: Any) -> Deployment:
    return msgspec.structs.replace(deployment(), strategies=strategies)


def test_the_first_lane_is_the_deployments_own() -> None:
    """A market's first lane is called after its calendar, each other one after its moment too; the order is that of the
    strategies.
    """
    late = msgspec.structs.replace(NEW_YORK, name="evening", decide=AtTime("18:30"))
    early = msgspec.structs.replace(NEW_YORK, name="early", decide=BeforeOpen(15))
    found = lanes(with_strategies(LONDON, late, NEW_YORK, early))
    assert [(one.name, one.market, one.moment) for one in found] == [
        ("", "", AtTime("18:30")),
        ("XNYS_open_15m", "", BeforeOpen(15)),
        ("XLON", "XLON", BeforeClose(15)),
    ]
    assert [[s.name for s in one.deployment.strategies] for one in found] == [["evening"], ["small", "early"], ["late"]]
    assert [[b.name for b in one.deployment.books] for one in found] == [
        [],
        ["research", "paper"],
        ["late_research", "late_paper"],
    ]
    assert [one.deployment.calendar for one in found] == ["XNYS", "XNYS", "XLON"]


def test_a_deployment_of_one_moment_is_its_own_lane(tmp_path: Path) -> None:
    """Nothing is between it and its tables."""
    one = msgspec.structs.replace(deployment(), strategies=(NEW_YORK,), books=(), markets=())
    ws = workspace(tmp_path, one)
    assert ws.lanes == (ws,)
    assert isinstance(ws.store, DeltaStore)


def test_a_lane_sees_the_rows_of_its_market_alone(tmp_path: Path) -> None:
    """Of one market and another, whose names have the same symbols: captures, bars and listings apart, under ids that
    are the own market's as ever.
    """
    ws = workspace(tmp_path)
    own, london = ws.lanes
    assert ws.lane_of("late_paper") is ws.lane_of("XLON") is london
    for lane in ws.lanes:
        list(arrive(lane, date(2025, 9, 10)))
    counts = {
        table.name: [w.store.read(table, as_of=None).height for w in (ws, *ws.lanes)]
        for table in (BARS, LISTINGS, CAPTURES)
    }
    assert all(whole == here + there and here and there for whole, here, there in counts.values())
    alone = workspace(tmp_path / "alone", msgspec.structs.replace(deployment(), strategies=(NEW_YORK,), markets=()))
    list(arrive(alone, date(2025, 9, 10)))
    assert own.store.read(BARS, as_of=None).equals(alone.store.read(BARS, as_of=None))
    here, there = (w.store.read(LISTINGS, as_of=None) for w in ws.lanes)
    assert set(here["symbol"]) & set(there["symbol"])
    assert not set(here["sid"]) & set(there["sid"])
    assert set(there["calendar"]) == {"XLON"}
    assert set(london.store.read(CAPTURES, as_of=None)["source"]) == {"simulated@XLON"}


def test_what_a_lane_anchors_and_draws_is_its_own(tmp_path: Path) -> None:
    """The anchors of one feature set differ by market; a lane is shown no universe of another one."""
    ws = workspace(tmp_path)
    own, london = ws.lanes
    day, cut = date(2025, 10, 1), own.cuts.of(date(2025, 10, 1))
    for lane, anchor in ((own, date(2025, 7, 3)), (london, date(2025, 7, 4))):
        row = {"session": day, "feature_set": "price_volume", "version": "1", "anchor": anchor, "known_at": cut}
        lane.store.append(ANCHORS, pl.DataFrame([row]))
        drawn = {"session": day, "until": date(2025, 11, 3), "sid": 1, "rank": 1, "dollar_volume": 1.0, "known_at": cut}
        universe = lane.deployment.strategies[0].universe.name
        lane.store.append(UNIVERSE, pl.DataFrame([{**drawn, "universe": universe}]))
    asked = {"feature_set": "price_volume"}
    assert [w.store.read(ANCHORS, as_of=None, where=asked)["anchor"].item() for w in ws.lanes] == [
        date(2025, 7, 3),
        date(2025, 7, 4),
    ]
    assert [w.store.read(ANCHORS, as_of=None)["feature_set"].item() for w in ws.lanes] == ["price_volume"] * 2
    assert [w.store.read(UNIVERSE, as_of=None, columns=())["universe"].item() for w in ws.lanes] == ["small", "late"]


def test_a_cut_that_one_market_read_is_behind_nothing_of_another(tmp_path: Path) -> None:
    """What arrives in London after New York was decided is not late for London."""
    ws = workspace(tmp_path)
    own, london = ws.lanes
    own.knowledge.note_cut(own.cuts.of(date(2025, 10, 1)))
    assert london.knowledge.latest_cut() is None
    london.knowledge.note_cut(london.cuts.of(date(2025, 9, 1)))
    assert [w.knowledge.latest_cut() for w in ws.lanes] == [
        own.cuts.of(date(2025, 10, 1)),
        london.cuts.of(date(2025, 9, 1)),
    ]


FILE = """
start: 2025-10-22
clock: session
source: {kind: simulated, first: 2025-09-01, last: 2026-01-09, names: 12}
markets:
  - {calendar: XLON, source: {kind: simulated, first: 2025-09-01, last: 2026-01-09, names: 12}}
strategies:
  - {name: morning, universe: {name: us}}
  - {name: evening, calendar: XLON, universe: {name: uk}, decide: {kind: before_close, minutes: 20}}
books: []
"""


def test_markets_and_moments_are_read_from_a_file(tmp_path: Path) -> None:
    """As a person writes them."""
    (tmp_path / "d.yaml").write_text(FILE)
    found = lanes(load(tmp_path / "d.yaml"))
    assert [(one.name, one.moment) for one in found] == [("", BeforeOpen(15)), ("XLON", BeforeClose(20))]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("name: uk}|name: us}", "decides at another time or venue, has the universe us too"),
        ("calendar: XLON, universe|calendar: XTKS, universe", "no data feeds a strategy of XTKS"),
        ("calendar: XLON, source|calendar: XNYS, source", "declared twice"),
        ("calendar: XLON, source|calendar: XLOM, source", "no calendar has this code"),
        ("name: morning|calendar: XLON, name: morning", "no strategy has this calendar"),
        (
            "before_close, minutes: 20}|before_close}, label: {horizon: 3}",
            "trades at the close and would learn open_to",
        ),
        ("name: us}|name: us}, label: {horizon: 3, kind: traded_close_to_close}", "trades at the open and would learn"),
        ("before_close, minutes: 20|at, time: '14:00'", "trades at the close and would learn open_to_open"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_read(tmp_path: Path, change: str, fault: str) -> None:
    """With the place and what to do."""
    was, now = change.split("|")
    assert was in FILE
    (tmp_path / "d.yaml").write_text(FILE.replace(was, now))
    with pytest.raises(DeploymentRefused, match=fault):
        load(tmp_path / "d.yaml")


def test_the_deployment_of_the_page_has_no_fault(tmp_path: Path) -> None:
    """The files in docs/markets.md are read without a fault, and each of their strategies has a lane."""
    page = Path(__file__).parents[2] / "docs" / "markets.md"
    code, spanning = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "deployment.yaml").write_text(spanning)
    assert [(one.name, one.beside) for one in lanes(load(tmp_path / "deployment.yaml"))] == [
        ("", ("XLON",)),
        ("XLON", ()),
    ]
    (tmp_path / "deployment.yaml").write_text(code)
    found = lanes(load(tmp_path / "deployment.yaml"))
    named = [("", "USD"), ("XLON", "GBP"), ("XEUR", "EUR"), ("24_7", "USD")]
    assert [(one.name, one.currency) for one in found] == named
