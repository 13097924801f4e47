"""A guard is made from its evidence: what the rows do not show, no snapshot vouches for."""

import ast
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from quant_assets.errors import ReplayMismatch
from quant_assets.guards import HINDSIGHT, Choice, choice, look_ahead, survivorship
from quant_assets.tables import CAPTURES, LISTINGS

ROOT = Path(__file__).parents[1]
CUT = datetime(2024, 6, 3, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("evidence", "hindsight"),
    [
        (Choice(names=500, ended=20, days=2_000), False),
        (Choice(names=500, ended=0, days=30), False),
        (Choice(names=30, ended=0, days=1_500), False),
        (Choice(names=500, ended=0, days=365), True),
        (Choice(names=30, ended=0, days=3_650), True),
        (Choice(names=30, ended=3, days=100, undated=("sp500",)), True),
    ],
)
def test_a_universe_chosen_with_hindsight_is_called_that(evidence: Choice, hindsight: bool) -> None:
    """Where no name of many ended in years, or an index was published without knowledge times; else the words stay."""
    found = survivorship("members as known", evidence)
    assert found.startswith(HINDSIGHT) is hindsight
    assert found.endswith("members as known")
    assert hindsight or found == "members as known"


def test_the_choice_is_seen_as_known_at_the_cut() -> None:
    """A name whose end became known after the cut had not ended then, and an undated index is one that is named."""
    rows = [
        (1, date(2020, 1, 2), True, datetime(2020, 1, 3, tzinfo=UTC)),
        (2, date(2020, 1, 2), True, datetime(2020, 1, 3, tzinfo=UTC)),
        (2, date(2024, 5, 1), False, datetime(2024, 7, 1, tzinfo=UTC)),
    ]
    listings = pl.DataFrame(rows, schema=["sid", "session", "listed", "known_at"], orient="row")
    listings = pl.concat([LISTINGS.empty(), listings], how="diagonal_relaxed")
    delivered = pl.DataFrame({"assumed": [True], "known_at": [datetime(2024, 1, 2, tzinfo=UTC)]})
    delivered = pl.concat([CAPTURES.empty(), delivered], how="diagonal_relaxed")
    found = choice(listings, delivered, ("sp500",), CUT)
    assert found == Choice(names=2, ended=0, days=(CUT.date() - date(2020, 1, 2)).days, undated=("sp500",))
    assert choice(listings, delivered, (), CUT).undated == ()
    assert choice(listings, delivered, (), datetime(2024, 7, 2, tzinfo=UTC)).ended == 1
    assert choice(LISTINGS.empty(), CAPTURES.empty(), (), CUT) == Choice(names=0, ended=0, days=0)


def test_a_row_known_too_late_is_vouched_for_by_nothing() -> None:
    """The guard on look-ahead is refused; at the cut-off itself it is made."""
    assert look_ahead("rows", CUT, CUT) == look_ahead("rows", None, CUT) == "rows"
    with pytest.raises(ReplayMismatch, match="read for a cut-off"):
        look_ahead("rows", datetime(2024, 6, 4, tzinfo=UTC), CUT)


@pytest.mark.parametrize("guard", ["Survivorship", "LookAhead"])
def test_a_guard_is_made_in_one_place(guard: str) -> None:
    """No module but `guards` calls the type."""
    makers = set[str]()
    for folder in ("quant_assets", "resources", "desk", "jobs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == guard:
                    makers.add(path.relative_to(ROOT).as_posix())
    assert makers == {"quant_assets/guards.py"}
