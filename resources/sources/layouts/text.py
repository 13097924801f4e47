"""Vendor files as they lie there: CSV, JSON lines and Parquet, packed or not, as rows with their place.

A sheet has the vendor's columns (text, but for Parquet), and `#file`, `#line` (from 1, as an editor counts), `#fault`
(why the line cannot be read; its cells are null then) and `#content` (what such a line says). No line is dropped but blank ones.
"""

import bz2
import csv
import glob
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import islice
from pathlib import Path

import msgspec
import polars as pl

from quant_assets.errors import CaptureUnreadable
from resources.sources.rows import lines

PLACE = {"#file": pl.String, "#line": pl.Int64, "#fault": pl.String, "#content": pl.String}
_WILD = re.compile(r"[*?\[]")
MAX_BYTES = 4 * 2**30  # of one member, unpacked: what says it is larger is a bomb, not a feed


def sheet(path: Path, root: Path | None = None, header: Sequence[str] | None = None) -> pl.LazyFrame:
    """The rows of a file; Parquet is scanned, so that it need not fit the memory. `header`: the columns of a file that does not name them.

    `#file` is the path from `root` on (without one: the file's name), and for an archive the member's after it. Raises CaptureUnreadable.
    """
    file = path.relative_to(root).as_posix() if root else path.name
    try:
        if path.suffix == ".parquet":
            found = pl.scan_parquet(path, row_index_name="#line", row_index_offset=1)
            found.collect_schema()
            place = {
                "#file": pl.lit(file),
                "#line": pl.col("#line").cast(pl.Int64),
                "#fault": pl.lit(None, pl.String),
                "#content": pl.lit(None, pl.String),
            }
            return found.with_columns(**place)
        parts = [
            _sheet(text, f"{file}/{member}" if member else file, member or path.name, header)
            for member, text in members(path)
        ]
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, pl.exceptions.PolarsError) as error:
        raise CaptureUnreadable(f"{path}: not readable ({error}); fetch it again") from error
    if not parts:
        raise CaptureUnreadable(f"{path}: the archive is empty")
    return pl.concat(parts, how="diagonal").lazy()


def found_by(pattern: str) -> tuple[list[Path], Path]:
    """The files of a path or glob, in order, and the folder before its first wild card: places in files are told from there."""
    path = Path(pattern).expanduser()
    wild = next((i for i, part in enumerate(path.parts) if _WILD.search(part)), len(path.parts) - 1)
    return sorted(Path(p) for p in glob.glob(str(path), recursive=True)), Path(*path.parts[:wild])  # noqa: PTH207  # a pattern may be absolute, which Path.glob refuses


def members(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each file in a zip, by name; of any other file its text, under no name. Unpacks gz and bz2."""
    if path.suffix != ".zip":
        opened = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
        with opened(path, "rb") as file:
            packed: bytes = file.read(MAX_BYTES + 1)
        if len(packed) > MAX_BYTES:
            raise CaptureUnreadable(f"{path}: has more than {MAX_BYTES:,} bytes")
        yield "", packed.decode("utf-8-sig", errors="replace")
        return
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.infolist(), key=lambda m: m.filename):
            if member.file_size > MAX_BYTES:
                raise CaptureUnreadable(
                    f"{path}: {member.filename} would unpack to {member.file_size:,} bytes, the limit is {MAX_BYTES:,}"
                )
            if not member.is_dir():
                yield member.filename, archive.read(member).decode("utf-8-sig", errors="replace")


def _sheet(text: str, file: str, name: str, header: Sequence[str] | None) -> pl.DataFrame:
    try:
        found = json_lines(text) if ".json" in name else delimited(text, header)
    except CaptureUnreadable as error:
        raise CaptureUnreadable(f"{file}: {error}") from error
    return found.with_columns(pl.lit(file).alias("#file"))


def delimited(text: str, header: Sequence[str] | None = None) -> pl.DataFrame:
    """Comma separated lines; the first names the columns where `header` does not. Quotes as in RFC 4180. Raises CaptureUnreadable where no columns are named, or one twice."""
    rows = (
        _quoted(text)
        if '"' in text
        else lines(text).select("line", cells=pl.col("content").str.split(","), fault=pl.lit(None, pl.String))
    )
    if rows.is_empty() and not header:
        raise CaptureUnreadable("has no line")
    columns = (
        [c.strip() for c in header]
        if header
        else [c.strip() or f"column {n}" for n, c in enumerate(rows["cells"][0], 1)]
    )
    if len(set(columns)) < len(columns):
        raise CaptureUnreadable(f"columns are named twice: {sorted({c for c in columns if columns.count(c) > 1})}")
    rows = rows if header else rows.slice(1)
    count = pl.col("cells").list.len()
    wrong = pl.coalesce(
        "fault",
        pl.when(count != len(columns)).then(pl.format("has {} fields instead of {}", count, pl.lit(len(columns)))),
    )
    rows = rows.with_columns(fault=wrong)
    cells = (
        pl.when(pl.col("fault").is_null()).then(pl.col("cells").list.get(n, null_on_oob=True)).alias(c)
        for n, c in enumerate(columns)
    )
    place = {
        "#line": pl.col("line"),
        "#fault": pl.col("fault"),
        "#content": pl.when(pl.col("fault").is_not_null()).then(pl.col("cells").list.join(",")),
    }
    return rows.select(*cells, **place)


def _quoted(text: str) -> pl.DataFrame:
    """Columns line, cells, fault with the csv module, which knows quotes; a record may span lines and stands at its first. A line from which it cannot go on, such as an open quote, is a fault, and the next is tried."""
    given = list(StringIO(text))
    found: list[tuple[int, list[str], str | None]] = []
    start = 0
    while start < len(given):
        reader, read = csv.reader(islice(given, start, None), strict=True), 0
        try:
            for record in reader:
                if len(record) > 1 or (record and record[0].strip()):
                    found.append((start + read + 1, record, None))
                read = reader.line_num
        except csv.Error as error:
            found.append((start + read + 1, [given[start + read].rstrip("\r\n")], f"is no line of CSV ({error})"))
            read += 1
        start += read
    return pl.DataFrame(found, schema={"line": pl.Int64, "cells": pl.List(pl.String), "fault": pl.String}, orient="row")


def json_lines(text: str) -> pl.DataFrame:
    """One JSON object a line, every value as text; the fields of an object inside are named `outer.inner`."""
    found: list[dict[str, str | int | None]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = msgspec.json.decode(line, type=dict[str, object])
            found.append({"#line": number} | dict(_flat(record)))
        except msgspec.DecodeError:
            found.append({"#line": number, "#fault": "is no JSON object", "#content": line})
    columns = dict.fromkeys(c for record in found for c in record if c not in PLACE)
    return pl.DataFrame(
        found, schema={**dict.fromkeys(columns, pl.String), **{c: t for c, t in PLACE.items() if c != "#file"}}
    )


def _flat(record: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield (
                f"{prefix}{name}",
                value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode(),
            )
