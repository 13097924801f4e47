"""Labels of halted names: known when the name trades again, or when it is known to have ended; put right by a later
row.
"""

from pathlib import Path

import polars as pl
import pytest

from quant_assets.contract import in_force
from quant_assets.features.labels import compute_labels, publish_labels
from quant_assets.tables import LABELS
from tests.features.test_labels import CUTS, DAYS, HORIZON, action, bar, store


def of(name: pl.DataFrame, n: int) -> list[tuple[object, ...]]:
    """(session in which it was filed, value, died) of the labels of session n, in the order of knowledge."""
    found = name.filter(pl.col("session") == DAYS[n]).sort("known_at")
    return [(DAYS.index(e), round(v, 6), d) for e, v, d in found.select("label_end", "value", "died").rows()]


def test_a_window_that_ends_in_a_halt_is_known_when_the_name_trades_again(tmp_path: Path) -> None:
    """From open to the first open after the halt, through a split within it; filed then and not before, and windows
    that ended before the halt are as ever.
    """
    there = [bar(1, n, 10.0) for n in range(6)] + [bar(1, n, 1.5) for n in range(10, 14)]
    split = [action(1, 8, "split", numerator=2, denominator=1)]
    labels = compute_labels(store(tmp_path, there, split), CUTS, HORIZON, DAYS[4:14])
    assert of(labels, 1) == [(5, 0.0, False)]
    for n in (2, 3, 4):  # windows to the opens of 6, 7, 8
        assert of(labels, n) == [(10, -0.7, False)]
    assert of(labels, 5) == []  # nobody could have bought at the open of 6


def test_a_window_that_ends_in_a_halt_is_known_when_the_name_has_ended(tmp_path: Path) -> None:
    """A delisting told sessions later, its ex-session after the last bar: the last price times what it pays."""
    told = {"known_at": CUTS.of(DAYS[9]), "value": -0.5, "origin": "derived"}
    held = store(tmp_path, [bar(1, n, 10.0) for n in range(6)], [action(1, 6, "delisting", **told)])
    labels = compute_labels(held, CUTS, HORIZON, DAYS[4:14])
    for n in (2, 3, 4):
        assert of(labels, n) == [(9, round(11 / 10 * 0.5 - 1, 6), True)]
    assert compute_labels(held, CUTS, HORIZON, DAYS[4:9])["session"].max() == DAYS[1]


def test_what_was_filed_of_an_ended_name_is_put_right_when_it_trades_again(tmp_path: Path) -> None:
    """The last price first, when absence ended the name; the real return by a later row, which is in force from then
    on.
    """
    ended = {"value": 0.0, "origin": "derived"}
    acts = [
        action(1, 6, "delisting", known_at=CUTS.of(DAYS[9]), **ended),
        action(1, 6, "delisting", known_at=CUTS.of(DAYS[12]), withdrawn=True, **ended),
    ]
    bars = [bar(1, n, 10.0) for n in range(6)] + [bar(1, n, 3.0) for n in range(12, 16)]
    held = store(tmp_path, bars, acts)
    publish_labels(held, CUTS, HORIZON, DAYS[4:16])
    stored = held.read(LABELS, as_of=None)
    for n in (2, 3, 4):
        assert of(stored, n) == [(9, 0.1, True), (12, -0.7, False)]
    known = in_force(held.read(LABELS, as_of=CUTS.of(DAYS[11])), LABELS)
    assert of(known, 3) == [(9, 0.1, True)]
    assert of(in_force(stored, LABELS), 3) == [(12, -0.7, False)]


def test_an_ending_told_otherwise_is_filed_again(tmp_path: Path) -> None:
    """What the vendor declares after absence had ended the name replaces the last price."""
    acts = [
        action(1, 6, "delisting", value=0.0, origin="derived", known_at=CUTS.of(DAYS[9])),
        action(1, 6, "delisting", value=-0.9, known_at=CUTS.of(DAYS[11])),
    ]
    labels = compute_labels(store(tmp_path, [bar(1, n, 10.0) for n in range(6)], acts), CUTS, HORIZON, DAYS[4:14])
    assert of(labels, 3) == [(9, 0.1, True), (11, round(1.1 * 0.1 - 1, 6), True)]


def test_a_bar_that_comes_late_settles_its_label(tmp_path: Path) -> None:
    """A bar that arrives a capture late is the price of its own session, known when it came."""
    bars = [bar(1, n, 10.0 + n, days_late=1 if n == 6 else 0) for n in range(10)]
    labels = compute_labels(store(tmp_path, bars), CUTS, HORIZON, DAYS[4:10])
    assert of(labels, 2) == [(7, round(16 / 13 - 1, 6), False)]
    assert of(labels, 3) == [(7, round(17 / 14 - 1, 6), False)]


@pytest.mark.parametrize("halt", [(6, 7), (6, 16), (3, 12)])
def test_a_range_equals_its_days_through_halts(tmp_path: Path, halt: tuple[int, int]) -> None:
    """Whatever sessions are computed together: the bits of each alone, across a name's halt, a late bar and a delisting
    that was not true.
    """
    out = range(*halt)
    bars = [bar(1, n, 10.0 - 0.1 * n) for n in range(18) if n not in out]
    bars += [bar(2, n, 20.0 + n, days_late=2 * (n == 9)) for n in range(18)]
    ended = {"value": 0.0, "origin": "derived"}
    acts = [
        action(1, halt[0], "delisting", known_at=CUTS.of(DAYS[halt[1] - 1]), **ended),
        action(1, halt[0], "delisting", known_at=CUTS.of(DAYS[halt[1]]), withdrawn=True, **ended),
    ]
    held = store(tmp_path, bars, acts)
    whole = compute_labels(held, CUTS, HORIZON, DAYS[4:18])
    days = pl.concat(compute_labels(held, CUTS, HORIZON, [d]) for d in DAYS[4:18])
    assert whole.equals(days.sort(LABELS.key))
    assert whole.filter(pl.col("sid") == 1).height > 3
