"""Stored decisions are checked before money follows from them: their ids again from their content, and their limits."""

import polars as pl

from quant_assets.signals.decide import identified
from quant_assets.signals.guardrails import ROUNDING, TRADE
from quant_assets.strategy import Limits


def altered(rows: pl.DataFrame) -> str:
    """What differs from what was decided in the DECISIONS rows of one set; empty where its ids follow from its content.

    A row that was changed, deleted or added gives another id to itself or to the set.
    """
    again = identified(rows.sort("session", "slot", "sid"))
    of_rows = rows.sort("session", "slot", "sid")["decision_id"] != again["decision_id"]
    if of_rows.any():
        sids = again.filter(of_rows)["sid"].to_list()
        return f"the decision(s) on sid {', '.join(map(str, sids[:5]))} do not have the id of their content"
    stored, found = rows["decision_set_id"].unique().to_list(), again["decision_set_id"].unique().to_list()
    return "" if stored == found else f"set {', '.join(stored)} has the content of {', '.join(found)}"


def beyond(rows: pl.DataFrame, limits: Limits) -> str:
    """Which limit of the strategy the DECISIONS rows of one set exceed; empty where none."""
    weights = rows.filter(verdict=TRADE).select("symbol", weight=pl.col("target_weight").abs())
    unknown = weights.filter(~pl.col("weight").is_finite().fill_null(value=False))
    if unknown.height:
        return f"the weight of {unknown['symbol'][0]} is unknown"
    too_large = weights.filter(pl.col("weight") > limits.max_weight).sort("weight", "symbol", descending=[True, False])
    if too_large.height:
        symbol, weight = too_large.row(0)
        return f"weight {weight:g} of {symbol} is beyond the strategy's max_weight {limits.max_weight:g}"
    gross = float(weights["weight"].sum())
    if gross > limits.max_gross + ROUNDING:
        return f"weights add up to {gross:g}, beyond the strategy's max_gross {limits.max_gross:g}"
    return ""
