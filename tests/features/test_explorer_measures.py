"""The explorer's statistics against loops that say the definitions again, one name at a time."""

import math
from datetime import date
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.calendars import calendar
from quant_assets.evaluation import ic_estimate, rank_ic
from quant_assets.features.drift import freeze, psi
from quant_assets.features.explorer import measures as of_measures
from quant_assets.features.explorer.measures import Measures, explore, explore_parts, family_of
from quant_assets.features.sets import FeatureSet, together

DAYS = calendar("XNYS").between(date(2024, 1, 2), date(2024, 4, 30))[:70]
HORIZONS, LAGS, QUANTILES = (1, 3), (1, 4), 4
FEATURES = ("planted_5", "planted_20", "noise", "ties", "gaps", "flat", "absent")
FRAMES = (
    "sessions",
    "daily",
    "ic",
    "excess",
    "decay",
    "quantiles",
    "persistence",
    "turnover",
    "drift",
    "correlation",
    "summary",
    "families",
    "extremes",
)


def untouched(panel: pl.DataFrame) -> pl.DataFrame:
    """A kernel that nobody runs."""
    return panel


def declared(*features: str) -> FeatureSet:
    """A set of that name's features that nobody computes."""
    return FeatureSet(
        name="invented",
        version="1",
        features=features,
        columns=("close",),
        lookback=1,
        kernel=untouched,
        meaning=dict.fromkeys(features, "A number."),
    )


@cache
def market() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Values and forward returns of 40 names of which some are missing on some sessions; returns are unknown at the
    end, and for some names.
    """
    chance = np.random.default_rng(7)
    values, forward = [], []
    for n, session in enumerate(DAYS):
        for sid in range(40):
            if chance.random() < 0.1:
                continue
            signal = chance.normal()
            row = {
                "planted_5": signal + 0.3 * chance.normal(),
                "planted_20": signal + 3 * chance.normal(),
                "noise": chance.normal(),
                "ties": float(sid // 8 + (chance.random() < 0.2)),
                "gaps": None if chance.random() < 0.3 else 0.01 * signal + chance.normal(),
                "flat": 1.0,
                "absent": None,
            }
            values.append({"session": session, "sid": sid, **row})
            known = [h for h in HORIZONS if n + h < len(DAYS) and chance.random() < 0.95]
            forward.extend(
                {"session": session, "sid": sid, "horizon": h, "value": 0.01 * signal + 0.02 * chance.normal()}
                for h in known
            )
    return pl.DataFrame(
        values, schema={"session": pl.Date, "sid": pl.Int64, **dict.fromkeys(FEATURES, pl.Float64)}
    ), pl.DataFrame(forward)


@cache
def measured() -> Measures:
    """All measures of the market."""
    return explore(declared(*FEATURES), *market(), horizons=HORIZONS, lags=LAGS, quantiles=QUANTILES)


def by_session(feature: str) -> list[dict[int, float]]:
    """Of each session, the value of each name that has one."""
    known = market()[0].drop_nulls(feature)
    held = {s: dict(of.select("sid", feature).iter_rows()) for (s,), of in known.group_by("session")}
    return [held.get(s, {}) for s in DAYS]


def rank(values: dict[int, float]) -> dict[int, float]:
    """Mean ranks by counting who is below."""
    return {
        k: sum(w < v for w in values.values()) + (sum(w == v for w in values.values()) + 1) / 2
        for k, v in values.items()
    }


def pearson(pairs: list[tuple[float, float]]) -> float | None:
    """The correlation of pairs; None where one side does not vary."""
    x, y = np.array(pairs).T if pairs else (np.empty(0), np.empty(0))
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return float(((x - x.mean()) * (y - y.mean())).mean() / (x.std() * y.std()))


def bucket(values: dict[int, float]) -> dict[int, int]:
    """The quantile, from 1, in which the middle of each name's rank lies."""
    return (
        {k: math.floor((r - 0.5) / len(values) * QUANTILES) + 1 for k, r in rank(values).items()}
        if len(values) >= QUANTILES
        else {}
    )


