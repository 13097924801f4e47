"""The comparison with Qlib stands on three things that need no Qlib: its file format, a panel and exact arithmetic."""

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from bench.alpha158_bars import VALUES, panel_of, synthetic
from bench.alpha158_judge import compare, deviation, exact, family, table
from bench.peers.qlib.bins import FIELDS, instrument, write_bins


def test_the_binary_format_gives_back_every_bar_and_nan_where_a_name_did_not_trade(tmp_path):
    """A file is a start position and a float32 a session; read back by that rule it is the bars, halts included."""
    bars, sessions = synthetic(16, 90)
    write_bins(bars, sessions, tmp_path)
    panel = panel_of(bars)
    assert (tmp_path / "calendars" / "day.txt").read_text().split() == [str(s) for s in sessions]
    listed = [line.split("\t") for line in (tmp_path / "instruments" / "all.txt").read_text().splitlines()]
    for (sid, first, last), rows in zip(listed, panel.partition_by("sid", maintain_order=True), strict=True):
        assert (sid, first, last) == (
            instrument(rows["sid"][0]),
            str(sessions[rows["i"][0]]),
            str(sessions[rows["i"][-1]]),
        )
        for field in FIELDS:
            start, *values = np.fromfile(tmp_path / "features" / sid.lower() / f"{field}.day.bin", "<f4")
            assert start == rows["i"][0]
            if field in VALUES:
                np.testing.assert_array_equal(values, rows[field].cast(pl.Float32).fill_null(math.nan).to_numpy())


def test_the_synthetic_market_has_what_it_is_there_for():
    """Halts, ties, flat stretches without volume, late listings and an early end occur, and it is the same market each
    time.
    """
    bars, _ = synthetic(32, 400)
    assert bars.equals(synthetic(32, 400)[0])
    panel, ends = panel_of(bars), bars.group_by("sid").agg(first=pl.col("i").min(), last=pl.col("i").max())
    assert panel.filter(~pl.col("present")).height > 100
    assert (ends["first"] > 5).any()
    assert (ends["last"] < 390).any()
    assert bars.filter((pl.col("high") == pl.col("low")) & (pl.col("volume") == 0)).height > 30
    assert bars.filter(pl.col("low") > pl.min_horizontal("open", "close")).is_empty()
    assert bars.filter(pl.col("high") < pl.max_horizontal("open", "close")).is_empty()


@pytest.mark.parametrize(
    ("feature", "close", "volume", "expected"),
    [
        ("WVMA5", [8.0, 8.0, 8.0, 8.0], [100.0, 200.0, 300.0, 400.0], 0.0),
        ("WVMA5", [8.0, 8.0], [100.0, 200.0], math.nan),
        ("WVMA5", [1.0, 2.0, 4.0, 8.0], [9.0, 1.0, 2.0, 3.0], 0.5),
        ("VSTD5", [1.0] * 3, [1.0, 2.0, 3.0], 1 / 3),
        ("VSTD5", [1.0] * 7, [9e9, 9e9, 7.0, 7.0, 7.0, 7.0, 7.0], 0.0),
        ("CORR5", [1.0, 2.0, 3.0], [0.0, 1.0, 3.0], 1.0),
        ("CORR5", [1.0, math.nan, 2.0, 3.0, 1.0], [3.0, 9.0, 1.0, 0.0, 3.0], -1.0),
        ("CORR5", [1.0, 2.0], [7.0, 7.0], math.nan),
    ],
)
def test_exact_values_are_those_worked_out_by_hand(feature, close, volume, expected):
    """Deviation over mean, deviation over the row's own volume, correlation with the logarithm."""
    assert exact(feature, np.array(close, np.float32), np.array(volume, np.float32)) == pytest.approx(
        expected, rel=1e-11, nan_ok=True
    )


def test_a_deviation_is_that_of_the_closes_that_are_there():
    """Of the window alone, with n - 1."""
    assert deviation(
        "RSQR5", np.array([9.0, 9.0, 1.0, math.nan, 3.0, math.nan, math.nan], np.float32)
    ) == pytest.approx(math.sqrt(2))
    assert math.isnan(deviation("RSQR5", np.array([3.0], np.float32)))


def test_a_difference_of_value_and_one_of_mask_are_counted_apart(tmp_path):
    """Two cells beyond the tolerance, one number against none; infinite counts as none."""
    answer, nan = tmp_path / "qlib.parquet", math.nan
    theirs = pl.DataFrame(
        {
            "instrument": [instrument(7)] * 5,
            "datetime": [date(2020, 1, d) for d in range(1, 6)],
            "MA5": [1.0, 2.0, nan, math.inf, 1e9],
        }
    )
    theirs.write_parquet(answer)
    ours = pl.DataFrame({"sid": [7] * 5, "MA5": [1.0, 2.1, 3.0, None, 1e9 + 1]})
    found = compare(ours, answer, ["MA5"])
    assert found.select("cells", "mask_differs", "beyond", "beyond_relative").row(0) == (5, 1, 2, 1)
    assert "| MA | 1 | 5 | 1 |" in table(found)
    with pytest.raises(SystemExit, match="different rows"):
        compare(ours.head(3), answer, ["MA5"])


def test_families_are_named_as_in_the_definition():
    """KMID2 is a bar's shape, not a window of two."""
    assert [family(f) for f in ("KMID2", "KLEN", "VWAP0", "ROC60", "VSUMP5")] == [
        "KBAR",
        "KBAR",
        "price",
        "ROC",
        "VSUMP",
    ]
