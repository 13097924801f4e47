"""Whole histories of daily bars, as files of a vendor that has no captures: what each session would have brought."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import polars as pl

from resources.sources.pairing import paired
from resources.sources.reading.opening import stem
from resources.sources.reading.sheets import sheet
from resources.sources.rows import ACTIONS, judged, typed

Read = tuple[pl.DataFrame, pl.DataFrame | None]
PLACE = {"file": pl.col("#file"), "line": pl.col("#line"), "shape": pl.col("#fault"), "content": pl.col("#content")}


def wiki(path: Path, root: Path) -> Read:
    """Quandl's WIKI: raw prices of many names with `ex-dividend` (cash a share) and `split_ratio`, which are the
    vendor's own actions. Its adjusted prices know the future and are left alone.
    """
    found = sheet(path, root).collect()
    prices = judged(found.select(
        symbol="ticker", session="date", **{c: pl.col(c) for c in ("open", "high", "low", "close", "volume")}, **PLACE,
    ))  # fmt: skip
    cash, ratio = (pl.col(c).cast(pl.Float64, strict=False) for c in ("ex-dividend", "split_ratio"))
    told = found.select(
        symbol="ticker", session=_day("date"), cash=cash, ratio=ratio, file="#file", line="#line"
    ).filter(pl.col("session").is_not_null())
    paid = told.filter(pl.col("cash") > 0).with_columns(kind=pl.lit("dividend"))
    split = told.filter((pl.col("ratio") > 0) & (pl.col("ratio") != 1)).with_columns(
        kind=pl.lit("split"), cash=pl.lit(None, pl.Float64)
    )
    parts = [Fraction(r).limit_denominator(1000) for r in split["ratio"]]
    split = split.with_columns(
        numerator=pl.Series([p.numerator for p in parts], dtype=pl.Int64),
        denominator=pl.Series([p.denominator for p in parts], dtype=pl.Int64),
    )
    actions = pl.concat([split, paid], how="diagonal").with_columns(
        value=pl.lit(None, pl.Float64), counterpart=pl.lit(None, pl.String)
    )
    return prices.select(pl.col("session").alias("label"), *prices.columns), typed(actions, ACTIONS).sort(
        "session", "symbol", "kind"
    )


def yahoo(path: Path, root: Path) -> Read:
    """Yahoo's files of one name each, called after it: prices already adjusted for splits, `Adj Close` for dividends
    too. The prices are therefore not raw: they know splits to come.

    Each session brings its row and the one before, as a vendor of daily captures does; see `pairing`.
    """
    found = sheet(path, root).collect()
    rows = judged(
        found.select(
            symbol=pl.lit(stem(path)),
            session="Date",
            open="Open",
            high="High",
            low="Low",
            close="Close",
            volume="Volume",
            adj_close="Adj Close",
            **PLACE,
        )
    )
    return paired(rows.select(pl.col("session").alias("label"), *rows.columns))[0], None


def _day(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_date("%Y-%m-%d", strict=False)


DAILY: Mapping[str, Callable[[Path, Path], Read]] = {"wiki": wiki, "yahoo": yahoo}
