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
