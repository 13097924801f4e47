"""The only place that splits text into rows: lines of cells with quotes as in RFC 4180, or a JSON object a line.

A frame has the vendor's columns (text), `#line` (from 1, as an editor counts), `#fault` (why the line cannot be read;
its cells are null then) and `#content` (the text of such a line). No line is dropped but blank ones and the header.
"""

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import islice
from typing import NamedTuple, TextIO

import msgspec
import polars as pl

from quant_assets.errors import CaptureUnreadable

PLACE = {"#file": pl.String, "#line": pl.Int64, "#fault": pl.String, "#content": pl.String}
CHARACTERS = 16_000_000  # that are split at a time
MAX_LINE = 4_000_000  # characters: a wide file's header may have some; a line without end is none
MAX_COLUMNS = 20_000
MAX_NAME = 1_000  # characters before the last part of a name in nested JSON
DELIMITERS = ",;\t|"
_REPLACED = "\ufffd"  # replaces bytes that are no text
_QUOTED = r'"(?:[^"]|"")*"'
_FIELD = rf'(?:{_QUOTED}|[^"DELIMITER]*)'


class Header(NamedTuple):
    """The names of a text's columns, the mark between cells, and their line (empty if the text has none)."""

    columns: tuple[str, ...]
    delimiter: str
    line: str


def delimited(
    text: TextIO, header: Sequence[str] | None = None, delimiter: str | None = None
) -> Iterator[pl.DataFrame]:
    """The rows in frames of about `CHARACTERS`; the first line names the columns where `header` does not.

    Raises CaptureUnreadable where no columns are named, or one twice.
    """
    named, first = (
        (Header(tuple(c.strip() for c in header), delimiter or ",", ""), 1) if header else _named(text, delimiter)
    )
    rest, some = "", False
    while True:
        piece = text.read(CHARACTERS)
        end = text.readline(MAX_LINE) if piece and not piece.endswith("\n") else ""
        whole, final = rest + piece + end, not piece
        if some and not whole:
            return
        if len(end) == MAX_LINE and not end.endswith("\n"):
            raise CaptureUnreadable(f"line {first + whole.count(chr(10))} has more than {MAX_LINE:,} characters")
        frame, rest = _rows(whole, first, named, final=final or len(rest) > MAX_LINE)
        first += whole.count("\n") - rest.count("\n")
        if frame.height or final:
            yield frame  # the only one may be empty: it has the columns
            some = True
        if final:
            return


def _named(text: TextIO, delimiter: str | None) -> tuple[Header, int]:
    """The header, which is the first line with something on it, and the number of the line after it."""
    number = 1
    while line := text.readline(MAX_LINE):
        if line.strip():
            return _header(line.rstrip("\r\n"), delimiter), number + 1
        number += 1
    raise CaptureUnreadable("has no line")


def _header(line: str, delimiter: str | None) -> Header:
    try:
        cells = {d: next(csv.reader([line], delimiter=d), []) for d in (delimiter or DELIMITERS)}
    except csv.Error as error:
        raise CaptureUnreadable(f"the first line names no columns ({error}): {line[:60]!r}") from error
    chosen = max(cells, key=lambda d: len(cells[d]))  # the first of equals
    columns = [c.strip() or f"column {n}" for n, c in enumerate(cells[chosen], 1)]
    _few(len(columns))
    if len(set(columns)) < len(columns):
        twice = sorted({c for c in columns if columns.count(c) > 1})
        if not any(letter.isalpha() for c in twice for letter in c):
            raise CaptureUnreadable(
                f"the first line holds values and no names of columns ({line[:60]!r}); put a line with "
                "the names before it"
            )
        raise CaptureUnreadable(
            f"columns are named twice: {twice}; name each once, because it is not clear which is meant"
        )
    return Header(tuple(f"{c} of the file" if c in PLACE else c for c in columns), chosen, line)


