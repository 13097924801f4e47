"""The errors that vendors make, put by their mechanism into real clean series; what was touched is known because the
clean series is kept.

An error is made where it arises: in days, from which weeks are then made, so that a week may be wrong in its high
alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from bench.clean_series import (
    COLUMNS,
    LONGEST,
    PRICES,
    SERIES,
    Bars,
    Column,
    clean,
    framed,
    readjusted,
    resampled,
    steps,
)


@dataclass(frozen=True)
class Case:
    """A spoilt series (or a clean one, of the kind `clean`) beside what it should be, as frames with one symbol; the
    answer is null where it cannot be known.
    """

    name: str
    kind: str
    interval: str
    bars: pl.DataFrame
    answer: pl.DataFrame


Spoil = Callable[[Bars, Generator], Bars | None]  # None where the series has nothing that this error could befall
RATIOS = (2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 1.5, 1.25, 0.5, 0.2, 0.1, 0.05, 1 / 15, 0.6, 0.4714)


def _times(bars: Bars, rows: NDArray[np.bool_], factor: float, *columns: str) -> Bars:
    return bars.changed(**{c: np.where(rows, bars[c] * factor, bars[c]) for c in columns})


def _unit(draw: Generator) -> float:
    return float(draw.choice([100.0, 0.01]))


def unit_rows(bars: Bars, draw: Generator) -> Bars | None:
    """A stretch of one to ten rows, or a few scattered ones, in the other unit."""
    if bars.height < 10:
        return None
    rows = np.zeros(bars.height, dtype=bool)
    for _ in range(int(draw.integers(1, 4))):
        at = int(draw.integers(0, bars.height))
        last = at + int(draw.choice([1, 1, 2, 5, 10]))
        rows[at : last if last < bars.height - 10 else at + 1] = (
            True  # what has lasted to the end is a change, not an error
        )
    return None if rows.sum() > bars.height / 3 else _times(bars, rows, _unit(draw), *SERIES)


def unit_history(bars: Bars, draw: Generator) -> Bars | None:
    """Everything before a moment in the unit in which the name was once quoted."""
    if bars.height < 60:
        return None
    return _times(bars, np.arange(bars.height) < draw.integers(10, bars.height - 45), _unit(draw), *SERIES)


def unit_cells(bars: Bars, draw: Generator) -> Bars | None:
    """One or two of a row's four prices in the other unit, the adjusted close with the close."""
    columns = [str(c) for c in draw.choice(PRICES, size=int(draw.choice([1, 1, 2])), replace=False)]
    if "close" in columns:
        columns.append("adj_close")
    return _times(bars, np.arange(bars.height) == draw.integers(0, bars.height), _unit(draw), *columns)


def _split(bars: Bars, draw: Generator, *, doubled: bool, one_row: bool) -> Bars | None:
    """A declared split that is not in the prices before it (or twice): in all of them, in the last stretch, or in one
    row; to a few days of it.
    """
    if bars.height < 10:
        return None
    at, ratio = int(draw.integers(4, bars.height - 1)), float(draw.choice(RATIOS))
    end = at if draw.random() < 0.6 else int(np.clip(at + draw.integers(-6, 6), 2, bars.height - 1))
    start = 0 if draw.random() < 0.6 else int(draw.integers(max(0, end - 25), end))
    rows = (np.arange(bars.height) >= (end - 1 if one_row else start)) & (np.arange(bars.height) < end)
    split = np.zeros(bars.height)
    split[at] = ratio
    factor = 1 / ratio if doubled else ratio
    wrong = _times(bars.changed(split=split), rows, factor, *SERIES)
    return wrong.changed(volume=np.where(rows, np.round(bars["volume"] / factor), bars["volume"]))


def split_missed(bars: Bars, draw: Generator) -> Bars | None:
    """See `_split`."""
    return _split(bars, draw, doubled=False, one_row=False)


def split_doubled(bars: Bars, draw: Generator) -> Bars | None:
    """See `_split`."""
    return _split(bars, draw, doubled=True, one_row=False)


def split_one_row(bars: Bars, draw: Generator) -> Bars | None:
    """See `_split`."""
    return _split(bars, draw, doubled=bool(draw.random() < 0.5), one_row=True)


def split_phantom(bars: Bars, draw: Generator) -> Bars | None:
    """A split that is declared again some sessions later, and taken out of the prices before again."""
    if bars.height < 30:
        return None
    at, ratio = int(draw.integers(5, bars.height - 12)), float(draw.choice(RATIOS))
    again, split = at + int(draw.integers(1, 10)), np.zeros(bars.height)
    split[[at, again]] = ratio
    rows = np.arange(bars.height) < again
    wrong = _times(bars.changed(split=split), rows, 1 / ratio, *SERIES)
    return wrong.changed(volume=np.where(rows, np.round(bars["volume"] * ratio), bars["volume"]))


