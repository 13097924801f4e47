"""The only place that opens vendor files: a path, a folder or a glob; packed by gzip, bzip2, xz, Zstandard or zip;
text or Parquet.

The type of a file is read from its first bytes, not from its name. Text is UTF-8, with a byte order mark or without,
unless another encoding is declared. Nothing is unpacked beyond a budget: a file that unpacks to far more than its size
is refused.
"""

import bz2
import glob
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TextIO

import polars as pl

from quant_assets.errors import CaptureUnreadable

MAX_BYTES = 64 * 2**30  # of a file, unpacked; it is read in pieces
MAX_RATIO, MIN_BUDGET = 100, 64 * 2**20  # unpacked to packed bytes, from so many bytes on
MAX_MEMBERS = 10_000  # of an archive
CELL = 4  # bytes of a cell of Parquet in memory, at the least
SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".pq")
PACKED = (".gz", ".bz2", ".zst", ".xz", ".zip")
BROKEN = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)  # what readers of broken files raise
_WILD = re.compile(r"[*?\[]")
_PARQUET = b"PAR1"
_ZIP = b"PK\x03\x04"
_XZ = b"\xfd7zXZ\x00"
XZ_MEMORY = 256 * 2**20  # of a decoder: a header may ask for 4 GiB
_OTHER = (
    (b"\xff\xfe", "is UTF-16 text; save it as UTF-8, or declare encoding: utf-16"),
    (b"\xfe\xff", "is UTF-16 text; save it as UTF-8, or declare encoding: utf-16"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook; save its sheet as CSV"),
    (b"%PDF", "is a PDF; it holds pages and no rows"),
    (b"SQLite format 3", "is an SQLite database; export its table as CSV or Parquet"),
    (b"ARROW1", "is an Arrow file; write it as Parquet"),
    (b"\x1f\x8b", "is packed twice; unpack it once"),
    (_XZ, "is packed twice; unpack it once"),
    (b"BZh", "is packed twice; unpack it once"),
    (b"\x28\xb5\x2f\xfd", "is packed twice; unpack it once"),
    (_ZIP, "is packed twice; unpack it once"),
    (_PARQUET, "is a packed Parquet file, which packs itself; unpack it"),
)


class Readable(Protocol):
    """What is read of a stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


class Text(NamedTuple):
    """An open text: `member` of the archive it came in (empty for a file of its own), the `name` with its kind, and the
    stream.
    """

    member: str
    name: str
    stream: TextIO


def found_by(pattern: str) -> tuple[list[Path], Path]:
    """The files of a path, folder or glob, in order, and the folder before its first wild card: places in files are
    given from there.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".") and _is_data(p)), path
    wild = next((i for i, part in enumerate(path.parts) if _WILD.search(part)), len(path.parts) - 1)
    if path.is_file():  # whatever its name looks like
        return [path], path.parent
    # a pattern may be absolute, which Path.glob refuses
    found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207
    return [p for p in found if p.is_file()], Path(*path.parts[:wild])


def _is_data(path: Path) -> bool:
    name = path.name.lower()
    for suffix in PACKED:
        name = name.removesuffix(suffix)
    return name.endswith(SUFFIXES) or path.suffix.lower() == ".zip"


def stem(path: Path) -> str:
    """The ticker of a file of one ticker: its name without the endings of its kind (`BRK.B.csv.gz` is of BRK.B)."""
    name = path.name
    for suffix in (*PACKED, *SUFFIXES):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name


def is_parquet(path: Path) -> bool:
    """Whether it is a Parquet file. Raises CaptureUnreadable where there is none."""
    with _refusing(path), path.open("rb") as file:
        return file.read(4) == _PARQUET


def texts(path: Path, encoding: str = "utf-8", most: int = MAX_BYTES) -> Iterator[Text]:
    """Each text in a file, open while it is looked at: one, or the members of a zip by name.

    Raises CaptureUnreadable where it is none, broken, or unpacks to more than `most` bytes.
    """
    size = path.stat().st_size
    budget = _Budget(min(most, MAX_BYTES, _budget(size)), size)
    if path.suffix.lower() in {".parquet", ".pq"}:
        raise CaptureUnreadable(f"{path}: the name ends in {path.suffix}, but the content is not Parquet")
    with _refusing(path), path.open("rb") as file:
        head = file.read(8)
        file.seek(0)
        if head.startswith(_ZIP):
            yield from _members(path, file, budget, encoding)
            return
        with _unpacked(path, file, head) as stream:
            yield Text("", path.name, _text(stream, budget, encoding, path.name))


def _budget(size: int) -> int:
    """To how many bytes a file of this size may unpack."""
    return max(MIN_BUDGET, MAX_RATIO * size)


