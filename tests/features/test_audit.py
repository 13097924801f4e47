"""Every seeded leak is caught, no honest set is flagged, and what was not audited as it is written now does not
pass.
"""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from quant_assets.contract import UTC_MICROS
from quant_assets.features.audit import audit as auditing
from quant_assets.features.audit.audit import LAWS, audit, audited, record, standing
from quant_assets.features.audit.hostile import Hostile
from quant_assets.features.audit.views import Remembered
from quant_assets.features.catalogue import find_sets
from quant_assets.features.sets import DAILY, FeatureSet
from quant_assets.tables import AUDITS, BARS, UNIVERSE
from tests.features.audited_market import CUTS, FIRST, LAST, NOW, SESSIONS, UNIVERSE_NAME, Memory, filled, market
from tests.features.leaks import HONEST, LEAKS, RET, Leak, caught, declared, made, reading

MOST = 3
NAMED = {leak.name: leak for leak in LEAKS}


def broken(leak: Leak, most: int = MOST) -> pl.DataFrame:
    """The rows of AUDITS of the laws that the leak broke."""
    return caught(market(), leak, UNIVERSE_NAME, CUTS, SESSIONS, most=most)[0]


def judged(feature_set: FeatureSet, store: Memory | None = None, **how: object) -> pl.DataFrame:
    """The rows of AUDITS of a set on the small market."""
    return audit(store or market(), feature_set, UNIVERSE_NAME, CUTS, SESSIONS, **{"now": NOW, "most": MOST, **how})


@pytest.mark.parametrize("name", NAMED)
def test_every_leak_is_caught(name: str) -> None:
    """The law that the leak breaks says so, and names the column, the session or row, and the instrument; the honest
    column beside it is never named.
    """
    leak = NAMED[name]
    rows = broken(leak)
    told = rows.filter(law=leak.law)
    assert told.height == 1, rows.select("law", "evidence").rows()
    assert told["column"][0] == (leak.column or None)
    assert "ret_5" not in rows["column"].to_list()
    if leak.law != "inputs":
        assert told["at"][0]
        assert told["sid"][0] is not None


PLATFORM = [s for s in find_sets().values() if s.frequency == DAILY and s not in HONEST]


@pytest.mark.parametrize("feature_set", [*HONEST, *PLATFORM], ids=lambda s: s.name)
def test_no_honest_set_is_flagged(feature_set: FeatureSet) -> None:
    """The platform's own sets, and honest twins of the leaks, pass every law."""
    rows = judged(feature_set, most=2 if feature_set in PLATFORM else MOST)
    assert rows.filter(~pl.col("passed")).select("law", "evidence").rows() == []
    assert set(rows["law"]) == set(LAWS)
    assert rows.filter(law="truncation")["cells"][0] > 0


def test_the_real_market_raises_no_false_alarm(shared_data: Path) -> None:
    """On every twentieth name of the real panel, with its late rows and restatements, an honest set passes and a reader
    that takes what is stored does not.
    """
    raw = (
        pl.scan_parquet(shared_data / "pystock/prices_20150323_20160630.parquet")
        .filter(pl.col("date") < date(2015, 11, 1))
        .collect()
    )
    raw = raw.filter(pl.col("symbol").is_in(raw["symbol"].unique().sort().gather_every(20).implode()))
    known = pl.col("captured_on").cast(UTC_MICROS) + pl.duration(hours=37)
    bars = raw.with_columns(
        session="date", known_at=known, sid=pl.col("symbol").rank("dense").cast(pl.Int64), withdrawn=pl.lit(value=False)
    ).unique(["sid", "session", "known_at"], keep="first", maintain_order=True)
    bars = bars.filter(pl.col("session").is_in(CUTS.calendar.between(date(2015, 3, 23), date(2015, 10, 30))))
    store, start = Memory(), date(2015, 6, 1)
    store.append(BARS, filled(BARS, bars))
    names = bars["sid"].unique().sort()
    members = pl.DataFrame({"sid": names}).with_columns(
        session=pl.lit(start),
        until=pl.lit(date(2016, 1, 4)),
        universe=pl.lit("real"),
        rank=pl.col("sid"),
        dollar_volume=pl.lit(1.0),
        known_at=pl.lit(CUTS.of(start)),
    )
    store.append(UNIVERSE, members.select(*UNIVERSE.schema))
    sessions = CUTS.calendar.between(start, date(2015, 10, 30))
    rows = audit(store, HONEST[0], "real", CUTS, sessions, now=NOW, most=3)
    assert rows["passed"].all(), rows["evidence"]
    assert rows.filter(law="truncation")["cells"][0] > 5_000
    leak = audit(store, NAMED["close used before it is known"].feature_set, "real", CUTS, sessions, now=NOW, most=3)
    assert not leak.filter(law="knowledge_time")["passed"][0]


