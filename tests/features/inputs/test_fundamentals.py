"""What filings had said by each cut: late ones, amended ones, restated ones, and what a split makes of them."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from quant_assets.features.inputs.fundamentals import COLUMNS, fundamentals
from tests.features.small_history import CUTS, DAYS, NAME, filing, history, known, listing, member

FY14, FY15, Q1 = date(2015, 1, 31), date(2016, 1, 31), date(2016, 3, 31)
YEAR = {"net_income": 400.0, "eps_diluted": 4.0, "equity": 2000.0, "assets": 5000.0, "cash_flow_op": 650.0}
FEBRUARY = CUTS.of(date(2016, 2, 19))


def read(
    path: Path, rows: list[list[dict[str, object]]], **more: list[dict[str, object]]
) -> dict[date, Mapping[str, float | None]]:
    """What is known of member 1 in each of the first eight sessions; a range being its days."""
    store = history(path, **{"universe": [member(1)], "filings": [r for report in rows for r in report], **more})
    ranged = fundamentals(store, CUTS, NAME, DAYS[:8])
    assert ranged.equals(pl.concat([fundamentals(store, CUTS, NAME, [s]) for s in DAYS[:8]]))
    return {row["session"]: row for row in ranged.filter(sid=1).iter_rows(named=True)}


def test_a_year_by_hand(tmp_path: Path) -> None:
    """Shares are income by EPS; book, leverage and accruals follow from the same report."""
    found = read(tmp_path, [filing("S1", FY15, FEBRUARY, YEAR)])[DAYS[0]]
    assert [found[c] for c in COLUMNS] == pytest.approx([100.0, 2000.0, 400.0, 0.6, (400 - 650) / 5000])


def test_a_filing_counts_from_the_first_cut_that_knew_it(tmp_path: Path) -> None:
    """Not from its period's end; an amendment and a restatement of an older year likewise, and the older year does not
    come back with it.
    """
    amended = {"net_income": 300.0, "equity": 1500.0}
    rows = [
        filing("S1", FY14, FEBRUARY, {**YEAR, "equity": 1000.0}),
        filing("S1", FY15, known(DAYS[2]), YEAR),
        filing("S1", FY15, known(DAYS[4]), amended, form="10-K/A", amended=True),
        filing("S1", FY14, known(DAYS[6]), {"equity": 900.0}),
    ]
    found = read(tmp_path, rows)
    assert [found[s]["book"] for s in DAYS[:8]] == [1000.0] * 2 + [2000.0] * 2 + [1500.0] * 4
    assert [found[s]["earnings"] for s in DAYS[:8]] == [400.0] * 4 + [300.0] * 4
    assert [found[s]["shares"] for s in DAYS[:8]] == pytest.approx([100.0] * 4 + [75.0] * 4)


def test_a_withdrawn_filing_leaves_the_one_before(tmp_path: Path) -> None:
    """What is taken back counts no more from the cut that knew it."""
    rows = [
        filing("S1", FY14, FEBRUARY, YEAR),
        filing("S1", FY15, FEBRUARY, {"equity": 1.0}),
        filing("S1", FY15, known(DAYS[3]), {"equity": 1.0}, withdrawn=True),
    ]
    assert [r["book"] for r in read(tmp_path, rows).values()] == [1.0] * 3 + [2000.0] * 5


def quarter(end: date, at: datetime, period: str, income: float) -> list[dict[str, object]]:
    """A quarterly report of an income."""
    return filing("S1", end, at, {"net_income": income}, period=period)


def test_trailing_earnings_where_all_quarters_are_there(tmp_path: Path) -> None:
    """The year, plus the quarters since, minus the same ones a year before; the year alone while one of them is
    missing.
    """
    rows = [
        filing("S1", date(2015, 9, 30), FEBRUARY, YEAR),
        quarter(date(2013, 12, 31), FEBRUARY, "Q1", 70.0), quarter(date(2015, 12, 31), known(DAYS[1]), "Q1", 120.0),
        quarter(date(2014, 12, 31), known(DAYS[2]), "Q1", 90.0),
        quarter(Q1, known(DAYS[4]), "Q2", 150.0), quarter(date(2015, 3, 31), known(DAYS[6]), "Q2", 80.0),
        quarter(DAYS[7], known(DAYS[0]), "Q3", 1e9),  # a report on a period that is not over is none
    ]  # fmt: skip
    assert [r["earnings"] for r in read(tmp_path, rows).values()] == pytest.approx(
        [400.0] * 2 + [430.0] * 2 + [400.0] * 2 + [500.0] * 2
    )


def test_shares_are_those_of_the_session(tmp_path: Path) -> None:
    """A split after the filing, as known at the cut, multiplies them; one that the filing knew, or that lies ahead,
    does not.
    """
    split = {"sid": 1, "kind": "split", "numerator": 2, "denominator": 1, "origin": "declared", "confidence": 1.0}
    actions = [
        {**split, "session": date(2016, 1, 5), "numerator": 7},
        {**split, "session": DAYS[2], "known_at": known(DAYS[3])},
        {**split, "session": DAYS[5], "numerator": 3, "known_at": known(DAYS[0])},
        {**split, "session": DAYS[5], "numerator": 3, "known_at": known(DAYS[6]), "withdrawn": True},
        {**split, "session": DAYS[1], "kind": "dividend", "numerator": None, "denominator": None, "cash": Decimal(1)},
    ]  # fmt: skip
    older = filing("S2", FY14, CUTS.of(date(2015, 4, 1)), YEAR)  # for this one, earlier splits are read
    found = read(
        tmp_path, [filing("S1", FY15, FEBRUARY, YEAR), older], actions=actions, universe=[member(1), member(2)]
    )
    assert [r["shares"] for r in found.values()] == pytest.approx([100.0] * 3 + [200.0] * 2 + [600.0] + [200.0] * 2)


def test_what_is_old_or_small_says_nothing(tmp_path: Path) -> None:
    """No value of a period that ended over 450 days before; no number of shares from an EPS of cents or of another
    sign, but from the report before.
    """
    end = DAYS[4] - timedelta(days=450)
    found = read(tmp_path, [filing("S1", end, FEBRUARY, YEAR)])
    assert [r["book"] for r in found.values()] == [2000.0] * 5 + [None] * 3
    odd = [
        filing("S1", Q1, known(DAYS[n]), {"net_income": 5.0, "eps_diluted": eps}, period="Q1")
        for n, eps in ((1, 0.04), (2, -4.0))
    ]
    found = read(tmp_path / "odd", [filing("S1", FY15, FEBRUARY, YEAR), *odd])
    assert [r["shares"] for r in found.values()] == [100.0] * 8


def test_whose_a_filing_is_its_symbol_tells_by_the_day_of_filing(tmp_path: Path) -> None:
    """It stays with the company that changed its symbol, is not that of the next one under it, and follows a listing
    corrected later from then on; any spelling.
    """
    listings = [
        listing(1, "AB.C"), listing(1, "NEW", session=date(2016, 3, 1)), listing(2, "AB.C", session=date(2016, 3, 10)),
        listing(3, "LATE", at=known(DAYS[3])),
    ]  # fmt: skip
    rows = [
        filing("AB-C", FY15, FEBRUARY, YEAR),
        filing("AB-C", Q1, known(DAYS[1]), {"equity": 7.0}, period="Q1"),
        filing("LATE", FY15, FEBRUARY, {"equity": 3.0}),
    ]
    store = history(
        tmp_path,
        universe=[member(sid) for sid in (1, 2, 3)],
        filings=[r for report in rows for r in report],
        listings=listings,
    )
    ranged = fundamentals(store, CUTS, NAME, DAYS[:5])
    assert ranged.equals(pl.concat([fundamentals(store, CUTS, NAME, [s]) for s in DAYS[:5]]))
    book = {sid: ranged.filter(sid=sid).sort("session")["book"].to_list() for sid in (1, 2, 3)}
    assert book == {1: [2000.0] * 5, 2: [None] + [7.0] * 4, 3: [None] * 3 + [3.0] * 2}


def test_without_filings_every_member_has_nulls(tmp_path: Path) -> None:
    """A market without filings has the members, and nothing said of them."""
    found = fundamentals(history(tmp_path, universe=[member(1), member(2)]), CUTS, NAME, DAYS[:3])
    assert found.height == 6
    assert found.select(COLUMNS).null_count().row(0) == (6,) * len(COLUMNS)
