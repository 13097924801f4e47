"""What a restatement would have changed: the overlay computes what a home computes in which the value was right
from the start, to the bit; and what was decided stays.
"""

import json
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from typer.testing import CliRunner

from desk.blast_radius import Radius, blast_radius, rebuild
from desk.counterfactual import rederive, retrade
from desk.day import derive, provenance
from desk.workspace import Workspace
from jobs.commands.restatement import restatement_app
from quant_assets.contract import Table, in_force
from quant_assets.features.catalogue import find_set
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.restatements import Selection, as_if_known, changes, seen
from quant_assets.models.training_set import training_set
from quant_assets.ports import MarketDataSource, Store
from quant_assets.records import Act, Capture, frame_hash
from quant_assets.signals.replay import replay
from quant_assets.tables import (
    DECISIONS,
    FILLS,
    JOURNAL,
    LABELS,
    LISTINGS,
    MODELS,
    NAV,
    ORDERS,
    PNL,
    POSITIONS,
    PROMOTIONS,
    SCORES,
    UNIVERSE,
    VERDICTS,
)
from resources.tables.overlay import Overlay
from tests.jobs.commands import declare
from tests.jobs.small import CUTS, FEATURES, LIVE, PAPER, RESEARCH, STRATEGY, TABLES, ranged, research, workspace

DAY, ARRIVED = LIVE[1], LIVE[4]
"""The first session restated, and the one after whose cut that comes."""
JUNE, CORRECTED = LIVE[8], LIVE[10]
"""The session in which a universe begins, restated too, and the one after whose cut that comes."""
DERIVED = (UNIVERSE, VERDICTS, FEATURES.table, LABELS, MODELS, PROMOTIONS, SCORES, DECISIONS)
TRADED = (ORDERS, FILLS, POSITIONS, JOURNAL, PNL, NAV)


class Slip(NamedTuple):
    """A row that was wrong at first: prices of `symbol` on `day` were in truth `factor` times as high, as the
    vendor knew an hour after the cut of `arrived`.
    """

    symbol: str
    day: date
    arrived: date
    factor: float

    @property
    def known_at(self) -> datetime:
        """When the vendor knew better."""
        return CUTS.of(self.arrived) + timedelta(hours=1)


class Vendor:
    """The simulated vendor, with the rows of the slips right in every delivery, or only in those `knowing` of them."""

    name = "simulated"

    def __init__(self, source: MarketDataSource, slips: Sequence[Slip], *, knowing: bool) -> None:
        self._source = source
        self._slips = slips
        self._knowing = knowing

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return self._source.labels(first, last)

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port."""
        return self._source.fingerprints(labels)

    def fetch(self, label: date) -> Capture:
        """See the port."""
        capture = self._source.fetch(label)
        return corrected(capture, [s for s in self._slips if not self._knowing or capture.known_at > s.known_at])


class Again:
    """One delivery more: that of a slip's day, with the row as it is in truth."""

    name = "simulated"

    def __init__(self, source: MarketDataSource, slip: Slip) -> None:
        self._source = source
        self._slip = slip

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return [s for s in (self._slip.day,) if (first or s) <= s <= (last or s)]

    def fetch(self, label: date) -> Capture:
        """See the port."""
        return corrected(self._source.fetch(label), [self._slip])


def corrected(capture: Capture, slips: Sequence[Slip]) -> Capture:
    """The capture with the rows of the slips as they are in truth."""
    prices = capture.prices
    for slip in slips:
        meant = (pl.col("symbol") == slip.symbol) & (pl.col("session") == slip.day)
        prices = prices.with_columns(
            pl.when(meant).then((pl.col(c) * slip.factor).round(2)).otherwise(c).alias(c)
            for c in ("open", "high", "low", "close", "adj_close")
        )
    fields = {f: getattr(capture, f) for f in capture.__struct_fields__}
    return Capture(**fields | {"prices": prices, "sha256": "".join(s.symbol for s in slips) + capture.sha256})