def _few(columns: int) -> None:
    """Raise CaptureUnreadable for more columns than a table has."""
    if columns > MAX_COLUMNS:
        raise CaptureUnreadable(f"has more than {MAX_COLUMNS:,} columns; keep those that are needed")


def _rows(text: str, first: int, header: Header, *, final: bool) -> tuple[pl.DataFrame, str]:
    """The rows of some lines, of which the first has that number; and the text from a quote on that is still open at
    the end, where more may follow.
    """
    found = pl.DataFrame({"content": text.split("\n")}, schema={"content": pl.String}).with_row_index(
        "line", offset=first
    )
    content = pl.col("content")
    found = found.with_columns(pl.col("line").cast(pl.Int64), content.str.strip_chars_end("\r"))
    found = found.filter(content.str.strip_chars() != "")
    if (long := found.filter(content.str.len_bytes() > MAX_LINE)).height:
        raise CaptureUnreadable(f"line {long['line'][0]} has more than {MAX_LINE:,} bytes")
    rest = ""
    if '"' not in text:
        cells = found.select(
            "line", "content", cells=content.str.split(header.delimiter), fault=pl.lit(None, pl.String)
        )
    elif (quick := _quoted_lines(found, header)) is not None:
        cells = quick
    else:
        cells, rest = _quoted(text, first, header.delimiter, final=final)
    return _framed(cells, header, damaged=_REPLACED in text), rest


def _framed(rows: pl.DataFrame, header: Header, *, damaged: bool) -> pl.DataFrame:
    width = len(header.columns)
    count = pl.col("cells").list.len()
    faults = [pl.col("fault")]
    if header.line:
        faults.append(pl.when(pl.col("content") == header.line).then(pl.lit("repeated header")))
    faults.append(pl.when(count != width).then(pl.format("has {} fields instead of {}", count, pl.lit(width))))
    if damaged:
        faults.append(
            pl.when(pl.col("content").str.contains(_REPLACED, literal=True)).then(
                pl.lit("has bytes that are no UTF-8; declare the file's encoding")
            )
        )
    rows = rows.with_columns(fault=pl.coalesce(faults))
    wrong = pl.col("fault").is_not_null()
    if not rows.select(wrong.any()).item():
        cells = (
            rows.select(pl.col("cells").list.to_struct(fields=list(header.columns))).unnest("cells")
            if rows.height
            else pl.DataFrame(schema=dict.fromkeys(header.columns, pl.String))
        )
        place = rows.select(
            pl.col("line").alias("#line"),
            pl.lit(None, pl.String).alias("#fault"),
            pl.lit(None, pl.String).alias("#content"),
        )
        return pl.concat([cells, place], how="horizontal")
    cells = (
        pl.when(~wrong).then(pl.col("cells").list.get(n, null_on_oob=True)).alias(c)
        for n, c in enumerate(header.columns)
    )
    place = {"#line": pl.col("line"), "#fault": pl.col("fault"), "#content": pl.when(wrong).then("content")}
    return rows.select(*cells, **place)


def _quoted_lines(found: pl.DataFrame, header: Header) -> pl.DataFrame | None:
    """The cells of lines with quotes, each line whole; None where a record spans lines or its quotes are no RFC
    4180.
    """
    field = _FIELD.replace("DELIMITER", "\\" + header.delimiter if header.delimiter == "|" else header.delimiter)
    mark = pl.col("content").str.contains('"', literal=True)
    found = found.with_row_index("row").with_columns(mark=mark)
    quoted = found.filter("mark")
    sound = pl.col("content").str.contains(
        f"^{field}(?:{'[|]' if header.delimiter == '|' else header.delimiter}{field})*$"
    )
    if not quoted.select(sound.all()).item():
        return None
    bare = pl.col("content").str.replace_all(_QUOTED, "").str.count_matches(header.delimiter, literal=True) + 1
    quoted = quoted.with_columns(width=bare)
    parts = [
        found.filter(~pl.col("mark")).select(
            "row", "line", "content", cells=pl.col("content").str.split(header.delimiter)
        )
    ]
    for (width,), lines in quoted.partition_by("width", as_dict=True).items():
        names = [f"{n}" for n in range(int(width))]
        read = pl.read_csv(
            "\n".join([*lines["content"].to_list(), ""]).encode(),
            has_header=False,
            separator=header.delimiter,
            quote_char='"',
            infer_schema=False,
            schema=dict.fromkeys(names, pl.String),
        ).with_columns(pl.all().fill_null(""))
        if read.height != lines.height:
            return None
        parts.append(lines.select("row", "line", "content").with_columns(read.select(cells=pl.concat_list(names))))
    return pl.concat(parts).sort("row").select("line", "content", "cells", fault=pl.lit(None, pl.String))


