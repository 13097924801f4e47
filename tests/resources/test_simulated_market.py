"""The simulated market: its truth adds up, its vendor loses nothing for good, its signal is as strong as it says."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.errors import ConfigurationError
from quant_assets.records import Capture, frame_hash
from resources.clock import SystemClock
from resources.sources.deliveries import deliveries
from resources.sources.market import Market, paths
from resources.sources.open import open_source
from resources.sources.simulated import SimulatedMarket

XNYS = calendar("XNYS")
SPAN = {"first": date(2024, 1, 2), "last": date(2024, 12, 31), "calendar": XNYS}
QUIET = dict.fromkeys(
    (
        "splits",
        "payers",
        "delistings",
        "listings",
        "symbol_changes",
        "reuses",
        "halts",
        "restatements",
        "duplicates",
        "conflicts",
        "malformed",
        "late",
        "missing",
        "thin",
    ),
    0.0,
)
LIVELY = Market(
    **SPAN,
    names=60,
    seed=3,
    splits=0.2,
    delistings=0.1,
    listings=0.1,
    symbol_changes=0.1,
    halts=0.2,
    restatements=2e-3,
    conflicts=1e-3,
    malformed=1e-3,
)

CARELESS = Market(
    **{**SPAN, "last": date(2024, 6, 28)},
    names=30,
    seed=5,
    delistings=1.5,
    listings=1.0,
    symbol_changes=0.5,
    halts=1.0,
    restatements=1e-2,
    conflicts=1e-2,
    malformed=1e-2,
    missing=0.15,
    thin=0.15,
)


@cache
def captured(market: Market) -> tuple[Capture, ...]:
    source = SimulatedMarket(market)
    return tuple(source.fetch(label) for label in source.labels())


def companies(market: Market) -> pl.DataFrame:
    """Every price row that was captured, with the company that the capture's own listings give its symbol."""
    who = SimulatedMarket(market).truth.companies.select("name", "company")
    frames = [
        c.prices.join(c.listings, on="symbol").join(who, on="name").with_columns(label=pl.lit(c.label))
        for c in captured(market)
        if c.listings is not None
    ]
    return pl.concat(frames)


def test_same_configuration_same_bits() -> None:
    """A market generated anew has the same bits; another seed is another market."""
    before = [(c.sha256, frame_hash(c.prices)) for c in captured(LIVELY)]
    paths.cache_clear()
    deliveries.cache_clear()
    source = SimulatedMarket(LIVELY)
    assert [(c.sha256, frame_hash(c.prices)) for c in map(source.fetch, source.labels())] == before
    other = SimulatedMarket(Market(**SPAN, names=60, seed=4))
    assert other.fetch(other.labels()[0]).sha256 != before[0][0]


@pytest.mark.parametrize("market", [LIVELY, CARELESS], ids=["lively", "careless"])
def test_the_last_word_of_the_vendor_is_the_truth(market: Market) -> None:
    """Whatever is late, missing, thin, wrong or malformed: the last row captured of each company and session is the
    true bar, and every true bar arrives.
    """
    truth = SimulatedMarket(market).truth.bars.sort("company", "session")
    last = (
        companies(market)
        .sort("company", "session", "label", "line")
        .unique(["company", "session"], keep="last", maintain_order=True)
    )
    columns = ["company", "session", "open", "high", "low", "close", "volume"]
    assert last.select(columns).equals(truth.select(columns))


def test_every_row_arrives_under_a_listed_symbol() -> None:
    """A price row's symbol stands in its own capture's listings, once."""
    assert companies(LIVELY).height == sum(c.prices.height for c in captured(LIVELY))


def test_prices_of_a_session_fit_together() -> None:
    """Open and close lie within low and high, in the truth and in whatever the vendor sends, wrong or right."""
    for frame in (SimulatedMarket(LIVELY).truth.bars, *(c.prices for c in captured(LIVELY))):
        assert frame.select(
            (pl.col("low") <= pl.min_horizontal("open", "close")).all(),
            (pl.col("high") >= pl.max_horizontal("open", "close")).all(),
        ).row(0) == (True, True)


def test_each_event_happens_where_its_rate_is_above_zero() -> None:
    """A market with all rates above zero has one of everything, so that a test may rely on it."""
    truth = SimulatedMarket(LIVELY).truth
    for kind in ("splits", "dividends", "delistings", "symbol_changes", "reuses", "halts"):
        assert getattr(truth, kind).height > 0, kind
    assert set(truth.captures["kind"]) == {"missing", "thin", "late"}
    assert set(truth.defects["kind"]) == {"restatement", "duplicate", "conflict", "malformed"}
    assert (truth.splits["numerator"] > truth.splits["denominator"]).any()
    assert (truth.splits["numerator"] < truth.splits["denominator"]).any()


