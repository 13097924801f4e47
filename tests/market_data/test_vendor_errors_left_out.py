"""Detectors on names and errors that no threshold was chosen with: real series, spoilt by the mechanism of each
error.
"""

import itertools
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench import held_out
from bench.clean_series import Bars, paths
from bench.spoiling import KINDS, Case, cases
from bench.vendor_errors import mended, read
from quant_assets.market_data.vendor_errors import diagnose

AMOUNTS = ("open", "high", "low", "close", "adj_close", "dividend", "capital_gains")
UNCERTAIN = (
    "payment in another currency",
    "adjustment too large or small",
    "payment misdated",
    "payment of another",
    "stale run",
)


FAINT = ("amount and step /100", "payment repeated")  # small against a day's move: often told and left


@dataclass(frozen=True)
class Judged:
    """Cases, what the detectors say of them all, and the scores."""

    cases: list[Case]
    bars: pl.DataFrame
    findings: pl.DataFrame
    repairs: pl.DataFrame
    scores: pl.DataFrame


@pytest.fixture(scope="module")
def judged(shared_data: Path) -> Judged:
    """Every twelfth name, none of them among those with which thresholds were chosen, with errors of another seed;
    those of days and weeks.
    """
    names: dict[str, Bars] = dict(itertools.islice(paths(shared_data).items(), 1, None, 12))
    drawn = [case for case in cases(names, seed=7, kinds=6) if case.interval != "15m"]
    bars = pl.concat(case.bars.with_columns(symbol=pl.lit(f"{n:03d}")) for n, case in enumerate(drawn))
    said = diagnose(bars)
    return Judged(drawn, bars, *said, held_out.scored(drawn, diagnose))


def test_errors_are_found_and_mended_and_clean_series_left_alone(judged: Judged) -> None:
    """Over the kinds, at the rates at which they were published, most errors are found and most files mended whole;
    clean series have at most one alarm in 10,000 rows, and no repair.
    """
    assert set(judged.scores["kind"]) == {"clean", *KINDS}
    rates = held_out.at_published_rates(judged.scores)
    assert rates["found"] > 0.95
    assert rates["whole"] > 0.75
    assert rates["amiss"] < 0.08
    assert rates["alarms"] <= 1.0
    clean = [f"{n:03d}" for n, case in enumerate(judged.cases) if case.kind == "clean"]
    assert judged.repairs.filter(pl.col("symbol").is_in(clean)).is_empty()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNCERTAIN])
def test_each_kind_is_found(judged: Judged, kind: str) -> None:
    """Of each kind whose evidence is in the file, three errors in four are found at least; half the files come back
    whole, but for kinds that are faint.
    """
    found, whole = (
        judged.scores.filter(pl.col("kind") == kind).select(held_out.figures()).select("found", "whole").row(0)
    )
    assert found >= 0.75
    assert whole >= 0.5 or kind in FAINT


def test_a_mended_series_is_mended_once(judged: Judged) -> None:
    """With the repairs in force, next to nothing is repaired again."""
    again = diagnose(mended(judged.bars, judged.repairs))[1]
    assert again["symbol"].n_unique() <= 0.01 * len(judged.cases)


def test_the_currency_changes_no_finding(judged: Judged) -> None:
    """Prices and payments eight times as large have the same findings, of which the same are mended."""
    scaled = diagnose(judged.bars.with_columns(pl.col(AMOUNTS) * 8))[0]
    says = ["symbol", "session", "rule", "column", "repaired"]
    assert scaled.select(says).equals(judged.findings.select(says))


def test_what_is_not_mended_says_so(judged: Judged) -> None:
    """A finding without a repair says that the evidence does not suffice, or what to ask for; one with a repair has a
    later row.
    """
    left = judged.findings.filter(~pl.col("repaired"))
    assert left.height > 0
    assert left["message"].str.contains("does not suffice to mend|ask for the corporate action|does not show one").all()
    mendable = judged.findings.filter("repaired").join(judged.repairs, on=["symbol", "session"], how="anti")
    assert mendable.filter(~pl.col("rule").str.contains("ADJUSTMENT|GAIN|MISSING|MISDATED")).is_empty()


