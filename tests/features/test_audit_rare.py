"""Leaks that show in a few rows of a thousand: no handful of cuts meets them, very many pairs of name and session
do.
"""

from collections.abc import Sequence
from datetime import date

import polars as pl
import pytest

from quant_assets.calendars import Cuts
from quant_assets.features.audit.audit import audit
from quant_assets.features.audit.pairs import Compared, compare
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Store
from tests.features.audited_market import CUTS, NOW, SESSIONS, UNIVERSE_NAME, market
from tests.features.leaks import CLOSE, HONEST, RET, declared, known_revenue, reading

RARE = (pl.col("sid") * 31 + pl.col("i").cast(pl.Int64) * 7) % 173 == 0  # five rows of 870


def of_some(where: pl.Expr, leak: pl.Expr, honest: pl.Expr) -> pl.Expr:
    return pl.when(where).then(leak).otherwise(honest)


def revenue_to_come(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """The revenue known at each cut; of one name in each session the one that is known a month later."""
    honest = known_revenue(store, cuts, universe, sessions)
    later = {s: cuts.calendar.shift(s, 21) for s in sessions}
    ahead = known_revenue(store, cuts, universe, sorted({*later.values()}))
    moved = honest.with_columns(later=pl.col("session").replace_strict(later, return_dtype=pl.Date)).join(
        ahead.select("sid", later="session", ahead="known_revenue"), on=["sid", "later"], how="left"
    )
    some = pl.col("sid") == pl.col("session").dt.ordinal_day() % 14 + 1
    return moved.select("session", "sid", known_revenue=of_some(some, pl.col("ahead"), pl.col("known_revenue")))


LEAKING = {
    "the kernel": declared(
        "rare_kernel",
        "next",
        lambda panel: panel.with_columns(next=of_some(RARE, CLOSE.shift(-1).over("series") / CLOSE - 1, RET)),
    ),
    "the cross-section": declared(
        "rare_section",
        "rank",
        cross_section=lambda rows: rows.with_columns(
            rank=of_some(RARE, pl.col("ret_5").shift(-1).over("sid"), pl.col("ret_5").rank().over("session"))
        ),
    ),
    "the input 'known_revenue'": reading("known_revenue", revenue_to_come, "filings"),
}


def truncation(feature_set: FeatureSet, pairs: int) -> dict[str, object]:
    rows = audit(market(), feature_set, UNIVERSE_NAME, CUTS, SESSIONS, now=NOW, most=1, pairs=pairs)
    return rows.filter(law="truncation").row(0, named=True)


@pytest.mark.parametrize("where", ["the kernel", "the cross-section"])
def test_a_rare_leak_is_found_by_pairs_and_not_by_a_cut(where: str) -> None:
    """A leak in one row of 173 passes a cut at random; pairs find it, and the verdict says who, when and what reads
    ahead.
    """
    assert truncation(LEAKING[where], pairs=0)["passed"]
    found = truncation(LEAKING[where], pairs=100_000)
    assert not found["passed"]
    assert found["column"] in {"next", "rank"}
    assert found["at"]
    assert found["sid"]
    assert where in str(found["evidence"])


def test_an_input_that_reads_ahead_for_few_names_is_found() -> None:
    """Inputs are read once more at the cut of a session, for that session alone."""
    found = compare(market(), LEAKING["the input 'known_revenue'"], UNIVERSE_NAME, CUTS, SESSIONS)
    assert found.differs is not None
    assert (found.differs.column, found.where) == ("known_revenue", "the input 'known_revenue'")


@pytest.mark.parametrize("feature_set", HONEST, ids=lambda s: s.name)
def test_honest_sets_have_the_bits_of_the_range(feature_set: FeatureSet) -> None:
    """Late rows, restatements and halts make no pair another: it is what the vintage in force held."""
    found = compare(market(), feature_set, UNIVERSE_NAME, CUTS, SESSIONS)
    assert found.differs is None
    assert found.pairs > 800
    assert found.cells > found.pairs


def test_fewer_pairs_are_a_sample_and_the_same_seed_the_same() -> None:
    """A tenth of the pairs costs a tenth; another seed takes others."""
    of = [compare(market(), HONEST[0], UNIVERSE_NAME, CUTS, SESSIONS, pairs=90, seed=s) for s in (1, 1, 2)]
    assert of[0] == of[1] != of[2]
    assert all(50 < c.pairs < 140 for c in of)


def test_the_chance_that_is_left_is_told() -> None:
    """Of n pairs all are missed with (1 − p)^n: at 0.1 % for p = ln(1000)/n."""
    assert "more than 0.0069% of the rows would have been seen with 99.9%" in Compared(pairs=100_000).chance
    assert "more than 0.69% of the rows" in Compared(pairs=1_000).chance
    assert "no pair" in Compared().chance
