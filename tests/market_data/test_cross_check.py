"""Two vendors of the same bars: who wins, what is filled in, what is a finding, and what a broken vendor does."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.arrivals import ingest_deliveries
from quant_assets.market_data.cross_check import UNMATCHED
from quant_assets.market_data.identity import content_sid
from quant_assets.market_data.vendors import BESIDE, Beside, Vendor
from quant_assets.records import Capture, StageReport
from quant_assets.tables import BARS, DATA_FINDINGS, LISTINGS, QUARANTINE
from quant_assets.vendor_tables import VENDOR_BARS
from resources.clock import SessionClock
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
DAYS = [XNYS.shift(date(2016, 3, 7), i) for i in range(8)]
NAMES = {"AA": 10.0, "BB": 20.0, "BRK.B": 140.0}
Row = tuple[str, date, float]


class Read:
    """A KnowledgeLog in memory."""

    def __init__(self) -> None:
        self.latest: datetime | None = None

    def note_cut(self, as_of: datetime) -> None:
        """See the port."""
        self.latest = max(as_of, self.latest or as_of)

    def latest_cut(self) -> datetime | None:
        """See the port."""
        return self.latest


class Deaf:
    """A Notifier that nobody listens to."""

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port."""


class Home:
    """A store, and what was read of it."""

    def __init__(self, folder: Path, captures: Any, vendors: Sequence[Vendor] = (Vendor(name="second"),)) -> None:
        self.store, self.read, self.vendors, self._captures = DeltaStore(folder), Read(), vendors, captures

    def arrive(
        self, session: date, ours: Mapping[date, Capture], *theirs: Mapping[date, Capture]
    ) -> dict[str, StageReport]:
        """Run what a day's first stage does at the cut of a session, and read all that is known by it."""
        beside = [Beside(self._captures(t), v, XNYS) for t, v in zip(theirs, self.vendors, strict=True)]
        reports = ingest_deliveries(
            [self._captures(ours), *beside],
            self.store,
            self.read,
            SessionClock(CUTS.of(session)),
            Deaf(),
            CUTS,
            [session],
            vendors=self.vendors,
        )
        done = {r.stage: r for r in reports}
        self.read.note_cut(CUTS.of(session))
        return done

    def closes(self, session: date, at: date) -> dict[str, tuple[float, str]]:
        """Close and source by symbol of a session's bars, as known at the cut of another."""
        rows = in_force(known_by(self.store.read(BARS, as_of=None, first=session, last=session), CUTS.of(at)), BARS)
        return {r["symbol"]: (r["close"], r["source"]) for r in rows.iter_rows(named=True)}

    def rules(self, session: date) -> list[tuple[str, str, float | None, float | None]]:
        """Rule, symbol, found and expected of a session's findings."""
        rows = self.store.read(DATA_FINDINGS, as_of=None, first=session, last=session, where={"table": "bars"})
        return sorted(rows.select("rule", "symbol", "found", "expected").rows())


@pytest.fixture
def home(tmp_path: Path, captures: Any) -> Home:
    return Home(tmp_path / "tables", captures)


def good(capture: Callable[..., Capture], days: Sequence[date] = DAYS) -> dict[date, Capture]:
    """Three names on each day, under the source's symbols."""
    return {d: capture(d, [(s, d, c) for s, c in NAMES.items()]) for d in days}


def other(capture: Callable[..., Capture], days: Sequence[date] = DAYS, **closes: float) -> dict[date, Capture]:
    """The same under the symbols of another vendor, with some closes replaced on the last day."""
    said = {"AA": 10.0, "BB": 20.0, "BRK-B": 140.0}
    return {d: capture(d, [(s, d, closes.get(s, c) if d == days[-1] else c) for s, c in said.items()]) for d in days}


