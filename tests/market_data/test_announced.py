"""Announcements that are declared become actions: known when both the announcement and the listing are, changed and
withdrawn with it, and never beside an action derived from the same prices.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.announced import Announced
from quant_assets.market_data.arrivals import ingest_deliveries
from quant_assets.records import Capture, frame_hash
from quant_assets.tables import ACTIONS, DATA_FINDINGS, PROPOSED_ACTIONS
from resources.clock import SessionClock
from resources.sources.tabular import Feed, Tabular
from resources.tables.store import DeltaStore
from tests.market_data.test_cross_check import Deaf, Read

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
DAYS = [XNYS.shift(date(2016, 3, 7), i) for i in range(8)]
EX = DAYS[4]
WORDS = Announced(kinds={"FSPLT": "split", "BON": "bonus", "DIV": "dividend"}, confirmed=("A",))
Event = tuple[str, str, date, str, str, float | None, float | None, float | None]
COLUMNS = ("event_id", "symbol", "session", "kind", "status", "numerator", "denominator", "cash")


class Words:
    """A source of announcements by label, in memory: what is known at 12:00 UTC on the day after."""

    name = "announcements/words"

    def __init__(self, events: Mapping[date, Sequence[Event]], gone: Sequence[date] = ()) -> None:
        self._events, self._gone = events, gone

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return sorted(d for d in self._events if (first is None or d >= first) and (last is None or d <= last))

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """See the port."""
        rows = pl.DataFrame(self._events[label], schema=COLUMNS, orient="row", infer_schema_length=None)
        kinds = {"numerator": pl.Float64, "denominator": pl.Float64, "cash": pl.Float64}
        rows = rows.with_columns(pl.col(c).cast(t) for c, t in kinds.items()).with_columns(
            venue=pl.lit("XNYS"),
            currency=pl.lit(None, pl.String),
            factor=pl.lit(None, pl.Float64),
            file=pl.lit("words"),
            line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
            withdrawn=pl.lit(value=label in self._gone),
        )
        nothing = pl.DataFrame()
        known = datetime.fromisoformat(f"{label + timedelta(days=1)}T12:00:00+00:00")
        return Capture(
            source=self.name,
            label=label,
            location="memory",
            sha256=frame_hash(rows.with_columns(label=pl.lit(label))),
            known_at=known,
            assumed=False,
            prices=nothing,
            listings=None,
            actions=None,
            malformed=nothing,
            dataset="announcements",
            others={"announcements": rows},
        )


class Home:
    """A store, and what was read of it."""

    def __init__(self, folder: Path, captures: Any, words: Announced = WORDS) -> None:
        self.store, self.read, self.words, self._captures = DeltaStore(folder), Read(), words, captures

    def arrive(self, session: date, bars: Mapping[date, Capture], feed: Any) -> None:
        """What a day's first stage does at the cut of a session, with all that is known by then."""
        now = CUTS.of(session)
        ours = {d: c for d, c in bars.items() if c.known_at <= now}
        sources = [self._captures(ours), feed]
        for _ in ingest_deliveries(
            sources, self.store, self.read, SessionClock(now), Deaf(), CUTS, [session], announced=self.words
        ):
            pass
        self.read.note_cut(now)

    def terms(self, at: date) -> list[tuple[Any, ...]]:
        """Session, kind, ratio, cash and origin of the actions in force at the cut of a session."""
        rows = in_force(known_by(self.store.read(ACTIONS, as_of=None), CUTS.of(at)), ACTIONS)
        return rows.select("session", "kind", "numerator", "denominator", "cash", "origin").rows()

    def rules(self) -> list[tuple[Any, ...]]:
        """Rule, found and expected of the findings on actions."""
        rows = self.store.read(DATA_FINDINGS, as_of=None, where={"table": "actions"})
        return sorted(rows.select("rule", "found", "expected").rows())


@pytest.fixture
def home(tmp_path: Path, captures: Any) -> Home:
    return Home(tmp_path / "tables", captures)