def slips_of(ws: Workspace) -> tuple[Slip, Slip]:
    """A member's close that was a quarter higher, and one of the most liquid names, that is in truth too cheap for
    June's universe.
    """
    members = in_force(ws.store.read(UNIVERSE, as_of=CUTS.of(DAY)), UNIVERSE).filter(
        pl.col("session") <= DAY, pl.col("until") > DAY
    )
    listed = (
        in_force(ws.store.read(LISTINGS, as_of=CUTS.of(DAY)), LISTINGS)
        .join(members, on="sid", how="semi")
        .select("sid", "symbol")
    )
    first, then = (
        listed.join(ws.source.fetch(d).prices.filter(session=d), on="symbol").sort("sid") for d in (DAY, JUNE)
    )
    cheap = then.sort(pl.col("close") * pl.col("volume"), descending=True).filter(
        pl.col("symbol") != first["symbol"][1]
    )["symbol"][0]
    return Slip(first["symbol"][1], DAY, ARRIVED, 1.25), Slip(
        cheap, JUNE, CORRECTED, 0.9 * STRATEGY.universe.min_price / then.filter(symbol=cheap)["close"].item()
    )


def meant(ws: Workspace, *slips: Slip) -> Selection:
    """The selection of the restatements of these slips and of nothing else."""
    listed = in_force(ws.store.read(LISTINGS, as_of=None), LISTINGS)
    sids = tuple(listed.filter(pl.col("symbol").is_in([s.symbol for s in slips]))["sid"].unique().sort())
    selection = Selection(
        first=min(s.day for s in slips),
        last=max(s.day for s in slips),
        since=min(CUTS.of(s.arrived) for s in slips),
        sids=sids,
    )
    assert sorted(changes(ws.store, CUTS, selection)["session"]) == sorted(s.day for s in slips)
    return selection


@pytest.fixture(scope="module")
def slips(prepared: Path) -> tuple[Slip, Slip]:
    """The two rows that were wrong at first."""
    return slips_of(workspace(prepared))


