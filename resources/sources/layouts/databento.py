"""Databento's corporate actions (JSON lines), current or point in time: one record for each version of an event, option
and listing.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from resources.sources.reading.sheets import sheet

GONE = ("D", "C")  # event_action: deleted, cancelled
FIELDS = {
    "session": "ex_date",
    "event_id": "event_unique_id",
    "symbol": "symbol",
    "venue": "operating_mic",
    "kind": "event",
    "status": "global_status",
    "numerator": "ratio_new",
    "denominator": "ratio_old",
    "cash": "rate_info.gross_dividend",
    "currency": "rate_currency",
}


def actions(path: Path, root: Path, earlier: Sequence[Path]) -> pl.DataFrame:
    """Rows of announcements, known at `ts_record`.

    Of an event without an ex-date, its own date counts; what was deleted or cancelled is a withdrawal.

    Which fields a record has depends on its event, so an absent one is unknown, and no drift.
    """
    del earlier
    found = sheet(path, root).collect()
    wanted = (*FIELDS.values(), "event_date", "ts_record", "event_action")
    found = found.with_columns(pl.lit(None, pl.String).alias(c) for c in wanted if c not in found.columns)
    named = {ours: pl.col(theirs) for ours, theirs in FIELDS.items()} | {
        "session": pl.coalesce("ex_date", "event_date")
    }
    moment = pl.col("ts_record").str.to_datetime(strict=False, time_unit="us", time_zone="UTC")
    return found.select(
        **named,
        factor=pl.lit(None, pl.Float64),
        withdrawn=pl.col("event_action").is_in(GONE).fill_null(value=False),
        known_at=moment,
        file="#file",
        line="#line",
        fault="#fault",
        content="#content",
    )
