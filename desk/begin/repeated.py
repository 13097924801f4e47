"""Rows that are delivered more than once: then a column names the delivery of each, and a person is asked which."""

from pathlib import Path

import polars as pl

from resources.sources.preview import Question
from resources.sources.reading.moments import days
from resources.sources.reading.proposal import fields
from resources.sources.reading.sheets import batches
from resources.sources.reading.splitting import PLACE
from resources.sources.reading.written import Column

REPEATED = 0.02  # of the rows; fewer are a vendor's slips
DATED = 0.99  # of a column's cells that are days not before the session, if it names deliveries


def delivered(file: Path, kept: pl.DataFrame) -> Question | None:
    """The question which column names a row's delivery, where sessions come more than once; None where they do not."""
    once = kept.select("symbol", "session").n_unique()
    if once >= (1 - REPEATED) * kept.height:
        return None
    rows = next(batches(file))
    columns = [c for c in rows.columns if c not in PLACE]
    mapped = set(fields(columns, by_file=True).values())
    candidates = [c for c in columns if c not in mapped and _dated(rows, c)]
    return Question(
        f"{kept.height - once:,} of {kept.height:,} rows repeat a name's session; name the column that dates its "
        f"delivery, or give a file with one row for each session of a name",
        "mapping.label",
        tuple(candidates),
    )


def _dated(rows: pl.DataFrame, column: str) -> bool:
    if rows.schema[column].is_numeric():
        return False
    read = days("label", rows.schema[column], Column(column=column))(rows[column]).struct.field("value")
    return read.len() > 0 and read.null_count() <= (1 - DATED) * read.len()
