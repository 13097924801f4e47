"""Files of daily rows, and what befalls files: a mutator that knows which rows it touched."""

import gzip
import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

Row = tuple[str, ...]
ODD = (
    "",
    " ",
    "NaN",
    "inf",
    "-1",
    "0",
    "1e308",
    "-0.0",
    "99999999999999999999",
    "=1+1",
    "\u2028",
    "2024-13-01",
    "24-01-05",
    "05/01/2024",
    "9999-12-31",
    "0001-01-01",
    "\U0001f389",
    "null",
    "1.000,5",
    "\ufeff",
    "\x00",
    "\x1b[31m",
    "x" * 5000,
    "2024-01-05T15:00:00Z",
    "1704412800",
    "'",
    "\\",
    "#",
    "%",
    "\u0661\u0662",
)


class Mutated(NamedTuple):
    """A file's bytes, what was done, and the rows (by number, from 0) that are as they were."""

    content: bytes
    done: str
    untouched: frozenset[int]


def text(head: str, rows: Sequence[Row]) -> bytes:
    return "\n".join([head, *map(",".join, rows), ""]).encode()


def mutated(head: str, rows: Sequence[Row], seed: int) -> Mutated:
    """The CSV file of these rows with one thing wrong, or none."""
    chance = random.Random(seed)  # noqa: S311  # a seed makes the file, no secret
    return chance.choice(CASES)(head, list(rows), chance)


Case = Callable[[str, list[Row], random.Random], Mutated]


def _all(rows: Sequence[Row], *but: int) -> frozenset[int]:
    return frozenset(range(len(rows))) - set(but)