def _payments(bars: Bars, draw: Generator, share_of_all: float) -> NDArray[np.int64] | None:
    """One of the payments, or all of them, for a vendor's feed errs by listing."""
    there = np.flatnonzero(bars["dividend"] > 0)
    if not len(there):
        return None
    return there if draw.random() < share_of_all else draw.choice(there, 1)


def payment(amount: float | None, taken: float | None, share_of_all: float = 0.35) -> Spoil:
    """Payments declared `amount` times, and taken `taken` times in the adjusted close, of what they were; None: some
    rate of exchange.
    """

    def spoil(bars: Bars, draw: Generator) -> Bars | None:
        at = _payments(bars, draw, share_of_all)
        if at is None:
            return None
        rate = float(np.exp(draw.choice([-1, 1]) * draw.uniform(0.2, 0.9)))
        dividend, gains, stepped = bars["dividend"].copy(), bars["capital_gains"].copy(), steps(bars)
        dividend[at] *= rate if amount is None else amount
        gains[at] *= rate if amount is None else amount
        stepped[at] *= rate if taken is None else taken
        return readjusted(bars.changed(dividend=dividend, capital_gains=gains), stepped)

    return spoil


def repeated(bars: Bars, draw: Generator) -> Bars | None:
    """A payment that is declared a second time within days, the same or converted at another day's rate, and taken
    again or not.
    """
    at = _payments(bars, draw, 0.0)
    if at is None or np.median(np.diff(np.flatnonzero(bars["dividend"] > 0), prepend=0)) < 40:
        return None
    again = int(at[0]) + int(draw.choice([-1, 1])) * int(draw.integers(1, 8))
    if not 1 <= again < bars.height:
        return None
    dividend, stepped, before = bars["dividend"].copy(), steps(bars), bars["close"][again - 1]
    dividend[again] = dividend[at[0]] * (1.0 if draw.random() < 0.6 else draw.uniform(0.92, 1.08))
    if draw.random() < 0.7:
        stepped[again] = dividend[again] / before
    return readjusted(bars.changed(dividend=dividend), stepped)


def phantom(bars: Bars, draw: Generator) -> Bars | None:
    """A payment of another share class or another company: several times what is usual, taken, when the price did not
    fall.
    """
    if bars.height < 20:
        return None
    at = int(draw.integers(1, bars.height))
    if (bars["dividend"][max(0, at - 15) : at + 15] > 0).any():
        return None
    dividend, stepped = bars["dividend"].copy(), steps(bars)
    stepped[at] = draw.uniform(0.08, 0.4)
    dividend[at] = stepped[at] * bars["close"][at - 1]
    return readjusted(bars.changed(dividend=dividend), stepped)


def misdated(bars: Bars, draw: Generator) -> Bars | None:
    """A payment that is declared a session or two beside the one on which the adjusted close takes it."""
    at = _payments(bars, draw, 0.0)
    if at is None:
        return None
    there = int(at[0]) + int(draw.choice([-2, -1, 1, 2]))
    if not 1 <= there < bars.height or bars["dividend"][there] > 0:
        return None
    dividend, gains = bars["dividend"].copy(), bars["capital_gains"].copy()
    dividend[there], dividend[at] = dividend[at[0]], 0.0
    gains[there], gains[at] = gains[at[0]], 0.0
    return bars.changed(dividend=dividend, capital_gains=gains)


def unsplit(bars: Bars, draw: Generator) -> Bars | None:
    """Payments on the day of a split or before it, declared for the shares of then; the adjusted close is right."""
    there = np.flatnonzero(bars["dividend"] > 0)
    if not len(there):
        return None
    ratio = float(draw.choice([2.0, 3.0, 4.0, 5.0, 10.0]))
    last = int(draw.choice(there))
    at = last if draw.random() < 0.5 else min(bars.height - 1, last + int(draw.integers(1, 30)))
    split, dividend = np.zeros(bars.height), bars["dividend"].copy()
    split[at] = ratio
    rows = there[there <= at] if draw.random() < 0.5 else np.array([last])
    dividend[rows] *= ratio
    return bars.changed(split=split, dividend=dividend)


def stale(bars: Bars, draw: Generator) -> Bars | None:
    """A feed that stood still for one to three weeks: the last close is quoted, without volume, by a name that
    trades.
    """
    if bars.height < 120 or (bars["volume"] == 0).mean() > 0.02:
        return None
    at, n = int(draw.integers(20, bars.height - 20)), int(draw.integers(5, 16))
    rows = (np.arange(bars.height) >= at) & (np.arange(bars.height) < at + n)
    if (bars["dividend"][rows] > 0).any():
        return None
    held = bars["adj_close"] / bars["close"]
    wrong = bars.changed(**{c: np.where(rows, bars["close"][at - 1], bars[c]) for c in PRICES})
    return wrong.changed(volume=np.where(rows, 0.0, bars["volume"]), adj_close=wrong["close"] * held)


