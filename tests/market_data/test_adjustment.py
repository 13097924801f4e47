"""Adjusted series: against a vendor's own, by hand for each kind of action, and what holds for any."""

import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quant_assets.contract import known_by
from quant_assets.errors import ConfigurationError
from quant_assets.market_data.adjustment import POLICIES, PRICES, adjusted
from quant_assets.tables import ACTIONS

D = [date(2024, 1, 2) + timedelta(days=i) for i in range(8)]
SERIES = {"open": "adj_open", "high": "adj_high", "low": "adj_low", "close": "adj_close", "volume": "adj_volume"}


def known(day: date) -> datetime:
    """The evening of a day."""
    return datetime(day.year, day.month, day.day, 22, tzinfo=UTC)


def bars(closes: dict[int, list[float | None]]) -> pl.DataFrame:
    """Bars of a volume of 100 whose prices are all the close, from the first day on; None: no bar."""
    rows = [
        (sid, D[i], f"S{sid}", c, c, c, c, 100) for sid, of in closes.items() for i, c in enumerate(of) if c is not None
    ]
    return pl.DataFrame(rows, schema=["sid", "session", "symbol", *PRICES, "volume"], orient="row").with_columns(
        pl.col("sid").cast(pl.Int64)
    )


def action(kind: str, ex: date, sid: int = 1, at: date | None = None, **terms: object) -> dict[str, object]:
    """A declared action, known on its ex-session or at another day."""
    return {
        "session": ex,
        "sid": sid,
        "kind": kind,
        "origin": "declared",
        "confidence": 1.0,
        "withdrawn": False,
        "known_at": known(at or ex),
    } | terms


def actions(*rows: dict[str, object]) -> pl.DataFrame:
    """ACTIONS rows as a frame."""
    return pl.DataFrame([dict.fromkeys(ACTIONS.schema) | r for r in rows], schema=dict(ACTIONS.schema))


def closes(frame: pl.DataFrame, sid: int = 1) -> list[float]:
    return [round(c, 9) for c in frame.filter(pl.col("sid") == sid)["close"]]