def _cell(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    n, odd = chance.randrange(len(rows)), chance.choice(ODD)
    k = chance.randrange(len(rows[n]))
    rows[n] = (*rows[n][:k], odd, *rows[n][k + 1 :])
    return Mutated(text(head, rows), f"row {n} cell {k} {odd[:20]!r}", _all(rows, n))


def _byte(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    n = chance.randrange(len(rows))
    lines = text(head, rows).split(b"\n")
    line, at = bytearray(lines[n + 1]), chance.randrange(len(lines[n + 1]))
    line[at] = chance.choice([b for b in range(256) if b not in b'\n\r"'])
    lines[n + 1] = bytes(line)
    return Mutated(b"\n".join(lines), f"row {n} byte {at} {line[at]}", _all(rows, n))


def _quote(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    n = chance.randrange(len(rows))
    line = ",".join(rows[n])
    at = chance.randrange(len(line))
    lines = text(head, rows).decode().split("\n")
    lines[n + 1] = line[:at] + '"' + line[at:]
    return Mutated("\n".join(lines).encode(), f"row {n} quote at {at}", _all(rows, n))


def _fields(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    n = chance.randrange(len(rows))
    rows[n] = chance.choice(
        [rows[n][:-1], (*rows[n], "1"), ("",), ("Total", *("" for _ in rows[n][1:])), rows[n][::-1]]
    )
    return Mutated(text(head, rows), f"row {n} fields {len(rows[n])}", _all(rows, n))


def _broken_line(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    n, k = chance.randrange(len(rows)), chance.randrange(1, len(rows[0]))
    lines = text(head, rows).decode().split("\n")
    lines[n + 1] = ",".join(rows[n][:k]) + "\n" + ",".join(rows[n][k:])
    return Mutated("\n".join(lines).encode(), f"row {n} on two lines", _all(rows, n))


def _header(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    names = head.split(",")
    k = chance.randrange(len(names))
    names[k] = chance.choice(
        ["", names[k - 1], names[k].upper() + "x", f" {names[k]} ", "#line", f'"{names[k]}"', names[k] + "\ufeff", '"']
    )
    return Mutated(text(",".join(names), rows), f"column {k} named {names[k]!r}", _all(rows))


def _cut(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    whole = text(head, rows)
    at = chance.randrange(len(whole))
    kept = whole[:at].count(b"\n") - 1
    return Mutated(whole[:at], f"cut at {at}", frozenset(range(max(kept, 0))))


def _packed(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    packed = gzip.compress(text(head, rows))
    at = chance.randrange(len(packed))
    harmed = chance.choice([packed[:at], packed[:at] + bytes([packed[at] ^ 255]) + packed[at + 1 :], packed + b"junk"])
    return Mutated(harmed, f"packed and harmed at {at}", _all(rows))


def _harmless(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    whole = text(head, rows)
    quoted = "\n".join('"' + '","'.join(row) + '"' for row in [tuple(head.split(",")), *rows]).encode()
    same = [
        whole,
        b"\xef\xbb\xbf" + whole,
        whole.replace(b"\n", b"\r\n"),
        whole.rstrip(b"\n"),
        whole.replace(b"\n", b"\n\n"),
        gzip.compress(whole),
        quoted,
        whole.replace(b",", b";"),
        whole.replace(b",", b"\t"),
        b"\n\n" + whole,
    ]
    k = chance.randrange(len(same))
    return Mutated(same[k], f"harmless {k}", _all(rows))


def _junk(head: str, rows: list[Row], chance: random.Random) -> Mutated:
    whole = text(head, rows)
    return Mutated(
        chance.choice(
            [
                chance.randbytes(300),
                whole.decode().encode("utf-16"),
                b"",
                b"<html>",
                b"PAR1" + whole,
                b"PK\x03\x04" + whole,
                whole * 2,
            ]
        ),
        "junk",
        frozenset(),
    )


CASES: Sequence[Case] = (
    _cell,
    _cell,
    _byte,
    _byte,
    _quote,
    _fields,
    _broken_line,
    _header,
    _cut,
    _packed,
    _harmless,
    _junk,
)
TYPES: Sequence[Callable[[pl.Series], pl.Series]] = (
    lambda s: s.cast(pl.String),
    lambda s: pl.Series([[str(v)] for v in s]),
    lambda s: pl.Series([{"a": str(v)} for v in s]),
    lambda s: pl.Series([str(v).encode() for v in s]),
    lambda s: pl.Series([True] * s.len()),
    lambda s: pl.Series([None] * s.len()),
    lambda s: pl.Series(range(s.len())),
    lambda s: pl.Series([float(n) for n in range(s.len())]),
    lambda s: pl.Series([date(2024, 1, 5)] * s.len()),
    lambda s: pl.Series([datetime(2024, 1, 5, tzinfo=UTC)] * s.len()),
    lambda s: s.cast(pl.String).cast(pl.Categorical),
    # a time of day
    lambda s: pl.Series(range(s.len())).cast(pl.Duration("us")),
    lambda s: pl.Series([datetime(2024, 1, 5).time()] * s.len()),  # noqa: DTZ001
    lambda s: pl.Series(["1.5"] * s.len()).str.to_decimal(scale=2),
    lambda s: pl.Series([2**63 - 1] * s.len()),
    lambda s: pl.Series([float("nan")] * s.len()),
)


def retyped(frame: pl.DataFrame, path: Path, seed: int) -> tuple[str, frozenset[int]]:
    """Write the frame as Parquet with a column of another type, a cell without a value, or harmed bytes; what was done,
    and the rows that are as they were.
    """
    chance = random.Random(seed)  # noqa: S311  # a seed makes the file, no secret
    every = frozenset(range(frame.height))
    column = chance.choice(frame.columns)
    what = chance.choice(["type", "null", "bytes", "bytes", "column", "none"])
    match what:
        case "type":
            k = chance.randrange(len(TYPES))
            frame.with_columns(TYPES[k](frame[column]).alias(column)).write_parquet(path)
            return f"{column} of type {k}", every if k in {0, 10} else frozenset()
        case "null":
            n = chance.randrange(frame.height)
            frame.with_columns(pl.when(pl.int_range(pl.len()) != n).then(column).alias(column)).write_parquet(path)
            return f"{column} of row {n} null", every - {n}
        case "column":
            frame.drop(column).write_parquet(path)
            return f"no {column}", frozenset()
        case "bytes":
            frame.write_parquet(path)
            content = bytearray(path.read_bytes())
            at = chance.randrange(len(content))
            content[at] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(content[: chance.choice([len(content), len(content), at])]))
            return f"byte {at}", frozenset()
        case _:
            frame.write_parquet(path)
            return "nothing", every
