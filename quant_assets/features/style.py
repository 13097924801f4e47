"""Style exposures: what a member is like, in standard deviations among the members of its session.

Attribution explains returns by them.
"""

import polars as pl

from quant_assets.features.cross_section import finite, standardised
from quant_assets.features.inputs.fundamentals import FUNDAMENTALS
from quant_assets.features.inputs.market import MARKET
from quant_assets.features.market_model import STALE, last_close, mean, with_market_model
from quant_assets.features.sets import FeatureSet
from quant_assets.portable import ln

_OWN = "style "  # what the kernel makes is named so that no other set's columns are meant
YEAR, HALF, MONTH = 252, 126, 21

PRICED = {
    "dollar_volume": (
        "ln of mean raw close × raw volume over 60 sessions: what stands for size where no filings tell it"
    ),
    "beta": (
        "least-squares slope of daily returns over 60 sessions on the members' equal-weighted return, with a "
        "constant (Sharpe 1964)"
    ),
    "momentum": (
        "ln of the close 21 sessions ago by the close 252 sessions ago (12−1 months: Jegadeesh and Titman 1993, "
        "Carhart 1997)"
    ),
    "momentum_6": "ln of the close 21 sessions ago by the close 126 sessions ago (6−1 months)",
    "reversal": "minus ln of the close by the close 21 sessions ago (Jegadeesh 1990)",
    "residual_volatility": (
        "ln of the standard deviation of what beta leaves of daily returns over 60 sessions (Ang, Hodrick, Xing "
        "and Zhang 2006; Barra)"
    ),
    "illiquidity": "ln of the mean over 60 sessions of |daily return| / dollar volume (Amihud 2002)",
}
FILED = {
    "size": (
        "ln of market value: raw close × shares (net income / diluted EPS of the latest report, in shares of "
        "the session) (Banz 1981)"
    ),
    "liquidity": "ln of mean dollar volume over 60 sessions by market value: turnover (Datar, Naik and Radcliffe 1998)",
    "book_to_price": "shareholders' equity / market value, null where equity is not positive (Fama and French 1992)",
    "earnings_to_price": "trailing net income / market value (Basu 1977)",
    "return_on_equity": (
        "trailing net income / shareholders' equity, null where equity is not positive (Haugen and Baker 1996)"
    ),
    "accruals": (
        "(net income − operating cash flow) / assets, last fiscal year (Sloan 1996; from the cash flow: Hribar "
        "and Collins 2002)"
    ),
    "leverage": "1 − shareholders' equity / assets, latest balance sheet",
}
COMPOSITE = {
    "value": "mean of the exposures book_to_price and earnings_to_price that are there, as an exposure",
    "quality": (
        "mean of the exposures return_on_equity, −accruals and −leverage that are there, as an exposure "
        "(Asness, Frazzini and Pedersen 2019)"
    ),
}
PRICE_FACTORS = ("dollar_volume", "beta", "momentum", "reversal", "residual_volatility", "illiquidity")
"""The exposures to attribute by where there are no filings."""
FACTORS = ("size", "beta", "momentum", "reversal", "residual_volatility", "liquidity", "value", "quality")
"""The exposures to attribute by where there are."""


def kernel(panel: pl.DataFrame) -> pl.DataFrame:
    """The price and volume measures of each name, under names of their own."""
    rows = with_market_model(panel, _OWN)
    dollars = pl.col(f"{_OWN}dollars")
    rows = rows.with_columns(pl.when(dollars > 0).then(pl.col(f"{_OWN}daily").abs() / dollars).alias(f"{_OWN}impact"))
    made = {
        "dollar_volume": ln(mean(f"{_OWN}dollars", 60)),
        "momentum": ln(last_close(MONTH) / last_close(YEAR)),
        "momentum_6": ln(last_close(MONTH) / last_close(HALF)),
        "reversal": -ln(pl.col("close") / last_close(MONTH)),
        "residual_volatility": ln(pl.col(f"{_OWN}residual")),
        "illiquidity": ln(mean(f"{_OWN}impact", 60)),
    }
    rows = rows.with_columns(e.alias(_OWN + c) for c, e in made.items())
    return panel.with_columns(rows.select(finite(_OWN + c) for c in PRICED))


def cross_section(rows: pl.DataFrame) -> pl.DataFrame:
    """The exposures: each winsorised and z-scored, so that its equal-weighted mean is 0 and its variance 1."""
    worth, book = pl.col("raw_close") * pl.col("shares"), pl.when(pl.col("book") > 0).then("book")
    filed = {
        "size": ln(worth),
        "liquidity": pl.col(f"{_OWN}dollar_volume") - ln(worth),
        "book_to_price": book / worth,
        "earnings_to_price": pl.col("earnings") / worth,
        "return_on_equity": pl.col("earnings") / book,
        "accruals": pl.col("accruals"),
        "leverage": pl.col("leverage"),
    }
    told = rows.with_columns(e.alias(_OWN + c) for c, e in filed.items()).with_columns(finite(_OWN + c) for c in filed)
    exposed = told.with_columns(standardised(_OWN + c).alias(c) for c in (*PRICED, *FILED))
    value = pl.mean_horizontal("book_to_price", "earnings_to_price")
    quality = pl.mean_horizontal(pl.col("return_on_equity"), -pl.col("accruals"), -pl.col("leverage"))
    return exposed.with_columns(value=value, quality=quality).with_columns(standardised(c) for c in COMPOSITE)


MEANING = {**PRICED, **FILED, **COMPOSITE}

STYLE = FeatureSet(
    name="style",
    version="1",
    features=tuple(MEANING),
    columns=("close", "raw_close", "raw_volume"),
    lookback=YEAR + STALE,
    kernel=kernel,
    cross_section=cross_section,
    inputs=(MARKET, FUNDAMENTALS),
    doc="Style exposures: winsorised and z-scored among the members of the session, so that the equal-weighted "
    "portfolio has none.",
    meaning={
        c: f"{m}; winsorised at median ± 3 × 1.4826 MAD, then z-score over the members" for c, m in MEANING.items()
    },
)
