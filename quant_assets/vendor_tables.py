"""The contracts of what vendors send beside the daily bars, one table a dataset. `tables.py` has the platform's own."""

from collections.abc import Mapping

import polars as pl

from quant_assets.contract import UTC_MICROS, Schema, Table
from quant_assets.tables import DECLARED, ORIGIN


def vendor_table(
    name: str,
    doc: str,
    columns: Schema,
    key: tuple[str, ...],
    *,
    event: str = "session",
    units: Mapping[str, str] | None = None,
) -> Table:
    """A table of vendor data, every version: its columns, the origin of each row and its knowledge time."""
    return Table(
        name,
        doc,
        {**columns, "withdrawn": pl.Boolean, **ORIGIN, **DECLARED},
        key=(*key, "known_at"),
        event=event,
        units=units or {},
    )


_PRICES: Schema = dict.fromkeys(("open", "high", "low", "close"), pl.Float64)

INTRADAY_BARS = vendor_table(
    "intraday_bars",
    "Raw bars of `seconds` length by their start in UTC: shares by the minute, crypto and FX also by the "
    "day. A bar is known at its end at the earliest.",
    {"ts": UTC_MICROS, "venue": pl.String, "symbol": pl.String, "seconds": pl.Int32, **_PRICES, "volume": pl.Float64},
    key=("venue", "symbol", "seconds", "ts"),
    event="ts",
    units={"ts": "start, UTC", "volume": "base units; null where a venue has none (FX)"},
)

VENDOR_BARS = vendor_table(
    "vendor_bars",
    "Raw daily bars of vendors beside the deployment's own source, under their own symbols: what backs the source up "
    "or is compared with it.",
    {
        "session": pl.Date,
        "vendor": pl.String,
        "symbol": pl.String,
        **_PRICES,
        "volume": pl.Int64,
        "adj_close": pl.Float64,
    },
    key=("vendor", "symbol", "session"),
    units={"open": "currency per share, raw", "volume": "shares, raw"},
)

TRADES = vendor_table(
    "trades",
    "Single trades as the venue printed them.",
    {
        "ts": UTC_MICROS,
        "venue": pl.String,
        "symbol": pl.String,
        "trade_id": pl.String,
        "price": pl.Float64,
        "quantity": pl.Float64,
        "side": pl.Int64,
    },
    key=("venue", "symbol", "ts", "trade_id"),
    event="ts",
    units={"side": "+1 the buyer took, -1 the seller took, 0 not told"},
)

ANNOUNCEMENTS = vendor_table(
    "announcements",
    "Corporate actions as a vendor of reference data announced them, by ex-session, in its own words and "
    "terms; `actions` holds what they mean for an instrument.",
    {
        "session": pl.Date,
        "event_id": pl.String,
        "symbol": pl.String,
        "venue": pl.String,
        "kind": pl.String,
        "status": pl.String,
        "numerator": pl.Float64,
        "denominator": pl.Float64,
        "cash": pl.Float64,
        "currency": pl.String,
        "factor": pl.Float64,
    },
    key=("event_id", "symbol", "venue", "session"),
    units={"cash": "currency per share"},
)

SECURITIES = vendor_table(
    "securities",
    "The security master as vendors give it: from `session` on, `symbol` on `venue` has these identifiers, "
    "name and status.",
    {
        "session": pl.Date,
        "symbol": pl.String,
        "venue": pl.String,
        "name": pl.String,
        "kind": pl.String,
        "currency": pl.String,
        "isin": pl.String,
        "figi": pl.String,
        "status": pl.String,
    },
    key=("venue", "symbol", "session"),
)

TERMS = pl.Decimal(38, 18)  # of ticks, steps and multipliers: a coin's step has up to 18 decimals

INSTRUMENTS = vendor_table(
    "instruments",
    "From `session` on, `symbol` of the venue `calendar` has these terms. A quantity counts `step` (null: 1), a price "
    "is for one whole unit on a grid of `tick` (null: none), one whole unit is worth its price times `multiplier` "
    "(null: 1), and no order may be worth less than `min_notional`. A future is a contract of the chain `underlying`, "
    "traded up to `expiry`, and delivered from `first_notice` on (null: settled in cash). A position asks for "
    "equity of `initial_margin`, a fraction of what it is worth, or of `contract_margin` a whole unit.",
    {
        "session": pl.Date,
        "calendar": pl.String,
        "symbol": pl.String,
        "kind": pl.String,
        "currency": pl.String,
        "tick": TERMS,
        "step": TERMS,
        "multiplier": TERMS,
        "min_notional": TERMS,
        "underlying": pl.String,
        "expiry": pl.Date,
        "first_notice": pl.Date,
        "initial_margin": TERMS,
        "contract_margin": TERMS,
    },
    key=("calendar", "symbol", "session"),
    units={
        "tick": "currency per unit",
        "step": "units",
        "min_notional": "currency",
        "contract_margin": "currency per unit",
    },
)

