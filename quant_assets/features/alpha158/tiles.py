"""The factors of many series, tile by tile.

A tile holds as many rows as stay in a core's cache while all is computed from them: segments, each a stretch of one
series from a selected row on, with the PAST rows before it. Rows before the series begins are not `there`.
"""

import numpy as np

from quant_assets.features.alpha158 import formulas, rolling
from quant_assets.features.alpha158.logarithm import log_into
from quant_assets.features.alpha158.rolling import (
    F32,
    F64,
    INF,
    LOWEST,
    NONE,
    ONE,
    PAST,
    WINDOWS,
    Flags,
    Ints,
    compiled,
)

TILE = 1024  # rows
ROOM = 128  # a segment with less of it waits for the next tile


@compiled
def gather(
    bars: F32, starts: Ints, selected: Flags, position: Ints, tile: F32, there: F64, segments: Ints
) -> tuple[int, int]:
    """Fills a tile (column, row) and `segments` from `position` (series, row) on; returns how many segments and up to
    which row of the tile.
    """
    count, end, s, r = 0, PAST, position[0], position[1]
    while s + 1 < len(starts):
        if r == starts[s + 1]:
            s += 1
        elif not selected[r]:
            r += 1
        elif count and tile.shape[1] - end < PAST + min(starts[s + 1] - r, ROOM):
            break
        else:
            stop = r + 1
            for q in range(r + 1, min(starts[s + 1], r + tile.shape[1] - end - PAST)):
                if selected[q]:
                    stop = q + 1
                elif q - stop >= PAST:
                    break
            first = max(r - PAST, starts[s])
            before, known = first - (r - PAST), stop - first
            there[end : end + before], there[end + before : end + before + known] = 0.0, 1.0
            for b in range(len(bars)):
                tile[b, end : end + before] = np.nan
                tile[b, end + before : end + before + known] = bars[b, first:stop]
            for q in range(end + before + 1, end + before + known):
                tile[5, q] = tile[5, q] if np.isfinite(tile[5, q]) else tile[5, q - 1]
            end += before + known
            segments[count, 0], segments[count, 1], segments[count, 2] = end - (stop - r), r, stop - r
            count += 1
            r = stop
    position[0], position[1] = s, r
    return count, end


@compiled
def volumes(tile: F32, logged: F64, end: int) -> None:
    """What logarithms are taken of: 1 + volume, and 1 + volume by the volume before."""
    for t in range(PAST, end):
        logged[0, t] = np.float64(tile[4, t] + ONE)
        logged[1, t] = np.float64(tile[4, t] / tile[4, t - 1] + ONE)


