"""Rows of a vendor's price file: the good ones typed, the bad ones with line and reason. Nothing is dropped."""

from collections.abc import Mapping
from io import StringIO

import polars as pl

from quant_assets.captured import ACTIONS, LISTINGS, MALFORMED, PRICES
from resources.sources.reading.moments import days, given
from resources.sources.reading.names import names
from resources.sources.reading.numbers import numbers, whole
from resources.sources.reading.splitting import delimited
from resources.sources.reading.written import Column

__all__ = ["ACTIONS", "LISTINGS", "MALFORMED", "PRICES"]

FIELDS = ("symbol", "session", "open", "high", "low", "close", "volume", "adj_close")
HEADER = "symbol,date,open,high,low,close,volume,adj_close"


PLAIN: Mapping[str, Column] = {f: Column(column=f) for f in FIELDS}
SPACED = "blanks around the symbol"
UNADJUSTED = "an adjusted close that is no positive number was dropped"
_PRICED = ("open", "high", "low", "close")
_SUMMARY = r"(?i)^(?:grand |sub)?(?:totals?|sum|average|mean|count)\b"


def parse(text: str, file: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the CSV text of one price file in the order of `HEADER`, line 1 being its header.

    Returns (prices, malformed) with the columns of `PRICES` and `MALFORMED`, in the file's order. Every line that is
    not blank and not the header is in exactly one of them.
    """
    rows = pl.concat(delimited(StringIO(text), HEADER.split(",")), how="diagonal")
    headed = (pl.col("#line") == 1) & (pl.col("symbol") == "symbol") & (pl.col("date") == "date")
    body = rows.filter(~headed.fill_null(value=False)).with_columns(
        shape=pl.coalesce(
            "#fault",
            pl.when((pl.col("symbol") == "symbol") & (pl.col("date") == "date")).then(pl.lit("repeated header")),
        )
    )
    return check(
        body.rename({"date": "session", "#line": "line", "#content": "content"}).with_columns(file=pl.lit(file))
    )


def check(rows: pl.DataFrame, columns: Mapping[str, Column] = PLAIN) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sort rows into (prices, malformed). See `judged`."""
    return parted(judged(rows, columns))


def parted(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What `judged` made, as (prices, malformed)."""
    if rows["reason"].null_count() == rows.height:
        return typed(rows, PRICES), pl.DataFrame(schema=MALFORMED)
    good, bad = pl.col("reason").is_null(), pl.col("reason").is_not_null()
    return typed(rows.filter(good), PRICES), typed(rows.filter(bad), MALFORMED)


def judged(rows: pl.DataFrame, columns: Mapping[str, Column] = PLAIN) -> pl.DataFrame:
    """The rows read as `columns` declare them: the columns of `PRICES`, and for those that are no prices `reason` and
    `content`; `note` if something else was noticed.

    `rows` has `FIELDS` (adj_close may be absent) in the vendor's types, file, line; optionally content (the text of the
    line; otherwise its fields are joined) and shape (a reason found while splitting it, or null). The first reason
    found is given. An adjusted close that is a number and not positive is dropped from its row: the bar is not in
    doubt.
    """
    told = [f for f in FIELDS if f in rows.columns]
    readers = {"symbol": names, "session": days, "volume": whole}
    read = pl.DataFrame({f: readers.get(f, numbers)(f, rows.schema[f], columns[f])(rows[f]) for f in told})
    value = {f: pl.col(f).struct.field("value") for f in told}
    why = {f: pl.col(f).struct.field("why") for f in told}
    blank = pl.col("blank")
    faults: list[pl.Expr] = [
        pl.when(blank & value["symbol"].str.contains(_SUMMARY)).then(pl.lit("a summary row")),
        pl.when(value["symbol"].is_null()).then(pl.lit("no symbol")),
        why["session"],
        pl.when(value["session"].is_null()).then(pl.lit("session is not a date YYYY-MM-DD")),
        *(_no_number(p, value[p], why[p]) for p in _PRICED),
        *(pl.when(value[p] <= 0).then(pl.lit(f"{p} is not positive")) for p in _PRICED),
        pl.when(value["high"] < value["low"]).then(pl.lit("high is below low")),
        pl.when(value["volume"].is_null()).then(pl.lit("volume is not a whole number")),
        pl.when(value["volume"] < 0).then(pl.lit("volume is negative")),
        *(
            pl.when(why[c].is_not_null() & value[c].is_null()).then(pl.lit(f"{c} is not a positive number"))
            for c in told
            if c == "adj_close"
        ),
    ]
    shape = [pl.col("shape")] if "shape" in rows.columns else []
    place = rows.select(
        "file", "line", *shape, *(c for c in ("content",) if c in rows.columns), blank=pl.lit(value=False)
    )
    place = place.with_columns(blank=_blank(rows["session"]))
    adjusted = value.get("adj_close", pl.lit(None, pl.Float64))
    usable = adjusted.is_finite() & (adjusted > 0)
    noted = [
        pl.when(_spaced(rows["symbol"])).then(pl.lit(SPACED)),
        pl.when(given(rows["adj_close"]) & ~usable.fill_null(value=False)).then(pl.lit(UNADJUSTED))
        if "adj_close" in told
        else pl.lit(None),
    ]
    whole_ = pl.concat([read, place], how="horizontal").select(
        *(value[f].alias(f) for f in told if f != "adj_close"),
        adj_close=pl.when(usable).then(adjusted),
        file="file",
        line="line",
        reason=pl.coalesce(*shape, *faults),
        note=pl.coalesce(noted),
    )
    if whole_["reason"].null_count() == whole_.height:
        return whole_.with_columns(content=pl.lit(None, pl.String))
    said = pl.concat_str(
        [
            pl.col(f).cast(pl.String).fill_null("") if _printable(rows.schema[f]) else pl.lit("?")
            for f in FIELDS
            if f in rows.columns
        ],
        separator=",",
    )
    content = (
        rows.with_row_index("#")
        .filter(whole_["reason"].is_not_null())
        .select("#", content=pl.coalesce("content", said) if "content" in rows.columns else said)
    )
    return whole_.with_row_index("#").join(content, on="#", how="left", maintain_order="left").drop("#")


def _printable(dtype: pl.DataType) -> bool:
    return not dtype.is_nested() and not isinstance(dtype, (pl.Binary, pl.Object))


def _spaced(s: pl.Series) -> pl.Series:
    """Whether a symbol has blanks around it that the file's style does not put before every cell."""
    if s.dtype != pl.String:
        return pl.repeat(value=False, n=s.len(), eager=True)
    led = s.str.starts_with(" ").fill_null(value=True)
    bare = s.str.strip_chars_start() if led.all() else s
    return (bare != bare.str.strip_chars()).fill_null(value=False)


def remarks(rows: pl.DataFrame) -> pl.DataFrame | None:
    """What `judged` noticed of rows that are taken, once for each symbol; None where that is nothing."""
    if rows["note"].null_count() == rows.height:
        return None
    found = rows.filter(pl.col("note").is_not_null() & pl.col("reason").is_null())
    if found.is_empty():
        return None
    return found.select("symbol", "file", "line", rule="note", message=pl.format("{} {}", "symbol", "note")).unique(
        ["symbol", "rule"], keep="first", maintain_order=True
    )


def _blank(s: pl.Series) -> pl.Series:
    return ~given(s)


def _no_number(field: str, value: pl.Expr, why: pl.Expr) -> pl.Expr:
    return pl.coalesce(why, pl.when(value.is_null()).then(pl.lit(f"{field} is not a number")))


def typed(frame: pl.DataFrame, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """`frame` with exactly the columns and dtypes of `schema`."""
    has = frame.schema
    if all(has.get(c) == t for c, t in schema.items()):
        return frame.select(*schema)
    return frame.select(pl.col(c).cast(t) for c, t in schema.items())
