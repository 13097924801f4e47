"""The point-in-time join: what each row of a spine could have known of a bitemporal view at its cut.

The law, for a spine row of one subject at cut t: of the view's rows known by t whose event is not after t, take of each
event the latest version (nothing where that one is withdrawn); of the events left, take the latest. A late restatement
of an *older* event never wins over a newer event, which is what "the latest known_at" gets wrong.

How: sorted by (subject, event, known_at), a view's rows are numbered so that within a subject a larger number is a
newer event or a newer version of it. Put into the order in which the cuts learnt of them, the answer at any moment is
the running maximum of these numbers; where rows are withdrawn, the maximum of those that stand.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_assets.errors import ContractViolation

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """A bitemporal frame to look into: the columns in `by`, `event`, known_at, those in `values`, and withdrawn where
    rows can be.

    `by`: what a row is about, under the spine's own names; () for one series that all share.
    `event`: orders a subject's rows. Where it is a time (a Date is its midnight UTC), no event after the cut counts.
    `tolerance`: the greatest age of an event at the cut; an older one is no answer, even where nothing newer is known.
    A frame that is sorted by (by, event, known_at), as tables are read, is not sorted again.
    """

    name: str
    frame: pl.DataFrame
    values: tuple[str, ...]
    by: tuple[str, ...] = ("sid",)
    event: str = "session"
    tolerance: timedelta | int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies a row."""
        return (*self.by, self.event, "known_at")


@dataclass(frozen=True)
class _Spine:
    """The spine as numbers, for views of one `by`.

    A moment is subject * (number of cuts + 1) + cut, both as positions among the distinct ones: it sorts as the pair
    does, cannot overflow as times would, and leaves a place for "after the last cut".
    """

    subjects: pl.DataFrame
    cut: pl.Series
    cuts: Ints
    order: Ints  # the spine's rows by moment: each view's look-up walks through memory once
    moments: Ints  # in this order
    subject: Ints  # in this order

    def moment(self, subject: Ints, learnt: pl.Series) -> Ints:
        """The first moment at which a cut knows what came to be known at `learnt`."""
        return subject * (len(self.cuts) + 1) + np.searchsorted(self.cuts, _ints(learnt))


def point_in_time(spine: pl.DataFrame, views: Sequence[View], *, cut: str = "ts") -> pl.DataFrame:
    """`spine`, its rows and order as they are, with a column `{view.name}_{value}` for each value of each view; null
    where nothing is known.

    `cut` names the spine's knowledge times: of the views' known_at's dtype, integers, Date or Datetime. To see which
    row answered, ask for its event and known_at among the `values`. Raises ContractViolation on columns that are
    missing, nulls in a key, dtypes that differ, a key that occurs twice, a tolerance without a time, and output names
    that collide.
    """
    names = [*spine.columns, *(f"{view.name}_{value}" for view in views for value in view.values)]
    if len(set(names)) < len(names):
        raise ContractViolation(
            f"point_in_time: the columns {sorted({n for n in names if names.count(n) > 1})} would stand "
            f"twice in the result; give the views other names"
        )
    for view in views:
        _check(spine, view, cut)
    asked = {by: _numbered_spine(spine, by, cut) for by in {view.by for view in views}}
    with ThreadPoolExecutor(pl.thread_pool_size()) as threads:  # NumPy's share runs on one core each
        answers = threads.map(_answers, views, [asked[view.by] for view in views])
        return pl.concat([spine, *answers], how="horizontal")


def _check(spine: pl.DataFrame, view: View, cut: str) -> None:
    at = f"point_in_time, view {view.name}:"
    missing = [c for c in (*view.key, *view.values) if c not in view.frame.columns] + [
        f"{c} (of the spine)" for c in (*view.by, cut) if c not in spine.columns
    ]
    if missing:
        raise ContractViolation(f"{at} missing {missing}; the view has {view.frame.columns}, the spine {spine.columns}")
    nulls = [c for c in view.key if view.frame[c].null_count()] + [
        f"{c} (of the spine)" for c in (*view.by, cut) if spine[c].null_count()
    ]
    if nulls:
        raise ContractViolation(f"{at} null in {nulls}, which is part of a key; leave these rows out")
    pairs = [(view.frame[c], spine[s]) for c, s in (*((c, c) for c in view.by), ("known_at", cut))]
    differing = [
        f"{ours.name} is {ours.dtype}, the spine's {theirs.name} {theirs.dtype}"
        for ours, theirs in pairs
        if ours.dtype != theirs.dtype
    ]
    if differing:
        raise ContractViolation(f"{at} {'; '.join(differing)}; cast one of them")
    if view.tolerance is not None and not _is_time(view):
        raise ContractViolation(
            f"{at} a tolerance of {view.tolerance}, but {view.event} ({view.frame[view.event].dtype}) is no "
            f"time beside known_at ({view.frame['known_at'].dtype}); leave it out"
        )


def _is_time(view: View) -> bool:
    """Whether event and knowledge lie on one scale: a fiscal quarter's number, beside times, only orders."""
    event = view.frame[view.event].dtype
    return event.is_temporal() if view.frame["known_at"].dtype.is_temporal() else event.is_integer()


def _ints(column: pl.Series) -> Ints:
    return column.to_physical().cast(pl.Int64).to_numpy()