def walk(rows: int, per_day: int = 1, seed: int = 5) -> pl.DataFrame:
    """A random walk of 1 % a day, all rows traded, without payments; `per_day` rows in each session."""
    draw = np.random.default_rng(seed)
    first = np.arange(rows) % per_day == 0
    close = 50 * np.exp(np.cumsum(draw.normal(0, 1, rows) * np.where(first, 0.01, 0.001 if per_day > 1 else 0.01)))
    opened = np.concatenate([[50.0], close[:-1]]) * np.exp(draw.normal(0, 1, rows) * np.where(first, 0.005, 0.0002))
    days = [date(2024, 1, 1) + timedelta(days=k // per_day) for k in range(rows)]
    sessions = pl.Series(days) if per_day == 1 else pl.Series(days).cast(pl.Datetime("us")) + pl.Series(
        [timedelta(minutes=570 + 15 * (k % per_day)) for k in range(rows)]
    )  # fmt: skip
    return pl.DataFrame(
        {
            "symbol": ["A"] * rows,
            "session": sessions,
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "adj_close": close,
            "volume": draw.integers(1_000, 9_000, rows).astype(float),
            "dividend": np.zeros(rows),
            "split": np.zeros(rows),
        }
    )


def test_a_night_is_longer_than_a_quarter_of_an_hour() -> None:
    """A payment of 1 % that falls on a night's move of 3 % is no error, though the moves within the day are a thirtieth
    of it.
    """
    bars, at, paid = walk(260, per_day=26), 130, 0.5
    before = float(bars["close"][at - 1])
    from_then, y = pl.int_range(pl.len()) >= at, paid / before
    drop = 0.96 * before / float(bars["open"][at])
    bars = bars.with_columns(
        *(pl.when(from_then).then(pl.col(c) * drop).otherwise(c).alias(c) for c in ("open", "high", "low", "close")),
        dividend=pl.when(pl.int_range(pl.len()) == at).then(paid).otherwise(0.0),
    )
    bars = bars.with_columns(adj_close=pl.when(from_then).then("close").otherwise(pl.col("close") * (1 - y)))
    assert diagnose(bars)[0].is_empty()


def test_two_sources_that_contradict_each_other_alike_are_told_and_left() -> None:
    """A payment of 1.2 % of which the adjusted close took 0.8 %, on a day that moves 1 % anyway, is told; which of the
    two is right is left open.
    """
    bars, at = walk(120), 60
    amount = 0.012 * float(bars["close"][at - 1])
    here, earlier = pl.int_range(pl.len()) == at, pl.int_range(pl.len()) < at
    bars = bars.with_columns(
        dividend=pl.when(here).then(amount).otherwise(0.0),
        adj_close=pl.when(earlier).then(pl.col("close") * (1 - 0.008)).otherwise("close"),
    )
    findings, repairs = diagnose(bars)
    assert findings.select("session", "repaired").rows() == [(bars["session"][at], False)]
    assert "the evidence does not suffice" in findings["message"].item()
    assert repairs.is_empty()


def test_a_week_is_wrong_in_its_high_alone() -> None:
    """Of a day in the other unit a week keeps the high: that one price is told and mended."""
    bars = walk(60).with_columns(session=pl.date_range(date(2023, 1, 2), date(2024, 2, 19), "1w", eager=True))
    wrong = bars.with_columns(high=pl.when(pl.int_range(pl.len()) == 30).then(pl.col("high") * 100).otherwise("high"))
    findings, repairs = diagnose(wrong)
    assert findings.select("session", "rule", "column").rows() == [(bars["session"][30], "UNIT_100X", "high")]
    assert repairs["high"].to_list() == pytest.approx([bars["high"][30]])


def test_files_within_the_day_are_read_by_the_minute(tmp_path: Path) -> None:
    """A file with more rows than one a day keeps its times, whatever interval its name says."""
    file = tmp_path / "X-60m-no-bad-divs.csv.gz"
    rows = ["2024-01-02 09:30:00-05:00,1,1,1,1,1,5,0,0", "2024-01-02 10:30:00-05:00,1,1,1,1,1,5,0,0"]
    pl.DataFrame({"all": rows}).select(
        pl.col("all").str.split(",").list.to_struct(
            fields=["Datetime", "Open", "High", "Low", "Close", "Adj Close", "Volume", "Dividends", "Stock Splits"]
        ).struct.unnest()
    ).write_csv(file, compression="gzip")  # fmt: skip
    assert read(file)["session"].dt.hour().to_list() == [9, 10]
