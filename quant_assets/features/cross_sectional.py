"""Well-known signals as a cross-section sees them: by rank, by z-score, against their sector, and free of sector, size
and beta.
"""

import polars as pl

from quant_assets.features.cross_section import SECTOR, demeaned, finite, neutralised, ranked, standardised
from quant_assets.features.inputs.market import MARKET
from quant_assets.features.inputs.sectors import SECTOR as SECTORS
from quant_assets.features.market_model import SERIES, STALE, last_close, mean, with_market_model
from quant_assets.features.sets import FeatureSet
from quant_assets.portable import ln

_OWN = "cross_sectional "  # what the kernel makes is named so that no other set's columns are meant
LONGEST = 120

SIGNALS = {
    "ret_1": "simple return of the last session, from the last close of up to five sessions before it",
    "ret_5": "simple return over 5 sessions (short-term reversal: Lehmann 1990)",
    "ret_20": "simple return over 20 sessions (one-month reversal: Jegadeesh 1990)",
    "ret_60": "simple return over 60 sessions",
    "ret_120": "simple return over 120 sessions",
    "momentum_120_20": (
        "simple return from 120 to 20 sessions ago (momentum without the last month: Jegadeesh and Titman 1993)"
    ),
    "volatility_20": "standard deviation of daily returns over 20 sessions",
    "max_ret_20": "largest daily return of 20 sessions (lottery demand: Bali, Cakici and Whitelaw 2011)",
    "overnight_20": "mean of ln(open / close before) over 20 sessions (Lou, Polk and Skouras 2019)",
    "intraday_20": "mean of ln(close / open) over 20 sessions (Lou, Polk and Skouras 2019)",
    "volume_shock": "ln of mean volume over 5 sessions by mean volume over 60 (Gervais, Kaniel and Mingelgrin 2001)",
    "illiquidity_60": "ln of the mean over 60 sessions of |daily return| / dollar volume (Amihud 2002)",
}
FORMS = {
    "rank": "(rank − ½) / n among the members, in (0, 1)",
    "z": "winsorised at median ± 3 × 1.4826 MAD, then z-score over the members",
    "sector": "the z-score less its mean in the sector",
    "neutral": (
        "residual of the z-score on sector dummies, size (ln of mean dollar volume over 60 sessions) and beta "
        "(60 sessions, on the members' equal-weighted return)"
    ),
}


def kernel(panel: pl.DataFrame) -> pl.DataFrame:
    """The signals, size and beta of each name, under names of their own."""
    rows = with_market_model(panel, _OWN)
    daily, dollars, close = pl.col(f"{_OWN}daily"), pl.col(f"{_OWN}dollars"), pl.col("close")
    rows = rows.with_columns(
        ln(pl.col("open") / close.shift(1).over(SERIES)).alias(f"{_OWN}overnight"),
        ln(close / pl.col("open")).alias(f"{_OWN}intraday"),
        pl.when(dollars > 0).then(daily.abs() / dollars).alias(f"{_OWN}impact"),
    )
    made = {
        **{f"ret_{n}": close / last_close(n) - 1 for n in (1, 5, 20, 60, 120)},
        "momentum_120_20": last_close(20) / last_close(LONGEST) - 1,
        "volatility_20": daily.rolling_std(20, min_samples=10).over(SERIES),
        "max_ret_20": daily.rolling_max(20, min_samples=10).over(SERIES),
        "overnight_20": mean(f"{_OWN}overnight", 20),
        "intraday_20": mean(f"{_OWN}intraday", 20),
        "volume_shock": ln(mean("volume", 5) / mean("volume", 60)),
        "illiquidity_60": ln(mean(f"{_OWN}impact", 60)),
        "size": ln(mean(f"{_OWN}dollars", 60)),
    }
    rows = rows.with_columns(e.alias(_OWN + c) for c, e in made.items())
    return panel.with_columns(rows.select(finite(_OWN + c) for c in (*made, "beta")))


def cross_section(rows: pl.DataFrame) -> pl.DataFrame:
    """Each signal in each form."""
    scored = rows.with_columns(
        *(ranked(_OWN + s).alias(f"{s}_rank") for s in SIGNALS),
        *(standardised(_OWN + s).alias(f"{s}_z") for s in SIGNALS),
    )
    relative = scored.with_columns(demeaned(f"{s}_z", SECTOR).alias(f"{s}_sector") for s in SIGNALS)
    return neutralised(relative, {f"{s}_neutral": f"{s}_z" for s in SIGNALS}, (f"{_OWN}size", f"{_OWN}beta"))


FEATURES = tuple(f"{s}_{form}" for s in SIGNALS for form in FORMS)

CROSS_SECTIONAL = FeatureSet(
    name="cross_sectional",
    version="1",
    features=FEATURES,
    columns=("open", "close", "volume", "raw_close", "raw_volume"),
    lookback=LONGEST + STALE,
    kernel=kernel,
    cross_section=cross_section,
    inputs=(MARKET, SECTORS),
    doc="Well-known signals by rank and z-score among the members, against their sector, and neutral to sector, "
    "size and beta.",
    meaning={f"{s}_{form}": f"{meaning}; {how}" for s, meaning in SIGNALS.items() for form, how in FORMS.items()},
)
