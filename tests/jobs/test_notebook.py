"""What a notebook gets from `Notebook` is what the platform itself uses."""

from pathlib import Path

import polars as pl
import pytest

from desk.notebook import Notebook
from quant_assets.records import frame_hash
from quant_assets.tables import ACTIONS, BARS, FILLS, NAV, UNIVERSE
from tests.jobs.commands import FILLED, TRADED
from tests.jobs.small import CUTS, LIVE, PAPER, RESEARCH, STRATEGY, content, of_book, research

DAYS = LIVE[:4]


@pytest.fixture
def ws(own: Path) -> Notebook:
    return Notebook.open(own)


def test_bars_are_those_known_then(ws: Notebook) -> None:
    """Today one row a name and session; as of a cut none that was known later, and the one that was restated since
    as it stood.
    """
    now, then = ws.bars(LIVE[0], TRADED), ws.bars(LIVE[0], TRADED, as_of=CUTS.of(TRADED))
    assert not now.select("sid", "session").is_duplicated().any()
    assert then["known_at"].max() <= CUTS.of(TRADED)  # pyright: ignore[reportOperatorIssue]
    versions = (
        content(ws, BARS)
        .sort("sid", "session", "known_at")
        .filter(pl.col("close").n_unique().over("sid", "session") > 1)
    )
    sid, session, close, known = versions.select("sid", "session", "close", "known_at").row(0)
    assert (
        ws.bars(session, session, as_of=known).filter(sid=sid)["close"].item()
        == close
        != ws.bars(session, session).filter(sid=sid)["close"].item()
    )
    assert (
        ws.sql(f"select count(*) as n from bars where session = date '{TRADED}'").item()
        == now.filter(session=TRADED).height
    )


def test_bars_come_under_a_policy(ws: Notebook) -> None:
    """Raw by default; adjusted for splits in terms of the last session, so that the last session's prices are raw
    under every policy.
    """
    first, last = content(ws, BARS)["session"].min(), content(ws, BARS)["session"].max()
    raw, adjusted = ws.bars(first, last), ws.bars(first, last, policy="split-only")
    assert adjusted.select("sid", "session").equals(raw.select("sid", "session"))
    latest = ("sid", "open", "close")
    assert adjusted.filter(session=last).select(latest).equals(raw.filter(session=last).select(latest))
    split = content(ws, ACTIONS).filter(pl.col("kind") == "split", pl.col("session") > first)
    assert split.height > 0
    moved = adjusted.join(raw, on=["sid", "session"], suffix="_raw").filter(pl.col("close") != pl.col("close_raw"))
    assert set() < set(moved["sid"]) <= set(split["sid"])


def test_members_are_those_of_each_session_as_known_then(ws: Notebook) -> None:
    """One answer a session, by its own cut; there is no way to ask for today's."""
    members = ws.membership(STRATEGY.universe.name, until=TRADED).at(LIVE[:2], ws.cuts)
    intervals = content(ws, UNIVERSE)
    for session in LIVE[:2]:
        expected = intervals.filter(pl.col("session") <= session, session < pl.col("until"))["sid"].sort()
        assert members.filter(session=session)["who"].sort().to_list() == expected.to_list()
    assert ws.membership("no_such_index", until=TRADED).at(LIVE[:2], ws.cuts).is_empty()


def test_features_decisions_and_training_set(ws: Notebook) -> None:
    """Published values, stored decisions, and what a model may learn from at a cut: nothing whose label was known
    later.
    """
    assert set(ws.features(STRATEGY.feature_set, TRADED, TRADED)["sid"]) <= set(
        ws.decisions(STRATEGY.name, TRADED, TRADED)["sid"]
    )
    rows, snapshot = ws.training_set(STRATEGY.name, as_of=TRADED)
    assert rows.height > 500
    assert rows["label_known_at"].max() <= snapshot.known_at_cutoff == CUTS.of(TRADED)  # pyright: ignore[reportOperatorIssue]


def test_backtest_trades_the_range(ws: Notebook) -> None:
    """The NAV of the research book over the sessions: what the platform's own research writes, and again it writes
    nothing.
    """
    nav = ws.backtest(RESEARCH.name, DAYS[0], DAYS[-1])
    assert nav["session"].to_list() == DAYS
    assert nav["equity"].n_unique() > 1
    assert of_book(ws, NAV, RESEARCH).equals(of_book(ws, NAV, PAPER))
    version = ws.store.version(NAV)
    assert frame_hash(ws.backtest(RESEARCH.name, DAYS[0], DAYS[-1])) == frame_hash(nav)
    research(ws, RESEARCH, DAYS)
    assert ws.store.version(NAV) == version


def test_fills_carry_the_symbol_of_the_time(ws: Notebook) -> None:
    """Every execution once, under the symbol that its order had."""
    fills = ws.fills(PAPER.name)
    assert fills.height == content(ws, FILLS).height > 0
    symbols = {w.order.client_order_id: w.order.symbol for w in ws.ledger.outbox.orders(PAPER.name)}
    assert fills.filter(session=FILLED)["symbol"].to_list() == [
        symbols[c] for c in fills.filter(session=FILLED)["client_order_id"]
    ]
