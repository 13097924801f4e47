"""What a person books by hand, and that an explanation alone does not let a book trade."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from quant_assets.books.by_hand import book_by_hand
from quant_assets.books.entries import KIND
from quant_assets.errors import CalendarUnknown, ConfigurationError, ExecutionError
from quant_assets.records import Act
from quant_assets.tables import JOURNAL, NAV, PNL, POSITIONS
from tests.execution.small_market import CUTS, PAPER, RESEARCH
from tests.execution.test_drop_copy import DAYS, Traded, traded

__all__ = ["traded"]  # the fixture
D1, D2, D3, D4 = DAYS[:4]
ACT = Act(by="ann", reason="the venue's letter of today", at=datetime(2024, 1, 5, tzinfo=UTC))


def by_hand(traded: Traded, book=PAPER, *, session=D2, sid=1, quantity=0, amount="0", corrects="", act=ACT):
    """What `quant ledger book` does."""
    return book_by_hand(
        traded.store,
        traded.ledger.executions,
        traded.ledger.entries,
        CUTS,
        book,
        session=session,
        sid=sid,
        quantity=quantity,
        amount=Decimal(amount),
        corrects=corrects,
        act=act,
    )


@pytest.fixture
def withdrawn(traded: Traded) -> Traded:
    """A fill of ten shares at 27.50 that the venue withdrew without a word after it was booked."""
    traded.order(D1)
    traded.at(D1)
    execution = traded.venue.execute("c0103", 10, "27.5")
    traded.settle(D1)
    traded.venue.withdraw(execution.exec_id)
    return traded


def test_an_explanation_moves_no_share(withdrawn: Traded):
    """Resolved, the differences of positions and cash are open still, session after session, and are notified."""
    assert {n.split()[0] for n in withdrawn.settle(D2).notes} == {"fill", "position", "cash"}
    breaks = withdrawn.ledger.breaks
    for found in breaks.listed(PAPER.name):
        breaks.resolve(found["break_id"], by="ann", reason="withdrawn", now=ACT.at)
    kinds = {(b["kind"], b["state"]) for b in breaks.listed(PAPER.name)}
    assert kinds == {("position", "resolved, but still differs"), ("cash", "resolved, but still differs")}
    assert withdrawn.settle(D3).numbers["breaks_open"] == 2
    assert "still differ" in withdrawn.told.subjects[-1]


def test_an_entry_does(withdrawn: Traded):
    """Booked with the next session it is named in the journal, and everything agrees: the book trades again."""
    withdrawn.settle(D2)
    breaks = withdrawn.ledger.breaks
    for found in breaks.listed(PAPER.name):
        breaks.resolve(found["break_id"], by="ann", reason="withdrawn", now=ACT.at)
    entry, session = by_hand(withdrawn, quantity=-10, amount="275", corrects="x0")
    assert session == D3
    assert withdrawn.settle(D3).numbers["breaks_open"] == 0
    assert withdrawn.settle(D4).numbers["breaks_open"] == 0
    journal, nav, pnl, held = (withdrawn.store.read(t, as_of=None) for t in (JOURNAL, NAV, PNL, POSITIONS))
    assert journal.filter(kind=KIND).select("session", "sid", "reference", "amount").rows() == [
        (D3, 1, entry.entry_id, Decimal(275))
    ]
    assert held.filter(session=D3).is_empty()
    assert nav["cash"].to_list()[-2:] == [PAPER.capital, PAPER.capital]
    # what the entry gained or lost against the last mark is the P&L of the session that booked it
    mark = held.filter(session=D2)["mark"][0]
    last = pnl.filter(session=D3).row(0, named=True)
    assert last["total"] == 275 - 10 * mark == nav.filter(session=D3)["pnl"][0]
    assert last["total"] == sum(last[c] for c in ("holding", "trading", "income", "fees"))
    (act,) = [a for a in withdrawn.ledger.audit.acts() if a["act"] == "book entry"]
    assert (act["by"], act["reason"]) == (ACT.by, ACT.reason)
    assert act["subject"] == f"desk {D2}: -10 of sid 1, +275 in cash, corrects x0"


def test_cash_alone_and_shares_alone(traded: Traded):
    """Each is booked exactly: cash to a millionth under no name, shares of a new name at no price of their own."""
    traded.settle(D1)
    by_hand(traded, sid=0, amount="-0.000001")
    by_hand(traded, sid=4, quantity=7)
    traded.settle(D2)
    pnl = {r["sid"]: r for r in traded.store.read(PNL, as_of=None).filter(session=D2).rows(named=True)}
    nav = traded.store.read(NAV, as_of=None).filter(session=D2).row(0, named=True)
    assert pnl[0]["total"] == pnl[0]["trading"] == Decimal("-0.000001")
    assert nav["pnl"] == sum(r["total"] for r in pnl.values()) == nav["equity"] - PAPER.capital
    assert nav["cash"] == PAPER.capital - Decimal("0.000001")
    assert pnl[4]["trading"] == nav["long_value"]


def test_what_cannot_be_booked_is_refused(traded: Traded):
    """With the reason, and nothing is stored."""
    with pytest.raises(ExecutionError, match="no session booked"):
        by_hand(traded, msgspec.structs.replace(PAPER, name="new"), quantity=1)
    traded.settle(D1)
    for wrong, why in (
        ({"book": RESEARCH, "quantity": 1}, "research book"),
        ({}, "moves nothing"),
        ({"quantity": 1, "sid": 0}, "of which name"),
        ({"amount": "0.0000001"}, "decimals"),
        ({"amount": "NaN"}, "decimals"),
        ({"quantity": 10**15}, "below"),
        ({"quantity": 1, "corrects": "never"}, "no execution never"),
        ({"quantity": 1, "session": D3}, f"books is {D2}"),
        ({"quantity": 1, "act": Act(by=" ", reason="x", at=ACT.at)}, "say who does it"),
    ):
        with pytest.raises((ExecutionError, ConfigurationError), match=why):
            by_hand(traded, **{"book": PAPER, **wrong})
    with pytest.raises(CalendarUnknown):
        by_hand(traded, quantity=1, session=D1 - timedelta(days=2))
    assert traded.ledger.entries.of() == []
