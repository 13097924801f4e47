"""Walk-forward splits over unique sessions, purged by knowledge time and embargoed.

Splitting the rows of a panel would put one session on both sides; here whole sessions are split. A label may
train a model only if it was known by the cut of the first test session, and `embargo` sessions earlier still
(purging and embargo: López de Prado 2018, ch. 7, in the walk-forward direction only). Of a session whose labels end
at different times (barriers), those rows train that were known, no more and no less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise

import polars as pl


@dataclass(frozen=True)
class Fold:
    """The sessions to train on, of which a label is known by the cut `known_by`, and those to test on, each ascending;
    training lies before the test.
    """

    train: tuple[date, ...]
    test: tuple[date, ...]
    known_by: datetime

    def split(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows of `frame` (session, label_known_at, …) to train on, each by its own label's knowledge time, and
        those to test on, in the order given.
        """
        session = pl.col("session")
        return frame.filter(session.is_in(self.train), pl.col("label_known_at") <= self.known_by), frame.filter(
            session.is_in(self.test)
        )


def folds(
    sessions: Sequence[date],
    label_known: Mapping[date, datetime],
    cuts: Mapping[date, datetime],
    *,
    count: int,
    size: int,
    embargo: int = 0,
) -> list[Fold]:
    """The last `count` blocks of `size` sessions as tests, oldest first, each with all that may train before it.

    `sessions`: unique and ascending. `label_known`: when the first label of a session became known.
    `cuts`: the knowledge cut of each session. Fewer folds come back where the sessions do not suffice;
    a fold's `train` may be empty.
    """
    if any(a >= b for a, b in pairwise(sessions)):
        raise ValueError("sessions are not unique and ascending")
    out: list[Fold] = []
    for start in range(len(sessions) - count * size, len(sessions), size):
        if start >= 0:
            last = max(start - embargo, 0)
            known_by = cuts[sessions[last]]
            out.append(
                Fold(
                    tuple(s for s in sessions[: last + 1] if label_known[s] <= known_by),
                    tuple(sessions[start : start + size]),
                    known_by,
                )
            )
    return out
