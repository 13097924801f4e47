"""The gate, its rules, and their second judge."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force
from quant_assets.market_data import quality
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.partitions import partitions
from quant_assets.market_data.rules import findings
from quant_assets.tables import BARS, DATA_FINDINGS, VERDICTS
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
FIRST = date(2016, 3, 7)
DAYS = [XNYS.shift(FIRST, i) for i in range(4)]


@pytest.fixture
def store(tmp_path: Path, capture: Callable[..., Any], captures: Any) -> DeltaStore:
    """Four sessions of ten names; the third is thin, its capture for the fourth restates it."""
    closes = {d: [(f"N{i}", d, 10.0 + i + d.day / 10) for i in range(3 if d == DAYS[2] else 10)] for d in DAYS}
    held = {d: capture(d, closes[d]) for d in DAYS[:3]}
    held[DAYS[3]] = capture(DAYS[3], [(f"N{i}", DAYS[2], 10.5 + i) for i in range(10)] + closes[DAYS[3]])
    opened = DeltaStore(tmp_path)
    ingest(captures(held), opened, None, NOW, DAYS, XNYS)
    return opened


def content(store: DeltaStore, day: date, as_of: datetime) -> str:
    return quality.session_hash(in_force(store.read(BARS, as_of=as_of, first=day, last=day), BARS))


def test_the_thin_session_is_blocked(store: DeltaStore) -> None:
    """Only the session with too few rows is refused, and says which rule failed with its number."""
    report = quality.write_verdicts(store, CUTS, DAYS)
    assert (report.state, report.notes) == ("refused", (f"{DAYS[2]}: coverage",))
    verdicts = store.read(VERDICTS, as_of=None)
    assert [quality.released(verdicts, d, content(store, d, CUTS.of(d)))[0] for d in DAYS] == [True, True, False, True]
    assert quality.released(verdicts, DAYS[2], content(store, DAYS[2], CUTS.of(DAYS[2])))[1].endswith(
        "0.3 (at least 0.8)"
    )


def test_no_row_means_no(store: DeltaStore) -> None:
    """Bars that nobody judged are not released: no verdict at all, or none on this content."""
    assert quality.released(VERDICTS.empty(), DAYS[0], content(store, DAYS[0], CUTS.of(DAYS[0])))[0] is False
    quality.write_verdicts(store, CUTS, DAYS)
    restated = content(store, DAYS[2], CUTS.of(DAYS[3]))
    allowed, reason = quality.released(store.read(VERDICTS, as_of=None), DAYS[2], restated)
    assert (allowed, reason[:18]) == (False, "no quality verdict")


def test_a_range_of_verdicts_equals_its_days(store: DeltaStore) -> None:
    """Judged together or one by one, in any order and again, the verdicts are the same rows."""
    together = pl.concat(quality.verdict(p.session, p.rows, CUTS) for p in partitions(store, CUTS, DAYS))
    alone = pl.concat(quality.verdict(p.session, p.rows, CUTS) for day in DAYS for p in partitions(store, CUTS, [day]))
    assert_frame_equal(together, alone, check_exact=True)
    quality.write_verdicts(store, CUTS, DAYS)
    version = store.version(VERDICTS)
    quality.write_verdicts(store, CUTS, DAYS[::-1])
    assert store.version(VERDICTS) == version


def test_the_hash_knows_content_not_origin(store: DeltaStore) -> None:
    """Another file, line or time is the same content; another price or volume is not, and row order does not count."""
    rows = in_force(store.read(BARS, as_of=None, first=DAYS[0], last=DAYS[0]), BARS)
    same = rows.with_columns(file=pl.lit("other"), line=pl.lit(1, pl.Int64), known_at=pl.lit(NOW)).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    assert quality.session_hash(same) == quality.session_hash(rows)
    for changed in (pl.col("close") + 1e-12, pl.col("volume") + 1):
        assert quality.session_hash(rows.with_columns(changed)) != quality.session_hash(rows)


def partition(**columns: Any) -> pl.DataFrame:
    """A hundred sound rows, the first of them edited."""
    n = 100
    base = pl.DataFrame({"sid": range(n), "symbol": [f"S{i}" for i in range(n)]}).with_columns(
        session=pl.lit(FIRST),
        open=10.0,
        high=11.0,
        low=9.0,
        close=10.5,
        volume=pl.lit(100, pl.Int64),
        open_before=10.2,
        high_before=11.0,
        low_before=9.0,
        close_before=10.0,
        volume_before=pl.lit(90, pl.Int64),
        split_ratio=pl.lit(None, pl.Float64),
        dividend=pl.lit(None, pl.Float64),
        gap_share=0.0,
        uncovered_share=0.0,
        acted=pl.lit(value=False),
        captured=pl.lit(value=True),
        usual_rows=100.0,
        quarantined_share=0.0,
    )
    few, first = columns.pop("rows", 1), pl.int_range(pl.len())
    return base.with_columns(
        pl.when(first < few).then(pl.lit(v)).otherwise(pl.col(c)).alias(c) for c, v in columns.items()
    )


BROKEN = {
    "captured": partition(captured=False, rows=100),
    "coverage": partition(usual_rows=126.0, rows=100),
    "quarantined": partition(quarantined_share=0.06, rows=100),
    "ohlc_valid": partition(high=10.4),
    "no_duplicates": partition(symbol="S5"),
    "zero_volume": partition(volume=0, rows=3),
    "stale": partition(open_before=10.0, close_before=10.5, rows=11),
    "outliers": partition(close_before=5.5),
    "cross_section": partition(close=13.0, high=13.0, rows=3),
    "unit": partition(close_before=1050.0),
    "split_missed": partition(open=5.0, low=5.0),
    "split_absent": partition(split_ratio=0.5, acted=True),
    "dividend": partition(dividend=3.0, acted=True),
    "gaps": partition(gap_share=0.03, rows=100),
    "universe_coverage": partition(uncovered_share=0.3, rows=100),
}
ALSO = {"unit": ["outliers"]}  # what is a hundred times too small has moved by more than half, too


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_finds_its_fault_only(name: str) -> None:
    """Sound rows pass every rule; each fault fails the one rule that asks for it, and where single rows are wrong, they
    are the findings.
    """
    assert quality.verdict(FIRST, partition(), CUTS)["passed"].all()
    assert findings(BARS, partition(), quality.RULES, NOW).is_empty()
    assert sorted(quality.verdict(FIRST, BROKEN[name], CUTS).filter(~pl.col("passed"))["rule"].to_list()) == sorted(
        [name, *ALSO.get(name, [])]
    )
    found = findings(BARS, BROKEN[name], quality.RULES, NOW).filter(pl.col("rule") == name)
    by_row = next(r for r in quality.RULES if r.name == name).severity != "block" or name in {
        "ohlc_valid",
        "no_duplicates",
        "stale",
        "unit",
    }
    assert (found.height > 0) == (by_row and name != "gaps")
    assert all(json.loads(row)["sid"] in range(11) for row in found["row"])


def test_all_rules_are_tried() -> None:
    """Every rule of the gate has a fault that fails it."""
    assert sorted(BROKEN) == sorted(r.name for r in quality.RULES)


def test_a_gap_is_a_finding_on_the_name_that_is_missing(
    tmp_path: Path, capture: Callable[..., Any], captures: Any
) -> None:
    """A listed name that traded the session before and has no bar is found by its own key, as known at the cut; of a
    thin session the verdict speaks, not each name.
    """
    names = [f"N{i}" for i in range(10)]
    there = {DAYS[0]: names, DAYS[1]: names[:9], DAYS[2]: names[:3], DAYS[3]: names}
    opened = DeltaStore(tmp_path)
    ingest(
        captures({d: capture(d, [(n, d, 10.0 + d.day) for n in held]) for d, held in there.items()}),
        opened,
        None,
        NOW,
        DAYS,
        XNYS,
    )
    quality.write_verdicts(opened, CUTS, DAYS)
    gaps = opened.read(DATA_FINDINGS, as_of=None, where={"rule": "gaps"})
    assert gaps.select("session", "symbol", "known_at").rows() == [(DAYS[1], "N9", CUTS.of(DAYS[1]))]
    assert set(json.loads(gaps["row"].item())) == {"sid", "session"}


def test_a_move_with_an_action_is_no_outlier() -> None:
    """A name that halves on its split day is not questioned."""
    assert quality.verdict(FIRST, partition(close_before=30.0, split_ratio=1 / 3, acted=True), CUTS)["passed"].all()


def test_great_expectations_judges_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On sound, broken and empty partitions the suite finds what the gate finds; its pages are built under the folder
    given.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # great_expectations itself warns of what its dependencies deprecate
        from quant_assets.market_data.expectations import data_docs, validate

        for rows in (partition(), *BROKEN.values(), partition().clear()):
            judged = quality.verdict(FIRST, rows, CUTS)
            assert validate(rows) == dict(judged.select("rule", "passed").rows())
        index, found = data_docs(tmp_path, BROKEN["stale"], FIRST)
    assert (index.is_file(), found["stale"], found["coverage"]) == (True, False, True)
    rates = pl.DataFrame({"rate": [1.08, 0.8], "rate_before": [1.07, 1.25]})
    _, of_rates = data_docs(tmp_path, rates, FIRST, dataset("fx_rates").judging, name="fx_rates")
    assert of_rates == {"inverted": False, "unit": True, "outlier": False}
    page = next((tmp_path / "validations").rglob("*.html"))
    assert str(FIRST) in str(page)
