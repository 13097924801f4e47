"""A member among the members of its session: rank, z-score, winsorised value, residual.

Nothing here looks beyond its session: every window is over the session or a part of it, so the bits of a session do not
depend on the other sessions of the frame, or on its order. There is no BLAS: least squares go by Frisch–Waugh–Lovell
(demean within the sector, then remove one covariate after the other), with sums alone. A missing value stays missing
and is in no sum. Values have to be finite or null (`finite`).
"""

from collections.abc import Mapping, Sequence

import polars as pl

SESSION, SECTOR = "session", "sector"
AMONG = pl.col(SESSION).to_physical() ^ 1
"""The session, as the key of every window here.

Polars sums a group that is one slice of a sorted column in another order than the same rows gathered. It decides by a
flag that sorting sets, so the last bits of over("session") depend on how the frame was made. This key has no flag."""

TO_SIGMA = 1.4826022185056018  # of a normal distribution the standard deviation is so many median absolute deviations
WIDTH = 3.0  # robust standard deviations
SAME = (
    1e-9  # values that differ by less than this part of the largest differ by the rounding of the sums they came from
)
NEGLIGIBLE = 1e-18  # a covariate whose sum of squares falls to this part of what it was is explained by the others


def finite(column: str) -> pl.Expr:
    """The column, null where it is no finite number."""
    return pl.when(pl.col(column).is_finite()).then(pl.col(column))


def ranked(column: str) -> pl.Expr:
    """(rank − ½) / n among the n members that have a value: in (0, 1), mean ½; ties share their mean rank."""
    value = pl.col(column)
    return ((value.rank("average") - 0.5) / value.count()).over(AMONG)


def zscored(column: str) -> pl.Expr:
    """(value − mean) / standard deviation (of the population: ÷ n) over the session: equal-weighted mean 0, variance 1.

    Null where all values are the same but for rounding.
    """
    return _zscored(pl.col(column)).over(AMONG)


def winsorised(column: str) -> pl.Expr:
    """The value moved to within three robust standard deviations (1.4826 × median absolute deviation) of the session's
    median; as it is where over half of the values are the same.
    """
    return _winsorised(pl.col(column)).over(AMONG)


def standardised(column: str) -> pl.Expr:
    """The z-score of the winsorised value: what an exposure is. Mean 0, variance 1."""
    return _zscored(_winsorised(pl.col(column))).over(AMONG)


def _zscored(value: pl.Expr) -> pl.Expr:
    return pl.when(value.max() - value.min() > SAME * value.abs().max()).then(
        (value - value.mean()) / value.std(ddof=0)
    )


def _winsorised(value: pl.Expr) -> pl.Expr:
    median = value.median()
    width = WIDTH * TO_SIGMA * (value - median).abs().median()
    return pl.when(width > 0.0).then(value.clip(median - width, median + width)).otherwise(value)


def demeaned(column: str, *within: str) -> pl.Expr:
    """The value minus its mean within a part of the session; those that have no part (null) are one of their own."""
    return pl.col(column) - pl.col(column).mean().over(AMONG, *within)


def neutralised(
    rows: pl.DataFrame, columns: Mapping[str, str], against: Sequence[str], sector: str = SECTOR
) -> pl.DataFrame:
    """`rows` with, under each key of `columns`, the ordinary least-squares residual of the column it names on sector
    dummies and `against`, session by session.

    In the column's own unit. Its sum over every sector is 0, and so is its product with each covariate. It is null
    where the column or a covariate is; the fit is on the other rows. Names without a sector are a sector of their own;
    a name alone in its sector is explained by it (0). A covariate that the ones before it and the sectors explain
    counts as none, so that the residual is that of the minimum-norm solution.
    """
    names = {(out, c): f"{out} of {c}" for out, of in columns.items() for c in (of, *against)}
    masked = [
        pl.when(pl.all_horizontal(pl.col(c).is_not_null() for c in (columns[out], *against)))
        .then(pl.col(column))
        .alias(name)
        for (out, column), name in names.items()
    ]
    work = rows.select(SESSION, sector, *masked)
    scale = work.select((pl.col(name) * pl.col(name)).sum().over(AMONG).alias(name) for name in names.values())
    work = work.with_columns(demeaned(name, sector).alias(name) for name in names.values())
    for n, covariate in enumerate(against):  # each is taken out of the covariates after it, and of the columns
        work = work.with_columns(
            _without(names[out, c], names[out, covariate], scale)
            for out, of in columns.items()
            for c in (*against[n + 1 :], of)
        )
    return rows.with_columns(work[names[out, of]].alias(out) for out, of in columns.items())


def _without(column: str, covariate: str, scale: pl.DataFrame) -> pl.Expr:
    """The column less its projection on the covariate, over the session."""
    square = (pl.col(covariate) * pl.col(covariate)).sum().over(AMONG)
    product = (pl.col(column) * pl.col(covariate)).sum().over(AMONG)
    slope = pl.when(square > NEGLIGIBLE * pl.lit(scale[covariate])).then(product / square).otherwise(0.0)
    return (pl.col(column) - slope * pl.col(covariate)).alias(column)