IDENTIFIERS = vendor_table(
    "identifiers",
    "From `session` on, `symbol` of the venue `calendar` is `identifier` in `scheme`: figi, isin, conid, exchange (its "
    "venue's own symbol), or the name of a vendor or broker (its ticker). An empty one: no longer any.",
    {
        "session": pl.Date,
        "calendar": pl.String,
        "scheme": pl.String,
        "symbol": pl.String,
        "identifier": pl.String,
    },
    key=("calendar", "scheme", "symbol", "session"),
)

OPEN_INTEREST = vendor_table(
    "open_interest",
    "How many contracts of a future are open at the end of a session.",
    {"session": pl.Date, "calendar": pl.String, "symbol": pl.String, "open_interest": pl.Int64},
    key=("calendar", "symbol", "session"), units={"open_interest": "contracts"},
)  # fmt: skip

INDEX_MEMBERS = vendor_table(
    "index_members",
    "From `session` on, `symbol` is a member of the index (with this weight, where told), or no longer one.",
    {"session": pl.Date, "index": pl.String, "symbol": pl.String, "member": pl.Boolean, "weight": pl.Float64},
    key=("index", "symbol", "session"), units={"weight": "share of the index"},
)  # fmt: skip

SECTORS = vendor_table(
    "sectors",
    "From `session` on, `symbol` is classified so under the scheme.",
    {"session": pl.Date, "scheme": pl.String, "symbol": pl.String, "sector": pl.String, "industry": pl.String},
    key=("scheme", "symbol", "session"),
)

BORROW_RATES = vendor_table(
    "borrow_rates",
    "What borrowing a share costs, and how many can be had.",
    {"session": pl.Date, "symbol": pl.String, "rate": pl.Float64, "available": pl.Int64},
    key=("symbol", "session"), units={"rate": "a year, as a fraction", "available": "shares"},
)  # fmt: skip

FUNDING_RATES = vendor_table(
    "funding_rates",
    "What who is long in a perpetual contract pays to who is short, at `ts`, of what the contract is worth at `price`.",
    {"ts": UTC_MICROS, "venue": pl.String, "symbol": pl.String, "rate": pl.Float64, "price": pl.Float64},
    key=("venue", "symbol", "ts"),
    event="ts",
    units={"rate": "a fraction, of one payment", "price": "currency per unit; null: the last close"},
)

FX_RATES = vendor_table(
    "fx_rates",
    "How many units of `quote` one unit of `base` costs, at the day's fix.",
    {"session": pl.Date, "base": pl.String, "quote": pl.String, "rate": pl.Float64},
    key=("base", "quote", "session"),
)

REFERENCE_RATES = vendor_table(
    "reference_rates",
    "Interest rates by curve and tenor: bills and bonds, policy rates, funding.",
    {"session": pl.Date, "curve": pl.String, "tenor": pl.String, "rate": pl.Float64},
    key=("curve", "tenor", "session"), units={"rate": "a year, as a fraction"},
)  # fmt: skip

FACTOR_RETURNS = vendor_table(
    "factor_returns",
    "Returns of a factor model's portfolios over the period that ends with `session`.",
    {"session": pl.Date, "model": pl.String, "factor": pl.String, "period": pl.String, "value": pl.Float64},
    key=("model", "factor", "period", "session"), units={"value": "simple return"},
)  # fmt: skip

FILINGS = vendor_table(
    "filings",
    "One number of a company's filing for the period that ends with `session`. `known_at` is the "
    "acceptance; an amendment is another version.",
    {
        "session": pl.Date,
        "symbol": pl.String,
        "form": pl.String,
        "fiscal_year": pl.String,
        "fiscal_period": pl.String,
        "amended": pl.Boolean,
        "item": pl.String,
        "value": pl.Float64,
    },
    key=("symbol", "form", "item", "session"),
    units={"value": "as reported: currency, or currency per share"},
)

ECONOMIC_SERIES = vendor_table(
    "economic_series",
    "An economic time series, every vintage: its value for the period of `session`, as published by `known_at`.",
    {"session": pl.Date, "series": pl.String, "value": pl.Float64},
    key=("series", "session"),
)
