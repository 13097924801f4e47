"""Prices and days that a strategy declares: those that it gets, or refused."""

from pathlib import Path

import msgspec
import pytest

from desk.deployment import DeploymentRefused, load
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.sets import FeatureSet
from quant_assets.strategy import Strategy

TEXT = """clock: session
start: 2024-05-21
source: {{kind: simulated, first: 2024-01-02, last: 2024-06-28}}
strategies: [{{name: small, {declared}}}]
books: []
"""


@pytest.mark.parametrize(
    ("declared", "wrong"),
    [
        ("adjustment: adjusted", ""),
        ("adjustment: split-only", "price_volume reads adjusted prices"),
        ("adjustment: unadjusted", "price_volume reads adjusted prices"),
        ("adjustment: total", "adjustment"),
        ("timezone: exchange-local", ""),
        ("timezone: UTC", "sessions of XNYS are days of America/New_York"),
        ("timezone: settlement-local", "nothing files them otherwise"),
    ],
)
def test_a_policy_is_what_the_strategy_gets_or_refused(tmp_path: Path, declared: str, wrong: str) -> None:
    """At load, with what to write."""
    place = tmp_path / "deployment.yaml"
    place.write_text(TEXT.format(declared=declared))
    if not wrong:
        assert load(place).strategies[0].name == "small"
        return
    with pytest.raises(DeploymentRefused) as caught:
        load(place)
    assert wrong in str(caught.value)


def test_undeclared_policies_are_no_part_of_a_strategy() -> None:
    """Its hash and its decisions' ids stay; its snapshot names the defaults."""
    plain = Strategy(name="small")
    assert {"adjustment", "timezone"}.isdisjoint(msgspec.to_builtins(plain))
    assert plain.days == "UTC"
    assert Strategy(name="small", timezone="exchange-local").days == "exchange-local"


@pytest.mark.parametrize(
    ("columns", "splits_only", "adjustment"),
    [
        (("close",), False, "adjusted"),
        (("close", "volume"), True, "split-only"),
        (("raw_close",), False, "unadjusted"),
        (("raw_close", "volume"), False, "split-only"),
    ],
)
def test_a_set_tells_what_its_prices_are_adjusted_for(
    columns: tuple[str, ...], splits_only: bool, adjustment: str
) -> None:
    """By the columns that it reads, and whether payments are left in."""
    made = FeatureSet("f", "1", ("f",), columns, 5, lambda rows: rows, splits_only=splits_only)
    assert made.adjustment == adjustment
    assert PRICE_VOLUME.adjustment == "adjusted"
