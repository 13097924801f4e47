"""The explorer's page: whole, self-contained, small enough, and made from the store by one call."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.calendars import Cuts, calendar
from quant_assets.errors import ConfigurationError
from quant_assets.features.explorer.measures import Measures, explore
from quant_assets.features.explorer.page import Heading, page, write
from quant_assets.features.explorer.reading import explorer, forward
from quant_assets.features.labels import gross_returns
from quant_assets.features.sets import FeatureSet
from quant_assets.pages.charts import bundle
from quant_assets.strategy import LabelRule, NetOf
from quant_assets.tables import ACTIONS, BARS, CAPTURES
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
DAYS = CUTS.calendar.between(date(2024, 2, 1), date(2024, 7, 31))
NASTY = "</script><b>&"


def untouched(panel: pl.DataFrame) -> pl.DataFrame:
    """A kernel that nobody runs."""
    return panel


def declared(*features: str, meaning: str = "A number.") -> FeatureSet:
    """A set of that name's features that nobody computes."""
    return FeatureSet(
        name="invented",
        version="1",
        features=features,
        columns=("close",),
        lookback=1,
        kernel=untouched,
        meaning=dict.fromkeys(features, meaning),
        doc="For a test.",
    )


@cache
def measured(count: int, sessions: int, names: int = 30, *extra: str) -> Measures:
    """Measures of so many features in families of five; the first one foretells."""
    chance = np.random.default_rng(3)
    features = (
        *(f"{chr(65 + n // 5 % 26)}{chr(65 + n // 130)}_{(5, 10, 20, 30, 60)[n % 5]}" for n in range(count)),
        *extra,
    )
    keys = pl.DataFrame({"session": DAYS[:sessions]}).join(pl.DataFrame({"sid": range(names)}), how="cross")
    values = keys.with_columns(pl.Series(f, chance.normal(size=keys.height)) for f in features)
    returns = [
        keys.with_columns(
            horizon=pl.lit(h), value=0.01 * values[features[0]] + 0.01 * pl.Series(chance.normal(size=keys.height))
        )
        for h in (1, 5)
    ]
    return explore(declared(*features, meaning=f"A number, {NASTY}."), values, pl.concat(returns), horizons=(1, 5))


def without_bundle(text: str) -> str:
    """The page but for the drawing library that it carries."""
    assert bundle() in text
    return text.replace(bundle(), "")


def payload(text: str) -> dict[str, object]:
    """What the page's script is given."""
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_is_self_contained_and_the_same_bytes_again(tmp_path: Path) -> None:
    """It names no address but the specification's schema, loads nothing, and a second write is equal."""
    first, second = (write(measured(8, 40), tmp_path / n / "page.html", heading=Heading(universe="u")) for n in "ab")
    text = first.read_text(encoding="utf-8")
    assert text == second.read_text(encoding="utf-8")
    ours = without_bundle(text)
    assert set(re.findall(r"https?://[^/\"']+", ours)) <= {"https://vega.github.io"}
    assert not re.search(r"""(src|href)=["']?|@import|url\(""", ours)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["page.html"]


def test_a_large_set_stands_on_it_whole_and_stays_small() -> None:
    """158 features over enough sessions that every line has all its points: each has a row and its plots' data, in less
    than 5 MB.
    """
    large = measured(158, 125, 6)
    text = page(large, Heading())
    given = payload(text)
    rows = re.findall(r'<tr data-place="(\d+)"', text)
    assert sorted(map(int, rows)) == list(range(158))
    assert given["features"] == list(large.feature_set.features)
    assert len(given["sessions"]) == 105
    assert {name: len(of) for name, of in given["over_time"].items()} == dict.fromkeys(given["over_time"], 158)
    assert sorted(given["order"]) == list(range(158))
    assert len(text.encode()) < 5_000_000


def test_the_page_shows_the_measures() -> None:
    """The most certain feature comes first with its t; plots have the frames' numbers to four digits; every plot has a
    place.
    """
    m = measured(8, 40)
    text = page(m, Heading(), 1)
    given = payload(text)
    told = m.decay.filter(pl.col("horizon") == 1).sort(pl.col("t").abs(), descending=True)
    assert re.search(r'<tr data-place="(\d+)"', text)[1] == "0"
    assert f'<td class="n t">+{told["t"][0]:.1f}</td>' in text
    for n, feature in enumerate(m.feature_set.features):
        assert [d[0] for d in given["decay"][n]] == pytest.approx(
            m.decay.filter(pl.col("feature") == feature)["mean"].to_list(), rel=1e-3
        )
        ics = m.ic.filter(pl.col("feature") == feature, pl.col("horizon") == 1)["ic"]
        assert given["over_time"]["cumulative"][n][-1][0] == pytest.approx(ics.sum(), rel=1e-3)
        spread = m.quantiles.filter(pl.col("feature") == feature, pl.col("horizon") == 5).sort("quantile")["mean"]
        assert [by[1][0] for by in given["quantiles"][n]] == pytest.approx((spread * 1e4 / 5).to_list(), rel=1e-3)
    for name in given["charts"]:
        assert f'id="chart-{name}"' in text
        assert given["charts"][name]["description"]


