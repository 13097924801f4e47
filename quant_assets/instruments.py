"""What one count of an instrument is: its step and tick, what it is worth, in which currency and where it trades."""

from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

from quant_assets.currencies import paid_in
from quant_assets.records import Frozen

Kind = Literal["equity", "fund", "future", "option", "fx", "spot", "perpetual"]
ONE = Decimal(1)
NONE = Decimal(0)


class Instrument(Frozen, frozen=True):
    """The terms of an instrument, as known at a cut.

    A quantity counts `step` (a share, a lot of 100, 1e-8 of a coin); a price is for one whole unit, in `currency`, on a
    grid of `tick` (0: none). One whole unit is worth its price times `multiplier`. An order below `min_notional` of its
    currency is refused by the venue. `calendar`: that of its venue; empty: the market's own. `underlying` names the
    chain of a future; its last day to trade is `expiry`, its first notice day `first_notice`. Its initial margin is a
    fraction of its worth (`initial_margin`) or an amount for each whole unit (`contract_margin`); None: not known.
    """

    sid: int
    symbol: str = ""
    kind: Kind = "equity"
    currency: str = ""
    calendar: str = ""
    tick: Decimal = NONE
    step: Decimal = ONE
    multiplier: Decimal = ONE
    min_notional: Decimal = NONE
    underlying: str = ""
    expiry: date | None = None
    first_notice: date | None = None
    initial_margin: Decimal | None = None
    contract_margin: Decimal | None = None
    ids: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    @property
    def unit(self) -> Decimal:
        """What one count of quantity is worth for each unit of price, in its currency."""
        return self.step * self.multiplier

    @property
    def margined(self) -> bool:
        """Whether it is not paid for: its gains and losses are settled in cash each session (futures, perpetuals)."""
        return self.kind in {"future", "perpetual"}

    def margin(self, price: Decimal) -> Decimal:
        """The equity that a position asks for each count, in its currency. Where nothing is known it is the whole worth
        of what is margined, and nothing of what is paid for.
        """
        if self.contract_margin is not None:
            return self.step * self.contract_margin
        unknown = ONE if self.margined else NONE
        return self.unit * price * (unknown if self.initial_margin is None else self.initial_margin)

    def worth(self, quantity: int, price: Decimal) -> Decimal:
        """What `quantity` counts are worth at a price, in its currency; exact."""
        return quantity * self.unit * price


def plain(sid: int, currency: str, symbol: str = "") -> Instrument:
    """An instrument of which the security master has nothing: a share, counted one by one, in this currency, or in the
    one of which this is a hundredth.
    """
    paid, each = paid_in(currency)
    return Instrument(sid=sid, symbol=symbol, currency=paid, multiplier=each)
