"""A book of anything: fractions of coins, lots, futures, options and perpetuals in three currencies, long and short.

Each day it adds up to the sixth decimal, and to what plain arithmetic on fractions makes of the same fills.
"""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.books.accruals import Borrow, Funding, Valuation
from quant_assets.books.day import Booked, Day, step
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings
from quant_assets.books.terms import Terms
from quant_assets.calendars import Cuts, calendar
from quant_assets.instruments import Instrument, Kind
from quant_assets.records import Book, Fill
from quant_assets.tables import ACTIONS, BARS

CUTS = Cuts(calendar("XNYS"))
DAYS = CUTS.calendar.between(date(2024, 1, 3), date(2024, 1, 9))
BOOK = Book(name="mixed", strategy="s", account="A1", capital=Decimal(100_000), currency="USD")


def made(sid: int, kind: Kind, currency: str, step: str = "1", multiplier: str = "1", last: int = 99) -> Instrument:
    """An instrument that expires on a day of DAYS, if any."""
    expiry = DAYS[last] if last < len(DAYS) else None
    return Instrument(sid, f"S{sid}", kind, currency, step=Decimal(step), multiplier=Decimal(multiplier), expiry=expiry)


KNOWN = {
    one.sid: one
    for one in (
        made(2, "equity", "EUR", step="100"),
        made(3, "spot", "USD", step="0.00000001"),
        made(4, "spot", "JPY", step="0.001"),
        made(5, "future", "EUR", multiplier="50", last=3),
        made(6, "perpetual", "USD", step="0.0001", multiplier="0.37"),
        made(7, "option", "USD", multiplier="100", last=2),
        made(8, "future", "JPY", multiplier="1000"),
    )
}  # sid 1 is a share of which the master knows nothing
SIDS = (1, *KNOWN)


NOTHING = Holdings(session=date.min, cash=Decimal(0), quantities={}, marks={})
NO_PAST = Past(evening=lambda _: NOTHING, bars=lambda _: BARS.empty())


class Drawn(NamedTuple):
    """What happens on a day."""

    eur: Decimal
    jpy: Decimal
    closes: dict[int, float]
    fills: list[tuple[int, int, int, Decimal, int]]
    funding: Decimal


money = st.integers(1_000_000, 1_700_000).map(lambda n: Decimal(n) / 10_000)  # no jump that asks for a split
day_drawn = st.builds(
    Drawn,
    st.integers(1, 3 * 10**12).map(lambda n: Decimal(n).scaleb(-12)),
    st.integers(1, 10**11).map(lambda n: Decimal(n).scaleb(-12)),
    st.dictionaries(st.sampled_from(SIDS), money.map(float)),
    st.lists(
        st.tuples(st.sampled_from(SIDS), st.sampled_from((1, -1)), st.integers(1, 10**7), money, st.integers(0, 10**4)),
        max_size=6,
    ),
    st.integers(-300, 300).map(lambda n: Decimal(n) / 100_000),
)


def filled(session: date, drawn: Drawn) -> list[Fill]:
    """The executions of a day; what has expired is traded no more."""
    return [
        Fill(
            exec_id=f"{session}-{n}", client_order_id=f"c{n}", session=session, sid=sid, side=side, quantity=quantity,
            price=price, fee=Decimal(fee) / 100, arrival_price=price, ts=CUTS.calendar.open(session),
        )
        for n, (sid, side, quantity, price, fee) in enumerate(drawn.fills)
        if (end := expiry(sid)) is None or end >= session
    ]  # fmt: skip


def expiry(sid: int) -> date | None:
    """The last day of a name."""
    return KNOWN[sid].expiry if sid in KNOWN else None


def booked(drawn: list[Drawn]) -> list[tuple[Holdings, Booked]]:
    """The days of the book, each with the holdings before it."""
    held = Holdings(session=CUTS.calendar.before(DAYS[0]), cash=BOOK.capital, quantities={}, marks={})
    found: list[tuple[Holdings, Booked]] = []
    for session, one in zip(DAYS, drawn, strict=False):
        rates = {"EUR": one.eur, "JPY": one.jpy}
        bars = pl.DataFrame(
            [(sid, f"S{sid}", close, close) for sid, close in one.closes.items()],
            schema={"sid": pl.Int64, "symbol": pl.String, "open": pl.Float64, "close": pl.Float64},
            orient="row",
        )
        day = Day(
            session=session, bars=bars, actions=ACTIONS.empty(), fills=filled(session, one),
            by=Valuation(
                Terms("USD", KNOWN, rates), {sid: Borrow(Decimal("0.07"), session) for sid in (1, 2, 6)},
                [Funding(6, CUTS.calendar.open(session) + timedelta(hours=h), one.funding) for h in (-8, 0, 4)],
            ),
        )  # fmt: skip
        result = step(BOOK, CUTS, day, held, BOOK.capital if found else None, NO_PAST)
        found.append((held, result))
        held = result.after
    return found


