"""The measures of one session for all features at once, with the sessions before it at hand."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from quant_assets.features.explorer.ranks import (
    Flags,
    Floats,
    Ordered,
    buckets,
    correlation,
    correlations,
    doubled_ranks,
    levels,
    ordered,
)

LEVELS = np.array([0.01, 0.25, 0.5, 0.75, 0.99])
HELD = (0.01, 0.99)  # else one price that is wrong by a factor of 10,000 would decide a mean return
ENOUGH = 20  # names to hold the outermost of


@dataclass(frozen=True)
class Day:
    """One session's statistics. Shapes: F features, H horizons, Q quantiles, L lags.

    `rows` names; `known` (F) of them with a value; `levels` (F, 5) the quantiles `LEVELS`; `ic` and `n` (F, H);
    `excess` (F, Q, H) mean forward return of the quantile's names above that of all names, returns held within their
    `HELD` quantiles; `turnover` (F, Q, L) the share of a quantile's names that were not in it before;
    `rank_autocorrelation` (F, L).
    """

    session: date
    rows: int
    known: NDArray[np.int64]
    levels: Floats
    ic: Floats
    n: NDArray[np.int64]
    excess: Floats
    turnover: Floats
    rank_autocorrelation: Floats


@dataclass(frozen=True)
class _Past:
    sids: NDArray[np.int64]
    ranks: NDArray[np.float32]
    bucket: NDArray[np.int8]


@dataclass
class Walk:
    """Goes through sessions in their order; keeps the ranks of as many as the longest lag needs, and the sum of the
    features' correlations.
    """

    quantiles: int
    lags: Sequence[int]
    past: deque[_Past] = field(init=False)
    summed: Floats = field(init=False, default_factory=lambda: np.zeros((0, 0)))
    counted: Floats = field(init=False, default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        self.past = deque(maxlen=max(self.lags))

    def step(self, session: date, sids: NDArray[np.int64], values: Floats, forward: Floats) -> Day:
        """`sids` ascending, `values` (features × names) and `forward` (horizons × names), NaN where missing."""
        of, ascending = ordered(values)
        ranks = doubled_ranks(of, np.ones(len(sids), dtype=bool))
        bucket = buckets(ranks, self.quantiles)
        known = of.known.sum(axis=-1)
        ic, n = _ic(of, ranks, forward)
        turnover, autocorrelation = self._against_past(sids, ranks, bucket)
        self.past.append(_Past(sids, ranks.astype(np.float32), bucket))
        self._correlate(ranks)
        return Day(
            session,
            len(sids),
            known,
            levels(ascending, known, LEVELS),
            ic,
            n,
            _excess(bucket, forward, self.quantiles),
            turnover,
            autocorrelation,
        )

    def _against_past(self, sids: NDArray[np.int64], ranks: Floats, bucket: NDArray[np.int8]) -> tuple[Floats, Floats]:
        shape = (len(ranks), self.quantiles, len(self.lags))
        turnover, autocorrelation = np.full(shape, np.nan), np.full((len(ranks), len(self.lags)), np.nan)
        inside = np.stack([bucket == q for q in range(self.quantiles)], axis=1)
        size = inside.sum(axis=-1)
        for k, lag in enumerate(self.lags):
            if lag > len(self.past):
                continue
            before = self.past[-lag]
            place = np.minimum(np.searchsorted(before.sids, sids), len(before.sids) - 1)
            was_there = before.sids[place] == sids
            was = np.where(was_there, before.bucket[:, place], -1)
            stayed = (inside & (was == bucket)[:, None, :]).sum(axis=-1)
            comparable = (size > 0) & (before.bucket.max(axis=-1, keepdims=True) >= 0)
            turnover[:, :, k] = np.where(comparable, 1.0 - stayed / np.maximum(size, 1), np.nan)
            then = np.where(was_there, before.ranks[:, place], 0.0).astype(np.float64)
            both = (ranks > 0) & (then > 0)
            autocorrelation[:, k] = correlation(np.where(both, ranks, 0.0), np.where(both, then, 0.0), both)[0]
        return turnover, autocorrelation

    def _correlate(self, ranks: Floats) -> None:
        found = correlations(ranks)
        if not self.summed.size:
            self.summed, self.counted = np.zeros_like(found), np.zeros_like(found)
        self.summed += np.nan_to_num(found)
        self.counted += ~np.isnan(found)


def _ic(of: Ordered, ranks: Floats, forward: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Spearman's correlation with each horizon's return, over the names that have both: as
    `models.evaluation.rank_ic`.
    """
    ic, n = np.full((len(ranks), len(forward)), np.nan), np.zeros((len(ranks), len(forward)), dtype=np.int64)
    known = ranks > 0
    done: dict[bytes, Floats] = {}
    for h, returns in enumerate(forward):
        told = ~np.isnan(returns)
        if not told.any():
            continue
        if told.tobytes() not in done:  # most sessions know the same names at all horizons
            done[told.tobytes()] = ranks if (known <= told).all() else doubled_ranks(of, told)
        x = done[told.tobytes()]
        both: Flags = known & told
        ic[:, h], n[:, h] = correlation(x, doubled_ranks(ordered(returns[None, :])[0], both), both)
    return ic, n


def _excess(bucket: NDArray[np.int8], forward: Floats, quantiles: int) -> Floats:
    told = ~np.isnan(forward)
    names = told.sum(axis=-1, keepdims=True)
    low, high = np.array([_bounds(of[there]) for of, there in zip(forward, told, strict=True)]).T[:, :, None]
    returns = np.where(told, np.clip(forward, low, high), 0.0)
    above = np.where(told, returns - returns.sum(axis=-1, keepdims=True) / np.maximum(names, 1), 0.0).T
    out = np.full((len(bucket), quantiles, len(forward)), np.nan)
    for q in range(quantiles):
        inside = (bucket == q).astype(np.float64)
        counts = inside @ told.T.astype(np.float64)
        out[:, q, :] = np.where(counts > 0, (inside @ above) / np.maximum(counts, 1.0), np.nan)
    return out


def _bounds(returns: Floats) -> tuple[float, float]:
    """Returns that were there, near the `HELD` quantiles: with fewer than a hundred names the second lowest and
    highest; none for few names.
    """
    if len(returns) < ENOUGH:
        return -np.inf, np.inf
    return float(np.quantile(returns, HELD[0], method="higher")), float(np.quantile(returns, HELD[1], method="lower"))
