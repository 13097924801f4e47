"""What of a capture may go on: rows that can be bars, and the rows that cannot, with the reason."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.errors import CalendarUnknown
from quant_assets.records import Capture

PRICES = ("open", "high", "low", "close")
CONTENT = ("symbol", "session", *PRICES, "volume", "adj_close")
BAR = ("delivery", "symbol", "session")  # the content of a delivery's row
REJECTED = {"file": pl.String, "line": pl.Int64, "symbol": pl.String, "reason": pl.String, "content": pl.String}

_OHLC_BROKEN = (pl.col("high") < pl.max_horizontal(PRICES)) | (pl.col("low") > pl.min_horizontal(PRICES))
_NO_PRICE = pl.any_horizontal(pl.col(c).is_null() | ~pl.col(c).is_finite() | (pl.col(c) <= 0) for c in PRICES)


def screen(capture: Capture, calendar: Calendar) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`screen_all` of one capture, without `delivery`."""
    clean, rejected = screen_all([capture], calendar)
    return clean.drop("delivery"), rejected.drop("delivery")


def screen_all(captures: Sequence[Capture], calendar: Calendar) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clean rows (one per symbol, session and delivery; columns `CONTENT`, file, line, delivery) and rejected rows
    (columns `REJECTED`, delivery); `delivery` is the position in `captures`.

    Identical duplicates collapse to the first. Rows of one delivery that contradict each other about one symbol and
    session are all rejected: nothing shows which is right. If only `adj_close` differs, the bar is not in doubt: it
    gets the value of most rows, or none. An `adj_close` that is no positive number is dropped from its row.
    """
    rows = _gathered([c.prices.select(*CONTENT, "file", "line") for c in captures])
    labels = pl.Series([c.label for c in captures], dtype=pl.Date).gather(rows["delivery"])
    valid = [s for s in rows["session"].unique().drop_nulls().to_list() if _trades(calendar, s)]
    reason = (
        pl.when(pl.col("symbol").fill_null("") == "")
        .then(pl.lit("NO_SYMBOL"))
        .when(~pl.col("session").is_in(valid).fill_null(value=False))
        .then(pl.lit("NOT_A_SESSION"))
        .when(pl.col("session") > labels)
        .then(pl.lit("AFTER_LABEL"))
        .when(_NO_PRICE)
        .then(pl.lit("BAD_PRICE"))
        .when(_OHLC_BROKEN)
        .then(pl.lit("OHLC"))
        .when(pl.col("volume").is_null() | (pl.col("volume") < 0))
        .then(pl.lit("BAD_VOLUME"))
    )
    rows = rows.with_columns(reason=reason)
    rejected = [rows.filter(pl.col("reason").is_not_null())]
    clean = rows.filter(pl.col("reason").is_null()) if rejected[0].height else rows
    twice = clean.select(BAR).is_duplicated()
    if twice.any():
        several = clean.filter(twice)
        said = _agreed(several).unique([*CONTENT, "delivery"], keep="first", maintain_order=True)
        conflicting = said.filter(said.select(BAR).is_duplicated()).select(BAR).unique()
        rejected.append(several.join(conflicting, on=BAR, how="semi").with_columns(reason=pl.lit("CONFLICT")))
        clean = pl.concat([clean.filter(~twice), said.join(conflicting, on=BAR, how="anti")]).sort(
            "delivery", maintain_order=True
        )
    usable = pl.col("adj_close").is_finite() & (pl.col("adj_close") > 0)
    return clean.drop("reason").with_columns(adj_close=pl.when(usable).then("adj_close")), _as_rejected(
        pl.concat(rejected), _gathered([c.malformed for c in captures])
    )


def _gathered(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The frames one after the other, with delivery: which of them a row is of."""
    delivery = np.repeat(np.arange(len(frames), dtype=np.int32), [f.height for f in frames])
    return pl.concat(frames).with_columns(delivery=pl.Series(delivery))


def _agreed(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with one `adj_close` per bar: the value of most copies of the bar; null if two values are equally
    frequent.
    """
    bar = [*(c for c in CONTENT if c != "adj_close"), "delivery"]
    votes = pl.len().over(*CONTENT, "delivery")
    leading = pl.col("adj_close").filter(pl.col("votes") == pl.col("votes").max())
    return (
        rows.with_columns(votes=votes)
        .with_columns(adj_close=pl.when(leading.n_unique().over(bar) == 1).then(leading.first().over(bar)))
        .drop("votes")
    )


def _trades(calendar: Calendar, day: date) -> bool:
    try:
        return calendar.is_session(day)
    except CalendarUnknown:
        return False


def _as_rejected(rows: pl.DataFrame, malformed: pl.DataFrame) -> pl.DataFrame:
    content = pl.concat_str(*(pl.col(c).cast(pl.String).fill_null("") for c in CONTENT), separator=",")
    said = [rows.with_columns(content=content), malformed]
    columns = REJECTED | {"delivery": pl.Int32}
    return pl.concat([f.select(pl.col(c).cast(t) for c, t in columns.items()) for f in said]).unique(
        ["delivery", "file", "line", "reason"], keep="first", maintain_order=True
    )
