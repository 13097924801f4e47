"""Rates between currencies as known at a cut: what is used, and what is refused."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from quant_assets.books.fx import fx_rates, rates_at
from quant_assets.errors import RateUnknown
from quant_assets.vendor_tables import FX_RATES
from resources.tables.store import DeltaStore

CUT = datetime(2024, 3, 12, 13, tzinfo=UTC)
Quote = tuple[str, str, date, float]


def quoted(*quotes: Quote, known: datetime | None = None, withdrawn: bool = False) -> pl.DataFrame:
    """FX_RATES rows, each known at 16:00 of its session."""
    rows = [
        {
            "session": session, "base": base, "quote": quote, "rate": rate, "withdrawn": withdrawn, "source": "hand",
            "capture": session, "file": "fx.csv", "line": 1,
            "known_at": (at := known or datetime(session.year, session.month, session.day, 16, tzinfo=UTC)),
            "declared_known_at": at,
        }
        for base, quote, session, rate in quotes
    ]  # fmt: skip
    return FX_RATES.conform(pl.DataFrame(rows, schema=dict(FX_RATES.schema)))


MON, FRI, OLD = date(2024, 3, 11), date(2024, 3, 8), date(2024, 3, 1)
CASES: dict[str, tuple[list[Quote], str, str, str]] = {
    "as quoted": ([("EUR", "USD", MON, 1.0931)], "EUR", "USD", "1.0931"),
    "the newest": ([("EUR", "USD", FRI, 1.09), ("EUR", "USD", MON, 1.0931)], "EUR", "USD", "1.0931"),
    "turned round": ([("USD", "JPY", MON, 160.0)], "JPY", "USD", "0.00625"),
    "turned round where that is newer": ([("EUR", "USD", FRI, 1.09), ("USD", "EUR", MON, 0.8)], "EUR", "USD", "1.25"),
    "as quoted where both are as new": ([("EUR", "USD", MON, 1.09), ("USD", "EUR", MON, 0.8)], "EUR", "USD", "1.09"),
    "through a third": ([("EUR", "USD", MON, 1.2), ("EUR", "GBP", MON, 0.8)], "GBP", "USD", "1.5"),
    "through USD first": (
        [("CHF", "USD", MON, 2.0), ("USD", "SEK", MON, 10.0), ("CHF", "AUD", MON, 3.0), ("AUD", "SEK", MON, 7.0)],
        "CHF", "SEK", "20",
    ),
    "through the newer": (
        [("CHF", "USD", FRI, 2.0), ("USD", "SEK", MON, 10.0), ("CHF", "AUD", MON, 3.0), ("AUD", "SEK", MON, 7.0)],
        "CHF", "SEK", "21",
    ),
    "a stale one has a way round": (
        [("GBP", "USD", OLD, 9.0), ("GBP", "EUR", MON, 1.25), ("EUR", "USD", MON, 1.2)], "GBP", "USD", "1.5",
    ),
    "itself": ([], "USD", "USD", "1"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_rate_is_the_one_that_the_quotations_give(case: str):
    quotes, currency, base, rate = CASES[case]
    assert rates_at(quoted(*quotes), [currency], base, CUT) == {base: Decimal(1), currency: Decimal(rate)}


REFUSED: dict[str, tuple[list[Quote], str]] = {
    "none": ([], "no feed brought one"),
    "stale": ([("EUR", "USD", OLD, 1.08)], "the last is of 2024-03-01"),
    "known after the cut": ([("EUR", "USD", date(2024, 3, 12), 1.1)], "no feed brought one"),
    "half of a way": ([("EUR", "GBP", MON, 0.8)], "no feed brought one"),
    "one half of the way is stale": ([("EUR", "GBP", OLD, 0.8), ("GBP", "USD", MON, 1.2)], "the last is of 2024-03-01"),
    "no number": ([("EUR", "USD", MON, float("nan")), ("USD", "EUR", MON, 0.0)], "no feed brought one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_rate_that_is_missing_or_stale_is_refused(case: str):
    quotes, why = REFUSED[case]
    with pytest.raises(RateUnknown, match=f"no rate of EUR in USD is known at 2024-03-12 13:00 UTC.*{why}"):
        rates_at(quoted(*quotes), ["EUR"], "USD", CUT)


def test_a_rate_is_the_one_that_was_known(tmp_path: Path):
    store = DeltaStore(tmp_path)
    assert fx_rates(store, ["USD"], "USD", CUT) == {"USD": 1}
    store.append(FX_RATES, quoted(("EUR", "USD", MON, 1.1)))
    store.append(FX_RATES, quoted(("EUR", "USD", MON, 1.2), known=CUT + timedelta(hours=1)))
    store.append(FX_RATES, quoted(("EUR", "USD", MON, 1.2), known=CUT + timedelta(hours=3), withdrawn=True))
    at = [fx_rates(store, {"EUR"}, "USD", CUT + timedelta(hours=h))["EUR"] for h in (0, 2)]
    assert at == [Decimal("1.1"), Decimal("1.2")]
    with pytest.raises(RateUnknown):
        fx_rates(store, ["EUR"], "USD", CUT + timedelta(hours=3))
