"""The security master: terms and identifiers as known at a cut, and what is refused."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.calendars import calendar
from quant_assets.errors import InstrumentUnknown
from quant_assets.identifiers import is_figi, is_isin
from quant_assets.instruments import plain
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.master import find, instruments, listed
from quant_assets.records import Capture, content_id
from quant_assets.rolls import Roll
from quant_assets.strategy import UniverseRule
from quant_assets.tables import LISTINGS, QUARANTINE
from quant_assets.vendor_tables import IDENTIFIERS, INSTRUMENTS, SECURITIES
from resources.sources.open import declared
from resources.sources.tabular import Feed, Tabular
from resources.tables.store import DeltaStore

DAY = date(2024, 3, 4)
CUT = datetime(2024, 3, 20, 13, tzinfo=UTC)
BLANK: dict[str, Any] = {"prices": pl.DataFrame(), "listings": None, "actions": None, "malformed": pl.DataFrame()}
BTC = ("24/7", "BTCUSDT", "spot", "USDT", "0.01", "0.00000001", None, "5", None, None, None)
ESM4 = ("CMES", "ESM4", "future", "USD", "0.25", "1", "50", None, "ES", "2024-06-21", None)


class Deliveries:
    """A source of these captures."""

    def __init__(self, *captures: Capture) -> None:
        self.captures = {c.label: c for c in captures}
        self.name = captures[0].source

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """The labels held."""
        return sorted(d for d in self.captures if (first is None or d >= first) and (last is None or d <= last))

    def fingerprints(self, labels: Sequence[date]) -> dict[date, str | None]:
        """By content."""
        return {d: self.captures[d].sha256 for d in labels if d in self.captures}

    def fetch(self, label: date) -> Capture:
        """The capture held."""
        return self.captures[label]


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """Lists sid 1 BTCUSDT, 2 ESM4, 3 BRK.B and 4 AAPL from 1 March on."""
    made = DeltaStore(tmp_path)
    known = datetime(2024, 3, 2, tzinfo=UTC)
    rows = [
        (date(2024, 3, 1), sid, name, name, None, True, date(2024, 3, 1), known, None)
        for sid, name in enumerate(("BTCUSDT", "ESM4", "BRK.B", "AAPL"), 1)
    ]
    made.append(LISTINGS, pl.DataFrame(rows, schema=dict(LISTINGS.schema), orient="row"))
    return made


def deliver(store: DeltaStore, dataset: str, *rows: tuple[object, ...], label: date = DAY, begins: date = DAY) -> None:
    """Ingest rows of a dataset: its columns without the session, as text."""
    columns = {
        "instruments": list(INSTRUMENTS.schema)[1:14],
        "identifiers": ["calendar", "scheme", "symbol", "identifier"],
        "securities": ["symbol", "venue", "name", "kind", "currency", "isin", "figi", "status"],
    }[dataset]
    whole = [(*row, *[None] * (len(columns) - len(row))) for row in rows]
    frame = pl.DataFrame(whole, schema=dict.fromkeys(columns, pl.String), orient="row").with_row_index("line", offset=2)
    frame = frame.with_columns(pl.col("line").cast(pl.Int64), session=pl.lit(begins), file=pl.lit(f"{label}.csv"))
    capture = Capture(
        source=f"{dataset} feed",
        label=label,
        location="memory",
        sha256=content_id(str(label), frame.rows()),
        known_at=datetime(label.year, label.month, label.day, 22, tzinfo=UTC),
        assumed=False,
        dataset=dataset,
        others={dataset: frame},
        **BLANK,
    )
    ingest(Deliveries(capture), store, None, datetime(2024, 6, 1, tzinfo=UTC), [label], calendar("XNYS"))


def test_without_a_master_a_share_is_a_share(store: DeltaStore) -> None:
    """Nothing stored: every sid is plain, in the currency asked for."""
    assert instruments(store, [1, 9], CUT, "USD") == {1: plain(1, "USD"), 9: plain(9, "USD")}


def test_terms_are_exact_and_those_of_the_sid(store: DeltaStore) -> None:
    """A coin's step has all its digits; what is not given is what plain shares have."""
    deliver(store, "instruments", BTC, ESM4)
    found = instruments(store, [1, 2, 4], CUT, "USD")
    assert (found[1].step, found[1].tick, found[1].multiplier) == (Decimal("0.00000001"), Decimal("0.01"), Decimal(1))
    assert (found[1].currency, found[1].min_notional, str(found[1].min_notional)) == ("USDT", Decimal(5), "5")
    assert found[2].unit == Decimal(50)
    assert (found[2].underlying, found[2].expiry, found[2].margined) == ("ES", date(2024, 6, 21), True)
    assert found[4] == plain(4, "USD")