def refuse_bomb(path: Path) -> None:
    """Raise CaptureUnreadable for a Parquet file that would unpack to far more than its size: by the bytes that its
    footer declares, or by its cells. Nothing of it is unpacked.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = path.stat().st_size
    try:
        found = pq.read_metadata(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CaptureUnreadable(f"{path}: not readable as Parquet ({error}); fetch it again") from error
    bytes_ = sum(found.row_group(n).total_byte_size for n in range(found.num_row_groups))
    _Budget(_budget(size), size).take(max(bytes_, found.num_rows * found.num_columns * CELL), path.name)


@contextmanager
def _unpacked(path: Path, file: IO[bytes], head: bytes) -> Generator[Readable]:
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(file) as stream:
            yield stream
    elif head.startswith(b"BZh"):
        with bz2.open(file) as stream:
            yield stream
    elif head.startswith(_XZ):
        yield _Xz(file)
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        with pa.input_stream(str(path), compression="zstd") as stream:
            yield stream
    else:
        yield file


def _members(path: Path, file: IO[bytes], budget: "_Budget", encoding: str) -> Iterator[Text]:
    with zipfile.ZipFile(file) as archive:
        members = sorted((m for m in archive.infolist() if not m.is_dir()), key=lambda m: m.filename)
        if any(m.filename == "xl/workbook.xml" for m in members):
            raise CaptureUnreadable(f"{path}: is an Excel workbook; save its sheet as CSV")
        if len(members) > MAX_MEMBERS:
            raise CaptureUnreadable(f"{path}: has {len(members):,} members, the limit is {MAX_MEMBERS:,}")
        if not members:
            raise CaptureUnreadable(f"{path}: the archive is empty")
        for member in members:
            with archive.open(member) as stream:
                yield Text(member.filename, member.filename, _text(stream, budget, encoding, member.filename))


@contextmanager
def _refusing(path: Path) -> Generator[None]:
    """Raises CaptureUnreadable for what reading a broken file raises."""
    try:
        yield
    except BROKEN as error:
        raise CaptureUnreadable(f"{path}: not readable ({error}); fetch it again") from error


class _Budget:
    """Bytes that may still be unpacked of a file."""

    def __init__(self, bytes_: int, packed: int) -> None:
        self.left = self.given = bytes_
        self.packed = packed

    def take(self, n: int, name: str) -> None:
        self.left -= n
        if self.left < 0:
            raise CaptureUnreadable(
                f"{name}: would unpack to more than {self.given:,} bytes, which is too much for a file of "
                f"{self.packed:,}; unpack it by hand if it is sound"
            )


class _Xz:
    """The bytes of an xz file, one stream or several; its header cannot claim more memory than `XZ_MEMORY`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        """See `Readable`."""
        while True:
            packed = self._file.read(1 << 16) if self._decoder.needs_input else b""
            if self._decoder.eof:
                rest = (self._decoder.unused_data + self._file.read(1 << 16)).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder, packed = lzma.LZMADecompressor(memlimit=XZ_MEMORY), rest
            elif not packed and self._decoder.needs_input:
                raise EOFError("the xz stream ends before its end")
            if piece := self._decoder.decompress(packed, size):
                return piece


class _Counted(io.RawIOBase):
    """A stream that draws on the budget, after the bytes that were looked at already."""

    def __init__(self, head: bytes, stream: Readable, budget: _Budget, name: str) -> None:
        self._head, self._stream, self._budget, self._name = head, stream, budget, name

    def readable(self) -> bool:
        return True

    # what BufferedReader hands over is a memoryview
    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        piece = self._head[: len(buffer)] or self._stream.read(len(buffer))
        self._head = self._head[len(buffer) :]
        self._budget.take(len(piece), self._name)
        buffer[: len(piece)] = piece
        return len(piece)


def _text(stream: Readable, budget: _Budget, encoding: str, name: str) -> TextIO:
    head = stream.read(4096)
    declared = encoding.lower().replace("_", "-")
    if not declared.startswith("utf-16"):
        for magic, what in _OTHER:
            if head.startswith(magic):
                raise CaptureUnreadable(f"{name}: {what}")
        if head[257:262] == b"ustar":
            raise CaptureUnreadable(f"{name}: is a tar archive; unpack it, and name its folder")
        if b"\0" in head:
            raise CaptureUnreadable(
                f"{name}: is no text: there are NUL bytes in it; if it is UTF-16, declare encoding: utf-16-le"
            )
    if re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|\?xml)", head, re.IGNORECASE):
        raise CaptureUnreadable(
            f"{name}: is a web page or XML, no table: {head[:60].decode('utf-8', errors='replace')!r}"
        )
    counted = io.BufferedReader(_Counted(head, stream, budget, name), 1 << 20)
    return io.TextIOWrapper(counted, "utf-8-sig" if declared in {"utf-8", "utf8"} else encoding, errors="replace")
