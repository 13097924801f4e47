"""Drift of features against frozen training edges: population stability index and Kolmogorov–Smirnov distance."""

import math

import numpy as np
import polars as pl

from quant_assets.portable import log
from quant_assets.records import Frozen

EXPECTED, KEPT = 5, 0.1  # fewer values than five may all be missing by chance; of more a tenth must be there


class Histogram(Frozen, frozen=True):
    """One feature as training saw it: inner bin edges, the share of rows in each bin between them, and last the share
    missing.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]


class Reference(Frozen, frozen=True):
    """All features as training saw them, over `rows` rows."""

    rows: int
    features: dict[str, Histogram]


def freeze(frame: pl.DataFrame, features: tuple[str, ...], bins: int = 10) -> Reference:
    """The reference of a training frame: edges at its quantiles (fewer where values repeat).

    Missing values are a bin of their own.
    """
    frozen: dict[str, Histogram] = {}
    for feature in features:
        values = _values(frame, feature)
        present = values[~np.isnan(values)]
        edges = (
            np.unique(np.quantile(present, np.arange(1, bins) / bins, method="lower")) if len(present) else np.empty(0)
        )
        frozen[feature] = Histogram(edges=tuple(edges.tolist()), shares=tuple(_shares(values, edges).tolist()))
    return Reference(rows=frame.height, features=frozen)


def psi(reference: Reference, frame: pl.DataFrame) -> pl.DataFrame:
    """Columns feature, psi, noise, ks: one row per feature of the reference, in its order.

    psi = Σ (p − q) ln(p / q) over the training bins, p now, q in training, an empty bin
    counted as half a row. noise = (bins − 1)(1/n + 1/N), its
    expectation where nothing has drifted (Yurdakul 2018): with few rows the index is large by chance. ks = the
    largest difference of the two distribution functions at the training edges. Null where `frame` has no rows.
    """
    rows: list[tuple[str, float | None, float | None, float | None]] = []
    for feature, was in reference.features.items():
        if frame.is_empty():
            rows.append((feature, None, None, None))
            continue
        now, then = _shares(_values(frame, feature), np.asarray(was.edges)), np.asarray(was.shares)
        used = now + then > 0  # a bin that is empty in both is left out
        p, q = np.maximum(now[used], 0.5 / frame.height), np.maximum(then[used], 0.5 / reference.rows)
        noise = (len(p) - 1) * (1 / frame.height + 1 / reference.rows)
        rows.append((feature, math.fsum((p - q) * log(p / q)), noise, float(np.abs(np.cumsum(now - then)).max())))
    return pl.DataFrame(
        rows, schema={"feature": pl.String, "psi": pl.Float64, "noise": pl.Float64, "ks": pl.Float64}, orient="row"
    )


def median_psi(drift: pl.DataFrame) -> float | None:
    """The median over the features of `psi` in excess of its noise, at least 0; None where nothing was measured."""
    median = drift.select((pl.col("psi") - pl.col("noise")).median()).item()
    return None if median is None else max(0.0, float(median))


def vanished(reference: Reference, frame: pl.DataFrame) -> list[str]:
    """The features that training knew and `frame`, rows of one session, does not: at most a tenth of the values that
    training's share would give, of five or more. A frame without rows has none.
    """
    gone: list[str] = []
    for feature, was in reference.features.items():
        expected = (1 - was.shares[-1]) * frame.height
        known = frame.height - int(np.isnan(_values(frame, feature)).sum())
        if expected >= EXPECTED and known <= KEPT * expected:
            gone.append(feature)
    return gone


def _values(frame: pl.DataFrame, feature: str) -> np.ndarray:
    return frame[feature].cast(pl.Float64).to_numpy().astype(np.float64)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of `values` in (−∞, e₁], (e₁, e₂] … (e_k, ∞), and of those missing."""
    missing = np.isnan(values)
    counts = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=len(edges) + 1)
    return np.append(counts, missing.sum()) / max(len(values), 1)
