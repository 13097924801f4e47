"""A research home beside its production home: what it reads there, what it writes itself, and how far it may look.

It computes only what production has read: what arrives once production has passed a cut is known
later than it, so that what both compute is the same.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path

import polars as pl

from desk.deployment import DEFAULT, load
from desk.home import own_deployment
from desk.lanes import OWN, called
from desk.ledger import TABLES
from quant_assets import chain, durable
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.markets import is_named, named
from quant_assets.ports import KnowledgeLog
from quant_assets.records import Capture
from quant_assets.tables import BARS, CAPTURES, DECISIONS, LISTINGS, VERDICTS
from resources.tables.beside import ResearchTables
from resources.tables.store import DeltaStore

BEGUN = """# A research home: it reads the tables of the production home and writes its own.
# The source, the calendar, the start and the clock are production's. Try it: quant check
production: {production}

# Without strategies of its own it has production's. Declare what you try, each under a name of its own:
# strategies:
#   - {{name: mine, universe: {{name: mine, size: 100}}, feature_set: price_volume}}

# Modules of your own, beside this file or installed:
# packages: [mine.features]

books:
{books}"""

LATELY = timedelta(days=14)

COMPUTED = frozenset(
    name for stage in (*chain.between("universe", "decisions"), chain.RESEARCH) for name in stage.writes
)
"""The tables that a range writes beside what it ingests, by name or pattern."""


def computed(table: str) -> bool:
    """Whether a research home writes rows of its own to a table; it never does to market data."""
    return any(fnmatch(table, pattern) for pattern in COMPUTED)


def beside(own: DeltaStore, production: Path) -> ResearchTables:
    """The tables of a research home. Raises ConfigurationError where it lies inside the production home."""
    mine = own.root.resolve()
    if mine.is_relative_to(production):
        raise ConfigurationError(
            f"{mine.parent} lies in the production home {production}, in which a research home writes nothing: give "
            "it a folder of its own"
        )
    return ResearchTables(own, DeltaStore(production / TABLES), computed)


class Within:
    """The KnowledgeLog port of a research home: its own, and never beyond what production has read."""

    def __init__(self, own: KnowledgeLog, store: ResearchTables, market: str = OWN) -> None:
        self._own = own
        self._store = store
        self._market = market

    def note_cut(self, as_of: datetime) -> None:
        """See the port. Raises ConfigurationError where production has not read up to that cut yet."""
        if as_of > (latest := reached(self._store, self._market)):
            raise ConfigurationError(
                f"production has decided on what was known by {latest:%Y-%m-%d %H:%M} UTC, and this asks for what is "
                f"known by {as_of:%Y-%m-%d %H:%M} UTC: until then rows may still come. Ask for earlier sessions, or "
                "wait for its daily run"
            )
        self._own.note_cut(as_of)

    def latest_cut(self) -> datetime | None:
        """See the port."""
        return self._own.latest_cut()


class NothingNew:
    """The MarketDataSource port of a research home: what production has ingested is there, and nothing else comes."""

    name = "production"

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:  # noqa: ARG002  # the port's
        """See the port."""
        return ()

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """Raises CaptureUnreadable."""
        raise CaptureUnreadable(f"a research home ingests nothing; {label} is production's to fetch")


def begin(folder: Path, production: Path) -> Path:
    """Write the deployment of a research home into a folder, with a research book for each strategy of production's.

    Raises ConfigurationError where a deployment is there already, or production's cannot be read.
    """
    file = folder / "deployment.yaml"
    if file.exists():
        raise ConfigurationError(f"nothing was written: {file} would be overwritten; name another folder")
    if not production.is_dir():
        raise ConfigurationError(f"there is no folder {production}; name the folder that is QUANT_HOME in production")
    if folder.resolve().is_relative_to(production.resolve()):
        raise ConfigurationError(f"{folder} lies in the production home, where research writes nothing; name another")
    declared = load(own_deployment(production) or DEFAULT)
    book = "  - {{name: {0}, strategy: {1}, account: {0}, capital: 1000000, currency: {2}}}\n"
    taken, books = {b.name for b in declared.books}, ""
    for strategy in declared.strategies:
        traded = next((b for b in declared.books if b.strategy == strategy.name), None)
        wanted = [f"research-{strategy.name}"[:60], *(f"research-{n}" for n in range(len(taken) + 1))]
        name = next(n for n in wanted if n not in taken)
        taken.add(name)
        books += book.format(name, strategy.name, traded.currency if traded else "USD")
    folder.mkdir(parents=True, exist_ok=True)
    durable.write(file, BEGUN.format(production=json.dumps(str(production)), books=books).encode())
    load(file)
    return file


def ingested(store: ResearchTables, market: str = OWN) -> Sequence[date]:
    """The labels of the deliveries of daily bars of a market that production has ingested, ascending."""
    rows = store.production.read(CAPTURES, as_of=None, where={"dataset": BARS.name}, columns=("source",))
    return rows.filter(is_named(pl.col("source"), market))["capture"].unique().sort().to_list()


def reached(store: ResearchTables, market: str = OWN) -> datetime:
    """The latest cut of a market that production has decided on, or judged where it decides nothing there. Raises
    ConfigurationError where there is none.
    """
    known = ingested(store, market)
    lately = known[-1] - LATELY if known else None  # what was decided last is near what came last: not all is read
    for first in (lately, None):
        rows = store.production.read(DECISIONS, as_of=None, first=first, columns=("as_of", "sid"))
        here = rows.filter(_listed(store, market)) if rows.height else rows
        if isinstance(found := here["as_of"].max(), datetime):
            return found
    if market:
        judged = store.production.read(VERDICTS, as_of=None, where={"table": named(BARS.name, called(market))})
        if isinstance(found := judged["known_at"].max(), datetime):
            return found
    where = f"the production home {store.production.root.parent}"
    raise ConfigurationError(
        f"{where} has decided nothing{f' of {market}' if market else ''} yet, and what it may still ingest is not "
        "known: run `quant backfill` there first"
    )


def _listed(store: ResearchTables, market: str) -> pl.Expr:
    """Whether the instrument of a row is of the market; one without a listing is of the deployment's own."""
    listed = store.production.read(LISTINGS, as_of=None, columns=("calendar",))
    chosen = pl.col("calendar") == market if market else pl.col("calendar") != OWN
    found = pl.col("sid").is_in(listed.filter(chosen)["sid"].unique().implode())
    return found if market else ~found
