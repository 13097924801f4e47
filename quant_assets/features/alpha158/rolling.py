"""Statistics of the last 5, 10, 20, 30 and 60 rows for all rows of a tile, as compiled loops.

Every window is put together from the same stretches, wherever its row stands:

    1 → 2 → 4 → 5 → 10 → 20 → 30 → 60 rows        (JOINS: which two, how far apart)

Sums add; extremes and their ages compare; sorted stretches merge; sums of squared deviations join by the formula of
Chan, Golub and LeVeque (1983), whose cross terms are exact zeros on flat prices. A step is one loop over the rows,
which the compiler turns into vector instructions. Nothing is carried along the series and the compiler may not reorder:
that is why a prefix, a later start or another neighbour changes no bit.

Arrays are (…, level, quantity, row); level 0 holds the rows themselves, the first PAST rows of a tile are padding.
No compiled function calls another: it would be compiled once more inside it.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
_F = TypeVar("_F", bound=Callable[..., object])

PAST = 60  # rows before a row that its factors read
WINDOWS = (5, 10, 20, 30, 60)
LEVEL = (3, 4, 5, 6, 7)  # of each window
JOINS = (
    (0, 0, 1),
    (1, 1, 2),
    (2, 0, 4),
    (3, 3, 5),
    (4, 4, 10),
    (5, 4, 20),
    (6, 6, 30),
)  # level k + 1: its recent and its older stretch, rows between them
LOWEST = (
    1,
    2,
    4,
    5,
    10,
    13,
    13,
    13,
)  # sorted values kept of each level: the lower fifth of 60 ends between the 12th and the 13th
INF = np.float32(np.inf)
ONE = np.float32(1)
HALF = np.float32(0.5)
NONE = np.float32(0)


def compiled(function: _F) -> _F:
    """`function` compiled at its first call and kept on disk; a division by zero gives inf or nan.

    Numba notices a change only in this function's own file.
    """
    return cast("_F", njit(function, cache=True, nogil=True, error_model="numpy"))


@compiled
def sums(families: F64, end: int) -> None:
    """The sums of each quantity of (family, level, quantity, row)."""
    for f in range(families.shape[0]):
        for k in range(len(JOINS)):
            recent, older, lag = JOINS[k]
            for q in range(families.shape[2]):
                a, b, out = (
                    families[f, recent, q, PAST:end],
                    families[f, older, q, PAST - lag : end - lag],
                    families[f, k + 1, q, PAST:end],
                )
                for t in range(end - PAST):
                    out[t] = a[t] + b[t]


@compiled
def deviations(families: F64, end: int) -> None:
    """Quantities n, Σx, Σ(x - mean)²; a missing value has n = x = 0."""
    for f in range(families.shape[0]):
        for k in range(len(JOINS)):
            recent, older, lag = JOINS[k]
            first, last = PAST - lag, end - lag
            na, xa, va = (
                families[f, recent, 0, PAST:end],
                families[f, recent, 1, PAST:end],
                families[f, recent, 2, PAST:end],
            )
            nb, xb, vb = (
                families[f, older, 0, first:last],
                families[f, older, 1, first:last],
                families[f, older, 2, first:last],
            )
            n, x, v = families[f, k + 1, 0, PAST:end], families[f, k + 1, 1, PAST:end], families[f, k + 1, 2, PAST:end]
            for t in range(end - PAST):
                n[t] = na[t] + nb[t]
                x[t] = xa[t] + xb[t]
                apart = nb[t] * xa[t] - na[t] * xb[t]
                v[t] = va[t] + vb[t] + apart * apart / max(na[t] * nb[t] * (na[t] + nb[t]), 1.0)


@compiled
def codeviations(families: F64, end: int) -> None:
    """Quantities n, Σx, Σy, Σ(x - mean x)², Σ(y - mean y)², Σ(x - mean x)(y - mean y); a missing pair has n = x = y =
    0.
    """
    for f in range(families.shape[0]):
        for k in range(len(JOINS)):
            recent, older, lag = JOINS[k]
            first, last = PAST - lag, end - lag
            na, xa, ya = (
                families[f, recent, 0, PAST:end],
                families[f, recent, 1, PAST:end],
                families[f, recent, 2, PAST:end],
            )
            xxa, yya, xya = (
                families[f, recent, 3, PAST:end],
                families[f, recent, 4, PAST:end],
                families[f, recent, 5, PAST:end],
            )
            nb, xb, yb = (
                families[f, older, 0, first:last],
                families[f, older, 1, first:last],
                families[f, older, 2, first:last],
            )
            xxb, yyb, xyb = (
                families[f, older, 3, first:last],
                families[f, older, 4, first:last],
                families[f, older, 5, first:last],
            )
            n, x, y = families[f, k + 1, 0, PAST:end], families[f, k + 1, 1, PAST:end], families[f, k + 1, 2, PAST:end]
            xx, yy, xy = (
                families[f, k + 1, 3, PAST:end],
                families[f, k + 1, 4, PAST:end],
                families[f, k + 1, 5, PAST:end],
            )
            for t in range(end - PAST):
                share = 1.0 / max(na[t] * nb[t] * (na[t] + nb[t]), 1.0)
                dx = nb[t] * xa[t] - na[t] * xb[t]
                dy = nb[t] * ya[t] - na[t] * yb[t]
                n[t] = na[t] + nb[t]
                x[t] = xa[t] + xb[t]
                y[t] = ya[t] + yb[t]
                xx[t] = xxa[t] + xxb[t] + dx * dx * share
                yy[t] = yya[t] + yyb[t] + dy * dy * share
                xy[t] = xya[t] + xyb[t] + dx * dy * share


@compiled
def highest(families: F32, end: int) -> None:
    """Quantities: the highest known value (-inf without), the highest where a missing one counts as inf, and its age in
    rows, the oldest of equals.
    """
    for f in range(families.shape[0]):
        for k in range(len(JOINS)):
            recent, older, lag = JOINS[k]
            first, last, rows = PAST - lag, end - lag, np.float32(lag)
            ha, ma, ia = (
                families[f, recent, 0, PAST:end],
                families[f, recent, 1, PAST:end],
                families[f, recent, 2, PAST:end],
            )
            hb, mb, ib = (
                families[f, older, 0, first:last],
                families[f, older, 1, first:last],
                families[f, older, 2, first:last],
            )
            h, m, i = families[f, k + 1, 0, PAST:end], families[f, k + 1, 1, PAST:end], families[f, k + 1, 2, PAST:end]
            for t in range(end - PAST):
                h[t] = max(hb[t], ha[t])
                m[t] = max(mb[t], ma[t])
                i[t] = ib[t] + rows if mb[t] >= ma[t] else ia[t]


@compiled
def known(counts: F64, segments: Ints, spread: Ints) -> None:
    """`spread` (fewest and most; window): how many values the windows of the segments' rows know."""
    for w in range(len(WINDOWS)):
        fewest, most = np.int32(PAST), np.int32(0)
        for s in range(len(segments)):
            k = counts[LEVEL[w], 0, segments[s, 0] : segments[s, 0] + segments[s, 2]]
            for t in range(len(k)):
                fewest, most = min(fewest, np.int32(k[t])), max(most, np.int32(k[t]))
        spread[0, w], spread[1, w] = fewest, most


