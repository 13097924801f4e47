"""One book's trouble does not stop another's."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.books.apart import FAILED
from quant_assets.books.booking import book_sessions
from quant_assets.errors import ExecutionError, HomeDamaged
from quant_assets.execution.collecting import collect_fills
from quant_assets.execution.session_delivery import deliver_books
from quant_assets.ports import Broker
from quant_assets.post_trade.costs import cost_books
from quant_assets.post_trade.reconciliation import reconcile_books
from quant_assets.records import Book, StageReport
from quant_assets.tables import COSTS, FILLS, JOURNAL, NAV, ORDERS, PNL, POSITIONS
from resources.clock import SessionClock
from tests.execution.small_market import CUTS, PAPER, SESSIONS, STRATEGY, Home, desk

BROKEN = msgspec.structs.replace(PAPER, name="broken", account="A2")
TABLES = (FILLS, ORDERS, POSITIONS, JOURNAL, PNL, NAV, COSTS)


class Venues:
    """Opens the paper venue of each book; that of `broken` does what the test says."""

    def __init__(self, home: Home, trouble: Callable[[Broker], Broker]) -> None:
        self._inner = desk(home.store, home.root / "brokers")
        self._trouble = trouble

    def open(self, book: Book) -> Broker:
        """See the port."""
        found = self._inner.open(book)
        return self._trouble(found) if book == BROKEN else found


def day(home: Home, venues: Venues, books: list[Book], session: date) -> list[StageReport]:
    """The stages of a session that work book by book."""
    ledger, store, told, clock = home.ledger, home.store, home.told, SessionClock(CUTS.of(session))
    only = [session]
    outbox, executions, breaks, facts = ledger.outbox, ledger.executions, ledger.breaks, ledger.facts
    return [
        *collect_fills(store, outbox, executions, breaks, venues, books, CUTS, clock, told, facts, only),
        *book_sessions(store, executions, ledger.entries, books, CUTS, told, facts, only),
        *reconcile_books(store, outbox, executions, breaks, venues, books, CUTS, clock, told, facts, only),
        *deliver_books(
            store, outbox, ledger.kill_switch, breaks, venues, books, [STRATEGY], CUTS, clock, told, facts, only
        ),
        *cost_books(store, books, CUTS, told, only),
    ]


def down(_venue: Broker) -> Broker:
    raise ConnectionError("the line is down")


def refusing(venue: Broker) -> Broker:
    def events(_since: str | None) -> None:
        raise ExecutionError("the venue's record is not readable")

    venue.events = events
    return venue


def faulty(venue: Broker) -> Broker:
    venue.events = lambda _since: 1 // 0
    return venue


def written(home: Home) -> list[pl.DataFrame]:
    """The rows of the good book."""
    return [home.store.read(t, as_of=None, where={"book": PAPER.name}) for t in TABLES]


@pytest.mark.parametrize("trouble", [down, refusing, faulty])
def test_the_other_books_go_on(tmp_path: Path, trouble: Callable[[Broker], Broker]):
    """They trade to the cent as if they were alone; the broken one is refused in each stage, and notified once."""
    alone, beside = Home(tmp_path / "alone"), Home(tmp_path / "beside")
    for session in SESSIONS[:3]:
        day(alone, Venues(alone, trouble), [PAPER], session)
        beside.told.subjects.clear()
        reports = day(beside, Venues(beside, trouble), [BROKEN, PAPER], session)
        of_broken = [r for r in reports if r.book == BROKEN.name or r.reason.startswith(BROKEN.name)]
        assert [r.state for r in of_broken] == ["refused"] * 5
        assert [r.numbers.get(FAILED, 0) for r in of_broken] == [1, 0, 0, 0, 0]
        (notice,) = [s for s in beside.told.subjects if s.startswith("critical")]
        assert "broken: the stage fills" in notice
        assert ("Traceback" in notice) == (trouble is not refusing)
    assert all(a.equals(b) and a.height for a, b in zip(written(alone), written(beside), strict=True))
    assert beside.ledger.outbox.orders(BROKEN.name) == []


def test_once_it_is_whole_the_book_goes_on(tmp_path: Path):
    """The session that failed is collected, booked, compared and delivered when it is run again."""
    home = Home(tmp_path)
    day(home, Venues(home, down), [BROKEN], SESSIONS[0])
    assert home.store.read(NAV, as_of=None).is_empty()
    reports = day(home, Venues(home, lambda venue: venue), [BROKEN], SESSIONS[0])
    assert [r.state for r in reports] == ["empty", "done", "done", "done", "empty"]
    assert home.ledger.outbox.orders(BROKEN.name)


def test_a_damaged_home_is_every_books_trouble(tmp_path: Path):
    """It ends the run with its sentence."""
    home = Home(tmp_path)

    def damaged(_venue: Broker) -> Broker:
        raise HomeDamaged("the venue's record is gone; `quant restore`")

    with pytest.raises(HomeDamaged, match="quant restore"):
        day(home, Venues(home, damaged), [BROKEN, PAPER], SESSIONS[0])
