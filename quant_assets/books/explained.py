"""Names whose price jumped by a ratio that no known action explains: their mark stays, and they are not traded.

A name held is marked at its last explained price until an action explains the jump, the price comes back, or the jump
is `PATIENCE` sessions old: then it is taken for what happened. Nothing beside marks and closes is stored of it: a mark
that is not the close printed in its session was kept.
"""

from collections.abc import Callable, Collection
from datetime import date
from functools import cache

import polars as pl

from quant_assets.books.holdings import Holdings, exact
from quant_assets.calendars import Cuts
from quant_assets.market_data.jumps import PATIENCE, far, jumped

SHARES = ("equity", "fund")  # what can be split without a word; options and coins may move as far as they like


class Past:
    """Earlier sessions, each read once: `evening`: what was held at the end of one; `bars`: its bars (sid, symbol,
    open, close) as known at its own cut; `closes`: the finite ones by sid.
    """

    def __init__(self, evening: Callable[[date], Holdings], bars: Callable[[date], pl.DataFrame]) -> None:
        self.evening = cache(evening)
        self.bars = cache(bars)
        self.closes = cache(self._closes)

    def _closes(self, session: date) -> dict[int, float]:
        printed = self.bars(session).filter(pl.col("close").is_finite())
        return dict(printed.select("sid", "close").iter_rows())


def waiting(sids: Collection[int], past: Past, cuts: Cuts, session: date) -> dict[int, date]:
    """Those of `sids` that wait for an explanation at the end of `session`, each with the first session of its jump;
    no more than `PATIENCE` sessions are looked at.
    """
    since: dict[int, date] = {}
    asked = set(sids)
    for _ in range(PATIENCE):
        marks = past.evening(session).marks
        asked &= set(marks)
        if not asked:
            break
        closes = past.closes(session)
        for sid in asked & set(closes):
            if exact(closes[sid]) == marks[sid]:
                asked.discard(sid)
            else:
                since[sid] = session
        session = cuts.booked_before(session)
    return since


def unexplained(before: Holdings, acted: Holdings, bars: pl.DataFrame, past: Past, cuts: Cuts) -> dict[int, str]:
    """The names held since yesterday whose marks the closes of `bars` do not replace, each with a sentence.

    `before`: yesterday's holdings; `acted`: the same after today's actions.
    """
    shares = [sid for sid in acted.quantities if acted.terms.of(sid).kind in SHARES]
    held = [sid for sid in shares if sid in before.quantities]
    jumps: dict[int, str] = {}
    for sid, opened, close in _prices(bars, held):
        mark = acted.marks[sid]
        if far(mark, exact(close)):
            jumps[sid] = jumped(mark, exact(close), *([exact(opened)] if opened else []))
    if not jumps:
        return {}
    since = waiting(jumps, past, cuts, before.session)
    oldest = before.session
    for _ in range(PATIENCE - 1):
        oldest = cuts.booked_before(oldest)
    return {
        sid: f"sid {sid} jumped from {acted.marks[sid].normalize():f} to {close:g}"
        f"{f', near {jumps[sid]},' if jumps[sid] else ''} and no known action explains it: it keeps its mark and is "
        "not traded"
        for sid, _, close in _prices(bars, list(jumps))
        if (jumps[sid] or sid in since) and (sid not in since or since[sid] > oldest)
    }


def _prices(bars: pl.DataFrame, sids: Collection[int]) -> list[tuple[int, float | None, float]]:
    """sid, open (None where there is none), close of the names that have a close."""
    usable = bars.filter(pl.col("sid").is_in(sids), pl.col("close").is_finite())
    opened = (
        pl.when(pl.col("open").is_finite() & (pl.col("open") > 0)).then("open")
        if "open" in bars.columns
        else pl.lit(None, dtype=pl.Float64)
    )
    return usable.select("sid", opened.alias("open"), "close").rows()