@pytest.fixture(scope="module")
def right(prepared: Path, slips: tuple[Slip, Slip], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """`LIVE` decided and traded in the research book on deliveries that were right from the start."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("right") / "home"))
    ws = workspace(home, source=Vendor(workspace(home).source, slips, knowing=False))
    ranged(ws, LIVE)
    research(ws, RESEARCH, LIVE)
    return ws


@pytest.fixture(scope="module")
def restated(prepared: Path, slips: tuple[Slip, Slip], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same, but that the rows were wrong until they were restated. Nobody may write to it."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("restated") / "home"))
    source = workspace(home).source
    ws = workspace(home, source=Vendor(source, slips, knowing=True))
    done = 0
    for slip in slips:
        now = LIVE.index(slip.arrived) + 1
        ranged(ws, LIVE[done:now])
        report = ingest(
            Again(source, slip),
            ws.store,
            ws.ledger.knowledge.latest_cut(),
            slip.known_at,
            [slip.day],
            CUTS.calendar,
        )
        assert report.numbers["restated"] == 1
        done = now
    ranged(ws, LIVE[done:])
    research(ws, RESEARCH, LIVE)
    return ws


@pytest.fixture(scope="module")
def chosen(restated: Workspace, slips: tuple[Slip, Slip]) -> Selection:
    """Both restatements."""
    return meant(restated, *slips)


@pytest.fixture(scope="module")
def overlay(restated: Workspace, chosen: Selection) -> Overlay:
    """What would have been on `restated`, derived and traded."""
    as_if = as_if_known(restated.store, CUTS, chosen)
    span = seen(CUTS, as_if)
    assert span == (DAY, CORRECTED)
    store, sessions = rederive(restated, as_if, *span, str)
    assert sessions == LIVE[LIVE.index(DAY) :]
    retrade(restated, store, RESEARCH, DAY)
    return store


@pytest.fixture(scope="module")
def radius(restated: Workspace, chosen: Selection) -> Radius:
    """The radius on `restated`, which it leaves as it is."""
    before = counts(restated)
    found = blast_radius(restated, chosen)
    assert counts(restated) == before
    return found


@pytest.fixture
def own(restated: Workspace, tmp_path: Path) -> Workspace:
    """A copy of `restated` to write to."""
    return workspace(Path(shutil.copytree(restated.home, tmp_path / "home")))


def counts(ws: Workspace) -> Mapping[str, int]:
    """Rows by table."""
    return {t.name: ws.store.read(t, as_of=None).height for t in TABLES}


def content(store: Store, table: Table) -> pl.DataFrame:
    """All rows, without what is recorded beside them."""
    return store.read(table, as_of=None).select(table.content).sort(table.key)


@pytest.mark.parametrize("table", [*DERIVED, *TRADED], ids=lambda t: t.name)
def test_what_would_have_been_is_what_is_where_the_row_was_right(right: Workspace, overlay: Overlay, table: Table):
    """Every derived row over the overlay, from verdicts to P&L, has the bits of a home in which the restated value
    had come in the first delivery.
    """
    assert frame_hash(content(overlay, table)) == frame_hash(content(right.store, table))


@pytest.mark.parametrize(
    "table", [UNIVERSE, FEATURES.table, LABELS, MODELS, SCORES, DECISIONS, FILLS, NAV], ids=lambda t: t.name
)
def test_the_restatement_matters(right: Workspace, restated: Workspace, table: Table):
    """The comparison above is worth something: the stored rows are others."""
    assert frame_hash(content(restated.store, table)) != frame_hash(content(right.store, table))


def test_nothing_restated_nothing_differs(restated: Workspace):
    """Without a change the same functions over the same sessions give the stored rows, to the bit."""
    store, sessions = rederive(restated, {}, DAY, ARRIVED, str)
    retrade(restated, store, RESEARCH, DAY)
    assert sessions
    for table in (*DERIVED, *TRADED):
        assert frame_hash(content(store, table)) == frame_hash(content(restated.store, table)), table.name


def test_a_change_that_no_cut_missed_has_no_radius(restated: Workspace):
    """Where nothing is selected, nothing is computed and nothing would differ."""
    found = blast_radius(restated, Selection(since=CUTS.of(LIVE[-1])))
    assert (found.empty, found.sessions, found.changes.height) == (True, 0, 0)


def test_the_radius_is_the_difference_of_the_two_homes(right: Workspace, restated: Workspace, radius: Radius):
    """Decisions, trades and P&L that the radius names are those in which the wrong home and the right one differ."""
    says = ["session", "sid", "verdict", "reason", "target_weight"]
    was, would = (ws.store.read(DECISIONS, as_of=None).select(says) for ws in (restated, right))
    assert (
        radius.decisions.select(says)
        .drop_nulls("verdict")
        .sort(says)
        .equals(was.join(would, on=says, how="anti", nulls_equal=True).sort(says))
    )
    nav = {
        name: ws.store.read(NAV, as_of=None, where={"book": RESEARCH.name})["equity"][-1]
        for name, ws in (("was", restated), ("would", right))
    }
    of_book = radius.pnl.filter(book=RESEARCH.name)
    assert of_book["pnl_would"].sum() - of_book["pnl"].sum() == nav["would"] - nav["was"] != 0
    assert radius.trades.filter(pl.col("shares").ne_missing(pl.col("shares_would"))).height > 0
    ranks = radius.features.filter(pl.col("feature").str.starts_with("rank_"))
    assert ranks["names"].max() > 1  # what one name's row does to the ranks of the others
    assert radius.sentence.startswith("Had the 2 change(s) been known in time, ")


def test_rebuilt_values_are_new_knowledge(own: Workspace, right: Workspace, slips: tuple[Slip, Slip]):
    """Research that reads as of later sees the right values; what reads as of before reads the old bits; a second
    time writes nothing.
    """
    before, later = CUTS.of(LIVE[-1]), CUTS.of(LIVE[-1]) + timedelta(days=1)
    old = {
        cut: training_set(own.store, FEATURES, STRATEGY.horizon, cut, universe=STRATEGY.universe.name)[0]
        for cut in (CUTS.of(ARRIVED), before)
    }
    first, again = (
        rebuild(own, meant(own, slips[0]), act=Act(by="ann", reason="late correction", at=before), now=before)
        for _ in range(2)
    )
    assert [r.rows > 0 for r in first] == [True, True]
    assert [r.rows for r in again] == [0, 0]
    assert all(
        frame_hash(training_set(own.store, FEATURES, STRATEGY.horizon, cut, universe=STRATEGY.universe.name)[0])
        == frame_hash(rows)
        for cut, rows in old.items()
    )
    newer = training_set(own.store, FEATURES, STRATEGY.horizon, later, universe=STRATEGY.universe.name)[0]
    assert newer.select("session", "sid", "label_known_at").equals(
        old[before].select("session", "sid", "label_known_at")
    )
    wanted = (
        right.store.read(FEATURES.table, as_of=None)
        .join(newer, on=["session", "sid"], how="semi")
        .select("session", "sid", *FEATURES.features)
        .sort("session", "sid")
    )
    assert frame_hash(newer.select(wanted.columns)) == frame_hash(wanted)
    assert not newer.select(wanted.columns).equals(old[before].select(wanted.columns))
    published = own.features(FEATURES.name, DAY, DAY)
    assert published["known_at"].max() > before
    assert published.select("sid").is_unique().all()


def test_after_a_rebuild_the_past_stays(own: Workspace, chosen: Selection):
    """The decisions of the session restated replay equal, a rerun writes nothing, nothing is ordered, and the act
    is on record.
    """
    decided, venue = own.store.read(DECISIONS, as_of=None), own.brokers.open(PAPER).events(None).orders
    reports = rebuild(
        own, chosen, act=Act(by="ann", reason="late correction", at=CUTS.of(LIVE[-1])), now=CUTS.of(LIVE[-1])
    )
    rows = counts(own)
    assert own.store.read(DECISIONS, as_of=None).equals(decided)
    for decision in decided.filter(pl.col("session").is_in([DAY, ARRIVED]), rank=1)["decision_id"]:
        replay(own.store, find_set, own.deployment.strategy, CUTS, decision, provenance(own)).require_equal()
    list(derive(own, [DAY]))
    assert counts(own) == rows
    assert list(own.brokers.open(PAPER).events(None).orders) == list(venue) == []
    assert own.ledger.outbox.orders(PAPER.name) == []
    with sqlite3.connect(own.home / "ledger.sqlite") as db:
        assert db.execute("SELECT count(*) FROM audit WHERE act = 'rebuild'").fetchone() == (1,)
    assert sum(r.rows for r in reports) > 0


def test_the_commands(own: Workspace, slips: tuple[Slip, Slip], monkeypatch: pytest.MonkeyPatch):
    """`list` names the row, `show` prints the sentence and, asked to, rebuilds; without a choice, or without who
    and why, it says what is missing.
    """
    declare(own.home, own.deployment)
    monkeypatch.setenv("QUANT_HOME", str(own.home))
    since = f"--since={CUTS.of(ARRIVED):%Y-%m-%dT%H:%M}"
    (change,) = json.loads(
        CliRunner().invoke(restatement_app, ["list", str(DAY), since, "--symbol", slips[0].symbol, "--json"]).stdout
    )
    assert (change["kind"], change["session"]) == ("restated", str(DAY))
    assert json.loads(change["new"])["close"] > json.loads(change["old"])["close"]
    shown = CliRunner().invoke(
        restatement_app,
        [
            "show",
            str(DAY),
            since,
            "--symbol",
            change["symbol"],
            "--rebuild",
            "--by",
            "ann",
            "--reason",
            "late",
            "--json",
        ],
    )
    answer = json.loads(shown.stdout)
    assert answer["empty"] is False
    assert answer["decisions"]
    assert own.features(FEATURES.name, DAY, DAY)["known_at"].max() > CUTS.of(LIVE[-1])
    for argv in (["show"], ["show", str(DAY), "--rebuild"], ["show", "--symbol", "NOBODY"]):
        assert CliRunner().invoke(restatement_app, argv).exit_code == 2
