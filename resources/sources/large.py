"""The rows of files that may be larger than memory, one label at a time.

Files that are sorted by label and can be read from the middle are read only at a label's rows; that takes a first pass
over their labels alone. Of any others each row is read once and, if they do not fit, written to a temporary folder, in
stretches of labels that are small enough to be sorted on request; the folder is removed with the object. Either way the
memory is that of a batch and a stretch, however long the files.
"""

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import polars as pl

from resources.sources.seen import Digests

ROWS = 400_000  # of a batch, and of a stretch unless one label has more
Fold = Callable[[pl.DataFrame, pl.DataFrame | None], tuple[pl.DataFrame, pl.DataFrame]]


class ByLabel:
    """The rows of files by label and, within it, in their order.

    `batches(columns)` reads them from the beginning in frames of about `ROWS` rows: label (null where a row has none
    that can be read) and whatever else a row has; of these only `columns`, if given. A row without a label goes with
    the row before it, at the beginning with the first that has one, and under `otherwise()` where none has.
    `middle(offset, rows)` reads such a frame from the middle; None where there is reading from the beginning only.
    `fold`: what is made of a stretch, given what it returned second for the stretch before.
    """

    def __init__(
        self,
        batches: Callable[[list[str] | None], Iterator[pl.DataFrame]],
        middle: Callable[[int, int], pl.DataFrame] | None,
        otherwise: Callable[[], date],
        fold: Fold | None = None,
    ) -> None:
        self._batches = batches
        self._middle = middle
        self._otherwise = otherwise
        self._fold = fold
        self._carried: list[pl.DataFrame | None] = [None]  # before each stretch
        self._held: tuple[int, pl.DataFrame] | None = None  # a stretch and its number
        self._at: dict[date, tuple[int, int]] = {}  # the place of a label's rows in it, and how many
        self._digests: dict[date, str] = {}  # of its labels, once one is asked for

    @cached_property
    def counts(self) -> dict[date, int]:
        """The number of rows of each label, ascending."""
        return self._counted[0]

    def rows(self, label: date) -> pl.DataFrame:
        """The rows of a label of `counts`, in their order."""
        return self._hold(self._stretches[label]).slice(*self._at[label])

    def fingerprint(self, label: date) -> str:
        """The fingerprint of a label's rows: of all labels beside it at once."""
        number = self._stretches[label]
        held = self._hold(number)
        if label not in self._digests:
            digests = Digests()
            digests.add(_said(held))
            self._digests = digests.by_label()
        return self._digests[label]

    def _hold(self, number: int) -> pl.DataFrame:
        """The rows of a stretch, read where it is not the one that is held."""
        if self._held is None or self._held[0] != number:
            self._held = None  # lets go of it before the next is read
            while self._fold is not None and len(self._carried) <= number:
                self._folded(len(self._carried) - 1)
            found = self._folded(number)
            sizes = found.group_by("label", maintain_order=True).len().rows()
            self._at = {d: (end - n, n) for (d, n), end in zip(sizes, accumulate(n for _, n in sizes), strict=True)}
            self._held = number, found
        return self._held[1]

    def _folded(self, number: int) -> pl.DataFrame:
        found = self._stretch(number)
        if self._fold is None:
            return found
        made, carried = self._fold(found, self._carried[number])
        if len(self._carried) == number + 1:
            self._carried.append(carried)
        return made

    @cached_property
    def fingerprints(self) -> dict[date, str]:
        """A value that changes when the rows of a label change; one pass, whose memory is that of a stretch."""
        digests = Digests()
        for number in dict.fromkeys(self._stretches.values()):
            digests.add(_said(self._hold(number)))
        return digests.by_label()

    @cached_property
    def _counted(self) -> tuple[dict[date, int], bool]:
        """Rows by label, and whether they are in that order."""
        counted, ordered, last = Counter[date](), True, date.min
        for batch in _labelled(self._batches(["label"]) if self._middle else iter(self._read), self._otherwise):
            label = batch["label"]
            ordered = ordered and label[0] >= last and label.is_sorted()
            last = label[-1]
            counted.update(dict(label.value_counts().iter_rows()))
        return dict(sorted(counted.items())), ordered

    @cached_property
    def _read(self) -> "_Spool":
        """The rows as they were read, once."""
        spool = _Spool(lambda: self._folder)
        for batch in self._batches(None):
            spool.append(batch)
        return spool

    @cached_property
    def _stretches(self) -> dict[date, int]:
        """The number of the stretch in which each label lies."""
        out, number, size = {}, 0, 0
        for label, n in self.counts.items():
            if size and size + n > ROWS:
                number, size = number + 1, 0
            out[label], size = number, size + n
        return out

    def _stretch(self, number: int) -> pl.DataFrame:
        labels = [label for label, n in self._stretches.items() if n == number]
        if self._middle is not None and self._counted[1]:
            ends = dict(zip(self.counts, accumulate(self.counts.values()), strict=True))
            start = ends[labels[0]] - self.counts[labels[0]]
            found = pl.concat(self._all(iter([self._middle(start, ends[labels[-1]] - start)])))
        elif len(labels) == len(self.counts):
            found = pl.concat(self._all())
        else:
            found = pl.concat([pl.read_ipc(part) for part in sorted(self._parts.glob(f"{number}-*.arrow"))])
        return found.sort("label", maintain_order=True)

    def _all(self, batches: Iterator[pl.DataFrame] | None = None) -> Iterator[pl.DataFrame]:
        if batches is None:
            batches = self._batches(None) if self._middle else iter(self._read)
        return _labelled(batches, self._otherwise)

    @cached_property
    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="rows-by-label-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @cached_property
    def _parts(self) -> Path:
        """Where the rows were put down by stretch, each in a file per batch."""
        folder = self._folder / "stretches"
        folder.mkdir()
        stretch = pl.col("label").replace_strict(self._stretches, return_dtype=pl.Int64)
        for n, batch in enumerate(self._all()):
            for (number,), rows in (
                batch.with_columns(stretch=stretch)
                .partition_by("stretch", as_dict=True, include_key=False, maintain_order=True)
                .items()
            ):
                rows.write_ipc(folder / f"{number}-{n:06}.arrow", compression="lz4")
        return folder