@settings(max_examples=120, deadline=None)
@given(st.lists(day_drawn, min_size=1, max_size=len(DAYS)))
def test_a_book_of_anything_adds_up_to_the_smallest_unit(drawn: list[Drawn]):
    journal: dict[str, Decimal] = defaultdict(Decimal)
    for before, day in booked(drawn):
        nav, pnl, cash = day.nav.row(0, named=True), day.pnl, day.cash
        for currency, amount in day.journal.select("currency", "amount").iter_rows():
            journal[currency or "USD"] += amount
        began = before.equity
        assert nav["equity"] == nav["cash"] + sum(day.positions["value"], Decimal(0)) == day.after.equity
        assert nav["equity"] - began == nav["pnl"] == sum(pnl["total"], Decimal(0))
        for row in pnl.iter_rows(named=True):
            parts = row["holding"] + row["trading"] + row["income"] + row["fees"] + (row["currencies"] or 0)
            assert parts == row["total"], row
            assert (row["currencies"] is None) == (row["sid"] != 0)
        if cash.height:
            assert sum(cash["value"]) == nav["cash"]
            assert sum(cash["gain"]) == pnl.filter(pl.col("sid") == 0)["currencies"][0]
            assert cash.filter(pl.col("currency") == "USD")["gain"][0] == 0
            assert {c: a for c, a in cash.select("currency", "amount").iter_rows() if a} == {
                c: a for c, a in journal.items() if a
            }
        else:
            assert journal == {"USD": nav["cash"]}


@settings(max_examples=120, deadline=None)
@given(st.lists(day_drawn, min_size=1, max_size=len(DAYS)))
def test_a_book_of_anything_is_worth_what_plain_arithmetic_says(drawn: list[Drawn]):
    """No step, no state of ours: everything that was ever filled at today's rates. Rounding is below a cent."""
    days = booked(drawn)
    oracle = Oracle()
    for (_, day), one, session in zip(days, drawn, DAYS, strict=False):
        oracle.day(session, one)
        assert day.after.quantities == {sid: q for sid, q in sorted(oracle.held.items()) if q}
        assert abs(Fraction(day.after.equity) - oracle.equity(one)) < Fraction(1, 100)
        for sid, mark in day.after.marks.items():
            assert mark == oracle.marks[sid]


class Oracle:
    """Cash by currency and marks in fractions; a margined name is a position that was paid for."""

    def __init__(self) -> None:
        self.cash: dict[str, Fraction] = defaultdict(Fraction, USD=Fraction(100_000))
        self.held: dict[int, int] = defaultdict(int)
        self.marks: dict[int, Decimal] = {}
        self.last = CUTS.calendar.before(DAYS[0])

    def day(self, session: date, one: Drawn) -> None:
        """Borrowing and funding of the night, fills, funding of the day, closes, expiries."""
        for sid in (1, 2):
            if self.held[sid] < 0:
                days = (session - self.last).days
                self.pay(sid, self.held[sid] * self.price(sid) * Fraction(7, 100) * days / 360)
        self.last = session
        traded = filled(session, one)
        self.pay(6, -2 * self.held[6] * self.price(6) * Fraction(one.funding))
        for fill in traded:
            self.held[fill.sid] += fill.side * fill.quantity
            self.marks.setdefault(fill.sid, fill.price)
            self.pay(fill.sid, -fill.side * fill.quantity * unit(fill.sid) * Fraction(fill.price) - Fraction(fill.fee))
        self.pay(6, -self.held[6] * self.price(6) * Fraction(one.funding))
        self.marks = {
            sid: Decimal(str(one.closes[sid])) if sid in one.closes else mark for sid, mark in self.marks.items()
        }
        for sid in SIDS:
            if expiry(sid) == session:
                self.pay(sid, self.held.pop(sid, 0) * self.price(sid))
        self.marks = {sid: mark for sid, mark in self.marks.items() if self.held[sid]}

    def pay(self, sid: int, amount: Fraction) -> None:
        """Cash in the currency of a name."""
        self.cash[KNOWN[sid].currency if sid in KNOWN else "USD"] += amount

    def price(self, sid: int) -> Fraction:
        """What one count is worth."""
        return Fraction(self.marks.get(sid, Decimal(0))) * unit(sid)

    def equity(self, one: Drawn) -> Fraction:
        """Everything at the rates of the day."""
        rates = {"USD": Fraction(1), "EUR": Fraction(one.eur), "JPY": Fraction(one.jpy)}
        worth = sum(
            (q * self.price(s) * rates[KNOWN[s].currency if s in KNOWN else "USD"] for s, q in self.held.items()),
            Fraction(0),
        )
        return worth + sum(amount * rates[c] for c, amount in self.cash.items())


def unit(sid: int) -> Fraction:
    """Of one count."""
    return Fraction(KNOWN[sid].step) * Fraction(KNOWN[sid].multiplier) if sid in KNOWN else Fraction(1)