def test_a_session_that_the_source_lacks_is_filled_in_until_it_comes(
    home: Home, capture: Callable[..., Capture]
) -> None:
    """At its cut the session has the backup's bars under the source's sids and symbols; once the source delivers, its
    own are in force, and what was known at the cut stays.
    """
    ours = good(capture, DAYS[:2])
    late = {**ours, DAYS[3]: capture(DAYS[3], [("AA", DAYS[3], 11.0), ("AA", DAYS[2], 10.5), ("BB", DAYS[3], 20.0)])}
    home.arrive(DAYS[1], ours, other(capture, DAYS[:2]))
    report = home.arrive(DAYS[2], ours, other(capture, DAYS[:3]))
    filled = {s: (c, "vendor_bars/second") for s, c in NAMES.items()}
    assert report["cross-check of vendors"].rows == 3
    assert home.closes(DAYS[2], DAYS[2]) == filled
    home.arrive(DAYS[3], late, other(capture, DAYS[:4]))
    assert home.closes(DAYS[2], DAYS[2]) == filled
    assert home.closes(DAYS[2], DAYS[3])["AA"] == (10.5, "test")
    assert home.closes(DAYS[3], DAYS[3])["BRK.B"] == (140.0, "vendor_bars/second")
    assert home.store.read(LISTINGS, as_of=None)["sid"].n_unique() == len(NAMES)


@pytest.mark.parametrize(
    ("closes", "rules"),
    [
        ({}, []),
        ({"AA": 10.04}, []),
        ({"AA": 10.06}, [("vendor_close", "AA", 10.0, 10.06)]),
        ({"BRK-B": 1.4}, [("vendor_close", "BRK-B", 140.0, 1.4)]),
    ],
)
def test_closes_apart_are_findings_and_the_source_wins(
    home: Home, capture: Callable[..., Capture], closes: dict[str, float], rules: list[Any]
) -> None:
    """Within half a percent nothing is found; beyond it both values are on record, and the source's bar is in force."""
    home.arrive(DAYS[2], good(capture, DAYS[:3]), other(capture, DAYS[:3], **closes))
    assert home.rules(DAYS[2]) == rules
    assert home.closes(DAYS[2], DAYS[2]) == {s: (c, "test") for s, c in NAMES.items()}


def test_a_check_never_fills(tmp_path: Path, captures: Any, capture: Callable[..., Capture]) -> None:
    """A vendor of role check leaves a name that the source lacks absent, and the finding says so."""
    home = Home(tmp_path / "tables", captures, [Vendor(name="second", role="check")])
    ours = {**good(capture, DAYS[:2]), DAYS[2]: capture(DAYS[2], [("AA", DAYS[2], 10.0), ("BB", DAYS[2], 20.0)])}
    home.arrive(DAYS[2], ours, other(capture, DAYS[:3]))
    assert set(home.closes(DAYS[2], DAYS[2])) == {"AA", "BB"}
    assert home.rules(DAYS[2]) == [("vendor_missing", "BRK-B", None, 140.0)]


def test_of_two_backups_the_first_fills(tmp_path: Path, captures: Any, capture: Callable[..., Capture]) -> None:
    """At one cut the first in the list fills; a name that it lacks comes from the second."""
    home = Home(tmp_path / "tables", captures, [Vendor(name="second"), Vendor(name="third")])
    second = {d: capture(d, [("AA", d, 10.1)]) for d in DAYS[:3]}
    third = {d: capture(d, [("AA", d, 10.2), ("BB", d, 20.2)]) for d in DAYS[:3]}
    home.arrive(DAYS[2], good(capture, DAYS[:2]), second, third)
    assert home.closes(DAYS[2], DAYS[2]) == {
        "AA": (10.1, "vendor_bars/second"),
        "BB": (20.2, "vendor_bars/third"),
    }


def test_a_stranger_is_quarantined_once_and_gets_no_sid(home: Home, capture: Callable[..., Capture]) -> None:
    """A symbol that the source does not know is held with its reason, on the first day alone; no instrument is made."""
    theirs = {d: capture(d, [("AA", d, 10.0), ("ZZ", d, 5.0)]) for d in DAYS[:4]}
    for n in (2, 3):
        home.arrive(DAYS[n], good(capture, DAYS[: n + 1]), {d: theirs[d] for d in DAYS[: n + 1]})
    held = home.store.read(QUARANTINE, as_of=None)
    assert held.select("symbol", "reason", "capture", "source").rows() == [
        ("ZZ", UNMATCHED, DAYS[0], "vendor_bars/second")
    ]
    assert set(home.store.read(BARS, as_of=None)["sid"]) == {content_sid(s, DAYS[0]) for s in NAMES}