def quiet(capture: Callable[..., Capture]) -> dict[date, Capture]:
    """One name that closes at 10 each day."""
    return {d: capture(d, [("AA", d, 10.0)]) for d in DAYS}


def split(new: float = 2, old: float = 1, event: str = "E1", day: date = EX, status: str = "A") -> Event:
    """An announced split."""
    return (event, "AA", day, "FSPLT", status, new, old, None)


def dividend(cash: float | None, event: str = "D1", status: str = "A") -> Event:
    """An announced dividend."""
    return (event, "AA", EX, "DIV", status, None, None, cash)


@pytest.mark.parametrize(
    ("events", "terms", "rules"),
    [
        ([split()], [(EX, "split", 2, 1, None, "announced")], []),
        ([split(1.5, 1)], [(EX, "split", 3, 2, None, "announced")], []),
        ([split(1, 1000)], [(EX, "split", 1, 1000, None, "announced")], []),
        ([("B", "aa", EX, "BON", "A", 1, 20, None)], [(EX, "stock_dividend", 21, 20, None, "announced")], []),
        ([dividend(0.25)], [(EX, "dividend", None, None, Decimal("0.25"), "announced")], []),
        (
            [dividend(0.25), dividend(1.5, "D2")],
            [(EX, "dividend", None, None, Decimal("1.75"), "announced")],
            [],
        ),
        ([split(status="P")], [], []),
        ([("X", "AA", EX, "MEET", "A", None, None, None)], [], []),
        ([("X", "ZZ", EX, "FSPLT", "A", 2, 1, None)], [], []),
        ([split(1, 1)], [], [("announced_incomplete", None, None)]),
        ([dividend(None)], [], [("announced_incomplete", None, None)]),
        (
            [split(), split(3, 1, "E2")],
            [(EX, "split", 2, 1, None, "announced")],
            [("announced_twice", 2.0, 3.0)],
        ),
    ],
)
def test_an_announcement_is_what_it_is_declared_to_mean(
    home: Home, capture: Callable[..., Capture], events: list[Event], terms: list[Any], rules: list[Any]
) -> None:
    """Before its ex-session, under the words that are declared; what has no terms is a finding, and no action."""
    home.arrive(DAYS[2], quiet(capture), Words({DAYS[1]: events}))
    assert home.terms(DAYS[2]) == terms
    assert home.rules() == rules
    home.arrive(DAYS[5], quiet(capture), Words({DAYS[1]: events}))
    assert home.terms(DAYS[5]) == terms
    assert home.rules() == rules


def test_changed_moved_and_withdrawn_with_its_announcement(home: Home, capture: Callable[..., Capture]) -> None:
    """Each from the cut on that knows it; what was known before stays known."""
    events = {
        DAYS[0]: [split()],
        DAYS[1]: [split(3)],
        DAYS[2]: [split(3, day=DAYS[6])],
        DAYS[3]: [split(3, day=DAYS[6], status="A")],
    }
    for n in range(5):
        feed = Words({d: e for d, e in events.items() if d < DAYS[n]}, gone=[DAYS[3]])
        home.arrive(DAYS[n], quiet(capture), feed)
    announced = [[(r[0], r[2]) for r in home.terms(d)] for d in DAYS[:5]]
    assert announced == [[], [(EX, 2)], [(EX, 3)], [(DAYS[6], 3)], []]


def test_known_when_the_listing_is_known_too(home: Home, capture: Callable[..., Capture]) -> None:
    """An announcement of a name that is not listed yet becomes an action at the first cut that knows the listing."""
    bars = {d: capture(d, [("BB", d, 5.0), *([("AA", d, 10.0)] if d >= DAYS[3] else [])]) for d in DAYS}
    for n in range(1, 5):
        home.arrive(DAYS[n], bars, Words({DAYS[0]: [split()]}))
    assert [len(home.terms(d)) for d in DAYS[1:5]] == [0, 0, 1, 1]


