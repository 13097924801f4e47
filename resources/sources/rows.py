"""Rows of a vendor's price file: the good ones typed, the bad ones with line and reason. Nothing is dropped."""

from collections.abc import Mapping

import polars as pl

PRICES = {
    "symbol": pl.String, "session": pl.Date, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64, "close": pl.Float64,
    "volume": pl.Int64, "adj_close": pl.Float64, "file": pl.String, "line": pl.Int64,
}  # fmt: skip
ACTIONS = {
    "symbol": pl.String, "session": pl.Date, "kind": pl.String, "numerator": pl.Int64, "denominator": pl.Int64, "cash": pl.Decimal(38, 6), "value": pl.Float64, "counterpart": pl.String,
    "file": pl.String, "line": pl.Int64,
}  # fmt: skip
LISTINGS = {"symbol": pl.String, "name": pl.String, "sector": pl.String}
MALFORMED = {"file": pl.String, "line": pl.Int64, "symbol": pl.String, "reason": pl.String, "content": pl.String}

FIELDS = ("symbol", "session", "open", "high", "low", "close", "volume", "adj_close")
HEADER = "symbol,date,open,high,low,close,volume,adj_close"


def parse(text: str, file: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the CSV text of one price file in the order of `HEADER`, line 1 being its header.

    Returns (prices, malformed) with the columns of `PRICES` and `MALFORMED`, in the file's order. Every line that
    is not blank and not the header stands in exactly one of them.
    """
    return check(split(lines(text), file, HEADER, dict(zip(FIELDS, HEADER.split(","), strict=True))))


def lines(text: str) -> pl.DataFrame:
    """Columns line (from 1) and content; without blank lines."""
    frame = pl.DataFrame({"content": text.split("\n")}, schema={"content": pl.String}).with_row_index("line", offset=1)
    return frame.with_columns(pl.col("line").cast(pl.Int64), pl.col("content").str.strip_chars_end("\r")).filter(
        pl.col("content").str.strip_chars() != ""
    )


def split(found: pl.DataFrame, file: str, header: str, names: Mapping[str, str | None]) -> pl.DataFrame:
    """The lines without the header on line 1, with their fields as text: what `check` takes.

    `header` is the file's first line, `names` says under which of its columns each of `FIELDS` stands (None: not given).
    """
    columns = header.split(",")
    content = pl.col("content")
    cells = content.str.split(",")
    count = cells.list.len()
    shape = (
        pl.when(content == header)
        .then(pl.lit("repeated header"))
        .when(count != len(columns))
        .then(pl.format("has {} fields instead of {}", count, pl.lit(len(columns))))
    )
    named = {f: names.get(f) for f in FIELDS}
    fields = (
        pl.lit(None, pl.String).alias(f) if c is None else cells.list.get(columns.index(c), null_on_oob=True).alias(f)
        for f, c in named.items()
    )
    return found.filter(~((pl.col("line") == 1) & (content == header))).with_columns(
        *fields, pl.lit(file).alias("file"), shape.alias("shape")
    )


def check(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sort rows into (prices, malformed).

    `rows` has `FIELDS` as text or already typed, file, line; optionally content (what the line says; otherwise its
    fields are joined) and shape (a reason found while splitting it, or null). The first reason found is given.
    """
    text = rows.schema["session"] == pl.String
    session = (
        pl.col("session").str.to_date("%Y-%m-%d", strict=False)
        if text
        else pl.col("session").cast(pl.Date, strict=False)
    )
    price = {c: pl.col(c).cast(pl.Float64, strict=False) for c in ("open", "high", "low", "close")}
    volume = pl.col("volume").cast(pl.Int64, strict=False)
    given = pl.col("adj_close").is_not_null() & (pl.col("adj_close").cast(pl.String) != "")
    adjusted = pl.col("adj_close").cast(pl.Float64, strict=False)
    faults: list[tuple[str, pl.Expr]] = [
        ("no symbol", pl.col("symbol").is_null() | (pl.col("symbol") == "")),
        ("session is not a date YYYY-MM-DD", session.is_null()),
        *((f"{c} is not a number", p.is_null() | ~p.is_finite()) for c, p in price.items()),
        *((f"{c} is not positive", p <= 0) for c, p in price.items()),
        ("high is below low", price["high"] < price["low"]),
        (
            "volume is not a whole number",
            volume.is_null() | (pl.col("volume").cast(pl.Float64, strict=False) != volume),
        ),
        ("volume is negative", volume < 0),
        ("adj_close is not a positive number", given & (adjusted.is_null() | ~adjusted.is_finite() | (adjusted <= 0))),
    ]
    shape = [pl.col("shape")] if "shape" in rows.columns else []
    reason = pl.coalesce(*shape, *(pl.when(fault).then(pl.lit(name)) for name, fault in faults))
    judged = rows.with_columns(reason.alias("reason"))
    good = judged.filter(pl.col("reason").is_null()).select(
        "symbol",
        session.alias("session"),
        *(p.alias(c) for c, p in price.items()),
        volume.alias("volume"),
        adjusted.alias("adj_close"),
        "file",
        "line",
    )
    content = (
        pl.col("content")
        if "content" in rows.columns
        else pl.concat_str([pl.col(f).cast(pl.String).fill_null("") for f in FIELDS], separator=",")
    )
    bad = judged.filter(pl.col("reason").is_not_null()).select(
        "file", "line", "symbol", "reason", content.alias("content")
    )
    return typed(good, PRICES), typed(bad, MALFORMED)


def typed(frame: pl.DataFrame, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """`frame` with exactly the columns and dtypes of `schema`."""
    return frame.select(pl.col(c).cast(t) for c, t in schema.items())