def test_features_without_a_value_are_named() -> None:
    """A pass says of which features it says nothing."""
    nested = made("nested", "nothing", RET.mean().over("i"), "")  # a window in a window sees one row at a time
    rows = judged(nested.feature_set, most=1)
    assert "nothing is proven of them: nothing" in rows.filter(law="truncation")["evidence"][0]
    assert "never a value" not in judged(HONEST[-1], most=1).filter(law="truncation")["evidence"][0]


def immortal() -> Memory:
    """The small market without the names that die, and without what happened to them."""
    store, bars = Memory(), market().frames[BARS.name]
    lives = bars.group_by("sid").agg(pl.col("session").max()).filter(pl.col("session") >= LAST)
    store.frames = {
        n: f.join(lives, on="sid", how="semi", maintain_order="left") if "sid" in f.columns else f
        for n, f in market().frames.items()
    }
    return store


@pytest.mark.parametrize(
    ("part", "name", "law"),
    [
        ("_scrambled", "timezone slip", "knowledge_time"),
        ("_restatements", "timezone slip", "knowledge_time"),
        ("_another_future", "survivors by bars to come", "poisoned_future"),
    ],
)
def test_the_table_needs_every_part_of_the_other_future(
    monkeypatch: pytest.MonkeyPatch, part: str, name: str, law: str
) -> None:
    """A leak of which the stored data alone give nothing away is caught; with the part of the other future taken out
    that does it, it goes unnoticed.
    """
    leak, store = NAMED[name], immortal()
    assert judged(leak.feature_set, store).filter(~pl.col("passed"))["law"].to_list() == [law]
    monkeypatch.setattr(Hostile, part, lambda _, __, rows: rows.clear() if part == "_restatements" else rows)
    assert judged(leak.feature_set, store)["passed"].all()


def test_a_failure_says_what_where_and_what_to_do() -> None:
    """The evidence of a leak names column, session, instrument, both values and the cut."""
    row = broken(NAMED["shift(-1)"]).filter(law="truncation").row(0, named=True)
    for part in ("next of session", f"sid {row['sid']}", "is missing as known at the cut", row["at"], "Cut: "):
        assert part in row["evidence"]
    price = broken(NAMED["average of prices"])["evidence"][0]
    assert price.startswith("sma_20 doubles when all prices double (")
    assert price.endswith("Divide by the close, or read raw_close")


@pytest.mark.parametrize(("window", "enough"), [(40, 39), (30, 29)])
def test_too_short_a_lookback_is_told_the_one_that_is_enough(window: int, enough: int) -> None:
    """A mean over n sessions needs n - 1 rows before its own."""
    close = pl.col("close")
    leak = made("short", "slow", close / close.rolling_mean(window, min_samples=1).over("series") - 1, "lookback")
    assert f"declare lookback={enough}," in broken(leak)["evidence"][0]
    assert broken(replace(leak, feature_set=replace(leak.feature_set, lookback=enough))).is_empty()


def test_what_cannot_be_computed_is_not_proven() -> None:
    """A reader that raises breaks the laws of the store with what it said; a kernel that raises, all of them."""

    def raises(*_: object) -> pl.DataFrame:
        raise ZeroDivisionError("by the number of my friends")

    rows = judged(reading("column", raises, "bars"))
    failed = rows.filter(~pl.col("passed"))
    assert set(failed["law"]) == {"truncation", "poisoned_future", "knowledge_time", "inputs"}
    assert failed["evidence"].str.contains("ZeroDivisionError: by the number of my friends", literal=True).all()
    assert not judged(declared("kernel", "column", raises))["passed"].any()


def test_a_reader_that_stumbles_over_what_came_later_is_told_so() -> None:
    """What raises only where the future is another has read it."""

    def strict(store, cuts, universe, sessions):
        rows = store.read(BARS, as_of=None, columns=("close",))
        if (rows.group_by("sid", "session").len()["len"] > 2).any():
            raise ValueError("three versions of one bar")
        return (
            rows.filter(pl.col("session").is_in(sessions))
            .unique(["session", "sid"], keep="first", maintain_order=True)
            .select("session", "sid", column="close")
        )

    store = Memory()
    store.frames = {
        **market().frames,
        BARS.name: market()
        .frames[BARS.name]
        .unique(["sid", "session"], keep="first", maintain_order=True)
        .pipe(lambda f: pl.concat([f, f.with_columns(pl.col("known_at") + timedelta(seconds=1))]).sort(BARS.key)),
    }
    told = judged(reading("column", strict, "bars"), store).filter(law="knowledge_time")
    assert not told["passed"][0]
    assert "three versions of one bar after events up to the session were restated" in told["evidence"][0]