def same(found: pl.Series, wanted: list[float | None]) -> None:
    """Equal to 1e-11, and missing where it must be."""
    assert found.len() == len(wanted)
    for f, w in zip(found.to_list(), wanted, strict=True):
        assert (f is None) == (w is None), (f, w)
        assert f is None or f == pytest.approx(w, abs=1e-11)


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("feature", FEATURES)
def test_rank_ic_is_that_of_the_evaluation_to_the_bit(feature: str, horizon: int) -> None:
    """Each session's IC and number of names are those of `rank_ic`, and its mean, error and t those of
    `ic_estimate`.
    """
    values, forward = market()
    wanted = rank_ic(values.join(forward.filter(horizon=horizon), on=["session", "sid"]), score=feature)
    found = measured().ic.filter(pl.col("feature") == feature, pl.col("horizon") == horizon).drop_nulls("ic")
    assert_frame_equal(found.select("session", "ic", "n"), wanted, check_exact=True)
    told = measured().decay.filter(pl.col("feature") == feature, pl.col("horizon") == horizon).row(0, named=True)
    assert told["n"] == wanted.height
    if wanted.height:
        estimate = ic_estimate(wanted, horizon)
        assert (told["mean"], told["error"], told["t"]) == (estimate.mean, estimate.error, estimate.t)
        assert told["hit"] == pytest.approx((wanted["ic"] > 0).mean())
        assert told["ratio"] == pytest.approx(wanted["ic"].mean() / wanted["ic"].std(ddof=0))
    else:
        assert told["mean"] is told["t"] is told["ratio"] is told["hit"] is None


def test_rank_ic_is_spearmans() -> None:
    """With ties and gaps, it is the correlation of mean ranks counted one by one."""
    followed = market()[1].filter(horizon=3)
    for feature in ("ties", "gaps"):
        wanted = []
        for session, values in zip(DAYS, by_session(feature), strict=True):
            then = {k: v for k, v in followed.filter(session=session).select("sid", "value").iter_rows() if k in values}
            x, y = rank({k: values[k] for k in then}), rank(then)
            wanted.append(pearson([(x[k], y[k]) for k in then]))
        same(measured().ic.filter(pl.col("feature") == feature, pl.col("horizon") == 3)["ic"], wanted)


def test_a_planted_signal_is_found_and_noise_is_not() -> None:
    """The clearer signal has the larger t; noise has none, and a feature that never varies no IC at all."""
    t = {
        (f, h): v for f, h, v in measured().decay.select(pl.col("feature").cast(pl.String), "horizon", "t").iter_rows()
    }
    assert t["planted_5", 1] > t["planted_20", 1] > 4
    assert max(abs(t["noise", h]) for h in HORIZONS) < 3
    assert t["flat", 1] is t["absent", 1] is None
    planted = (
        measured().quantiles.filter(pl.col("feature") == "planted_5", pl.col("horizon") == 1).sort("quantile")["mean"]
    )
    assert planted.is_sorted()
    assert planted[-1] > 0.005
    assert planted[0] < -0.005


@pytest.mark.parametrize("feature", ["planted_5", "ties", "gaps", "flat", "absent"])
def test_quantile_returns_are_means_above_all_names(feature: str) -> None:
    """By session, each quantile's mean return less that of all names, the outermost return held at the one next to it;
    averaged over sessions in `quantiles`.
    """
    values, forward = market()
    members, followed = values.select("session", "sid"), forward.filter(horizon=1)
    wanted: list[float | None] = []
    for session, held in zip(DAYS, by_session(feature), strict=True):
        then = dict(
            followed.filter(session=session)
            .join(members, on=["session", "sid"], how="semi")
            .select("sid", "value")
            .iter_rows()
        )
        low, high = sorted(then.values())[1 : -1 : max(len(then) - 3, 1)] if then else (0.0, 0.0)
        then = {k: min(max(v, low), high) for k, v in then.items()}
        of = bucket(held)
        for q in range(1, QUANTILES + 1):
            inside = [then[k] for k, b in of.items() if b == q and k in then]
            wanted.append(sum(inside) / len(inside) - sum(then.values()) / len(then) if inside else None)
    found = measured().excess.filter(pl.col("feature") == feature)
    same(found["excess"], wanted)
    means = [found.filter(quantile=q)["excess"].mean() for q in range(1, QUANTILES + 1)]
    same(
        measured().quantiles.filter(pl.col("feature") == feature, pl.col("horizon") == 1).sort("quantile")["mean"],
        means,
    )