@pytest.mark.parametrize(
    ("given", "asked"), [(("0.1",), 25_000), ((None, "12500.5"), Decimal("12500.5")), ((), 250_000), (("0",), 0)]
)
def test_the_margin_of_a_count(store: DeltaStore, given: tuple[str | None, ...], asked: Decimal) -> None:
    """A fraction of its worth, or an amount for each whole unit; where nothing is known, all of what is margined and
    nothing of what is paid for.
    """
    deliver(store, "instruments", (*ESM4, *given))
    known = instruments(store, [2, 4], CUT, "USD")
    assert [known[sid].margin(Decimal(5000)) for sid in (2, 4)] == [asked, 0]


@pytest.mark.parametrize("quoted", ["GBX", "GBp"])
def test_what_is_quoted_in_pence_is_paid_in_pounds(store: DeltaStore, quoted: str) -> None:
    """All amounts of money in the row are in pence, ticks and prices stay so."""
    share = ("XLON", "AAPL", "equity", quoted, "0.5", "100", None, "250", None, None, None, None, "40")
    deliver(store, "instruments", share)
    one = instruments(store, [4], CUT, "USD")[4]
    assert (one.currency, one.multiplier, one.tick) == ("GBP", Decimal("0.01"), Decimal("0.5"))
    assert (one.min_notional, one.contract_margin) == (Decimal("2.5"), Decimal("0.4"))
    assert one.worth(3, Decimal("252.5")) == Decimal("757.5")
    assert plain(9, quoted).worth(100, Decimal(250)) == 250


def test_terms_are_those_of_the_day_as_known_at_the_cut(store: DeltaStore) -> None:
    """A step announced for a later day holds from that day on; one corrected later is read from then on."""
    deliver(store, "instruments", BTC)
    smaller = (*BTC[:5], "0.001", *BTC[6:])
    deliver(store, "instruments", smaller, label=DAY + timedelta(days=1), begins=date(2024, 4, 1))

    def step(cut: datetime) -> Decimal:
        return instruments(store, [1], cut, "USD")[1].step

    assert [step(CUT), step(datetime(2024, 4, 2, tzinfo=UTC))] == [Decimal("0.00000001"), Decimal("0.001")]
    assert instruments(store, [1], datetime(2024, 3, 3, tzinfo=UTC), "USD")[1] == plain(1, "USD")
    deliver(store, "instruments", (*BTC[:5], "0.0001", *BTC[6:]), label=date(2024, 3, 25))
    assert [step(CUT), step(datetime(2024, 3, 26, tzinfo=UTC))] == [Decimal("0.00000001"), Decimal("0.0001")]


def test_terms_from_before_the_listing_are_of_the_first_that_was_listed(store: DeltaStore) -> None:
    """A vendor's master begins long before our first bar."""
    deliver(store, "instruments", ESM4, begins=date(2022, 6, 1))
    assert instruments(store, [2], CUT, "USD")[2].multiplier == Decimal(50)


