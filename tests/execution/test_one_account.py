"""Several books trade one account: their orders leave as its orders, and what is executed is theirs again, to the cent.

The books trade a market made by hand with splits, dividends, a halt, a delisting and thin volume.
"""

from collections.abc import Sequence
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
from quant_assets.tables import DECISIONS
from resources.clock import SessionClock
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

    def decide(self, session: date, strategy: str, weights: dict[int, float]) -> None:
        """Store a decision set of a strategy beside those of the first one."""
        rows = decisions(session, weights, strategy=strategy)
        self.store.append(DECISIONS, rows)

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


def test_books_of_one_account_add_up_to_it(tmp_path: Path) -> None:
    """Every session the venue's cash and positions are those of the books together, and nothing differs; books cross,
    and one order of a name is at the venue.
    """
    account = Account(tmp_path)
    for i, session in enumerate(SESSIONS[:5]):
        account.decide(session, "hand2", {sid: 0.3 if (sid + i) % 3 == 0 else 0.0 for sid in range(1, 8)})
        reports = [*account.settle(session), *account.deliver(session)]
        assert [r.reason for r in reports if r.state == "refused"] == []
        venue = account.venue().venue
        assert account.sums(session) == (venue.cash(), dict(venue.positions())), session
    assert account.ledger.breaks.listed(open_only=False) == []
    parts = account.ledger.outbox.parts(PAPER.account)
    assert {p.book for p in parts} == {b.name for b in BOOKS}
    assert any(p.crossed for p in parts)
    sent = account.venue().venue.events(None).orders
    names = [(o.sid, p.session) for o in sent for p in parts if p.parent == o.client_order_id]
    assert len({o.client_order_id for o in sent}) == len(sent) == len(set(names))
    assert not [s for s in account.home.told.subjects if s.startswith("critical")]
