"""The stores that an audit looks through leave the past as it is, and change what came later, in any table."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_assets.contract import Table, known_by
from quant_assets.errors import ContractViolation
from quant_assets.features.audit.cuts import choose
from quant_assets.features.audit.difference import difference
from quant_assets.features.audit.hostile import Hostile
from quant_assets.features.audit.views import EXEMPT, KnownBy, Remembered
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.market_data.datasets import contracts
from quant_assets.tables import ACTIONS, BARS, UNIVERSE
from tests.features.audited_market import CUTS, FIRST, LAST, SESSIONS, UNIVERSE_NAME, Memory, market

T = date(2016, 5, 18)
CUT = CUTS.of(T)
TABLES = {t.name: t for t in (*contracts(), PRICE_VOLUME.table) if "known_at" in t.schema and t.name not in EXEMPT}


def anything(table: Table, rows: int = 400) -> pl.DataFrame:
    """Rows of a table with events around T, half of them known by its cut."""
    rng = np.random.default_rng(len(table.name))
    known = [CUT + timedelta(hours=float(h)) for h in rng.normal(0, 200, rows)]

    def column(dtype: pl.DataType) -> pl.Series:
        if isinstance(dtype, pl.Datetime):
            return pl.Series([CUT + timedelta(hours=float(h)) for h in rng.normal(-50, 200, rows)], dtype=dtype)
        if isinstance(dtype, pl.Date):
            return pl.Series([T + timedelta(days=int(d)) for d in rng.integers(-20, 6, rows)], dtype=dtype)
        if isinstance(dtype, pl.String):
            return pl.Series([f"S{n}" for n in rng.integers(0, 12, rows)])
        if isinstance(dtype, pl.Boolean):
            return pl.Series(rng.random(rows) < 0.3)
        return pl.Series(rng.integers(1, 90, rows)).cast(dtype)

    made = {c: column(pl.Schema({c: t})[c]) for c, t in table.schema.items()}
    return (
        pl.DataFrame(made)
        .with_columns(known_at=pl.Series(known, dtype=table.schema["known_at"]))
        .unique(table.key, keep="first", maintain_order=True)
    )


@pytest.mark.parametrize("name", TABLES)
def test_another_future_of_any_table(name: str) -> None:
    """What was known by the cut is there to the bit, however it is read; of what is known later hardly a row says the
    same; keys stay keys; the same question gets the same answer.
    """
    table, store = TABLES[name], Memory()
    store.append(table, anything(table))
    whole = store.read(table, as_of=None)
    hostile = Hostile(store, T, CUT)
    past = whole.filter(pl.col("known_at") <= CUT)
    assert hostile.read(table, as_of=CUT).equals(past)
    other = hostile.read(table, as_of=None)
    assert other.join(past, on=list(table.schema), how="semi", nulls_equal=True).height == past.height
    assert table.conform(other).equals(other)
    assert hostile.read(table, as_of=None).equals(other)
    assert hostile.read(table, as_of=CUT + timedelta(days=5)).equals(known_by(other, CUT + timedelta(days=5)))
    assert hostile.read(table, as_of=None, columns=()).equals(other.select(c for c in table.schema if c in table.key))
    if any(
        t.is_numeric()
        for c, t in pl.Schema(table.schema).items()
        if c not in {*table.key, table.event, *table.beside, "line"}
    ):
        values = [c for c in table.schema if c not in {"known_at", "declared_known_at", "line"}]
        later = other.filter(pl.col("known_at") > CUT)
        kept = later.join(whole, on=[*values, "known_at"], how="semi", nulls_equal=True)
        assert kept.height < 0.2 * later.height
    if "known_at" in table.key:
        restated = other.filter(pl.col("known_at") == CUT + timedelta(minutes=1))
        assert restated.height > 0
        known = KnownBy(store, CUT)
        assert known.read(table, as_of=None).equals(past)
        alone = Hostile(known, T, CUT, future=False).read(table, as_of=None)
        assert alone.filter(pl.col("known_at") <= CUT).equals(past)
        assert alone.height > past.height


def test_names_are_gone_and_splits_are_told_late() -> None:
    """In the other future of the small market some names have no bar after the session, and splits of the week before
    are heard of a minute after the cut.
    """
    hostile = Hostile(market(), T, CUT)
    lives = [s.read(BARS, as_of=None).filter(pl.col("session") > T)["sid"].n_unique() for s in (market(), hostile)]
    assert 0 < lives[1] < lives[0]
    late = hostile.read(ACTIONS, as_of=None).filter(
        pl.col("known_at") == CUT + timedelta(minutes=1), pl.col("numerator") == 7
    )
    assert late.filter(pl.col("session") < T).height > 0
    assert late.filter(pl.col("session") > T).height > 0


def test_what_is_remembered_is_what_stands() -> None:
    """Any sequence of reads is answered as the store below answers it, and nobody writes."""
    rng = np.random.default_rng(3)
    held = Remembered(market(), FIRST, LAST)
    days = CUTS.calendar.between(date(2016, 2, 1), LAST)
    for _ in range(60):
        table = (BARS, ACTIONS, UNIVERSE, PRICE_VOLUME.table)[int(rng.integers(4))]
        ends = sorted(days[int(i)] for i in rng.integers(0, len(days), 2))
        asked = {
            "as_of": None if rng.random() < 0.3 else CUTS.of(days[int(rng.integers(len(days)))]),
            "first": None if rng.random() < 0.2 else ends[0],
            "last": None if rng.random() < 0.2 else ends[1],
            "where": {"sid": int(rng.integers(1, 5))} if rng.random() < 0.3 else None,
            "columns": [c for c in table.schema if rng.random() < 0.3] if rng.random() < 0.7 else None,
        }
        assert held.read(table, **asked).equals(market().read(table, **asked)), asked
    with pytest.raises(ContractViolation, match="kernels and inputs read, `publish` writes"):
        held.append(BARS, BARS.empty())


def test_cuts_are_where_something_happens() -> None:
    """On the small market every kind of event has its cut, and each is one: at most as many as asked for, and always
    one at random.
    """
    chosen = choose(market(), UNIVERSE_NAME, CUTS, SESSIONS, lookback=20, most=20)
    kinds = {k: c.session for c in chosen for k in c.kinds}
    assert set(kinds) == {
        "eve of an ex-date",
        "ex-date",
        "last session of a name",
        "eve of a restatement",
        "a bar that was late",
        "first session after a halt",
        "eve of a change of members",
        "end of a block",
        "at random",
    }
    bars, actions = (market().read(t, as_of=None) for t in (BARS, ACTIONS))
    assert actions.filter(session=CUTS.calendar.shift(kinds["eve of an ex-date"], 1)).height
    at, cut = kinds["a bar that was late"], CUTS.of(kinds["a bar that was late"])
    assert bars.filter(session=at).group_by("sid").agg(pl.col("known_at").min()).filter(pl.col("known_at") > cut).height
    assert bars.filter(
        pl.col("known_at").is_between(
            CUTS.of(kinds["eve of a restatement"]), CUTS.of(CUTS.calendar.shift(kinds["eve of a restatement"], 1))
        )
    ).height
    assert kinds["end of a block"] == date(2016, 6, 30)
    assert [c.session for c in chosen] == sorted({c.session for c in chosen})
    for most in (1, 3, 5):
        few = choose(market(), UNIVERSE_NAME, CUTS, SESSIONS, lookback=20, most=most)
        assert len(few) == most
        assert any("at random" in c.kinds for c in few)
    assert choose(market(), UNIVERSE_NAME, CUTS, [], lookback=20) == []
    assert choose(Memory(), UNIVERSE_NAME, CUTS, SESSIONS, lookback=20) == []


def test_differences_are_of_bits() -> None:
    """A last bit, a sign of zero, a missing value and a missing row are differences; the first column, row and both
    values are told.
    """
    one = pl.DataFrame({"session": [1, 1, 2], "sid": [1, 2, 1], "a": [1.0, 0.0, None], "b": [1.0, 2.0, 3.0]})
    assert difference(one, one, ["a", "b"]) is None
    assert difference(one, one.reverse(), ["a", "b"]) is None
    cases = {
        "a": (one.with_columns(a=pl.col("a") * -1.0), (1, 1)),
        "b": (one.with_columns(b=pl.Series([1.0, float(np.nextafter(2.0, 3.0)), 3.0])), (1, 2)),
    }
    for column, (other, where) in cases.items():
        found = difference(one, other, ["a", "b"])
        assert found is not None
        assert (found.column, found.at, found.sid) == (column, *where)
    found = difference(one, one.with_columns(a=pl.col("a").fill_null(0.0), b=pl.col("b") + 1), ["a", "b"])
    assert found is not None
    assert (found.column, found.at, found.one, found.other, found.others) == ("a", 2, None, 0.0, 1)
    found = difference(one, one.head(2), ["a"])
    assert found is not None
    assert (found.column, found.at, found.sid, found.one, found.other) == ("", 2, 1, "a row", "none")
    assert difference(one, one.with_columns(b=pl.col("b") * (1 + 1e-8)), ["b"], tolerance=1e-6) is None
    assert difference(one, one.with_columns(b=pl.col("b") * (1 + 1e-5)), ["b"], tolerance=1e-6) is not None
    assert difference(one.cast({"b": pl.Float32}), one.cast({"b": pl.Float32}), ["b"]) is None
