"""Which jumps of a price are a vendor's: the most likely path of levels through a name's opens and closes.

Opens and closes in turn are one series. On a level other than its own (another unit; before a declared split where the
rest is after it) a price stands off by that level's ratio, so each change of level shows as a jump of just that size.
The path is the one that maximises

    sum over jumps of  ln t3((move - change of level) / usual move) - ln t3(move / usual move)  -  odds against the
    change

(Viterbi 1967). Only where a move is large can a change be, so the path runs over those moves alone.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant_assets.market_data.vendor_errors.thresholds import Thresholds

Floats = NDArray[np.float64]
UNITS = (100.0, 1000.0)  # pence, cents and agorot to the main unit; fils and millimes
GLITCH = 10.0  # a slipped decimal point; believed only where it is undone soon, for some names do fall by nine tenths
SMALLEST_SPLIT = math.log(1.2)  # nearer to one, a break looks like a bad day
SMALLEST_MOVE = 0.1  # of a break
NEAR = 21  # days by which vendors miss the ex-session of a split they declare
LONG_AGO = 56  # days before a split at which a stretch on the other side of it may begin
SOON = 10  # rows within which a passing error is over
SETTLED = 5  # rows that make a level
NEVER = 1e9


@dataclass(frozen=True)
class Events:
    """The large moves of one name: `row` (from 0 in the name), `day` (since 1970), `move` and `usual` (logs), `volumes`
    (log of traded volume after over before; NaN where unknown), whether anybody had `traded` before.
    """

    row: NDArray[np.int64]
    day: NDArray[np.int64]
    move: Floats
    usual: Floats
    volumes: Floats
    traded: NDArray[np.bool_]


@dataclass(frozen=True)
class Level:
    """A level that a price may be on, by its factor. `at`: the day of the split's declaration, -1 for a unit."""

    ratio: float
    at: int = -1
    glitch: bool = False


def levels_of(splits: list[tuple[int, float]], events: Events) -> list[Level]:
    """The levels that could be: its own, other units where a move is large enough for one, and each declared split
    missed or doubled.
    """
    largest = float(np.abs(events.move).max(initial=0.0))
    levels = [Level(1.0)]
    for unit in (*UNITS, GLITCH):
        if largest > math.log(unit) - 0.7:
            levels += [Level(unit, glitch=unit == GLITCH), Level(1 / unit, glitch=unit == GLITCH)]
    for at, ratio in splits:
        near = (events.day >= at - LONG_AGO) & (events.day <= at + NEAR)
        if near.any() and np.abs(events.move[near]).max() > abs(math.log(ratio)) / 2:
            levels += [Level(ratio, at), Level(1 / ratio, at)]
    return levels


def path(levels: list[Level], events: Events, limits: Thresholds) -> tuple[NDArray[np.int64], Floats]:
    """The level of the prices before the first event and after each (indices into `levels`), and by how much each
    change of level leads (log odds; 0 where there is none).
    """
    logs = np.log([level.ratio for level in levels])
    change = logs[None, :] - logs[:, None]  # from row to column
    off = (events.move[:, None, None] - change[None]) / events.usual[:, None, None]
    plain = (events.move / events.usual)[:, None, None]
    gain = tails(off) - tails(plain) - against(levels, events, limits)
    start = np.where([level.glitch for level in levels], -NEVER, np.where(np.arange(len(levels)) == 0, 0.0, -0.01))
    best, came = start, np.zeros((len(events.move), len(levels)), dtype=np.int64)
    for e in range(len(events.move)):
        if e:
            best = np.where(_overdue(levels, events.row[e] - events.row[e - 1]), -NEVER, best)
        through = best[:, None] + gain[e]
        came[e] = through.argmax(axis=0)
        best = through.max(axis=0)
    best = np.where([level.glitch for level in levels], -NEVER, best)
    states = np.zeros(len(events.move) + 1, dtype=np.int64)
    states[-1] = best.argmax()
    for e in range(len(events.move) - 1, -1, -1):
        states[e] = came[e, states[e + 1]]
    taken = gain[np.arange(len(events.move)), states[:-1], states[1:]]
    return states, np.where(states[:-1] == states[1:], 0.0, taken)


def tails(x: Floats) -> Floats:
    """Log density of Student's t with three degrees of freedom, up to a constant: returns and changes of volume have
    such tails.
    """
    return -2 * np.log1p(x**2 / 3)


def _overdue(levels: list[Level], rows: int) -> NDArray[np.bool_]:
    return np.array([level.glitch for level in levels]) & (rows > SOON)


def against(levels: list[Level], events: Events, limits: Thresholds) -> Floats:
    """By event, level before and level after: the odds against that change there, less the evidence of the volumes (a
    split multiplies shares, not money).
    """
    n = len(levels)
    cost = np.zeros((len(events.move), n, n))
    undone = _undone(events)
    known = ~np.isnan(events.volumes)
    volumes = np.where(known, events.volumes, 0.0)
    for k, level in enumerate(levels[1:], start=1):
        if level.at < 0:
            odds = np.full(len(events.move), limits.glitch if level.glitch else limits.unit)
            for entering, sign in ((True, 1), (False, -1)):
                step = sign * math.log(level.ratio)
                regrouped = known & (
                    tails(volumes + step) > tails(volumes)
                )  # rather an undeclared split: shares did what prices did
                lasting = np.where(regrouped | ~events.traded, NEVER, odds)
                where = (slice(None), slice(None), k) if entering else (slice(None), k, slice(None))
                cost[where] += np.where(undone, odds, lasting)[:, None]
        else:
            days = events.day - level.at
            odds = limits.split + limits.split_off * np.abs(days)
            enter = np.where(
                (days > NEAR) | (days < -LONG_AGO), NEVER, np.minimum(odds, limits.split + NEAR * limits.split_off)
            )
            leave = np.where(np.abs(days) > NEAR, NEVER, odds)
            step = math.log(level.ratio)
            shares = [tails(volumes + s) - tails(volumes) for s in (step, -step)]
            cost[:, :, k] += (enter - np.where(known & ~undone, shares[0], 0.0))[:, None]
            cost[:, k, :] += (leave - np.where(known & ~undone, shares[1], 0.0))[:, None]
    cost[:, np.arange(n), np.arange(n)] = 0.0
    return cost


def _undone(events: Events) -> NDArray[np.bool_]:
    """Whether a move is taken back, to within a third of it, within `SOON` rows before or after."""
    undone = np.zeros(len(events.move), dtype=bool)
    for e, (row, move) in enumerate(zip(events.row, events.move, strict=True)):
        near = (np.abs(events.row - row) <= SOON) & (np.abs(events.move + move) < abs(move) / 3 + 0.1)
        near[e] = False
        undone[e] = near.any()
    return undone
