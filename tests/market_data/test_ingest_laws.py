"""The laws of ingest on captures written by hand: order, time, idempotence, healing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import Table, in_force
from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data.ingest import ingest, known_at, pending
from quant_assets.records import Capture
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS, QUARANTINE
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
TABLES = (CAPTURES, BARS, ACTIONS, LISTINGS, QUARANTINE)
MONDAY, TUESDAY, WEDNESDAY = date(2016, 3, 7), date(2016, 3, 8), date(2016, 3, 9)


def take(store: Any, captures: Any, *labels: date, cuts_latest: datetime | None = None, now: datetime = NOW) -> Any:
    return ingest(captures, store, cuts_latest, now, labels or captures.labels(), XNYS)


def everything(store: DeltaStore, *without: str) -> dict[str, pl.DataFrame]:
    return {t.name: store.read(t, as_of=None).drop(without, strict=False) for t in TABLES}


def assert_same(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> None:
    for name, frame in left.items():
        assert_frame_equal(frame, right[name], check_exact=True)


class Breaks:
    """A store that dies before its append number `after`."""

    def __init__(self, store: DeltaStore, after: int) -> None:
        self.store = store
        self.left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """Append, or die."""
        if self.left == 0:
            raise InterruptedError
        self.left -= 1
        return self.store.append(table, frame)


@pytest.fixture(scope="module")
def week(capture: Callable[..., Capture], captures: Any) -> Any:
    """Three captures in which about everything happens: a restatement, a bad row, a rename, a split, a symbol that
    changes instrument.
    """
    before = date(2016, 3, 4)
    names = {"AA": "Alpha", "BB": "Beta", "CC": "Gamma"}
    return captures(
        {
            MONDAY: capture(
                MONDAY,
                [
                    ("AA", before, 10.0),
                    ("AA", MONDAY, 11.0),
                    ("BB", before, 20.0),
                    ("BB", MONDAY, 21.0),
                    ("CC", MONDAY, 30.0),
                    ("CC", date(2016, 3, 6), 30.0),
                ],
                names,
            ),
            TUESDAY: capture(
                TUESDAY,
                [
                    ("AA", MONDAY, 11.5),
                    ("AA", TUESDAY, 12.0),
                    ("BB", MONDAY, 21.0, 10.5),
                    ("BB", TUESDAY, 10.6),
                    ("CC", TUESDAY, 31.0),
                ],
                names | {"AA": "Alpha Inc"},
            ),
            WEDNESDAY: capture(
                WEDNESDAY,
                [
                    ("AA", TUESDAY, 12.0),
                    ("AA", WEDNESDAY, 12.5),
                    ("BB", WEDNESDAY, 10.7),
                    ("CC", TUESDAY, 55.0),
                    ("CC", WEDNESDAY, 56.0),
                ],
                names | {"CC": "Other"},
            ),
        }
    )


def test_a_range_of_captures_equals_one_call_each(tmp_path: Path, week: Any) -> None:
    """All captures in one call leave the very rows that a call for each leaves."""
    at_once, one_by_one = DeltaStore(tmp_path / "a"), DeltaStore(tmp_path / "b")
    take(at_once, week)
    for label in week.labels():
        take(one_by_one, week, label)
    assert_same(everything(at_once), everything(one_by_one))


def test_what_a_long_run_committed_it_knows(
    tmp_path: Path, capture: Callable[..., Capture], captures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range that commits in many pieces finds an instrument's last bar among them: a ticker that comes back after a
    gap is another instrument, as day by day.
    """
    days = [XNYS.shift(MONDAY, i) for i in range(30)]
    held = {
        d: capture(
            d,
            [("FF", d, 10.0)] + ([("AA", d, 10.0)] if i in (0, 29) else []),
            {"FF": "Filler"} | ({"AA": f"Name {i}"} if i in (0, 29) else {}),
        )
        for i, d in enumerate(days)
    }
    monkeypatch.setattr("quant_assets.market_data.ingest.CHUNK", 2)
    at_once, in_two = DeltaStore(tmp_path / "a"), DeltaStore(tmp_path / "b")
    take(at_once, captures(held))
    monkeypatch.setattr("quant_assets.market_data.ingest.CHUNK", 40)
    for part in (days[:29], days[29:]):
        take(in_two, captures(held), *part)
    assert_same(everything(at_once), everything(in_two))
    assert at_once.read(BARS, as_of=None, where={"symbol": "AA"})["sid"].n_unique() == 2


