"""What prices of other markets are worth in those of a lane's own."""

from collections.abc import Mapping
from datetime import datetime

from desk.workspace import Workspace
from quant_assets.books.fx import fx_rates
from quant_assets.currencies import paid_in


def worth(lane: Workspace, cut: datetime) -> Mapping[str, float]:
    """By calendar what one unit of the prices of each other market whose names the lane decides is worth in a unit of
    its own prices, as known at a cut; those that are alike are left out. Raises RateUnknown.
    """
    prices = {one.deployment.calendar: one.currency for one in lane.markets}
    beside = {c: prices[c] for c in (lane.lane.beside if lane.lane else ()) if prices[c] != lane.currency}
    (base, one), paid = paid_in(lane.currency), {code: paid_in(quoted) for code, quoted in beside.items()}
    rates = fx_rates(lane.store, {currency for currency, _ in paid.values()}, base, cut)
    return {code: float(rates[currency] * each / one) for code, (currency, each) in paid.items()}
