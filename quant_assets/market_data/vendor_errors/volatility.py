"""How much a name usually moves: overnight (or over a weekend), within a row, and from close to close, so that a jump
can be weighed.

Robust: the median absolute move of the rows that moved at all. Of a few rows little is learnt, so the estimate starts
from what listings in general do. Within the day the first row of each session is a class of its own, for nights are
longer than quarters of an hour.
"""

import polars as pl

CALMEST = 0.005  # volatility below which a price fall has no more evidence: ticks and stale quotes
NORMAL = 1.4826  # from a median absolute move to a standard deviation
MOVE = 0.5  # larger moves, in logs, are no part of the usual
AT_FIRST = {"day": 0.02, "week": 0.04, "night": 0.015, "bar": 0.005}  # what is usual before anything is seen
WEIGHT = 5  # rows that this is worth

_KEYS = ("symbol", "_class")
KINDS = ("open", "close", "whole")  # from the last close to the open, from there to the close, and both


def with_moves(bars: pl.DataFrame) -> pl.DataFrame:
    """`bars` (sorted) with `_before` (the last price before the row), the log moves `_move_open`, `_move_close`,
    `_move_whole`, and `_class`: of what length its first move is (day | week | night | bar).
    """
    opened, closed = (pl.when(pl.col(c) > 0).then(pl.col(c)) for c in ("open", "close"))
    rows = bars.with_columns(_o=opened, _c=closed).with_columns(_last=pl.coalesce("_c", "_o"))
    rows = rows.with_columns(_before=pl.col("_last").forward_fill().shift().over("symbol"), _class=_length(bars))
    before = pl.col("_before")
    return rows.with_columns(
        _move_open=(pl.col("_o") / before).log(),
        _move_close=(pl.col("_c") / pl.coalesce("_o", "_before")).log(),
        _move_whole=(pl.col("_last") / before).log(),
    )


def _length(bars: pl.DataFrame) -> pl.Expr:
    session = pl.col("session")
    if bars.schema["session"] == pl.Date:
        apart = session.diff().dt.total_days().median().over("symbol")
        return pl.when(apart > 4).then(pl.lit("week")).otherwise(pl.lit("day"))
    day = session.dt.date()
    within = (day.diff().dt.total_days().median() == 0).fill_null(value=False).over("symbol")
    first = (day != day.shift()).fill_null(value=True).over("symbol")
    return pl.when(~within).then(pl.lit("day")).when(first).then(pl.lit("night")).otherwise(pl.lit("bar"))


def usual(moves: pl.DataFrame) -> pl.DataFrame:
    """By symbol and class: `_per_open`, `_per_close`, `_per_whole`, one over the usual move of each kind. Inverted
    here, for where a joined column is one value repeated, Polars divides by it with other last bits than elsewhere.
    """
    first = pl.col("_class").replace_strict(AT_FIRST, return_dtype=pl.Float64)
    seen = {k: pl.col(f"_move_{k}").abs() for k in KINDS}
    moved = {k: e.filter(e.is_between(0, MOVE, closed="none")) for k, e in seen.items()}
    estimates = moves.group_by(_KEYS).agg(
        *(pl.struct(median=e.median(), rows=e.len()).alias(k) for k, e in moved.items()), first.first().alias("_first")
    )
    start = {"open": 0.6, "close": 0.8, "whole": 1.0}
    return estimates.select(
        *_KEYS,
        *(
            (
                (pl.col(k).struct["rows"] + WEIGHT)
                / (
                    NORMAL * pl.col(k).struct["median"].fill_null(0.0) * pl.col(k).struct["rows"]
                    + WEIGHT * start[k] * pl.col("_first")
                )
            )
            .clip(upper_bound=1 / CALMEST)
            .alias(f"_per_{k}")
            for k in KINDS
        ),
    )  # fmt: skip
