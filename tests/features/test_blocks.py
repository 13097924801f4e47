"""A range equals its days, to the bit, whatever arrives late."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import MONEY, UTC_MICROS
from quant_assets.features.blocks import Block, evaluate, panel, versions
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.market_data.adjustment import ADJUSTING, SPLITS

CUTS = Cuts(calendar("XNYS"))


def random_panel(seed: int, names: int = 12, sessions: int = 150) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars and actions of a small market with late rows, restatements, withdrawals, halts, and late, revised and
    withdrawn actions.
    """
    rng = np.random.default_rng(seed)
    days = CUTS.calendar.between(date(2016, 1, 4), date(2016, 12, 30))[:sessions]
    bars, actions = [], []
    for sid in range(1, names + 1):
        price = 50.0
        born, dies = int(rng.integers(0, 40)), int(rng.integers(sessions - 30, sessions + 10))
        for n, day in enumerate(days):
            if not born <= n < dies or rng.random() < 0.03:
                continue
            price = round(price * float(np.exp(rng.normal(0, 0.02))), 2)
            row = {
                "sid": sid,
                "session": day,
                "open": price * 0.99,
                "high": price * 1.02,
                "low": price * 0.97,
                "close": price,
                "volume": int(rng.integers(1000, 9000)),
                "withdrawn": False,
            }
            known = (
                CUTS.of(day)
                - timedelta(hours=1)
                + timedelta(days=int(rng.integers(1, 12)) if rng.random() < 0.05 else 0)
            )
            bars.append({**row, "known_at": known})
            if rng.random() < 0.05:
                bars.append(
                    {
                        **row,
                        "close": price + 0.01,
                        "volume": row["volume"] + 100,
                        "known_at": known + timedelta(days=int(rng.integers(0, 20))),
                    }
                )
            if rng.random() < 0.01:
                bars.append({**row, "withdrawn": True, "known_at": known + timedelta(days=int(rng.integers(1, 9)))})
            if rng.random() < 0.04:
                kind = ADJUSTING[int(rng.integers(len(ADJUSTING)))]
                action = {
                    "sid": sid,
                    "session": day,
                    "kind": kind,
                    "numerator": 2,
                    "denominator": 1,
                    "cash": "0.37",
                    "value": 0.31,
                    "withdrawn": False,
                }
                seen = CUTS.of(day) + timedelta(days=int(rng.integers(-10, 8)))
                actions.append({**action, "known_at": seen})
                if rng.random() < 0.4:
                    actions.append(
                        {
                            **action,
                            "numerator": 3,
                            "cash": "0.11",
                            "withdrawn": rng.random() < 0.3,
                            "known_at": seen + timedelta(days=int(rng.integers(1, 15))),
                        }
                    )
    bar_frame = (
        pl.DataFrame(bars)
        .with_columns(pl.col("known_at").cast(UTC_MICROS))
        .unique(["sid", "session", "known_at"], keep="last")
    )
    action_frame = (
        pl.DataFrame(actions)
        .with_columns(pl.col("known_at").cast(UTC_MICROS), pl.col("cash").cast(MONEY))
        .unique(["sid", "session", "kind", "known_at"], keep="last")
    )
    return bar_frame, action_frame


