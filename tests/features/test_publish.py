"""What publishing keeps: blocks as they were begun, what stands when a run dies, and the universes of one set apart."""

from dataclasses import replace

import polars as pl
import pytest

from quant_assets.contract import Table
from quant_assets.errors import ConfigurationError, ContractViolation, LookbackExceeded
from quant_assets.features.blocks import Block, panel
from quant_assets.features.publish import anchors, compute, publish
from quant_assets.features.sets import Input, as_is, together
from quant_assets.features.style import STYLE
from quant_assets.tables import ANCHORS, UNIVERSE
from tests.features.audited_market import CUTS, SESSIONS, UNIVERSE_NAME, Memory, market

SET = replace(
    STYLE,
    name="published",
    inputs=(),
    cross_section=as_is,
    kernel=lambda p: p.with_columns(level=pl.col("close").cum_sum().over("series")),
    features=("level",),
    lookback=20,
)


def fresh() -> Memory:
    """The market, with nothing published."""
    store = Memory()
    store.frames = {k: v for k, v in market().frames.items() if not k.startswith("features") and k != ANCHORS.name}
    return store


def test_a_block_keeps_the_anchor_it_was_begun_with() -> None:
    """Where the calendar has lost a session since, or a shorter lookback is declared, the stored anchor stands and so
    do the bits.
    """
    store = fresh()
    publish(store, SET, UNIVERSE_NAME, CUTS, SESSIONS[:1])
    for other in (replace(SET, lookback=SET.lookback + 1), replace(SET, lookback=5)):
        assert anchors(store, other, CUTS, SESSIONS[:1]).equals(anchors(store, SET, CUTS, SESSIONS[:1]))
        assert compute(store, other, UNIVERSE_NAME, CUTS, SESSIONS[:3]).equals(
            compute(fresh(), SET, UNIVERSE_NAME, CUTS, SESSIONS[:3])
        )


def test_a_longer_lookback_is_another_version() -> None:
    """Declared longer while a quarter is under way, under the same version, nothing is published from an anchor that is
    too near.
    """
    store = fresh()
    publish(store, SET, UNIVERSE_NAME, CUTS, SESSIONS[:1])
    longer = replace(SET, lookback=60)
    with pytest.raises(
        LookbackExceeded, match="lookback of 20 sessions in the quarter of 2016-04-01, and declares 60 now"
    ):
        publish(store, longer, UNIVERSE_NAME, CUTS, SESSIONS[1:2])
    assert publish(store, replace(longer, version="2"), UNIVERSE_NAME, CUTS, SESSIONS[1:2]).rows > 0


class Dies(Memory):
    """A store whose process dies when the second block is written."""

    blocks = 0

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """As it is, until then."""
        self.blocks += table.name == SET.table.name
        if table.name == SET.table.name and self.blocks == 2:
            raise BrokenPipeError
        return super().append(table, frame)


def test_a_killed_run_goes_on_where_it_stopped() -> None:
    """Killed between two blocks, then run again: the block that stands is not computed anew, and all is as it would
    have been.
    """
    store = Dies()
    store.frames = fresh().frames
    with pytest.raises(BrokenPipeError):
        publish(store, SET, UNIVERSE_NAME, CUTS, SESSIONS)
    stand = store.frames[SET.table.name]["session"].n_unique()
    report = publish(store, SET, UNIVERSE_NAME, CUTS, SESSIONS)
    assert (report.numbers["published_before"], report.numbers["sessions_with_values"]) == (stand, len(SESSIONS))
    assert 0 < stand < len(SESSIONS)
    assert store.frames[SET.table.name].equals(compute(market(), SET, UNIVERSE_NAME, CUTS, SESSIONS))