def test_what_others_wrote_cannot_become_markup() -> None:
    """Names, meanings and notices are escaped, in the text and in the script's data."""
    text = page(measured(2, 25, 30, NASTY), Heading(universe=NASTY, audit=NASTY, notice=NASTY))
    assert NASTY not in without_bundle(text)
    assert without_bundle(text).count("</script") == 3  # the library's, the data's, the page's own
    assert payload(text)["features"][-1] == NASTY


@pytest.mark.parametrize(
    ("heading", "said"),
    [
        (Heading(), ["not known: this page was made without it", 'class="audit "', "all that is stored"]),
        (
            Heading(audit="all laws hold", audit_passed=True, cut=CUTS.of(DAYS[0])),
            ["all laws hold", 'class="audit ok"', "2024-02-02 14:15 UTC"],
        ),
        (
            Heading(audit="truncation fails", audit_passed=False, assumed=True),
            ["truncation fails", 'class="audit bad"', ">ASSUMED</span>"],
        ),
    ],
)
def test_the_heading_says_where_it_comes_from(heading: Heading, said: list[str]) -> None:
    """Set, version, fingerprint, cut, the audit's word, and the stamp where knowledge times were assumed."""
    text = page(measured(2, 25), heading)
    assert all(words in text for words in [*said, "invented", measured(2, 25).feature_set.fingerprint])
    assert (">ASSUMED</span>" in text) is heading.assumed


def test_a_page_of_nothing_says_so() -> None:
    """No rows: no plots and no script, but the set's name and what to do; an unknown horizon is an error that names the
    known ones.
    """
    schema = {"session": pl.Date, "sid": pl.Int64}
    nothing = explore(
        declared("a"),
        pl.DataFrame(schema=schema | {"a": pl.Float64}),
        pl.DataFrame(schema=schema | {"horizon": pl.Int64, "value": pl.Float64}),
    )
    text = page(nothing, Heading(universe="u"))
    assert "there is nothing to show. Publish the set" in text
    assert "<script" not in text
    with pytest.raises(ValueError, match=r"horizon 3 was not measured; there are \[1, 5\]"):
        page(measured(2, 25), Heading(), 3)


def test_values_without_returns_make_a_page() -> None:
    """One feature, one session, no return known: the page stands, without a most certain feature."""
    values = pl.DataFrame({"session": [DAYS[0]] * 8, "sid": range(8), "a": range(8)})
    nothing = pl.DataFrame(schema={"session": pl.Date, "sid": pl.Int64, "horizon": pl.Int64, "value": pl.Float64})
    text = page(explore(declared("a"), values, nothing), Heading())
    assert "no forward returns known yet" in text
    assert "There is one feature, so there are no pairs." in text


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[DeltaStore, FeatureSet]:
    """Bars of eight names on 70 sessions that span two quarters, of which one ends early and one splits, and published
    values in two versions.
    """
    chance = np.random.default_rng(5)
    days, store, invented = DAYS[20:90], DeltaStore(tmp_path_factory.mktemp("stored")), declared("a", "b")
    origin = {"source": "test", "file": "test", "line": 0}
    bars, values = [], []
    for sid in range(8):
        price = 100.0
        for n, session in enumerate(days[: 30 if sid == 1 else None]):
            price *= 1 + 0.02 * chance.normal()
            known = CUTS.of(session) - timedelta(minutes=30)
            prices = {
                "open": price,
                "high": price + 1,
                "low": price - 1,
                "close": price + 0.5,
                "volume": 100,
                "adj_close": None,
            }
            bars.append(
                {
                    "session": session,
                    "sid": sid,
                    "symbol": f"S{sid}",
                    **prices,
                    "withdrawn": False,
                    **origin,
                    "capture": session,
                    "known_at": known,
                    "declared_known_at": known,
                }
            )
            values.append(
                {
                    "session": session,
                    "universe": "u",
                    "sid": sid,
                    "version": "1",
                    "a": chance.normal(),
                    "b": chance.normal(),
                    "known_at": CUTS.of(session),
                }
            )
            if n == 3:
                values.append(values[-1] | {"a": 1000.0, "known_at": CUTS.of(days[5])})
    split = {
        "session": days[10],
        "sid": 2,
        "kind": "split",
        "numerator": 2,
        "denominator": 1,
        "cash": None,
        "value": None,
        "counterpart": None,
        "origin": "declared",
        "confidence": 1.0,
    }
    known = CUTS.of(days[9])
    store.append(BARS, pl.DataFrame(bars, schema=dict(BARS.schema)))
    store.append(
        ACTIONS,
        pl.DataFrame(
            [
                {
                    **split,
                    "withdrawn": False,
                    **origin,
                    "capture": days[9],
                    "known_at": known,
                    "declared_known_at": known,
                }
            ],
            schema=dict(ACTIONS.schema),
        ),
    )
    capture = {
        "capture": days[0],
        "source": "test",
        "dataset": "bars",
        "location": "",
        "sha256": "",
        "rows": 1,
        "quarantined": 0,
        "assumed": True,
        "known_at": CUTS.of(days[0]),
        "declared_known_at": CUTS.of(days[0]),
    }
    store.append(CAPTURES, pl.DataFrame([capture], schema=dict(CAPTURES.schema)))
    store.append(invented.table, pl.DataFrame(values, schema=dict(invented.table.schema)))
    return store, invented


