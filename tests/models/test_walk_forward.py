"""Splits of sessions: purge, embargo, and an oracle."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.calendars import Cuts, calendar
from quant_assets.models.walk_forward import folds

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
SESSIONS = XNYS.between(date(2024, 1, 2), date(2024, 6, 28))
CUT = {s: CUTS.of(s) for s in SESSIONS}


def known(horizon):
    """When the label of each session, from open(t+1) to open(t+1+horizon), is known."""
    return {s: CUTS.of(XNYS.shift(s, horizon + 1)) for s in SESSIONS}


@pytest.mark.parametrize(
    ("horizon", "embargo", "count", "size"), [(1, 0, 3, 10), (5, 0, 4, 7), (5, 5, 2, 20), (10, 3, 5, 12)]
)
def test_folds_are_those_of_scikit_learn(horizon, embargo, count, size):
    """On gapless sessions purge and embargo are TimeSeriesSplit's gap of horizon + embargo sessions."""
    from sklearn.model_selection import TimeSeriesSplit

    theirs = TimeSeriesSplit(n_splits=count, test_size=size, gap=horizon + embargo).split(np.arange(len(SESSIONS)))
    ours = folds(SESSIONS, known(horizon), CUT, count=count, size=size, embargo=embargo)
    assert [(list(f.train), list(f.test)) for f in ours] == [
        ([SESSIONS[i] for i in a], [SESSIONS[i] for i in b]) for a, b in theirs
    ]


@settings(max_examples=40, deadline=None)
@given(
    horizon=st.integers(1, 12),
    embargo=st.integers(0, 8),
    size=st.integers(1, 25),
    missing=st.sets(st.integers(0, len(SESSIONS) - 1), max_size=30),
)
def test_no_training_window_overlaps_the_test(horizon, embargo, size, missing):
    """Whatever sessions are missing, each training label ends by the open before the first test label starts, and the
    embargo earlier.
    """
    present = [s for i, s in enumerate(SESSIONS) if i not in missing]
    for fold in folds(present, known(horizon), CUT, count=2, size=size, embargo=embargo):
        starts = XNYS.open(XNYS.shift(fold.test[0], 1))
        ends = [XNYS.open(XNYS.shift(s, 1 + horizon)) for s in fold.train]
        assert all(end < starts for end in ends)
        if fold.train:
            assert XNYS.index(fold.test[0]) - XNYS.index(fold.train[-1]) >= horizon + 1 + embargo


def test_late_labels_do_not_train():
    """A label that became known late is purged by its knowledge time, however old its session."""
    late = known(1) | {SESSIONS[3]: CUT[SESSIONS[-1]]}
    (fold,) = folds(SESSIONS, late, CUT, count=1, size=10)
    assert SESSIONS[2] in fold.train
    assert SESSIONS[3] not in fold.train


def test_rows_of_a_panel_are_refused():
    """Repeated sessions, which would stand on both sides of a split, are an error."""
    with pytest.raises(ValueError, match="unique"):
        folds([SESSIONS[0], SESSIONS[0]], known(1), CUT, count=1, size=1)
