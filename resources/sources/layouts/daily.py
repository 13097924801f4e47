"""Whole histories of daily bars, as files of a vendor that has no captures: what each session would have brought."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import polars as pl

from resources.sources.layouts.text import sheet
from resources.sources.rows import ACTIONS, FIELDS, typed

Read = tuple[pl.DataFrame, pl.DataFrame | None]
PLACE = {"file": pl.col("#file"), "line": pl.col("#line"), "shape": pl.col("#fault"), "content": pl.col("#content")}
SAID = pl.coalesce(
    "content", pl.concat_str([pl.col(f).fill_null("") for f in FIELDS], separator=",")
)  # in the order in which a person may release it


def wiki(path: Path, root: Path) -> Read:
    """Quandl's WIKI: raw prices of many names with `ex-dividend` (cash a share) and `split_ratio`, which are the vendor's own actions. Its adjusted prices know the future and are left alone."""
    found = sheet(path, root).collect()
    prices = found.select(
        label=_day("date"), symbol="ticker", session="date", **{c: pl.col(c) for c in ("open", "high", "low", "close")},
        volume=_whole("volume"), adj_close=pl.lit(None, pl.String), **PLACE,
    )  # fmt: skip
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
    return prices.with_columns(content=SAID), typed(actions, ACTIONS).sort("session", "symbol", "kind")


def yahoo(path: Path, root: Path) -> Read:
    """Yahoo's files of one name each, called after it: prices already adjusted for splits, `Adj Close` for dividends too. The prices are therefore not raw: they know splits to come.

    Each session brings its row and the one before, as a vendor of daily captures does, their adjusted closes carried back
    to where the session's own is its close: what `Adj Close` says of the pair, without what it knows of the time after.
    """
    found = sheet(path, root).collect()
    close, adjusted = (pl.col(c).cast(pl.Float64, strict=False) for c in ("Close", "Adj Close"))
    rows = found.select(
        label=_day("Date"), symbol=pl.lit(path.name.split(".")[0]), session="Date", open="Open", high="High", low="Low", close="Close", volume=_whole("Volume"),
        ratio=adjusted / close, **PLACE,
    )  # fmt: skip
    rows = rows.sort("label", maintain_order=True, nulls_last=True)
    own = rows.with_columns(adj_close="close")
    carried = (pl.col("close").cast(pl.Float64, strict=False) * pl.col("ratio") / pl.col("ratio").shift(-1)).cast(
        pl.String
    )
    before = rows.with_columns(adj_close=carried, label=pl.col("label").shift(-1)).filter(
        pl.col("label").is_not_null() & pl.col("ratio").is_finite() & pl.col("shape").is_null()
    )
    return pl.concat([own, before]).with_columns(content=SAID).select("label", *FIELDS, *PLACE), None


def _day(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_date("%Y-%m-%d", strict=False)


def _whole(column: str) -> pl.Expr:
    """Shares that the vendor writes as `8381600.0`."""
    return pl.col(column).str.strip_chars().str.replace(r"\.0+$", "")


DAILY: Mapping[str, Callable[[Path, Path], Read]] = {"wiki": wiki, "yahoo": yahoo}
