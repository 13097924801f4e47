"""Everything of one deployment, opened: the adapters behind the ports."""

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Self

import msgspec
import polars as pl

from desk.beside import NothingNew, Within, beside, ingested, reached
from desk.deployment import DEFAULT, Deployment, ResearchDeployment, load
from desk.home import home, own_deployment
from desk.lanes import OWN, Lane, lanes
from desk.ledger import TABLES, VENUES, MarksOf, has_traded, ledger_of
from quant_assets.books.accruals import Valuation
from quant_assets.books.holdings import Holdings
from quant_assets.books.valued import valuation
from quant_assets.calendars import Calendar, Cuts, calendar
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError
from quant_assets.execution.slots import SlotMarket, market_of
from quant_assets.features.bars_read import bars_of
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import FeatureSet
from quant_assets.frames import bounds
from quant_assets.market_data.closures import with_changes
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.markets import named, shared_by_markets
from quant_assets.market_data.own_checks import rules_of
from quant_assets.market_data.rules import Rule
from quant_assets.market_data.vendors import Beside
from quant_assets.moments import Moment
from quant_assets.plugged import Plug, name_of, opened
from quant_assets.ports import Brokers, Channel, Clock, KnowledgeLog, MarketDataSource, ModelRegistry, Notifier
from quant_assets.records import Book
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, BARS, DECISIONS, NAV, VERDICTS
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.ledger.open import Ledger
from resources.sources.bars_of import BarsOf
from resources.sources.contracts import Contracts
from resources.sources.files import PriceFile
from resources.sources.market import Simulated
from resources.sources.open import AnyFeed, Source, open_source
from resources.sources.simulated_bars import SimulatedBars
from resources.tables.beside import ResearchTables
from resources.tables.lanes import LaneStore
from resources.tables.spanning import SpanningStore
from resources.tables.store import DeltaStore


def deployment_file(home: Path) -> Path:
    """$QUANT_DEPLOYMENT, the home's own deployment, or the default, simulated one."""
    named = os.environ.get("QUANT_DEPLOYMENT")
    return Path(named) if named else own_deployment(home) or DEFAULT


def notifier_of(home: Path, deployment: Deployment | None = None) -> Notifier:
    """The log and the queue of notices in a home, and whoever else its deployment notifies."""
    from resources.notifier import QueuedNotifier, Several

    if deployment is None:
        return QueuedNotifier(home)
    own = QueuedNotifier(home, next(map(name_of, deployment.channels), None))
    return Several(own, [opened("notifier", plug, home=home) for plug in deployment.notifiers])


def channels_of(home: Path) -> Sequence[Channel]:
    """The channels that the environment names, then those of the home's deployment; the first alone where that cannot
    be read. Raises ConfigurationError where one cannot be used as it is named.
    """
    from resources.notices.channels import configured, named

    found = list(configured())
    declared: Sequence[Plug] = ()
    with suppress(ConfigurationError):  # every other command refuses that file; what waits leaves all the same
        declared = load(deployment_file(home)).channels
    return [*found, *(named(name_of(plug), opened("channel", plug)) for plug in declared)]


