"""What is counted as an order that came to nothing."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from quant_assets.execution.outcome import counted, in_words
from quant_assets.records import OrderState, Working


@pytest.mark.parametrize(
    ("state", "filled", "says"),
    [
        (OrderState.EXPIRED, 0, "of 1 order(s) 1 expired"),
        (OrderState.EXPIRED, 7, ""),  # it traded; what is left is decided anew
        (OrderState.REJECTED, 0, "of 1 order(s) 1 rejected"),
        (OrderState.CANCELED, 7, "of 1 order(s) 1 canceled"),
        (OrderState.FILLED, 9, ""),
    ],
)
def test_what_came_to_nothing(state: OrderState, filled: int, says: str) -> None:
    """By how the order ended, and whether the market took any of it."""
    order = cast("Any", SimpleNamespace(order=None, state=state, filled=filled))
    assert in_words(counted([cast("Working", order)]), 1) == says
