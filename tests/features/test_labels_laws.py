"""Laws of every label: declared with the strategy, a range equals its days, purged by its own end, never dropped."""

from datetime import date
from functools import cache
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_assets.features.labels import compute_labels
from quant_assets.market_data.membership import Membership
from quant_assets.models.training import walk_forward
from quant_assets.models.training_set import ranked
from quant_assets.records import frame_hash
from quant_assets.strategy import LIQUID_MOMENTUM, LabelRule, NetOf, Strategy
from quant_assets.tables import ACTIONS, BARS, UNIVERSE
from tests.features.labels_market import CUTS, DAYS, STYLE, Memory, labels, market, rows

RULES = [
    LabelRule(horizon=5),
    LabelRule(horizon=4, kind="close_to_close"),
    LabelRule(horizon=3, net_of=NetOf(universe="few")),
    LabelRule(horizon=3, kind="close_to_close", net_of=NetOf(index="IX")),
    LabelRule(horizon=2, net_of=NetOf(symbol="S 2")),
    LabelRule(horizon=3, net_of=NetOf(factors=STYLE.name, version="1", universe="few")),
    LabelRule(horizon=5, kind="triple_barrier", upper=1.5, lower=1.0, volatility=10),
]
SPAN = DAYS[40:110]  # two quarters, in part


