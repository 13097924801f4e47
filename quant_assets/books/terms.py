"""What a book's instruments and currencies are worth, as known at a cut: exact, and rounded in one place."""

from collections.abc import Mapping
from decimal import Decimal

from quant_assets.errors import RateUnknown
from quant_assets.instruments import Instrument, plain
from quant_assets.records import Frozen

TICK = Decimal("0.000001")  # the scale of MONEY: what is in memory is what is stored
_ZERO = Decimal(0)


class Terms(Frozen, frozen=True):
    """`base`: the book's currency; `instruments`: those that the security master has, any other name is a share in
    `base`; `rates`: what one unit of each other currency costs in `base`.

    Within a book its own currency is called by an empty text.
    """

    base: str = ""
    instruments: Mapping[int, Instrument] = {}
    rates: Mapping[str, Decimal] = {}

    def of(self, sid: int) -> Instrument:
        """The instrument."""
        return self.instruments.get(sid) or plain(sid, self.base)

    def currency(self, sid: int) -> str:
        """In which a name is priced and pays; empty where that is the book's own."""
        found = self.instruments[sid].currency if sid in self.instruments else ""
        return "" if found == self.base else found

    def margined(self, sid: int) -> bool:
        """Whether the gains of a name are settled each session and nothing is paid for it."""
        return sid in self.instruments and self.instruments[sid].margined

    def unit(self, sid: int) -> Decimal:
        """What one count of a name is worth for each unit of its price."""
        return self.instruments[sid].unit if sid in self.instruments else Decimal(1)

    def worth(self, sid: int, quantity: int, price: Decimal) -> Decimal:
        """What so many counts are worth at a price, in the name's currency: to the sixth decimal."""
        unit = self.unit(sid)
        return quantity * price if unit == 1 else (quantity * unit * price).quantize(TICK)

    def each(self, sid: int, price: Decimal) -> Decimal:
        """What one count of a name at a price exposes the book to, in its currency; exact. Raises RateUnknown."""
        unit, currency = self.unit(sid), self.currency(sid)
        worth = price if unit == 1 else price * unit
        return worth * self.rate(currency) if currency else worth

    def margin(self, sid: int, price: Decimal) -> Decimal:
        """What one count asks for as initial margin, in the book's currency; exact. Raises RateUnknown."""
        if sid not in self.instruments:
            return _ZERO
        asked, currency = self.instruments[sid].margin(price), self.currency(sid)
        return asked * self.rate(currency) if asked and currency else asked

    def rate(self, currency: str) -> Decimal:
        """What one unit of another currency costs. Raises RateUnknown."""
        if currency not in self.rates:
            raise RateUnknown(f"no rate of {currency} in {self.base} was looked up; feed the dataset fx_rates with it")
        return self.rates[currency]

    def value(self, sid: int, quantity: int, price: Decimal) -> Decimal:
        """The same in the book's currency as it counts in its equity: of what is margined nothing."""
        if self.margined(sid):
            return _ZERO
        return self.converted(self.currency(sid), self.worth(sid, quantity, price))

    def notional(self, sid: int, quantity: int, price: Decimal) -> Decimal:
        """What so many counts expose the book to, in its currency: of what is margined as well."""
        return self.converted(self.currency(sid), self.worth(sid, quantity, price))

    def converted(self, currency: str, amount: Decimal) -> Decimal:
        """An amount in the book's currency, to the sixth decimal. Raises RateUnknown."""
        if not amount or not currency or currency == self.base:
            return amount
        return (amount * self.rate(currency)).quantize(TICK)