def test_quantiles_share_out_what_there_is() -> None:
    """Where every name has a value and a return, the quantiles' excess weighted by their names is zero, and their sizes
    differ by one at most.
    """
    values, forward = market()
    complete = values.join(forward.filter(horizon=1), on=["session", "sid"], how="semi")
    found = explore(declared("noise"), complete, forward, horizons=(1,), lags=(1,), quantiles=QUANTILES)
    sizes = {
        s: [list(bucket(dict(of.select("sid", "noise").iter_rows())).values()).count(q) for q in range(1, 5)]
        for (s,), of in complete.group_by("session")
    }
    assert all(max(n) - min(n) <= 1 for n in sizes.values())
    for (session,), of in found.excess.drop_nulls().group_by("session"):
        assert sum(e * n for e, n in zip(of.sort("quantile")["excess"], sizes[session], strict=True)) == pytest.approx(
            0, abs=1e-12
        )


@pytest.mark.parametrize("feature", ["planted_5", "ties", "gaps", "flat"])
def test_turnover_and_rank_autocorrelation(feature: str) -> None:
    """Who is new in a quantile counted by sets, and ranks against those of the same names before; means over sessions
    by lag.
    """
    held = by_session(feature)
    for lag in LAGS:
        low, high, lasting = [], [], []
        for now, before in zip(held, [{}] * lag + held[:-lag], strict=True):
            then, today, ranks, ranked = bucket(before), bucket(now), rank(now), rank(before)
            for side, q in ((low, 1), (high, QUANTILES)):
                inside = {k for k, b in today.items() if b == q}
                side.append(
                    len(inside - {k for k, b in then.items() if b == q}) / len(inside) if inside and then else None
                )
            lasting.append(pearson([(ranks[k], ranked[k]) for k in ranks.keys() & ranked.keys()]))
        if lag == 1:
            daily = measured().daily.filter(pl.col("feature") == feature)
            for column, wanted in (("turnover_low", low), ("turnover_high", high), ("rank_autocorrelation", lasting)):
                same(daily[column], wanted)
        told = measured().persistence.filter(pl.col("feature") == feature, pl.col("lag") == lag)
        for column, wanted in (("turnover_low", low), ("turnover_high", high), ("rank_autocorrelation", lasting)):
            there = [w for w in wanted if w is not None]
            same(told[column], [sum(there) / len(there) if there else None])


