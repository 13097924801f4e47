"""The file of a research home: what it may say, and what of production's it takes with it."""

from datetime import date
from pathlib import Path

import pytest

from desk.deployment import DEFAULT, DeploymentRefused, ResearchDeployment, load
from desk.workspace import Workspace
from quant_assets.errors import ConfigurationError

TRADES = "strategy: liquid_momentum, account: M, capital: 1000"


@pytest.fixture
def production(tmp_path: Path) -> Path:
    """A home with the default deployment."""
    home = tmp_path / "production"
    home.mkdir()
    (home / "deployment.yaml").write_bytes(DEFAULT.read_bytes())
    return home


def written(production: Path, text: str) -> Path:
    """The file of a research home beside it."""
    file = production.with_name("research") / "deployment.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"production: ../production\n{text}")
    return file


def test_what_it_does_not_say_is_productions(production: Path) -> None:
    """Source, calendar, start, clock and, where it declares none, the strategies; books are its own alone."""
    theirs, ours = load(production / "deployment.yaml"), load(written(production, ""))
    assert isinstance(ours, ResearchDeployment)
    assert ours.production == production
    assert ours.books == ()
    assert (ours.source, ours.calendar, ours.start, ours.clock) == (
        theirs.source,
        theirs.calendar,
        theirs.start,
        theirs.clock,
    )
    assert [s.config_hash for s in ours.strategies] == [s.config_hash for s in theirs.strategies]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("start: 2026-01-05\n", 2, "no such key"),
        ("source: {kind: simulated}\n", 2, "no such key"),
        (f"books:\n  - {{name: mine, {TRADES}, broker: paper}}\n", 3, "delivers nothing"),
        (f"books:\n  - {{name: mine, {TRADES}, armed: true}}\n", 3, "cannot be armed"),
        (f"books:\n  - {{name: research, {TRADES}}}\n", 3, "production has a book research that is another"),
        ("books:\n  - {name: mine, strategy: other, account: M, capital: 1}\n", 3, "no strategy has this name"),
        ("strategies:\n  - {name: liquid_momentum, holdings: 3}\n", 3, "production declares liquid_momentum otherwise"),
        ("strategies:\n  - {name: mine, universe: {name: liquid, size: 7}}\n", 3, "another rule under the name liquid"),
    ],
)
def test_what_it_may_not_say_is_refused_with_its_line(production: Path, text: str, line: int, says: str) -> None:
    """Market data and time are production's, nothing can be sent, and no name means two things."""
    file = written(production, text)
    with pytest.raises(DeploymentRefused) as refused:
        load(file)
    assert [f for f in refused.value.faults if f.line == line and says in f.what]


def test_it_names_a_production_home(production: Path, tmp_path: Path) -> None:
    """One that is there, that is none for research itself, and in which it does not lie."""
    file = written(production, "")
    other = tmp_path / "other" / "deployment.yaml"
    other.parent.mkdir()
    other.write_text("production: ../research\n")
    with pytest.raises(DeploymentRefused, match="is a research home itself; name the one that it reads"):
        load(other)
    other.write_text("production: ../nowhere\n")
    with pytest.raises(DeploymentRefused, match="there is no folder"):
        load(other)
    with pytest.raises(ConfigurationError, match="lies in the production home"):
        Workspace(production / "inside", load(file)).store  # noqa: B018  # opened when first used


def test_it_reads_no_further_than_production_has_decided(production: Path) -> None:
    """And nothing where production has decided nothing."""
    ws = Workspace(production.with_name("mine"), load(written(production, "")))
    with pytest.raises(ConfigurationError, match=r"has decided nothing yet.*quant backfill"):
        ws.knowledge.note_cut(ws.cuts.of(date(2025, 6, 2)))
    assert not (production / "ledger.sqlite").exists()
