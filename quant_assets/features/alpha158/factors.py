"""The names of the 158 factors, in the published order of Qlib's Alpha158, and what each of them is."""

from types import MappingProxyType

WINDOWS = (5, 10, 20, 30, 60)  # rows

BAR = {
    "KMID": "the bar's body as a share of the open: (close - open) / open",
    "KLEN": "the bar's range as a share of the open: (high - low) / open",
    "KMID2": "the body as a share of the range: (close - open) / (high - low)",
    "KUP": "the upper shadow as a share of the open: (high - max(open, close)) / open",
    "KUP2": "the upper shadow as a share of the range: (high - max(open, close)) / (high - low)",
    "KLOW": "the lower shadow as a share of the open: (min(open, close) - low) / open",
    "KLOW2": "the lower shadow as a share of the range: (min(open, close) - low) / (high - low)",
    "KSFT": "where the close stands in the bar, as a share of the open: (2 close - high - low) / open",
    "KSFT2": (
        "where the close stands in the bar, -1 at the low and 1 at the high: (2 close - high - low) / (high - low)"
    ),
    "OPEN0": "open / close",
    "HIGH0": "high / close",
    "LOW0": "low / close",
    "VWAP0": "typical price over the close: (high + low + close) / 3 / close",
}

ROLLING = {
    "ROC": "the close {d} rows ago / close",
    "MA": "mean close of {d} rows / close",
    "STD": "standard deviation of the close over {d} rows / close",
    "BETA": "slope of the close on time over {d} rows, per row / close",
    "RSQR": "R² of the close on time over {d} rows; missing where the close stood still",
    "RESI": "the close less its regression on time over {d} rows / close",
    "MAX": "highest high of {d} rows / close",
    "MIN": "lowest low of {d} rows / close",
    "QTLU": "80% quantile of the close over {d} rows / close",
    "QTLD": "20% quantile of the close over {d} rows / close",
    "RANK": "the close's rank among the closes of {d} rows, in (0, 1]; equals share their mean rank",
    "RSV": "where the close stands between the lowest low (0) and the highest high (1) of {d} rows",
    "IMAX": (
        "where in {d} rows the highest high is, from 1/{d} for the oldest to 1 for today; a missing high counts "
        "as highest, the oldest of equals wins"
    ),
    "IMIN": (
        "where in {d} rows the lowest low is, from 1/{d} for the oldest to 1 for today; a missing low counts as "
        "lowest, the oldest of equals wins"
    ),
    "IMXD": "IMAX{d} - IMIN{d}: positive where the high came after the low",
    "CORR": "correlation of the close with log(volume + 1) over {d} rows; missing where either stood still",
    "CORD": (
        "correlation of close / previous close with log(volume / previous volume + 1) over {d} rows; missing "
        "where either stood still"
    ),
    "CNTP": "share of {d} rows on which the close rose; a missing change is no rise",
    "CNTN": "share of {d} rows on which the close fell; a missing change is no fall",
    "CNTD": "CNTP{d} - CNTN{d}",
    "SUMP": "sum of the close's rises / sum of its absolute changes over {d} rows; 0 where it stood still",
    "SUMN": "sum of the close's falls / sum of its absolute changes over {d} rows; 0 where it stood still",
    "SUMD": "SUMP{d} - SUMN{d}",
    "VMA": "mean volume of {d} rows / volume",
    "VSTD": "standard deviation of the volume over {d} rows / volume",
    "WVMA": (
        "|close / previous close - 1| × volume over {d} rows: standard deviation / mean; 0 where the close stood still"
    ),
    "VSUMP": "sum of the volume's rises / sum of its absolute changes over {d} rows; 0 where it stood still",
    "VSUMN": "sum of the volume's falls / sum of its absolute changes over {d} rows; 0 where it stood still",
    "VSUMD": "VSUMP{d} - VSUMN{d}",
}

MEANING = MappingProxyType(BAR | {f"{name}{d}": text.format(d=d) for name, text in ROLLING.items() for d in WINDOWS})
FACTORS = tuple(MEANING)
