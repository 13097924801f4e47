from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from quant_assets.market_data.jumps import PATIENCE, jumped, unexplained
from tests.books.hand_made import S, bar
from tests.execution.small_market import action, actions


@pytest.mark.parametrize(
    ("before", "now", "ratio"),
    [
        ("10", ["100"], "10:1"),
        ("10", ["104"], "10:1"),
        ("10", ["5.2"], "1:2"),
        ("10", ["4.1"], "2:5"),
        ("10", ["3.0"], ""),  # a loss of 70%, near no ratio
        ("10", ["6.7"], ""),  # 3:2 is no further than names move
        ("10", ["15"], ""),
        ("10", ["107", "100"], "10:1"),  # the open is near it, and the close is as far
        ("10", ["11", "100"], ""),  # one print, and the close is back
        ("0", ["5"], ""),
    ],
)
def test_what_is_a_jump(before: str, now: list[str], ratio: str):
    """Far from the price before, and near a ratio that companies choose."""
    assert jumped(Decimal(before), *(Decimal(n) for n in now)) == ratio


SPLIT: dict[str, Any] = {"numerator": 1, "denominator": 10}
TEN = [10.0] * 3
CASES = [
    ([*TEN, 100.0], [], True),
    ([*TEN, 100.0, 92.0, 111.0], [], True),  # it goes on from there
    ([*TEN, *[100.0] * PATIENCE], [], True),
    ([*TEN, *[100.0] * (PATIENCE + 1)], [], False),  # then it is what happened
    ([*TEN, 100.0, 10.5], [], False),  # it came back
    ([*TEN, None, None, 100.0], [], True),  # after a halt
    ([*TEN, 100.0], [action(1, S[3], "split", **SPLIT)], False),
    ([*TEN, 100.0], [action(1, S[4], "split", **SPLIT)], True),  # not ex yet
    ([*TEN, 10.0], [action(1, S[3], "split", **SPLIT)], False),  # no price jumped
    ([*TEN, 5.0], [action(1, S[3], "spin_off", value=5.0)], False),
    ([*TEN, 5.0], [action(1, S[3], "dividend", cash=Decimal(5))], False),
    ([*TEN, 5.0], [action(1, S[3], "dividend", cash=Decimal("0.1"))], True),
    ([*TEN, 3.0], [], False),
]


@pytest.mark.parametrize(("closes", "acted", "waits"), CASES)
def test_what_waits_for_an_explanation(closes: list[float | None], acted: list[dict[str, object]], waits: bool):
    """After the last close, by the actions in force."""
    days = S[: len(closes)]
    bars = pl.DataFrame([bar(d, 1, c) for d, c in zip(days, closes, strict=True) if c is not None])
    found = unexplained(bars.select("sid", "session", "open", "close"), actions(*acted), days)
    assert found["sid"].to_list() == [1] * waits
