"""Prices that jump by a simple ratio, as if the shares had been split or merged and no action reported it.

A move counts as such where it is large and near a ratio that companies choose. Real moves of that size exist: who asks
decides how long to wait for an explanation. Prices come as exact decimals, so that the answer is the same everywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from quant_assets.market_data.adjustment import SPLITS

PATIENCE = 5  # sessions after which a jump that nothing explained is taken for what happened

UP, DOWN = Decimal("1.8"), Decimal("0.55")  # beyond these a move is far
NEAR = Decimal("0.05")  # a day's own move lies on top of the ratio
TIMES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 150, 200, 250, 300, 400, 500, 1000)
RATIOS = ((5, 2), *((n, 1) for n in TIMES))


def far(before: Decimal, now: Decimal) -> bool:
    """Whether a price moved further than names usually do in a day."""
    return before > 0 and not DOWN * before <= now <= UP * before


def jumped(before: Decimal, *now: Decimal) -> str:
    """The ratio by which a price jumped from `before`, as in 10:1, where all of `now` are far from it and one of them
    is near such a ratio; empty where it did not.
    """
    if not all(far(before, price) for price in now):
        return ""
    found = (f"{n}:{m}" for n, m in _both_ways() for price in now if abs(price * m - before * n) <= NEAR * before * n)
    return next(found, "")


def _both_ways() -> Iterator[tuple[int, int]]:
    for n, m in RATIOS:
        yield n, m
        yield m, n


def unexplained(bars: pl.DataFrame, actions: pl.DataFrame, sessions: Sequence[date]) -> pl.DataFrame:
    """sid, jump (its ratio), since: the names whose price jumped by a ratio that no action explains, within
    `PATIENCE` sessions, and did not come back.

    `bars` (sid, session, open, close) and `actions` (sid, session, kind, numerator, denominator, cash, value) in force
    at one cut; `sessions` ascending, the last one that of the cut. A name whose closes lie close together is not looked
    at further.
    """
    opened = pl.when(pl.col("open").is_finite() & (pl.col("open") > 0)).then("open").alias("open")
    usable = bars.filter(
        pl.col("session").is_in(sessions), pl.col("close").is_finite(), pl.col("close") > 0
    ).with_columns(opened)
    spread = usable.group_by("sid").agg(spread=pl.col("close").max() / pl.col("close").min())
    wide = spread.filter(pl.col("spread") >= float(UP))["sid"]
    place = {session: n for n, session in enumerate(sessions)}
    found: list[tuple[int, str, date]] = []
    for sid in wide.sort():
        prices = usable.filter(pl.col("sid") == sid).sort("session").select("session", "open", "close").rows()
        acted = actions.filter(pl.col("sid") == sid).sort("session", "kind").rows(named=True)
        jump = _last_jump(prices, acted, place)
        if jump and len(sessions) - 1 - place[jump[1]] < PATIENCE:
            found.append((sid, *jump))
    return pl.DataFrame(found, schema={"sid": pl.Int64, "jump": pl.String, "since": pl.Date}, orient="row")


def _last_jump(
    prices: Sequence[tuple[date, float | None, float]], acted: Sequence[Mapping[str, Any]], place: Mapping[date, int]
) -> tuple[str, date] | None:
    """The ratio and session of the jump that waits for an explanation after the last price."""
    waits: tuple[str, date] | None = None
    (day, _, close), *later = prices
    base = last = Decimal(str(close))
    for session, opened, close in later:
        due = [a for a in acted if day < a["session"] <= session]
        now, base, last = Decimal(str(close)), _restated(base, due), _restated(last, due)
        if waits and (not far(base, now) or place[session] - place[waits[1]] >= PATIENCE):
            waits = None
        elif not waits and (ratio := jumped(last, now, *([Decimal(str(opened))] if opened else []))):
            waits, base = (ratio, session), last
        day, last = session, now
    return waits


def _restated(price: Decimal, actions: Sequence[Mapping[str, Any]]) -> Decimal:
    """A price before the actions in terms of after them."""
    for action in actions:
        if action["kind"] in SPLITS:
            price = price * action["denominator"] / action["numerator"]
        else:
            price -= Decimal(str(action["value"] or 0.0)) if action["cash"] is None else action["cash"]
    return price
