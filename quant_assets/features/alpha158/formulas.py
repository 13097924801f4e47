"""The factors from a tile's statistics, written as Float32 to the rows of its segments.

`segments` (segment, (row of the tile, row of the output, rows)). Arithmetic of single bars is float32 as published, all
else float64. A result that is not a number is missing.
"""

import numpy as np

from quant_assets.features.alpha158.rolling import F32, F64, INF, LEVEL, WINDOWS, Ints, compiled

NAN = np.float32(np.nan)
THIRD = np.float32(3)
LEAST_VOLUME = np.float32(1e-12)
# a correlation with what deviates no more is missing; a price's deviation is one of prices as they are printed
FLAT = 2e-5


@compiled
def bar_factors(out: F32, bars: F32, segments: Ints) -> None:
    """KMID to KSFT2; where high is low, the shares of the range are 0."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        o, h, lo, c = bars[0, p : p + n], bars[1, p : p + n], bars[2, p : p + n], bars[3, p : p + n]
        k0, k1, k2, k3, k4 = (
            out[0, r : r + n],
            out[1, r : r + n],
            out[2, r : r + n],
            out[3, r : r + n],
            out[4, r : r + n],
        )
        k5, k6, k7, k8 = out[5, r : r + n], out[6, r : r + n], out[7, r : r + n], out[8, r : r + n]
        for t in range(n):
            span = h[t] - lo[t]
            shared = span if span != 0 else INF
            missing = (o[t] - o[t]) + (c[t] - c[t])
            upper = h[t] - max(c[t], o[t]) + missing
            lower = min(c[t], o[t]) - lo[t] + missing
            body, shift = c[t] - o[t], c[t] + c[t] - h[t] - lo[t]
            k0[t], k1[t], k2[t] = body / o[t], span / o[t], body / shared
            k3[t], k4[t] = upper / o[t], upper / shared
            k5[t], k6[t] = lower / o[t], lower / shared
            k7[t], k8[t] = shift / o[t], shift / shared


@compiled
def close_factors(out: F32, bars: F32, segments: Ints) -> None:
    """OPEN0 to VWAP0 and ROC."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        o, h, lo, c = bars[0, p : p + n], bars[1, p : p + n], bars[2, p : p + n], bars[3, p : p + n]
        to_open, to_high, to_low, to_vwap = (
            out[9, r : r + n],
            out[10, r : r + n],
            out[11, r : r + n],
            out[12, r : r + n],
        )
        for t in range(n):
            to_open[t], to_high[t], to_low[t] = o[t] / c[t], h[t] / c[t], lo[t] / c[t]
            to_vwap[t] = (h[t] + lo[t] + c[t]) / THIRD / c[t]
        for w in range(len(WINDOWS)):
            then, to = bars[3, p - WINDOWS[w] : p - WINDOWS[w] + n], out[13 + w, r : r + n]
            for t in range(n):
                to[t] = then[t] / c[t]


