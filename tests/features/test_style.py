"""The style and cross-sectional sets: a range is its days, kernels keep the laws, exposures are what they say."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from quant_assets.contract import UTC_MICROS
from quant_assets.features.blocks import Block, panel
from quant_assets.features.cross_sectional import CROSS_SECTIONAL, SIGNALS
from quant_assets.features.inputs.fundamentals import FUNDAMENTALS
from quant_assets.features.market_model import STALE, last_close
from quant_assets.features.publish import as_versions, compute
from quant_assets.features.sets import FeatureSet
from quant_assets.features.style import FACTORS, PRICE_FACTORS, STYLE
from quant_assets.tables import ACTIONS, BARS
from quant_assets.vendor_tables import FILINGS
from resources.tables.store import DeltaStore
from tests.features.small_history import CUTS, NAME, append, bar, filing, history, listing, member
from tests.features.test_blocks import random_panel

SETS = [CROSS_SECTIONAL, STYLE]
SESSIONS = CUTS.calendar.between(date(2016, 8, 15), date(2016, 11, 18))  # across the edge of two blocks
SID = range(1, 15)


def moved_listings(rng: np.random.Generator) -> list[dict[str, object]]:
    """Names of two sectors, of which four change symbol and sector in September; it is known days later."""
    moves = zip((2, 6, 8, 12), CUTS.calendar.between(date(2016, 9, 1), date(2016, 9, 30)), strict=False)
    moved = [
        listing(
            sid,
            f"T{sid}",
            sector="ABC"[sid % 3],
            session=day,
            at=CUTS.of(day) + timedelta(days=int(rng.integers(0, 20))),
        )
        for sid, day in moves
    ]
    return [*(listing(sid, sector="AB"[sid % 2]) for sid in SID), *moved]


def reports(rng: np.random.Generator, sid: int) -> list[dict[str, object]]:
    """Eleven quarters of a company's reports from 2014 on: some missing, the newer ones late, some restated later."""
    ends = [date(2014 + n // 4, 3 * (n % 4) + 3, 28) for n in range(11)]
    made: list[dict[str, object]] = []
    for n, end in enumerate(ends):
        at = (
            CUTS.of(date(2016, 1, 4))
            if n < 6
            else CUTS.of(CUTS.calendar.on_or_after(end)) + timedelta(days=int(rng.integers(20, 90)))
        )
        period, items = (
            ("Q1", "Q2", "Q3", "FY")[n % 4],
            {
                "net_income": 10.0 * sid + n,
                "eps_diluted": 1.0 + 0.1 * n,
                "equity": float(rng.normal(100, 50)),
                "assets": 300.0,
                "cash_flow_op": 12.0 * sid,
            },
        )
        if rng.random() < 0.9:
            made += filing(f"S{sid}", end, at, items, period=period)
        if rng.random() < 0.4:
            made += filing(
                f"S{sid}",
                end,
                at + timedelta(days=int(rng.integers(5, 90))),
                {"equity": 80.0, "net_income": 9.0 * sid},
                period=period,
            )
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """A year of 14 names with late, restated and withdrawn bars and actions, members that change by the month, sectors
    and filings that come late and are restated.
    """
    rng = np.random.default_rng(4)
    bars, actions = random_panel(21, names=len(SID), sessions=230)
    months = [CUTS.calendar.on_or_after(date(2016, m, 1)) for m in range(1, 13)]
    members = [member(sid, a, b, CUTS.of(a)) for a, b in pairwise(months) for sid in SID if rng.random() < 0.9]
    made = history(
        tmp_path_factory.mktemp("history"),
        universe=members,
        listings=moved_listings(rng),
        filings=[r for sid in SID for r in reports(rng, sid)],
    )
    append(made, BARS, bars.with_columns(symbol=pl.format("S{}", "sid")).to_dicts())
    append(made, ACTIONS, actions.with_columns(origin=pl.lit("declared"), confidence=1.0).to_dicts())
    return made


@pytest.fixture(scope="module")
def ranged(store: DeltaStore) -> Callable[[FeatureSet], pl.DataFrame]:
    """A set's values over the whole range, computed once."""
    made = {s.name: compute(store, s, NAME, CUTS, SESSIONS) for s in SETS}
    return lambda feature_set: made[feature_set.name]


@pytest.mark.parametrize("feature_set", SETS, ids=lambda s: s.name)
@settings(
    max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate]
)  # a smaller example says no more, and costs minutes
@given(data=st.data())
def test_a_range_is_its_parts(
    store: DeltaStore, ranged: Callable[[FeatureSet], pl.DataFrame], feature_set: FeatureSet, data: st.DataObject
) -> None:
    """Split anywhere, and day by day, across blocks: the same rows, the same bits."""
    cut = data.draw(st.integers(1, len(SESSIONS) - 1))
    days = data.draw(st.lists(st.sampled_from(SESSIONS), min_size=2, max_size=3, unique=True))
    whole = ranged(feature_set)
    assert (
        pl.concat([compute(store, feature_set, NAME, CUTS, part) for part in (SESSIONS[:cut], SESSIONS[cut:])])
        .sort(feature_set.table.key)
        .equals(whole)
    )
    for day in days:
        assert compute(store, feature_set, NAME, CUTS, [day]).equals(whole.filter(session=day))


@pytest.mark.parametrize("feature_set", SETS, ids=lambda s: s.name)
def test_what_is_learnt_after_the_cut_changes_no_bit(
    store: DeltaStore, ranged: Callable[[FeatureSet], pl.DataFrame], feature_set: FeatureSet
) -> None:
    """On a store that has only what the cut knew, the same bits: bars, actions, members, sectors, filings."""

    class Blind:
        """A store that refuses to know anything after a cut."""

        def __init__(self, cut: date) -> None:
            self.cut = CUTS.of(cut)

        def read(self, table, *, as_of, **more):
            return store.read(table, as_of=self.cut if as_of is None else min(as_of, self.cut), **more)

    for day in SESSIONS[7::19]:
        blind = Blind(day)
        found = compute(blind, feature_set, NAME, CUTS, [day])
        assert found.height > 3
        assert found.equals(ranged(feature_set).filter(session=day))


def rows(store: DeltaStore, feature_set: FeatureSet, first: date, last: date, anchor: date) -> pl.DataFrame:
    """The panel of a block with a market of random returns, the same in every session."""
    cal = CUTS.calendar
    bars, actions = as_versions(store, feature_set, CUTS, anchor, last)
    made = panel(feature_set, bars, actions, Block(cal.index(anchor), cal.index(first), cal.index(last)))
    spread = pl.DataFrame(
        {"i": range(cal.index(last) + 1), "market": np.random.default_rng(1).normal(0, 0.01, cal.index(last) + 1)},
        schema_overrides={"i": pl.Int32},
    )
    return made.join(spread, on="i", how="left", maintain_order="left")


@pytest.mark.parametrize("feature_set", SETS, ids=lambda s: s.name)
def test_the_kernel_keeps_the_laws(store: DeltaStore, feature_set: FeatureSet) -> None:
    """Free of the scale of prices, of what follows, of other names; and the declared lookback is enough."""
    cal = CUTS.calendar
    first, last = date(2016, 11, 1), date(2016, 11, 18)
    whole = rows(store, feature_set, first, last, date(2015, 7, 1))
    made = [c for c in feature_set.kernel(whole.head(300)).columns if c not in whole.columns]
    values = feature_set.kernel(whole)
    assert all(values[c].drop_nulls().n_unique() > 5 or c == "style momentum" for c in made)
    scaled = feature_set.kernel(
        whole.with_columns(pl.col(c) * 2.0 for c in feature_set.columns if c in {"open", "high", "low", "close"})
    )
    assert scaled.select(made).equals(values.select(made))
    series = values.filter(series=3).select(made)
    assert feature_set.kernel(whole.filter(series=3)).select(made).equals(series)
    until = cal.index(date(2016, 10, 3))
    assert (
        feature_set.kernel(whole.filter(pl.col("i") <= until))
        .select(made)
        .equals(values.filter(pl.col("i") <= until).select(made))
    )
    short = (
        feature_set.kernel(whole.filter(pl.col("i") >= cal.index(first) - feature_set.lookback))
        .filter("selected")
        .select(made)
    )
    long = values.filter("selected").select(made)
    assert short.select(pl.all().is_null()).equals(long.select(pl.all().is_null()))
    assert all(np.allclose(short[c].fill_null(0.0), long[c].fill_null(0.0), rtol=1e-6, atol=0) for c in made)


def test_beta_and_residual_are_those_of_least_squares(store: DeltaStore) -> None:
    """Over 60 sessions, of those that have both returns."""
    made = STYLE.kernel(rows(store, STYLE, date(2016, 10, 3), date(2016, 11, 18), date(2016, 4, 1)))
    for series in (1, 4):
        one = made.filter(series=series).with_columns(daily=pl.col("close") / pl.col("close").shift(1) - 1)
        window = one.tail(60).drop_nulls("daily")
        assert window.height >= 30
        slope, constant = np.polyfit(window["market"], window["daily"], 1)
        left = window["daily"] - constant - slope * window["market"]
        assert one["style beta"][-1] == pytest.approx(slope, rel=1e-9)
        assert one["style residual_volatility"][-1] == pytest.approx(np.log(np.std(left.to_numpy())), rel=1e-9)


def test_exposures_have_mean_zero_and_variance_one(ranged: Callable[[FeatureSet], pl.DataFrame]) -> None:
    """In every session in which they differ; those of filings are there where filings are."""
    values = ranged(STYLE)
    of_session = values.group_by("session").agg(
        *(pl.col(f).mean().abs().alias(f"{f} mean") for f in STYLE.features),
        *((pl.col(f).std(ddof=0) - 1).abs().alias(f"{f} var") for f in STYLE.features),
    )
    assert of_session.drop("session").max().transpose()["column_0"].max() < 1e-9
    assert set(PRICE_FACTORS) | set(FACTORS) <= set(STYLE.features)
    filled = {f: values[f].count() / values.height for f in STYLE.features}
    assert {f for f, share in filled.items() if share < 0.5} == {"momentum"}  # a year of history is not there yet


def test_forms_of_a_signal_agree(ranged: Callable[[FeatureSet], pl.DataFrame]) -> None:
    """A rank orders as the score does, ranks and scores are centred, and what is neutral sums to nothing."""
    values = ranged(CROSS_SECTIONAL)
    for s in SIGNALS:
        of_session = values.group_by("session").agg(
            pl.corr(f"{s}_rank", f"{s}_z", method="spearman").alias("same"),
            rank=pl.col(f"{s}_rank").mean(),
            z=pl.col(f"{s}_z").mean(),
            n=pl.col(f"{s}_neutral").sum(),
        )
        there = of_session.filter(pl.col("same").is_finite())
        assert there.height > 0 or s == "intraday_20"  # in this market every close is as far from its open
        assert there["same"].min() > 0.95
        assert (
            there.select(
                pl.max_horizontal((pl.col("rank") - 0.5).abs(), pl.col("z").abs(), pl.col("n").abs()).max()
            ).item()
            < 1e-9
        )


@pytest.mark.parametrize("feature_set", SETS, ids=lambda s: s.name)
def test_every_feature_is_explained(feature_set: FeatureSet) -> None:
    """One line each, none for what is not there."""
    assert tuple(feature_set.meaning) == feature_set.features or set(feature_set.meaning) == set(feature_set.features)
    assert all(len(m) > 20 for m in feature_set.meaning.values())


SHARES = {"MSFT": 8.0e9, "XOM": 4.16e9, "JPM": 3.68e9, "KO": 4.35e9, "T": 6.17e9, "AMZN": 0.477e9}
"""Diluted shares that these companies reported for early 2016."""


def test_real_companies_are_what_they_are_known_to_be(shared_data: Path, tmp_path: Path) -> None:
    """In June 2016, of 150 real names by their real filings: market values, and who was a large, a defensive, a falling
    stock.
    """
    raw, day = pl.read_parquet(shared_data / "pystock/prices_20150323_20160630.parquet"), date(2016, 6, 15)
    liquid = (
        raw.group_by("symbol")
        .agg(pl.len(), dollars=(pl.col("close") * pl.col("volume")).median())
        .filter(pl.col("len") > 600)
        .sort("dollars", descending=True)["symbol"]
        .head(150)
    )
    names = sorted({*liquid, *SHARES, "ED", "ES", "NEM", "CHK"})
    sids = pl.DataFrame({"symbol": names, "sid": range(1, len(names) + 1)})
    known_at = pl.col("captured_on").cast(UTC_MICROS) + pl.duration(hours=37)
    origin = {
        "known_at": known_at,
        "declared_known_at": known_at,
        "withdrawn": pl.lit(value=False),
        "source": pl.lit("test"),
        "capture": pl.col("captured_on"),
        "file": pl.lit("test"),
        "line": pl.lit(1),
    }
    bars = (
        raw.join(sids, on="symbol")
        .filter(pl.col("date").is_in(CUTS.calendar.between(date(2015, 3, 20), day)))
        .with_columns(**origin, session="date")
    )
    reports = pl.read_parquet(shared_data / "pystock/sec_reports_to_20160630.parquet").join(
        sids, on="symbol", how="semi"
    )
    told = reports.unpivot(
        ["net_income", "eps_diluted", "equity", "assets", "cash_flow_op"],
        index=["symbol", "end_date", "doc_type", "fiscal_year", "period_focus", "amend", "captured_on"],
        variable_name="item",
    )
    told = told.drop_nulls("value").with_columns(
        **origin, session="end_date", form="doc_type", fiscal_period="period_focus", amended=pl.col("amend") == "True"
    )
    store = history(
        tmp_path,
        universe=[member(sid) for sid in sids["sid"]],
        listings=[listing(sid, symbol) for symbol, sid in sids.iter_rows()],
    )
    for table, frame in ((BARS, bars), (FILINGS, told)):
        store.append(
            table,
            frame.unique(table.key, keep="first", maintain_order=True).select(
                pl.col(c).cast(t) for c, t in table.schema.items()
            ),
        )
    counted = FUNDAMENTALS.read(store, CUTS, NAME, [day]).join(sids, on="sid")
    shares = dict(counted.select("symbol", "shares").iter_rows())
    assert {s: shares[s] for s in SHARES} == pytest.approx(SHARES, rel=0.05)
    assert counted["shares"].count() > 0.75 * len(names)
    values = compute(store, STYLE, NAME, CUTS, [day]).join(sids, on="sid")
    exposure = {str(row["symbol"]): row for row in values.iter_rows(named=True)}
    assert min(exposure[s]["size"] for s in ("MSFT", "XOM", "AMZN", "JPM")) > 1.0
    assert max(exposure[s]["beta"] for s in ("ED", "ES", "NEM")) < -1.0
    assert exposure["CHK"]["beta"] > 1.0 > -1.0 > exposure["CHK"]["momentum"]
    assert exposure["AMZN"]["momentum"] > 1.0 > exposure["AMZN"]["value"]
    assert exposure["NEM"]["momentum"] > 0.5
    assert values.select(pl.corr("size", "dollar_volume")).item() > 0.5


@pytest.mark.parametrize("feature_set", SETS, ids=lambda s: s.name)
def test_where_little_is_there_little_is_said(tmp_path: Path, feature_set: FeatureSet) -> None:
    """Without members or bars there are no rows; one name alone has a rank and nothing to be compared with."""
    days = CUTS.calendar.between(date(2016, 4, 1), date(2016, 4, 8))
    bars = [bar(1, day, 10.0 + n) for n, day in enumerate(days)]
    assert compute(history(tmp_path / "a", universe=[]), feature_set, NAME, CUTS, days).is_empty()
    assert compute(history(tmp_path / "b", universe=[member(1)]), feature_set, NAME, CUTS, days).is_empty()
    alone = compute(history(tmp_path / "c", universe=[member(1)], bars=bars), feature_set, NAME, CUTS, days)
    assert alone.height == len(days)
    assert {f for f in feature_set.features if alone[f].count()} == {
        f for f in ("ret_1_rank", "ret_5_rank") if f in feature_set.features
    }


def test_a_close_stands_in_for_five_sessions() -> None:
    """A close that is missing is the one before for up to five sessions, then none; never that of another series."""
    panel = pl.DataFrame({"series": [0] * 9 + [1] * 2, "close": [1.0, 2.0, *[None] * 6, 3.0, None, 5.0]})
    assert panel.select(last_close(1))["close"].to_list() == [None, 1.0, *[2.0] * 6, None, None, None]


@pytest.mark.parametrize(
    ("feature_set", "longest"), [(CROSS_SECTIONAL, 120), (STYLE, 252)], ids=["cross_sectional", "style"]
)
def test_the_lookback_reaches_the_last_close_that_can_stand_in(feature_set: FeatureSet, longest: int) -> None:
    """With five sessions missing where the longest return begins, the declared rows are enough, and one less is not."""
    rng, rows, t = np.random.default_rng(3), 400, 390
    values = {
        c: np.exp(rng.normal(3, 0.02, rows).cumsum() / 100 + rng.normal(0, 0.02, rows)) for c in feature_set.columns
    }
    whole = pl.DataFrame({"series": [0] * rows, "i": range(rows), **values, "market": rng.normal(0, 0.01, rows)})
    begins = t - longest
    whole = whole.with_columns(
        pl.when(~pl.col("i").is_between(begins - STALE + 1, begins)).then(c).alias(c) for c in feature_set.columns
    )

    def at_t(first: int) -> list[float | None]:
        out = feature_set.kernel(whole.filter(pl.col("i") >= first))
        return list(out.filter(i=t).select(c for c in out.columns if c not in whole.columns).row(0))

    enough = at_t(t - feature_set.lookback)
    assert None not in enough
    assert enough == pytest.approx(at_t(0), rel=1e-6)
    assert None in at_t(t - feature_set.lookback + 1)
