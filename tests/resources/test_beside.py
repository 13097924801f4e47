"""Two homes as one: production's rows come first, ours lie beside them, and no key ever has two contents."""

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from quant_assets.errors import ConfigurationError, ConflictingRow
from quant_assets.tables import BARS, SCORES
from resources.tables.beside import ResearchTables
from resources.tables.store import DeltaStore

AT = datetime(2026, 3, 2, tzinfo=UTC)


def scores(*rows: tuple[int, int, float]) -> pl.DataFrame:
    """Scores of (day of March, sid, score)."""
    return pl.DataFrame(
        [
            {
                "session": date(2026, 3, day),
                "strategy": "s",
                "sid": sid,
                "score": score,
                "model_id": "m",
                "known_at": AT,
                "slot": "open",
            }
            for day, sid, score in rows
        ],
        schema=dict(SCORES.schema),
    )


@pytest.fixture
def production(tmp_path: Path) -> DeltaStore:
    """Production's tables, as production writes them."""
    store = DeltaStore(tmp_path / "production" / "tables")
    store.append(SCORES, scores((2, 1, 0.5), (3, 1, 0.25)))
    return store


@pytest.fixture
def ours(tmp_path: Path, production: DeltaStore) -> ResearchTables:
    """A research home that has read nothing yet."""
    return ResearchTables(
        DeltaStore(tmp_path / "ours" / "tables"), DeltaStore(production.root), lambda name: name == "scores"
    )


def everything(root: Path) -> dict[str, str]:
    """Every file below a folder, with the hash of what is in it."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def test_a_row_that_production_has_is_no_op(production: DeltaStore, ours: ResearchTables) -> None:
    """Only what is new is ours; a read shows both, sorted by the key, and is bounded as production's is."""
    before = everything(production.root)
    assert ours.append(SCORES, scores((2, 1, 0.5), (3, 2, 0.75), (1, 1, 0.125))) == 2
    assert ours.append(SCORES, scores((3, 2, 0.75))) == 0
    assert ours.own.read(SCORES, as_of=None).height == 2
    found = ours.read(SCORES, as_of=None)
    assert found.equals(scores((1, 1, 0.125), (2, 1, 0.5), (3, 1, 0.25), (3, 2, 0.75)))
    one = ours.read(SCORES, as_of=None, first=date(2026, 3, 3), where={"sid": 2}, columns=("score",))
    assert one.columns == [c for c in SCORES.schema if c in {*SCORES.key, "score"}]
    assert one["score"].to_list() == [0.75]
    assert ours.read(SCORES, as_of=datetime(2026, 3, 1, tzinfo=UTC)).is_empty()
    assert everything(production.root) == before


def test_what_production_stores_later_is_seen_at_once(production: DeltaStore, ours: ResearchTables) -> None:
    """Also the very row that we had before it: it is shown once."""
    ours.append(SCORES, scores((4, 1, 1.0)))
    production.append(SCORES, scores((4, 1, 1.0), (5, 1, 2.0)))
    assert ours.read(SCORES, as_of=None).equals(production.read(SCORES, as_of=None))


def test_a_key_has_one_content(production: DeltaStore, ours: ResearchTables) -> None:
    """What differs from production's is refused, whichever of the two came first."""
    with pytest.raises(ConflictingRow, match=r"stand already with another content.*Production's rows come first"):
        ours.append(SCORES, scores((2, 1, 0.625)))
    assert not ours.own.exists(SCORES)
    ours.append(SCORES, scores((6, 1, 1.0)))
    production.append(SCORES, scores((6, 1, 3.0)))
    with pytest.raises(ConflictingRow, match="another name or version"):
        ours.read(SCORES, as_of=None)
    assert ours.read(SCORES, as_of=None, last=date(2026, 3, 5)).height == 2


def test_market_data_are_productions_alone(production: DeltaStore, ours: ResearchTables) -> None:
    """Nothing is written there, and no folder made; nothing at all is nothing."""
    before = everything(production.root)
    assert ours.append(BARS, BARS.empty()) == 0
    row = dict.fromkeys(BARS.schema) | {"sid": 1, "session": date(2026, 3, 2), "known_at": AT, "withdrawn": False}
    with pytest.raises(ConfigurationError, match=r"bars is written by production alone: run the command there"):
        ours.append(BARS, pl.DataFrame([row], schema=dict(BARS.schema)))
    assert not ours.own.root.exists()
    assert everything(production.root) == before


def test_versions_of_both_are_cited_apart(production: DeltaStore, ours: ResearchTables) -> None:
    """Of a table that only production writes there is no version of ours."""
    ours.append(SCORES, scores((4, 1, 1.0)))
    assert ours.versions([BARS, SCORES]) == {
        "production/bars": -1,
        "production/scores": production.version(SCORES),
        "scores": ours.own.version(SCORES),
    }
