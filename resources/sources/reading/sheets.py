"""The rows of vendor files with their place, whatever the files are: CSV, JSON lines and Parquet, packed or not.

A sheet has the vendor's columns (text, but for Parquet), and `#file`, `#line`, `#fault`, `#content`; see `splitting`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import polars as pl

from quant_assets.errors import CaptureUnreadable
from resources.sources.reading.opening import BROKEN, MAX_BYTES, is_parquet, refuse_bomb, texts
from resources.sources.reading.splitting import MAX_COLUMNS, PLACE, delimited, json_lines

ROWS = 400_000  # of a Parquet file that are read at a time
WHOLE = 2 * 2**30  # bytes of a text, unpacked, that are read at once


class Dialect(NamedTuple):
    """How the texts of a source are written, where that is not plain: encoding, and the mark between cells (None: what
    the header shows).
    """

    encoding: str = "utf-8"
    delimiter: str | None = None


PLAIN = Dialect()


def sheet(
    path: Path, root: Path | None = None, header: Sequence[str] | None = None, dialect: Dialect = PLAIN
) -> pl.LazyFrame:
    """The rows of a file; Parquet is scanned, so that it need not fit the memory.

    `header`: the columns of a file that does not name them.

    `#file` is the path from `root` on (without one: the file's name), and for an archive the member's after it. Raises
    CaptureUnreadable.
    """
    if is_parquet(path):
        return _scanned(path, _named(path, root))
    parts = list(batches(path, root, header, dialect, WHOLE))
    return pl.concat(parts, how="diagonal").lazy()


def batches(
    path: Path,
    root: Path | None = None,
    header: Sequence[str] | None = None,
    dialect: Dialect = PLAIN,
    most: int = MAX_BYTES,
) -> Iterator[pl.DataFrame]:
    """The rows of a file in frames that fit the memory, one after the other; of text, `most` bytes unpacked.

    Raises CaptureUnreadable, in its midst too.
    """
    file = _named(path, root)
    try:
        if is_parquet(path):
            yield from slices(path, root)
            return
        for member, name, stream in texts(path, dialect.encoding, most):
            place = f"{file}/{member}" if member else file
            for frame in _split(stream, name, place, header, dialect):
                yield frame.with_columns(pl.lit(place).alias("#file"))
    except (*BROKEN, UnicodeError, LookupError) as error:
        raise CaptureUnreadable(f"{path}: not readable ({error}); fetch it again") from error


def slices(
    path: Path, root: Path | None, columns: Sequence[str] | None = None, offset: int = 0, rows: int | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet file in frames, of these `columns` where they are named and there are such; from `offset`
    on, so many `rows` in one frame. Raises CaptureUnreadable.
    """
    try:
        found = _scanned(path, _named(path, root))
        total = found.select(pl.len()).collect().item() if rows is None else offset + rows
        present = found.collect_schema().names()
        wanted = present if columns is None else [c for c in columns if c in present]
        step = ROWS if rows is None else rows
        for start in range(offset, max(total, offset + 1), max(step, 1)):
            yield found.select(*wanted, *(c for c in PLACE if c not in wanted)).slice(start, step).collect()
    except BROKEN as error:
        raise CaptureUnreadable(f"{path}: not readable ({error}); fetch it again") from error


def columns_of(path: Path) -> list[str]:
    """The names of a Parquet file's columns. Raises CaptureUnreadable."""
    try:
        return list(pl.read_parquet_schema(path))
    except BROKEN as error:
        raise CaptureUnreadable(f"{path}: not readable ({error}); fetch it again") from error


def _split(
    stream: TextIO, name: str, place: str, header: Sequence[str] | None, dialect: Dialect
) -> Iterator[pl.DataFrame]:
    try:
        objects = any(kind in name.lower() for kind in (".json", ".ndjson"))
        yield from json_lines(stream) if objects else delimited(stream, header, dialect.delimiter)
    except CaptureUnreadable as error:
        raise CaptureUnreadable(f"{place}: {error}") from error


def _named(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root else path.name


def _scanned(path: Path, file: str) -> pl.LazyFrame:
    refuse_bomb(path)
    try:
        found = pl.scan_parquet(path, row_index_name="#line", row_index_offset=1, glob=False)
        columns = len(found.collect_schema())
    except BROKEN as error:
        raise CaptureUnreadable(f"{path}: not readable ({error}); fetch it again") from error
    if columns > MAX_COLUMNS:
        raise CaptureUnreadable(f"{path}: has {columns:,} columns, the limit is {MAX_COLUMNS:,}")
    place = {
        "#file": pl.lit(file),
        "#line": pl.col("#line").cast(pl.Int64),
        "#fault": pl.lit(None, pl.String),
        "#content": pl.lit(None, pl.String),
    }
    return found.with_columns(**place)
