"""Brings the databases of a home to the schemas of this release: each in one transaction, after a copy of its file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from desk.ledger import TABLES
from quant_assets.records import Frozen
from resources.brokers import paper
from resources.ledger import migrate
from resources.ledger.open import FILE, open_ledger
from resources.tables.faults import newest


class Kind(Frozen, frozen=True):
    """A kind of database: its files in a home, the revision of one that is outdated (None: current), its upgrade."""

    name: str
    files: Callable[[Path], Sequence[Path]]
    outdated: Callable[[Path], str | None]
    upgrade: Callable[[Path], object]


class Outdated(Frozen, frozen=True):
    """A database with an older schema."""

    kind: Kind
    path: Path
    revision: str


def _ledgers(home: Path) -> Sequence[Path]:
    """The home's own, and those of homes inside it."""
    return sorted(p for p in (home / FILE, *home.glob(f"*/{FILE}")) if p.exists())


def _venues(home: Path) -> Sequence[Path]:
    """The records of its paper venues, and of those of homes inside it."""
    return sorted(p for pattern in ("brokers/*.sqlite", "*/brokers/*.sqlite") for p in home.glob(pattern))


def _upgrade_ledger(path: Path) -> None:
    """Migrate a ledger and mark in it how far the tables beside it have come: older releases did not."""
    migrate.upgrade(path)
    marks = open_ledger(path.parent).marks
    for log in sorted((path.parent / TABLES).glob("*/_delta_log")):
        if mark := newest(log.parent):
            marks.advance(log.parent.name, mark)


KINDS = (
    Kind("ledger", _ledgers, migrate.outdated, _upgrade_ledger),
    Kind("paper venue", _venues, paper.outdated, paper.upgrade),
)


def outdated(home: Path) -> list[Outdated]:
    """The databases of a home that have an older schema. Reads only."""
    return [
        Outdated(kind, path, revision)
        for kind in KINDS
        for path in kind.files(home)
        if (revision := kind.outdated(path)) is not None
    ]


def migrated(home: Path) -> Iterator[tuple[Outdated, Path]]:
    """Migrate what is outdated; each database with the copy that was made of it before. Hold the home's lock."""
    for one in outdated(home):
        copy = migrate.back_up(one.path, one.revision)
        one.kind.upgrade(one.path)
        yield one, copy