def test_a_small_market_still_has_each_defect() -> None:
    """Twenty names over ten sessions: enough for a crash test."""
    truth = SimulatedMarket(
        Market(first=date(2024, 1, 2), last=date(2024, 1, 16), calendar=XNYS, names=20, thin=0.0, missing=0.0)
    ).truth
    assert set(truth.defects["kind"]) == {"restatement", "duplicate", "conflict", "malformed"}
    assert truth.delistings.height == truth.splits.height == truth.symbol_changes.height == 1


def test_everything_can_be_switched_off() -> None:
    """With all rates zero each capture holds exactly the true rows of its two sessions, on time, with no action."""
    market = Market(**SPAN, names=20, **QUIET)
    source = SimulatedMarket(market)
    assert list(source.labels()) == XNYS.between(market.first, market.last)
    for n, capture in enumerate(captured(market)):
        assert capture.prices.height == 20 * min(n + 1, 2)
        assert capture.malformed.height == 0
        assert capture.actions is not None
        assert capture.actions.height == 0
        assert capture.known_at == datetime.combine(capture.label, datetime.min.time(), UTC) + timedelta(
            days=1, hours=11
        )


@pytest.mark.parametrize(
    "off", ["halts", "restatements", "duplicates", "conflicts", "malformed", "late", "missing", "thin"]
)
def test_a_careless_vendor_leaves_the_market_alone(off: str) -> None:
    """Each thing has its own random stream: switching a defect off changes no true price, volume or action."""
    one, two = (paths(Market(**SPAN, names=15, **rates)) for rates in ({}, {off: 0.0}))
    for c in one.prices:
        assert np.array_equal(one.prices[c], two.prices[c])
    assert np.array_equal(one.volume, two.volume)
    assert np.array_equal(one.cash, two.cash)


def test_splits_and_dividends_move_raw_prices_and_nothing_else() -> None:
    """Raw closes put together with the actions give returns of ordinary size, to the cent's rounding those of the
    market without actions.
    """
    plain, full = (paths(Market(**SPAN, names=40, **{**QUIET, **on})) for on in ({}, {"splits": 0.5, "payers": 1.0}))
    close = full.prices["close"]
    total = np.log(
        (close[1:] * full.numerator[1:] / full.denominator[1:] / (1 - full.cash[1:] / close[:-1])) / close[:-1]
    )
    expected = np.diff(np.log(plain.prices["close"]), axis=0)
    cent = 0.02 * np.maximum(
        1 / close[1:] + 1 / close[:-1], 1 / plain.prices["close"][1:] + 1 / plain.prices["close"][:-1]
    )
    assert (np.abs(total - expected) < cent).all()
    raw = np.diff(np.log(close), axis=0)
    assert np.abs(raw[full.numerator[1:] != full.denominator[1:]]).min() > 0.3


def test_actions_are_declared_ahead_and_failures_are_not() -> None:
    """A split, dividend or merger is declared by a capture before its ex-session, a failure only by a later one; all
    planted actions arrive.
    """
    truth = SimulatedMarket(LIVELY).truth
    declared = pl.concat(
        [c.actions.with_columns(label=pl.lit(c.label)) for c in captured(LIVELY) if c.actions is not None]
    )
    first = declared.group_by("session", "kind", "symbol").agg(pl.col("label").min())
    settled = pl.col("session") > XNYS.shift(LIVELY.first, 12)
    for kind, planted in (
        ("split", truth.splits),
        ("dividend", truth.dividends),
        ("delisting", truth.delistings.filter("announced")),
    ):
        found = planted.filter(settled).join(first.filter(kind=kind), on=["session", "symbol"])
        assert (found["label"] < found["session"]).all(), kind
        in_all = declared.filter(kind=kind).select("session", "symbol").unique()
        # an action announced under an old symbol is also known under it
        assert planted.select("session", "symbol").join(in_all, on=["session", "symbol"], how="anti").is_empty(), kind
    failures = truth.delistings.filter(~pl.col("announced")).join(
        first.filter(kind="delisting"), on=["session", "symbol"]
    )
    assert (failures["label"] >= failures["session"]).all()


