from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from quant_assets.backtest import loop
from quant_assets.backtest.loop import run
from quant_assets.errors import ConfigurationError, DataError
from quant_assets.tables import COSTS, DECISIONS, FILLS, JOURNAL, NAV, ORDERS, PNL, POSITIONS
from resources.tables.store import DeltaStore
from tests.execution.small_market import CUTS, PAPER, RESEARCH, SESSIONS, STRATEGY, Home, decisions, stored

WRITTEN = (ORDERS, FILLS, POSITIONS, JOURNAL, PNL, NAV, COSTS)


def tables(store: DeltaStore) -> dict[str, pl.DataFrame]:
    return {t.name: store.read(t, as_of=None) for t in WRITTEN}


def differing(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> list[str]:
    return [name for name in one if not one[name].equals(other[name])]


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    store = stored(tmp_path_factory.mktemp("range"))
    run(store, STRATEGY, RESEARCH, CUTS, SESSIONS)
    return tables(store)


def test_market_exercises_what_it_should(ranged):
    """The comparison below is worth something: carried orders, expiries, splits, dividends and a delisting happen
    in it.
    """
    assert {"FILLED", "PARTIAL", "EXPIRED"} <= set(ranged["orders"]["state"])
    assert {"deposit", "trade", "fee", "dividend", "cash_in_lieu", "delisting"} == set(ranged["journal"]["kind"])
    assert ranged["orders"]["leg"].unique().sort().to_list() == ["exit", "rebalance"]
    assert (ranged["nav"]["names"] > 0).sum() > 8


def test_range_equals_days(ranged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The range in one call, in chunks, and day by day write the same rows, bit for bit."""
    by_day = stored(tmp_path / "days")
    for session in SESSIONS:
        run(by_day, STRATEGY, RESEARCH, CUTS, [session])
    assert differing(ranged, tables(by_day)) == []
    monkeypatch.setattr(loop, "CHUNK", 5)
    chunked = stored(tmp_path / "chunks")
    run(chunked, STRATEGY, RESEARCH, CUTS, SESSIONS)
    assert differing(ranged, tables(chunked)) == []


def test_live_path_equals_range(ranged, tmp_path: Path):
    """Day by day through outbox, venue and drop copy ends in the same orders, fills, cash and P&L, to the cent,
    with nothing to reconcile.
    """
    home = Home(tmp_path)
    for session in SESSIONS:
        assert home.day(session).state in {"done", "empty"}, home.told.subjects
    assert differing(ranged, tables(home.store)) == []
    assert home.ledger.breaks.listed() == []


def test_again_is_a_no_op(ranged, tmp_path: Path):
    """Trading sessions that are booked writes nothing; later ones go on from there."""
    store = stored(tmp_path)
    run(store, STRATEGY, RESEARCH, CUTS, SESSIONS[:6])
    assert run(store, STRATEGY, RESEARCH, CUTS, SESSIONS[:6]).rows == 0
    run(store, STRATEGY, RESEARCH, CUTS, SESSIONS)
    assert differing(ranged, tables(store)) == []


def test_equity_is_what_the_journal_and_pnl_say(ranged):
    """Cash is the sum of the journal; the P&L by name adds up to the change of equity, every session."""
    nav = ranged["nav"]
    journal = ranged["journal"].group_by("session").agg(pl.col("amount").sum()).sort("session")
    assert nav["cash"].to_list() == [
        sum(journal.filter(pl.col("session") <= s)["amount"], Decimal(0)) for s in nav["session"]
    ]
    by_name = {s: sum(ranged["pnl"].filter(pl.col("session") == s)["total"], Decimal(0)) for s in nav["session"]}
    equity = [RESEARCH.capital, *nav["equity"]]
    assert list(by_name.values()) == [b - a for a, b in pairwise(equity)]


def test_the_first_recorded_set_is_traded(ranged, tmp_path: Path):
    """A decision set recorded later for the same session changes nothing in a backtest either."""
    store = stored(tmp_path)
    other = decisions(SESSIONS[2], {1: 0.9}).with_columns(recorded_at=pl.col("recorded_at") + timedelta(days=9))
    store.append(DECISIONS, other)
    run(store, STRATEGY, RESEARCH, CUTS, SESSIONS)
    assert differing(ranged, tables(store)) == []


def test_refusals(tmp_path: Path):
    """A book with a venue is not simulated, and no session is left out."""
    store = stored(tmp_path)
    with pytest.raises(ConfigurationError, match="only research books"):
        run(store, STRATEGY, PAPER, CUTS, SESSIONS)
    with pytest.raises(DataError, match="in order"):
        run(store, STRATEGY, RESEARCH, CUTS, [SESSIONS[0], SESSIONS[2]])
    run(store, STRATEGY, RESEARCH, CUTS, SESSIONS[:1])
    with pytest.raises(DataError, match="in order"):
        run(store, STRATEGY, RESEARCH, CUTS, SESSIONS[2:4])
