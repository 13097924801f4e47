"""Books of one account lend to each other: together they pay what the account does."""

from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from quant_assets.books.accruals import Borrow, Valuation, borrowed
from quant_assets.books.holdings import Holdings

BEFORE, TODAY = date(2024, 1, 9), date(2024, 1, 10)
LENT = {1: Borrow(Decimal("0.36"), BEFORE)}


def held(quantity: int, mark: Decimal = Decimal(10)) -> Holdings:
    """A book with one name."""
    return Holdings(session=BEFORE, cash=Decimal(0), quantities={1: quantity} if quantity else {}, marks={1: mark})


def paid(quantities: dict[str, int], book: str, mark: Decimal = Decimal(10)) -> Decimal:
    """What borrowing costs a book of an account (below zero), or brings."""
    by = Valuation(lent=LENT, book=book, account={name: {1: q} for name, q in quantities.items() if q})
    return sum((m.amount for m in borrowed(held(quantities[book], mark), by, TODAY)), Decimal(0))


def test_a_short_pays_whoever_lends_it():
    """A short of 100 at 10 costs 1 a day: to the venue, to the other book, or to each its part."""
    assert paid({"a": -100}, "a") == -1
    assert (paid({"a": -100, "b": 100}, "a"), paid({"a": -100, "b": 100}, "b")) == (-1, 1)
    some = {"a": -100, "b": 30, "c": 10}
    assert [paid(some, name) for name in some] == [-1, Decimal("0.3"), Decimal("0.1")]
    assert (paid({"a": -100, "b": -50}, "a"), paid({"a": -100, "b": -50}, "b")) == (-1, Decimal("-0.5"))
    assert paid({"a": 100, "b": 0}, "a") == 0


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(-(10**7), 10**7), min_size=1), st.integers(1, 10**9))
def test_together_they_pay_what_the_account_pays(quantities: dict[str, int], micros: int):
    mark, net = Decimal(micros).scaleb(-6), sum(quantities.values())
    account = sum((m.amount for m in borrowed(held(net, mark), Valuation(lent=LENT), TODAY)), Decimal(0))
    assert sum(paid(quantities, name, mark) for name in quantities) == account
