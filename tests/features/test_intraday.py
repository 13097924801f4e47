"""Features of bars: live, by session and by range are the same bits, and no bar is seen before it is over."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_assets.calendars import calendar
from quant_assets.errors import ConfigurationError
from quant_assets.features.intraday import anchor_of, compute_bars, grid, on_bars, publish_bars
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.sets import Input
from quant_assets.tables import ACTIONS, LISTINGS
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.tables.store import DeltaStore

ALWAYS = calendar("24/7")
DAYS = ALWAYS.between(date(2026, 3, 2), date(2026, 3, 5))
BARS_15M = on_bars(PRICE_VOLUME, "15m")
LENGTH = timedelta(minutes=15)


def rows(symbols: int, days: list[date], seed: int = 5, *, hours=ALWAYS, seconds: int = 900) -> pl.DataFrame:
    """Bars of a few names with holes, late arrivals, restatements and withdrawals, known at their ends at the
    earliest.
    """
    rng = np.random.default_rng(seed)
    slots = hours.grid(days[0], days[-1], seconds)["ts"].to_list()
    out = []
    for n in range(symbols):
        price = 100.0
        for ts in slots:
            price = round(price * float(np.exp(rng.normal(0, 0.003))), 2)
            if rng.random() < 0.04:
                continue
            known = (
                ts
                + timedelta(seconds=seconds)
                + (timedelta(minutes=int(rng.integers(1, 200))) if rng.random() < 0.03 else timedelta())
            )
            row = {
                "ts": ts,
                "venue": "v",
                "symbol": f"S{n}",
                "seconds": seconds,
                "open": price,
                "high": price * 1.002,
                "low": price * 0.998,
                "close": price,
                "volume": float(rng.integers(1, 500)),
                "withdrawn": False,
                "known_at": known,
            }
            out.append(row)
            if rng.random() < 0.03:
                out.append(
                    {**row, "close": price * 1.001, "known_at": known + timedelta(minutes=int(rng.integers(1, 400)))}
                )
            if rng.random() < 0.01:
                out.append(
                    {**row, "withdrawn": True, "known_at": known + timedelta(minutes=int(rng.integers(401, 900)))}
                )
    return conformed(out)


def conformed(out: list[dict]) -> pl.DataFrame:
    """Rows of the contract, with an origin."""
    origin = {"source": "x", "capture": date(2026, 3, 1), "file": "f", "line": 1}
    frame = pl.DataFrame(
        [{**origin, **r, "declared_known_at": r["known_at"]} for r in out],
        schema_overrides={"known_at": INTRADAY_BARS.schema["known_at"]},
    )
    return INTRADAY_BARS.conform(frame.unique(INTRADAY_BARS.key, keep="first").select(*INTRADAY_BARS.schema))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> DeltaStore:
    """Four days of four names on a venue that never closes."""
    made = DeltaStore(tmp_path_factory.mktemp("bars"))
    made.append(INTRADAY_BARS, rows(4, DAYS))
    return made


def bits(frame: pl.DataFrame) -> bytes:
    """Keys, and every bit of the values with nulls told apart."""
    return (
        frame.select("ts", "symbol").write_json().encode()
        + frame.select(BARS_15M.features).fill_null(-12345.678).to_numpy().tobytes()
    )


def whole(store: DeltaStore, day: date) -> pl.DataFrame:
    """All bars of a session in one call."""
    return compute_bars(store, BARS_15M, "v", ALWAYS, ALWAYS.open(day), ALWAYS.close(day) - LENGTH)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 95), min_size=1, max_size=4, unique=True))
def test_however_a_session_is_cut_its_bits_are_the_same(store: DeltaStore, cut_at: list[int]) -> None:
    """A session in one call equals the same in pieces cut anywhere, and its first and last bar alone, as a live run
    would ask for them.
    """
    day, opened = DAYS[2], ALWAYS.open(DAYS[2])
    edges = [0, *sorted(cut_at), 96]
    parts = [
        compute_bars(store, BARS_15M, "v", ALWAYS, opened + a * LENGTH, opened + (b - 1) * LENGTH)
        for a, b in pairwise(edges)
    ]
    ranged = whole(store, day)
    assert ranged.height > 300
    assert bits(pl.concat(parts).sort(BARS_15M.table.key)) == bits(ranged)
    live = compute_bars(store, BARS_15M, "v", ALWAYS, opened + cut_at[0] * LENGTH, opened + cut_at[0] * LENGTH)
    assert bits(live) == bits(ranged.filter(pl.col("ts") == opened + cut_at[0] * LENGTH))


def test_a_range_of_sessions_equals_its_sessions(store: DeltaStore) -> None:
    """Two sessions in one call are the two alone."""
    both = compute_bars(store, BARS_15M, "v", ALWAYS, ALWAYS.open(DAYS[1]), ALWAYS.close(DAYS[2]) - LENGTH)
    assert bits(both) == bits(pl.concat([whole(store, d) for d in DAYS[1:3]]).sort(BARS_15M.table.key))


@pytest.mark.parametrize("slot", [0, 1, 40, 95])
def test_what_comes_later_changes_nothing(store: DeltaStore, tmp_path, slot: int) -> None:
    """A store that knows nothing after a bar's end gives that bar the same bits: the bar that is open is in no
    feature.
    """
    at = ALWAYS.open(DAYS[2]) + slot * LENGTH
    known = DeltaStore(tmp_path)
    known.append(INTRADAY_BARS, store.read(INTRADAY_BARS, as_of=at + LENGTH))
    ranged = whole(store, DAYS[2]).filter(pl.col("ts") == at)
    assert bits(compute_bars(known, BARS_15M, "v", ALWAYS, at, at)) == bits(ranged)
    assert (ranged["known_at"] == at + LENGTH).all()


def test_publishing_goes_on_where_it_stopped(store: DeltaStore, tmp_path) -> None:
    """Published in the middle of a session and again at its end: the rows of one call, none of them twice."""
    mine = DeltaStore(tmp_path)
    mine.append(INTRADAY_BARS, store.read(INTRADAY_BARS, as_of=None))
    noon = ALWAYS.open(DAYS[2]) + timedelta(hours=12)
    early = publish_bars(mine, BARS_15M, "v", ALWAYS, [DAYS[2]], now=noon)
    rest = publish_bars(mine, BARS_15M, "v", ALWAYS, [DAYS[2]])
    stored = mine.read(BARS_15M.table, as_of=None)
    assert 0 < early.rows < stored.height == early.rows + rest.rows
    assert bits(stored) == bits(whole(store, DAYS[2]))
    assert publish_bars(mine, BARS_15M, "v", ALWAYS, [DAYS[2]]).rows == 0


def test_a_delay_moves_knowledge_and_nothing_before_it_is_used(store: DeltaStore) -> None:
    """Asked two bars later, late rows that had arrived by then are in; the row says when it was known."""
    at = ALWAYS.open(DAYS[2])
    delayed = compute_bars(store, BARS_15M, "v", ALWAYS, at, at + 80 * LENGTH, delay=6 * LENGTH)
    assert (delayed["known_at"] == delayed["ts"] + 7 * LENGTH).all()
    assert delayed.height > compute_bars(store, BARS_15M, "v", ALWAYS, at, at + 80 * LENGTH).height


def test_the_last_bar_of_a_short_session_ends_at_the_close() -> None:
    """A bar that the close cuts short is over at the close: New York closed at 13:00 on 2025-11-28."""
    day = date(2025, 11, 28)
    slots = grid(calendar("XNYS"), day, day, 3600, timedelta()).slots
    assert slots["cut"].to_list()[-2:] == [
        datetime(2025, 11, 28, 17, 30, tzinfo=UTC),
        datetime(2025, 11, 28, 18, tzinfo=UTC),
    ]
    assert anchor_of(calendar("XNYS"), date(2025, 12, 1), 3600, 5) == date(
        2025, 11, 26
    )  # four bars of the half day are too few


def test_a_split_overnight_is_no_return(tmp_path) -> None:
    """Bars of a share that halves at a 2:1 split have no return from it: the action of the listed name adjusts them."""
    xnys = calendar("XNYS")
    days = xnys.between(date(2026, 3, 2), date(2026, 3, 5))
    flat = (
        rows(1, days, hours=xnys, seconds=900)
        .unique(["symbol", "ts"], keep="first")
        .with_columns(withdrawn=pl.lit(value=False), known_at=pl.col("ts") + LENGTH)
    )
    price = pl.when(pl.col("ts").dt.date() < days[2]).then(100.0).otherwise(50.0)
    store = DeltaStore(tmp_path)
    store.append(
        INTRADAY_BARS,
        flat.with_columns(open=price, high=price, low=price, close=price, declared_known_at="known_at").select(
            *INTRADAY_BARS.schema
        ),
    )
    known = xnys.open(days[0])
    store.append(
        LISTINGS,
        pl.DataFrame(
            [{"session": days[0], "sid": 77, "symbol": "S0", "listed": True, "capture": days[0], "known_at": known}],
            schema=dict(LISTINGS.schema),
        ),
    )
    split = {
        "session": days[2],
        "sid": 77,
        "kind": "split",
        "numerator": 2,
        "denominator": 1,
        "withdrawn": False,
        "source": "x",
        "capture": days[0],
        "file": "f",
        "line": 1,
        "known_at": known,
        "declared_known_at": known,
    }
    store.append(ACTIONS, pl.DataFrame([split], schema=dict(ACTIONS.schema)))
    made = compute_bars(store, BARS_15M, "v", xnys, xnys.open(days[2]), xnys.close(days[2]) - LENGTH)
    assert made.height > 20
    assert made["ret_1"].drop_nulls().abs().max() == 0.0


def test_a_listing_heard_of_in_the_session_changes_nothing_in_it(tmp_path) -> None:
    """A symbol whose share becomes known at noon has, in one call for the session, the bits that each bar had live;
    from the next session on its split counts.
    """
    xnys = calendar("XNYS")
    days = xnys.between(date(2026, 3, 2), date(2026, 3, 6))
    store = DeltaStore(tmp_path)
    store.append(
        INTRADAY_BARS,
        rows(1, days, hours=xnys, seconds=900)
        .with_columns(withdrawn=pl.lit(value=False))
        .unique(["symbol", "ts"], keep="first")
        .select(*INTRADAY_BARS.schema),
    )
    noon, known = xnys.open(days[3]) + timedelta(hours=3), xnys.open(days[0])
    store.append(
        LISTINGS,
        pl.DataFrame(
            [{"session": days[0], "sid": 77, "symbol": "S0", "listed": True, "capture": days[0], "known_at": noon}],
            schema=dict(LISTINGS.schema),
        ),
    )
    split = {
        "session": days[2],
        "sid": 77,
        "kind": "split",
        "numerator": 2,
        "denominator": 1,
        "withdrawn": False,
        "source": "x",
        "capture": days[0],
        "file": "f",
        "line": 1,
        "known_at": known,
        "declared_known_at": known,
    }
    store.append(ACTIONS, pl.DataFrame([split], schema=dict(ACTIONS.schema)))

    def session(day: date) -> pl.DataFrame:
        return compute_bars(store, BARS_15M, "v", xnys, xnys.open(day), xnys.close(day) - LENGTH)

    live = pl.concat([compute_bars(store, BARS_15M, "v", xnys, ts, ts) for ts in session(days[3])["ts"]])
    assert bits(session(days[3])) == bits(live)
    assert (
        session(days[4])["ret_60"][0] > 0.5
    )  # half the shares were held sixty bars ago: bars as printed, which did not halve
    assert session(days[3])["ret_60"].max() < 0.5


def test_what_only_sessions_have_is_refused() -> None:
    """A set with inputs, and a length that is none, are refused with the reason."""
    from dataclasses import replace

    other = replace(
        PRICE_VOLUME, inputs=(Input("sector", {"sector": pl.String}, ("sectors",), lambda *_: pl.DataFrame()),)
    )
    with pytest.raises(ConfigurationError, match="sector"):
        on_bars(other, "1m")
    with pytest.raises(ConfigurationError, match="1m, 5m, 1h"):
        on_bars(PRICE_VOLUME, "minute")


@pytest.mark.filterwarnings(
    "ignore:DatetimeIndex.weekday:DeprecationWarning"
)  # of the calendar library's own Hong Kong holidays
def test_a_bar_ends_where_its_venue_rests() -> None:
    """The bar before a lunch break is over when the break begins, not when an hour has passed; nor is the break waited
    for by the bars of the morning.
    """
    slots = grid(calendar("XHKG"), date(2024, 5, 6), date(2024, 5, 6), 3600, timedelta()).slots
    ends = {ts.strftime("%H:%M"): cut.strftime("%H:%M") for ts, cut in slots.select("session", "cut").iter_rows()}
    assert ends == {
        "01:30": "02:30",
        "02:30": "03:30",
        "03:30": "04:00",
        "05:00": "06:00",
        "06:00": "07:00",
        "07:00": "08:00",
    }
