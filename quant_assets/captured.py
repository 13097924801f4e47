"""The frames of a capture, and a capture of bars made of a source's rows: what a source of a team's own gives back."""

import hashlib
from datetime import date, datetime

import polars as pl

from quant_assets.errors import CaptureUnreadable
from quant_assets.records import Capture, frame_hash

PRICES = {
    "symbol": pl.String,
    "session": pl.Date,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Int64,
    "adj_close": pl.Float64,
    "file": pl.String,
    "line": pl.Int64,
}
ACTIONS = {
    "symbol": pl.String,
    "session": pl.Date,
    "kind": pl.String,
    "numerator": pl.Int64,
    "denominator": pl.Int64,
    "cash": pl.Decimal(38, 6),
    "value": pl.Float64,
    "counterpart": pl.String,
    "file": pl.String,
    "line": pl.Int64,
}
LISTINGS = {"symbol": pl.String, "name": pl.String, "sector": pl.String}
MALFORMED = {"file": pl.String, "line": pl.Int64, "symbol": pl.String, "reason": pl.String, "content": pl.String}


def bars_capture(
    source: str, label: date, rows: pl.DataFrame, *, known_at: datetime, location: str = "", assumed: bool = False
) -> Capture:
    """The delivery of a label, of rows that are all sound: symbol, session, open, high, low, close, volume, and where
    the vendor has them adj_close, file, line (from 1).

    Its fingerprint is that of the rows. Raises CaptureUnreadable where a column is missing or has another type.
    """
    numbered = rows.with_columns(
        **{} if "file" in rows.columns else {"file": pl.lit(location or source)},
        **{} if "line" in rows.columns else {"line": pl.int_range(1, pl.len() + 1)},
        **{} if "adj_close" in rows.columns else {"adj_close": pl.lit(None, pl.Float64)},
    )
    try:
        prices = numbered.select(pl.col(c).cast(t) for c, t in PRICES.items())
    except pl.exceptions.PolarsError as error:
        raise CaptureUnreadable(f"{source} {label}: the rows are not those of bars: {error}") from error
    content = frame_hash(prices)
    return Capture(
        source=source,
        label=label,
        location=location or source,
        sha256=hashlib.sha256(f"{label} {content}".encode()).hexdigest(),
        known_at=known_at,
        assumed=assumed,
        prices=prices,
        listings=None,
        actions=None,
        malformed=pl.DataFrame(schema=MALFORMED),
        fingerprint=content,
    )