def test_symbols_are_unique_in_a_session_and_reused_by_another_company() -> None:
    """No two listed companies share a symbol; a reused one was borne by another company that ended before."""
    for capture in captured(LIVELY):
        assert capture.listings is not None
        assert capture.listings["symbol"].is_unique().all()
        assert capture.listings["name"].is_unique().all()
    truth = SimulatedMarket(LIVELY).truth
    former = truth.delistings.select("symbol", ended="session", former="company")
    reuses = truth.reuses.join(former, on="symbol")
    assert reuses.height == truth.reuses.height > 0
    assert reuses.select(
        (pl.col("ended") < pl.col("session")).all(), (pl.col("former") != pl.col("company")).all()
    ).row(0) == (True, True)


def test_a_symbol_change_keeps_name_and_company() -> None:
    """Before the change the capture lists the old symbol, from it on the new one, under one name."""
    truth = SimulatedMarket(LIVELY).truth
    for session, company, old, new in truth.symbol_changes.iter_rows():
        name = truth.companies["name"][company]
        for capture in captured(LIVELY):
            assert capture.listings is not None
            found = capture.listings.filter(pl.col("name") == name)["symbol"].to_list()
            assert found == [new if capture.label >= session else old]


def test_late_and_missing_captures() -> None:
    """A missing label does not exist; a late capture is known after the cut of its session, the others before it."""
    source, cuts = SimulatedMarket(LIVELY), Cuts(XNYS)
    kinds = {kind: set(source.truth.captures.filter(kind=kind)["label"]) for kind in ("missing", "late", "thin")}
    assert not kinds["missing"] & set(source.labels())
    for capture in captured(LIVELY):
        assert (capture.known_at > cuts.of(capture.label)) == (capture.label in kinds["late"])
        own = capture.prices.filter(pl.col("session") == capture.label).height
        assert (own < 10) == (capture.label in kinds["thin"])


def test_row_defects_are_where_the_truth_says() -> None:
    """A conflict stands twice with two contents, a duplicate twice with one, a malformed row not at all, a restated row
    wrong until it is corrected.
    """
    truth, rows = SimulatedMarket(LIVELY).truth, companies(LIVELY)
    values = ["open", "high", "low", "close", "volume"]
    for session, company, _, kind, corrected, _ in truth.defects.iter_rows():
        own = rows.filter(session=session, company=company, label=session)
        true = truth.bars.filter(session=session, company=company).select(values)
        match kind:
            case "malformed":
                assert own.height == 0
            case "duplicate":
                assert own.height == 2
                assert own.select(values).n_unique() == 1
            case "conflict":
                assert own.select(values).n_unique() == 2
            case _:
                assert not own.select(values).equals(true)
                assert rows.filter(session=session, company=company, label=corrected).select(values).equals(true)


def test_adjusted_closes_tell_the_actions_where_none_are_declared() -> None:
    """Without declared actions the previous session's row carries the close adjusted by the ex-session's factor."""
    market = Market(**{**SPAN, "names": 30, **QUIET, "splits": 0.5, "declares_actions": False})
    source, truth = SimulatedMarket(market), SimulatedMarket(market).truth
    assert truth.splits.height > 0
    for session, _, symbol, numerator, denominator in truth.splits.iter_rows():
        capture = source.fetch(session)
        assert capture.actions is None
        before = capture.prices.filter(symbol=symbol, session=XNYS.shift(session, -1))
        assert before["adj_close"].item() == pytest.approx(before["close"].item() * denominator / numerator, abs=0.006)
        assert (
            capture.prices.filter(symbol=symbol, session=session)
            .select((pl.col("adj_close") == pl.col("close")).all())
            .item()
        )


def test_liquidity_ranks_change() -> None:
    """The most liquid third of the market at the end is not that of the beginning."""
    bars = SimulatedMarket(Market(**SPAN, names=60, **QUIET)).truth.bars.with_columns(
        dollars=pl.col("close") * pl.col("volume")
    )
    sessions = bars["session"].unique().sort()
    first, last = (
        set(
            bars.filter(pl.col("session").is_in(s.implode()))
            .group_by("company")
            .agg(pl.col("dollars").median())
            .sort("dollars")
            .tail(20)["company"]
        )
        for s in (sessions[:20], sessions[-20:])
    )
    assert 5 < len(first & last) < 20


# the planted signal ---------------------------------------------------------------------------------------------------


def ranks(x: np.ndarray) -> np.ndarray:
    return x.argsort(axis=1).argsort(axis=1) - (x.shape[1] - 1) / 2


