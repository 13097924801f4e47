"""Labels net of a universe, an index, an instrument, factors: hand-computed, and the laws of what is left."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError
from quant_assets.features.labels import compute_labels, publish_labels
from quant_assets.market_data.membership import Membership
from quant_assets.strategy import LabelRule, NetOf
from quant_assets.tables import BARS, LABELS, LISTINGS, UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS
from resources.tables.store import DeltaStore
from tests.features.labels_market import CUTS, DAYS, STYLE, Memory, gross, labels, market, rows

SESSIONS = DAYS[30:110]
HORIZON = 3
PLAIN = LabelRule(horizon=HORIZON)
RETURNS = {1: 0.10, 2: 0.04, 3: -0.02, 4: 0.5}
FACTORS = NetOf(factors=STYLE.name, version="1", universe="few", exposures=("size", "beta"))


def small(**frames: pl.DataFrame) -> Memory:
    """Four names bought at open(1) for 100, of which session 0's label from open(1) to open(2) is in RETURNS."""
    bars = [
        {
            "session": DAYS[n],
            "sid": sid,
            "open": 100.0 * (1 + r * (n == 2)),
            "close": 100.0,
            "withdrawn": False,
            "known_at": CUTS.of(DAYS[n]),
        }
        for sid, r in RETURNS.items()
        for n in range(3)
    ]
    listed = [
        {"session": DAYS[0], "sid": sid, "symbol": f"S{sid}", "listed": True, "known_at": CUTS.of(DAYS[0])}
        for sid in RETURNS
    ]
    return Memory({"bars": rows(BARS, bars), "listings": rows(LISTINGS, listed), **frames})


def of_small(store: Memory, net_of: NetOf) -> dict[int, float]:
    """By sid, the one-session labels of session 0."""
    return dict(
        compute_labels(store, CUTS, LabelRule(horizon=1, net_of=net_of), [DAYS[2]]).select("sid", "value").iter_rows()
    )


def test_net_of_a_universe() -> None:
    """The mean of the members that the session's cut knew; who joined later in the window does not count, and names
    outside are measured too.
    """
    member = {"session": DAYS[0], "until": DAYS[9], "universe": "few", "known_at": CUTS.of(DAYS[0])}
    later = {**member, "sid": 4, "session": DAYS[1], "known_at": CUTS.of(DAYS[1])}
    store = small(
        universe=rows(
            UNIVERSE, [*({**member, "sid": s} for s in (1, 2, 3)), later, {**member, "universe": "other", "sid": 4}]
        )
    )
    assert of_small(store, NetOf(universe="few")) == pytest.approx({1: 0.06, 2: 0.0, 3: -0.06, 4: 0.46})


def test_net_of_an_index() -> None:
    """By weights where all are told, alike otherwise; symbols mean what they meant, and changes told after the cut do
    not count.
    """
    member = {"session": DAYS[0], "index": "IX", "member": True, "withdrawn": False, "known_at": CUTS.of(DAYS[0])}
    told = [{**member, "symbol": "S1", "weight": 0.6}, {**member, "symbol": "s2", "weight": 0.2}]
    left = {**told[0], "member": False, "known_at": CUTS.of(DAYS[0]) + timedelta(minutes=1)}
    weighted = small(index_members=rows(INDEX_MEMBERS, [*told, left]))
    assert of_small(weighted, NetOf(index="IX")) == pytest.approx(
        {s: r - (0.6 * 0.10 + 0.2 * 0.04) / 0.8 for s, r in RETURNS.items()}
    )
    alike = small(index_members=rows(INDEX_MEMBERS, [*told, {**member, "symbol": "S3", "weight": None}]))
    assert of_small(alike, NetOf(index="IX")) == pytest.approx({s: r - 0.04 for s, r in RETURNS.items()})


def test_net_of_an_instrument() -> None:
    """The symbol's own return, so that its own label is nothing; a symbol that nobody bears leaves no label."""
    found = of_small(small(), NetOf(symbol="S2"))
    assert found == pytest.approx({1: 0.06, 2: 0.0, 3: -0.06, 4: 0.46})
    assert found[2] == 0.0
    assert of_small(small(), NetOf(symbol="NOBODY")) == {}


def test_a_symbol_that_changed_hands_is_what_the_cut_knew() -> None:
    """S 2 belongs to another name from session 70 on, which is known from 73 on: until then the old one's return
    counts.
    """
    rule = LabelRule(horizon=1, net_of=NetOf(symbol="S 2"))
    net, plain = labels(0, rule, DAYS[60:90]), gross(0, rule, DAYS[60:90])
    bearer = plain.filter(pl.col("sid") == pl.when(pl.col("session") < DAYS[73]).then(2).otherwise(1)).select(
        "session", of_bearer="value"
    )
    assert bearer.height > 20
    both = plain.join(bearer, on="session").select("session", "sid", value=pl.col("value") - pl.col("of_bearer"))
    assert both.sort("session", "sid").equals(net.select("session", "sid", "value"))


