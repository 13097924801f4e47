"""Two books that trade one account, session by session, and points at which their process dies."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from quant_assets.books.booking import book_sessions, holdings_of
from quant_assets.execution.collecting import collect_fills
from quant_assets.execution.session_delivery import deliver_books
from quant_assets.ports import SharesAccount
from quant_assets.post_trade.reconciliation import reconcile_books
from quant_assets.records import Book, StageReport
from quant_assets.tables import DECISIONS, NAV
from resources.brokers import paper
from resources.brokers.paper import PaperBroker
from resources.clock import SessionClock
from resources.ledger import outbox as ledger_outbox
from resources.ledger.executions import SqliteExecutions
from resources.ledger.outbox import SqliteWriter
from tests.execution.killed import around
from tests.execution.small_market import CUTS, PAPER, SESSIONS, STRATEGY, Home, decisions, desk

OTHER = msgspec.structs.replace(PAPER, name="desk2", strategy="hand2", capital=Decimal(50_000))
BOOKS = (PAPER, OTHER)
STRATEGIES = (STRATEGY, msgspec.structs.replace(STRATEGY, name="hand2"))


class Account:
    """A home in which several books trade one account, session by session."""

    def __init__(self, root: Path, books: Sequence[Book] = BOOKS) -> None:
        self.home, self.books = Home(root, SESSIONS), books
        self.ledger, self.store = self.home.ledger, self.home.store
        self.venues = desk(self.store, root / "brokers", books, self.ledger.outbox)

    def decide(self, session: date) -> None:
        """Store what the second strategy decides, beside what the first one did."""
        i = SESSIONS.index(session)
        weights = {sid: 0.3 if (sid + i) % 3 == 0 else 0.0 for sid in range(1, 8)}
        self.store.append(DECISIONS, decisions(session, weights, strategy=OTHER.strategy))

    def settle(self, session: date) -> list[StageReport]:
        """The account's session comes home, is booked and compared."""
        home, ledger, only = self.home, self.ledger, [session]
        clock = SessionClock(CUTS.of(session))
        outbox, executions, breaks, facts = ledger.outbox, ledger.executions, ledger.breaks, ledger.facts
        about = (self.venues, self.books, CUTS, clock, home.told, facts, only)
        return [
            *collect_fills(self.store, outbox, executions, breaks, *about),
            *book_sessions(self.store, executions, ledger.entries, self.books, CUTS, home.told, facts, only),
            *reconcile_books(self.store, outbox, executions, breaks, *about),
        ]

    def deliver(self, session: date) -> list[StageReport]:
        """Delivery at the session's cut."""
        ledger = self.ledger
        switch, clock = ledger.kill_switch, SessionClock(CUTS.of(session))
        about = (self.venues, self.books, STRATEGIES, CUTS, clock, self.home.told, ledger.facts, [session])
        return list(deliver_books(self.store, ledger.outbox, switch, ledger.breaks, *about))

    def venue(self) -> SharesAccount:
        """The account as the first book sees it."""
        found = self.venues.open(self.books[0])
        assert isinstance(found, SharesAccount)
        return found

    def sums(self, session: date) -> tuple[Decimal, dict[int, int]]:
        """Cash and positions of all books together."""
        held = [holdings_of(self.store, b, session) for b in self.books]
        sids = {sid for h in held for sid in h.quantities}
        counts = {sid: sum(h.quantities.get(sid, 0) for h in held) for sid in sids}
        return sum((h.cash for h in held), Decimal(0)), {sid: n for sid, n in counts.items() if n}


POINTS: dict[str, Callable[[], None]] = {
    "before the account's orders are committed": lambda: around(
        SqliteWriter, "bind", before=True, hit=2, only=lambda *_a, **k: bool(k.get("parts"))
    ),
    "inside their transaction": lambda: around(
        ledger_outbox, "insert", before=False, hit=5, only=lambda _tx, table, _v: table == "parts"
    ),
    "after they are committed": lambda: around(
        SqliteWriter, "bind", before=False, hit=2, only=lambda *_a, **k: bool(k.get("parts"))
    ),
    "between their commit and the send": lambda: around(PaperBroker, "submit", before=True, hit=6),
    "between the venue's accept and our ack": lambda: around(PaperBroker, "submit", before=False, hit=6),
    "in the middle of the venue's session": lambda: around(paper, "live", before=True, hit=2),
    "between the account's record and the books'": lambda: around(SqliteExecutions, "book_fill", before=False, hit=7),
    "before an execution is shared out": lambda: around(SqliteExecutions, "book_shares", before=True, hit=9),
    "after an execution is shared out": lambda: around(SqliteExecutions, "book_shares", before=False, hit=9),
    "between two order states": lambda: around(
        SqliteWriter, "transition", before=False, hit=9, only=lambda *_a, **k: k.get("filled") is not None
    ),
    "before the account's cursor": lambda: around(SqliteExecutions, "advance", before=True, hit=3),
    "after the account's cursor": lambda: around(SqliteExecutions, "advance", before=False, hit=3),
}
DAYS = SESSIONS[:4]


def live(account: Account) -> None:
    """The days in order, going on from the first that is not booked; the last one booked is delivered again."""
    for session in DAYS:
        rows = account.store.read(NAV, as_of=None)
        done = [s for s in DAYS if rows.filter(session=s).height == len(BOOKS)]
        if session not in done:
            account.decide(session)
            account.settle(session)
        if session not in done or session == done[-1]:
            account.deliver(session)


def run(root: Path, point: str) -> None:
    """The days in `root`, until `point`."""
    account = Account(root)
    POINTS[point]()
    live(account)