def test_nothing_to_audit_on_is_no_pass() -> None:
    """Without sessions, members or values no law of the store passes, and the reason says which is missing; the laws of
    the functions are tried all the same.
    """
    empty, plain = Memory(), HONEST[-1]
    for rows, why in (
        (audit(empty, plain, UNIVERSE_NAME, CUTS, [], now=NOW), "no session was given"),
        (
            audit(empty, plain, UNIVERSE_NAME, CUTS, SESSIONS, now=NOW),
            "small has no member in 2016-04-01 to 2016-07-29",
        ),
        (audit(market(), plain, "nobody", CUTS, SESSIONS, now=NOW), "nobody has no member"),
    ):
        of_store = rows.filter(~pl.col("passed"))
        assert of_store.height == 4
        assert of_store["evidence"].str.contains(f"nothing to audit on: {why}", literal=True).all()
    thin = Memory()
    thin.frames = {**market().frames, BARS.name: BARS.empty()}
    assert "no feature has a value" in judged(plain, thin).filter(law="truncation")["evidence"][0]


@pytest.mark.parametrize("sessions", [[FIRST], [LAST], SESSIONS[-3:]], ids=["first", "last", "three"])
def test_a_short_history_is_audited_as_far_as_it_goes(sessions: list) -> None:
    """One session is enough to be tried on; with a leak that reads the very next row of the session before, too."""
    assert audit(market(), HONEST[0], UNIVERSE_NAME, CUTS, sessions, now=NOW)["passed"].all()
    leak = audit(market(), NAMED["fundamentals by period end"].feature_set, UNIVERSE_NAME, CUTS, sessions, now=NOW)
    assert not leak.filter(law="poisoned_future")["passed"][0]


def test_only_what_passed_as_it_is_written_now_is_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never audited, failed, passed, declared otherwise since, a law that came later, audited again."""
    store, honest, leak = Memory(), HONEST[-1], NAMED["shift(-1)"].feature_set
    store.frames = dict(market().frames)
    assert audited(store, honest) == (False, "honest 1 was never audited: quant features audit honest")
    report = record(store, leak, UNIVERSE_NAME, CUTS, SESSIONS[-30:], now=NOW)
    assert (report.state, report.numbers["broken"]) == ("refused", 3)
    assert standing(store, leak).state == "failed"
    assert "truncation: next of session" in audited(store, leak)[1]
    report = record(store, honest, UNIVERSE_NAME, CUTS, SESSIONS[-30:], now=NOW)
    assert (report.state, report.reason) == ("done", "")
    assert standing(store, honest).state == "passed"
    assert standing(store, honest, as_of=NOW - timedelta(days=1)).state == "never"
    assert "as it is now" in audited(store, replace(honest, lookback=30))[1]
    assert (
        record(store, honest, UNIVERSE_NAME, CUTS, [], now=NOW + timedelta(hours=1)).state == "refused"
    )  # the latest audit counts
    assert audited(store, honest)[0] is False
    monkeypatch.setattr(auditing, "LAWS", (*LAWS, "a law to come"))
    assert "before there was a law on a law to come" in standing(store, honest).reason


def test_rows_of_an_audit_are_deterministic_and_append() -> None:
    """The same audit again gives the same rows, and storing them again is a no-op."""
    store = Memory()
    store.frames = dict(market().frames)
    rows = [judged(NAMED["timezone slip"].feature_set, store) for _ in range(2)]
    assert rows[0].equals(rows[1])
    assert [store.append(AUDITS, r) for r in rows] == [len(LAWS), 0]


def test_tables_are_read_once() -> None:
    """However many cuts are tried, each table is read a few times, whole; and several sets share what is remembered."""
    store = Memory()
    store.frames = dict(market().frames)
    held = Remembered(store, CUTS.calendar.shift(FIRST, -70), LAST)
    for feature_set in HONEST[1:3]:
        assert audit(held, feature_set, UNIVERSE_NAME, CUTS, SESSIONS, now=NOW)["passed"].all()
    assert store.reads.count(BARS.name) <= 3
    assert store.reads.count(UNIVERSE.name) == 1