@compiled
def prepare(
    tile: F32, there: F64, logs: F64, pairs: F64, changes: F64, singles: F64, highs: F32, closes: F32, end: int
) -> None:
    """Level 0 of everything from a tile's bars and the `logs` of its volumes."""
    for t in range(PAST, end):
        h, low, c, v = tile[1, t], tile[2, t], tile[3, t], tile[4, t]
        before, v_before = tile[3, t - 1], tile[4, t - 1]
        ratio, log_volume, log_ratio = c / before, logs[0, t], logs[1, t]
        moved = abs(ratio - ONE) * v
        pair, pair_of_ratios = np.isfinite(c) & np.isfinite(log_volume), np.isfinite(ratio) & np.isfinite(log_ratio)
        pairs[0, 0, 0, t], pairs[0, 0, 1, t], pairs[0, 0, 2, t] = (
            (1.0, np.float64(t), np.float64(c)) if np.isfinite(c) else (0.0, 0.0, 0.0)
        )
        pairs[1, 0, 0, t], pairs[1, 0, 1, t], pairs[1, 0, 2, t] = (
            (1.0, np.float64(c), log_volume) if pair else (0.0, 0.0, 0.0)
        )
        pairs[2, 0, 0, t], pairs[2, 0, 1, t], pairs[2, 0, 2, t] = (
            (1.0, np.float64(ratio), log_ratio) if pair_of_ratios else (0.0, 0.0, 0.0)
        )
        singles[0, 0, 0, t], singles[0, 0, 1, t] = (1.0, np.float64(v)) if np.isfinite(v) else (0.0, 0.0)
        singles[1, 0, 0, t], singles[1, 0, 1, t] = (1.0, np.float64(moved)) if np.isfinite(moved) else (0.0, 0.0)
        by, v_by = c - before, v - v_before
        changes[0, 0, 0, t], changes[0, 0, 1, t], changes[0, 0, 2, t] = (
            there[t],
            1.0 if by > 0 else 0.0,
            1.0 if by < 0 else 0.0,
        )
        changes[1, 0, 0, t], changes[1, 0, 1, t], changes[1, 0, 2, t] = (
            1.0 if np.isfinite(by) else 0.0,
            by if by > 0 else NONE,
            -by if by < 0 else NONE,
        )
        changes[2, 0, 0, t], changes[2, 0, 1, t], changes[2, 0, 2, t] = (
            1.0 if np.isfinite(v_by) else 0.0,
            v_by if v_by > 0 else NONE,
            -v_by if v_by < 0 else NONE,
        )
        missing = INF if there[t] > 0 else -INF  # where the highest is: at a missing value, but not before the series
        highs[0, 0, 0, t], highs[0, 0, 1, t] = (h, h) if np.isfinite(h) else (-INF, missing)
        highs[1, 0, 0, t], highs[1, 0, 1, t] = (-low, -low) if np.isfinite(low) else (-INF, missing)
        closes[0, 0, 0, t], closes[1, 0, 0, t] = (-c, c) if np.isfinite(c) else (INF, INF)


def factors(starts: Ints, bars: F32, selected: Flags, out: F32) -> None:
    """Writes the factors (factor, row) of `bars` (open, high, low, close, volume, close as a multiple of the price
    printed; row), whose series begin at `starts`, from each selected row to the next.
    """
    size, levels = PAST + TILE, len(LOWEST)
    tile, there, scores = (
        np.full((len(bars), size), np.float32(np.nan)),
        np.zeros(size),
        np.zeros((5, size), np.float32),
    )
    pairs, changes, singles = (
        np.zeros((3, levels, 6, size)),
        np.zeros((3, levels, 3, size)),
        np.zeros((2, levels, 3, size)),
    )
    highs, closes = np.zeros((2, levels, 3, size), np.float32), np.full((2, levels, max(LOWEST) + 1, size), INF)
    closes[:, :, -1] = -INF
    segments, position, close, unit, ones = (
        np.zeros((TILE, 3), np.int64),
        np.zeros(2, np.int64),
        tile[3],
        tile[5],
        np.ones(size, np.float32),
    )
    spread, logs = np.zeros((2, len(WINDOWS)), np.int64), np.ones((2, size))
    time_and_close, close_and_volume, ratios = pairs
    while True:
        count, end = gather(bars, starts, selected, position, tile, there, segments)
        if not count:
            return
        volumes(tile, logs, end)
        for of_volume in logs:
            log_into(of_volume[PAST:end], of_volume[PAST:end])
        prepare(tile, there, logs, pairs, changes, singles, highs, closes, end)
        rolling.codeviations(pairs, end)
        rolling.sums(changes, end)
        rolling.deviations(singles, end)
        rolling.highest(highs, end)
        to = segments[:count]
        rolling.known(time_and_close, to, spread)
        rolling.lowest(closes, spread, end)
        rolling.standing(close, scores, end)
        formulas.bar_factors(out, tile, to)
        formulas.close_factors(out, tile, to)
        formulas.trend(out, time_and_close, close, unit, to)
        formulas.extremes(out, highs[0], highs[1], changes[0], close, to)
        formulas.quantiles(out, closes, time_and_close, spread, close, to)
        formulas.ranks(out, scores, time_and_close, close, to)
        formulas.correlation(out, 88, close_and_volume, unit, to)
        formulas.correlation(out, 93, ratios, ones, to)
        formulas.counts(out, changes[0], to)
        formulas.gains(out, 113, changes[1], to)
        formulas.volumes(out, singles[0], singles[1], tile[4], to)
        formulas.gains(out, 143, changes[2], to)
