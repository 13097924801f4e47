"""Rows of any dataset: what is new is a version, what is wrong is refused with its place, what is suspicious is found
by its own key.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quant_assets import plugged
from quant_assets.calendars import calendar
from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError, ContractViolation
from quant_assets.market_data.datasets import DATASETS, Dataset, contracts, dataset
from quant_assets.market_data.ingest import ingest, pending
from quant_assets.market_data.observations import judged
from quant_assets.market_data.rules import SEVERITIES, Rule
from quant_assets.records import Capture, content_id
from quant_assets.tables import CAPTURES, DATA_FINDINGS, QUARANTINE, VERDICTS
from quant_assets.vendor_tables import FX_RATES
from resources.tables.store import DeltaStore
from tests.test_docs import declared_in_readme

XNYS = calendar("XNYS")
DAY = date(2024, 3, 4)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
BLANK = {"prices": pl.DataFrame(), "listings": None, "actions": None, "malformed": pl.DataFrame()}


def at(day: date, hour: int = 22) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def rates(
    label: date, rows: Sequence[tuple[Any, ...]], known: datetime | None = None, **columns: Sequence[object]
) -> Capture:
    """A capture of FX rates: (session, base, quote, rate), typed or as text."""
    frame = pl.DataFrame(rows, schema=["session", "base", "quote", "rate"], orient="row").with_row_index(
        "line", offset=2
    )
    frame = frame.with_columns(
        pl.col("line").cast(pl.Int64),
        pl.lit(f"{label}.csv").alias("file"),
        *(pl.Series(c, v) for c, v in columns.items()),
    )
    digest = content_id(str(label), frame.rows())
    return Capture(
        source="fx",
        label=label,
        location="memory",
        sha256=digest,
        known_at=known or at(label),
        assumed=False,
        dataset="fx_rates",
        others={"fx_rates": frame},
        **BLANK,
    )  # pyright: ignore[reportArgumentType]  # the fields of BLANK


class Feed:
    """A source of these captures; a label may come twice, as a restated delivery does."""

    name = "fx"

    def __init__(self, *captures: Capture) -> None:
        self.captures = {c.label: c for c in captures}

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """The labels held."""
        return sorted(d for d in self.captures if (first is None or d >= first) and (last is None or d <= last))

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """By content."""
        return {d: self.captures[d].sha256 for d in labels if d in self.captures}

    def fetch(self, label: date) -> Capture:
        """The capture held."""
        return self.captures[label]


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(tmp_path)


def take(store: DeltaStore, *captures: Capture, cut: datetime | None = None, now: datetime = NOW) -> dict[str, float]:
    """Take these captures in, each in a call of its own."""
    report = [ingest(Feed(c), store, cut, now, [c.label], XNYS) for c in captures][-1]
    return dict(report.numbers)


def values(store: DeltaStore, as_of: datetime | None = None) -> list[tuple[Any, ...]]:
    """What is in force: session, base, rate."""
    return in_force(store.read(FX_RATES, as_of=as_of), FX_RATES).select("session", "base", "rate").rows()


def test_what_says_nothing_new_is_nothing(store: DeltaStore) -> None:
    """A second delivery of the same values writes no version; one that differs in one row writes that row."""
    rows = [(DAY, "EUR", "USD", 1.08), (DAY, "GBP", "USD", 1.27)]
    assert take(store, rates(DAY, rows))["observed"] == 2
    later = DAY + timedelta(days=1)
    numbers = take(store, rates(later, [*rows[:1], (DAY, "GBP", "USD", 1.28)]))
    assert (numbers["observed"], numbers["repeated"]) == (1, 1)
    assert values(store) == [(DAY, "EUR", 1.08), (DAY, "GBP", 1.28)]
    assert values(store, at(DAY)) == [(DAY, "EUR", 1.08), (DAY, "GBP", 1.27)]
    assert store.read(FX_RATES, as_of=None, where={"base": "GBP"})["capture"].to_list() == [DAY, later]


def test_a_delivery_is_taken_in_once(store: DeltaStore) -> None:
    """What was taken in is pending no more, and taking it in again changes no version of any table."""
    feed = Feed(rates(DAY, [(DAY, "EUR", "USD", 1.08), (DAY, "EUR", "USD", 1.09), (DAY, "GBP", "USD", 1.27)]))
    assert pending(feed, store, DAY) == [DAY]
    ingest(feed, store, None, NOW, [DAY], XNYS)
    assert pending(feed, store, DAY) == []
    before = [store.version(t) for t in contracts()]
    ingest(feed, store, None, NOW, [DAY], XNYS)
    assert [store.version(t) for t in contracts()] == before


REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "no date": (("04/03/2024", "EUR", "USD", "1.08"), "session is no date YYYY-MM-DD"),
    "no number": ((str(DAY), "EUR", "USD", "1,08"), "rate is no number"),
    "not finite": ((str(DAY), "EUR", "USD", "inf"), "rate is not finite"),
    "no name": ((str(DAY), " ", "USD", "1.08"), "no base"),
    "of the future": ((str(DAY + timedelta(days=2)), "EUR", "USD", "1.08"), "known before it happened"),
    "against a rule": ((str(DAY), "EUR", "USD", "-1.08"), "rate"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_row_that_cannot_be_is_refused_with_its_place(store: DeltaStore, case: str) -> None:
    """Text is read by the contract; what does not fit goes to quarantine with file, line, reason and content, and is a
    finding; the others go on.
    """
    row, reason = REFUSED[case]
    numbers = take(store, rates(DAY, [(str(DAY), "GBP", "USD", "1.27"), row]))
    assert (numbers["observed"], numbers["quarantined"], numbers["rows"]) == (1, 1, 2)
    refused = store.read(QUARANTINE, as_of=None).row(0, named=True)
    assert (refused["file"], refused["line"], refused["reason"], refused["state"]) == (f"{DAY}.csv", 3, reason, "held")
    assert str(row[3]).strip() in refused["content"]
    found = store.read(DATA_FINDINGS, as_of=None).row(0, named=True)
    assert (found["rule"], found["severity"], json.loads(found["row"])) == (
        reason,
        "refuse",
        {"file": f"{DAY}.csv", "line": 3},
    )
    assert store.read(CAPTURES, as_of=None).select("dataset", "rows", "quarantined").rows() == [("fx_rates", 2, 1)]


def test_rows_that_contradict_each_other_are_all_refused(store: DeltaStore) -> None:
    """Identical rows are one; of different ones about the same thing none is let in."""
    numbers = take(
        store,
        rates(
            DAY,
            [
                (DAY, "EUR", "USD", 1.08),
                (DAY, "EUR", "USD", 1.08),
                (DAY, "GBP", "USD", 1.27),
                (DAY, "GBP", "USD", 1.30),
            ],
        ),
    )
    assert (numbers["observed"], numbers["quarantined"]) == (1, 2)
    assert store.read(QUARANTINE, as_of=None)["line"].to_list() == [4, 5]


def test_a_vendor_that_changes_its_columns_is_named(store: DeltaStore) -> None:
    """Schema drift is an error that names the vendor's columns and the contract's, and nothing is written."""
    drifted = rates(DAY, [(DAY, "EUR", "USD", 1.08)])
    frame = drifted.others["fx_rates"].rename({"rate": "mid"})
    with pytest.raises(
        ContractViolation,
        match=r"fx, capture 2024-03-04: the vendor's columns are .*'mid'.* the contract of fx_rates is "
        r".*'rate'.*missing \['rate'\], unexpected \['mid'\]",
    ):
        take(
            store,
            Capture(
                source="fx",
                label=DAY,
                location="",
                sha256="x",
                known_at=at(DAY),
                assumed=False,
                dataset="fx_rates",
                others={"fx_rates": frame},
                **BLANK,
            ),
        )  # pyright: ignore[reportArgumentType]  # the fields of BLANK
    assert store.read(CAPTURES, as_of=None).is_empty()


def test_a_finding_is_a_row_with_its_own_key(store: DeltaStore) -> None:
    """A rate that stands the other way round is in, found by its key, with what it is beside what it was; the verdict
    blocks.
    """
    days = [DAY + timedelta(days=i) for i in range(2)]
    take(
        store,
        rates(days[0], [(days[0], "EUR", "USD", 1.25), (days[0], "GBP", "USD", 1.30)]),
        rates(days[1], [(days[1], "EUR", "USD", 0.8), (days[1], "GBP", "USD", 1.31)]),
    )
    found = store.read(DATA_FINDINGS, as_of=None, where={"rule": "inverted"}).row(0, named=True)
    assert json.loads(found["row"]) == {"base": "EUR", "quote": "USD", "session": str(days[1])}
    assert (found["found"], found["expected"], found["severity"]) == (0.8, 1.25, "block")
    verdicts = store.read(VERDICTS, as_of=None, first=days[1], where={"rule": "inverted"})
    assert verdicts.select("passed", "value").rows() == [(False, 0.5)]
    assert judged(dataset("fx_rates"), store, days[1]).sort("base")["rate_before"].to_list() == [1.25, 1.30]


def test_a_hole_in_the_day_is_found(store: DeltaStore) -> None:
    """A bar that does not follow the one before it is a finding; the first one of a day is none."""
    start = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
    times = [start + timedelta(minutes=m) for m in (0, 1, 4, 5, 24 * 60)]
    rows = pl.DataFrame(
        {
            "ts": times,
            "venue": "X",
            "symbol": "A",
            "seconds": 60,
            "open": 1.0,
            "high": 1.0,
            "low": 1.0,
            "close": 1.0,
            "volume": 1.0,
            "file": "f",
            "line": range(1, 6),
        }
    )
    capture = Capture(
        source="x",
        label=DAY,
        location="",
        sha256="x",
        known_at=at(DAY, 23) + timedelta(days=1),
        assumed=False,
        dataset="intraday_bars",
        others={"intraday_bars": rows},
        **BLANK,
    )  # pyright: ignore[reportArgumentType]  # the fields of BLANK
    ingest(Feed(capture), store, None, NOW, [DAY], XNYS)
    found = store.read(DATA_FINDINGS, as_of=None, where={"rule": "gap"})
    assert [json.loads(r)["ts"] for r in found["row"]] == ["2024-03-04T14:34:00+00:00"]
    assert (found["expected"] - found["found"]).to_list() == [120.0]


def test_a_withdrawal_is_a_row(store: DeltaStore) -> None:
    """A withdrawn row leaves nothing in force from then on, and withdrawing nothing is nothing."""
    take(store, rates(DAY, [(DAY, "EUR", "USD", 1.08)]))
    later = DAY + timedelta(days=1)
    numbers = take(store, rates(later, [(DAY, "EUR", "USD", 1.08), (DAY, "GBP", "USD", 1.3)], withdrawn=[True, True]))
    assert numbers["observed"] == 1
    assert values(store) == []
    assert values(store, at(DAY)) == [(DAY, "EUR", 1.08)]


def test_an_old_vintage_takes_its_place_in_time(store: DeltaStore) -> None:
    """Versions loaded in the wrong order are in force each in its own time, where no cut has read past them."""
    known = [at(DAY), at(DAY + timedelta(days=30))]
    take(store, rates(DAY + timedelta(days=40), [(DAY, "EUR", "USD", 2.0)], known_at=[known[1]]))
    take(store, rates(DAY + timedelta(days=41), [(DAY, "EUR", "USD", 1.0)], known_at=[known[0]]))
    assert values(store, known[0]) == [(DAY, "EUR", 1.0)]
    assert values(store) == [(DAY, "EUR", 2.0)]


def test_what_comes_behind_a_cut_is_known_at_arrival(store: DeltaStore) -> None:
    """What a decision has read stays what it read: the row is known when it came, and keeps when it was declared."""
    cut = at(DAY + timedelta(days=10))
    take(store, rates(DAY, [(DAY, "EUR", "USD", 1.0)]), cut=cut)
    assert values(store, cut) == []
    assert store.read(FX_RATES, as_of=None).select("known_at", "declared_known_at").rows() == [(NOW, at(DAY))]


def test_two_versions_of_one_moment_stand_in_their_order(store: DeltaStore) -> None:
    """Deliveries that claim the same knowledge time and differ are both kept; the later one is in force, and again
    nothing is new.
    """
    captures = [
        rates(DAY + timedelta(days=i), [(DAY, "EUR", "USD", rate)], known=at(DAY))
        for i, rate in enumerate([1.0, 2.0, 3.0])
    ]
    take(store, *captures)
    assert values(store) == [(DAY, "EUR", 3.0)]
    assert store.read(FX_RATES, as_of=None)["rate"].to_list() == [1.0, 2.0, 3.0]


Rows = list[tuple[date, str, str, float]]
ROW = st.tuples(
    st.integers(0, 3).map(lambda i: DAY + timedelta(days=i)),
    st.sampled_from(["EUR", "GBP"]),
    st.just("USD"),
    st.sampled_from([1.0, 1.1, 90.0]),
)


@settings(max_examples=15, deadline=None)
@given(deliveries=st.lists(st.lists(ROW, max_size=5), min_size=1, max_size=4))
def test_one_call_equals_capture_by_capture(deliveries: list[Rows], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Many captures in one call and each in a call of its own leave the same rows in every table; what is in force is
    what was said last.
    """
    captures = [rates(DAY + timedelta(days=5 + i), rows) for i, rows in enumerate(deliveries)]
    one, each = (DeltaStore(tmp_path_factory.mktemp("store")) for _ in range(2))
    feed = Feed(*captures)
    ingest(feed, one, None, NOW, feed.labels(), XNYS)
    for label in feed.labels():
        ingest(feed, each, None, NOW, [label], XNYS)
    for table in (FX_RATES, QUARANTINE, DATA_FINDINGS, VERDICTS, CAPTURES):
        assert_frame_equal(one.read(table, as_of=None), each.read(table, as_of=None), check_exact=True)
    said: dict[tuple[date, str], float] = {}
    for rows in deliveries:
        told = {(s, b): {r for s2, b2, _, r in rows if (s2, b2) == (s, b)} for s, b, _, _ in rows}
        said |= {k: next(iter(v)) for k, v in told.items() if len(v) == 1}
    assert {(s, b): r for s, b, r in values(one)} == said