@compiled
def lowest(families: F32, spread: Ints, end: int) -> None:
    """Quantities: the lowest values, sorted; a missing one is inf. The last quantity is -inf.

    The k-th of two sorted stretches is the least, over the ways to take k values from both, of the highest value taken.
    Of the longest window only those are made between which a fifth of its known values lies (see `known`).
    """
    begin, stop = max(spread[0, -1] - 1, 0) // 5, min(max(spread[1, -1] - 1, 0) // 5 + 2, LOWEST[-1])
    for f in range(families.shape[0]):
        for k in range(len(JOINS)):
            recent, older, lag = JOINS[k]
            longest = k + 1 == len(JOINS)
            for place in range(begin if longest else 0, stop if longest else LOWEST[k + 1]):
                out, fewest = families[f, k + 1, place, PAST:end], max(0, place + 1 - LOWEST[older])
                for i in range(
                    fewest, min(place + 1, LOWEST[recent]) + 1
                ):  # values taken of the recent stretch; row -1 is that of none
                    a, b = families[f, recent, i - 1, PAST:end], families[f, older, place - i, PAST - lag : end - lag]
                    if i == fewest:
                        for t in range(end - PAST):
                            # the processor's own instruction; max() asks for NaN as well
                            out[t] = a[t] if a[t] > b[t] else b[t]  # noqa: FURB136
                    else:
                        for t in range(end - PAST):
                            taken = a[t] if a[t] > b[t] else b[t]  # noqa: FURB136  # as above
                            out[t] = out[t] if out[t] < taken else taken  # noqa: FURB136  # as above


@compiled
def standing(close: F32, scores: F32, end: int) -> None:
    """`scores` (window, row): how many earlier closes of the window are lower, plus half of the equal ones."""
    now = close[PAST:end]
    for w in range(len(WINDOWS)):
        out, shorter = scores[w, PAST:end], scores[max(w - 1, 0), PAST:end]
        for t in range(end - PAST):
            out[t] = shorter[t] if w else NONE
        for lag in range(WINDOWS[w - 1] if w else 1, WINDOWS[w]):
            then = close[PAST - lag : end - lag]
            for t in range(end - PAST):
                out[t] += (ONE if then[t] < now[t] else NONE) + (HALF if then[t] == now[t] else NONE)
