"""A restatement of anything that a feature set's inputs are declared to read is seen, by session, where it would have
been known in time.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from desk.blast_radius import read_by
from quant_assets.features.inputs.fundamentals import fundamentals
from quant_assets.market_data.restatements import DERIVING, Selection, as_if_known, seen
from quant_assets.ports import Store
from quant_assets.strategy import Eligibility, LabelRule, NetOf, Strategy, UniverseRule
from resources.tables.overlay import Overlay
from tests.features.small_history import CUTS, DAYS, NAME, filing, history, known, member

STYLED = Strategy(name="styled", feature_set="style")
YEAR = {"net_income": 400.0, "eps_diluted": 4.0, "equity": 2000.0, "assets": 5000.0, "cash_flow_op": 650.0}


def of_filings(path: Path, equity: float, later: float | None) -> Store:
    """A report known at the first session, restated at the fifth."""
    rows = filing("S1", date(2016, 1, 31), known(DAYS[0]), {**YEAR, "equity": equity})
    rows += filing("S1", date(2016, 1, 31), known(DAYS[4]), {"equity": later}) if later else []
    return history(path, universe=[member(1)], filings=rows)


def test_a_restated_filing_is_seen(tmp_path: Path) -> None:
    """What a model would have read, had a restated balance sheet been filed right at first, is what it reads in a
    history in which it was; and it differs up to the session that learnt of it, not after.
    """
    store, right = of_filings(tmp_path / "a", 2000.0, 1500.0), of_filings(tmp_path / "b", 1500.0, None)
    as_if = as_if_known(store, CUTS, Selection(since=known(DAYS[3])), read_by([STYLED]))
    assert seen(CUTS, as_if) == (DAYS[0], DAYS[3])
    was, would, true = (fundamentals(s, CUTS, NAME, DAYS[:8]) for s in (store, Overlay(store, as_if), right))
    assert would.equals(true)
    assert was.filter(pl.col("session") >= DAYS[4]).equals(true.filter(pl.col("session") >= DAYS[4]))
    assert was["book"].to_list() == [2000.0] * 4 + [1500.0] * 4


CASES: Mapping[str, tuple[Strategy, set[str]]] = {
    "prices alone": (Strategy(name="plain"), set()),
    "filings by an input": (STYLED, {"filings"}),
    "an index by the universe": (
        Strategy(name="of_index", universe=UniverseRule(eligible=Eligibility(index=("SP500",)))),
        {"index_members"},
    ),
    "sectors by the universe": (
        Strategy(name="few", universe=UniverseRule(eligible=Eligibility(exclude_sectors=("X",), sector_scheme="gics"))),
        {"sectors"},
    ),
    "an index by the label": (
        Strategy(name="above", label=LabelRule(horizon=5, net_of=NetOf(index="SP500"))),
        {"index_members"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_declared_is_looked_at(case: str) -> None:
    """Bars, actions and listings always; of the datasets those that a strategy's sets, universe or label name, and no
    others.
    """
    strategy, datasets = CASES[case]
    tables = read_by([strategy])
    assert {t.name for t in tables} - {t.name for t in DERIVING} == datasets
    assert list(tables[: len(DERIVING)]) == list(DERIVING)