@pytest.mark.parametrize("declared", DATASETS, ids=lambda d: d.name)
def test_every_declaration_is_sound(declared: Dataset) -> None:
    """A dataset's contract is a stored one with knowledge time and origin, its rules have names of their own and read
    what it has.
    """
    assert declared.table in contracts()
    assert {"withdrawn", "known_at", "declared_known_at", "file", "line"} <= set(declared.table.schema)
    assert len({r.name for r in declared.rules}) == len(declared.rules)
    known = {*declared.columns, f"{declared.table.event}_before", *(f"{c}_before" for c in declared.says)}
    assert all(r.reads <= known and r.severity in SEVERITIES for r in declared.rules)
    assert all(r.question.endswith("?") for r in declared.rules)
    assert dataset(declared.name) is declared


def test_an_unknown_dataset_is_named() -> None:
    """A feed of nothing that is declared is an error that lists what is."""
    with pytest.raises(ConfigurationError, match=r"'prices'; there are intraday_bars, .*fx_rates"):
        dataset("prices")


def test_adding_a_dataset_is_one_declaration(store: DeltaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract and its rules are all: rows are taken in, refused, found and judged by them."""
    monkeypatch.setattr(plugged, "REGISTRY", dict(plugged.REGISTRY))
    new: Dataset = declared_in_readme("SHORT_INTEREST")
    rows = pl.DataFrame(
        {
            "session": ["2024-03-01"] * 3,
            "symbol": ["A", "B", "C"],
            "shares": ["100", "-5", "900000"],
            "days_to_cover": ["1.0", "1.0", "80.0"],
            "file": ["f"] * 3,
            "line": [2, 3, 4],
        }
    )
    capture = Capture(
        source="si",
        label=DAY,
        location="",
        sha256="x",
        known_at=at(DAY),
        assumed=False,
        dataset=new.name,
        others={new.name: rows},
        **BLANK,
    )  # pyright: ignore[reportArgumentType]  # the fields of BLANK
    report = ingest(Feed(capture), store, None, NOW, [DAY], XNYS)
    assert (report.numbers["observed"], report.numbers["quarantined"]) == (2, 1)
    assert store.read(DATA_FINDINGS, as_of=None, where={"rule": "crowded"})["symbol"].to_list() == ["C"]


def test_a_rule_that_nobody_passes_is_unknown() -> None:
    """A rule without a value has failed, and says so."""
    rule = Rule("r", "warn", "Is it?", pl.lit(0.0), 1.0)
    assert (rule.passes(None), rule.passes(1.0), rule.passes(1.1)) == (False, True, False)
    assert rule.says(None) == "Is it? unknown (at most 1)"


def test_a_capture_of_bars_counts_its_bars(store: DeltaStore, capture: Callable[..., Capture]) -> None:
    """Rows of another dataset that come with the bars, good or refused, are no part of the share of bars that the gate
    looks at.
    """
    other = rates(DAY, [(DAY, "EUR", "USD", 1.08), (DAY, "GBP", "USD", -1.0)]).others
    bars = msgspec.structs.replace(capture(DAY, [("A", DAY, 10.0), ("B", DAY, 0.0)]), others=other)
    report = ingest(Feed(bars), store, None, NOW, [DAY], XNYS)
    assert store.read(CAPTURES, as_of=None).select("dataset", "rows", "quarantined").rows() == [("bars", 2, 1)]
    assert (report.numbers["rows"], report.numbers["observed"], report.numbers["quarantined"]) == (4, 1, 2)
    assert sorted(store.read(QUARANTINE, as_of=None)["dataset"]) == ["bars", "fx_rates"]
