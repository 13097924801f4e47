"""The tables: appended once, read as of any time or version, at a cost that does not grow with history."""

import os
import shutil
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from quant_assets.contract import Table
from quant_assets.errors import ConflictingRow, ContractViolation, HomeDamaged
from quant_assets.tables import JOURNAL
from resources.tables import log as delta
from resources.tables import rows
from resources.tables.store import DeltaStore
from tests.resources.small_table import QUOTES, TICKS, day, days, sessions


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """An empty store."""
    return DeltaStore(tmp_path)


def data_files(store: DeltaStore, table: Table) -> list[Path]:
    """The data files of the current version, by event."""
    adds = pl.DataFrame(store.open(table).get_add_actions(flatten=True)).sort(f"min.{table.event}")
    return [store.path(table) / p for p in adds["path"]]


def test_appended_again_nothing_changes(store: DeltaStore):
    """Rows that stand are not written again, alone or among new ones, and make no new version."""
    first, second = sessions(2)
    assert store.append(QUOTES, day(first)) == 40
    version = store.version(QUOTES)
    assert store.append(QUOTES, day(first)) == 0
    assert store.version(QUOTES) == version
    assert store.append(QUOTES, days([first, second])) == 40
    assert store.read(QUOTES, as_of=None).equals(days([first, second]))


def test_another_content_of_a_key_is_refused(store: DeltaStore):
    """A key that stands with another value raises, and says which, what stands and what was given."""
    store.append(QUOTES, day(sessions(1)[0]))
    with pytest.raises(ConflictingRow, match=r"1 row\(s\).*'sid': 3.*'price': \(.*, -1\.0\)"):
        store.append(
            QUOTES, day(sessions(1)[0]).with_columns(price=pl.when(pl.col("sid") == 3).then(-1.0).otherwise("price"))
        )


def test_a_row_without_its_event_is_refused(store: DeltaStore):
    """An event that is missing is an error before anything is written, also where the event is no part of the key."""
    table = replace(QUOTES, key=("sid", "known_at"))
    with pytest.raises(ContractViolation, match="40 of 40 rows have no session"):
        store.append(table, day(sessions(1)[0]).with_columns(session=pl.lit(None, dtype=pl.Date)))
    assert not store.exists(table)


def test_a_version_reads_as_it_stood(store: DeltaStore):
    """Each version holds what was appended up to it; before the first there is nothing."""
    stood = {}
    for n, session in enumerate(sessions(5), 1):
        store.append(QUOTES, day(session))
        stood[store.version(QUOTES)] = n
    assert store.read(QUOTES, as_of=None, version=-1).is_empty()
    for version, n in stood.items():
        assert store.read(QUOTES, as_of=None, version=version).equals(days(sessions(n)))