@pytest.fixture(scope="module")
def wiki(shared_data: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """WIKI's 2014: raw bars, actions known on the morning they go ex, and their adjusted bars in terms of the year's
    last session.
    """
    with zipfile.ZipFile(shared_data / "zipline" / "QUANDL_ARCHIVE.zip") as archive:
        read = pl.read_csv(archive.read(archive.namelist()[0]), try_parse_dates=True)
    rows = (
        read.rename({"date": "session", "ticker": "symbol"})
        .with_columns(sid=pl.col("symbol").rank("dense").cast(pl.Int64))
        .sort("sid", "session")
    )
    split = pl.col("split_ratio").cast(pl.Int64)
    given = [
        *(
            action("dividend", r["session"], r["sid"], cash=Decimal(str(r["ex-dividend"])))
            for r in rows.filter(pl.col("ex-dividend") != 0).iter_rows(named=True)
        ),
        *(
            action("split", r["session"], r["sid"], numerator=r["n"], denominator=1)
            for r in rows.with_columns(n=split).filter(pl.col("n") != 1).iter_rows(named=True)
        ),
    ]
    # their base is the file's own last update in 2018: later dividends stand in every row of 2014
    base = (pl.col("adj_close") / pl.col("close")).last().over("sid")
    theirs = rows.select(
        "sid", "session", *((pl.col(t) / (1 if c == "volume" else base)).alias(c) for c, t in SERIES.items())
    )
    return rows.select("sid", "session", "symbol", *SERIES), actions(*given), theirs


def off(ours: pl.DataFrame, theirs: pl.DataFrame) -> float:
    """The largest relative difference of any value."""
    assert ours.select("sid", "session").equals(theirs.select("sid", "session"))
    return max(float((ours[c] / theirs[c] - 1).abs().max()) for c in SERIES)


def test_a_vendors_adjusted_prices_as_of_the_end(wiki) -> None:
    """Raw prices, dividends and the 7:1 split of AAPL give WIKI's adjusted prices and volumes to 1e-9: dividends
    reinvested at the ex-session's close.
    """
    raw, acted, theirs = wiki
    assert acted["kind"].value_counts().sort("kind").rows() == [("dividend", 8), ("split", 1)]
    assert off(adjusted(raw, acted, "total-return", date(2014, 12, 31)), theirs) < 1e-12


def test_a_vendors_adjusted_prices_as_of_each_day(wiki) -> None:
    """As of each session of the year ours are theirs in terms of that session: what came later is not known, the split
    of 2014-06-09 neither.
    """
    raw, acted, theirs = wiki
    for day in raw["session"].unique():
        ours = adjusted(raw.filter(pl.col("session") <= day), known_by(acted, known(day)), "total-return", day)
        past = theirs.filter(pl.col("session") <= day)
        now = pl.when(session=day)
        then = past.join(raw.rename({c: f"raw_{c}" for c in SERIES}), on=["sid", "session"], maintain_order="left")
        terms = [pl.col(c) / now.then(pl.col(c) / pl.col(f"raw_{c}")).drop_nulls().last().over("sid") for c in SERIES]
        assert off(ours, then.select("sid", "session", *terms)) < 1e-12
    before, after = (
        adjusted(raw, known_by(acted, known(d)), "split-only", d).filter(pl.col("symbol") == "AAPL")["close"][0]
        for d in (date(2014, 6, 6), date(2014, 6, 9))
    )
    assert (before, after) == (553.13, 553.13 / 7)


@pytest.mark.parametrize(
    ("kind", "terms", "ex_close", "split_only", "adjusted_", "total"),
    [
        ("split", {"numerator": 4, "denominator": 1}, 25.0, (25.0, 400), 25.0, 25.0),
        ("split", {"numerator": 1, "denominator": 5}, 500.0, (500.0, 20), 500.0, 500.0),
        (
            "stock_dividend",
            {"numerator": 21, "denominator": 20},
            95.0,
            (100 * 20 / 21, 105),
            100 * 20 / 21,
            100 * 20 / 21,
        ),
        ("dividend", {"cash": Decimal("2.5")}, 100.0, (100.0, 100), 97.5, 100 / 1.025),
        (
            "spin_off",
            {"value": 20.0, "numerator": 1, "denominator": 3, "counterpart": "S2"},
            80.0,
            (100.0, 100),
            80.0,
            80.0,
        ),
        ("spin_off", {"numerator": 1, "denominator": 3, "counterpart": "S2"}, 80.0, (100.0, 100), 100.0, 100.0),
        (
            "dividend",
            {"cash": Decimal(100)},
            50.0,
            (100.0, 100),
            100.0,
            100 / 3,
        ),  # as much as the price: no factor says that
        ("symbol_change", {}, 100.0, (100.0, 100), 100.0, 100.0),
    ],
)
def test_what_each_kind_does_to_the_close_before(kind, terms, ex_close, split_only, adjusted_, total) -> None:
    """A close of 100 before each kind of action, in the terms of the ex-session, under each policy; volumes follow
    shares alone.
    """
    raw, acted = bars({1: [100.0, ex_close]}), actions(action(kind, D[1], **terms))
    found = {p: adjusted(raw, acted, p, D[1]) for p in POLICIES}
    assert found["unadjusted"].equals(raw)
    assert {p: f["close"][0] for p, f in found.items()} == pytest.approx(
        {"unadjusted": 100.0, "split-only": split_only[0], "adjusted": adjusted_, "total-return": total}
    )
    assert {round(found[p]["volume"][0], 6) for p in POLICIES[1:]} == {split_only[1]}
    assert all(f["close"][1] == ex_close for f in found.values())


def test_actions_of_one_session_work_together() -> None:
    """A dividend and a spin-off are per old share, a split and a stock dividend multiply; what each policy makes of
    them is one factor.
    """
    raw = bars({1: [100.0, 40.0]})
    acted = actions(
        action("dividend", D[1], cash=Decimal(4)),
        action("spin_off", D[1], value=6.0),
        action("split", D[1], numerator=2, denominator=1),
        action("stock_dividend", D[1], numerator=11, denominator=10),
    )
    assert closes(adjusted(raw, acted, "split-only", D[1])) == [round(100 / 2.2, 9), 40.0]
    assert closes(adjusted(raw, acted, "adjusted", D[1])) == [round(90 / 2.2, 9), 40.0]
    assert closes(adjusted(raw, acted, "total-return", D[1])) == [round(100 / (2.2 + 10 / 40), 9), 40.0]


moves = st.fixed_dictionaries(
    {},
    optional={
        "split": st.tuples(st.integers(1, 7), st.integers(1, 7)),
        "stock_dividend": st.tuples(st.integers(20, 30), st.just(20)),
        "dividend": st.integers(0, 400).map(lambda n: Decimal(n) / 100),
        "spin_off": st.integers(0, 400).map(lambda n: n / 100),
    },
)


def of(kind: str, terms: object) -> dict[str, object]:
    return (
        {"cash": terms}
        if kind == "dividend"
        else {"value": terms}
        if kind == "spin_off"
        else dict(zip(("numerator", "denominator"), terms, strict=True))
    )  # pyright: ignore[reportArgumentType]  # terms of splits are pairs


@settings(max_examples=60, deadline=None)
@given(
    prices=st.lists(st.integers(1_000, 9_000).map(lambda n: n / 100), min_size=6, max_size=6),
    acted=st.lists(moves, min_size=6, max_size=6),
)
def test_total_returns_are_what_a_holder_earned(prices, acted) -> None:
    """Whatever happens, the return of the total-return series from session to session is (shares × close + what was
    paid) / close before − 1: CRSP's definition.
    """
    raw = bars({1: prices, 2: [1.0] * 6})
    known_actions = actions(
        *(action(kind, D[i], **of(kind, terms)) for i, given_ in enumerate(acted) for kind, terms in given_.items())
    )
    out = adjusted(raw, known_actions, "total-return", D[5]).filter(pl.col("sid") == 1)["close"]
    for i, (before, after) in enumerate(pairwise(prices), 1):
        ratio, paid = 1.0, 0.0
        for kind, terms in acted[i].items():
            n, d = terms if kind in {"split", "stock_dividend"} else (1, 1)
            ratio, paid = ratio * n / d, paid + (float(terms) if kind in {"dividend", "spin_off"} else 0.0)
        assert out[i] / out[i - 1] == pytest.approx((ratio * after + paid) / before, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(acted=st.lists(moves, min_size=6, max_size=6), policy=st.sampled_from(POLICIES[1:]), start=st.integers(0, 4))
def test_a_window_is_the_history_cut(acted, policy, start) -> None:
    """A series that starts later has the same values; another session's terms are one factor away; names do not touch
    each other.
    """
    path: list[float | None] = [100.0, 90.0, None, 80.0, 100.0, 110.0]
    raw = bars({1: path, 2: [5.0] * 6, 3: path[:4]})
    known_actions = actions(
        *(
            action(kind, D[i], sid, **of(kind, terms))
            for sid in (1, 3)
            for i, given_ in enumerate(acted)
            for kind, terms in given_.items()
        )
    )
    whole = adjusted(raw, known_actions, policy, D[5])
    late = adjusted(
        raw.filter(pl.col("session") >= D[start]), known_actions.filter(pl.col("session") >= D[start]), policy, D[5]
    )
    assert_frame_equal(late, whole.filter(pl.col("session") >= D[start]), rel_tol=1e-14)
    earlier = adjusted(raw.filter(pl.col("session") <= D[4]), known_actions, policy, D[4])
    ratio = whole.filter(pl.col("session") <= D[4])["close"] / earlier["close"]
    assert all(max(r) - min(r) < 1e-12 for r in (ratio.filter(earlier["sid"] == sid) for sid in (1, 2)))
    assert closes(whole, 2) == [5.0] * 6
    alone = adjusted(raw.filter(pl.col("sid") == 1), known_actions.filter(pl.col("sid") == 1), policy, D[5])
    assert alone.equals(whole.filter(pl.col("sid") == 1))


def test_only_what_is_in_force_counts() -> None:
    """Of the versions of an action the last one known counts, a withdrawn one not; nor one whose ex-session is still to
    come, nor one from before the first bar.
    """
    raw = bars({1: [100.0, 50.0, 50.0]})
    versions = [
        action("split", D[1], at=D[0], numerator=3, denominator=1),
        action("split", D[1], at=D[1], numerator=2, denominator=1),
        action("split", D[1], at=D[2], withdrawn=True),
    ]
    around = [
        action("dividend", D[0] - timedelta(days=3), cash=Decimal(1)),
        action("split", D[3], numerator=9, denominator=1),
        action("split", D[1], 7, numerator=9, denominator=1),
    ]
    as_known = [adjusted(raw, known_by(actions(*versions, *around), known(d)), "adjusted", D[2]) for d in D[:3]]
    assert [closes(f)[0] for f in as_known] == [round(100 / 3, 9), 50.0, 100.0]


def test_an_ex_session_without_a_bar() -> None:
    """In a halt the close before and the next close count; after the last bar of a name the theoretical ex-price stands
    for the close. Order of rows and gaps in closes do no harm.
    """
    raw = bars({1: [100.0, None, None, 48.0], 2: [10.0, 10.0]})
    acted = actions(
        action("split", D[1], numerator=2, denominator=1),
        action("dividend", D[2], cash=Decimal(2)),
        action("dividend", D[5], 2, cash=Decimal(1)),
        action("dividend", D[1], 2, cash=Decimal(0)),
    )
    assert closes(adjusted(raw, acted, "total-return", D[5])) == [round(100 / 2 / (1 + 2 / 48), 9), 48.0]
    assert closes(adjusted(raw, acted, "total-return", D[5]), 2) == [9.0, 9.0]
    assert adjusted(raw.sample(fraction=1, shuffle=True, seed=3), acted, "adjusted", D[5]).equals(
        adjusted(raw, acted, "adjusted", D[5])
    )
    gap = pl.concat(
        [
            raw,
            bars({3: [20.0, 20.0, 20.0]}).with_columns(
                close=pl.when(session=D[1]).then(float("nan")).otherwise("close")
            ),
        ]
    )
    paid = actions(action("dividend", D[2], 3, cash=Decimal(2)))
    assert closes(adjusted(gap, paid, "adjusted", D[5]), 3)[0] == 18.0


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        ([action("delisting", D[3], value=-0.3)], (D[3], 35.0)),
        ([action("delisting", D[3], value=-1.0)], (D[3], 0.0)),
        ([action("delisting", D[3], value=0.0, origin="derived")], None),  # nobody said what holders got
        ([action("delisting", D[3])], None),
        ([action("merger", D[3], cash=Decimal(60))], (D[3], 60.0)),
        ([action("merger", D[3], numerator=3, denominator=2, counterpart="S2")], (D[3], 45.0)),
        ([action("merger", D[3], cash=Decimal(10), numerator=3, denominator=2, counterpart="S2")], (D[3], 55.0)),
        ([action("merger", D[3], cash=Decimal(10), numerator=3, denominator=2, counterpart="GONE")], None),
        ([action("merger", D[3], value=0.1)], (D[3], 55.0)),
        ([action("merger", D[3], cash=Decimal(60)), action("delisting", D[3], value=0.0)], (D[3], 60.0)),
        ([action("delisting", D[2], value=-0.3)], None),  # it still trades
        ([action("delisting", D[6], value=-0.3)], None),  # not yet, as of D[4]
    ],
)
def test_the_last_return_is_what_holders_got(rows, last) -> None:
    """A declared delisting or merger ends the series with its return, after a split and a dividend too; where nobody
    said what was paid, it ends with the last price.
    """
    raw = bars({1: [100.0, 50.0, 50.0], 2: [30.0, 30.0, 30.0, 31.0, 32.0]})
    acted = actions(action("split", D[1], numerator=2, denominator=1), *rows)
    for policy in ("adjusted", "total-return"):
        out = adjusted(raw, acted, policy, D[4])
        ended = out.filter(pl.col("session") > D[2], pl.col("sid") == 1).select(
            "session", pl.col("close", "open").round(9), "volume"
        )
        assert ended.rows() == ([(*last, last[1], 0.0)] if last else [])
        assert out.filter(pl.col("session") <= D[2])["close"][:3].to_list() == [50.0] * 3
        assert out.equals(out.sort("sid", "session"))
    assert adjusted(raw, acted, "split-only", D[4]).height == raw.height


def test_an_unknown_policy_is_named() -> None:
    """A policy that does not exist is an error that says which do."""
    with pytest.raises(ConfigurationError, match=r"'split' is no policy.*split-only"):
        adjusted(bars({1: [1.0]}), actions(), "split", D[0])
    assert adjusted(bars({1: []}), actions(), "adjusted", D[0]).is_empty()