class _Spool:
    """Frames in order: in memory as long as they are no more than a stretch, in files from then on."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._held: list[pl.DataFrame] = []
        self._files: list[Path] = []

    def append(self, frame: pl.DataFrame) -> None:
        self._held.append(frame)
        if sum(f.height for f in self._held) > ROWS:
            for held in self._held:
                path = self._folder() / f"read-{len(self._files):06}.arrow"
                held.write_ipc(path, compression="lz4")
                self._files.append(path)
            self._held.clear()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self._files:
            yield pl.read_ipc(path)
        yield from self._held


def _labelled(batches: Iterator[pl.DataFrame], otherwise: Callable[[], date]) -> Iterator[pl.DataFrame]:
    """The batches without empty ones, each row with a label."""
    before: date | None = None
    waiting: list[pl.DataFrame] = []
    for found in batches:
        batch = pl.concat([*waiting, found])
        labelled = batch.height - batch["label"].null_count()
        waiting = [batch] if before is None and not labelled else []
        if batch.height and not waiting:
            filled = batch.with_columns(
                pl.col("label").forward_fill().fill_null(pl.lit(before, pl.Date)).backward_fill()
            )
            before = filled["label"][-1]
            yield filled
    if waiting and waiting[0].height:
        yield waiting[0].with_columns(label=pl.lit(otherwise(), pl.Date))


def _said(rows: pl.DataFrame) -> pl.DataFrame:
    """The content of rows, in an order that is not that of the file."""
    return rows.drop("file", "line", strict=False).sort("label", "symbol", "session", maintain_order=True)