def test_what_was_derived_from_prices_gives_way(home: Home, capture: Callable[..., Capture]) -> None:
    """A split 2:1 that prices show, on the day of an announced one of 4:1, gives way with a finding, and does not come
    back with the next delivery; a dividend that they show beside it is withdrawn, for it would be paid twice.
    """
    raw = {d: 10.0 if d >= EX else 20.0 for d in DAYS}
    bars = dict[date, Capture]()
    for before, d in pairwise(DAYS):
        ratio = 0.5 if d == EX else 1.0  # of the adjusted to the raw close before
        bars[d] = capture(d, [("AA", before, raw[before], raw[before] * ratio), ("AA", d, raw[d], raw[d])])
    home.arrive(EX, bars, Words({}))
    before = home.terms(EX)
    assert [r[:4] for r in before] == [(EX, "split", 2, 1)]
    home.arrive(DAYS[5], bars, Words({EX: [split(4)]}))
    home.arrive(DAYS[6], bars, Words({EX: [split(4)]}))
    assert home.terms(DAYS[5]) == home.terms(DAYS[6]) == [(EX, "split", 4, 1, None, "announced")]
    assert home.rules() == [("announced_conflict", 2.0, 4.0)]


def scenario(seed: int) -> tuple[dict[date, list[Event]], list[date]]:
    """Announcements of eight days: made, changed, moved and withdrawn."""
    draw = random.Random(seed)  # noqa: S311  # a scenario, no secret
    events = dict[date, list[Event]]()
    for d in DAYS:
        drawn = [(f"E{n}", draw.choice(["AA", "BB", "CC"]), draw.choice(DAYS)) for n in draw.sample(range(4), 2)]
        said: list[Event] = [
            (*e, "FSPLT", draw.choice("AAP"), draw.choice([2, 3]), 1, None) for e in drawn if draw.random() < 0.6
        ]
        if said:
            events[d] = said
    return events, [d for d in events if draw.random() < 0.2]


@pytest.mark.parametrize("seed", range(5))
def test_a_range_leaves_the_rows_that_its_days_leave(
    tmp_path: Path, captures: Any, capture: Callable[..., Capture], seed: int
) -> None:
    """Actions, proposals and findings of eight sessions at once are those of eight runs."""
    events, gone = scenario(seed)
    bars = {d: capture(d, [(s, d, 10.0) for s, n in (("AA", 0), ("BB", 2), ("CC", 4)) if d >= DAYS[n]]) for d in DAYS}
    days, span = Home(tmp_path / "days", captures), Home(tmp_path / "span", captures)
    for d in DAYS:
        days.arrive(d, bars, Words({k: e for k, e in events.items() if k <= d}, gone))
    span.arrive(DAYS[-1], bars, Words(events, gone))
    for table in (ACTIONS, PROPOSED_ACTIONS, DATA_FINDINGS):
        one, other = (h.store.read(table, as_of=None) for h in (days, span))
        assert one.equals(other), table.name
    assert span.store.read(ACTIONS, as_of=None).height > 0


def test_a_real_vendors_reverse_split_becomes_one(
    home: Home, capture: Callable[..., Capture], shared_data: Path
) -> None:
    """Databento's record of BOMO, 1 for 1000 on 2023-10-10, known early on that day, under its own words."""
    days = XNYS.between(date(2023, 10, 5), date(2023, 11, 2))
    bars = {d: capture(d, [("BOMO", d, 1.0)]) for d in days}
    feed = Tabular(
        Feed(
            "announcements",
            str(shared_data / "databento_reference" / "test_data.corporate-actions-pit.jsonl"),
            layout="databento_actions",
        )
    )
    home.words = Announced(kinds={"RSPLT": "split"}, confirmed=("A",), venues=("OTCM",))
    home.arrive(days[-1], bars, feed)
    assert home.terms(date(2023, 10, 6)) == []
    assert home.terms(date(2023, 10, 9)) == [(date(2023, 10, 10), "split", 1, 1000, None, "announced")]
