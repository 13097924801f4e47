"""The rows of a file that may be larger than memory, one label at a time.

Two passes at most. The first reads labels only and counts them. Where the file stands by label and can be read from
the middle, a label's rows are then read where they stand. Otherwise the second pass puts the rows down in a
temporary folder, in stretches of labels that are small enough to be sorted when they are asked for; the
folder goes when the object does. Either way the memory is that of a batch and a stretch, however long the file.
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

ROWS = 400_000  # of a batch, and of a stretch unless one label has more


class ByLabel:
    """The rows of a file by label and, within it, by line.

    `batches(columns)` reads the file from its beginning in frames of about `ROWS` rows: label (null where a row has none
    that can be read), line and whatever else a row has; of these only `columns`, if given. A row without a label goes with
    the row before it, at the beginning of the file with the first that has one.
    `middle(offset, rows)` reads such a frame from the middle; None where the file has to be read from its beginning.
    """

    def __init__(
        self,
        batches: Callable[[list[str] | None], Iterator[pl.DataFrame]],
        middle: Callable[[int, int], pl.DataFrame] | None,
    ) -> None:
        self._batches = batches
        self._middle = middle
        self._held: tuple[int, pl.DataFrame] | None = None  # a stretch and its number
        self._at: dict[date, tuple[int, int]] = {}  # where in it a label's rows stand, and how many

    @cached_property
    def counts(self) -> dict[date, int]:
        """The number of rows of each label, ascending."""
        return self._counted[0]

    def rows(self, label: date) -> pl.DataFrame:
        """The rows of a label of `counts`, by line."""
        number = self._stretches[label]
        if self._held is None or self._held[0] != number:
            self._held = None  # lets go of it before the next is read
            found = self._stretch(number)
            sizes = found.group_by("label", maintain_order=True).len().rows()
            self._at = {d: (end - n, n) for (d, n), end in zip(sizes, accumulate(n for _, n in sizes), strict=True)}
            self._held = number, found
        return self._held[1].slice(*self._at[label])

    @cached_property
    def _counted(self) -> tuple[dict[date, int], bool]:
        """Rows by label, and whether they stand in that order."""
        counted, ordered, last = Counter[date](), True, date.min
        for batch in _labelled(self._batches(["label"])):
            label = batch["label"]
            ordered = ordered and label[0] >= last and label.is_sorted()
            last = label[-1]
            counted.update(dict(label.value_counts().iter_rows()))
        return dict(sorted(counted.items())), ordered

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
        if len(labels) == len(self.counts):
            found = pl.concat(_labelled(self._batches(None)))
        elif self._middle is not None and self._counted[1]:
            ends = dict(zip(self.counts, accumulate(self.counts.values()), strict=True))
            start = ends[labels[0]] - self.counts[labels[0]]
            found = pl.concat(_labelled(iter([self._middle(start, ends[labels[-1]] - start)])))
        else:
            found = pl.concat([pl.read_ipc(part) for part in sorted(self._folder.glob(f"{number}-*.arrow"))])
        return found.sort("label", "line")

    @cached_property
    def _folder(self) -> Path:
        """Where the rows were put down, each stretch in a file per batch."""
        folder = Path(tempfile.mkdtemp(prefix="rows-by-label-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        stretch = pl.col("label").replace_strict(self._stretches, return_dtype=pl.Int64)
        for n, batch in enumerate(_labelled(self._batches(None))):
            for (number,), rows in (
                batch.with_columns(stretch=stretch).partition_by("stretch", as_dict=True, include_key=False).items()
            ):
                rows.write_ipc(folder / f"{number}-{n:06}.arrow", compression="lz4")
        return folder


def _labelled(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The batches without empty ones, each row with a label. Rows of a file that has none at all are left out."""
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
