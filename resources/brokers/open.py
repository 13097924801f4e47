"""Opens the venue that a book names."""

from collections.abc import Callable
from pathlib import Path

from quant_assets.backtest.fills import FillModel
from quant_assets.calendars import Cuts
from quant_assets.errors import ConfigurationError, HomeDamaged
from quant_assets.ports import Broker
from quant_assets.records import Book
from resources.brokers.paper import Market, PaperBroker, is_opened

VENUES = ("paper",)
REALISTIC = FillModel()


def _is_new(_: Book) -> bool:
    return False


class BrokerDesk:
    """The Brokers port. `root`: where paper venues keep their records; `market`: what they trade on; `traded`: whether
    our own ledger has anything of a book's account: then its venue has a record, and no other account is opened.
    """

    def __init__(
        self,
        root: Path,
        market: Market,
        cuts: Cuts,
        model: FillModel = REALISTIC,
        *,
        traded: Callable[[Book], bool] = _is_new,
    ) -> None:
        self._root = root
        self._traded = traded
        self._market = market
        self._cuts = cuts
        self._model = model

    def open(self, book: Book) -> Broker:
        """See the port. Raises HomeDamaged where the record of an account that was traded is missing."""
        if book.research:
            raise ConfigurationError(f"{book.name} is a research book: it has no venue and never will")
        if book.broker != "paper":
            raise ConfigurationError(f"{book.name}: no venue is called {book.broker!r}; there is {', '.join(VENUES)}")
        path = self._root / f"{book.account}.sqlite"
        if not is_opened(path) and self._traded(book):
            raise HomeDamaged(
                f"{path}: the paper venue's record is missing, and our ledger has traded on account {book.account}; "
                f"restore it from a backup with `quant restore FOLDER --only brokers/{book.account}.sqlite`"
            )
        return PaperBroker(path, book, self._market, self._cuts, self._model)
