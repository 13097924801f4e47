"""The traps of the real panel, each on a slice of it."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force
from quant_assets.market_data import quality
from quant_assets.market_data.ingest import ingest
from quant_assets.tables import ACTIONS, BARS, LISTINGS, PROPOSED_ACTIONS, QUARANTINE, VERDICTS
from resources.sources.vendor_drops import VendorDrops
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
Panel = Callable[..., Any]


def load(folder: Path, source: Any) -> DeltaStore:
    store = DeltaStore(folder)
    ingest(source, store, None, NOW, source.labels(), XNYS)
    return store


@pytest.fixture(scope="module")
def april(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """The captures around the drop in which every row stands three times."""
    return load(tmp_path_factory.mktemp("april"), panel(date(2015, 4, 1), date(2015, 4, 10)))


def test_tripled_rows_collapse(april: DeltaStore) -> None:
    """Of the 2015-04-06 capture one bar per name remains."""
    bars = april.read(BARS, as_of=None, first=date(2015, 4, 6), last=date(2015, 4, 6)).filter(
        pl.col("capture") == date(2015, 4, 6)
    )
    assert bars.height == bars["sid"].n_unique() > 2400


def test_conflicting_bars_are_quarantined(april: DeltaStore) -> None:
    """All rows of the three bars of which two things are said stand in quarantine, with file, line and content; seven
    more differ in the adjusted close alone, and two copies of three decide it.
    """
    conflicts = april.read(QUARANTINE, as_of=None).filter(pl.col("reason") == "CONFLICT")
    keys = conflicts.select("symbol", pl.col("content").str.split(",").list.get(1)).unique()
    assert sorted(keys["symbol"].to_list()) == ["GPS", "ON", "ON"]
    assert conflicts.height == 9
    assert conflicts["capture"].unique().to_list() == [date(2015, 4, 6)]
    sid = april.read(BARS, as_of=None).filter(pl.col("symbol") == "AEO")["sid"][0]
    assert april.read(ACTIONS, as_of=None, where={"sid": sid}).select("session", "kind", "cash").rows() == [
        (date(2015, 4, 6), "dividend", Decimal("0.12"))
    ]


def test_starbucks_splits(april: DeltaStore) -> None:
    """SBUX 2:1 ex 2015-04-09 is found through a factor of 0.500053, and known the next morning."""
    sid = april.read(BARS, as_of=None).filter(pl.col("symbol") == "SBUX")["sid"][0]
    split = april.read(ACTIONS, as_of=CUTS.of(date(2015, 4, 9)), where={"sid": sid}).row(0, named=True)
    assert (split["session"], split["kind"], split["numerator"], split["denominator"]) == (
        date(2015, 4, 9),
        "split",
        2,
        1,
    )
    assert (split["capture"], split["line"], split["withdrawn"]) == (date(2015, 4, 9), 1251570, False)


def test_a_symbol_change_keeps_the_instrument(april: DeltaStore) -> None:
    """ONNN becomes ON under the same company name: one instrument, and an action that says so, from the first capture
    whose rows of ON do not conflict.
    """
    listings = april.read(LISTINGS, as_of=None).filter(pl.col("name") == "ON Semiconductor Corporation").sort("session")
    assert listings["symbol"].to_list() == ["ONNN", "ON"]
    assert listings["sid"].n_unique() == 1
    change = april.read(ACTIONS, as_of=None, where={"kind": "symbol_change"})
    assert change.select("sid", "capture").rows() == [(listings["sid"][0], date(2015, 4, 7))]


def test_the_original_drop_has_eight_conflicts(shared_data: Path, tmp_path: Path) -> None:
    """The vendor's own 2015-04-06 file: eight conflicting bars, the panel's three among them, every row three times."""
    source = VendorDrops(shared_data / "pystock" / "vendor_drops")
    store = DeltaStore(tmp_path)
    report = ingest(source, store, None, NOW, [date(2015, 4, 6)], XNYS)
    conflicts = store.read(QUARANTINE, as_of=None).filter(pl.col("reason") == "CONFLICT")
    keys = conflicts.select("symbol", pl.col("content").str.split(",").list.get(1)).unique()
    assert keys.height == 8
    assert {"GPS", "ON"} <= set(keys["symbol"])
    assert report.numbers["bars"] * 2.9 < report.numbers["rows"]


def test_a_row_on_a_holiday_is_no_bar(panel: Panel, tmp_path: Path) -> None:
    """The capture labelled 2015-07-03 has a row of that day, when the exchange was closed: quarantine; its rows of
    2015-07-02 go on.
    """
    store = load(tmp_path, panel(date(2015, 7, 1), date(2015, 7, 6)))
    refused = store.read(QUARANTINE, as_of=None)
    assert set(refused["reason"]) == {"NOT_A_SESSION"}
    assert refused["content"].str.contains("2015-07-03").all()
    assert store.read(BARS, as_of=None, first=date(2015, 7, 3), last=date(2015, 7, 3)).is_empty()


def test_a_missing_capture_arrives_with_the_next(panel: Panel, tmp_path: Path) -> None:
    """2015-06-10 was never captured: nothing is known of it at its cut and the gate refuses; its bars come a day
    late.
    """
    day = date(2015, 6, 10)
    store = load(tmp_path, panel(date(2015, 6, 8), date(2015, 6, 12)))
    assert store.read(BARS, as_of=CUTS.of(day), first=day, last=day).is_empty()
    assert store.read(BARS, as_of=CUTS.of(date(2015, 6, 11)), first=day, last=day).height > 2400
    report = quality.write_verdicts(store, CUTS, [day])
    assert report.state == "refused"
    verdicts = store.read(VERDICTS, as_of=None)
    assert verdicts.height == len(quality.RULES)
    assert not quality.released(verdicts, day, quality.session_hash(BARS.empty()))[0]


def test_a_nearly_empty_capture_is_refused(panel: Panel, tmp_path: Path) -> None:
    """The capture of 2015-11-17 has one row of its own session: coverage fails, and the sessions beside it pass."""
    thin = date(2015, 11, 17)
    store = load(tmp_path, panel(date(2015, 11, 11), date(2015, 11, 19)))
    report = quality.write_verdicts(store, CUTS, [date(2015, 11, 16), thin, date(2015, 11, 18)])
    assert report.notes == (f"{thin}: coverage",)
    rows = in_force(store.read(BARS, as_of=CUTS.of(thin), first=thin, last=thin), BARS)
    allowed, reason = quality.released(store.read(VERDICTS, as_of=None), thin, quality.session_hash(rows))
    assert (rows.height, allowed) == (1, False)
    assert "Are there about as many rows" in reason


@pytest.fixture(scope="module")
def chubb(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """January 2016 of the symbols around the merger, and a few that go on."""
    return load(
        tmp_path_factory.mktemp("chubb"),
        panel(
            date(2016, 1, 8),
            date(2016, 1, 29),
            ["CB", "ACE", "AAPL", "MSFT", "IACI", "IAC", "GOOG", "GOOGL", "XOM", "GE"],
        ),
    )


def test_one_symbol_two_instruments(chubb: DeltaStore) -> None:
    """CB of 2016-01-14 is old Chubb at 127.26 until the next capture makes it the new one at 111.02; the old row is
    withdrawn, not restated.
    """
    day = date(2016, 1, 14)
    cb = chubb.read(BARS, as_of=None, first=day, last=day, where={"symbol": "CB"}).sort("known_at", "withdrawn")
    assert cb["sid"].n_unique() == 2
    first = in_force(chubb.read(BARS, as_of=CUTS.of(day), first=day, last=day, where={"symbol": "CB"}), BARS)
    later = in_force(
        chubb.read(BARS, as_of=CUTS.of(date(2016, 1, 15)), first=day, last=day, where={"symbol": "CB"}), BARS
    )
    assert first["close"].to_list() == [127.260002]
    assert later["close"].to_list() == [111.019997]
    assert set(first["sid"]).isdisjoint(later["sid"])
    ended = chubb.read(ACTIONS, as_of=None, where={"sid": int(first["sid"][0])})
    assert ended.select("session", "kind", "value", "confidence").rows() == [(day, "delisting", 0.0, 0.5)]


def test_a_vanished_symbol_is_delisted(chubb: DeltaStore) -> None:
    """ACE stops after 2016-01-13: after three sessions without it, it is listed no more, from the first session without
    a bar.
    """
    sid = int(chubb.read(BARS, as_of=None, where={"symbol": "ACE"})["sid"][0])
    gone = chubb.read(ACTIONS, as_of=None, where={"sid": sid, "kind": "delisting"}).row(0, named=True)
    assert (gone["session"], gone["capture"], gone["origin"]) == (date(2016, 1, 14), date(2016, 1, 19), "derived")
    assert chubb.read(LISTINGS, as_of=None, where={"sid": sid}).sort("known_at")["listed"].to_list() == [True, False]


def test_an_instrument_passes_from_symbol_to_symbol(chubb: DeltaStore) -> None:
    """IACI becomes IAC in the middle of the month without losing a session."""
    bars = in_force(chubb.read(BARS, as_of=None).filter(pl.col("symbol").is_in(["IAC", "IACI"])), BARS)
    assert bars["sid"].n_unique() == 1
    assert bars["session"].to_list() == XNYS.between(bars["session"].min(), bars["session"].max())  # type: ignore[arg-type]


def test_a_renamed_company_is_the_same(panel: Panel, tmp_path: Path) -> None:
    """Google becomes Alphabet in October 2015: GOOG and GOOGL stay the two instruments that they were."""
    store = load(tmp_path, panel(date(2015, 9, 28), date(2015, 10, 9), ["GOOG", "GOOGL", "AAPL"]))
    listings = store.read(LISTINGS, as_of=None).filter(pl.col("symbol").str.starts_with("GOOG"))
    assert listings.group_by("symbol", "sid").agg(pl.col("name").sort()).sort("symbol").select(
        "symbol", "name"
    ).rows() == [(s, ["Alphabet Inc.", "Google Inc."]) for s in ("GOOG", "GOOGL")]


def test_a_ticker_is_reused(panel: Panel, tmp_path: Path) -> None:
    """MAG is Magnetek until September 2015 and Mag Silver from June 2016: two instruments."""
    symbols = ["MAG", "AAPL", "MSFT", "XOM"]
    source = panel(date(2015, 8, 28), date(2016, 6, 30), symbols)
    source.captures = {d: c for d, c in source.captures.items() if d < date(2015, 9, 20) or d > date(2016, 6, 1)}
    store = load(tmp_path, source)
    assert store.read(BARS, as_of=None, where={"symbol": "MAG"})["sid"].n_unique() == 2
    assert store.read(ACTIONS, as_of=None, where={"kind": "delisting"})["withdrawn"].to_list() == [False]


def test_a_split_adjusted_a_day_early_is_booked_once(panel: Panel, tmp_path: Path) -> None:
    """IO 1:15 shows in adj_close on 2016-02-04 and in the price on 2016-02-05: proposed first, then one action, ex
    2016-02-05.
    """
    store = load(tmp_path, panel(date(2016, 2, 1), date(2016, 2, 9), ["IO", "AAPL"]))
    splits = store.read(ACTIONS, as_of=None, where={"kind": "split"})
    assert splits.select("session", "numerator", "denominator", "capture").rows() == [
        (date(2016, 2, 5), 1, 15, date(2016, 2, 5))
    ]
    asked = store.read(PROPOSED_ACTIONS, as_of=None)
    assert asked.select("session", "capture", "withdrawn").rows() == [
        (date(2016, 2, 5), date(2016, 2, 4), False),
        (date(2016, 2, 5), date(2016, 2, 5), True),
    ]


def test_a_real_range_equals_its_days(panel: Panel, tmp_path: Path) -> None:
    """Two weeks with a symbol change, splits, restatements and a delisting: one call equals a call per capture."""
    source = panel(date(2015, 4, 1), date(2015, 4, 14))
    names = sorted(source.fetch(date(2015, 4, 10)).prices["symbol"].unique().to_list())[::12]
    source = panel(date(2015, 4, 1), date(2015, 4, 14), [*names, "ON", "ONNN", "SBUX"])
    at_once, one_by_one = load(tmp_path / "a", source), DeltaStore(tmp_path / "b")
    for label in source.labels():
        ingest(source, one_by_one, None, NOW, [label], XNYS)
    for table in (BARS, ACTIONS, LISTINGS, QUARANTINE):
        assert_frame_equal(at_once.read(table, as_of=None), one_by_one.read(table, as_of=None), check_exact=True)


def test_an_unexplained_factor_is_kept_apart(panel: Panel, tmp_path: Path) -> None:
    """The factor of WIN on 2015-04-27 (a spin-off and a reverse split in one) fits nothing: no action, but a quarantine
    row.
    """
    store = load(tmp_path, panel(date(2015, 4, 22), date(2015, 4, 29), ["WIN", "AAPL"]))
    refused = store.read(QUARANTINE, as_of=None, where={"reason": "UNEXPLAINED_FACTOR"})
    assert refused.select("symbol", "capture").rows() == [("WIN", date(2015, 4, 27))]
    assert store.read(ACTIONS, as_of=None).is_empty()
