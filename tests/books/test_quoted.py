"""Prices in pence, or in another currency than the book: what is held, paid and gained is the money itself."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from quant_assets.tables import CASH, COSTS, FILLS, JOURNAL, NAV, PNL, POSITIONS
from quant_assets.vendor_tables import FX_RATES
from tests.books.hand_made import S, bar, traded
from tests.execution.small_market import PAPER, action
from tests.execution.test_lending import stored

BARS = [bar(day, 1, 250.0 + 5 * n, 252.0 + 5 * n) for n, day in enumerate(S[:4])]
PAID = action(1, S[3], "dividend", cash=Decimal("12.5"))  # in pence, as the prices are
RATES = stored(FX_RATES, [{"session": d, "base": "GBP", "quote": "USD", "rate": 1.25} for d in S[:4]])


@pytest.mark.parametrize(("currency", "rate"), [("GBP", Decimal(1)), ("USD", Decimal("1.25"))])
def test_pence(tmp_path: Path, currency: str, rate: Decimal) -> None:
    """A thousand shares at some 260p cost some 2,600 pounds and pay 125 pounds, in a book in pounds or in dollars."""
    book = structs.replace(PAPER, currency=currency, quoted="GBX")
    weight = float(Decimal("1000.5") * Decimal("2.57") * rate / 100_000)  # by the close of the session that decides
    wanted: dict[date, Mapping[int, float]] = {S[0]: {}, S[1]: {1: weight}, S[2]: {1: weight * 262 / 257}, S[3]: {}}
    live = traded(tmp_path, BARS, (PAID,), wanted, Decimal(100_000), beside=[RATES], book=book)

    def rows(table, session: date = S[2]) -> list[dict[str, object]]:
        return live.read(table).filter(session=session).to_dicts()

    (fill,), (position,), (nav,) = (rows(t) for t in (FILLS, POSITIONS, NAV))
    (trade,) = (row for row in rows(JOURNAL) if row["kind"] == "trade")
    assert (position["quantity"], position["mark"], position["value"]) == (1000, 262, 2620 * rate)
    assert trade["amount"] == -10 * fill["price"]
    assert trade["currency"] == (None if currency == "GBP" else "GBP")
    assert nav["traded"] == -trade["amount"] * rate
    cash = {row["currency"]: row["amount"] for row in rows(CASH)}
    assert cash == ({} if currency == "GBP" else {"GBP": trade["amount"] - fill["fee"], "USD": Decimal(100_000)})
    (cost,) = rows(COSTS)
    assert cost["decided_value"] == 2570 * rate
    assert cost["delay"] == 10 * (fill["arrival_price"] - 257) * rate
    assert cost["fees"] == fill["fee"] * rate == nav["fees"]
    paid = [(row["amount"], row["currency"]) for row in rows(JOURNAL, S[3]) if row["kind"] == "dividend"]
    assert paid == [(Decimal(125), trade["currency"])]
    (gain,) = (row for row in rows(PNL, S[3]) if row["sid"] == 1)
    assert gain["income"] == 125 * rate
