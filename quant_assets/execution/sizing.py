"""The orders of a turn: what the decisions want, as far as its price is explained, it can be borrowed, and the limits
of the book allow it. Research and live, sessions and slots size with this function.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings
from quant_assets.calendars import Cuts
from quant_assets.execution.contracts import whole_rolls
from quant_assets.execution.doubtful import without_doubtful
from quant_assets.execution.lending import lent_only
from quant_assets.execution.limits import Refused, exposure_of, within_limits
from quant_assets.execution.orders import orders_for, too_small
from quant_assets.execution.turns import Turn
from quant_assets.ports import Store
from quant_assets.records import Book, Order, Working
from quant_assets.strategy import Strategy


class Sized(NamedTuple):
    """The `orders` that may leave, what was `refused` of those wanted, and why `nothing` can be bought at all."""

    orders: list[Order]
    refused: list[Refused]
    nothing: str

    def unsent(self, turn: Turn) -> list[str]:
        """What is not sent, in words, one for each."""
        when = turn.session if turn.slot is None else turn.words
        return [f"{when}: {self.nothing}"] * bool(self.nothing) + [
            f"{when}: {r.order.side * r.order.quantity} of sid {r.order.sid} was not sent: {r.reason}"
            for r in self.refused
        ]


def sized(
    store: Store,
    book: Book,
    strategy: Strategy,
    cuts: Cuts,
    turn: Turn,
    decisions: pl.DataFrame,
    holdings: Holdings,
    working: Sequence[Working],
    past: Past,
    trading: Collection[int],
    symbols: Mapping[int, str],
) -> Sized:
    """The orders of one set of `decisions` (DECISIONS rows) from `holdings`, both as `contracts.prepared` gives them.

    `working`: orders that a venue has not ended yet. `past`: the evenings up to the one that is booked. `trading`: the
    names that traded when it was decided. `symbols`: of the names held that the set does not mention.
    """
    asked = orders_for(book, strategy, decisions, holdings, working, turn.session, cuts.calendar, symbols)
    nothing = "" if asked else too_small(strategy, decisions, holdings)
    explained, doubtful = without_doubtful(asked, past, cuts, turn.booked)
    wanted, unlent = lent_only(store, explained, holdings, working, past, turn)
    within, refused = within_limits(book, wanted, exposure_of(holdings, working, wanted, trading))
    kept, refused = whole_rolls(asked, within, [*doubtful, *unlent, *refused], holdings, cuts.calendar)
    return Sized(kept, refused, nothing)
