"""Ranks within one session, of all features at once: arrays have a row for each feature and a column for each name.

Ranks are doubled, so that the mean rank of a tie is a whole number; sums of whole numbers below 2^53 (sessions of up to
9,000 names) are exact, and neither the order of names nor that of features changes a bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Ordered:
    """Values put in order along the last axis: `order` of the names, and the `first` and `last` place of the values
    equal to the one at a place. Missing values come last; `known` is in the order of names.
    """

    order: Places
    first: Places
    last: Places
    known: Flags


def ordered(values: Floats) -> tuple[Ordered, Floats]:
    """`values` (features × names, NaN where missing) put in order, and the values so sorted."""
    order = np.argsort(values, axis=-1)
    ascending = np.take_along_axis(values, order, axis=-1)
    n = values.shape[-1]
    place = np.arange(n)
    starts = np.ones(values.shape, dtype=bool)
    starts[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[..., :-1] = starts[..., 1:]
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
    last = np.minimum.accumulate(np.where(ends, place, n - 1)[..., ::-1], axis=-1)[..., ::-1]
    return Ordered(order, first, last, ~np.isnan(values)), ascending


def doubled_ranks(of: Ordered, among: Flags) -> Floats:
    """Twice the mean rank (from 2 on) among the names that are known and in `among` (features × names, or names); 0 for
    the others.
    """
    counted = np.broadcast_to(of.known & among, np.broadcast_shapes(of.known.shape, among.shape))
    order, first, last = (np.broadcast_to(a, counted.shape) for a in (of.order, of.first, of.last))
    up_to = np.zeros((*counted.shape[:-1], counted.shape[-1] + 1), dtype=np.int64)
    np.cumsum(np.take_along_axis(counted, order, axis=-1), axis=-1, out=up_to[..., 1:])
    twice = np.take_along_axis(up_to, first, axis=-1) + np.take_along_axis(up_to, last + 1, axis=-1) + 1
    out = np.empty(counted.shape)
    np.put_along_axis(out, order, twice.astype(np.float64), axis=-1)
    return np.where(counted, out, 0.0)


def correlation(x: Floats, y: Floats, both: Flags) -> tuple[Floats, NDArray[np.int64]]:
    """Pearson's correlation of each row of `x` with that row of `y` over `both`, and the number of names; NaN where
    either is constant. Whole numbers, 0 outside of `both`.
    """
    n = both.sum(axis=-1)
    sx, sy = x.sum(axis=-1), y.sum(axis=-1)
    sxy, sxx, syy = (np.einsum("fn,fn->f", a, b) for a, b in ((x, y), (x, x), (y, y)))
    vx, vy = n * sxx - sx * sx, n * syy - sy * sy
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((vx > 0) & (vy > 0), (n * sxy - sx * sy) / (np.sqrt(vx) * np.sqrt(vy)), np.nan), n


def buckets(doubled: Floats, count: int) -> NDArray[np.int8]:
    """The quantile (0 the lowest, of `count`) in which a rank lies; −1 where there is none, or fewer names than
    quantiles. Equal values share a quantile.
    """
    n = (doubled > 0).sum(axis=-1, keepdims=True)
    bucket = ((doubled - 1) * count) // (2 * np.maximum(n, 1))
    return np.where((doubled > 0) & (n >= count), bucket, -1).astype(np.int8)


def correlations(doubled: Floats) -> Floats:
    """Features × features: Pearson's correlation of the ranks over the names that have both; NaN where either is
    constant among them.
    """
    known = (doubled > 0).astype(np.float64)
    n, s, ss, xy = known @ known.T, doubled @ known.T, (doubled * doubled) @ known.T, doubled @ doubled.T
    v = n * ss - s * s
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((v > 0) & (v.T > 0), (n * xy - s * s.T) / (np.sqrt(v) * np.sqrt(v.T)), np.nan)


def levels(ascending: Floats, known: NDArray[np.int64], at: Floats) -> Floats:
    """Features × `at`: the quantiles of sorted values of which `known` are there, linear between neighbours; NaN where
    there are none.
    """
    place = at * np.maximum(known - 1, 0)[:, None]
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(known - 1, 0)[:, None])
    below, above = (np.take_along_axis(ascending, p, axis=-1) for p in (low, high))
    return below + (above - below) * (place - low)