@compiled
def trend(out: F32, levels: F64, close: F32, unit: F32, segments: Ints) -> None:
    """MA, STD, BETA, RSQR, RESI; `levels`: codeviations of time (x) and close (y), `unit`: of the close in money."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        c, money = close[p : p + n], unit[p : p + n]
        for w in range(len(WINDOWS)):
            k, x, y = levels[LEVEL[w], 0, p : p + n], levels[LEVEL[w], 1, p : p + n], levels[LEVEL[w], 2, p : p + n]
            xx, yy, xy = levels[LEVEL[w], 3, p : p + n], levels[LEVEL[w], 4, p : p + n], levels[LEVEL[w], 5, p : p + n]
            ma, std, beta, rsqr, resi = (
                out[18 + w, r : r + n],
                out[23 + w, r : r + n],
                out[28 + w, r : r + n],
                out[33 + w, r : r + n],
                out[38 + w, r : r + n],
            )
            for t in range(n):
                price, mean, slope = np.float64(c[t]), y[t] / k[t], xy[t] / xx[t]
                share, least = 1.0 / price, FLAT * money[t]
                ma[t] = mean * share
                std[t] = np.sqrt(yy[t] / (k[t] - 1.0)) * share
                beta[t] = slope * share
                rsqr[t] = xy[t] * xy[t] / (xx[t] * yy[t]) if yy[t] > least * least * (k[t] - 1.0) else np.nan
                ahead = (
                    (k[t] * (p + t) - x[t]) / k[t]
                    # of today to the mean time, in whole numbers up to the division: nothing of where the tile begins
                    # is
                    # left
                )
                resi[t] = (price - (mean + slope * ahead)) * share


@compiled
def extremes(out: F32, high_levels: F32, low_levels: F32, rows: F64, close: F32, segments: Ints) -> None:
    """MAX, MIN, RSV, IMAX, IMIN, IMXD; `low_levels` of the negated lows, `rows`: levels of the rows that there are."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        c = close[p : p + n]
        for w in range(len(WINDOWS)):
            level, days = LEVEL[w], np.float32(WINDOWS[w])
            high, low, there = (
                high_levels[level, 0, p : p + n],
                low_levels[level, 0, p : p + n],
                rows[level, 0, p : p + n],
            )
            high_age, low_age = high_levels[level, 2, p : p + n], low_levels[level, 2, p : p + n]
            to_max, to_min, to_rsv = out[43 + w, r : r + n], out[48 + w, r : r + n], out[68 + w, r : r + n]
            to_imax, to_imin, to_imxd = out[73 + w, r : r + n], out[78 + w, r : r + n], out[83 + w, r : r + n]
            for t in range(n):
                top, bottom = high[t] if high[t] > -INF else NAN, -low[t] if low[t] > -INF else NAN
                span, length = np.float64(top) - bottom, np.float32(there[t])
                to_max[t], to_min[t] = top / c[t], bottom / c[t]
                to_rsv[t] = (np.float64(c[t]) - bottom) / (span if span != 0 else np.inf)
                to_imax[t] = (length - high_age[t]) / days + (top - top)
                to_imin[t] = (length - low_age[t]) / days + (bottom - bottom)
                to_imxd[t] = (low_age[t] - high_age[t]) / days + (top - top) + (bottom - bottom)


