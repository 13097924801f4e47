"""What a person does about data on the command line: it says what it did, it is on record, and it needs a name and
a reason.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from desk.workspace import Workspace
from quant_assets.contract import in_force
from quant_assets.market_data.repairs import listed
from quant_assets.tables import ACTIONS, BARS, PROPOSED_ACTIONS, QUARANTINE
from tests.jobs.commands import Quant
from tests.jobs.small import LIVE, workspace

WHO = ("--by", "ada", "--reason", "asked the vendor")


@pytest.fixture
def asked(own: Path, at: Callable[[Path], Quant]) -> tuple[Quant, Workspace]:
    """The command line on a home of its own, and that home."""
    return at(own), workspace(own)


def test_the_quarantine_is_listed_explained_and_emptied(asked: tuple[Quant, Workspace]) -> None:
    """Each row by its id; one is shown with its reason, released or dropped; the list gets shorter and the audit
    longer.
    """
    quant, ws = asked
    held = listed(ws.store.read(QUARANTINE, as_of=None))
    conflict = held.filter(reason="CONFLICT")["id"].to_list()
    assert held["id"][0] in quant("quarantine", "list").text
    counted = quant("quarantine", "list", "--by-reason", "--json").json
    assert sum(r["rows"] for r in counted) == held.height
    shown = quant("quarantine", "show", conflict[0], "--json").json
    assert (shown["reason"], shown["id"]) == ("CONFLICT", conflict[0])
    assert "contradict each other" in shown["explanation"]
    assert any(o["id"] == conflict[1] for o in shown["others"])
    assert quant("quarantine", "release", conflict[0]).code == 2
    standing = quant("quarantine", "release", conflict[0], *WHO)
    assert (standing.code, "from a later delivery" in standing.err) == (1, True)
    assert quant("quarantine", "release", conflict[1], *WHO).code == 0
    assert quant("quarantine", "drop", conflict[0], *WHO).code == 0
    again = quant("quarantine", "drop", conflict[0], *WHO)
    assert (again.code, "dropped by ada already" in again.err) == (1, True)
    assert listed(ws.store.read(QUARANTINE, as_of=None)).height == held.height - 2
    assert [a["act"] for a in ws.ledger.audit.acts()] == ["release quarantined row", "drop quarantined row"]


def test_a_bar_is_repaired_and_its_radius_told(asked: tuple[Quant, Workspace]) -> None:
    """A repair shows what was and what is, needs a value or --withdraw, and is a restatement that can be listed."""
    quant, ws = asked
    rows = in_force(ws.store.read(BARS, as_of=None, first=LIVE[0], last=LIVE[0]), BARS)
    name, close, high = rows.sort("symbol").select("symbol", "close", "high").row(0)
    assert quant("repair", name, str(LIVE[0]), *WHO).code == 2
    done = quant("repair", name, str(LIVE[0]), "--set", f"high={high + 1}", *WHO)
    assert done.code == 0
    assert "repair" in done.text
    now = in_force(ws.store.read(BARS, as_of=None, first=LIVE[0], last=LIVE[0]), BARS).filter(symbol=name)
    assert now.select("close", "high", "source").row(0) == (close, high + 1, "repair")
    told = quant("restatement", "list", str(LIVE[0]), "--symbol", name, "--json").json
    assert [r["kind"] for r in told if "high" in str(r["new"])] == ["restated"]


def test_findings_are_listed_and_the_history_scanned(asked: tuple[Quant, Workspace]) -> None:
    """Counted by rule or row by row; a scan changes no bar unless told to, and then says who."""
    quant, ws = asked
    counted = quant("findings", "list", "--by-rule", "--json").json
    assert {"CONFLICT"} <= {r["rule"] for r in counted}
    assert all(r["rule"] == "CONFLICT" for r in quant("findings", "list", "--rule", "CONFLICT", "--json").json)
    before = ws.store.version(BARS)
    assert quant("findings", "scan").code == 0
    assert ws.store.version(BARS) == before
    assert quant("findings", "scan", "--repair").code == 2


def test_what_would_be_fetched_is_told_and_not_fetched(asked: tuple[Quant, Workspace]) -> None:
    """The plan names each source and its labels; no row is written."""
    quant, ws = asked
    before = ws.store.version(BARS)
    plan = quant("ingest", "--plan", "--to", str(LIVE[5]))
    assert plan.code == 0
    assert plan.text.startswith("simulated: ")
    assert str(LIVE[5]) in plan.text
    assert ws.store.version(BARS) == before
    assert (
        pl.Series(["storage", "restatement", "findings", "quarantine", "repair"])
        .is_in(quant("--help").text.split())
        .all()
    )


def test_proposed_actions_are_listed_confirmed_and_rejected(asked: tuple[Quant, Workspace]) -> None:
    """Each with its closes and what may explain it; one is confirmed under other terms, one rejected; both are on
    record, and nobody does either without a name.
    """
    quant, ws = asked
    bars = in_force(ws.store.read(BARS, as_of=None, first=LIVE[0], last=LIVE[0]), BARS).head(2)
    rows = bars.with_columns(
        before=pl.lit(100.0),
        adjusted=pl.lit(40.0),
        after=pl.lit(40.0),
        factor=pl.lit(0.4),
        confidence=pl.lit(0.6),
        explanations=pl.lit("split 5:2 (0.6); dividend 60 (0.36)"),
        state=pl.lit("proposed"),
        by=pl.lit(None, pl.String),
        note=pl.lit(None, pl.String),
    )
    ws.store.append(PROPOSED_ACTIONS, rows.select(*PROPOSED_ACTIONS.schema))
    shown = quant("actions", "list", "--json").json
    assert [(r["before"], r["adjusted"], r["after"], r["confidence"]) for r in shown] == [(100.0, 40.0, 40.0, 0.6)] * 2
    first, second = (r["id"] for r in shown)
    assert quant("actions", "confirm", first).code == 2
    nonsense = quant("actions", "confirm", first, "--as", "bonus 1:1", *WHO)
    assert (nonsense.code, "write split 2:1" in nonsense.err) == (1, True)
    assert "dividend 60" in quant("actions", "confirm", first, "--as", "dividend 60.00", *WHO).text
    assert quant("actions", "reject", second, *WHO).code == 0
    assert quant("actions", "list", "--json").json == []
    assert [r["state"] for r in quant("actions", "list", "--all", "--json").json] == ["confirmed", "rejected"]
    found = in_force(ws.store.read(ACTIONS, as_of=None), ACTIONS).filter(origin="confirmed")
    assert found.select("kind", "cash").rows() == [("dividend", Decimal(60))]
    assert [a["act"] for a in ws.ledger.audit.acts()][-2:] == ["confirm action", "reject action"]
