"""Feature sets on the command line: what they are, whether they were proven, a range published, a page drawn."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from desk.workspace import Workspace
from quant_assets.features import declared
from quant_assets.features.catalogue import find_set
from quant_assets.features.feature import feature
from quant_assets.features.publish import compute
from quant_assets.tables import AUDITS
from tests.jobs.commands import Quant, fails
from tests.jobs.small import CUTS, FEATURES, LIVE, STRATEGY

SPAN = ("--from", "2024-05-01", "--to", "2024-05-24")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test declares is there for no other."""
    monkeypatch.setattr(declared, "DECLARED", dict(declared.DECLARED))


def test_every_set_is_listed_with_its_audit(quant: Quant) -> None:
    """The set that is traded was audited by its first run and is published; the others were neither."""
    rows = {r["set"]: r for r in quant("features", "list", "--json").json}
    assert {"alpha158", "technical", "style", "cross_sectional", "alpha158_1m"} < set(rows)
    assert (rows["price_volume"]["audit"], rows["price_volume"]["last"], rows["price_volume"]["rows"] > 500) == (
        "passed",
        str(LIVE[3]),
        True,
    )
    assert (rows["alpha158"]["audit"], rows["alpha158"]["rows"], rows["alpha158"]["features"]) == ("never", 0, 158)
    assert "Amihud" in quant("features", "show", "price_volume").text.replace("\n", " ")
    fails(quant("features", "show", "price_volum"), 1, "price_volume", "packages:")


def test_a_backfill_is_what_compute_says(own: Path, at: Callable[[Path], Quant]) -> None:
    """A set that nobody trades is published over a range for the strategies' universe, once; explored, its page
    stands.
    """
    said = at(own)("features", "backfill", "alpha158", *SPAN)
    assert (said.code, "done" in said.text) == (0, True)
    ws, alpha158 = Workspace.open(own), find_set("alpha158")
    stored = ws.store.read(alpha158.table, as_of=None)
    days = CUTS.calendar.between(date(2024, 5, 1), date(2024, 5, 24))
    assert stored.equals(compute(ws.store, alpha158, STRATEGY.universe.name, CUTS, days))
    at(own)("features", "backfill", "alpha158", *SPAN)
    assert ws.store.read(alpha158.table, as_of=None).height == stored.height > 200
    page = Path(at(own)("features", "explore", "alpha158", *SPAN).text.replace("\n", "").strip())
    assert (page.parent, "KLEN" in page.read_text()) == (ws.reports, True)


def test_a_backfill_ends_where_the_data_does(own: Path, at: Callable[[Path], Quant]) -> None:
    """Asked for sessions that have not come, nothing is frozen for them and no cut of theirs counts as read: their
    data would be known too late to be traded on.
    """
    before = Workspace.open(own).ledger.knowledge.latest_cut()
    for to in ((), ("--to", "2024-06-28")):
        assert at(own)("features", "backfill", "technical", "--from", "2024-05-20", *to).code == 0
    ws = Workspace.open(own)
    assert ws.store.read(find_set("technical").table, as_of=None)["session"].max() == LIVE[3]
    assert ws.ledger.knowledge.latest_cut() == before == CUTS.of(LIVE[3])


def test_drift_is_drawn(own: Path, at: Callable[[Path], Quant]) -> None:
    """The page of the last session measured, and an error where none was."""
    page = Path(at(own)("features", "drift").text.replace("\n", "").strip())
    assert (page.name, "volume_shock" in page.read_text()) == (f"drift_{STRATEGY.name}_{LIVE[3]}.html", True)
    fails(
        at(own)("features", "drift", "--session", "2024-02-01"),
        1,
        "no drift of small is stored up to 2024-02-01",
        "quant run daily",
    )


def test_a_leak_is_named_and_remembered(own: Path, at: Callable[[Path], Quant]) -> None:
    """An honest set passes; one that looks ahead fails with the column, the session and the instrument; both
    verdicts are stored.
    """

    @feature(lookback=5)
    def peeking(close: pl.Expr) -> pl.Expr:
        """Tomorrow's return."""
        return close.shift(-1) / close - 1

    said = at(own)("features", "audit", "peeking", FEATURES.name)
    text = " ".join(said.text.split())
    assert (said.code, "passed price_volume" in text, "failed peeking" in text) == (1, True, True)
    rows = Workspace.open(own).store.read(AUDITS, as_of=None, where={"feature_set": "peeking"})
    broken = rows.filter(~pl.col("passed"), pl.col("law") == "truncation").row(0, named=True)
    assert (broken["column"], broken["sid"] is not None) == ("peeking", True)
    assert f"peeking of session {broken['at']}, sid {broken['sid']}" in broken["evidence"]
    assert peeking.fingerprint == rows["fingerprint"][0]
