"""SQL and Polars see the same rows, as of any time."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from desk.queries import run, tables
from quant_assets.contract import Table, in_force
from quant_assets.errors import ConfigurationError
from quant_assets.tables import LISTINGS
from quant_assets.vendor_tables import FX_RATES, INTRADAY_BARS
from resources.tables.store import DeltaStore

DAY = date(2024, 3, 4)
KNOWN = [datetime(2024, 3, d, 12, tzinfo=UTC) for d in (5, 6, 7)]
ORIGIN = {"source": "s", "capture": DAY, "file": "f", "line": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """Rates with a restatement and a withdrawal, minutes of one day, a listing."""
    opened = DeltaStore(tmp_path_factory.mktemp("tables"))

    def stamped(row: dict[str, object], known: datetime, *, withdrawn: bool = False) -> dict[str, object]:
        return {**ORIGIN, **row, "withdrawn": withdrawn, "known_at": known, "declared_known_at": known}

    rate = {"session": DAY, "base": "EUR", "quote": "USD"}
    rates = [stamped({**rate, "rate": 1.0 + n / 10}, k) for n, k in enumerate(KNOWN[:2])]
    gone = [
        stamped({**rate, "base": "GBP", "rate": 1.3}, KNOWN[0]),
        stamped({**rate, "base": "GBP", "rate": 1.3}, KNOWN[2], withdrawn=True),
    ]
    opened.append(FX_RATES, pl.DataFrame([*rates, *gone], schema=dict(FX_RATES.schema)))
    bar = {
        "venue": "X",
        "symbol": "A",
        "seconds": 60,
        "open": 1.0,
        "high": 2.0,
        "low": 0.5,
        "close": 1.5,
        "volume": None,
    }
    bars = [
        stamped({**bar, "ts": datetime(2024, 3, 4, 23, 58, tzinfo=UTC) + timedelta(minutes=m)}, KNOWN[0])
        for m in range(4)
    ]
    opened.append(INTRADAY_BARS, pl.DataFrame(bars, schema=dict(INTRADAY_BARS.schema)))
    opened.append(
        LISTINGS,
        pl.DataFrame(
            [
                {
                    "session": DAY,
                    "sid": 7,
                    "symbol": "A",
                    "name": "A",
                    "sector": None,
                    "listed": True,
                    "capture": DAY,
                    "known_at": KNOWN[1],
                }
            ],
            schema=dict(LISTINGS.schema),
        ),
    )
    return opened


@pytest.mark.parametrize("as_of", [KNOWN[0] - timedelta(seconds=1), *KNOWN])
@pytest.mark.parametrize("table", [FX_RATES, INTRADAY_BARS, LISTINGS], ids=lambda t: t.name)
def test_duckdb_and_polars_agree(store: DeltaStore, table: Table, as_of: datetime) -> None:
    """A table is what is in force as of the time, its history every version known by then: the same values in both,
    whatever their types.
    """
    order = ", ".join(f'"{c}"' for c in table.key)
    for name, expected in (
        (table.name, in_force(store.read(table, as_of=as_of), table)),
        (f"history.{table.name}", store.read(table, as_of=as_of)),
    ):
        asked = run(store, f"select * from {name} order by {order}", as_of)
        assert_frame_equal(asked, expected.sort(table.key), check_exact=True, check_dtypes=True)


def test_a_count_is_a_count(store: DeltaStore) -> None:
    """What is withdrawn is in the history only."""
    counted = run(
        store,
        "select (select count(*) from fx_rates) as now, (select count(*) from history.fx_rates) as ever",
        KNOWN[2],
    )
    assert counted.row(0) == (1, 4)


def test_an_unknown_table_is_answered_with_those_that_exist(store: DeltaStore) -> None:
    """Every dataset can be asked, and a wrong name lists them."""
    with pytest.raises(ConfigurationError, match=r"bars, .*fx_rates"):
        run(store, "select * from prices", KNOWN[0])
    assert {"bars", "intraday_bars", "fx_rates", "data_findings"} <= set(tables(store))


def test_files_are_out_of_reach(store: DeltaStore, tmp_path: Path) -> None:
    """A query reads tables, no file of the machine."""
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(ConfigurationError):
        run(store, f"select * from read_csv('{tmp_path / 'secret.csv'}')", KNOWN[0])


REFUSED = [
    "call enable_logging(storage='file', storage_path='leak.csv')",
    "from enable_logging(storage='file', storage_path='leak.csv')",
    "pragma database_list",
    "set threads = 1",
    "reset threads",
    "attach 'leak.db' as x",
    "copy (select 1) to 'leak.csv'",
    "export database 'leak'",
    "import database 'leak'",
    "install httpfs",
    "load httpfs",
    "checkpoint",
    "create table leak (a int)",
    "with x as (insert into fx_rates values (1) returning *) select * from x",
    "explain analyze copy (select 1) to 'leak.csv'",
    "prepare v as select 1",
    "select 1; select 2",
    "",
    "select * from read_text('{secret}')",
    "select * from '{secret}'",
    "select (select content from read_blob('{secret}'))",
    "select * from glob('/*')",
    "select * from query('select 1')",
    "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "select * from arrow_scan(1, 2, 3)",
    "select GetEnv('HOME')",
    "select list_transform([1], lambda x: current_setting('secret_directory'))",
    "select * from fx_rates where base = write_log('leak')",
    "select * from known",  # a variable of the function that asks is no table
]


@pytest.mark.parametrize("query", REFUSED)
def test_what_is_no_question_is_refused_before_it_runs(
    store: DeltaStore, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement that reads tables runs; nothing else does, and nothing is left on the disk."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a\nplanted\n")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigurationError) as refused:
        run(store, query.replace("{secret}", str(secret)), KNOWN[0])
    assert "planted" not in str(refused.value)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "with r as (select rate from fx_rates) select count(*) from r",
        "from fx_rates select rate",
        "describe fx_rates",
        "summarize fx_rates",
        "explain select * from fx_rates",
        "-- why\nexplain analyze select * from fx_rates",
        "values (1), (2)",
        "pivot fx_rates on base in ('EUR', 'GBP') using max(rate)",
        "select * from range(3)",
        'select 1 as "[/x]"',
    ],
)
def test_questions_are_answered(store: DeltaStore, query: str) -> None:
    """Every form of a question that reads tables or computes."""
    assert run(store, query, KNOWN[0]).height > 0


@pytest.mark.parametrize(
    "query",
    [
        "select list_sum(range(2000000000))",
        "select * from range(1000000000) order by random()",
        "from range(10000000000)",
    ],
)
def test_a_query_that_needs_too_much_memory_is_refused(
    store: DeltaStore, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the engine's own limit does not see it, and where it is the answer that is large."""
    monkeypatch.setattr("desk.queries.ANSWER", 2**24)
    with pytest.raises(ConfigurationError, match=r"more than [\d,]+ bytes"):
        run(store, query, KNOWN[0], memory=2**28)


def test_a_query_that_takes_too_long_is_refused(store: DeltaStore) -> None:
    """It is interrupted, whatever it computes."""
    with pytest.raises(ConfigurationError, match=r"longer than 0\.2 seconds"):
        run(
            store,
            "select count(*) from range(3000000000) t(a), range(99) u(b) where a * b % 7 = 1",
            KNOWN[0],
            seconds=0.2,
        )