INSTANTS = [
    datetime(2024, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(2025, 1, 1, tzinfo=UTC),
    datetime(2025, 1, 1, 23, 59, 59, 999_999, UTC),
    datetime(2025, 1, 2, tzinfo=UTC),
]


@pytest.mark.parametrize(
    ("first", "last", "wanted"),
    [
        (None, date(2024, 12, 31), [0]),
        (date(2025, 1, 1), date(2025, 1, 1), [1, 2]),
        (date(2025, 1, 1), None, [1, 2, 3]),
        (date(2024, 12, 31), date(2025, 1, 2), [0, 1, 2, 3]),
        (date(2025, 1, 3), None, []),
        (None, None, [0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("apart", [True, False], ids=["a file each", "one file"])
def test_a_day_of_instants_is_the_whole_utc_day(
    store: DeltaStore, first: date | None, last: date | None, wanted: list[int], *, apart: bool
):
    """Bounds are days, both inclusive, from midnight to the last microsecond in UTC, however the rows lie in files and
    years.
    """
    rows = pl.DataFrame(
        [(ts, 1, float(n), datetime(2025, 1, 3, tzinfo=UTC)) for n, ts in enumerate(INSTANTS)],
        schema=dict(TICKS.schema),
        orient="row",
    )
    assert [store.append(TICKS, part) for part in (rows.iter_slices(1) if apart else [rows])] == (
        [1] * 4 if apart else [4]
    )
    assert store.append(TICKS, rows) == 0
    assert store.read(TICKS, as_of=None, first=first, last=last)["price"].to_list() == wanted


def test_a_day_is_read_and_appended_without_opening_the_others(store: DeltaStore):
    """One session is read where all files without it are gone; so is what a late row of an old session is compared
    with, though a year lies between.
    """
    of = sessions(90)  # over a new year
    for session in of:
        store.append(QUOTES, day(session))
    old, new = of[3], of[-1]
    whole = days(of)
    files = dict(zip(of, data_files(store, QUOTES), strict=True))
    for session, path in files.items():
        if session not in {old, new}:
            path.unlink()
    assert store.read(QUOTES, as_of=None, first=old, last=old).equals(whole.filter(session=old))
    late = day(old, 1).with_columns(price=1.0, known_at=datetime(2025, 6, 1, tzinfo=UTC))
    assert store.append(QUOTES, pl.concat([late, day(old), day(new), day(date(2025, 3, 3))])) == 41
    with pytest.raises(HomeDamaged, match=r"part-.*\.parquet is missing"):  # the files are gone indeed
        store.read(QUOTES, as_of=None)


def test_rows_not_known_yet_are_not_opened(store: DeltaStore):
    """A read as of a time opens no file of which every row became known later."""
    first, second = sessions(2)
    store.append(QUOTES, day(first))
    store.append(
        QUOTES, day(second).with_columns(session=pl.lit(first), known_at=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)))
    )
    later = [p for p in data_files(store, QUOTES) if pl.read_parquet(p)["known_at"].dt.year().max() == 2026]
    for path in later:
        path.unlink()
    assert store.read(QUOTES, as_of=datetime(2025, 12, 31, tzinfo=UTC)).equals(days([first]))


def test_a_long_history_is_looked_up_in_few_stretches():
    """However scattered the sessions are, the stretches hold all of them, are few, and leave the widest gaps out."""
    scattered = [date(2000 + n, 1 + n % 12, 1 + n) for n in range(25)]
    spans = rows.spans(pl.Series(scattered))
    assert len(spans) == rows.SPANS
    assert all(sum(a <= d <= b for a, b in spans) == 1 for d in scattered)
    assert rows.spans(pl.Series(sessions(30))) == [(sessions(30)[0], sessions(30)[-1])]
    assert rows.spans(pl.Series(INSTANTS)) == [(date(2024, 12, 31), date(2025, 1, 2))]


def test_the_log_of_old_versions_outlives_thirty_days(store: DeltaStore, monkeypatch: pytest.MonkeyPatch):
    """Left to itself Delta drops the log of versions that are older than thirty days when it writes a checkpoint. Also
    in a table made without our configuration every version stays.
    """
    monkeypatch.setattr(delta, "CONFIGURATION", {"delta.checkpointInterval": "5"})
    of = sessions(30)
    for session in of[:15]:
        store.append(QUOTES, day(session))
    for path in store.path(QUOTES).glob("_delta_log/*"):
        os.utime(path, (longer_ago := time.time() - 40 * 86_400, longer_ago))
    for session in of[15:]:
        store.append(QUOTES, day(session))
    assert store.version(QUOTES) == 30
    assert all(store.read(QUOTES, as_of=None, version=n).height == 40 * n for n in (0, 1, 7, 14, 30))


ADDED = replace(
    QUOTES,
    schema={
        "session": pl.Date,
        "sid": pl.Int64,
        "currency": pl.String,
        "price": pl.Float64,
        "known_at": QUOTES.schema["known_at"],
    },
)
KEYED = replace(
    QUOTES,
    schema={**QUOTES.schema, "slot": pl.String},
    key=("sid", "session", "slot", "known_at"),
    defaults={"slot": "open"},
)


def test_a_column_that_the_contract_gains_is_null_in_what_stands(store: DeltaStore):
    """Old files, old versions and old rows beside new ones read as null in the new column; the new rows keep theirs,
    in the contract's order.
    """
    first, second, third = sessions(3)
    store.append(QUOTES, day(first))
    then = store.version(QUOTES)
    assert store.read(ADDED, as_of=None)["currency"].to_list() == [None] * 40
    new = ADDED.conform(day(second).with_columns(currency=pl.lit("USD")))
    assert store.append(ADDED, new) == 40
    assert store.append(ADDED, new) == 0
    assert store.append(ADDED, ADDED.conform(day(third).with_columns(currency=pl.lit(None, dtype=pl.String)))) == 40
    found = store.read(ADDED, as_of=None)
    assert found.columns == list(ADDED.schema)
    assert dict(found.group_by("session").agg(pl.col("currency").unique()).iter_rows()) == {
        first: [None],
        second: ["USD"],
        third: [None],
    }
    assert store.read(ADDED, as_of=None, where={"currency": "USD"}).height == 40
    assert store.read(ADDED, as_of=None, version=then).height == 40
    with pytest.raises(ContractViolation):  # the old release may not read what it does not know
        store.read(QUOTES, as_of=None)


def test_a_column_with_a_default_may_join_the_key(store: DeltaStore):
    """Rows from before it have the default, in what is read, asked for and compared; rows given without it too."""
    first, second = sessions(2)
    store.append(QUOTES, day(first))
    assert store.append(KEYED, day(first)) == 0
    later = day(first).with_columns(slot=pl.lit("11:00"))
    assert store.append(KEYED, pl.concat([later, day(second).with_columns(slot=pl.lit(None, pl.String))])) == 80
    found = store.read(KEYED, as_of=None)
    assert found.columns == list(KEYED.schema)
    assert found.equals(found.sort(KEYED.key))
    assert dict(found["slot"].value_counts().iter_rows()) == {"open": 80, "11:00": 40}
    assert store.read(KEYED, as_of=None, where={"slot": "open"}).height == 80
    with pytest.raises(ConflictingRow):
        store.append(KEYED, day(first).with_columns(price=pl.col("price") + 1))


DRIFTS = {
    "a column of another type": (
        replace(QUOTES, schema={**QUOTES.schema, "price": pl.Int64}),
        r"'price': \('Float64', 'Int64'\)",
    ),
    "a column renamed": (
        replace(QUOTES, schema={("close" if c == "price" else c): t for c, t in QUOTES.schema.items()}),
        r"'price': \('Float64', 'None'\).*not stored: \['close'\]",
    ),
    "a column dropped": (
        replace(QUOTES, schema={c: t for c, t in QUOTES.schema.items() if c != "price"}),
        r"'price': \('Float64', 'None'\)",
    ),
    "a key column added": (
        replace(QUOTES, schema={**QUOTES.schema, "venue": pl.String}, key=(*QUOTES.key, "venue")),
        r"not stored: \['venue'\]",
    ),
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_drift_names_both_sides(store: DeltaStore, drift: str):
    """Where table and contract do not fit, reading and appending raise the same, with the stored columns and the
    contract's.
    """
    table, told = DRIFTS[drift]
    store.append(QUOTES, day(sessions(1)[0]))
    version = store.version(QUOTES)
    values = {"Date": sessions(1)[0], "String": "x", "Int64": 1, "Float64": 1.0}
    rows = pl.DataFrame(
        [{c: values.get(str(t), datetime(2025, 1, 1, tzinfo=UTC)) for c, t in table.schema.items()}],
        schema=dict(table.schema),
    )
    for act in (lambda: store.read(table, as_of=None), lambda: store.append(table, rows)):
        with pytest.raises(ContractViolation, match=told) as caught:
            act()
        assert "session Date, sid Int64, price Float64, known_at Datetime" in str(caught.value)
        assert ", ".join(f"{c} {t}" for c, t in pl.Schema(table.schema).items()) in str(caught.value)
    assert store.version(QUOTES) == version


def test_files_are_as_small_as_plain_parquet(store: DeltaStore, tmp_path: Path):
    """Repeating values lie in dictionaries, computed ones do not: no table takes more than 1.05 times the space of
    Polars' own Parquet.
    """
    n = 20_000
    numbers = pl.int_range(n, eager=True)
    at = pl.Series([datetime(2025, 1, 1, tzinfo=UTC)] * n, dtype=QUOTES.schema["known_at"])
    base = {"session": pl.Series([date(2025, 1, 1)] * n), "sid": numbers, "known_at": at}
    for price in (numbers.hash(1) / 1e7, (numbers.hash(1) % 3_000) / 100):  # computed; cents
        table = replace(QUOTES, name=f"prices{price.n_unique()}")
        frame = table.conform(pl.DataFrame({**base, "price": price}))
        store.append(table, frame)
        frame.write_parquet(tmp_path / "plain.parquet")
        assert (
            sum(p.stat().st_size for p in data_files(store, table))
            <= 1.05 * (tmp_path / "plain.parquet").stat().st_size
        )


def test_what_a_writer_compared_with_is_what_it_writes_onto(store: DeltaStore, monkeypatch: pytest.MonkeyPatch):
    """A foreign commit between comparing and writing makes the writer compare again: what came in meanwhile is not
    written twice.
    """
    first, second = sessions(2)
    store.append(QUOTES, day(first))
    real, calls = DeltaStore._unwritten, iter(range(9))  # pyright: ignore[reportPrivateUsage]  # between the two

    def interrupted(self: DeltaStore, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        out = real(self, table, rows)
        if next(calls) == 0:
            stranger = DeltaStore(self.root)
            stranger._commit(table, rows)  # pyright: ignore[reportPrivateUsage]  # without the lock
        return out

    monkeypatch.setattr(DeltaStore, "_unwritten", interrupted)
    assert store.append(QUOTES, day(second)) == 0
    assert store.read(QUOTES, as_of=None).equals(days([first, second]))
    assert DeltaTable(store.path(QUOTES)).version() == store.version(QUOTES)


def test_another_reader_of_delta_reads_the_same_rows(store: DeltaStore):
    """The files and what the log says of them are plain Delta Lake: its own reader finds every row, money and instants
    and nulls included, and the bounds of every column that a filter may use.
    """
    row = {
        "session": date(2024, 12, 31),
        "book": "paper",
        "sid": 1,
        "kind": "fee",
        "reference": None,
        "amount": Decimal("-12.345678"),
        "known_at": datetime(2025, 1, 1, 1, 2, 3, 456_789, UTC),
    }
    later = {**row, "session": date(2025, 1, 2), "reference": "x" * 40, "amount": None, "sid": 2**53 + 1}
    rows = JOURNAL.conform(pl.DataFrame([row | {"reference": "é"}, later], schema=dict(JOURNAL.schema)))
    store.append(JOURNAL, rows)
    theirs = pl.DataFrame(store.open(JOURNAL).to_pyarrow_table())
    assert theirs.select(pl.col(c).cast(t) for c, t in JOURNAL.schema.items()).sort(JOURNAL.key).equals(rows)
    assert theirs.sort("sid")["year"].to_list() == [2024, 2025]
    told = pl.DataFrame(store.open(JOURNAL).get_add_actions(flatten=True)).sort("min.session")
    assert told["num_records"].to_list() == [1, 1]
    assert told["max.sid"].to_list() == [1, 2**53 + 1]
    assert told["max.reference"].to_list() == ["é", None]  # a long text has no bounds
    assert told["min.known_at"][0] <= row["known_at"]
    assert told["null_count.kind"].to_list() == [0, 0]


def test_rows_of_several_years_come_in_one_commit(store: DeltaStore):
    """A frame over a new year makes a file in each year and one version."""
    of = sessions(90)
    store.append(QUOTES, days(of))
    assert store.version(QUOTES) == 1
    assert len(data_files(store, QUOTES)) == 2
    assert store.read(QUOTES, as_of=None).equals(days(of))


def test_reads_between_two_commits_open_the_table_once(store: DeltaStore, monkeypatch: pytest.MonkeyPatch):
    """Another read of the same version opens nothing; each commit, whoever makes it, is opened once."""
    opened: list[str] = []
    real = DeltaStore.open

    def counted(self: DeltaStore, table: Table, version: int | None = None) -> DeltaTable:
        opened.append(table.name)
        return real(self, table, version)

    one, two, three = sessions(3)
    store.append(QUOTES, day(one))
    other = DeltaStore(store.root)
    monkeypatch.setattr(DeltaStore, "open", counted)
    for expected in ([one], [one, two], [one, two, three]):
        before = len(opened)
        assert [store.read(QUOTES, as_of=None).equals(days(expected)) for _ in range(3)] == [True] * 3
        assert store.version(QUOTES) == len(expected)
        assert len(opened) - before == 1
        other.append(QUOTES, day([one, two, three][len(expected) % 3]))


def test_a_table_put_in_the_place_of_another_is_read(store: DeltaStore, tmp_path: Path):
    """A folder that was replaced, as by a restore, is read anew, also at the same version and at an earlier one."""
    one, two, three = sessions(3)
    for name, content in (("earlier", [one]), ("same", [one, three])):
        for session in content:
            DeltaStore(tmp_path / name).append(QUOTES, day(session))
    for session in (one, two):
        store.append(QUOTES, day(session))
    assert store.read(QUOTES, as_of=None).equals(days([one, two]))
    for name, content in (("same", [one, three]), ("earlier", [one])):
        shutil.rmtree(store.path(QUOTES))
        shutil.copytree(tmp_path / name / QUOTES.name, store.path(QUOTES))
        assert store.read(QUOTES, as_of=None).equals(days(content))
