"""A home of each release, kept in tests/homes: `quant migrate`, and the next day is what that release made of it."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from desk.workspace import Workspace
from quant_assets.tables import DECISIONS, FILLS, NAV
from tests.jobs.commands import Quant

At = Callable[[Path], Quant]
KEPT = sorted((Path(__file__).parents[1] / "homes").glob("*.tar.xz"))
MOST = 2**20  # bytes of a kept home


@pytest.fixture(params=KEPT, ids=lambda path: path.name.removesuffix(".tar.xz"))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The home of a release, unpacked."""
    with tarfile.open(request.param) as packed:
        packed.extractall(tmp_path / "home", filter="data")
    return tmp_path / "home"


def stored(home: Path) -> list[str]:
    """The ids of the decisions that the release stored, read as the files have them."""
    return sorted(pl.read_delta(str(home / "tables" / "decisions"))["decision_id"])


def test_each_release_before_has_a_home() -> None:
    """Small enough to be kept in the repository."""
    assert {p.name.removesuffix(".tar.xz") for p in KEPT} >= {"0.1.0"}
    assert [p for p in KEPT if p.stat().st_size > MOST] == []


def test_an_older_home_is_refused_until_it_is_migrated(kept: Path, at: At) -> None:
    """With the command; what was decided is as it was, the record of it reads, and the home answers."""
    quant, before = at(kept), stored(kept)
    if (refused := quant("today")).code == 1:
        assert "quant migrate" in refused.err
    assert quant("migrate").code == 0
    assert "Nothing to do" in quant("migrate").text
    assert stored(kept) == before
    assert quant("today").code in {0, 20}
    ws = Workspace.open(kept)
    assert sorted(ws.store.read(DECISIONS, as_of=None)["decision_id"]) == before
    orders = ws.ledger.outbox.orders("paper")
    assert orders
    assert {w.order.slot for w in orders} == {"open"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Dagster's libraries warn
def test_the_next_day_is_what_the_release_before_made_of_it(kept: Path, at: At) -> None:
    """One more run on the migrated home: the same decisions, fills and equity, to the id and the cent; and the home is
    whole.
    """
    quant = at(kept)
    right = json.loads((kept / "next.json").read_text())
    assert quant("migrate").code == 0
    assert quant("run", "daily", "--session", right["session"]).code == 0
    ws = Workspace.open(kept)
    day = pl.col("session").cast(pl.String) == right["session"]
    decided = ws.store.read(DECISIONS, as_of=None).filter(day)
    fills = ws.store.read(FILLS, as_of=None).filter(day)
    nav = ws.store.read(NAV, as_of=None).filter(day, book="paper")
    assert sorted(decided["decision_id"]) == sorted(row["decision_id"] for row in right["decisions"])
    assert sorted(fills["exec_id"]) == sorted(row["exec_id"] for row in right["fills"])
    assert str(nav["equity"][0]) == right["nav"][0]["equity"]
    assert quant("today").code == 0
    assert quant("doctor", "--no-golden").code == 0
