"""The deployment file: what runs here."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec

from quant_assets.errors import ConfigurationError
from quant_assets.features.intraday import OnBars
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.records import Book, Frozen
from quant_assets.signals.strategy import Strategy
from resources.packages import load_packages
from resources.sources.open import AnyFeed, Source, declared

DEFAULT = Path(__file__).with_name("deployment.yaml")


class Deployment(Frozen, frozen=True):
    """One source of daily bars, the feeds of other datasets, the strategies, the books. `clock`: session (a historical paper run) or system. `start`: the first session traded day by day. `packages`: modules of your own that declare feature sets. `bars`: feature sets on intraday bars. `evidence`: what must be known before an action that nobody declared counts."""

    source: Source
    strategies: tuple[Strategy, ...]
    books: tuple[Book, ...]
    start: date
    clock: str = "system"
    calendar: str = "XNYS"
    feeds: tuple[AnyFeed, ...] = ()
    packages: tuple[str, ...] = ()
    bars: tuple[OnBars, ...] = ()
    evidence: Evidence = EVIDENCE

    def __post_init__(self) -> None:
        """A source or feed given as keys and values, as they stand in the file, becomes its declaration."""
        as_in_the_file = [self.source, *self.feeds]
        source, *feeds = (declared(v) if isinstance(v, Mapping) else v for v in as_in_the_file)
        msgspec.structs.force_setattr(self, "source", source)
        msgspec.structs.force_setattr(self, "feeds", tuple(feeds))

    def strategy(self, name: str) -> Strategy:
        """The strategy of that name. Raises ConfigurationError listing those that exist."""
        return _named(self.strategies, name, "strategy")

    def book(self, name: str) -> Book:
        """The book of that name. Raises ConfigurationError listing those that exist."""
        return _named(self.books, name, "book")


T = TypeVar("T", Strategy, Book)


def _named(among: tuple[T, ...], name: str, what: str) -> T:
    for one in among:
        if one.name == name:
            return one
    raise ConfigurationError(f"no {what} is named {name!r}; the deployment has {sorted(o.name for o in among)}")


def load(path: Path) -> Deployment:
    """The deployment in a YAML file; the modules that it names are loaded. Raises ConfigurationError naming the field that is wrong."""
    try:
        found = msgspec.yaml.decode(path.read_bytes(), type=Deployment, strict=False)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    load_packages(found.packages, path.parent)
    for feed in found.feeds:
        dataset(feed.dataset)
    for book in found.books:
        found.strategy(book.strategy)
        if book.research and book.armed:
            raise ConfigurationError(
                f"{path}: book {book.name!r} is a research book and cannot be armed; name a broker"
            )
    return found
