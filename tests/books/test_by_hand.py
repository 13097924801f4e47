"""What a person books by hand, and that an explanation alone does not let a book trade."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import polars as pl
import pytest

from quant_assets.books.by_hand import book_by_hand
from quant_assets.books.entries import KIND
from quant_assets.errors import CalendarUnknown, ConfigurationError, ExecutionError, RateUnknown
from quant_assets.records import Act
from quant_assets.tables import CASH, JOURNAL, NAV, PNL, POSITIONS
from quant_assets.vendor_tables import FX_RATES
from tests.execution.small_market import CUTS, PAPER, RESEARCH
from tests.execution.test_drop_copy import DAYS, Traded, traded

__all__ = ["traded"]  # the fixture
D1, D2, D3, D4 = DAYS[:4]
ACT = Act(by="ann", reason="the venue's letter of today", at=datetime(2024, 1, 5, tzinfo=UTC))


def by_hand(
    traded: Traded, book=PAPER, *, session=D2, sid=1, quantity=0, amount="0", corrects="", act=ACT, currency=""
):
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
        currency=currency,
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


def test_cash_in_another_currency(traded: Traded):
    """It is a balance of its own, converted at the rate of each evening: what the rate made of it is the gain of the
    currency, and all of it adds up. Without a rate the session waits; the book's own currency is no other one.
    """
    traded.settle(D1)
    entry, _ = by_hand(traded, sid=0, amount="-100.10", currency="EUR")
    assert entry.currency == "EUR"
    assert by_hand(traded, sid=0, amount="5", currency=PAPER.currency)[0].currency == ""
    traded.at(D2, cut=True)
    with pytest.raises(RateUnknown, match="EUR"):
        traded.book(D2)
    traded.store.append(FX_RATES, rates({D2: 1.10, D3: 1.12}))
    traded.settle(D2)
    traded.settle(D3)
    cash, nav, pnl = (traded.store.read(t, as_of=None) for t in (CASH, NAV, PNL))
    euros = cash.filter(currency="EUR").sort("session").select("session", "amount", "rate", "value").rows()
    assert [(s, a, v) for s, a, _, v in euros] == [
        (D2, Decimal("-100.10"), Decimal("-110.11")),
        (D3, Decimal("-100.10"), Decimal("-112.112")),
    ]
    by_session = {s: pnl.filter(session=s, sid=0).row(0, named=True) for s in (D2, D3)}
    assert (by_session[D2]["trading"], by_session[D2]["currencies"]) == (Decimal("-105.11"), Decimal(0))
    assert (by_session[D3]["trading"], by_session[D3]["currencies"]) == (Decimal(0), Decimal("-2.002"))
    for session in (D2, D3):
        assert nav.filter(session=session)["pnl"][0] == pnl.filter(session=session)["total"].sum()


def rates(of: Mapping[date, float]) -> pl.DataFrame:
    """FX_RATES rows of euros in dollars, each known in the evening of its day."""
    rows = [
        {"session": day, "base": "EUR", "quote": "USD", "rate": rate, "withdrawn": False, "source": "x", "file": "f"}
        | {"capture": day, "line": n, "known_at": at, "declared_known_at": at}
        for n, (day, rate) in enumerate(of.items(), 2)
        for at in [datetime(day.year, day.month, day.day, 23, tzinfo=UTC)]
    ]
    return FX_RATES.conform(pl.DataFrame(rows, schema=dict(FX_RATES.schema)))


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
        ({"amount": "5", "currency": "EUR"}, "that name's currency"),
        ({"amount": "5", "sid": 0, "currency": "XYZ"}, "no currency 'XYZ'"),
        ({"quantity": 1, "act": Act(by=" ", reason="x", at=ACT.at)}, "say who does it"),
    ):
        with pytest.raises((ExecutionError, ConfigurationError), match=why):
            by_hand(traded, **{"book": PAPER, **wrong})
    with pytest.raises(CalendarUnknown):
        by_hand(traded, quantity=1, session=D1 - timedelta(days=2))
    assert traded.ledger.entries.of() == []