@cache
def whole(seed: int, rule: LabelRule) -> pl.DataFrame:
    """The labels of the whole span, in one call."""
    return labels(seed, rule, SPAN)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1),
    rule=st.sampled_from(RULES),
    ends=st.tuples(st.integers(0, len(SPAN) - 1), st.integers(1, 12)),
)
def test_a_range_equals_its_parts(seed: int, rule: LabelRule, ends: tuple[int, int]) -> None:
    """Whatever stretch is computed alone, a single day or days across a quarter's end, has the bits and the rows of the
    whole.
    """
    some = SPAN[ends[0] : ends[0] + ends[1]]
    part, of_whole = labels(seed, rule, some), whole(seed, rule).filter(pl.col("label_end").is_in(some))
    assert whole(seed, rule).height > 200
    assert frame_hash(part) == frame_hash(of_whole)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_days_one_by_one_and_with_gaps_are_the_whole(rule: LabelRule) -> None:
    """Every other day, then the days between, together are the range."""
    parts = [labels(0, rule, SPAN[:30:2]), *(labels(0, rule, [s]) for s in SPAN[1:30:2])]
    assert frame_hash(pl.concat(parts).sort("label", "horizon", "session", "sid", "known_at")) == frame_hash(
        whole(0, rule).filter(pl.col("label_end") <= SPAN[29])
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_later_knowledge_changes_no_bit(rule: LabelRule) -> None:
    """With everything removed that became known after the last session's cut, the labels are the same."""
    last = SPAN[50]
    past = Memory({name: f.filter(pl.col("known_at") <= CUTS.of(last)) for name, f in market(1).frames.items()})
    assert frame_hash(compute_labels(past, CUTS, rule, SPAN[:51])) == frame_hash(
        whole(1, rule).filter(pl.col("label_end") <= last)
    )


@pytest.mark.parametrize("rule", RULES[:2], ids=lambda r: r.name)
def test_who_could_be_bought_has_a_label(rule: LabelRule) -> None:
    """Every name with a price at the entry that the last cut knows has one, whether it lived or died: at the window's
    end, or when the name trades again.
    """
    bars = (
        market(0)
        .frames["bars"]
        .filter(pl.col("known_at") <= CUTS.of(SPAN[0]))
        .sort("known_at")
        .unique(["sid", "session"], keep="last")
        .filter(~pl.col("withdrawn"))
    )
    later = 1 if rule.kind == "open_to_open" else 0
    bought = bars.filter(session=DAYS[40 - rule.reach + later]).select("sid")
    found = whole(0, rule).filter(session=DAYS[40 - rule.reach]).unique("sid")
    assert sorted(found["sid"]) == sorted(bought["sid"])
    assert whole(0, rule).filter(label_end=SPAN[0]).height < 2 * found.height
    assert whole(0, rule)["died"].sum() > 0


def test_close_to_close_is_the_return_between_closes() -> None:
    """From close(t) to close(t+2), through a dividend and a split, known at the cut of t+2; an ending pays what it
    paid.
    """
    bars = [
        {"session": DAYS[n], "sid": s, "open": 1.0, "close": c, "withdrawn": False, "known_at": CUTS.of(DAYS[n])}
        for s, closes in ((1, (100.0, 99.0, 51.0)), (2, (100.0, 50.0)))
        for n, c in enumerate(closes)
    ]
    terms = {"withdrawn": False, "known_at": CUTS.of(DAYS[0])}
    acted = [
        {"sid": 1, "session": DAYS[1], "kind": "dividend", "cash": "1", **terms},
        {"sid": 1, "session": DAYS[2], "kind": "split", "numerator": 2, "denominator": 1, **terms},
        {"sid": 2, "session": DAYS[2], "kind": "delisting", "value": -0.5, **terms},
    ]
    found = compute_labels(
        Memory({"bars": rows(BARS, bars), "actions": rows(ACTIONS, acted)}),
        CUTS,
        LabelRule(horizon=2, kind="close_to_close"),
        [DAYS[2]],
    )
    assert found.select("session", "label_end", "sid", "died").rows() == [
        (DAYS[0], DAYS[2], 1, False),
        (DAYS[0], DAYS[2], 2, True),
    ]
    assert found["value"].to_list() == pytest.approx([102 / 100 + 0.01 - 1, -0.75])
    assert found["known_at"].unique().to_list() == [CUTS.of(DAYS[2])]


@settings(max_examples=40, deadline=None)
@given(
    rule=st.sampled_from([RULES[0], RULES[-1]]),
    size=st.integers(1, 12),
    embargo=st.integers(0, 6),
    count=st.integers(1, 3),
)
def test_a_fold_trains_on_exactly_what_was_known(rule: LabelRule, size: int, embargo: int, count: int) -> None:
    """Every row whose own label was known by the fold's cut trains, no other does, and no training window reaches into
    the test's.
    """
    frame = ranked(whole(0, rule).rename({"known_at": "label_known_at"}).sort("session", "sid"))
    sessions = frame["session"].unique().sort().to_list()
    for fold in walk_forward(frame, CUTS, count=count, size=size, embargo=embargo):
        train, test = fold.split(frame)
        cut = CUTS.of(sessions[max(sessions.index(fold.test[0]) - embargo, 0)])
        assert train.equals(frame.filter(pl.col("session") < fold.test[0], pl.col("label_known_at") <= cut))
        assert set(train["session"]) == set(fold.train)
        assert train.is_empty() or train["label_end"].max() <= test["session"].min()
        assert sorted(test["session"].unique()) == sorted(fold.test)


def test_barriers_keep_rows_that_a_session_as_a_whole_would_lose() -> None:
    """Purging whole sessions by their last label would leave out rows that were known."""
    frame = whole(0, RULES[-1]).rename({"known_at": "label_known_at"}).sort("session", "sid")
    (fold,) = walk_forward(frame, CUTS, count=1, size=10, embargo=0)
    train, _ = fold.split(frame)
    slow = frame.filter(pl.col("label_known_at").max().over("session") <= fold.known_by)
    assert train.height > slow.filter(pl.col("session") < fold.test[0]).height
    target = ranked(train).group_by("session").agg(pl.col("target").sum())["target"]
    assert target.abs().max() < 1e-12, "ranks among the rows that train, not among those not known yet"


def test_an_undeclared_label_is_no_part_of_the_strategy() -> None:
    """It keeps its hash, so that decisions made before keep their ids; a declared label is another strategy."""
    assert LIQUID_MOMENTUM.config_hash == "d8065825780127e726d4b476a496c970"
    assert LIQUID_MOMENTUM.rule == LabelRule(horizon=LIQUID_MOMENTUM.horizon)
    assert (
        msgspec.structs.replace(LIQUID_MOMENTUM, label=LabelRule(horizon=5)).config_hash != LIQUID_MOMENTUM.config_hash
    )


DECLARED = {
    "{horizon: 5}": "open_to_open",
    "{kind: close_to_close, horizon: 5, net_of: {universe: liquid}}": "close_to_close net of liquid",
    "{horizon: 5, net_of: {index: SP500}}": "open_to_open net of index SP500",
    "{horizon: 5, net_of: {symbol: SPY}}": "open_to_open net of symbol SPY",
    "{horizon: 5, net_of: {factors: style, version: '1', universe: liquid}}": "open_to_open net of style 1 in liquid",
    "{horizon: 5, net_of: {factors: style, version: '1', universe: liquid, exposures: [size, beta]}}": (
        "open_to_open net of style 1 in liquid (size, beta)"
    ),
    "{kind: triple_barrier, horizon: 10, upper: 2.0, lower: 2}": "triple_barrier 2.0/2.0x20",
    "{kind: triple_barrier, horizon: 10, upper: 3, volatility: 60}": "triple_barrier 3.0/2.0x60",
}


def test_a_deployment_declares_a_label() -> None:
    """Under its strategy; each rule has a name of its own."""
    rules = [msgspec.yaml.decode(f"name: mine\nlabel: {text}", type=Strategy, strict=False).rule for text in DECLARED]
    assert [r.name for r in rules] == list(DECLARED.values())
    assert len({r.name for r in RULES}) == len(RULES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: close_to_close}", "missing required field `horizon`"),
        ("{horizon: 0}", ">= 1"),
        ("{horizon: 5, kind: open_to_close}", "Invalid enum value"),
        ("{horizon: 5, uper: 2}", "unknown field `uper`"),
        ("{horizon: 5, upper: 3}", "belong to triple_barrier"),
        ("{horizon: 5, kind: triple_barrier, upper: -1}", ">= 0"),
        ("{horizon: 5, kind: triple_barrier, volatility: 1}", ">= 2"),
        ("{horizon: 5, kind: triple_barrier, net_of: {universe: a}}", "cannot be net of"),
        ("{horizon: 5, net_of: {}}", "names one of"),
        ("{horizon: 5, net_of: {universe: a, symbol: b}}", "names one of"),
        ("{horizon: 5, net_of: {universe: a, exposures: [size]}}", "names one of"),
        ("{horizon: 5, net_of: {factors: style, universe: a}}", "and the version"),
    ],
)
def test_a_label_that_cannot_be_is_refused(text: str, said: str) -> None:
    """With the field that is wrong."""
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.yaml.decode(f"name: mine\nlabel: {text}", type=Strategy, strict=False)