REFUSED = {
    "kind": (*BTC[:2], "coin", *BTC[3:]),
    "currency": (*BTC[:3], "GBY", *BTC[4:]),
    "calendar": ("XXXX", *BTC[1:]),
    "tick": (*BTC[:4], "-0.01", *BTC[5:]),
    "step": (*BTC[:5], "0", *BTC[6:]),
    "step is no number": (*BTC[:5], "one", *BTC[6:]),
    "multiplier": (*BTC[:6], "0", *BTC[7:]),
    "min_notional": (*BTC[:7], "-5", *BTC[8:]),
    "margin": (*ESM4, "0.1", "12000"),
    "margin below zero": (*ESM4, "-0.1"),
    "future": (*ESM4[:8], None, *ESM4[9:]),
    "expired": (*ESM4[:9], "2024-03-01", None),
    "first_notice": (*ESM4[:10], "2024-06-22"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_terms_that_cannot_be_are_refused(store: DeltaStore, why: str) -> None:
    """A wrong row is quarantined with the rule that it breaks, the good one beside it goes on."""
    deliver(store, "instruments", REFUSED[why], (*BTC[:1], "ETHUSDT", *BTC[2:]))
    assert store.read(QUARANTINE, as_of=None)["reason"].to_list() == [why.removesuffix(" below zero")]
    assert store.read(INSTRUMENTS, as_of=None)["symbol"].to_list() == ["ETHUSDT"]


def test_an_instrument_is_found_by_every_name_it_has(store: DeltaStore) -> None:
    """By our symbol, FIGI, ISIN, conId, its venue's symbol and a vendor's ticker in its dialect."""
    deliver(store, "instruments", ESM4)
    deliver(
        store,
        "identifiers",
        ("XNYS", "conid", "AAPL", "265598"),
        ("XNYS", "figi", "AAPL", "BBG000B9XRY4"),
        ("CMES", "exchange", "ESM4", "ESM24"),
        ("XNYS", "yahoo", "BRK.B", "BRK-B"),
    )
    deliver(store, "securities", ("AAPL", "XNAS", "Apple", "stock", "USD", "US0378331005", None, "listed"))
    asked = {
        ("symbol", "brk/b"): 3,
        ("conid", "265598"): 4,
        ("figi", "BBG000B9XRY4"): 4,
        ("isin", "US0378331005"): 4,
        ("exchange", "ESM24"): 2,
        ("yahoo", "BRK-B"): 3,
    }
    assert {key: find(store, CUT, *key, "USD").sid for key in asked} == asked
    assert find(store, CUT, "exchange", "ESM24", "USD").ids == {"exchange": "ESM24"}
    assert [one.symbol for one in listed(store, CUT)] == ["ESM4"]


UNKNOWN = {
    ("figi", "BBG000B9XRY5"): "check digit is wrong",
    ("isin", "US0378331006"): "check digit is wrong",
    ("conid", "0"): "is no CONID",
    ("symbol", "AAPLE"): "near are AAPL",
    ("bloomberg", "AAPL US"): "nothing is known in the scheme 'bloomberg'",
    ("reuters", "BRKb"): r"means 2 instruments: BRK.B \(sid 3\), AAPL \(sid 4\)",
    ("reuters", "MSFT.O"): "is MSFT, which is not listed here",
}


@pytest.mark.parametrize("asked", UNKNOWN)
def test_what_is_unknown_or_ambiguous_is_refused(store: DeltaStore, asked: tuple[str, str]) -> None:
    """The message has those that may be meant."""
    deliver(
        store,
        "identifiers",
        ("XNYS", "reuters", "BRK.B", "BRKb"),
        ("XNYS", "reuters", "AAPL", "BRKb"),
        ("XNYS", "reuters", "MSFT", "MSFT.O"),
    )
    with pytest.raises(InstrumentUnknown, match=UNKNOWN[asked]):
        find(store, CUT, *asked, "USD")


def test_an_identifier_with_a_wrong_check_digit_is_not_stored(store: DeltaStore) -> None:
    """Of those that have one; any other is stored as it is written."""
    deliver(store, "identifiers", ("XNYS", "isin", "AAPL", "US0378331006"), ("XNYS", "yahoo", "AAPL", "US0378331006"))
    assert store.read(QUARANTINE, as_of=None)["reason"].to_list() == ["check_digit"]
    assert store.read(IDENTIFIERS, as_of=None)["scheme"].to_list() == ["yahoo"]


@given(st.sampled_from(["US0378331005", "GB0002634946", "DE000BAY0017", "AU0000XVGZA3"]), st.integers(0, 11), st.data())
def test_one_wrong_digit_is_seen(isin: str, place: int, data: st.DataObject) -> None:
    """An ISIN with one digit changed is none."""
    wrong = data.draw(st.sampled_from([d for d in "0123456789" if d != isin[place]]))
    changed = isin[:place] + wrong + isin[place + 1 :]
    assert is_isin(isin)
    assert not is_isin(changed) or not isin[place].isdigit()


def test_published_figis_are_figis() -> None:
    """Apple, IBM, Microsoft, and Apple's with another check digit."""
    codes = ["BBG000B9XRY4", "BBG000BLNNH6", "BBG000BPH459", "BBG000B9XRY5"]
    assert [is_figi(code) for code in codes] == [True, True, True, False]


def test_an_isin_that_cannot_be_one_is_never_asked_for(store: DeltaStore) -> None:
    """One of `securities` with a wrong check digit is stored, and no ISIN that can be asked for means it."""
    deliver(store, "securities", ("AAPL", "XNAS", "Apple", "stock", "USD", "US0378331006", None, "listed"))
    assert store.read(SECURITIES, as_of=None).height == 1
    with pytest.raises(InstrumentUnknown, match=r"no instrument is 'US0378331005'.*near are US0378331006"):
        find(store, CUT, "isin", "US0378331005", "USD")


def test_the_page_declares_what_can_be_declared() -> None:
    """The feeds and the universe of docs/instruments.md are read as they are there, with a time that is a rule."""
    page = (Path(__file__).parents[2] / "docs" / "instruments.md").read_text()
    blocks = [b for b in page.split("\n\n") if b.startswith("    ")]
    feeds = yaml.safe_load(textwrap.dedent(next(b for b in blocks if "feeds:" in b)))["feeds"]
    opened = [Tabular(one) for one in map(declared, feeds) if isinstance(one, Feed)]
    assert [one.dataset.name for one in opened] == ["instruments", "identifiers"]
    rule = yaml.safe_load(textwrap.dedent(next(b for b in blocks if "universe:" in b)))["universe"]
    assert msgspec.convert(rule, UniverseRule).roll == Roll("volume", 5)
