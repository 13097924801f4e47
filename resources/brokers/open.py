"""Opens the venue that a book names."""

from pathlib import Path

from quant_assets.backtest.fills import FillModel
from quant_assets.calendars import Cuts
from quant_assets.errors import ConfigurationError
from quant_assets.ports import Broker
from quant_assets.records import Book
from resources.brokers.paper import Market, PaperBroker

VENUES = ("paper",)
REALISTIC = FillModel()


class BrokerDesk:
    """The Brokers port. `root`: where paper venues keep their records; `market`: what they trade on."""

    def __init__(self, root: Path, market: Market, cuts: Cuts, model: FillModel = REALISTIC) -> None:
        self._root = root
        self._market = market
        self._cuts = cuts
        self._model = model

    def open(self, book: Book) -> Broker:
        """See the port."""
        if book.research:
            raise ConfigurationError(f"{book.name} is a research book: it has no venue and never will")
        if book.broker != "paper":
            raise ConfigurationError(f"{book.name}: no venue is called {book.broker!r}; there is {', '.join(VENUES)}")
        return PaperBroker(self._root / f"{book.account}.sqlite", book, self._market, self._cuts, self._model)