def gains_twice(bars: Bars, _: Generator) -> Bars | None:
    """The adjusted close takes the dividend, and once more the capital gains that are in it."""
    at = np.flatnonzero(bars["capital_gains"] > 0)
    if not len(at):
        return None
    stepped = steps(bars)
    stepped[at] += bars["capital_gains"][at] / bars["close"][at - 1]
    return readjusted(bars, stepped)


KINDS: dict[str, Spoil] = {
    "unit: rows": unit_rows,
    "unit: history": unit_history,
    "unit: single prices": unit_cells,
    "split missed": split_missed,
    "split doubled": split_doubled,
    "split off in one row": split_one_row,
    "split declared twice": split_phantom,
    "amount x100": payment(100.0, 1.0),
    "amount /100": payment(0.01, 1.0),
    "amount and step x100": payment(100.0, 100.0),
    "amount and step /100": payment(0.01, 0.01),
    "payment in another currency": payment(None, 1.0),
    "payment not split": unsplit,
    "payment not declared": payment(0.0, 1.0, 0.0),
    "payment repeated": repeated,
    "payment of another": phantom,
    "payment misdated": misdated,
    "adjustment not taken": payment(1.0, 0.0),
    "adjustment /100": payment(1.0, 0.01),
    "adjustment x100": payment(1.0, 100.0),
    "adjustment too large or small": payment(1.0, None),
    "capital gain twice": gains_twice,
    "stale run": stale,
}
BY_ROW = ("unit: rows", "unit: single prices")  # in half the cases made in the rows of weeks themselves
INTERVALS, SHARES = ("1d", "1wk", "15m"), (0.6, 0.25, 0.15)
ONLY_DAILY = (
    "stale run",
    "split declared twice",
)  # within the day nobody stands still for long, and a week adds up what it declares


def cases(paths: dict[str, Bars], *, seed: int, kinds: int = 8) -> Iterator[Case]:
    """For each name one clean case of each interval, and `kinds` spoilt ones of kinds taken in turn; the same for the
    same seed and name.
    """
    turn = list(KINDS)
    for number, (name, path) in enumerate(paths.items()):
        draw = np.random.default_rng((seed, number))
        for interval in INTERVALS:
            days = clean(path, draw, rows=int(draw.integers(15, 40)) if interval == "15m" else LONGEST)
            answer = framed(resampled(days, interval, draw), interval, name)
            yield Case(name, "clean", interval, answer, answer)
        for k in range(kinds):
            kind = turn[(number * kinds + k) % len(turn)]
            for _ in range(12):
                case = _spoilt(path, name, kind, draw)
                if case is not None:
                    yield case
                    break


def _spoilt(path: Bars, name: str, kind: str, draw: Generator) -> Case | None:
    interval = str(draw.choice(INTERVALS, p=SHARES))
    if kind in ONLY_DAILY:
        interval = "1d"
    rows = int(draw.integers(15, 40)) if interval == "15m" else int(draw.choice([12, 25, 120, 260, LONGEST, LONGEST]))
    days = clean(path, draw, rows=max(rows, 60) if interval == "1wk" else rows)
    by_row = (interval == "15m" and not kind.startswith("split")) or (kind in BY_ROW and draw.random() < 0.5)
    seed = int(draw.integers(2**32))
    right = resampled(days, interval, np.random.default_rng(seed))
    if by_row:
        spoilt, wrong = None, KINDS[kind](right, draw)
    else:
        spoilt = KINDS[kind](days, draw)
        wrong = spoilt and resampled(spoilt, interval, np.random.default_rng(seed))
    if wrong is None or right.height < 5 or all(np.array_equal(wrong[c], right[c]) for c in COLUMNS):
        return None
    answer = right.changed(split=wrong["split"])
    if (
        interval == "1wk" and not by_row
    ):  # of a week that is wrong in part nobody can say what it traded, nor the extreme that it lost
        off = np.log([wrong[c] / right[c] for c in PRICES])
        in_part = off.max(axis=0) - off.min(axis=0) > 1e-6
        lost = {c: np.where(in_part, np.nan, right[c]) for c in ("high", "low", "volume")}
        answer = answer.changed(**lost)
    if kind == "split declared twice":
        answer = right.changed(split=_once(wrong["split"]))
    return Case(name, kind, interval, framed(wrong, interval, name), framed(answer, interval, name))


def _once(split: Column) -> Column:
    first = np.zeros(len(split))
    declared = np.flatnonzero((split > 0) & (split != 1))[:1]
    first[declared] = split[declared]
    return first
