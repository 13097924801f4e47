"""Real hours of a coin, decided by range, one by one, and traded live at a paper venue: the same to the bit."""

from pathlib import Path

from bench.hourly_real import COINBASE, compare


def test_real_hours_by_range_and_live(shared_data: Path, tmp_path: Path) -> None:
    """Coinbase in April 2018: scores, decisions, orders, fills and cash of a range are those of its slots, live too."""
    found = compare(shared_data, COINBASE, tmp_path)
    assert (found.slots, found.decisions) == (24, 48)
    assert found.trades > 20
    assert found.fills > 0
    assert found.differ == ()
    assert found.live_differ == ()
