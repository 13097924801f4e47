"""Spans of listings: symbol, name, first_capture, last_capture, as they come out of a series of captures."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from resources.sources.reading.sheets import sheet

GAP = timedelta(days=7)  # a name that follows within a week took the symbol over: then nothing was delisted


def listings(path: Path, root: Path, earlier: Sequence[Path]) -> pl.DataFrame:
    """Rows of securities: listed under its name from the first capture on, delisted the day after the last.

    Not delisted: if the last is the file's last, or if another name of the symbol goes on. Gaps within a span are not
    reported.
    """
    del earlier
    found = (
        sheet(path, root)
        .collect()
        .select(
            "symbol",
            "name",
            first=pl.col("first_capture").cast(pl.Date),
            last=pl.col("last_capture").cast(pl.Date),
            file="#file",
            line="#line",
        )
    )
    other = found.select("symbol", other_first="first", other_last="last")
    carried = (
        found.join(other, on="symbol")
        .filter((pl.col("other_last") > pl.col("last")) & (pl.col("other_first") <= pl.col("last") + GAP))
        .select("line")
        .unique()
    )
    begun = found.select(
        session="first", symbol="symbol", name="name", status=pl.lit("listed"), file="file", line="line"
    )
    ended = found.filter(pl.col("last") < pl.col("last").max()).join(carried, on="line", how="anti")
    over = ended.select(
        session=pl.col("last") + timedelta(days=1),
        symbol="symbol",
        name="name",
        status=pl.lit("delisted"),
        file="file",
        line="line",
    )
    return pl.concat([begun, over])