class Workspace:
    """A home folder and its deployment. An adapter that is given stands in for the one that the deployment names;
    the others open when first used.
    """

    def __init__(
        self,
        home: Path,
        deployment: Deployment,
        *,
        clock: Clock | None = None,
        source: MarketDataSource | None = None,
        registry: ModelRegistry | None = None,
        brokers: Brokers | None = None,
        lane: Lane | None = None,
        above: "Workspace | None" = None,
    ) -> None:
        self.home = home
        self.deployment = deployment
        self.lane = lane
        self._above = above
        self._clock = clock
        self._source = source
        self._registry = registry
        self._brokers = brokers

    @classmethod
    def open(cls, folder: Path | None = None, deployment: Path | None = None) -> Self:
        """The workspace of a folder. The deployment: the file given, $QUANT_DEPLOYMENT, the home's own, or the
        default simulated one.
        """
        where = (folder or home()).absolute()
        return cls(where, load(deployment or deployment_file(where)))

    def assume(self, known_at: str) -> None:
        """Read the deployment's file under this rule of knowledge times instead of its own. Raises
        ConfigurationError where the source is no file.
        """
        source = self.deployment.source
        if not isinstance(source, PriceFile):
            raise ConfigurationError(
                f"the source of kind {source.__struct_config__.tag!r} says itself when its rows were known; "
                "--known-at is for files"
            )
        assumed = msgspec.structs.replace(source, known_at=known_at)
        self.deployment = msgspec.structs.replace(self.deployment, source=assumed)

    @cached_property
    def lanes(self) -> tuple["Workspace", ...]:
        """The workspace of each lane (`desk.lanes`), the deployment's own first; itself, where there is but one.

        A lane has the strategies, books, cuts and data of its market and moment; the home and its ledger are the same.
        Its store shows what is of its market and computed at its cuts.
        """
        found = () if self.lane else lanes(self.deployment)
        if len(found) <= 1 and not self.deployment.markets:
            return (self,)
        return tuple(
            Workspace(
                self.home,
                lane.deployment,
                clock=self._clock,
                source=None if lane.market else self._source,
                registry=self._registry,
                brokers=self._brokers,
                lane=lane,
                above=self,
            )
            for lane in found
        )

    @property
    def markets(self) -> tuple["Workspace", ...]:
        """The first lane of each market, the deployment's own first: what is of a market's data is asked of it."""
        return tuple(one for n, one in enumerate(self.peers) if one.venue not in {w.venue for w in self.peers[:n]})

    def lane_of(self, name: str) -> "Workspace":
        """The lane of that name, or that of a strategy or book, or the first one of a calendar; the deployment's own
        lane has no name. Raises ConfigurationError listing the lanes that exist.
        """
        for one in self.lanes:
            parts = (*one.deployment.strategies, *one.deployment.books)
            if name in {one.name, *(part.name for part in parts)}:
                return one
        for one in self.markets:
            if name == one.deployment.calendar:
                return one
        known = [w.name or w.deployment.calendar for w in self.lanes]
        raise ConfigurationError(f"no lane, strategy or book is named {name!r}; the lanes are {known}")

    def lane_drawing(self, universe: str) -> "Workspace":
        """The lane of a universe; the deployment's own where no strategy has it."""
        drawn = (w for w in self.lanes if universe in {s.universe.name for s in w.deployment.strategies})
        return next(drawn, self.lanes[0])

    @property
    def name(self) -> str:
        """The name of its lane; empty for the deployment's own."""
        return self.lane.name if self.lane else OWN

    @property
    def venue(self) -> str:
        """The calendar of its market; empty for the deployment's own."""
        return self.lane.market if self.lane else OWN

    @property
    def peers(self) -> tuple["Workspace", ...]:
        """All lanes of the deployment, itself among them."""
        return (self._above or self).lanes

    @property
    def on_bars(self) -> Sequence[OnBars]:
        """The sets on bars that the deployment declares, whichever lane reads them."""
        return (self._above or self).deployment.bars

    @property
    def currency(self) -> str:
        """In what the prices of its market are."""
        return self.lane.currency if self.lane else self.deployment.source.currency

    @cached_property
    def cuts(self) -> Cuts:
        """The knowledge cuts of its lane's sessions (the deployment's own), as known when first asked."""
        return self.current_cuts()

    def current_cuts(self) -> Cuts:
        """The cuts with what is known of the calendar up to now, by `quant calendar`, and with each day that
        was booked.
        """
        if self._several:
            return self.lanes[0].current_cuts()
        beside = [self._calendar(code) for code in (self.lane.beside if self.lane else ())]
        return Cuts(self._calendar(self.deployment.calendar), self.moment, beside)

    def _calendar(self, code: str) -> Calendar:
        """A venue's calendar with what is known of it up to now."""
        return with_changes(calendar(code), self.store, self._books_at(code))

    @property
    def _several(self) -> bool:
        """Whether it is above lanes; what is asked of the whole about days is then that of the first one."""
        return not self.lane and self.lanes[0] is not self

    @property
    def moment(self) -> Moment:
        """When its lane decides; that of the deployment's own."""
        return self.lane.moment if self.lane else self.deployment.strategies[0].moment

    def _books_at(self, code: str) -> list[str] | None:
        """The books whose sessions are those of a calendar; None where there is one market, and all are."""
        if not self._above or not self._above.deployment.markets:
            return None
        return [b.name for w in self._above.lanes if w.deployment.calendar == code for b in w.deployment.books]

    @cached_property
    def clock(self) -> Clock:
        """The wall, or in a historical run the session's own decision time (set by `at`)."""
        from resources.clock import SessionClock, SystemClock

        if self._clock is not None:
            return self._clock
        return (
            SystemClock()
            if self.deployment.clock == "system"
            else SessionClock(self.cuts.of(self.cuts.calendar.shift(self.deployment.start, -1)))
        )

    @cached_property
    def source(self) -> MarketDataSource:
        """The market data source that the deployment names; in a research home one that never has anything new."""
        if self.production:
            return NothingNew()
        return self._source or self._open(self.deployment.source)

    @cached_property
    def backups(self) -> list[MarketDataSource]:
        """The sources of other vendors of daily bars, in the order of the deployment; none in a research home."""
        return (
            []
            if self.production
            else [Beside(self._open(b.source), b, self.cuts.calendar) for b in self.deployment.backups]
        )

    @property
    def sources(self) -> list[MarketDataSource]:
        """Every source: that of daily bars, those that back it up, and those of other datasets; these come first where
        daily bars are made of them.
        """
        daily, fed = [self.source, *self.backups], [f for of_dataset in self.feeds.values() for f in of_dataset]
        return [*fed, *daily] if isinstance(self.deployment.source, BarsOf) else [*daily, *fed]

    @cached_property
    def feeds(self) -> dict[str, list[MarketDataSource]]:
        """The sources of other datasets that the deployment names, by dataset, those that are of no market among them
        in each; none in a research home.
        """
        found: dict[str, list[MarketDataSource]] = {}
        if self.production:
            return found
        if self.venue:
            rates = {name: f for name, f in self.peers[0].feeds.items() if shared_by_markets(dataset(name).table)}
            found |= {name: [*feeds] for name, feeds in rates.items()}
        for declared in self.deployment.feeds:
            found.setdefault(declared.dataset, []).append(self._open(declared))
        names = [f.name for of_dataset in found.values() for f in of_dataset]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ConfigurationError(
                f"two feeds are named {sorted(twice)}; what one of them took in would count for the other. Give "
                "each a name (name: …)"
            )
        return found

    def _open(self, declared: Source | AnyFeed) -> MarketDataSource:
        from resources.clock import SystemClock

        # the simulated market was made with the calendar as it is listed: a change of its days changes no price
        listed = isinstance(declared, Simulated | Contracts | SimulatedBars)
        venue = calendar(self.deployment.calendar) if listed else self.cuts.calendar
        source = open_source(declared, venue, cache=self.home / "vendor", clock=SystemClock(), store=self.store)
        source.name = named(source.name, self.venue)
        return source

    @property
    def production(self) -> Path | None:
        """The home whose tables a research home reads; None where this is no research home."""
        return self.deployment.production if isinstance(self.deployment, ResearchDeployment) else None

    @cached_property
    def tables(self) -> DeltaStore:
        """The home's own tables, each held against its mark in the ledger."""
        return DeltaStore(self.home / TABLES, MarksOf(self.home, lambda: self.ledger))

    @cached_property
    def store(self) -> DeltaStore | ResearchTables | LaneStore | SpanningStore:
        """The tables; in a research home production's, with its own rows beside them; as a lane among several sees
        them, which may decide names of other markets.
        """
        if not self.lane or not self._above:
            return beside(self.tables, self.production) if self.production else self.tables
        own = self._rows_in(self.venue)
        if not self.lane.beside:
            return own
        others = {code: self._rows_in(self._market_called(code)) for code in self.lane.beside}
        return SpanningStore(own, others, lambda: self.cuts)

    @cached_property
    def market_store(self) -> "DeltaStore | ResearchTables | LaneStore | SpanningStore":
        """The tables with the rows of its own market alone: into these its data is ingested."""
        return self._rows_in(self.venue) if self.lane and self.lane.beside else self.store

    def _rows_in(self, market: str) -> LaneStore:
        """The tables with the rows of one market, and what is computed at the cuts of this lane."""
        assert self.lane  # noqa: S101  # the deployment as a whole has no market of its own
        assert self._above  # noqa: S101  # as above
        below = self._above.store
        assert not isinstance(below, SpanningStore)  # noqa: S101  # only a lane spans
        others = {s.universe.name for s in self._above.deployment.strategies}
        return LaneStore(
            below,
            market=market,
            lane=self.name,
            own=self._above.deployment.calendar,
            hidden=others - {s.universe.name for s in self.deployment.strategies},
            beside=[self._market_called(code) for code in self.lane.beside],
        )

    def _market_called(self, code: str) -> str:
        """The market of a calendar; empty for the deployment's own."""
        return OWN if self._above and code == self._above.deployment.calendar else code

    @property
    def _beside(self) -> ResearchTables | None:
        """The tables of both homes, below those of its lane; None where this is no research home."""
        below = self._above.store if self._above else self.store
        return below if isinstance(below, ResearchTables) else None

    @cached_property
    def knowledge(self) -> KnowledgeLog:
        """What was read of its market up to when. Raises ConfigurationError where a research home reads what production
        has not.
        """
        own = self.ledger.knowledge_of(self.venue) if self.venue else self.ledger.knowledge
        return Within(own, self._beside, self.venue) if self._beside else own

    @cached_property
    def ledger(self) -> Ledger:
        """The ports of the operational database. Raises HomeDamaged where the home has lost it."""
        return self._above.ledger if self._above else ledger_of(self.home)

    @cached_property
    def notifier(self) -> Notifier:
        """The log and the queue of notices in the home folder."""
        return self._above.notifier if self._above else notifier_of(self.home, self.deployment)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The quality rules of the bars: the platform's, and the deployment's own checks."""
        return rules_of(self.deployment.checks)

    @cached_property
    def registry(self) -> ModelRegistry:
        """Where training is tracked."""
        from resources.registry import MlflowRegistry

        return self._registry or MlflowRegistry(self.home / "mlflow")

    @cached_property
    def brokers(self) -> Brokers:
        """Opens the venue of a book."""
        from resources.brokers.open import BrokerDesk

        def traded(book: Book) -> bool:
            return has_traded(self.ledger, book)

        def valued(book: Book, session: date, held: Holdings, sids: Collection[int]) -> Valuation:
            return valuation(self.store, book, self.cuts, session, held, sids)

        def hours(book: Book) -> SlotMarket | None:
            strategy = self.strategy_of(book)
            bars = bars_of(strategy, self.on_bars)
            return market_of(self.store, book, strategy, bars, self.cuts) if bars else None

        return self._brokers or BrokerDesk(
            self.home / VENUES,
            self.market,
            self.cuts,
            traded=traded,
            valued=valued,
            hours=hours,
            books=(self._above or self).books(live=True),
            outbox=self.ledger.outbox,
        )

    @property
    def span(self) -> tuple[date, date | None]:
        """The first session of the deployment's data, and the last where its source ends."""
        if self._several:
            return self.lanes[0].span
        source = self.deployment.source
        first, last = getattr(source, "first", None), getattr(source, "last", None)
        labels = () if first else ingested(self._beside, self.venue) if self._beside else self._labels
        begins = first or (labels[0] if labels else self.deployment.start)
        ends = last or (labels[-1] if labels and self.deployment.clock == "session" else None)
        sessions = self.cuts.calendar
        return sessions.on_or_after(begins), sessions.on_or_before(ends) if ends else None

    @property
    def _labels(self) -> Sequence[date]:
        """The days of which there are deliveries of what daily bars come from."""
        made = isinstance(self.deployment.source, BarsOf)
        fed = {d for feed in self.feeds.get(INTRADAY_BARS.name, ()) for d in feed.labels()} if made else set[date]()
        return sorted(fed) or self.source.labels()

    @property
    def until(self) -> date:
        """The last session of which a range may know: where the source ends, on the system's clock never beyond what
        is due, and in a research home never beyond what production has decided.
        """
        if self._several:
            return self.lanes[0].until
        end = self.span[1]
        if self._beside:
            decided = self.cuts.due(reached(self._beside, self.venue))
            return min(end, decided) if end else decided
        if end and self.deployment.clock == "session":
            return end
        due = self.cuts.due(self.clock.now())
        return min(end, due) if end else due

    @property
    def reports(self) -> Path:
        """Where pages are written."""
        return self.home / "reports"

    @property
    def notice(self) -> str:
        """What every page must say of the data."""
        return (
            "The market is simulated: no price here was ever traded."
            if isinstance(self.deployment.source, Simulated | Contracts)
            else ""
        )

    def market(self, session: date) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What the paper venue trades on: the session's bars and all actions up to it, as known at its cut."""
        as_of = self.cuts.of(session)
        bars = in_force(self.store.read(BARS, as_of=as_of, first=session, last=session), BARS)
        return bars, self.store.read(ACTIONS, as_of=as_of, last=session)

    def books(self, *, live: bool) -> list[Book]:
        """The books with a broker, or those for research."""
        return [b for b in self.deployment.books if b.research is not live]

    def sharing(self, book: Book) -> list[Book]:
        """The books that trade its account, itself among them, in whichever lane."""
        there = (self._above or self).books(live=True)
        return [b for b in there if (b.account, b.venue) == (book.account, book.venue)]

    def latest(self) -> date:
        """The session that an operator asks about: the last one whose decision time has come; in a historical run
        the last one decided, or judged where nothing is decided.
        """
        if self.deployment.clock == "system":
            return self.cuts.due(self.clock.now())
        names = [s.name for s in self.deployment.strategies]
        stored = self.store.read(DECISIONS if names else VERDICTS, as_of=None, first=self.deployment.start, columns=())
        decided = stored.filter(pl.col("strategy").is_in(names)) if names else stored
        found = bounds(decided["session"], date)
        return found[1] if found else self.deployment.start

    def booked(self, book: Book) -> tuple[date, date]:
        """The first and the last session booked. Raises ConfigurationError where there is none."""
        nav = self.store.read(NAV, as_of=None, where={"book": book.name})
        if nav.is_empty():
            raise ConfigurationError(
                f"nothing was booked for {book.name!r} yet; run `quant "
                f"{'backfill' if book.research else 'run daily'}` first"
            )
        return nav["session"][0], nav["session"][-1]

    def strategy_of(self, book: Book) -> Strategy:
        """The strategy that a book trades."""
        return self.deployment.strategy(book.strategy)

    def feature_set_of(self, strategy: Strategy) -> FeatureSet:
        """The feature set that a strategy reads."""
        return find_set(strategy.feature_set)
