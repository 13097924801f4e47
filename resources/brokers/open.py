"""Opens the venue that a book names: paper, or a plug-in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl

from quant_assets.backtest.fills import costs_of
from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.errors import ConfigurationError, HomeDamaged
from quant_assets.execution.slots import SlotMarket
from quant_assets.plugged import opened
from quant_assets.plugins import broker
from quant_assets.ports import Broker, CostModel, Outbox
from quant_assets.records import RESEARCH, Book
from resources.brokers.paper import Market, PaperBroker, Valued, is_opened, plainly
from resources.brokers.shared import SharedAccount, account_of
from resources.clock import SystemClock

PAPER = "paper"


@broker(RESEARCH)
def research(book: Book) -> Broker:
    """What a research book would trade on. Raises ConfigurationError."""
    raise ConfigurationError(f"{book.name} is a research book: it has no venue and never will")


@broker(PAPER)
def paper(
    book: Book,
    folder: Path,
    market: Market,
    cuts: Cuts,
    costs: CostModel,
    valued: Valued,
    hours: SlotMarket | None = None,
) -> Broker:
    """The paper venue of the book's account."""
    return PaperBroker(folder / f"{book.account}.sqlite", book, market, cuts, costs, valued, hours)


def _by_session(_: Book) -> SlotMarket | None:
    return None


def _together(hours: Sequence[SlotMarket]) -> SlotMarket | None:
    """What several books of one account trade on at slots: the bars of all of them."""
    if len(hours) <= 1:
        return hours[0] if hours else None

    def opens(asked: Sequence[Slot]) -> Mapping[tuple[date, str], pl.DataFrame]:
        found = [one.opens(asked) for one in hours]
        return {key: pl.concat([f[key] for f in found]).unique("sid", keep="first").sort("sid") for key in found[0]}

    return replace(hours[0], opens=opens)


def _is_new(_: Book) -> bool:
    return False


class BrokerDesk:
    """The Brokers port. `root`: where paper venues keep their records; `market`: what they trade on; `traded`: whether
    our own ledger has anything of a book's account: then its venue has a record, and no other account is opened;
    `valued`: by what accounts are valued; `hours`: on what the venue of a book trades at slots, if it does. `books`:
    all that are traded; those that name one account share it by `outbox`.
    """

    def __init__(
        self,
        root: Path,
        market: Market,
        cuts: Cuts,
        model: CostModel | None = None,
        *,
        traded: Callable[[Book], bool] = _is_new,
        valued: Valued = plainly,
        hours: Callable[[Book], SlotMarket | None] = _by_session,
        books: Sequence[Book] = (),
        outbox: Outbox | None = None,
    ) -> None:
        self._books = books
        self._outbox = outbox
        self._root = root
        self._traded = traded
        self._valued = valued
        self._hours = hours
        self._market = market
        self._cuts = cuts
        self._model = model

    def open(self, book: Book) -> Broker:
        """See the port. Raises HomeDamaged where the record of an account that was traded is missing."""
        together = [b for b in self._books if (b.account, b.venue) == (book.account, book.venue)]
        if len(together) <= 1 or self._outbox is None:
            return self._venue(book, [book])
        return SharedAccount(together, self._venue(account_of(together), together), self._outbox)

    def _venue(self, book: Book, books: Sequence[Book]) -> Broker:
        path = self._root / f"{book.account}.sqlite"
        if book.venue == PAPER and not is_opened(path) and any(map(self._traded, books)):
            raise HomeDamaged(
                f"{path}: the paper venue's record is missing, and our ledger has traded on account {book.account}; "
                f"restore it from a backup with `quant restore FOLDER --only brokers/{book.account}.sqlite`"
            )
        return opened(
            "broker",
            book.broker,
            book=book,
            folder=self._root if book.venue == PAPER else self._root / book.venue,
            clock=SystemClock(),
            market=self._market,
            cuts=self._cuts,
            costs=self._model or costs_of(book),
            valued=self._valued,
            hours=_together([hours for b in books if (hours := self._hours(b)) is not None]),
        )