def _quoted(text: str, first: int, delimiter: str, *, final: bool) -> tuple[pl.DataFrame, str]:
    """Columns line, content, cells, fault with the csv module, which knows quotes; a record may span lines and is at
    its first.

    A line from which it cannot go on, such as an open quote, is a fault, and the next is tried.
    """
    given = list(StringIO(text))
    found: list[tuple[int, str, list[str], str | None]] = []
    start = 0
    while start < len(given):
        reader, read = csv.reader(islice(given, start, None), delimiter=delimiter, strict=True), 0
        try:
            for record in reader:
                if len(record) > 1 or (record and record[0].strip()):
                    said = "".join(given[start + read : start + reader.line_num]).rstrip("\r\n")
                    found.append((first + start + read, said, record, None))
                read = reader.line_num
        except csv.Error as error:
            if "unexpected end" in str(error) and not final:
                return _as_rows(found), "".join(given[start + read :])
            line = given[start + read].rstrip("\r\n")
            found.append((first + start + read, line, [line], f"is no line of CSV ({error})"))
            read += 1
        start += read
    return _as_rows(found), ""


def said(columns: Sequence[str]) -> pl.Expr:
    """The cells of a row as a line of CSV."""
    cells = [pl.col(c).cast(pl.String).fill_null("") for c in columns]
    quoted = [
        pl.when(c.str.contains('[,"\n]'))
        .then(pl.concat_str(pl.lit('"'), c.str.replace_all('"', '""', literal=True), pl.lit('"')))
        .otherwise(c)
        for c in cells
    ]
    return pl.concat_str(quoted, separator=",")


def _as_rows(found: Sequence[tuple[int, str, list[str], str | None]]) -> pl.DataFrame:
    schema = {"line": pl.Int64, "content": pl.String, "cells": pl.List(pl.String), "fault": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


def json_lines(text: TextIO) -> Iterator[pl.DataFrame]:
    """One JSON object a line, every value as text; the fields of an object inside are named `outer.inner`."""
    first = 1
    while piece := text.read(CHARACTERS):
        whole = piece + text.readline(MAX_LINE)
        yield _objects(whole, first)
        first += whole.count("\n")


def _objects(text: str, first: int) -> pl.DataFrame:
    found: list[dict[str, str | int | None]] = []
    names = set[str]()
    for number, line in enumerate(text.split("\n"), first):
        if not line.strip():
            continue
        try:
            record = dict(_flat(msgspec.json.decode(line, type=dict[str, object])))
            names |= record.keys()
            _few(len(names))
            found.append({"#line": number} | record)
        except (msgspec.DecodeError, RecursionError):
            found.append({"#line": number, "#fault": "is no JSON object", "#content": line})
    columns = dict.fromkeys(c for record in found for c in record if c not in PLACE)
    return pl.DataFrame(
        found, schema={**dict.fromkeys(columns, pl.String), **{c: t for c, t in PLACE.items() if c != "#file"}}
    )


def _flat(record: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    if len(prefix) > MAX_NAME:
        raise RecursionError
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            plain = f"{prefix}{name}"
            yield (
                f"{plain} of the file" if plain in PLACE else plain,
                value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode(),
            )
