"""The ledger of a home is made once. A home that holds tables or a venue's record and no ledger has lost it: to make
another in silence would send a day again, with every kill switch off.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

from desk.backup.swap import refuse_half_restored
from quant_assets.acts import replacing
from quant_assets.errors import ConfigurationError, HomeDamaged
from quant_assets.records import Book, Mark, OrderState
from resources.ledger.database import readable
from resources.ledger.open import FILE, Ledger, open_ledger, revision
from resources.tables.store import DeltaStore

TABLES, VENUES = "tables", "brokers"
_ASIDE = "{name}.lost-{at:%Y%m%dT%H%M%SZ}"


def ledger_of(home: Path) -> Ledger:
    """The ledger of a home, made where the home is new.

    Raises HomeDamaged where it is lost, ConfigurationError where it has another schema.
    """
    refuse_half_restored(home)
    if held := held_without_ledger(home):
        raise HomeDamaged(
            f"{home / FILE} is missing or empty, and {held} exists: what was sent, booked and switched off is "
            "recorded there. Restore it with `quant restore FOLDER --only ledger.sqlite`; without a backup, "
            "`quant restore --ledger-anew --by NAME --reason WHY` makes an empty one with the kill switch on"
        )
    return open_ledger(home)


def held_without_ledger(home: Path) -> str:
    """What proves that a ledger was there: the first table or venue record of a home without one; else empty."""
    if _is_made(home / FILE):
        return ""
    logs = sorted(log.parent for log in home.glob(f"{TABLES}/*/_delta_log"))
    held = next(iter([*logs, *sorted(home.glob(f"{VENUES}/*.sqlite"))]), None)
    return str(held) if held else ""


def _is_made(path: Path) -> bool:
    if not path.exists():
        return False
    # the tables may be in the write-ahead log alone: only SQLite can answer
    with readable(path), closing(sqlite3.connect(path)) as connection:
        return revision(connection) is not None


def make_anew(home: Path, *, by: str, reason: str, now: datetime) -> Ledger:
    """An empty ledger for a home that has lost its own: every order is stopped until a person turns the kill switch
    off. What lies in its place is kept beside it.

    Raises ConfigurationError where the home has a ledger, or holds nothing.
    """
    path = home / FILE
    try:
        whole = not held_without_ledger(home) and bool(open_ledger(home))
    except HomeDamaged:
        whole = False
    if whole:
        raise ConfigurationError(f"{path} is whole, nothing is made anew; `quant doctor` checks the home")
    for file in (path, *(path.with_name(f"{FILE}-{part}") for part in ("wal", "shm"))):
        if file.exists():
            file.replace(file.with_name(_ASIDE.format(name=file.name, at=now)))
    ledger = open_ledger(home)
    ledger.kill_switch.set(
        True, by=by, now=now, reason="the ledger was made anew: compare positions and orders with the venue first"
    )
    subject = FILE + replacing(DeltaStore(home / TABLES))
    ledger.audit.record("ledger anew", subject, by=by, reason=reason, now=now)
    return ledger


def has_traded(ledger: Ledger, book: Book) -> bool:
    """Whether the ledger holds a cursor of the venue's record, or an order that reached it."""
    if ledger.executions.cursor(book.name) is not None:
        return True
    return any(w.state not in {OrderState.PENDING, OrderState.EXPIRED} for w in ledger.outbox.orders(book.name))


class MarksOf:
    """The Marks port of a home's ledger, which opens with the first table: to look at a new home makes nothing."""

    def __init__(self, home: Path, ledger: Callable[[], Ledger]) -> None:
        self._home = home
        self._ledger = ledger

    def of(self, table: str) -> Mark | None:
        """See the port."""
        return self._ledger().marks.of(table) if self._begun() else None

    def listed(self) -> Mapping[str, Mark]:
        """See the port."""
        return self._ledger().marks.listed() if self._begun() else {}

    def advance(self, table: str, mark: Mark) -> None:
        """See the port."""
        self._ledger().marks.advance(table, mark)

    def replace(self, marks: Mapping[str, Mark]) -> None:
        """See the port."""
        self._ledger().marks.replace(marks)

    def _begun(self) -> bool:
        return (self._home / FILE).exists() or (self._home / TABLES).exists()
