"""Hourly decisions: live, a slot at a time or after any interruption, they are those of a range, to the bit."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from shutil import copytree

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_assets.signals.replay import replay
from quant_assets.tables import BAR_LABELS, DECISIONS, SCORES
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.tables.store import DeltaStore
from tests.signals import hourly_market as market
from tests.signals.hourly_market import HOUR, NAMES, TRAINED, at_once, bars, begun, slots_after


class Tracked:
    """A registry that keeps nothing."""

    def log(self, **_told: object) -> str:
        """See the port."""
        return "1"

    def promote(self, strategy: str, registry_version: str) -> None:
        """See the port."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model, and no decision yet."""
    root = tmp_path_factory.mktemp("hourly")
    store = begun(root)
    store.append(INTRADAY_BARS, bars())
    assert market.history(store, Tracked()).numbers["promoted"]
    return root


@pytest.fixture(scope="module")
def ranged(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """Every slot after the training, in one go."""
    store = DeltaStore(copytree(trained, tmp_path_factory.mktemp("range") / "home"))
    assert at_once(store, slots_after(TRAINED)).state == "done"
    return store


def content(store: DeltaStore) -> pl.DataFrame:
    """What was scored and decided."""
    return store.read(DECISIONS, as_of=None).select(DECISIONS.content)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 47), max_size=5, unique=True))
def test_a_range_equals_its_slots_however_it_is_interrupted(
    trained: Path, ranged: DeltaStore, tmp_path_factory: pytest.TempPathFactory, cut_at: list[int]
) -> None:
    """Bars come as they become known; some slots are decided one by one, others together after an interruption."""
    live = DeltaStore(copytree(trained, tmp_path_factory.mktemp("live") / "home"))
    asked = slots_after(TRAINED)
    for a, b in pairwise([0, *sorted(cut_at), len(asked)]):
        at_once(live, asked[a:b])
        at_once(live, asked[a:b])  # again: a no-op
    assert content(live).equals(content(ranged))
    assert live.read(SCORES, as_of=None).equals(ranged.read(SCORES, as_of=None))


def test_a_slot_alone_in_a_store_that_knows_no_more(trained: Path, ranged: DeltaStore, tmp_path: Path) -> None:
    """Nothing that became known after a cut is in its decisions: one slot, where no later bar was ever stored."""
    asked = slots_after(TRAINED)
    for n in (0, 24, 41):
        live = begun(tmp_path / str(n))
        live.append(INTRADAY_BARS, bars().filter(pl.col("known_at") <= asked[n].cut))
        market.history(live, Tracked())
        at_once(live, [asked[n]])
        same = (pl.col("session") == asked[n].session) & (pl.col("slot") == asked[n].slot)
        assert content(live).equals(content(ranged).filter(same))


def test_what_is_decided(ranged: DeltaStore) -> None:
    """Each slot has a set of its own; a name whose bar was not there at its cut is not traded; who left is closed."""
    rows = content(ranged)
    asked = slots_after(TRAINED)
    assert rows.select("session", "slot").n_unique() == len(asked) == 48
    assert rows["decision_set_id"].n_unique() == 48
    assert rows["decision_id"].n_unique() == rows.height
    traded = rows.filter(verdict="TRADE")
    assert {"SELECTED", "NOT_SELECTED", "DATA_NO_BAR", "LEFT_UNIVERSE"} <= set(rows["reason"])
    assert (traded.filter(reason="SELECTED").group_by("session", "slot").len()["len"] <= 3).all()
    known = ranged.read(INTRADAY_BARS, as_of=None)
    for session, slot, sid in rows.filter(reason="DATA_NO_BAR").select("session", "slot", "sid").head(20).rows():
        at = next(s for s in asked if (s.session, s.slot) == (session, slot))
        there = known.filter(symbol=f"N{sid - 100}", ts=at.bar).filter(pl.col("known_at") <= at.cut)
        assert there.is_empty()
    left = rows.filter(reason="LEFT_UNIVERSE").select("session", "sid").unique()
    assert left.rows() == [(date(2026, 2, 10), 100)]  # known at the cut of the 9th
    assert (rows["valid_until"] - rows["as_of"] == HOUR - timedelta(seconds=20)).all()


def test_a_venue_without_bars_is_not_traded(trained: Path, tmp_path: Path) -> None:
    """No bar of the slot at all: every row is DATA_MISSING, whatever was scored before."""
    store = DeltaStore(copytree(trained, tmp_path / "home"))
    asked = slots_after(TRAINED)[5:7]
    gone = store.read(INTRADAY_BARS, as_of=None).filter(ts=asked[1].bar)
    stopped = begun(tmp_path / "stopped")
    stopped.append(INTRADAY_BARS, bars().join(gone, on=["symbol", "ts"], how="anti"))
    market.history(stopped, Tracked())
    at_once(stopped, asked)
    by_slot = dict(content(stopped).group_by("slot").agg(pl.col("reason").unique().sort()).iter_rows())
    assert by_slot[asked[1].slot] == ["DATA_MISSING"]
    assert "SELECTED" in by_slot[asked[0].slot]


def test_a_decision_is_rebuilt_from_its_bars(trained: Path, ranged: DeltaStore) -> None:
    """Of each reason one, from bars and the model's text alone: every field is the same to the bit."""
    rows = ranged.read(DECISIONS, as_of=None).unique("reason", maintain_order=True)
    assert rows.height >= 4
    for row in rows.iter_rows(named=True):
        found = replay(
            ranged,
            lambda _: market.FEATURES,
            lambda _: market.STRATEGY,
            market.CUTS,
            row["decision_id"],
            market.BESIDE,
            on_bars=[market.ON_BARS],
        )
        assert [f.name for f in found.fields if f.stored != f.replayed] == []


def test_labels_are_of_opens_that_orders_fill_at(trained: Path) -> None:
    """By hand: open of the next bar to open two bars later, known when that bar had ended."""
    store = DeltaStore(trained)
    labels = store.read(BAR_LABELS, as_of=None)
    first = bars().sort("known_at").unique(["symbol", "ts"], keep="first")
    opens = {(s, t): o for s, t, o in first.select("symbol", "ts", "open").rows()}
    some = labels.sample(200, seed=1)
    for ts, symbol, value, end, known_at in some.select("ts", "symbol", "value", "label_end", "known_at").rows():
        assert end == ts + 3 * HOUR
        assert known_at == end + HOUR + timedelta(seconds=20)
        assert value == pytest.approx(opens[symbol, end] / opens[symbol, ts + HOUR] - 1)
    assert labels["symbol"].n_unique() == NAMES