@pytest.mark.parametrize("kind", ["open_to_open", "close_to_close"])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_left_of_a_universe_averages_to_zero(seed: int, kind: str) -> None:
    """Over the members with a label, in every session; the rest is the gross label of the same names, and nobody is
    dropped.
    """
    rule = LabelRule(horizon=HORIZON, kind=kind, net_of=NetOf(universe="few"))
    net = labels(seed, rule, SESSIONS)
    taken_of = gross(seed, rule, SESSIONS)
    both = net.join(taken_of, on=["session", "sid", "label_end", "known_at", "died"], suffix="_gross")
    assert both.height == net.height == taken_of.height
    members = Membership.from_universe(market(seed).frames["universe"].filter(universe="few")).at(
        net["session"].unique().to_list(), CUTS
    )
    of_members = (
        net.join(members, left_on=["session", "sid"], right_on=["session", "who"], how="semi")
        .group_by("session")
        .agg(pl.col("value").sum(), n=pl.len())
    )
    assert of_members["n"].min() > 2
    assert of_members["value"].abs().max() < 1e-14
    taken = pl.col("value_gross") - pl.col("value")
    assert both.group_by("session").agg(taken.max() - taken.min()).to_series(1).max() < 1e-14


def regressed(seed: int, names: tuple[str, ...]) -> list[tuple[pl.DataFrame, np.ndarray, np.ndarray]]:
    """By session: the net labels, the exposures as published at the cut with a column of ones, the gross labels; of the
    same names.
    """
    rule = LabelRule(horizon=HORIZON, net_of=NetOf(factors=STYLE.name, version="1", universe="few", exposures=names))
    stored = market(seed).frames[STYLE.table.name]
    published = in_force(
        stored.filter(pl.col("known_at") == pl.col("known_at").min().over("session")), STYLE.table
    ).drop_nulls(names)
    exposed = gross(seed, rule, SESSIONS).select("session", "sid", gross="value").join(published, on=["session", "sid"])
    net = labels(seed, rule, SESSIONS)
    both = net.join(exposed, on=["session", "sid"]).sort("session", "sid")
    assert both.height == net.height == exposed.height
    return [
        (p, np.column_stack([np.ones(p.height), p.select(names).to_numpy()]), p["gross"].to_numpy())
        for p in both.partition_by("session", maintain_order=True)
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_left_of_factors_is_orthogonal_to_them(seed: int) -> None:
    """In every session the residuals sum to zero, alone and against each exposure as published at the cut, and are
    NumPy's.
    """
    for part, x, y in regressed(seed, ("size", "beta")):
        residual = part["value"].to_numpy()
        assert np.abs(x.T @ residual).max() < 1e-13
        assert residual == pytest.approx(y - x @ np.linalg.lstsq(x, y)[0], abs=1e-13)


def test_a_factor_told_twice_counts_once() -> None:
    """An exposure that the others explain changes nothing."""
    once, twice = (
        [p["value"].to_numpy() for p, _, _ in regressed(0, names)]
        for names in (("size", "beta"), ("size", "twin", "beta"))
    )
    assert max(np.abs(a - b).max() for a, b in zip(once, twice, strict=True)) < 1e-13


def test_factors_need_more_names_than_coefficients() -> None:
    """With as many names as coefficients everything is explained: there is no label."""
    exposed = [
        {
            "session": DAYS[0],
            "universe": "few",
            "sid": s,
            "version": "1",
            "size": float(s),
            "beta": float(s * s),
            "known_at": CUTS.of(DAYS[0]),
        }
        for s in RETURNS
    ]
    assert len(of_small(small(**{STYLE.table.name: rows(STYLE.table, exposed)}), FACTORS)) == 4
    assert of_small(small(**{STYLE.table.name: rows(STYLE.table, exposed[:3])}), FACTORS) == {}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "2"}, "at version '2', which is at '1' now"),
        ({"exposures": ("growth",)}, r"has no \['growth'\]"),
        ({"factors": "nothing"}, "no feature set is named 'nothing'"),
    ],
)
def test_factors_that_are_not_there(changed: dict, said: str) -> None:
    """Another version than the set's, an exposure that it has not, a set that nobody knows: an error that says so."""
    declared = {"factors": STYLE.name, "version": "1", "universe": "few", "exposures": ("size",), **changed}
    with pytest.raises(ConfigurationError, match=said):
        of_small(small(), NetOf(**declared))


def test_two_rules_stand_side_by_side(tmp_path) -> None:
    """Each label is stored under its own name, and what it is net of and nobody published leaves a reason."""
    store, memory = DeltaStore(tmp_path), market(0)
    for table in (BARS, UNIVERSE):
        store.append(
            table,
            memory.frames[table.name].with_columns(
                pl.lit("x").alias(c) for c in table.key if table.schema[c] == pl.String and c != "universe"
            ),
        )
    reports = [
        publish_labels(store, CUTS, r, DAYS[60:62])
        for r in (
            PLAIN,
            LabelRule(horizon=HORIZON, net_of=NetOf(universe="few")),
            LabelRule(horizon=HORIZON, net_of=NetOf(universe="none")),
        )
    ]
    assert [r.state for r in reports] == ["done", "done", "empty"]
    assert "with none known" in reports[2].reason
    assert set(store.read(LABELS, as_of=None)["label"]) == {"open_to_open", "open_to_open net of few"}
