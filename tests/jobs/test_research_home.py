"""A research home reads a production home and never writes to it; what both compute is the same to the bit."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from desk.beside import computed
from desk.day import derive
from desk.deployment import load
from desk.ledger import TABLES
from desk.notebook import Notebook
from quant_assets.chain import STAGES
from quant_assets.tables import AUDITS, BARS, DECISIONS
from resources.tables.store import DeltaStore
from tests.jobs.commands import Quant, declare, fails
from tests.jobs.small import (
    CUTS,
    DERIVED,
    FIRST,
    LIVE,
    POST_TRADE,
    RESEARCH,
    Registry,
    content,
    deployment,
    of_book,
    research,
    workspace,
)

BOOK = """
books:
  - {name: mine, strategy: small, account: M, capital: 250000}
"""


@pytest.fixture
def production(by_day: Path, tmp_path: Path) -> Path:
    """A production home after its live sessions."""
    home = Path(shutil.copytree(by_day, tmp_path / "production"))
    declare(home, deployment())
    return home


def beside(production: Path, text: str = BOOK, name: str = "research") -> Notebook:
    """A research home beside it, of which the file says this."""
    home = production.with_name(name)
    home.mkdir()
    (home / "deployment.yaml").write_text(f"production: ../{production.name}\n{text}")
    return Notebook(home, load(home / "deployment.yaml"), registry=Registry())


def bytes_of(home: Path) -> dict[str, str]:
    """The hash of every file below a folder, by name."""
    return {
        str(p.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in sorted(home.rglob("*"))
    }


def test_research_computes_what_production_did(production: Path) -> None:
    """From the universe to the models production's tables are gone, so that each row is computed here; its decisions
    are there. All of it is the same to the bit, and production has not one byte more or less.
    """
    whole = workspace(production.with_name("whole"))
    shutil.copytree(production, whole.home)
    kept = {DECISIONS.name, AUDITS.name, *STAGES["market_data"].writes}  # which cannot be computed again
    ours = [t for t in DERIVED if computed(t.name) and t.name not in kept]
    for table in ours:
        shutil.rmtree(production / "tables" / table.name, ignore_errors=True)
    before = bytes_of(production)
    ws = beside(production)
    reports = list(derive(ws, CUTS.calendar.between(FIRST, LIVE[-1])))
    assert [r.rows for r in reports if r.stage == "decisions"] == [0]
    research(ws, ws.deployment.book("mine"), LIVE)
    assert bytes_of(production) == before
    assert not (ws.home / "tables" / BARS.name).exists()
    for table in DERIVED:
        assert content(ws, table).equals(content(whole, table)), table.name
    for table in ours:
        assert ws.tables.read(table, as_of=None).height == whole.store.read(table, as_of=None).height
    for table in POST_TRADE:
        assert of_book(ws, table, ws.deployment.book("mine")).equals(of_book(whole, table, RESEARCH)), table.name


def test_a_research_home_from_the_command_line(production: Path, at: Callable[[Path], Quant]) -> None:
    """It is begun, computes as far as production has decided, answers, and refuses what only production does. Another
    home is never overwritten; production has every byte that it had.
    """
    before = bytes_of(production)
    folder = production.with_name("desk")
    begun = at(production)("research", str(folder))
    assert begun.code == 0, begun.err
    fails(at(production)("research", str(folder)), 1, "would be overwritten")
    fails(at(production)("research", str(production / "inside")), 1, "lies in the production home")
    quant = at(folder / ".quant")
    assert quant("check").code == 0
    first, last = LIVE[0], LIVE[-1]
    done = quant("backfill", "--from", str(first), "--to", str(last))
    assert done.code == 0, done.err
    assert f"has decided {last}" in " ".join(quant("today").text.split())
    assert quant("report", "--book", "research-small").code == 0
    stored = DeltaStore(production / TABLES).read(DECISIONS, as_of=None, last=last)  # a workspace opens the ledger
    assert quant("replay", stored.filter(pl.col("verdict") == "TRADE")["decision_id"][-1]).code == 0
    assert quant("sql", "select count(*) n from bars", "--format", "csv").text.split()[-1] != "0"
    assert quant("why", str(last)).code == 0
    assert quant("features", "backfill", "price_volume", "--from", str(last)).code == 0
    who = ("--by", "me", "--reason", "why")
    for argv in (
        ("ingest",),
        ("run", "daily"),
        ("kill-switch", "on", *who),
        ("breaks", "resolve", "x", *who),
        ("calendar", "close", "2027-01-08", *who),
        ("quarantine", "drop", "x", *who),
    ):
        fails(quant(*argv), 1, "is a research home", str(production))
    assert bytes_of(production) == before
