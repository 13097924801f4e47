"""SQL over the tables by DuckDB: what is in force as of a time, or the whole history."""

import re
from datetime import datetime

import polars as pl

from quant_assets.contract import Table, in_force
from quant_assets.errors import ConfigurationError
from quant_assets.market_data.datasets import contracts
from resources.tables.store import DeltaStore


def tables(store: DeltaStore) -> dict[str, Table]:
    """Every table that can be asked: the core ones, and the feature sets that were published."""
    from quant_assets.features.catalogue import find_sets

    published = [f.table for _, f in sorted(find_sets().items()) if store.exists(f.table)]
    return {t.name: t for t in (*contracts(), *published)}


def run(store: DeltaStore, query: str, as_of: datetime) -> pl.DataFrame:
    """The answer as a frame.

    Only the tables named in the query are read; files and the network are out of reach. Raises ConfigurationError with
    the tables that exist.
    """
    import duckdb

    words = set(re.findall(r"[a-z_0-9]+", query.lower()))
    with duckdb.connect(config={"enable_external_access": "false"}) as con:
        con.execute("set TimeZone='UTC'")
        con.execute("create schema history")
        for name in sorted(words & set(tables(store))):
            table = tables(store)[name]
            rows = store.read(table, as_of=as_of)
            for view, frame in ((f"all_{name}", rows), (f"now_{name}", in_force(rows, table))):
                con.register(view, frame.to_arrow())
            con.execute(f'create view history."{name}" as select * from all_{name}')
            con.execute(f'create view main."{name}" as select * from now_{name}')
        try:
            answer = con.sql(query)
            # a statement that asks nothing gives None
            return pl.DataFrame() if answer is None else answer.pl()  # pyright: ignore[reportUnnecessaryComparison]
        except duckdb.Error as error:
            told = " ".join(str(error).partition("\nLINE ")[0].split())
            raise ConfigurationError(
                f"{told}; the tables are {', '.join(sorted(tables(store)))}; history.<table> shows every version"
            ) from error