def _numbered(frame: pl.DataFrame, subjects: pl.DataFrame) -> Ints:
    """The position of each row's subject in `subjects`; -1 where it is not there."""
    if not subjects.width:
        return np.zeros(frame.height, np.int64)
    by = pl.col(subjects.columns)
    starts = frame.select(
        pl.any_horizontal(by != by.shift(1)).fill_null(value=True).arg_true()
    ).to_series()  # runs of one subject: few where rows are sorted
    runs = frame.select(by)[starts].join(
        subjects.with_row_index("number of the subject"), on=subjects.columns, how="left", maintain_order="left"
    )
    return np.repeat(
        _ints(runs["number of the subject"].cast(pl.Int64).fill_null(-1)), np.diff(_ints(starts), append=frame.height)
    )


def _numbered_spine(spine: pl.DataFrame, by: tuple[str, ...], cut: str) -> _Spine:
    subjects, cuts = spine.select(by).unique().sort(by) if by else pl.DataFrame(), _ints(spine[cut].unique().sort())
    subject = _numbered(spine, subjects)
    moments = subject * (len(cuts) + 1) + np.searchsorted(cuts, _ints(spine[cut]))
    order = np.argsort(moments, kind="stable")
    return _Spine(subjects, spine[cut], cuts, order, moments[order], subject[order])


def _in_key_order(view: View, asked: _Spine) -> tuple[pl.DataFrame, Ints]:
    """The view's rows about subjects that are asked for, sorted by its key, and their subjects' numbers."""
    frame = view.frame.select(
        c for c in view.frame.columns if c in {*view.key, *view.values, "withdrawn"}
    ).rechunk()  # rows are fetched one by one: three times as fast from one piece
    subject = _numbered(frame, asked.subjects)
    if (subject < 0).any():
        frame, subject = frame.filter(subject >= 0), subject[subject >= 0]
    if not _ascends(frame, subject, view):
        frame = frame.sort(view.key)
        subject = _numbered(frame, asked.subjects)
        if not _ascends(frame, subject, view):
            twice = (
                frame.filter(frame.select(view.key).is_duplicated())
                .select(view.key)
                .unique(maintain_order=True)
                .head(3)
            )
            raise ContractViolation(
                f"point_in_time, view {view.name}: {view.key} occurs more than once, for example "
                f"{twice.rows()}; which of these rows is known later?"
            )
    return frame, subject


def _ascends(frame: pl.DataFrame, subject: Ints, view: View) -> bool:
    """Whether each row's key is greater than that of the row before it."""
    rows = frame.select(pl.Series("subject", subject), pl.col(view.event).alias("event"), "known_at")
    columns = [pl.col("known_at"), pl.col("event"), pl.col("subject")]
    return bool(
        rows.select(
            reduce(lambda less, c: (c > c.shift(1)) | ((c == c.shift(1)) & less), columns, pl.lit(value=False)).all()
        ).item()
    )


def _answers(view: View, asked: _Spine) -> pl.DataFrame:
    """The values of the row that answers each row of the spine."""
    frame, subject = _in_key_order(view, asked)
    event = frame[view.event].cast(asked.cut.dtype) if _is_time(view) else frame["known_at"]
    moment = asked.moment(subject, frame.select(pl.max_horizontal("known_at", event)).to_series())
    order = np.argsort(moment, kind="stable")  # rows learnt together stay in the order of their key
    withdrawn = (
        frame["withdrawn"].fill_null(value=False).to_numpy()
        if "withdrawn" in frame.columns
        else np.zeros(frame.height, bool)
    )
    latest = (
        _latest_standing(frame[view.event], subject, order, withdrawn)
        if withdrawn.any()
        else np.maximum.accumulate(order)
    )
    row = pl.Series("row", _looked_up(latest, moment[order], subject, asked))
    answer = pl.when(row >= 0).then(row)
    if view.tolerance is not None:
        answer = pl.when(asked.cut - event.gather(pl.select(answer).to_series()) <= view.tolerance).then(row)
    found = pl.select(answer).to_series()
    return frame.select(pl.col(value).gather(found).alias(f"{view.name}_{value}") for value in view.values)


def _looked_up(latest: Ints, learnt: Ints, subject: Ints, asked: _Spine) -> Ints:
    """For each row of the spine the view's row that is latest once all of its subject learnt by its moment is; -1 where
    there is none.
    """
    row = np.full(len(asked.moments), -1)
    if len(learnt):
        place = np.searchsorted(learnt, asked.moments, "right") - 1
        answer = latest[place]
        answer[(place < 0) | (subject[place] != asked.subject)] = -1  # subjects have one order in rows and in `learnt`
        row[asked.order] = answer
    return row


def _latest_standing(event: pl.Series, subject: Ints, order: Ints, withdrawn: npt.NDArray[np.bool_]) -> Ints:
    """After each row learnt, the greatest row in force then: neither withdrawn nor followed by a newer version; -1 if
    there is none.

    A row is in force over a stretch of places in `order`. Every stretch is covered by two of one length, a power of
    two; from the longest down, what holds over such a stretch holds over both of its halves.
    """
    rows = len(order)
    place = np.empty_like(order)
    place[order] = np.arange(rows)
    versioned = (np.diff(subject) == 0) & (
        np.diff(_ints(event.rle_id())) == 0
    )  # the next row is a newer version of this one
    end = np.searchsorted(subject, subject, "right")
    end[:-1] = np.where(versioned, place[1:], end[:-1])
    standing = np.flatnonzero(~withdrawn)
    first, last = place[standing], end[standing]
    power = np.frexp(last - first)[1] - 1
    latest = np.full(rows, -1)
    for exponent in range(int(power.max(initial=0)), -1, -1):
        step, here = 1 << exponent, power == exponent
        latest[step:] = np.maximum(latest[step:], latest[:-step])
        np.maximum.at(latest, first[here], standing[here])
        np.maximum.at(latest, last[here] - step, standing[here])
    return latest
