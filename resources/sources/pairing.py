"""What a whole history of adjusted closes shows of each session: its row, and the one before with the adjustment
between them.

An adjusted close of today's file includes every action since, so it is not point in time. Two consecutive sessions show
one thing that could be known then: the factor between them. A vendor of daily deliveries would have sent the session
with an adjusted close equal to its close, and the session before with the factor in it.
"""

import polars as pl

from resources.sources.rows import PRICES

SAME = 2e-6  # a factor nearer to one is none, as in the derivation of actions
DIGITS = range(2, 7)  # decimals in which vendors write adjusted closes; more are none that rounding shows in
EXACT = 9
_UNITS = {n: 0.5 / 10**n for n in (*DIGITS, EXACT)}  # what rounding takes at most


def paired(rows: pl.DataFrame, carried: pl.DataFrame | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows by the session that brings them (`label`): each with its close as adjusted close, and with the session
    before of the same name.

    `rows` as `rows.judged` makes them, with label; `carried`: what this function returned for the rows before them.
    Returned second: the last row of each name. A factor that the rounding of the adjusted closes explains is one: no
    action caused it.
    """
    sound = (
        pl.col("reason").is_null()
        & (pl.col("high") >= pl.max_horizontal("open", "close"))
        & (pl.col("low") <= pl.min_horizontal("open", "close"))
    )
    said = rows.filter(sound & pl.col("adj_close").is_not_null()).select("label", *PRICES)
    said = said.unique([c for c in PRICES if c not in {"file", "line"}], keep="first", maintain_order=True)
    said = said.filter(
        ~pl.struct("symbol", "session").is_duplicated()
    )  # of two that contradict each other neither is taken
    series = pl.concat([carried, said] if carried is not None else [said]).sort(
        "symbol", "session", maintain_order=True
    )
    digits = _digits(pl.col("adj_close")).max().over("symbol")
    series = series.with_columns(digits=digits, unit=digits.replace_strict(_UNITS, return_dtype=pl.Float64))
    same = pl.col("symbol") == pl.col("symbol").shift(1)
    before = {c: pl.when(same).then(pl.col(c).shift(1)) for c in (*PRICES, "digits")}
    was, own = pl.col("adj_close").shift(1) / pl.col("close").shift(1), pl.col("adj_close") / pl.col("close")
    rounding = pl.col("unit") / pl.col("adj_close").shift(1) + pl.col("unit") / pl.col("adj_close")
    factor = was / own
    factor = pl.when((factor - 1).abs() <= pl.max_horizontal(1.02 * rounding, SAME)).then(1.0).otherwise(factor)
    found = series.select("label", **before, factor=factor).filter(pl.col("symbol").is_not_null())
    adjusted = pl.col("close") * pl.col("factor")
    rounded = pl.coalesce(*(pl.when(pl.col("digits") == n).then(adjusted.round(n)) for n in DIGITS), adjusted)
    earlier = found.select("label", *(rounded.alias("adj_close") if c == "adj_close" else pl.col(c) for c in PRICES))
    own_rows = rows.with_columns(adj_close=pl.when(pl.col("adj_close").is_not_null()).then("close"))
    both = pl.concat(
        [
            own_rows,
            earlier.with_columns(pl.lit(None, pl.String).alias(c) for c in ("reason", "content", "note")).select(
                rows.columns
            ),
        ]
    )
    return both.sort("label", maintain_order=True), series.drop("digits", "unit").unique(
        "symbol", keep="last", maintain_order=True
    )


def _digits(adjusted: pl.Expr) -> pl.Expr:
    """In how many decimals a value is written."""
    whole = [
        pl.when((adjusted * 10**n - (adjusted * 10**n).round()).abs() <= 1e-7 * 10**n / 100).then(n) for n in DIGITS
    ]
    return pl.coalesce(*whole, EXACT)
