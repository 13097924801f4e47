"""What prices alone can tell of an action, and what a person is asked."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quant_assets.books.actions import apply_actions
from quant_assets.books.holdings import Holdings, mark
from quant_assets.calendars import calendar
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError, DataError
from quant_assets.market_data.confirmations import confirm, read_terms, reject
from quant_assets.market_data.derivation import PROPOSAL
from quant_assets.market_data.evidence import MIN_CONFIDENCE
from quant_assets.market_data.explanations import Pair, explain
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.proposals import SUBJECT, listed, news, tell, unconfirmed
from quant_assets.records import Act
from quant_assets.tables import ACTIONS, PROPOSED_ACTIONS, QUARANTINE
from resources.ledger.open import Ledger, open_ledger
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAYS = [XNYS.shift(date(2016, 3, 7), i) for i in range(5)]


@pytest.mark.parametrize(
    ("before", "adjusted", "right", "sure"),
    [
        (100.0, 49.5, "split 2:1 + dividend 1", True),
        (90.0, 29.8, "split 3:1 + dividend 0.6", True),
        (95.23, 47.62, "split 2:1", True),
        (60.0, 40.0, "split 3:2", True),
        (100.0, 80.0, "split 5:4", True),
        (0.162, 5.67, "split 1:35", True),
        (2.0, 1.904762, "stock_dividend 21:20", True),
        (39.8, 34.608695, "split 23:20", True),
        (63.949997, 60.731242, "spin_off 3.2188", True),
        (33.33, 32.08, "dividend 1.25", True),
        (32.83, 32.698543, "dividend 0.1315", True),
        (100.0, 99.9877, "dividend 0.0123", True),
        (100.0, 40.0, "split 5:2", False),
        (50.0, 20.0, "dividend 30", False),
        (100.0, 8.0, "dividend 92", False),
        (51.549999, 37.049998, "dividend 14.5", False),
        (5.01, 4.77, "stock_dividend 21:20", False),
        (2.0, 17.0, "split 2:17", False),
        (2.0, 3000.0, "split 1:1500", False),
        (2.0, 0.191388, "spin_off 1.8086", False),
    ],
)
def test_what_explains_a_factor_best_and_whether_that_suffices(
    before: float, adjusted: float, right: str, sure: bool
) -> None:
    """The best explanation of two closes (the later one unadjusted), and whether it is as sure as a deployment asks by
    default.
    """
    best = explain(Pair(before, adjusted, adjusted, adjusted))[0]
    assert (str(best), best.confidence >= MIN_CONFIDENCE) == (right, sure)


@pytest.mark.parametrize("closes", [(9.9923, 9.9971), (10.0049, 9.9912), (9.9912, 10.0026), (812.3456, 799.1239)])
def test_rounding_is_no_action(
    capture: Callable[..., Any], captures: Any, tmp_path: Path, closes: tuple[float, float]
) -> None:
    """Raw closes with four decimals beside adjusted ones in cents differ by rounding: nothing is derived, and nobody is
    asked.
    """
    rows = [("AA", d, c, round(c, 2)) for d, c in zip(DAYS, closes, strict=False)]
    store = played(capture, captures, tmp_path, {DAYS[1]: rows})
    assert store.read(ACTIONS, as_of=None).height == store.read(PROPOSED_ACTIONS, as_of=None).height == 0


RATIOS = [(2, 1), (3, 1), (3, 2), (4, 1), (5, 1), (5, 4), (1, 4), (1, 5), (1, 10), (1, 20)]
cents = st.integers(2_000, 50_000).map(lambda c: c / 100)


@given(before=cents, paid=st.integers(2, 15), ratio=st.sampled_from(RATIOS), digits=st.sampled_from([2, 4, 6]))
def test_common_actions_are_found_however_prices_are_printed(
    before: float, paid: int, ratio: tuple[int, int], digits: int
) -> None:
    """A split that people make, and a payment of up to fifteen cents in a hundred dollars at two digits' roundness,
    come out on top at any price and precision.
    """
    new, old = ratio
    split = explain(Pair(before, round(before * old / new, digits)))[0]
    assert split.shares == ratio
    assert split.kind == ""
    amount = paid / 100
    dividend = explain(Pair(before, round(before - amount, digits)))[0]
    assert (dividend.shares, dividend.kind, dividend.paid) == (None, "dividend", amount)


def played(
    capture: Callable[..., Any],
    captures: Any,
    folder: Path,
    held: dict[date, list[tuple[object, ...]]],
    *,
    each: bool = False,
) -> DeltaStore:
    """What captures of rows (symbol, session, close, adjusted close) leave."""
    source = captures({label: capture(label, rows) for label, rows in held.items()})
    store = DeltaStore(folder)
    for labels in [[d] for d in sorted(held)] if each else [sorted(held)]:
        ingest(source, store, None, NOW, labels, XNYS)
    return store


def test_a_split_and_a_payment_of_one_ex_session_are_booked_as_both(
    capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """From 100 to 49.50, adjusted from the whole: 100 shares become 200 and 100 in cash, and nothing is lost or
    made.
    """
    held = {
        DAYS[0]: [("AA", DAYS[0], 100.0)],
        DAYS[1]: [("AA", DAYS[0], 100.0, 49.5), ("AA", DAYS[1], 49.5)],
    }
    store = played(capture, captures, tmp_path, held)
    assert store.read(PROPOSED_ACTIONS, as_of=None).is_empty()
    found = in_force(store.read(ACTIONS, as_of=None), ACTIONS)
    sid, ex = found.select("sid", "session").row(0)
    before = Holdings(session=DAYS[0], cash=Decimal(0), quantities={sid: 100}, marks={sid: Decimal(100)})
    after, _ = apply_actions(before, found, {(sid, ex): 100})
    assert (after.quantities, after.cash) == ({sid: 200}, Decimal("100.00"))
    assert mark(after, ex, {sid: 49.5}).equity == before.equity


UNSURE = {
    DAYS[0]: [("AA", DAYS[0], 100.0)],
    DAYS[1]: [("AA", DAYS[0], 100.0, 40.0), ("AA", DAYS[1], 40.0)],
    DAYS[2]: [("AA", DAYS[1], 40.0), ("AA", DAYS[2], 41.0)],
}


@pytest.fixture
def unsure(capture: Callable[..., Any], captures: Any, tmp_path: Path) -> tuple[DeltaStore, Ledger]:
    """A fall from 100 to 40 that is a split 5:2 or a payment of 60; and a ledger."""
    return played(capture, captures, tmp_path / "tables", UNSURE), open_ledger(tmp_path)


def test_what_is_not_sure_is_proposed_and_not_applied(unsure: tuple[DeltaStore, Ledger]) -> None:
    """Below the confidence there is no action, but a proposal with both explanations, and its name is one not to trade;
    as of the day before, nothing.
    """
    store, _ = unsure
    assert store.read(ACTIONS, as_of=None).is_empty()
    waiting = listed(store.read(PROPOSED_ACTIONS, as_of=None))
    assert waiting.select("session", "symbol", "before", "adjusted", "after", "confidence").rows() == [
        (DAYS[1], "AA", 100.0, 40.0, 40.0, 0.602)
    ]
    assert waiting["explanations"].item() == "split 5:2 (0.602); dividend 60 (0.358)"
    assert unconfirmed(store.read(PROPOSED_ACTIONS, as_of=None)).height == 1
    before = waiting["known_at"].item() - timedelta(microseconds=1)
    assert unconfirmed(store.read(PROPOSED_ACTIONS, as_of=before)).is_empty()


@pytest.mark.parametrize(
    ("terms", "rows"),
    [
        (None, [("split", 5, 2, None)]),
        ("dividend 60", [("dividend", None, None, Decimal(60))]),
        ("split 2:1 + dividend 20.00", [("dividend", None, None, Decimal(20)), ("split", 2, 1, None)]),
    ],
)
def test_a_person_says_what_it_was(
    unsure: tuple[DeltaStore, Ledger], terms: str | None, rows: list[tuple[object, ...]]
) -> None:
    """The first explanation, or other terms, become actions known from then on; the proposal is closed by a later row,
    and the ledger has who and why.
    """
    store, ledger = unsure
    proposal = listed(store.read(PROPOSED_ACTIONS, as_of=None))["id"].item()
    confirm(
        store,
        ledger.knowledge,
        ledger.audit,
        proposal[:6],
        terms=terms,
        act=Act(by="ann", reason="press release", at=NOW),
        now=NOW,
    )
    found = in_force(store.read(ACTIONS, as_of=None), ACTIONS)
    assert found.select("kind", "numerator", "denominator", "cash").rows() == rows
    assert set(found.select("session", "origin", "confidence", "known_at").rows()) == {(DAYS[1], "confirmed", 1.0, NOW)}
    assert unconfirmed(store.read(PROPOSED_ACTIONS, as_of=None)).is_empty()
    assert unconfirmed(store.read(PROPOSED_ACTIONS, as_of=NOW - timedelta(microseconds=1))).height == 1
    with pytest.raises(DataError, match="confirmed by ann"):
        reject(store, ledger.knowledge, ledger.audit, proposal, act=Act(by="bob", reason="no", at=NOW), now=NOW)


def test_a_person_says_that_there_was_none(
    unsure: tuple[DeltaStore, Ledger], capture: Callable[..., Any], captures: Any
) -> None:
    """Rejected, it is closed without an action, and the same evidence again neither asks nor derives."""
    store, ledger = unsure
    reject(
        store,
        ledger.knowledge,
        ledger.audit,
        listed(store.read(PROPOSED_ACTIONS, as_of=None))["id"].item(),
        act=Act(by="ann", reason="error", at=NOW),
        now=NOW,
    )
    later = datetime(2026, 1, 5, tzinfo=UTC)
    again = captures({DAYS[1]: capture(DAYS[1], [*UNSURE[DAYS[1]], ("BB", DAYS[1], 5.0)])})
    ingest(again, store, None, later, [DAYS[1]], XNYS)
    assert store.read(ACTIONS, as_of=None).is_empty()
    assert unconfirmed(store.read(PROPOSED_ACTIONS, as_of=None)).is_empty()
    assert listed(store.read(PROPOSED_ACTIONS, as_of=None), everything=True)["state"].to_list() == ["rejected"]


def test_evidence_does_not_overrule_a_person(
    unsure: tuple[DeltaStore, Ledger], capture: Callable[..., Any], captures: Any
) -> None:
    """What was confirmed stays, whatever a later delivery says of the pair."""
    store, ledger = unsure
    proposal = listed(store.read(PROPOSED_ACTIONS, as_of=None))["id"].item()
    confirm(
        store, ledger.knowledge, ledger.audit, proposal, terms=None, act=Act(by="ann", reason="known", at=NOW), now=NOW
    )
    said = in_force(store.read(ACTIONS, as_of=None), ACTIONS)
    for i, adjusted in enumerate((100.0, 50.0, 40.0)):
        pair = [("AA", DAYS[0], 100.0, adjusted), ("AA", DAYS[1], 40.0)]
        ingest(captures({DAYS[1]: capture(DAYS[1], pair)}), store, None, NOW + timedelta(days=i + 1), [DAYS[1]], XNYS)
    kept = in_force(store.read(ACTIONS, as_of=None), ACTIONS).filter(pl.col("origin") == "confirmed")
    assert_frame_equal(kept, said)


def test_a_later_capture_settles_what_was_announced(capture: Callable[..., Any], captures: Any, tmp_path: Path) -> None:
    """An action that no price shows yet is only proposed; the next capture shows it, or shows that there was none.

    By range and day by day alike.
    """
    shown = {
        DAYS[0]: [("AA", DAYS[0], 10.0, 5.0), ("BB", DAYS[0], 10.0, 9.8)],
        DAYS[1]: [("AA", DAYS[0], 10.0, 5.0), ("AA", DAYS[1], 5.0), ("BB", DAYS[0], 10.0), ("BB", DAYS[1], 10.0)],
    }
    stores = [played(capture, captures, tmp_path / str(each), shown, each=each) for each in (False, True)]
    for table in (ACTIONS, PROPOSED_ACTIONS, QUARANTINE):
        assert_frame_equal(*(s.read(table, as_of=None) for s in stores), check_exact=True)
    assert stores[0].read(ACTIONS, as_of=None).select("session", "kind", "capture").rows() == [
        (DAYS[1], "split", DAYS[1])
    ]
    asked = stores[0].read(PROPOSED_ACTIONS, as_of=None).sort("known_at", "symbol")
    assert asked.select("symbol", "session", "withdrawn").rows() == [
        ("AA", DAYS[1], False),
        ("BB", DAYS[1], False),
        ("AA", DAYS[1], True),
        ("BB", DAYS[1], True),
    ]


@pytest.mark.parametrize(
    "text",
    ["split 2", "split 2:0", "split 3:3", "dividend 5:1", "dividend 0", "dividend 120", "bonus 1:1", "", "split 2.5:1"],
)
def test_terms_that_say_nothing_are_refused(text: str) -> None:
    """What cannot be booked is named with what would be right."""
    with pytest.raises(ConfigurationError):
        read_terms(text, before=100.0)


def test_somebody_is_told(unsure: tuple[DeltaStore, Ledger]) -> None:
    """One notice names what waits and the command; of what was known before nothing is said again."""
    notices: list[tuple[str, str, str]] = []

    class Told:
        def notify(self, severity: str, subject: str, body: str = "") -> None:
            notices.append((severity, subject, body))

    assert tell(unsure[0], Told(), None) == 1
    assert tell(unsure[0], Told(), NOW) == 0
    assert len(notices) == 1
    assert "AA 2016-03-08: split 5:2" in notices[0][2]


def test_what_is_asked_again_is_not_settled_by_the_same_capture() -> None:
    """A proposal with new explanations waits on, though an action was found next door: one row, and nothing is closed
    unseen.
    """
    ex = date(2024, 3, 5)
    told = {c: pl.Series(c, [None], dtype=t) for c, t in PROPOSED_ACTIONS.schema.items()}

    def proposal(explanations: str) -> pl.DataFrame:
        return pl.DataFrame(told).with_columns(
            sid=pl.lit(1, pl.Int64), session=ex, explanations=pl.lit(explanations), withdrawn=pl.lit(value=False)
        )

    standing = proposal("a").with_columns(state=pl.lit("proposed"))
    found = pl.DataFrame(
        {"sid": [1], "session": [date(2024, 3, 6)], "kind": ["dividend"], "withdrawn": [False]},
    )
    written = news(proposal("b").select(PROPOSAL), standing.select(SUBJECT), standing, found)
    assert written.select("explanations", "state", "withdrawn").rows() == [("b", "proposed", False)]
    settled = news(proposal("a").select(PROPOSAL).clear(), standing.select(SUBJECT), standing, found)
    assert settled["withdrawn"].to_list() == [True]
