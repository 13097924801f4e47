import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from quant_assets.instruments import Instrument, plain
from quant_assets.pages import rendering
from quant_assets.post_trade import sections
from quant_assets.post_trade.headline import answers, overall
from quant_assets.post_trade.in_units import in_units
from quant_assets.post_trade.report import range_report, session_report
from quant_assets.records import Book
from quant_assets.tables import DATA_FINDINGS, JOURNAL, VERDICTS
from resources.tables.store import DeltaStore
from tests.post_trade.invented import trade

DAYS = [date(2024, 1, d) for d in (3, 4, 5, 8, 9)]
BREAK = {
    "break_id": "b1",
    "session": "2024-01-08",
    "kind": "cash",
    "subject": "<script>alert(1)</script>",
    "ours": "1",
    "theirs": "2",
}


@pytest.fixture(scope="module")
def traded(tmp_path_factory, cuts) -> tuple[DeltaStore, Book]:
    """A book that traded six names for five sessions."""
    store = DeltaStore(tmp_path_factory.mktemp("traded"))
    book = Book(name="alpha", strategy="s", account="A1", capital=Decimal(100_000), broker="paper", armed=True)
    trade(store, book, cuts, DAYS, 6)
    return store, book


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_session_page_is_self_contained_and_the_same_bytes_again(traded, tmp_path):
    """No external resource is named, and a second run writes the same page."""
    store, book = traded
    pages = [session_report(store, [], book, DAYS[3], folder=tmp_path / n, notice="Simulated market.") for n in "ab"]
    first, second = (text_of(p) for p in pages)
    assert first == second
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", first)
    assert "Monday 8 January 2024" in first
    assert "Simulated market." in first
    assert "2024-01-09 14:15 UTC" in first
    assert "<script" not in first
    assert len(first) < 60_000
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["alpha_2024-01-08.html"]


def test_the_page_shows_what_looks_wrong(cuts, tmp_path):
    """A finding stands on the page with its rule, what it is and what it should be; refused rows are counted in the
    quarantine only.
    """
    store, book = (
        DeltaStore(tmp_path / "tables"),
        Book(name="alpha", strategy="s", account="A1", capital=Decimal(100_000), broker="paper", armed=True),
    )
    trade(store, book, cuts, DAYS[:1], 6)
    blank = {
        "session": DAYS[0],
        "table": "bars",
        "symbol": "SYM1",
        "row": "{}",
        "found": 10_512.0,
        "expected": 105.12,
        "message": "?",
        "known_at": cuts.of(DAYS[0]),
    }
    rows = [blank | {"rule": "unit", "severity": "block"}, blank | {"rule": "CONFLICT", "severity": "refuse"}]
    store.append(DATA_FINDINGS, pl.DataFrame(rows, schema=dict(DATA_FINDINGS.schema)))
    page = text_of(session_report(store, [], book, DAYS[0], folder=tmp_path))
    assert "SYM1 2024-01-03: 10512.0, not 105.12" in page.replace("10,512.0", "10512.0")
    assert page.count(">CONFLICT<") == 1


def test_session_page_shows_the_figures_of_the_store(traded, tmp_path):
    """Equity and P&L on the page are those of the NAV row."""
    store, book = traded
    nav = sections.read(store, book, DAYS[3], DAYS[3]).nav.row(0, named=True)
    page = text_of(session_report(store, [], book, DAYS[3], folder=tmp_path))
    for value in (
        rendering.number(nav["equity"]),
        rendering.number(nav["pnl"], 0, signed=True),
        rendering.number(nav["pnl"], 2, signed=True),
    ):
        assert value in page


def test_an_open_break_makes_the_page_not_fine_and_is_escaped(traded, tmp_path):
    """The verdict is on top, and what a venue wrote cannot become markup."""
    store, book = traded
    page = text_of(session_report(store, [BREAK], book, DAYS[3], folder=tmp_path))
    assert "Not fine" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_a_session_that_is_not_booked_says_so(traded, tmp_path):
    """A page can be made of nothing, and says in words what is missing."""
    store, book = traded
    page = text_of(session_report(store, [], book, date(2024, 1, 10), folder=tmp_path))
    for words in (
        "Not fine",
        "2024-01-10 is not booked",
        "No quality verdict is stored for 2024-01-10",
        "None was made",
        "No order was due",
    ):
        assert words in page


