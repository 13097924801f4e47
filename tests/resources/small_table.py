"""A small table of daily rows, and one of instants."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl

from quant_assets.contract import UTC_MICROS, Table

QUOTES = Table(
    "quotes",
    "A price per name and session.",
    {"session": pl.Date, "sid": pl.Int64, "price": pl.Float64, "known_at": UTC_MICROS},
    key=("sid", "session", "known_at"),
)
TICKS = Table(
    "ticks",
    "A price per name and time.",
    {"ts": UTC_MICROS, "sid": pl.Int64, "price": pl.Float64, "known_at": UTC_MICROS},
    key=("sid", "ts", "known_at"),
    event="ts",
)
START = date(2024, 11, 4)
NAMES = 40


def sessions(number: int) -> list[date]:
    """Days in a row, over a new year where there are enough."""
    return [START + timedelta(days=n) for n in range(number)]


def day(session: date, names: int = NAMES) -> pl.DataFrame:
    """The rows of one session."""
    at = datetime(session.year, session.month, session.day, 22, tzinfo=UTC)
    rows = [(session, sid, session.toordinal() / 7 + sid / 3, at) for sid in range(names)]
    return pl.DataFrame(rows, schema=dict(QUOTES.schema), orient="row")


def days(of: Sequence[date], names: int = NAMES) -> pl.DataFrame:
    """The rows of several sessions, as the table is read."""
    return QUOTES.conform(pl.concat([QUOTES.empty(), *(day(s, names) for s in of)]))
