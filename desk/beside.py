"""A research home beside its production home: what it reads there, what it writes itself, and how far it may look.

It computes only what production has read: what arrives once production has passed a cut is known
later than it, so that what both compute is the same.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from fnmatch import fnmatch
from pathlib import Path

from desk.ledger import TABLES
from quant_assets import chain
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.ports import KnowledgeLog
from quant_assets.records import Capture
from quant_assets.tables import BARS, CAPTURES, DECISIONS
from resources.tables.beside import ResearchTables
from resources.tables.store import DeltaStore

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

    def __init__(self, own: KnowledgeLog, store: ResearchTables) -> None:
        self._own = own
        self._store = store

    def note_cut(self, as_of: datetime) -> None:
        """See the port. Raises ConfigurationError where production has not read up to that cut yet."""
        if as_of > (latest := reached(self._store)):
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


def ingested(store: ResearchTables) -> Sequence[date]:
    """The labels of the deliveries of daily bars that production has ingested, ascending."""
    rows = store.production.read(CAPTURES, as_of=None, where={"dataset": BARS.name}, columns=())
    return rows["capture"].unique().sort().to_list()


def reached(store: ResearchTables) -> datetime:
    """The latest cut that production has decided on. Raises ConfigurationError where it has decided nothing."""
    found = store.production.read(DECISIONS, as_of=None, columns=("as_of",))["as_of"].max()
    if not isinstance(found, datetime):
        raise ConfigurationError(
            f"the production home {store.production.root.parent} has decided nothing yet, and what it may still ingest "
            "is not known: run `quant backfill` there first"
        )
    return found