@compiled
def quantiles(out: F32, families: F32, counts: F64, spread: Ints, close: F32, segments: Ints) -> None:
    """QTLU, from the first of `families`, the negated closes, and QTLD: between the two lowest closes around a fifth of
    the known ones, in proportion.
    """
    known, lower, upper, part = (
        np.empty(close.size, np.float32),
        np.empty(close.size, np.float32),
        np.empty(close.size, np.float32),
        np.empty(close.size),
    )
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        c = close[p : p + n]
        for w in range(len(WINDOWS)):
            k = counts[LEVEL[w], 0, p : p + n]
            for t in range(n):
                known[t] = k[t]
                place = (k[t] - 1.0) / 5.0
                part[t] = place - np.floor(place)
            first = max(spread[0, w] - 1, 0) // 5
            for f in range(2):
                levels, to, sign = families[f], out[53 + 5 * f + w, r : r + n], 2.0 * f - 1.0
                for j in range(first, max(spread[1, w] - 1, 0) // 5 + 1):  # of full windows one place alone
                    a, b, least = (
                        levels[LEVEL[w], j, p : p + n],
                        levels[LEVEL[w], j + 1, p : p + n],
                        np.float32(5 * j + 1 if j > first else 0),
                    )
                    for t in range(n):
                        enough = known[t] >= least
                        lower[t], upper[t] = (a[t] if enough else lower[t]), (b[t] if enough else upper[t])
                for t in range(n):
                    low, gap = np.float64(lower[t]), np.float64(upper[t]) - np.float64(lower[t])
                    to[t] = sign * (low + gap * part[t] if part[t] > 0 else low) / np.float64(c[t])


@compiled
def ranks(out: F32, scores: F32, counts: F64, close: F32, segments: Ints) -> None:
    """RANK; `scores` of `standing`."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        c = close[p : p + n]
        for w in range(len(WINDOWS)):
            score, k, to = scores[w, p : p + n], counts[LEVEL[w], 0, p : p + n], out[63 + w, r : r + n]
            for t in range(n):
                to[t] = (np.float64(score[t]) + 1.0) / k[t] + (c[t] - c[t])


@compiled
def correlation(out: F32, column: int, levels: F64, unit: F32, segments: Ints) -> None:
    """CORR, CORD; missing where x deviates by no more than FLAT of its `unit`, or y by FLAT."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        for w in range(len(WINDOWS)):
            k, money, to = levels[LEVEL[w], 0, p : p + n], unit[p : p + n], out[column + w, r : r + n]
            xx, yy, xy = levels[LEVEL[w], 3, p : p + n], levels[LEVEL[w], 4, p : p + n], levels[LEVEL[w], 5, p : p + n]
            for t in range(n):
                least = FLAT * money[t]
                moves = (xx[t] > least * least * (k[t] - 1.0)) & (yy[t] > FLAT * FLAT * (k[t] - 1.0))
                to[t] = xy[t] / np.sqrt(xx[t] * yy[t]) if moves else np.nan


@compiled
def counts(out: F32, levels: F64, segments: Ints) -> None:
    """CNTP, CNTN, CNTD; `levels`: sums of rows, rises, falls."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        for w in range(len(WINDOWS)):
            rows, ups, downs = (
                levels[LEVEL[w], 0, p : p + n],
                levels[LEVEL[w], 1, p : p + n],
                levels[LEVEL[w], 2, p : p + n],
            )
            cntp, cntn, cntd = out[98 + w, r : r + n], out[103 + w, r : r + n], out[108 + w, r : r + n]
            for t in range(n):
                up, down = ups[t] / rows[t], downs[t] / rows[t]
                cntp[t], cntn[t], cntd[t] = up, down, up - down


@compiled
def gains(out: F32, column: int, levels: F64, segments: Ints) -> None:
    """SUMP, SUMN, SUMD, and those of volume; `levels`: sums of known changes, rises, falls. 0 where nothing moved."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        for w in range(len(WINDOWS)):
            known, ups, downs = (
                levels[LEVEL[w], 0, p : p + n],
                levels[LEVEL[w], 1, p : p + n],
                levels[LEVEL[w], 2, p : p + n],
            )
            sump, sumn, sumd = (
                out[column + w, r : r + n],
                out[column + 5 + w, r : r + n],
                out[column + 10 + w, r : r + n],
            )
            for t in range(n):
                moved = ups[t] + downs[t]
                share = 1.0 / (moved if moved > 0 else (np.inf if known[t] > 0 else np.nan))
                sump[t], sumn[t], sumd[t] = ups[t] * share, downs[t] * share, (ups[t] - downs[t]) * share


@compiled
def volumes(out: F32, levels: F64, moved_levels: F64, volume: F32, segments: Ints) -> None:
    """VMA, VSTD, WVMA; deviations of the volume and of |return| × volume."""
    for s in range(len(segments)):
        p, r, n = segments[s, 0], segments[s, 1], segments[s, 2]
        v = volume[p : p + n]
        for w in range(len(WINDOWS)):
            k, x, xx = levels[LEVEL[w], 0, p : p + n], levels[LEVEL[w], 1, p : p + n], levels[LEVEL[w], 2, p : p + n]
            j, y, yy = (
                moved_levels[LEVEL[w], 0, p : p + n],
                moved_levels[LEVEL[w], 1, p : p + n],
                moved_levels[LEVEL[w], 2, p : p + n],
            )
            vma, vstd, wvma = out[128 + w, r : r + n], out[133 + w, r : r + n], out[138 + w, r : r + n]
            for t in range(n):
                own = 1.0 / np.float64(v[t] + LEAST_VOLUME)
                vma[t] = x[t] / k[t] * own
                vstd[t] = np.sqrt(xx[t] / (k[t] - 1.0)) * own
                wvma[t] = np.sqrt(yy[t] / (j[t] - 1.0)) / (y[t] / j[t] + 1e-12)