def test_what_has_not_arrived_waits(tmp_path: Path, week: Any) -> None:
    """A capture whose time has not come is left pending, and taken in when it has."""
    store = DeltaStore(tmp_path)
    early = week.fetch(TUESDAY).known_at - timedelta(seconds=1)
    take(store, week, now=early)
    assert pending(week, store, WEDNESDAY) == [TUESDAY, WEDNESDAY]
    take(store, week, *pending(week, store, WEDNESDAY))
    assert pending(week, store, WEDNESDAY) == []


def test_taking_in_again_adds_nothing(tmp_path: Path, week: Any) -> None:
    """The same captures a second time leave every table at the version it had."""
    store = DeltaStore(tmp_path)
    take(store, week)
    before = [store.version(t) for t in TABLES]
    assert take(store, week).state == "empty"
    assert [store.version(t) for t in TABLES] == before


@pytest.fixture(scope="module")
def undisturbed(week: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """What the week leaves when nothing goes wrong, without the times of knowledge."""
    store = DeltaStore(tmp_path_factory.mktemp("undisturbed"))
    take(store, week, cuts_latest=CUTS.of(WEDNESDAY))
    return everything(store, "known_at")


@pytest.mark.parametrize("after", [1, 2, 3, 4, 7, 8, 9, 12, 13, 14])
def test_a_killed_write_heals(tmp_path: Path, week: Any, undisturbed: dict[str, pl.DataFrame], after: int) -> None:
    """Killed between any two commits and run again later, the rows are those of an undisturbed run, each once, though
    law 2 gives them another time.
    """
    killed = DeltaStore(tmp_path)
    cut = CUTS.of(WEDNESDAY)
    dies = Breaks(killed, after)
    with pytest.raises(InterruptedError):  # noqa: PT012  # which call dies depends on `after`
        for label in week.labels():
            take(dies, week, label, cuts_latest=cut)
    for label in week.labels():
        take(killed, week, label, cuts_latest=cut, now=NOW + timedelta(hours=1))
    assert_same(
        *({n: f.sort(f.columns) for n, f in frames.items()} for frames in (undisturbed, everything(killed, "known_at")))
    )


def test_a_redelivery_is_new_knowledge(tmp_path: Path, capture: Callable[..., Capture], captures: Any) -> None:
    """The same label with other content is taken in after the first: what changed is a restatement, what did not is a
    no-op, refused rows stand beside the first's.
    """
    store = DeltaStore(tmp_path)
    sunday = ("AA", date(2016, 3, 6), 1.0)
    take(store, captures({MONDAY: capture(MONDAY, [("AA", MONDAY, 11.0), ("BB", MONDAY, 21.0), sunday])}))
    take(store, captures({MONDAY: capture(MONDAY, [("AA", MONDAY, 11.2), ("BB", MONDAY, 21.0), sunday])}))
    bars = store.read(BARS, as_of=None)
    assert bars.group_by("symbol").len().sort("symbol").rows() == [("AA", 2), ("BB", 1)]
    assert in_force(bars, BARS).filter(pl.col("symbol") == "AA")["close"].item() == 11.2
    assert store.read(CAPTURES, as_of=None).height == store.read(QUARANTINE, as_of=None).height == 2


def test_a_row_behind_a_cut_is_known_at_arrival(tmp_path: Path, week: Any) -> None:
    """What was declared known before a cut that was read already is known when it arrives, keeps the declared time, and
    stays in order.
    """
    store = DeltaStore(tmp_path)
    cut, now = CUTS.of(MONDAY), datetime(2016, 3, 8, 15, tzinfo=UTC)
    take(store, week, MONDAY, cuts_latest=cut, now=now)
    bars = store.read(BARS, as_of=None)
    assert bars["known_at"].unique().to_list() == [now]
    assert (bars["declared_known_at"] < cut).all()
    assert store.read(BARS, as_of=cut).is_empty()
    take(store, week, TUESDAY, cuts_latest=cut, now=datetime(2016, 3, 9, 14, tzinfo=UTC))
    assert store.read(CAPTURES, as_of=None)["known_at"].is_sorted()


def test_knowledge_never_goes_back() -> None:
    """A capture taken in after another is known after it, whatever it declares."""
    early, late = datetime(2016, 3, 8, 13, tzinfo=UTC), datetime(2016, 3, 9, 13, tzinfo=UTC)
    assert known_at(late, None, NOW, early) == late
    assert known_at(early, None, NOW, late) == late + timedelta(microseconds=1)
    assert known_at(early, early, NOW, late) == NOW


def test_an_as_of_read_sees_the_value_of_its_time(tmp_path: Path, week: Any) -> None:
    """A restated close reads as it was known at the cut, and as restated afterwards."""
    store = DeltaStore(tmp_path)
    take(store, week)
    for as_of, close in ((CUTS.of(MONDAY), 11.0), (CUTS.of(TUESDAY), 11.5)):
        rows = in_force(store.read(BARS, as_of=as_of, first=MONDAY, last=MONDAY), BARS)
        assert rows.filter(pl.col("symbol") == "AA")["close"].item() == close


def test_an_adjusted_close_alone_restates_nothing(tmp_path: Path, week: Any) -> None:
    """The BB row of Monday comes again on Tuesday with another adj_close only: evidence of the split, no new version of
    the bar.
    """
    store = DeltaStore(tmp_path)
    take(store, week)
    assert store.read(BARS, as_of=None, first=MONDAY, last=MONDAY).filter(pl.col("symbol") == "BB").height == 1
    split = store.read(ACTIONS, as_of=None).filter(pl.col("kind") == "split")
    assert split.select("session", "numerator", "denominator", "file").rows() == [(TUESDAY, 2, 1, f"{TUESDAY}.csv")]


def test_every_bad_row_says_where_and_why(tmp_path: Path, captures: Any, capture: Callable[..., Capture]) -> None:
    """Rows that cannot be bars are kept apart with file, line, reason and content; the good ones go on."""
    good = capture(
        MONDAY, [(f"S{i}", MONDAY, 10.0) for i in range(8)] + [("S8", TUESDAY, 10.0), ("S9", date(2016, 3, 6), 10.0)]
    )
    n = pl.col("line") - 2
    spoilt = good.prices.with_columns(
        high=pl.when(n == 1).then(9.0).otherwise("high"),
        close=pl.when(n == 2).then(float("nan")).when(n == 3).then(0.0).otherwise("close"),
        volume=pl.when(n == 4).then(-1).otherwise("volume"),
        symbol=pl.when(n == 5).then(None).when(n == 7).then(pl.lit("S6")).otherwise("symbol"),
        open=pl.when(n == 7).then(9.9).otherwise("open"),
        low=pl.when(n == 7).then(9.9).otherwise("low"),
    )
    store = DeltaStore(tmp_path)
    capture_ = Capture(**{f: getattr(good, f) for f in good.__struct_fields__} | {"prices": spoilt})
    report = take(store, captures({MONDAY: capture_}))
    refused = store.read(QUARANTINE, as_of=None).sort("line")
    assert refused.select(pl.col("line") - 2, "reason").rows() == [
        (1, "OHLC"),
        (2, "BAD_PRICE"),
        (3, "BAD_PRICE"),
        (4, "BAD_VOLUME"),
        (5, "NO_SYMBOL"),
        (6, "CONFLICT"),
        (7, "CONFLICT"),
        (8, "AFTER_LABEL"),
        (9, "NOT_A_SESSION"),
    ]
    assert refused["file"].unique().to_list() == [f"{MONDAY}.csv"]
    assert refused["content"][0] == "S1,2016-03-07,10.0,9.0,10.0,10.0,1000,10.0"
    assert store.read(BARS, as_of=None)["symbol"].to_list() == ["S0"]
    assert report.numbers["quarantined"] == 9


def test_an_unreadable_capture_is_named_and_the_others_go_on(tmp_path: Path, week: Any) -> None:
    """A file that cannot be read makes the report refused, with its label and the reason."""

    class Torn:
        name = "test"

        def labels(self, first: date | None = None, last: date | None = None) -> Any:
            """Those of the week."""
            return week.labels(first, last)

        def fetch(self, label: date) -> Capture:
            """All but one."""
            if label == TUESDAY:
                raise CaptureUnreadable("torn")
            return week.fetch(label)

    store = DeltaStore(tmp_path)
    report = take(store, Torn())
    assert (report.state, report.notes) == ("refused", (f"{TUESDAY}: torn",))
    assert store.read(CAPTURES, as_of=None)["capture"].to_list() == [MONDAY, WEDNESDAY]