def test_universes_and_versions_are_published_apart() -> None:
    """What stands for one universe or version is no reason to pass over another; each has its own members' rows."""
    store = fresh()
    half = store.frames[UNIVERSE.name].filter(pl.col("sid") % 2 == 0).with_columns(universe=pl.lit("half"))
    store.append(UNIVERSE, half)
    whole = publish(store, SET, UNIVERSE_NAME, CUTS, SESSIONS[:5])
    part = publish(store, SET, "half", CUTS, SESSIONS[:5])
    assert 0 < part.rows < whole.rows
    assert publish(store, replace(SET, version="2"), "half", CUTS, SESSIONS[:5]).rows == part.rows
    both = store.frames[SET.table.name].filter(version=SET.version).drop("universe").sort("session", "sid")
    assert both.join(both.unique(), on=both.columns).height == whole.rows + part.rows
    assert both.unique().height == whole.rows


def test_an_input_that_brings_a_key_twice_is_refused() -> None:
    """Two values of one member and session would be two rows of it: an error names the input."""
    twice = Input(
        "twice",
        {"level_of": pl.Float64},
        ("bars",),
        lambda *_: pl.DataFrame({"session": [SESSIONS[0]] * 2, "sid": [1, 1], "level_of": [1.0, 2.0]}),
    )
    with pytest.raises(ContractViolation, match=r"'twice' must bring .* keys occur twice"):
        compute(fresh(), replace(SET, inputs=(twice,)), UNIVERSE_NAME, CUTS, SESSIONS[:1])


def test_a_dividend_after_a_halt_counts_against_the_last_close() -> None:
    """Halted on the session before the ex-date, a name that pays 1 on a price of 10 and opens at 9 stands where it
    stood.
    """
    bars = pl.DataFrame(
        {"sid": 1, "i": [0, 1, 3], "e": [0, 1, 3], "close": [10.0, 10.0, 9.0], "withdrawn": False, "late": False},
        schema_overrides={"i": pl.Int32, "e": pl.Int32},
    )
    dividend = pl.DataFrame(
        {
            "sid": 1,
            "kind": "dividend",
            "i": [3],
            "e": [3],
            "numerator": None,
            "denominator": None,
            "cash": [1.0],
            "value": None,
            "withdrawn": False,
            "late": False,
        }
    )
    actions = dividend.cast(
        {"i": pl.Int32, "e": pl.Int32, "numerator": pl.Int64, "denominator": pl.Int64, "value": pl.Float64}
    )
    last = panel(replace(SET, columns=("close",)), bars, actions, Block(0, 3, 3)).filter(pl.col("i") == 3)
    assert last["close"].item() == pytest.approx(10.0)


def test_sets_together_keep_what_each_needs() -> None:
    """The longest of the lookbacks wherever it stands, all columns and inputs once, the wider of the dtypes; a part
    whose kernel changes is another whole.
    """
    one, other = (
        replace(SET, name="one", features=("a",), lookback=7, dtype=pl.Float32),
        replace(STYLE, columns=("open", "close"), lookback=30),
    )
    for sets in ((one, other), (other, one)):
        whole = together("whole", *sets)
        assert (whole.lookback, whole.dtype, set(whole.features), whole.inputs) == (
            30,
            pl.Float64,
            {"a", *STYLE.features},
            STYLE.inputs,
        )
        assert set(whole.columns) == {*one.columns, "open"}
    assert together("whole", one).dtype == pl.Float32
    assert together("whole", one).fingerprint != together("whole", replace(one, kernel=STYLE.kernel)).fingerprint
    assert replace(SET, frequency="1m").fingerprint != SET.fingerprint


def test_other_inputs_of_one_name_do_not_go_together() -> None:
    """Two sets that bring different columns under one name are refused; the very same input is brought once."""
    sector = Input("sector", {"sector": pl.String}, ("sectors",), lambda *_: pl.DataFrame())
    one, other = (replace(SET, name=n, features=(n,), inputs=(sector,)) for n in ("one", "other"))
    assert together("both", one, other).inputs == (sector,)
    with pytest.raises(ConfigurationError, match="different inputs named 'sector'"):
        together("both", one, replace(other, inputs=(replace(sector, tables=("listings",)),)))