def test_a_backup_that_comes_late_is_known_late(home: Home, capture: Callable[..., Capture]) -> None:
    """Its bar of a past session is filled in at the first cut that knows it, and not before."""
    ours = good(capture, [d for d in DAYS[:4] if d != DAYS[2]])
    theirs = other(capture, DAYS[:4])
    late = capture(DAYS[2], [("AA", DAYS[2], 10.0)], known_at=CUTS.of(DAYS[2]) + timedelta(hours=3))
    theirs[DAYS[2]] = late
    home.arrive(DAYS[2], {d: c for d, c in ours.items() if d < DAYS[2]}, {d: theirs[d] for d in DAYS[:2]})
    home.arrive(DAYS[3], ours, theirs)
    assert home.closes(DAYS[2], DAYS[2]) == {}
    assert home.closes(DAYS[2], DAYS[3]) == {"AA": (10.0, "vendor_bars/second")}


def scenario(seed: int, capture: Callable[..., Capture]) -> tuple[dict[date, Capture], dict[date, Capture]]:
    """What two vendors deliver in eight sessions: the source misses sessions and names and brings some in the delivery
    after; the other is late, wrong and knows a stranger.
    """
    draw = random.Random(seed)  # noqa: S311  # a scenario, no secret
    ours, theirs = dict[date, Capture](), dict[date, Capture]()
    waiting = list[Row]()
    for n, d in enumerate(DAYS):
        mine = [(s, d, c + n) for s, c in NAMES.items()]
        kept = [r for r in mine if n == 0 or draw.random() < 0.7]
        if n == 0 or draw.random() < 0.8:
            ours[d] = capture(d, [*kept, *(r for r in waiting if draw.random() < 0.6)])
            waiting = [r for r in mine if r not in kept]
        said = [(s.replace(".", "-"), d, c + n + draw.choice([0, 0, 0, 1.0])) for s, c in NAMES.items()]
        rows = [r for r in [*said, ("ZZ", d, 3.0)] if draw.random() < 0.85]
        if rows and draw.random() < 0.9:
            known = CUTS.of(DAYS[min(n + draw.choice([0, 0, 1, 2]), len(DAYS) - 1)]) - timedelta(
                minutes=draw.randint(1, 5)
            )
            theirs[d] = capture(d, rows, known_at=known)
    return ours, theirs


@pytest.mark.parametrize("seed", range(6))
def test_a_range_leaves_the_rows_that_its_days_leave(
    tmp_path: Path, captures: Any, capture: Callable[..., Capture], seed: int
) -> None:
    """Bars, findings and quarantine of eight sessions at once are those of eight runs, to the bit; whatever is in force
    at a cut, the source wins where it has the bar by then.
    """
    ours, theirs = scenario(seed, capture)
    days, span = Home(tmp_path / "days", captures), Home(tmp_path / "span", captures)
    for d in DAYS:
        days.arrive(d, *({k: c for k, c in f.items() if c.known_at <= CUTS.of(d)} for f in (ours, theirs)))
    span.arrive(DAYS[-1], ours, theirs)
    for table in (BARS, VENDOR_BARS, DATA_FINDINGS, QUARANTINE, LISTINGS):
        one, other_ = (h.store.read(table, as_of=None) for h in (days, span))
        assert one.equals(other_), table.name
    bars = span.store.read(BARS, as_of=None)
    assert bars["source"].str.starts_with(BESIDE).any()
    for d in DAYS:
        known = known_by(bars, CUTS.of(d))
        own = known.filter(pl.col("source") == "test").select("sid", "session").unique()
        filled = in_force(known, BARS).filter(pl.col("source").str.starts_with(BESIDE))
        assert filled.join(own, on=["sid", "session"], how="semi").is_empty()


def test_without_another_vendor_nothing_is_different(
    tmp_path: Path, captures: Any, capture: Callable[..., Capture]
) -> None:
    """The source's own rows are the same with a backup beside it and without, whatever that says."""
    ours, theirs = scenario(3, capture)
    alone, both = Home(tmp_path / "alone", captures, ()), Home(tmp_path / "both", captures)
    alone.arrive(DAYS[-1], ours)
    both.arrive(DAYS[-1], ours, theirs)
    for table in (BARS, LISTINGS):
        rows = both.store.read(table, as_of=None)
        own = rows.filter(~pl.col("source").str.starts_with(BESIDE)) if "source" in rows.columns else rows
        assert own.equals(alone.store.read(table, as_of=None)), table.name
