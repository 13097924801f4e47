"""The prices of a row whose open and close are on known levels: the level of the high, the low and the adjusted
close.
"""

from collections.abc import Mapping

import numpy as np

from quant_assets.market_data.vendor_errors.breaks import UNITS, Floats, tails
from quant_assets.market_data.vendor_errors.thresholds import Thresholds

AROUND = 5  # rows whose ratio of adjusted close to close a row's own must follow
WIDE = 0.02  # of a row's range beyond its open and close, at least


def cells(
    rows: Mapping[str, Floats], opened: Floats, closed: Floats, declared: Floats, limits: Thresholds
) -> tuple[Floats, Floats]:
    """By row, by what the open, high, low, close and adjusted close must be multiplied (a column each), and by how much
    the high and low lead where those are wrong alone.

    `opened`, `closed`: by what opens and closes must be multiplied; `declared`: the ratio of a split that is declared
    near, or 1.
    """
    o, h, low, c = (rows[k] for k in ("open", "high", "low", "close"))
    right_o, right_c = np.where(o > 0, o * opened, np.nan), np.where(c > 0, c * closed, np.nan)
    scale = np.maximum(WIDE, 1 / rows["_per_whole"])
    ceiling, floor = np.fmax(right_o, right_c), np.fmin(right_o, right_c)
    by_high, sure_high = _fitted(h, ceiling, scale, opened, closed, declared, limits, up=1)
    by_low, sure_low = _fitted(low, floor, scale, opened, closed, declared, limits, up=-1)
    mixed = (
        opened != closed
    )  # in part: the extreme of the other part is lost, and the row must hold its own open and close
    by_high = np.where(mixed & (h * by_high < ceiling), ceiling / h, by_high)
    by_low = np.where(mixed & (low * by_low > floor), floor / low, by_low)
    return np.column_stack([opened, by_high, by_low, closed, _adjusted(rows, closed)]), np.minimum(sure_high, sure_low)


def _fitted(
    price: Floats,
    edge: Floats,
    scale: Floats,
    opened: Floats,
    closed: Floats,
    declared: Floats,
    limits: Thresholds,
    *,
    up: int,
) -> tuple[Floats, Floats]:
    """The factor that brings a high or low nearest beyond its row's edge, and by how much it leads where the row itself
    is right.
    """
    with np.errstate(all="ignore"):
        beyond = up * np.log(price / edge)
        right = (opened == 1) & (closed == 1)
        tried = [
            np.ones_like(price),
            opened,
            closed,
            declared,
            1 / declared,
            *(np.full_like(price, u**s) for u in UNITS for s in (1, -1)),
        ]
        known = [right | (opened == 1) | (closed == 1), np.ones_like(right), np.ones_like(right)]
        scores = []
        for k, factor in enumerate(tried):
            off = beyond + up * np.log(factor)
            score = tails(np.where(off < 0, 3 * off, off) / scale)
            scores.append(np.where(known[k], score, score - limits.cell) if k < len(known) else score - limits.cell)
        table = np.nan_to_num(np.array(scores), nan=-1e9, neginf=-1e9)
    best = table.argmax(axis=0)
    factor = np.take_along_axis(np.array(tried), best[None], axis=0)[0]
    factor = np.where(np.isnan(price) | np.isnan(edge), closed, factor)
    lead = table.max(axis=0) - table[0]
    return factor, np.where(right & (factor != 1), lead, np.inf)


def _adjusted(rows: Mapping[str, Floats], closed: Floats) -> Floats:
    """The adjusted close is off with the close where that makes its ratio to it what it is around."""
    ratio, usual = rows["_held"], rows["_usually_held"]
    with np.errstate(all="ignore"):
        follows = np.abs(np.log(np.abs(ratio / usual))) <= np.abs(np.log(np.abs(ratio / closed / usual)))
    return np.where(follows | np.isnan(ratio), closed, 1.0)
