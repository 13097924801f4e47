"""The deployment file: what runs here."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta

from desk.consistency import inconsistencies
from desk.document.reading import Fault, Reading, read
from desk.document.yaml12 import parse, untyped
from desk.home import own_deployment
from desk.packages import load_packages
from desk.research import KEY, Research, clashes, inherit, production_of
from quant_assets.backtest import fills
from quant_assets.errors import ConfigurationError
from quant_assets.features.intraday import OnBars
from quant_assets.market_data.announced import Announced
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.vendors import Vendor
from quant_assets.models import learners
from quant_assets.plugged import Plug
from quant_assets.records import Book, Currency, Frozen
from quant_assets.signals import construction
from quant_assets.strategy import Strategy
from resources.brokers import open as brokers
from resources.sources.open import AnyFeed, Source, declared

PLATFORMS = (brokers, construction, fills, learners)
"""Where the platform's own plug-ins are declared: they are known once these are imported."""

DEFAULT = Path(__file__).with_name("deployment.yaml")


class Backup(Vendor, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another vendor of daily bars, with where these come from. A source may be given as keys and values."""

    source: Annotated[Source, Meta(description="Where its daily bars come from.", extra={"more": "source"})]

    def __post_init__(self) -> None:
        """See the class."""
        if isinstance(self.source, Mapping):
            msgspec.structs.force_setattr(self, "source", declared(self.source))


class Market(Frozen, frozen=True, forbid_unknown_fields=True):
    """Another market beside the deployment's own: its calendar, and where its data come from. Strategies of that
    calendar trade it.
    """

    calendar: Annotated[str, Meta(description="The venue's: FX, 24/7, or a code of exchange_calendars.")]
    source: Annotated[Source, Meta(description="Where its daily bars come from.")]
    feeds: Annotated[tuple[AnyFeed, ...], Meta(description="Where the rows of its other datasets come from.")] = ()
    currency: Annotated[
        Currency | msgspec.UnsetType, Meta(description="In what its prices are; unset: what its source says.")
    ] = msgspec.UNSET

    def __post_init__(self) -> None:
        """A source or feed given as keys and values, as in the file, becomes its declaration."""
        _declare(self)

    @property
    def priced_in(self) -> str:
        """The currency of its prices."""
        return self.source.currency if isinstance(self.currency, msgspec.UnsetType) else self.currency


class Deployment(Frozen, frozen=True, forbid_unknown_fields=True):
    """What runs here: one source of daily bars, the feeds of other datasets, the strategies, the books that trade them.

    A source or feed may be given as the keys and values that would stand in the file. Raises ConfigurationError where
    these do not fit.
    """

    source: Annotated[Source, Meta(description="Where daily bars come from.", extra={"more": "source"})]
    strategies: Annotated[tuple[Strategy, ...], Meta(min_length=1, description="What decides.")]
    books: Annotated[tuple[Book, ...], Meta(description="What trades them; none where nothing is traded.")]
    start: Annotated[date, Meta(description="The first session traded day by day; what lies before is history.")]
    clock: Annotated[
        Literal["session", "system"],
        Meta(description="session: a historical paper run, each session at its own decision time. system: the wall."),
    ] = "system"
    calendar: Annotated[str, Meta(description="The venue's: FX, 24/7, or a code of exchange_calendars.")] = "XNYS"
    feeds: Annotated[
        tuple[Annotated[AnyFeed, Meta(extra={"more": "source"})], ...],
        Meta(description="Where the rows of other datasets come from."),
    ] = ()
    backups: Annotated[
        tuple[Backup, ...], Meta(description="Other vendors of the same daily bars: to fill in, or to compare.")
    ] = ()
    announcements: Annotated[
        Announced | None, Meta(description="What the words of announced actions mean; without it none is booked.")
    ] = None
    packages: Annotated[
        tuple[str, ...], Meta(description="Modules of your own that declare what you plug in: myfund.plugins.")
    ] = ()
    bars: Annotated[tuple[OnBars, ...], Meta(description="Feature sets on intraday bars.")] = ()
    checks: Annotated[
        tuple[Annotated[Plug, Meta(extra={"plug": "check"})], ...],
        Meta(description="Questions of your own about the bars of each session."),
    ] = ()
    notifiers: Annotated[
        tuple[Annotated[Plug, Meta(extra={"plug": "notifier"})], ...],
        Meta(description="Who is notified at once, beside the home's own log and queue."),
    ] = ()
    channels: Annotated[
        tuple[Annotated[Plug, Meta(extra={"plug": "channel"})], ...],
        Meta(description="By what notices leave the queue, beside those that the environment names."),
    ] = ()
    markets: Annotated[tuple[Market, ...], Meta(description="Other markets, each with its own calendar and data.")] = ()
    evidence: Annotated[
        Evidence, Meta(description="What must be known before an action that nobody declared counts.")
    ] = EVIDENCE

    def __post_init__(self) -> None:
        """A source or feed given as keys and values, as in the file, becomes its declaration; a book in another
        currency than the prices of its market knows theirs.
        """
        _declare(self)
        prices = {self.calendar: self.source.currency} | {m.calendar: m.priced_in for m in self.markets}
        by_name = {s.name: s for s in self.strategies}
        books = tuple(_quoted(b, by_name[b.strategy], prices) if b.strategy in by_name else b for b in self.books)
        msgspec.structs.force_setattr(self, "books", books)

    def strategy(self, name: str) -> Strategy:
        """The strategy of that name. Raises ConfigurationError listing those that exist."""
        return _named(self.strategies, name, "strategy")

    def book(self, name: str) -> Book:
        """The book of that name. Raises ConfigurationError listing those that exist."""
        return _named(self.books, name, "book")


class ResearchDeployment(Deployment, frozen=True, kw_only=True):
    """What runs in a research home: all that production declares, with strategies, books and packages of its own.

    `production`: the home whose tables are read, and never written.
    """

    production: Path


def _declare(market: Deployment | Market) -> None:
    as_in_the_file = [market.source, *market.feeds]
    source, *feeds = (declared(v) if isinstance(v, Mapping) else v for v in as_in_the_file)
    msgspec.structs.force_setattr(market, "source", source)
    msgspec.structs.force_setattr(market, "feeds", tuple(feeds))


def _quoted(book: Book, strategy: Strategy, prices: Mapping[str, str]) -> Book:
    """The book with the currency of its market's prices, where it declares none and keeps another, and with those of
    the other markets of its strategy.
    """
    own, beside = prices.get(strategy.calendar), strategy.venues_beside
    if own not in {None, book.currency} and isinstance(book.quoted, msgspec.UnsetType):
        book = msgspec.structs.replace(book, quoted=own)
    if beside and isinstance(book.quoted_elsewhere, msgspec.UnsetType):
        there = {code: prices[code] for code in beside if code in prices}
        book = msgspec.structs.replace(book, quoted_elsewhere=there)
    return book


T = TypeVar("T", Strategy, Book)


def _named(among: tuple[T, ...], name: str, what: str) -> T:
    for one in among:
        if one.name == name:
            return one
    raise ConfigurationError(f"no {what} is named {name!r}; the deployment has {sorted(o.name for o in among)}")


def load(path: Path) -> Deployment:
    """The deployment in a YAML file; the modules that it names are loaded.

    Raises DeploymentRefused with every fault in it, each with its line.
    """
    found, deployment = examine(path)
    if deployment is None:
        raise DeploymentRefused(path, found.faults)
    return deployment


def examine(path: Path) -> tuple[Reading, Deployment | None]:
    """All that was found in the file, and the deployment where that has no fault.

    Raises ConfigurationError where it is no YAML, with its line.
    """
    try:
        root = parse(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name a deployment file that can be read") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}:{error}") from error
    folder = path.absolute().parent
    if home := production_of(root, path):
        deployment, found = _beside(root, folder, home)
    else:
        hidden = ("source", "feeds", "backups", "markets")
        deployment, found = read(root, Deployment, secret=hidden, partial=not _loaded(root, folder))
    inconsistencies(found, folder)
    found.faults.sort()
    return found, deployment if isinstance(deployment, Deployment) and not found.faults else None


def _loaded(root: yaml.Node, folder: Path) -> bool:
    """Whether the modules that the file names could be loaded, before what they plug in is read in it; what is wrong
    with one is reported with all other faults.
    """
    named = untyped(root)
    packages: object = named.get("packages") if isinstance(named, dict) else None
    try:
        load_packages([str(p) for p in packages] if isinstance(packages, list) else [], folder)
    except ConfigurationError:
        return False
    return True


def _beside(root: yaml.Node, folder: Path, home: Path) -> tuple[ResearchDeployment | None, Reading]:
    """A research home's file with all that it has from production. Raises DeploymentRefused for production's own."""
    # first, so that what its packages plug in can be named here
    production = load(own_deployment(home) or DEFAULT) if home.is_dir() else None
    own, found = read(root, Research, partial=not _loaded(root, folder))
    if production is None:
        found.fault(KEY, f"there is no folder {home}; name the folder that is QUANT_HOME in production")
    elif isinstance(production, ResearchDeployment):
        found.fault(KEY, f"{home} is a research home itself; name the one that it reads: {production.production}")
    if production is None or isinstance(production, ResearchDeployment):
        return None, found
    theirs: dict[str, Any] = {name: getattr(production, name) for name in production.__struct_fields__}
    inherit(found, theirs, root)
    clashes(found, production.strategies, production.books)
    if not isinstance(own, Research):
        return None, found
    mine: dict[str, Any] = {
        "strategies": own.strategies or production.strategies,
        "books": own.books,
        "packages": (*production.packages, *own.packages),
    }
    return ResearchDeployment(**theirs | mine, production=home), found


def schema() -> str:
    """The JSON Schema of the file, for editors."""
    said = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Deployment)}
    return msgspec.json.format(msgspec.json.encode(said)).decode() + "\n"


class DeploymentRefused(ConfigurationError):
    """The faults of a deployment file: one on a line, and how many where there are more."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        self.path = path
        self.faults = tuple(faults)
        lines = "\n  ".join(f.line_in(str(path)) for f in faults)
        super().__init__(f"{len(faults)} faults in the deployment:\n  {lines}" if len(faults) > 1 else lines)