def test_returns_are_those_of_the_labels(stored: tuple[DeltaStore, FeatureSet]) -> None:
    """Each window that has ended has the label's value, splits and a name that vanished included; a window that has not
    ended has none.
    """
    store, _ = stored
    days = DAYS[20:90]
    found = forward(store, CUTS, days, (1, 5), pl.DataFrame({"sid": range(8)}), None)
    wanted = pl.concat(
        [
            gross_returns(store, CUTS, LabelRule(horizon=h, net_of=NetOf(universe="u")), days)
            .with_columns(horizon=pl.lit(h, pl.Int64))
            .filter(pl.col("session") >= days[0])
            .select("session", "sid", "horizon", "value")
            for h in (1, 5)
        ]
    )
    key = ["horizon", "session", "sid"]
    assert_frame_equal(found.sort(key), wanted.sort(key), check_exact=True)
    assert found.filter(horizon=5)["session"].max() == days[-7]
    early = forward(store, CUTS, days, (5,), pl.DataFrame({"sid": [3]}), CUTS.of(days[40]))
    assert early["session"].max() == days[34]
    assert early["sid"].unique().to_list() == [3]


def test_the_page_of_the_store(stored: tuple[DeltaStore, FeatureSet], tmp_path: Path) -> None:
    """One call reads what is in force at the cut, quarter by quarter, and writes the page; at an earlier cut it is the
    earlier page.
    """
    store, invented = stored
    days, told = DAYS[20:90], list[tuple[int, int]]()
    made = explorer(
        store,
        invented,
        "u",
        CUTS,
        days[0],
        days[-1],
        folder=tmp_path,
        horizons=(1, 5),
        progress=lambda done, total, _: told.append((done, total)),
    )
    text = made.read_text(encoding="utf-8")
    assert made.name == f"features_invented_u_{days[0]}_{days[-1]}.html"
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert f"<dd>{days[0]} to {days[-1]}</dd>" in text
    assert ">ASSUMED</span>" in text
    assert f"median 7 names, {7 * 70 + 30} rows" in text
    given = payload(text)
    assert given["over_time"]["distribution"][0][3][4] > 900  # the restated values of the fourth session
    early = explorer(
        store,
        invented,
        "u",
        CUTS,
        days[0],
        days[-1],
        folder=tmp_path / "early",
        horizons=(1, 5),
        as_of=CUTS.of(days[4]),
    )
    before = payload(early.read_text(encoding="utf-8"))
    assert len(before["sessions"]) == 5
    assert before["over_time"]["distribution"][0][3][4] < 10
    other = explorer(store, invented, "nobody", CUTS, days[0], days[-1], folder=tmp_path / "other", horizons=(1,))
    assert "nothing to show" in other.read_text(encoding="utf-8")


def test_a_set_on_bars_is_refused(stored: tuple[DeltaStore, FeatureSet], tmp_path: Path) -> None:
    """The reader knows sessions; the error says what was found and what to do."""
    with pytest.raises(
        ConfigurationError, match="invented has a value each 5m, and the explorer reads sets of sessions"
    ):
        explorer(stored[0], replace(stored[1], frequency="5m"), "u", CUTS, DAYS[20], DAYS[30], folder=tmp_path)


def test_wild_returns_are_named_by_their_symbols() -> None:
    """A return above 100% is listed under its name, or its number where it has none."""
    keys = pl.DataFrame({"session": DAYS[:3]}).join(pl.DataFrame({"sid": range(9)}), how="cross")
    returns = keys.with_columns(
        horizon=pl.lit(1), value=pl.when(pl.col("sid") > 6).then(pl.col("sid") / 2.0).otherwise(0.01 * pl.col("sid"))
    )
    text = page(
        explore(declared("a"), keys.with_columns(a=pl.col("sid") * 1.0), returns, horizons=(1,)),
        Heading(symbols={8: "WILD"}),
    )
    listed = text.split("Returns to look at")[1]
    assert re.findall(r'<td style="padding-left:22px">(.*?)</td><td class="n">(.*?)</td>', listed) == [
        ("WILD", "+400%"),
        ("7", "+350%"),
    ]
