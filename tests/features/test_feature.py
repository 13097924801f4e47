"""A function of named columns is a feature set, and nothing that cannot be one is taken for it."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_assets.errors import ConfigurationError
from quant_assets.features import catalogue, declared
from quant_assets.features.catalogue import find_set
from quant_assets.features.feature import COLUMNS, feature
from quant_assets.features.sets import FeatureSet

SOURCE = '''
from quant_assets.features.feature import feature, feature_set_of

@feature(lookback=21)
def gap_20(open, close):
    """Mean overnight gap of 20 sessions, as a fraction of the close before."""
    return (open / close.shift(1) - 1).rolling_mean(20, min_samples=10)

@feature(lookback=5, cross_section="rank")
def busy(volume, raw_close):
    """Rank of the week's dollar volume."""
    return (volume * raw_close).rolling_mean(5)

MINE = feature_set_of("mine", gap_20, busy)
'''


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test declares, no other test knows."""
    monkeypatch.setattr(declared, "DECLARED", {})


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of features, to be imported as `ten_lines`."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a reload within a second reads the source
    path = tmp_path / "ten_lines.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("ten_lines", None)


def panel(names: int = 7, rows: int = 90, seed: int = 3) -> pl.DataFrame:
    """Random walks with halted sessions, as a kernel sees them."""
    rng = np.random.default_rng(seed)
    close = 40 * np.exp(rng.normal(0, 0.02, (names, rows)).cumsum(1)).ravel()
    prices = {c: close * (1 + 0.001 * k) for k, c in enumerate(COLUMNS)}
    frame = pl.DataFrame(
        {
            "series": np.repeat(np.arange(names, dtype=np.uint32), rows),
            "i": np.tile(np.arange(rows, dtype=np.int32), names),
            **prices,
        }
    )
    halted = pl.Series(rng.random(names * rows) < 0.05)
    return frame.with_columns(pl.when(~halted).then(pl.col(c)).alias(c) for c in COLUMNS).with_columns(
        session=pl.col("i")
    )


def test_ten_lines_are_a_feature_set(written: Path) -> None:
    """Parameters are what it reads, the docstring what it means; it is found by its name, and several of them as one
    set.
    """
    module = importlib.import_module("ten_lines")
    gap: FeatureSet = module.gap_20
    assert (gap.name, gap.features, gap.columns, gap.lookback, gap.version) == (
        "gap_20",
        ("gap_20",),
        ("open", "close"),
        21,
        "1",
    )
    assert gap.doc == gap.meaning["gap_20"] == "Mean overnight gap of 20 sessions, as a fraction of the close before."
    assert find_set("gap_20") is gap
    assert find_set("mine").features == ("gap_20", "busy")
    assert (find_set("mine").columns, find_set("mine").lookback) == (("open", "close", "volume", "raw_close"), 21)


def test_each_name_is_evaluated_on_its_own(written: Path) -> None:
    """Shifts and windows, nested as they are, never reach from one name into the next: all names together have the bits
    of each alone, and of the formula written out.
    """
    gap, rows = importlib.import_module("ten_lines").gap_20, panel()
    together = gap.kernel(rows)
    for series in range(7):
        alone = rows.filter(pl.col("series") == series)
        assert gap.kernel(alone).equals(together.filter(pl.col("series") == series))
        by_hand = (alone["open"] / alone["close"].shift(1) - 1).rolling_mean(20, min_samples=10)
        assert by_hand.alias("gap_20").equals(gap.kernel(alone)["gap_20"])
    assert together["gap_20"].null_count() > 7 * 10  # the warm-up of each


def test_what_is_not_finite_is_missing_before_names_are_compared() -> None:
    """One name's division by zero is its own missing value: it spoils no z-score of the others."""

    @feature(lookback=1, cross_section="zscore")
    def ratio(close, volume):
        """Close by volume."""
        return close / volume

    rows = panel().with_columns(volume=pl.when(pl.col("series") == 0).then(0.0).otherwise(pl.col("series") + 1.0))
    scored = ratio.cross_section(ratio.kernel(rows))
    others = scored.filter(pl.col("series") > 0, pl.col("close").is_not_null())
    assert scored.filter(pl.col("series") == 0)["ratio"].null_count() == 90
    assert others["ratio"].null_count() == 0
    moments = others.group_by("session").agg(mean=pl.col("ratio").mean(), std=pl.col("ratio").std())
    assert moments.select(pl.col("mean").abs().max()).item() < 1e-9
    assert moments.select((pl.col("std") - 1).abs().max()).item() < 1e-9


@pytest.mark.parametrize(
    ("among", "expected"), [("rank", [1 / 3, 5 / 6, 5 / 6]), (lambda v: v - v.median(), [-1.0, 0.0, 0.0])]
)
def test_a_cross_section_compares_the_members_of_one_session(
    among: str | Callable[[pl.Expr], pl.Expr], expected: list[float]
) -> None:
    """Whatever other sessions are in the frame; ties share their mean rank."""

    @feature(lookback=1, cross_section=among)
    def level(close):
        """The close."""
        return close

    rows = pl.DataFrame({"session": [1, 1, 1, 2, 2, 2], "level": [2.0, 3.0, 3.0, 70.0, 80.0, 80.0]})
    assert level.cross_section(rows).filter(session=1)["level"].to_list() == pytest.approx(expected)
    assert level.cross_section(rows).filter(session=2)["level"].to_list() == pytest.approx(
        expected if among == "rank" else [-10.0, 0.0, 0.0]
    )


def test_a_module_that_is_loaded_again_declares_in_its_own_place(written: Path) -> None:
    """Reloading is no conflict, and what was changed is what is known from then on."""
    module = importlib.import_module("ten_lines")
    before = find_set("gap_20")
    assert importlib.reload(module).gap_20.fingerprint == before.fingerprint
    written.write_text(SOURCE.replace("open / close", "close / close"))
    changed = importlib.reload(module).gap_20
    assert find_set("gap_20") is changed
    assert find_set("mine").parts[0] is changed
    assert not changed.kernel(panel())["gap_20"].equals(before.kernel(panel())["gap_20"])


def test_another_file_cannot_take_a_name(written: Path, tmp_path: Path) -> None:
    """Two features of one name in two files are a conflict, not whichever came last."""
    importlib.import_module("ten_lines")
    (tmp_path / "other_lines.py").write_text(SOURCE)
    with pytest.raises(ConfigurationError, match="'gap_20' is declared already"):
        importlib.import_module("other_lines")


def unknown(opne):
    """Opens at an unknown column."""
    return opne


def number(close):
    """Returns a number."""
    return 3


def past(close):
    """Reads past its parameters."""
    return pl.col("open") / close


def shorter(close):
    """Gives fewer rows than there are."""
    return close.drop_nulls().head(2)


def nothing():
    """Reads nothing."""
    return pl.lit(1.0)


def mute(close):
    return close


def plain(close):
    """A close."""
    return close


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (unknown, {}, "reads 'opne'.*did you mean 'open'.*raw_volume"),
        (number, {}, "must return a Polars expression.*returned int"),
        (past, {}, r"reads \['open'\] past its parameters.*def past\(close, open\)"),
        (shorter, {}, "one number for each row"),
        (nothing, {}, "its parameters name what it reads"),
        (mute, {}, "no docstring"),
        (plain, {"lookback": -1}, "looks ahead"),
        (plain, {"cross_section": "rnk"}, "no cross-section is named 'rnk'.*rank, zscore"),
        (plain, {"name": "My-Feature"}, "lower-case"),
        (plain, {"name": "close"}, "a column of the panel"),
        (plain, {"name": "price_volume"}, "declared already"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_what_cannot_be_a_feature_is_refused_at_once(
    function: Callable[..., pl.Expr], options: dict[str, object], words: str
) -> None:
    """With what is wrong and what to do instead, when the file is loaded and not in a night's run."""
    catalogue.find_sets()
    with pytest.raises(ConfigurationError, match=words):
        feature(**{"lookback": 3, **options})(function)
