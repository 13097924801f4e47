from datetime import date, timedelta

import polars as pl
import pytest

from quant_assets.books.booking import record_fills
from quant_assets.errors import UnknownDecision
from quant_assets.post_trade.lineage import walk_back
from quant_assets.tables import BARS, FILLS
from tests.post_trade.invented import trade

DAYS = [date(2024, 1, d) for d in (3, 4, 5)]


def test_every_fill_walks_back_to_the_vendors_rows(store, book, cuts):
    """Each execution ends at bars of its own name with file and line, none known after the decision's cut."""
    trade(store, book, cuts, DAYS, 4)
    bars = store.read(BARS, as_of=None)
    store.append(
        BARS,
        bars.with_columns(pl.col("close") + 1, line=pl.lit(77), known_at=pl.lit(cuts.of(DAYS[-1]) + timedelta(days=1))),
    )  # restated behind every cut
    fills = store.read(FILLS, as_of=None)
    assert fills.height
    for fill in fills.iter_rows(named=True):
        steps = {s.table: s.rows for s in walk_back(store, fill["exec_id"])}
        assert list(steps) == ["fills", "orders", "decisions", "promotions", "models", "scores", "actions", "bars"]
        (decision,) = steps["decisions"]
        assert decision["decision_id"] == steps["orders"][0]["decision_id"]
        assert steps["scores"][0]["score"] == decision["score"]
        assert steps["models"][0]["model_id"] == decision["model_id"]
        assert steps["bars"][0]["session"] == decision["session"]
        for bar in steps["bars"]:
            assert (bar["sid"], bar["file"], bar["line"]) == (
                fill["sid"],
                f"{bar['session']}/prices.csv",
                fill["sid"] + 1,
            )
            assert bar["known_at"] <= decision["as_of"] < fill["ts"]


def test_a_missing_link_is_an_error_that_names_it(store, book, cuts, desk):
    """Neither an unknown execution nor one of an unknown order ends in silence."""
    with pytest.raises(UnknownDecision, match="no execution e9"):
        walk_back(store, "e9")
    record_fills(store, book, [desk.fill("e1", "c1", 1, 1, 1, "1")], cuts.of(DAYS[0]))
    with pytest.raises(UnknownDecision, match="order c1"):
        walk_back(store, "e1")
