"""Corporate actions against orders that work: learned in time or late, none sells what is not held or pays twice."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.books.holdings import Holdings
from quant_assets.execution.doubtful import expire_restated
from quant_assets.execution.orders import orders_for
from quant_assets.records import OrderState
from quant_assets.tables import COSTS
from tests.books.hand_made import FREE, Live, S, bar, traded
from tests.execution.small_market import CUTS, PAPER, STRATEGY, action

REVERSE: dict[str, Any] = {"numerator": 1, "denominator": 10}


def test_a_reverse_split_learned_while_a_sale_waits_for_a_halted_name(tmp_path: Path):
    """5,000 shares at 10 become 500 at 100. The sale in old shares expires, and the next one is of 500."""
    d = S[:8]
    bars = [bar(s, 1, 10) for s in d[:3]] + [bar(s, 1, 100) for s in d[4:]] + [bar(s, 2, 50) for s in d]
    wanted = {s: {1: 5000 if s < d[2] else 0} for s in d}
    live = traded(tmp_path, bars, [action(1, d[3], "split", d[4], **REVERSE)], wanted)
    assert [live.held(s) for s in d] == [{}, {1: 5000}, {1: 5000}, {1: 5000}, {1: 500}, {}, {}, {}]
    assert live.orders() == [(1, 5000, "FILLED", 5000), (1, -5000, "EXPIRED", 0), (1, -500, "FILLED", 500)]
    # bought at 10.005 and sold at 99.95, with 25.00 and 2.50 of commission
    assert live.evening(d[3]) == (Decimal(49950), Decimal(99950))
    assert live.evening(d[4]) == (Decimal(49950), Decimal(99950))
    assert live.evening(d[7]) == (Decimal("99922.5"), Decimal("99922.5"))


def test_a_reverse_split_learned_while_a_sale_of_a_thin_name_is_spread_over_sessions(tmp_path: Path):
    """1,000 of 5,000 are sold at 10; then the price is 100 and nobody knows why: nothing is sold and the mark stays,
    until 4,000 are 400.
    """
    d = S[:9]
    bars = [bar(s, 1, 10, volume=1_000_000 if s < d[2] else 20_000) for s in d[:4]]
    bars += [bar(s, 1, 100, volume=20_000) for s in d[4:]]
    wanted = {s: {1: 5000 if s < d[2] else 0} for s in d}
    live = traded(tmp_path, bars, [action(1, d[4], "split", d[5], **REVERSE)], wanted)
    assert [live.held(s) for s in d[2:7]] == [{1: 5000}, {1: 4000}, {1: 4000}, {1: 400}, {}]
    assert {live.evening(s) for s in d[3:6]} == {(Decimal(59940), Decimal(99940))}
    assert live.orders()[1:] == [(1, -5000, "EXPIRED", 1000), (1, -400, "FILLED", 400)]
    assert "PRICE_UNEXPLAINED" in " ".join(live.told.subjects)


def test_the_other_orders_are_sized_on_the_last_explained_mark(tmp_path: Path):
    """A book of three names at 40%, 30% and 30%: while one price is ten times yesterday's, nothing is traded on it, and
    the others are not either, for the book is worth what it was.
    """
    d = S[:8]
    bars = [bar(s, 1, 10 if s < d[4] else 100) for s in d] + [bar(s, k, p) for s in d for k, p in ((2, 50), (3, 20))]
    wanted = {s: {1: 0.4, 2: 0.3, 3: 0.3} for s in d}
    live = traded(tmp_path, bars, [action(1, d[4], "split", d[5], **REVERSE)], wanted, strategy=STRATEGY)
    assert [live.held(s) for s in d[4:6]] == [{1: 4000, 2: 600, 3: 1500}, {1: 400, 2: 600, 3: 1500}]
    assert len({live.evening(s) for s in d[1:]}) == 1
    assert len(live.orders()) == 3


@pytest.mark.parametrize(
    ("kind", "terms", "paid"), [("delisting", {"value": -0.2}, 40_000), ("merger", {"cash": Decimal(11)}, 55_000)]
)
@pytest.mark.parametrize("late", [0, 1, 2])
def test_paid_out_or_sold_but_not_both(tmp_path: Path, kind: str, terms: dict[str, Any], paid: int, late: int):
    """The vendor still prints a bar on the ex-session. Known in time, the sale that works expires and the 5,000 shares
    are paid out; known later, they were sold at 9.995 on that bar, and nothing is left to pay for.
    """
    d = S[:8]
    bars = [bar(s, 1, 10) for s in d[:5]] + [bar(s, 2, 50) for s in d]
    wanted = {s: {1: 5000 if s < d[3] else 0} if s < d[4] else {} for s in d}
    known: date = d[4 + late] if late else d[3]
    live = traded(tmp_path, bars, [action(1, d[4], kind, known, **terms)], wanted)
    cash = 49_950 + (49_975 - 25 if late else paid)
    assert (live.held(d[4]), live.evening(d[7])) == ({}, (Decimal(cash), Decimal(cash)))
    assert live.orders()[1] == ((1, -5000, "FILLED", 5000) if late else (1, -5000, "EXPIRED", 0))


@pytest.mark.parametrize("late", [0, 1])
def test_a_sale_of_a_name_that_ends_without_a_bar(tmp_path: Path, late: int):
    """The 5,000 shares are paid out at 10 less a fifth, in the session that knows of it."""
    d = S[:8]
    bars = [bar(s, 1, 10) for s in d[:4]] + [bar(s, 2, 50) for s in d]
    wanted = {s: {1: 5000 if s < d[3] else 0} if s < d[4] else {} for s in d}
    known = d[5] if late else d[3]
    live = traded(tmp_path, bars, [action(1, d[4], "delisting", known, value=-0.2)], wanted)
    assert live.orders()[1] == (1, -5000, "EXPIRED", 0)
    assert live.evening(d[7]) == (Decimal(89950), Decimal(89950))


@pytest.mark.parametrize(
    ("kind", "known", "unsent"), [("split", 1, False), ("split", 2, True), ("merger", 2, True), ("dividend", 2, False)]
)
def test_what_waits_to_be_sent_when_an_action_becomes_known(tmp_path: Path, kind: str, known: int, unsent: bool):
    """An order decided before anybody knew of the split or merger is not sent any more. One that was decided in
    knowledge of it is, and so is one in a name that only pays.
    """
    terms: dict[str, Any] = {"cash": Decimal(1)} if kind != "split" else REVERSE
    row = action(1, S[2], kind, S[1], **terms)
    if known == 2:  # between the cut and the open
        row["known_at"] = CUTS.of(S[1]) + timedelta(minutes=5)
    live = Live(tmp_path, [bar(s, 1, 10) for s in S[:3]], [row], PAPER, FREE)
    live.day(S[0], {})
    outbox, now = live.ledger.outbox, CUTS.of(S[1]) + timedelta(minutes=6)
    frame = pl.DataFrame(
        {
            "session": [S[1]], "slot": ["open"], "sid": [1], "symbol": ["S1"], "verdict": ["TRADE"],
            "target_weight": [0.1],
            "reference_price": [10.0], "decision_id": ["d"], "decision_set_id": ["s"],
        }
    )  # fmt: skip
    nothing = Holdings(session=S[1], cash=PAPER.capital, quantities={}, marks={})
    orders = orders_for(PAPER, FREE, frame, nothing, (), S[2], CUTS.calendar, {})
    with outbox.lease(PAPER, 60) as writer:
        writer.bind(PAPER.name, FREE.name, S[1], "s", orders, now=now)
        expire_restated(live.store, outbox, writer, PAPER, CUTS, now, live.told)
    (item,) = outbox.orders(PAPER.name)
    assert item.state is (OrderState.EXPIRED if unsent else OrderState.PENDING)
    assert ("CORPORATE_ACTION" in " ".join(live.told.subjects)) is unsent


def test_an_order_that_a_jump_ended_has_no_opportunity_cost(tmp_path: Path):
    """4,000 shares decided at 10 were not sold, and the last close is 100 for a share of another kind."""
    d = S[:6]
    bars = [bar(s, 1, 10, volume=1_000_000 if s < d[2] else 20_000) for s in d[:4]]
    bars += [bar(s, 1, 100, volume=20_000) for s in d[4:]]
    wanted = {s: {1: 5000 if s < d[2] else 0} for s in d}
    live = traded(tmp_path, bars, [action(1, d[4], "split", d[5], **REVERSE)], wanted)
    costs = live.read(COSTS).filter(pl.col("side") < 0)
    assert costs.select("session", "filled", "opportunity").rows() == [(d[3], 1000, 0), (d[4], 0, 0)]
