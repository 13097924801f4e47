"""The table of cases: action × when it is known × state of the order × side, each a name of one book."""

import os
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tests.books import hand_made
from tests.books.hand_made import Desired, S, bar, traded
from tests.books.oracle import ACTIONS, CHANGED, CHILD, END, EX, HELD, KNOWN, Case, cases, price_at, written
from tests.execution.small_market import action

D = S[: END + 1]
OTHER = 10_000


def test_the_table_is_what_arithmetic_says():
    """Every row is the oracle's, and none is missing."""
    assert written() == list(cases())


def rows(case: Case, sid: int) -> list[dict[str, object]]:
    """The versions of the case's action."""
    kind, terms, _, again = ACTIONS[case.action]
    counterpart = f"S{sid + OTHER}" if "numerator" in terms and kind in {"spin_off", "merger"} else None

    def version(known: int, values: dict[str, Any], *, withdrawn: bool = False) -> dict[str, object]:
        exact = {k: Decimal(v) if k == "cash" else v for k, v in values.items()} | {"counterpart": counterpart}
        return action(sid, D[EX], kind, D[known], withdrawn=withdrawn, **exact)

    first = version(KNOWN[case.known], terms)
    if case.known == "withdrawn":
        return [first, version(CHANGED, terms, withdrawn=True)]
    return [first, version(CHANGED, again)] if case.known == "restated" else [first]


def bars(case: Case, sid: int) -> list[dict[str, object]]:
    """Prices, and a volume that fills what the case says."""
    volume = {"working": 0, "partly filled": 20_000}.get(case.order, 1_000_000)
    of = [
        bar(d, sid, float(price), volume=volume if n == EX - 1 else 1_000_000)
        for n, d in enumerate(D)
        if (price := price_at(case, n)) is not None
    ]
    other = [bar(d, sid + OTHER, float(CHILD)) for d in D] if rows(case, sid)[0]["counterpart"] else []
    return of + other


def wanted(table: list[Case], session: date) -> Desired:
    """The shares to hold by name, where something is decided in the session."""
    n, found = D.index(session), dict[int, int]()
    for sid, case in enumerate(table, 1):
        sign = 1 if case.side == "long" else -1
        if n == 0:
            found[sid] = sign * HELD
        elif n == {"": -1, "pending": EX - 1}.get(case.order, EX - 2) and case.trade:
            found[sid] = 0 if case.trade == "exit" else sign * (HELD + HELD // 2)
    return found


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Case], hand_made.Live]:
    # every seventh has each action, time, order and side; `make chaos-home` trades them all
    table = written()[:: 1 if "QUANT_CHAOS" in os.environ else 7]
    prices = [b for sid, case in enumerate(table, 1) for b in bars(case, sid)]
    acted = [r for sid, case in enumerate(table, 1) for r in rows(case, sid)]
    root = tmp_path_factory.mktemp("table")
    return table, traded(root, prices, acted, {d: wanted(table, d) for d in D}, capital=Decimal(1_000_000_000))


def test_each_case_ends_as_worked_out(book: tuple[list[Case], hand_made.Live]):
    """Shares of the name and of the other one, and the cash of both, to the cent, live and in research, with nothing
    that differs from the venue on any day.
    """
    table, live = book
    held = live.held(D[-1])
    cash = dict(live.read(hand_made.JOURNAL).group_by("sid").agg(pl.col("amount").sum()).iter_rows())
    ended = [
        case._replace(
            shares=held.get(sid, 0),
            other=held.get(sid + OTHER, 0),
            cash=cash[sid] + cash.get(sid + OTHER, Decimal(0)),
        )
        for sid, case in enumerate(table, 1)
    ]
    assert [(a, b) for a, b in zip(ended, table, strict=True) if a != b] == []
