"""The fingerprints of files when they were last read, so that an unchanged file is not read again.

A file counts as unchanged while its size, both its times and its inode are the same; a copy that keeps the time of
change has another inode, or another time of status change. This is a cache: if it is missing or broken, files are read
again.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
import polars as pl

from quant_assets.records import content_id

State = tuple[int, int, int, int]
Kept = dict[str, tuple[list[State], dict[str, str]]]  # by the files: their state, and their fingerprints
PIECE = 1 << 20  # bytes hashed at a time


class Seen:
    """What was made of files; kept in `folder`, or for as long as the object lives."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._held: dict[str, Kept] = {}
        self._fresh: set[str] = set()

    def of(self, what: str, files: Sequence[Path], make: Callable[[], dict[str, str]]) -> Mapping[str, str]:
        """The result of `make` for the files, computed only if one was changed since.

        Raises OSError if one is missing.
        """
        kept, name = self._kept(what), content_id([str(f) for f in files])
        states = [state_of(f) for f in files]
        if name not in kept or kept[name][0] != states:
            kept[name] = (states, make())
            self._fresh.add(what)
        return kept[name][1]

    def sha256(self, path: Path) -> str:
        """The file's content, hashed."""
        return self.of("content", [path], lambda: {"sha256": sha256(path)})["sha256"]

    def _kept(self, what: str) -> Kept:
        if what not in self._held:
            try:
                text = (self._folder / f"{content_id(what)}.json").read_bytes() if self._folder else b"{}"
                self._held[what] = msgspec.json.decode(text, type=Kept)
            except (OSError, msgspec.DecodeError):
                self._held[what] = {}
        return self._held[what]

    def keep(self) -> None:
        """What was asked for is there in another process too."""
        if (folder := self._folder) is None:
            return
        for what in sorted(self._fresh):
            folder.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(msgspec.json.encode(self._held[what]))
            Path(file.name).replace(folder / f"{content_id(what)}.json")
        self._fresh.clear()


def state_of(path: Path) -> State:
    """By what a file is seen to be untouched."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


class Digests:
    """A fingerprint of the rows of each label, in their order in a file of which a batch is seen at a time."""

    def __init__(self) -> None:
        self._of: dict[date, dict[str, hashlib.blake2b]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows: label, and any other columns."""
        ordered = rows.sort("label", maintain_order=True)
        counts = ordered.group_by("label", maintain_order=True).len()
        labels: list[date] = counts["label"].to_list()
        ends: list[int] = counts["len"].cum_sum().to_list()
        for column in ordered.drop("label").iter_columns():
            for stream, pieces in _bytes(column, ordered["label"], ends).items():
                for label, piece in zip(labels, pieces, strict=True):
                    held = self._of.setdefault(label, {})
                    held.setdefault(stream, hashlib.blake2b(digest_size=16)).update(piece)

    def by_label(self) -> dict[date, str]:
        """The fingerprints."""
        whole = {label: sorted((s, d.hexdigest()) for s, d in streams.items()) for label, streams in self._of.items()}
        return {label: content_id(told) for label, told in whole.items()}


def _bytes(column: pl.Series, labels: pl.Series, ends: Sequence[int]) -> dict[str, list[bytes]]:
    """The content of the column by label: of numbers the bits and which are missing, of all else text, each value with
    its end.
    """
    spans = list(pairwise([0, *ends]))
    if column.dtype.is_integer() or column.dtype.is_float():
        streams = {column.name: column.fill_null(0).to_numpy(), f"no {column.name}": column.is_null().to_numpy()}
        return {name: [values[a:b].tobytes() for a, b in spans] for name, values in streams.items()}
    text = pl.DataFrame({"label": labels, "text": column.cast(pl.String).fill_null("\x00")})
    joined = text.group_by("label", maintain_order=True).agg(pl.col("text").str.join("\x1f"))["text"]
    return {column.name: [f"{said}\x1f".encode() for said in joined.to_list()]}