def test_on_the_real_panel(shared_data: Path) -> None:
    """A month of real prices with their restatements: every rule gives labels, barriers as it should be, and a range
    equals its days.
    """
    raw = pl.read_parquet(shared_data / "pystock/prices_20150323_20160630.parquet").filter(
        pl.col("date").is_between(date(2015, 7, 15), date(2015, 9, 30))
    )
    symbols = raw["symbol"].unique().sort().gather_every(10)
    bars = (
        raw.filter(pl.col("symbol").is_in(symbols.implode()))
        .with_columns(
            session="date",
            known_at=pl.col("captured_on").cast(BARS.schema["known_at"]) + pl.duration(hours=13),
            sid=pl.col("symbol").rank("dense").cast(pl.Int64),
            withdrawn=pl.lit(value=False),
        )
        .unique(["sid", "session", "known_at"], keep="first", maintain_order=True)
    )
    days = CUTS.calendar.between(date(2015, 8, 24), date(2015, 9, 18))
    member = {
        "session": date(2015, 7, 15),
        "until": date(2015, 10, 1),
        "universe": "few",
        "known_at": CUTS.of(date(2015, 7, 15)),
    }
    store = Memory(
        {"bars": rows(BARS, bars), UNIVERSE.name: rows(UNIVERSE, [{**member, "sid": s} for s in bars["sid"].unique()])}
    )
    for rule in (
        LabelRule(horizon=5),
        LabelRule(horizon=5, kind="close_to_close", net_of=NetOf(universe="few")),
        LabelRule(horizon=5, kind="triple_barrier", upper=1.5, lower=1.5),
    ):
        found = compute_labels(store, CUTS, rule, days)
        assert found["sid"].n_unique() > 0.8 * len(symbols)
        assert found["value"].abs().median() < 0.1
        alone = compute_labels(store, CUTS, rule, days[7:8])
        assert frame_hash(alone) == frame_hash(found.filter(label_end=days[7]))
    shares = dict(found["touched"].value_counts().iter_rows())
    assert min(shares[w] / found.height for w in ("upper", "lower", "time")) > 0.02
    assert Membership.from_universe(store.frames["universe"]).at(days, CUTS).height > found["sid"].n_unique()
