"""A research home reads a production home and never writes to it; what both compute is the same to the bit."""

import hashlib
import shutil
from pathlib import Path

import pytest

from desk.day import derive
from desk.deployment import load
from desk.notebook import Notebook
from tests.jobs.commands import declare
from tests.jobs.small import CUTS, DERIVED, FIRST, LIVE, Registry, content, deployment, research, workspace

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
    """The whole range again, from the universe to the decisions: no row of it is new, and production has not one byte
    more or less.
    """
    before = bytes_of(production)
    ws = beside(production)
    reports = list(derive(ws, CUTS.calendar.between(FIRST, LIVE[-1])))
    assert sum(r.rows for r in reports if r.stage == "decisions") == 0
    research(ws, ws.deployment.book("mine"), LIVE)
    assert bytes_of(production) == before
    for table in DERIVED:
        assert content(ws, table).equals(content(workspace(production), table))
        assert not ws.tables.exists(table) or ws.tables.read(table, as_of=None).is_empty()