def located(bars: pl.DataFrame, actions: pl.DataFrame, first: date, last: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Versions on [first, last] known by the cut of `last`."""
    cuts, as_of = CUTS.frame(first, last), CUTS.of(last)
    known = [
        f.filter(pl.col("session").is_between(first, last) & (pl.col("known_at") <= as_of)) for f in (bars, actions)
    ]
    return versions(known[0], cuts, PRICE_VOLUME.stored_columns, ("sid",)), versions(
        known[1], cuts, ("numerator", "denominator", "cash", "value"), ("sid", "kind")
    )


def bits(frame: pl.DataFrame) -> bytes:
    """Every bit of the frame's features, nulls told apart."""
    values = frame.sort("i", "sid").select(*PRICE_VOLUME.features)
    return values.fill_null(-12345.678).to_numpy().tobytes()


def alone(bars: pl.DataFrame, actions: pl.DataFrame, anchor: int, t: int) -> pl.DataFrame:
    """Brute force: only what was known at t's cut, one plain series a name, no vintages."""
    cal = CUTS.calendar
    first, day = cal.at(anchor), cal.at(t)
    b, a = located(bars, actions, first, day)
    b, a = (
        f.sort("e").unique([c for c in ("sid", "kind", "i") if c in f.columns], keep="last", maintain_order=True)
        for f in (b, a)
    )
    plain = [f.filter(~pl.col("withdrawn")).with_columns(e=pl.col("i"), late=pl.lit(value=False)) for f in (b, a)]
    members = b.select("sid").unique().with_columns(i=pl.lit(t, dtype=pl.Int32))
    return evaluate(PRICE_VOLUME, plain[0], plain[1], members, Block(anchor, t, t))


@pytest.mark.parametrize("seed", range(4))
def test_a_range_equals_brute_force_on_every_day(seed: int) -> None:
    """Each day of a block, computed alone from what its cut knew, has the bits that the range gave it."""
    bars, actions = random_panel(seed)
    cal = CUTS.calendar
    start, end = cal.index(date(2016, 4, 1)), cal.index(date(2016, 6, 30))
    anchor = start - PRICE_VOLUME.lookback
    b, a = located(bars, actions, cal.at(anchor), cal.at(end))
    everyone = (
        b.select("sid").unique().join(pl.DataFrame({"i": range(start, end + 1)}, schema={"i": pl.Int32}), how="cross")
    )
    ranged = evaluate(PRICE_VOLUME, b, a, everyone, Block(anchor, start, end))
    assert ranged.height > 400
    assert b.filter("late").height > 10
    assert a.filter("late").height > 2
    for t in range(start, end + 1, 3):
        day = alone(bars, actions, anchor, t)
        of_range = ranged.filter(pl.col("i") == t)
        assert of_range["sid"].equals(day["sid"])
        assert bits(of_range) == bits(day), cal.at(t)


@pytest.mark.parametrize("split", [1, 17, 40])
def test_two_ranges_equal_one(split: int) -> None:
    """Where a block is cut in two makes no difference to any bit."""
    bars, actions = random_panel(7)
    cal = CUTS.calendar
    start, end = cal.index(date(2016, 4, 1)), cal.index(date(2016, 6, 30))
    anchor = start - PRICE_VOLUME.lookback

    def ranged(first: int, last: int) -> pl.DataFrame:
        b, a = located(bars, actions, cal.at(anchor), cal.at(last))
        everyone = (
            b.select("sid")
            .unique()
            .join(pl.DataFrame({"i": range(first, last + 1)}, schema={"i": pl.Int32}), how="cross")
        )
        return evaluate(PRICE_VOLUME, b, a, everyone, Block(anchor, first, last))

    whole = ranged(start, end)
    parts = pl.concat([ranged(start, start + split - 1), ranged(start + split, end)])
    assert bits(whole) == bits(parts)


def test_the_kernel_is_free_of_scale() -> None:
    """Twice the adjusted price and half the adjusted volume change no bit of any feature of a ratio."""
    bars, _ = random_panel(3, names=4)
    b, a = located(
        bars,
        pl.DataFrame(
            schema={
                "sid": pl.Int64,
                "session": pl.Date,
                "kind": pl.String,
                "numerator": pl.Int64,
                "denominator": pl.Int64,
                "cash": MONEY,
                "value": pl.Float64,
                "withdrawn": pl.Boolean,
                "known_at": UTC_MICROS,
            }
        ),
        date(2016, 1, 4),
        date(2016, 6, 30),
    )
    from quant_assets.features.blocks import panel

    cal = CUTS.calendar
    rows = panel(
        PRICE_VOLUME,
        b,
        a,
        Block(cal.index(date(2016, 1, 4)), cal.index(date(2016, 4, 1)), cal.index(date(2016, 6, 30))),
    )
    scaled = rows.with_columns(*[pl.col(c) * 2 for c in ("open", "high", "low", "close")], pl.col("volume") / 2)
    names = [f for f in PRICE_VOLUME.features if not f.startswith("rank_")]
    one, two = (PRICE_VOLUME.kernel(f).select(names).fill_null(0).fill_nan(0).to_numpy() for f in (rows, scaled))
    assert (one.view(np.uint64) == two.view(np.uint64)).all()


def test_a_volume_revision_starts_no_vintage_of_a_price_set() -> None:
    """Only the columns that a set reads can split its series."""
    row = {
        "sid": 1,
        "session": date(2016, 4, 1),
        "close": 10.0,
        "volume": 5,
        "withdrawn": False,
        "known_at": CUTS.of(date(2016, 4, 1)),
    }
    rows = pl.DataFrame([row, {**row, "volume": 6, "known_at": CUTS.of(date(2016, 4, 5))}]).with_columns(
        pl.col("known_at").cast(UTC_MICROS)
    )
    cuts = CUTS.frame(date(2016, 4, 1), date(2016, 4, 8))
    assert versions(rows, cuts, ("close",), ("sid",)).height == 1
    assert versions(rows, cuts, ("close", "volume"), ("sid",))["late"].to_list() == [False, True]


def test_real_panel_range_equals_days(shared_data: Path) -> None:
    """On the real panel's second quarter of 2015, with its restatements and late rows, a range equals brute force."""
    raw = pl.read_parquet(shared_data / "pystock/prices_20150323_20160630.parquet")
    names = raw["symbol"].unique().sort().gather_every(12)
    bars = (
        raw.filter(pl.col("symbol").is_in(names.implode()))
        .with_columns(
            session=pl.col("date"),
            known_at=pl.col("captured_on").cast(UTC_MICROS) + pl.duration(hours=37),
            sid=pl.col("symbol").rank("dense").cast(pl.Int64),
            withdrawn=pl.lit(value=False),
        )
        .unique(["sid", "session", "known_at"], keep="first", maintain_order=True)
    )
    none = pl.DataFrame(
        schema={
            "sid": pl.Int64,
            "session": pl.Date,
            "kind": pl.String,
            "numerator": pl.Int64,
            "denominator": pl.Int64,
            "cash": MONEY,
            "value": pl.Float64,
            "withdrawn": pl.Boolean,
            "known_at": UTC_MICROS,
        }
    )
    cal = CUTS.calendar
    start, end = cal.index(date(2015, 7, 1)), cal.index(date(2015, 9, 30))
    anchor = start - PRICE_VOLUME.lookback
    b, a = located(bars, none, cal.at(anchor), cal.at(end))
    everyone = (
        b.select("sid").unique().join(pl.DataFrame({"i": range(start, end + 1)}, schema={"i": pl.Int32}), how="cross")
    )
    ranged = evaluate(PRICE_VOLUME, b, a, everyone, Block(anchor, start, end))
    assert b.filter("late").height > 100
    for t in range(start, end + 1, 9):
        assert bits(ranged.filter(pl.col("i") == t)) == bits(alone(bars, none, anchor, t)), cal.at(t)


def test_knowledge_enters_at_the_first_cut_that_knows_it() -> None:
    """A row known a minute after a cut belongs to the next one."""
    cut = CUTS.of(date(2016, 4, 1))
    rows = pl.DataFrame(
        {"sid": [1], "session": [date(2016, 4, 1)], "close": [1.0], "withdrawn": [False], "known_at": [cut]}
    ).with_columns(pl.col("known_at").cast(UTC_MICROS))
    late = rows.with_columns(pl.col("known_at") + pl.duration(minutes=1))
    cuts = CUTS.frame(date(2016, 4, 1), date(2016, 4, 8))
    assert versions(rows, cuts, ("close",), ("sid",))["late"].to_list() == [False]
    assert versions(late, cuts, ("close",), ("sid",))["late"].to_list() == [True]


def test_a_set_adjusted_for_splits_only_sees_no_payment() -> None:
    """Its panel is the one of a market in which nothing was paid out, to the bit; that of the adjusted set is not."""
    bars, actions = random_panel(1)
    cal = CUTS.calendar
    start, end = cal.index(date(2016, 4, 1)), cal.index(date(2016, 6, 30))
    block = Block(start - PRICE_VOLUME.lookback, start, end)
    b, a = located(bars, actions, cal.at(block.anchor), cal.at(end))
    nothing_paid = a.filter(pl.col("kind").is_in(SPLITS))
    assert 0 < nothing_paid.height < a.height
    split_only = panel(replace(PRICE_VOLUME, splits_only=True), b, a, block)
    assert split_only.equals(panel(PRICE_VOLUME, b, nothing_paid, block))
    assert not split_only.equals(panel(PRICE_VOLUME, b, a, block))
    assert replace(PRICE_VOLUME, splits_only=True).fingerprint != PRICE_VOLUME.fingerprint
