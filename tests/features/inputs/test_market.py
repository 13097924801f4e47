"""The market's return: by hand, and frozen at each session's cut."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from quant_assets.features.inputs.market import market_return
from tests.features.small_history import CUTS, DAYS, NAME, bar, history, known, member


def action(
    sid: int, n: int, kind: str, *, late: int = 0, withdrawn: bool = False, **values: object
) -> dict[str, object]:
    """An action with ex-session n, known at its cut or so many days later."""
    return {
        "sid": sid,
        "session": DAYS[n],
        "kind": kind,
        "origin": "declared",
        "confidence": 1.0,
        "withdrawn": withdrawn,
        "known_at": known(DAYS[n], late),
        **values,
    }


def test_the_mean_over_the_members_by_hand(tmp_path: Path) -> None:
    """A split halves the price and a dividend leaves it, neither is a loss; no member, not traded today or yesterday:
    not in it.
    """
    bars = [
        *(bar(1, DAYS[n], c) for n, c in enumerate([100.0, 52.0, 53.0])),  # split 2 for 1 on day 1
        *(bar(2, DAYS[n], c) for n, c in enumerate([50.0, 49.0, 48.0])),  # pays 2 on day 1
        *(bar(3, DAYS[n], c) for n, c in ((0, 10.0), (2, 11.0))),  # halted on day 1
        *(bar(4, DAYS[n], c) for n, c in enumerate([10.0, 20.0, 40.0])),  # no member before day 2
        *(bar(5, DAYS[n], c) for n, c in enumerate([10.0, 20.0, 40.0])),  # never one
    ]
    actions = [action(1, 1, "split", numerator=2, denominator=1), action(2, 1, "dividend", cash=Decimal("2.0"))]
    members = [*(member(sid) for sid in (1, 2, 3)), member(4, DAYS[2])]
    store = history(tmp_path, bars=bars, actions=actions, universe=members)
    found = dict(market_return(store, CUTS, NAME, DAYS[:3]).iter_rows())
    assert found == pytest.approx({DAYS[1]: (0.04 + (49 / 48 - 1)) / 2, DAYS[2]: (53 / 52 - 1 + 48 / 49 - 1 + 1.0) / 3})
    assert DAYS[0] not in found


def test_what_is_learnt_later_changes_nothing(tmp_path: Path) -> None:
    """Restatements, late and withdrawn bars, late and withdrawn actions count from the first cut that knew them, and
    only in the sessions decided from then on.
    """
    bars = [
        *(bar(1, DAYS[n], 100.0 + n) for n in range(5)),
        bar(1, DAYS[1], 111.0, late=1),  # a Monday: restated before Tuesday's cut, so it is Tuesday's close before
        bar(1, DAYS[3], 999.0, late=30),
        *(bar(2, DAYS[n], 10.0 + n) for n in (0, 1, 3, 4)),
        bar(2, DAYS[2], 12.0, late=1),  # late: there as the close before day 3
        bar(2, DAYS[3], 13.0, late=1, withdrawn=True),
    ]
    actions = [
        action(1, 4, "split", numerator=3, denominator=1, late=3),
        action(1, 2, "dividend", cash=Decimal("1.0")),
        action(1, 2, "dividend", cash=Decimal("1.0"), late=2, withdrawn=True),
    ]
    store = history(tmp_path, bars=bars, actions=actions, universe=[member(1), member(2)])
    expected = {
        DAYS[1]: (101 / 100 + 11 / 10) / 2 - 1,
        DAYS[2]: 102 / 111 / (1 - 1 / 111) - 1,
        DAYS[3]: (103 / 102 + 13 / 12) / 2 - 1,
        DAYS[4]: 104 / 103 - 1,
    }
    ranged = market_return(store, CUTS, NAME, DAYS[:30])
    assert dict(ranged.iter_rows()) == pytest.approx(expected)
    assert DAYS[1] + timedelta(days=1) == DAYS[2]
    for session, value in ranged.iter_rows():
        assert market_return(store, CUTS, NAME, [session])["market"].to_list() == [value]


def test_without_members_there_is_no_market(tmp_path: Path) -> None:
    """Before the universe begins there is no value."""
    store = history(
        tmp_path, bars=[bar(1, s, 10.0) for s in DAYS[:5]], universe=[member(1, DAYS[3], at=known(DAYS[3]))]
    )
    assert market_return(store, CUTS, NAME, DAYS[:5])["session"].to_list() == DAYS[3:5]