def test_range_report_carries_one_script_and_every_plot(traded, tmp_path):
    """The plots are inline, drawn by one library that the page carries; a second run writes the same bytes."""
    store, book = traded
    session_report(store, [], book, DAYS[1], folder=tmp_path)
    pages = [
        text_of(range_report(store, book, DAYS[0], DAYS[-1], folder=tmp_path, notice="Simulated market."))
        for _ in range(2)
    ]
    page = pages[0]
    assert pages[0] == pages[1]
    for name in ("equity", "exposure", "turnover", "costs", "names", "sectors", "ic"):
        assert f'id="chart-{name}"' in page
    outside = re.sub(r"<script>.*?</script>", "<script></script>", page, flags=re.DOTALL)
    assert outside.count("<script></script>") == outside.count("<script") == 2
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)=""", outside)
    assert '<a href="alpha_2024-01-04.html">2024-01-04</a>' in page
    assert "Newey–West" in page


def test_range_report_of_nothing_is_said_in_words(store, book, tmp_path):
    """An empty range has a page without plots."""
    page = text_of(range_report(store, book, DAYS[0], DAYS[-1], folder=tmp_path))
    assert "No session of this range is booked" in page
    assert "vegaEmbed" not in page


def test_the_verdict_follows_the_worst_answer(traded):
    """Fine, a remark, not fine: by failed rules and breaks; each answer has its words."""
    store, book = traded
    fine = sections.read(store, book, DAYS[3], DAYS[3])
    assert overall(answers(fine, [])).level == "ok"
    assert overall(answers(sections.read(store, book, DAYS[4], DAYS[4]), [])).level == "warn"
    assert overall(answers(fine, [BREAK])).text == "Reconciliation needs somebody now."


def test_what_became_known_after_the_cut_does_not_change_the_page(store, book, cuts, tmp_path):
    """A verdict that is found later leaves a past session's page as it was."""
    trade(store, book, cuts, DAYS[:2], 3)
    before = text_of(session_report(store, [], book, DAYS[0], folder=tmp_path))
    standing = store.read(VERDICTS, as_of=None, first=DAYS[0], last=DAYS[0])
    store.append(
        VERDICTS,
        standing.with_columns(
            content_hash=pl.lit("later"), passed=pl.lit(value=False), known_at=pl.lit(cuts.of(DAYS[1]))
        ),
    )
    assert text_of(session_report(store, [], book, DAYS[0], folder=tmp_path)) == before


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (1234567.891, {"places": 2}, "1,234,567.89"),
        (Decimal("-0.004"), {"places": 2}, "0.00"),
        (-5, {}, "−5"),
        (5, {"signed": True, "unit": " bps"}, "+5 bps"),
        (None, {}, "–"),
        (float("nan"), {}, "–"),
    ],
)
def test_numbers_are_written_as_on_a_desk(value, options, text):
    """Thousands, a true minus, no sign on zero, a dash for what is not known."""
    assert rendering.number(value, **options) == text


def test_what_holding_cost_is_on_the_page(cuts, tmp_path):
    """Borrowing and funding by currency, each with its names; a book without shorts has no such table."""
    store = DeltaStore(tmp_path / "tables")
    book = Book(name="alpha", strategy="s", account="A1", capital=Decimal(100_000), broker="paper", armed=True)
    trade(store, book, cuts, DAYS[:2], 6)
    plain = text_of(session_report(store, [], book, DAYS[1], folder=tmp_path / "plain"))
    assert "What holding brought" not in plain
    known = cuts.of(DAYS[1])
    paid = [
        (1, "borrow", "-3.25", None),
        (2, "borrow", "-1", None),
        (3, "funding", "7.5", "EUR"),
        (3, "trade", "9", None),
    ]
    rows = [
        {
            "session": DAYS[1],
            "book": book.name,
            "sid": sid,
            "kind": kind,
            "reference": f"r{n}",
            "amount": Decimal(amount),
        }
        | {"known_at": known, "currency": currency}
        for n, (sid, kind, amount, currency) in enumerate(paid)
    ]
    store.append(JOURNAL, pl.DataFrame(rows, schema=dict(JOURNAL.schema)))
    facts = sections.read(store, book, DAYS[0], DAYS[1])
    assert [(r["kind"], r["names"], r["amount"], r["currency"]) for r in sections.carried(facts)] == [
        ("borrow", 2, Decimal("-4.25"), "USD"),
        ("funding", 1, Decimal("7.5"), "EUR"),
    ]
    page = text_of(session_report(store, [], book, DAYS[1], folder=tmp_path / "short"))
    assert "What holding brought and cost" in page
    assert "what was borrowed for shorts" in page


COIN = Instrument(sid=1, currency="USDT", step=Decimal("0.00000001"), tick=Decimal("0.0001"), kind="spot")


@pytest.mark.parametrize(
    ("one", "quantity", "mark", "shown"),
    [
        (plain(1, "USD"), 1_200, Decimal("59.531"), ("1,200", "59.53")),
        (plain(1, "GBP"), 1_200, Decimal("59.531"), ("1,200", "59.53 GBP")),
        (plain(1, "GBX"), -3, Decimal("5953.1"), ("−3", "5,953.10 GBX")),
        (plain(1, "USD"), 5, Decimal("0.01234"), ("5", "0.012340")),
        (COIN, 150_000_000, Decimal("3.14159"), ("1.5", "3.1416 USDT")),
        (COIN, 0, None, ("0", "–")),
    ],
)
def test_counts_are_shown_in_units_and_prices_in_their_currency(one, quantity, mark, shown):
    """1e-8 of a coin is no coin, and a mark in pence is not one in the book's dollars."""
    row = in_units({"quantity": quantity, "mark": mark}, one, "USD", ["quantity"], ["mark"])
    assert (row["quantity"], row["mark"]) == shown
