"""How a delivery of a label differs from the versions in force once the label had been ingested.

A later delivery's version of a row stays: it is the vendor's latest. A row with the same content is a no-op; a row with
other content is a restatement; a row that is missing, in all later deliveries too, is a withdrawal.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from quant_assets.errors import CaptureUnreadable
from quant_assets.records import Capture

FEW, SHARE = 1, 0.5  # rows, or of a label's rows, that may vanish at once; more is a delivery gone wrong
Following = Iterator[Capture]  # the deliveries after that of a label, one by one


def stood(versions: pl.DataFrame, label: date, subject: Sequence[str]) -> pl.DataFrame:
    """Of each subject the version in force once `label` was ingested (nulls if there was none), and `later`: whether a
    later delivery has a version of it.
    """
    ordered = versions.sort(*subject, "known_at")
    latest = ordered.unique(subject, keep="last", maintain_order=True).select(*subject, later=pl.col("capture") > label)
    upto = ordered.filter(pl.col("capture") <= label).unique(subject, keep="last", maintain_order=True)
    return latest.join(upto, on=subject, how="left", maintain_order="left")


def otherwise(rows: pl.DataFrame, then: pl.DataFrame, subject: Sequence[str], says: Sequence[str]) -> pl.DataFrame:
    """Those of `rows` that differ from the version in force, with `withdrawn` (as given, else false), and
    `was_withdrawn` (null if there was no version).
    """
    told = rows if "withdrawn" in rows.columns else rows.with_columns(withdrawn=pl.lit(value=False))
    before = then.select(*subject, *(pl.col(c).alias(f"was_{c}") for c in (*says, "withdrawn")), later="later")
    both = told.join(before, on=subject, how="left", maintain_order="left")
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"was_{c}")) for c in says) & ~pl.col("withdrawn")
    is_not = pl.col("withdrawn") != pl.col("was_withdrawn").fill_null(value=True)
    return both.filter(~pl.col("later").fill_null(value=False), differs | is_not)


def vanished(
    capture: Capture, rows: pl.DataFrame, rejected: pl.DataFrame, then: pl.DataFrame, subject: Sequence[str]
) -> pl.DataFrame:
    """Of `stood` the label's rows that are missing now, but for rows of files that are not there.

    Raises CaptureUnreadable if more are missing than a vendor withdraws. The content of an unreadable row is unknown,
    so a name with such a row keeps its versions, and a line without a name keeps all.
    """
    theirs = then.filter(pl.col("capture") == capture.label, ~pl.col("withdrawn"), ~pl.col("later"))
    gone = theirs.join(rows, on=subject, how="anti")
    if rejected["symbol"].null_count():
        return gone.clear()
    if "symbol" in gone.columns:
        gone = gone.join(rejected, on="symbol", how="anti")
    if capture.files is not None:
        files = [
            f for f in gone["file"].unique().drop_nulls() if any(f == g or f.startswith(f"{g}/") for g in capture.files)
        ]
        gone = gone.filter(pl.col("file").is_in(files))
    if gone.height > max(FEW, SHARE * theirs.height):
        raise CaptureUnreadable(
            f"{gone.height} of the {theirs.height} rows in force are missing from {capture.location}. More "
            f"than half is "
            "no correction: the delivery is not ingested and the stored rows stay in force. Ask the vendor "
            "to send it again"
        )
    return gone


def said_before(gone: pl.DataFrame, versions: pl.DataFrame, label: date, subject: Sequence[str]) -> pl.DataFrame:
    """Of the vanished rows those that an earlier capture brought, as it had them: what was corrected is not there, so
    that the first word counts again.
    """
    before = versions.filter(pl.col("capture") < label).sort(*subject, "known_at").unique(subject, keep="last")
    return before.filter(~pl.col("withdrawn")).join(gone.select(subject), on=subject, how="semi")
