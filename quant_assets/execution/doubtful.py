"""Orders on names whose shares may have been restated without a known action: they are not sent."""

from collections.abc import Sequence

from quant_assets.books.explained import Past, waiting
from quant_assets.books.holdings import Holdings
from quant_assets.calendars import Cuts
from quant_assets.execution.limits import Refused
from quant_assets.records import Order


def without_doubtful(
    orders: Sequence[Order], holdings: Holdings, past: Past, cuts: Cuts
) -> tuple[list[Order], list[Refused]]:
    """The orders on names whose price is explained, in the order given, and the others, each with why it stays."""
    since = waiting(holdings.quantities, past, cuts, holdings.session)
    refused = [
        Refused(
            order=o,
            reason=f"PRICE_UNEXPLAINED: its price jumped on {since[o.sid]} by a ratio that no known action explains",
        )
        for o in orders
        if o.sid in since
    ]
    return [o for o in orders if o.sid not in since], refused
