"""Labels that are plugged in: made of the returns within the horizon, filed where the platform's own are."""

import msgspec
import polars as pl
import pytest

from quant_assets import plugged
from quant_assets.errors import ConfigurationError
from quant_assets.plugins import label
from quant_assets.records import frame_hash
from quant_assets.strategy import LIQUID_MOMENTUM, LabelRule, NetOf
from tests.features.labels_market import DAYS, labels

SPAN = DAYS[40:80]
BY = LabelRule(horizon=4, by="test.last")


class Last:
    """The return over the whole horizon, as the platform's own label has it."""

    def value(self, path: pl.Expr) -> pl.Expr:
        """See the port."""
        return path.list.last()


class Best:
    """The best return within the horizon, at most `cap`."""

    def __init__(self, cap: float = 1.0) -> None:
        self.cap = cap

    def value(self, path: pl.Expr) -> pl.Expr:
        """See the port."""
        return path.list.max().clip(upper_bound=self.cap)


class NoNumber:
    """Not a number of each path."""

    def value(self, path: pl.Expr) -> pl.Expr:
        """See the port."""
        return path.list.first().cast(pl.String) + "x"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is plugged in here is there for no other test."""
    monkeypatch.setattr(plugged, "REGISTRY", dict(plugged.REGISTRY))
    for name, made in {"test.last": Last, "test.best": Best, "test.none": NoNumber}.items():
        label(name)(made)


def test_the_last_return_of_the_path_is_the_platforms_label() -> None:
    """Row for row and to the bit, but for windows that end in a halt, which have the last price here."""
    by, own = labels(0, BY, SPAN), labels(0, LabelRule(horizon=4), SPAN)
    both = own.join(by, on=["session", "sid", "known_at"], suffix="_by")
    assert both.height > 0.8 * own.height > 200
    assert (both["value"] == both["value_by"]).mean() > 0.99  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize("by", ["test.last", {"kind": "test.best", "cap": 0.05}])
def test_a_range_equals_its_days(by) -> None:
    """Each day alone gives the rows and bits of the whole."""
    rule = LabelRule(horizon=4, by=by)
    days = pl.concat([labels(0, rule, [s]) for s in SPAN[:15]]).sort("session", "sid", "known_at")
    whole = labels(0, rule, SPAN[:15]).sort("session", "sid", "known_at")
    assert frame_hash(days) == frame_hash(whole)
    assert whole.height > 100


def test_a_path_has_the_return_after_each_session() -> None:
    """The best of it is the largest of the shorter labels from the same open, where no name ended on the way."""
    best = labels(0, LabelRule(horizon=2, by="test.best"), SPAN)
    one, two = (labels(0, LabelRule(horizon=h), DAYS[38:82]) for h in (1, 2))
    both = best.join(one, on=["session", "sid"], suffix="_one").join(two, on=["session", "sid"], suffix="_two")
    plain = both.filter(~pl.col("died"), ~pl.col("died_one"), ~pl.col("died_two"))
    right = plain.with_columns(right=pl.max_horizontal("value_one", "value_two").clip(upper_bound=1.0))
    assert right.height > 200
    assert ((right["value"] - right["right"]).abs() < 1e-12).mean() > 0.9  # prices that were restated in between differ


def test_options_and_source_are_part_of_its_name_and_of_the_strategy() -> None:
    """Another option is another label and another strategy; without a plug-in both are as before."""
    names = {LabelRule(horizon=2, by=by).name for by in ("test.best", {"kind": "test.best", "cap": 0.1}, "test.last")}
    assert len(names) == 3
    assert all(name.startswith("open_to_open by test.") for name in names)
    hashes = {
        msgspec.structs.replace(LIQUID_MOMENTUM, label=LabelRule(horizon=5, **by)).config_hash
        for by in ({}, {"by": "test.last"}, {"by": "test.best"})
    }
    assert len(hashes) == 3
    assert LabelRule(horizon=5).name == "open_to_open"


def test_what_cannot_be_is_refused() -> None:
    """Net of something, with barriers, or where the plug-in makes no number."""
    for more in ({"net_of": NetOf(universe="few")}, {"kind": "triple_barrier"}):
        with pytest.raises(ValueError, match="leave out net_of"):
            LabelRule(horizon=2, by="test.last", **more)
    with pytest.raises(ConfigurationError, match=r"label test\.none: Polars cannot evaluate its value"):
        labels(0, LabelRule(horizon=2, by="test.none"), SPAN[:3])