def ic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rank correlation across names, session by session."""
    a, b = ranks(x), ranks(y)
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))


def newey_west_t(series: np.ndarray, lags: int) -> float:
    """The t of the mean with Bartlett weights (Newey, West 1987)."""
    d = series - series.mean()
    variance = d @ d + 2 * sum((1 - k / (lags + 1)) * (d[k:] @ d[:-k]) for k in range(1, lags + 1))
    return float(series.sum() / np.sqrt(variance))


def study(signal: float, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What can be seen at each session's close, and the return from open(t+1) to open(t+6)."""
    p = paths(Market(first=date(2023, 1, 3), last=date(2024, 12, 31), calendar=XNYS, seed=seed, signal=signal, **QUIET))
    o, c, v = p.prices["open"], p.prices["close"], p.volume.astype(float)
    mean = {n: np.lib.stride_tricks.sliding_window_view(v, n, axis=0).mean(axis=-1)[20 - n + 1 :] for n in (5, 20)}
    at = slice(20, len(o) - 6)
    n = at.stop - 20
    seen = {
        "volume_trend": (mean[5] / mean[20])[:n],
        "ret_1": (c[20:] / c[19:-1])[:n],
        "ret_5": (c[20:] / c[15:-5])[:n],
        "ret_20": (c[20:] / c[:-20])[:n],
        "intraday": (c / o)[at],
        "price": c[at],
        "volume": v[at],
        "volatility": np.lib.stride_tricks.sliding_window_view(np.abs(np.diff(np.log(c), axis=0)), 20, axis=0).mean(
            axis=-1
        )[:n],
    }
    return seen, (o[26:] / o[21:-5])[:n]


def test_the_signal_has_the_stated_strength() -> None:
    """The rank IC of the volume trend, computed from vendor-visible prices and volumes alone, is the stated one within
    two standard errors, and significant.
    """
    for seed in (1, 2):
        seen, forward = study(0.05, seed)
        found = ic(seen["volume_trend"], forward)
        assert found.mean() == pytest.approx(0.05, abs=0.016)
        assert newey_west_t(found, 10) > 4


def test_the_twin_without_signal_predicts_nothing() -> None:
    """Signal zero: no characteristic has a Newey–West t of 3; a leak of one session into the future is found by the
    same test.
    """
    for seed in (1, 2, 3):
        seen, forward = study(0.0, seed)
        for name, x in seen.items():
            assert abs(newey_west_t(ic(x, forward), 10)) < 3, (seed, name)
        leaked = seen["ret_5"][1:]  # one session late: it ends inside the label
        assert abs(newey_west_t(ic(leaked, forward[:-1]), 10)) > 5


def test_the_twin_is_the_same_market_but_for_the_signal() -> None:
    """Volumes are equal to the share; log prices differ by k times the surges of the five sessions before, to the
    cent's rounding.
    """
    on, off = (paths(Market(**SPAN, seed=1, signal=s, **QUIET)) for s in (0.05, 0.0))
    assert np.array_equal(on.volume, off.volume)
    assert off.strength == 0.0
    drift = np.diff(np.log(on.prices["close"] / off.prices["close"]), axis=0)[5:]
    planted = on.strength * sum(on.surge[5 - lag + 1 : len(on.surge) - lag] for lag in range(1, 6))
    assert np.abs(drift - planted).max() < 0.02 / min(on.prices["close"].min(), off.prices["close"].min()) * 2
    assert np.corrcoef(drift.ravel(), planted.ravel())[0, 1] > 0.9


# opening --------------------------------------------------------------------------------------------------------------


def test_a_deployment_opens_it() -> None:
    """Dates may be text; unknown fields and kinds are errors that name them."""
    source = open_source(
        {"kind": "simulated", "first": "2024-01-02", "last": date(2024, 2, 1), "names": 20},
        XNYS,
        cache=Path(),
        clock=SystemClock(),
    )
    assert source.name == "simulated"
    with pytest.raises(ConfigurationError, match="nmaes"):
        open_source(
            {"kind": "simulated", "first": "2024-01-02", "last": "2024-02-01", "nmaes": 20},
            XNYS,
            cache=Path(),
            clock=SystemClock(),
        )
    with pytest.raises(ConfigurationError, match="none of simulated"):
        open_source({"kind": "bloomberg"}, XNYS, cache=Path(), clock=SystemClock())
    with pytest.raises(ConfigurationError, match="two sessions"):
        SimulatedMarket(Market(first=date(2024, 1, 2), last=date(2024, 1, 2), calendar=XNYS)).labels()
