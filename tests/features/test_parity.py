"""Every set, however its sessions are cut into runs: the same bits, as a range, in pieces, by the day, and live."""

from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.features.audit.views import KnownBy
from quant_assets.features.catalogue import OF_SESSIONS
from quant_assets.features.publish import anchors, compute, publish
from quant_assets.features.sets import FeatureSet
from quant_assets.tables import ACTIONS, BARS
from tests.features.audited_market import CUTS, SESSIONS, UNIVERSE_NAME, Memory, market

DAYS = SESSIONS[-55:]  # over the end of a quarter
EVERY = pytest.mark.parametrize("feature_set", OF_SESSIONS, ids=lambda s: s.name)
RANGED: dict[str, pl.DataFrame] = {}


def ranged(feature_set: FeatureSet) -> pl.DataFrame:
    """All of `DAYS` in one call."""
    if feature_set.name not in RANGED:
        RANGED[feature_set.name] = compute(market(), feature_set, UNIVERSE_NAME, CUTS, DAYS)
    return RANGED[feature_set.name]


def differing(feature_set: FeatureSet, one: pl.DataFrame, other: pl.DataFrame) -> list[str]:
    """The columns in which the frames differ in any bit, nulls told apart; the keys, where the rows are others."""
    keys = ["session", "universe", "sid", "version", "known_at"]
    if not one.select(keys).equals(other.select(keys)):
        return keys
    whole = np.uint32 if feature_set.dtype == pl.Float32 else np.uint64
    bits = [
        {c: (f[c].is_null().to_numpy(), f[c].fill_null(0).to_numpy().view(whole)) for c in feature_set.features}
        for f in (one, other)
    ]
    return [c for c in feature_set.features if any((a != b).any() for a, b in zip(bits[0][c], bits[1][c], strict=True))]


@EVERY
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_pieces_are_the_range(feature_set: FeatureSet, data: st.DataObject) -> None:
    """Cut at any sessions, and with any of the pieces left out, what remains has the bits of the range."""
    edges = [0, *sorted(data.draw(st.sets(st.integers(1, len(DAYS) - 1), min_size=1, max_size=4))), len(DAYS)]
    pieces = [DAYS[a:b] for a, b in pairwise(edges)]
    kept = data.draw(st.lists(st.sampled_from(range(len(pieces))), min_size=1, unique=True))
    parts = pl.concat([compute(market(), feature_set, UNIVERSE_NAME, CUTS, pieces[n]) for n in sorted(kept)])
    of_range = ranged(feature_set).filter(pl.col("session").is_in([d for n in kept for d in pieces[n]]))
    assert of_range.height > 0
    assert differing(feature_set, parts.sort(feature_set.table.key), of_range) == []


@EVERY
@settings(max_examples=6, deadline=None)
@given(at=st.integers(0, len(DAYS) - 1))
def test_live_is_the_range(feature_set: FeatureSet, at: int) -> None:
    """A day alone, on a store that has only what was known at its cut, has the bits that the range gives it long
    after.
    """
    day = DAYS[at]
    live = compute(KnownBy(market(), CUTS.of(day)), feature_set, UNIVERSE_NAME, CUTS, [day])
    assert differing(feature_set, live, ranged(feature_set).filter(pl.col("session") == day)) == []


@EVERY
def test_a_run_reads_no_bar_before_its_lookback(feature_set: FeatureSet) -> None:
    """Nothing before the anchor of the first block is asked for, of bars or of actions, and nothing that the last cut
    did not know.
    """
    asked: list[tuple[date | None, Any]] = []

    class Watched(Memory):
        def read(self, table, *, as_of, first=None, **more):  # the port's own signature
            if table.name in {BARS.name, ACTIONS.name}:
                asked.append((first, as_of))
            return market().read(table, as_of=as_of, first=first, **more)

    compute(Watched(), feature_set, UNIVERSE_NAME, CUTS, DAYS[:3])
    anchor = anchors(market(), feature_set, CUTS, DAYS[:1])["anchor"][0]
    assert asked
    assert all(
        first is not None
        and first >= CUTS.calendar.shift(anchor, -1)
        and as_of is not None
        and as_of <= CUTS.of(DAYS[2])
        for first, as_of in asked
    )


@EVERY
def test_published_once_is_published(feature_set: FeatureSet) -> None:
    """An interrupted publication goes on where it stopped; the same again writes nothing; the rows are those of one
    call.
    """
    store = Memory()
    store.frames = {name: rows for name, rows in market().frames.items() if name != feature_set.table.name}
    first = publish(store, feature_set, UNIVERSE_NAME, CUTS, DAYS[:20])
    rest = publish(store, feature_set, UNIVERSE_NAME, CUTS, DAYS)
    assert (first.rows + rest.rows, rest.numbers["published_before"]) == (ranged(feature_set).height, 20)
    assert publish(store, feature_set, UNIVERSE_NAME, CUTS, DAYS).rows == 0
    standing = store.read(feature_set.table, as_of=None, first=DAYS[0]).filter(pl.col("session").is_in(DAYS))
    assert differing(feature_set, standing, ranged(feature_set)) == []