def test_distribution_and_coverage() -> None:
    """Quantiles of the values as NumPy's, and the share of rows that have one."""
    rows = dict(market()[0].group_by("session").len().iter_rows())
    for feature in FEATURES:
        daily = measured().daily.filter(pl.col("feature") == feature)
        held = [list(v.values()) for v in by_session(feature)]
        same(daily["coverage"], [len(v) / rows[s] for s, v in zip(DAYS, held, strict=True)])
        for name, at in (("p1", 0.01), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p99", 0.99)):
            same(daily[name], [float(np.quantile(v, at)) if v else None for v in held])


def test_correlation_is_the_mean_of_the_sessions() -> None:
    """Ranks of each session over the names that have both; nothing where one does not vary; the same either way
    round.
    """
    for one, other in (("planted_5", "gaps"), ("gaps", "ties"), ("flat", "noise")):
        found = [
            pearson([(x[k], y[k]) for k in x.keys() & y.keys()])
            for x, y in ((rank(a), rank(b)) for a, b in zip(by_session(one), by_session(other), strict=True))
        ]
        there = [f for f in found if f is not None]
        wanted = [sum(there) / len(there) if there else None]
        for a, b in ((one, other), (other, one)):
            same(measured().correlation.filter(pl.col("feature") == a, pl.col("other") == b)["correlation"], wanted)


def test_drift_is_the_index_of_a_stretch_against_the_first_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `drift.psi` of the pooled rows; a rest shorter than half a stretch does not count."""
    monkeypatch.setattr(of_measures, "REFERENCE", 30)
    monkeypatch.setattr(of_measures, "STRETCH", 18)
    values = market()[0]
    moved = values.with_columns(noise=pl.col("noise") + pl.when(pl.col("session") >= DAYS[30]).then(1.0).otherwise(0.0))
    found = explore(declared("noise", "gaps"), moved, market()[1], horizons=(1,), lags=(1,)).drift
    first = freeze(moved.filter(pl.col("session") < DAYS[30]), ("noise", "gaps"))
    assert found["session"].unique().sort().to_list() == [DAYS[47], DAYS[65]]  # 4 of 70 sessions are left over
    for end, (a, b) in ((DAYS[47], (30, 48)), (DAYS[65], (48, 66))):
        wanted = psi(first, moved.filter(pl.col("session").is_in(DAYS[a:b])))
        assert_frame_equal(
            found.filter(session=end).select(pl.col("feature").cast(pl.String), "psi", "noise", "ks"), wanted
        )
    last = dict(found.filter(session=DAYS[65]).select(pl.col("feature").cast(pl.String), "psi").iter_rows())
    assert last["noise"] > 0.5
    assert last["gaps"] < 0.1


@pytest.mark.parametrize("splits", [(1,), (13, 14, 40), tuple(range(1, 70))])
def test_parts_are_the_whole(splits: tuple[int, ...]) -> None:
    """Sessions given in stretches, rows in any order: the same bits."""
    values, forward = (f.sample(fraction=1.0, shuffle=True, seed=1) for f in market())
    edges = [0, *splits, len(DAYS)]
    parts = [tuple(f.filter(pl.col("session").is_in(DAYS[a:b])) for f in (values, forward)) for a, b in pairwise(edges)]
    found = explore_parts(declared(*FEATURES), parts, horizons=HORIZONS, lags=LAGS, quantiles=QUANTILES)
    for name in FRAMES:
        assert_frame_equal(getattr(found, name), getattr(measured(), name), check_exact=True)


def test_other_features_change_nothing() -> None:
    """A feature's rows are the same whatever stands beside it."""
    alone = explore(declared("gaps"), *market(), horizons=HORIZONS, lags=LAGS, quantiles=QUANTILES)
    for name in ("daily", "ic", "decay", "quantiles", "persistence"):
        both = [
            getattr(m, name).with_columns(pl.col("feature").cast(pl.String)).filter(pl.col("feature") == "gaps")
            for m in (alone, measured())
        ]
        assert_frame_equal(*both, check_exact=name != "quantiles")


def test_one_wrong_price_does_not_make_the_means_and_is_named() -> None:
    """A return of a million per cent, of a name with rows, stands among the extremes once, with its shortest window; no
    mean moves by more than a bounded return can.
    """
    values, forward = market()
    at = values.filter(pl.col("session") == DAYS[20])["sid"][0]
    wrong = forward.with_columns(
        value=pl.when(pl.col("session") == DAYS[20], pl.col("sid") == at).then(9_999.0).otherwise("value")
    )
    wrong = pl.concat(
        [wrong, wrong.head(1).with_columns(sid=pl.lit(999, dtype=pl.Int64), value=pl.lit(1e6))]
    )  # no member
    found = explore(declared(*FEATURES), values, wrong, horizons=HORIZONS, lags=LAGS, quantiles=QUANTILES)
    assert found.extremes.row(0) == (DAYS[20], at, 1, 9_999.0)
    assert found.extremes["sid"].is_unique().all()
    assert (found.quantiles["mean"] - measured().quantiles["mean"]).abs().max() < 0.001


def test_families() -> None:
    """By the part of a set put together, else by the name before its numbers, or as told; the family's mean |IC| and
    its most certain feature.
    """
    assert family_of(declared("KMID2", "RSTR60", "ret_1", "60")) == {
        "KMID2": "KMID",
        "RSTR60": "RSTR",
        "ret_1": "ret",
        "60": "60",
    }
    assert family_of(together("both", declared("a1"), declared("b1"))) == {"a1": "invented", "b1": "invented"}
    planted = measured().families.filter(family="planted", horizon=1).row(0, named=True)
    ics = measured().decay.filter(pl.col("feature").cast(pl.String).str.starts_with("planted"), pl.col("horizon") == 1)[
        "mean"
    ]
    assert (planted["features"], planted["best"]) == (2, "planted_5")
    assert planted["mean_abs_ic"] == pytest.approx(ics.abs().mean())
    told = explore(declared("noise", "ties"), *market(), horizons=(1,), families={"noise": "one", "ties": "one"})
    assert told.families.select("family", "features").rows() == [("one", 2)]
    assert set(measured().families.filter(family="absent")["best_t"]) == {None}


def test_nothing_is_measured_of_nothing() -> None:
    """No rows, no returns, or sessions with fewer names than quantiles: frames of the same columns, with null."""
    values, forward = market()
    nothing = explore(declared(*FEATURES), values.clear(), forward, horizons=HORIZONS)
    assert nothing.empty
    assert nothing.decay.columns == measured().decay.columns
    assert nothing.decay["mean"].null_count() == len(FEATURES) * len(HORIZONS)
    unknown = explore(declared(*FEATURES), values, forward.clear(), horizons=HORIZONS)
    assert unknown.ic["ic"].null_count() == unknown.ic.height
    assert unknown.daily["coverage"].null_count() == 0
    few = explore(declared("noise"), values.filter(pl.col("sid") < 3), forward, horizons=(1,), quantiles=5)
    assert few.excess["excess"].null_count() == few.excess.height
