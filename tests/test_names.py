"""Whatever becomes the name of a file or folder is a safe name by its type, or is made one."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contract import Table
from quant_assets.errors import ConfigurationError
from quant_assets.features.sets import FeatureSet
from resources.sources.open import declared
from resources.sources.pages import Pages, plain

UNSAFE = [
    "../../x",
    "..",
    "a/b",
    "a\\b",
    "a b",
    "a\0",
    "a\n",
    "",
    "-a",
    "CON",
    "x" * 65,
    "\u202ea",
    "$(id)",
    "a'; drop",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_table_and_a_feature_set_have_safe_names(name: str) -> None:
    """Their folders and pages are called after them."""
    with pytest.raises(ValueError, match="is not a name"):
        Table(name, "", {"a": pl.Int64}, ("a",))
    with pytest.raises(ValueError, match="is not a name"):
        FeatureSet(name, "1", ("a",), ("close",), 1, lambda panel: panel)


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize(
    "feed", [{"kind": "ccxt", "exchange": "binance", "symbols": ["A/B"], "first": "2024-01-01"}], ids=["ccxt"]
)
@pytest.mark.parametrize("key", ["exchange", "name"])
def test_a_feed_has_safe_names(feed: dict[str, object], key: str, name: str) -> None:
    """The cache of a vendor's pages is called after them."""
    with pytest.raises(ConfigurationError) as refused:
        declared(feed | {key: name})
    assert key in str(refused.value)


@given(st.text(max_size=200))
def test_any_symbol_is_one_part_of_a_path(symbol: str) -> None:
    """Never a folder above, never two parts, never too long, never a device."""
    name = plain(symbol)
    assert Path("a") / name == Path(f"a/{name}")
    assert name not in {"", ".", ".."}
    assert len(name) <= 64
    assert name.isascii()
    assert name.isprintable()
    assert not {"/", "\\", ":"} & set(name)
    assert name.split(".")[0].upper() not in {"CON", "NUL", "AUX", "PRN", "COM1", "LPT1"}


def test_symbols_of_other_scripts_are_apart_and_common_ones_are_readable(tmp_path: Path) -> None:
    """The names of requests that homes hold already are what they were."""
    assert [plain(s) for s in ("BTC/USDT", "BTC/USDT:USDT", "BRK B", "BF.B")] == [
        "BTC-USDT",
        "BTC-USDT_USDT",
        "BRK.B",
        "BF.B",
    ]
    apart = [plain(s) for s in ("币安/USDT", "人生/USDT", "..", "../..", "a\0b", "ab")]
    assert len(set(apart)) == len(apart)
    for name in apart:
        Pages(tmp_path).finish(name, pl.DataFrame({"a": [1]}))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{n}.parquet" for n in apart)
