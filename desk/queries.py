"""SQL over the tables by DuckDB: what is in force as of a time, or the whole history."""

import re
import resource
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from desk.statements import question
from quant_assets.contract import Table, in_force
from quant_assets.errors import ConfigurationError
from quant_assets.market_data.datasets import contracts
from quant_assets.ports import Store

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = 4 * 2**30  # bytes that a query may use beside the tables that it reads
ANSWER = 2**30  # bytes of its answer
SECONDS = 600.0
BATCH = 100_000  # rows of an answer fetched at a time
LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",  # no file, no network, no extension
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "temp_directory": "",  # what does not fit is refused, never spilled beside the user's files
}


class Tables(Store, Protocol):
    """The tables of a home, or of a research home and its production home."""

    def exists(self, table: Table) -> bool:
        """Whether anything was ever stored in the table."""
        ...


def tables(store: Tables) -> dict[str, Table]:
    """Every table that can be asked: the core ones, and the feature sets that were published."""
    from quant_assets.features.catalogue import find_sets

    published = [f.table for _, f in sorted(find_sets().items()) if store.exists(f.table)]
    return {t.name: t for t in (*contracts(), *published)}


def run(store: Tables, query: str, as_of: datetime, *, memory: int = MEMORY, seconds: float = SECONDS) -> pl.DataFrame:
    """The answer as a frame.

    Only the tables named in the query are read; files, the network and the environment are out of reach. Raises
    ConfigurationError where the query is no single question, needs more than `memory` bytes or `seconds`, or fails.
    """
    import duckdb

    known = tables(store)
    try:
        with duckdb.connect(config=LOCKED | {"memory_limit": f"{memory}B"}) as con:
            question(con, query)
            _fill(con, store, known, set(re.findall(r"[a-z_0-9]+", query.lower())), as_of)
            with _bounded(memory):
                answer = _awaited(con, query, seconds)
    except TimeoutError as error:
        raise ConfigurationError(f"the query took longer than {seconds:g} seconds; ask for less at a time") from error
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise ConfigurationError(
            f"the query needs more than {memory:,} bytes of memory; ask for fewer rows at a time"
        ) from error
    except duckdb.Error as error:
        told = " ".join(str(error).partition("\nLINE ")[0].split())
        raise ConfigurationError(
            f"{told}; the tables are {', '.join(sorted(known))}; history.<table> shows every version"
        ) from error
    found = pl.from_arrow(answer)
    assert isinstance(found, pl.DataFrame)  # noqa: S101  # a table gives a frame
    return found


def _fill(
    con: "duckdb.DuckDBPyConnection", store: Tables, known: dict[str, Table], words: set[str], as_of: datetime
) -> None:
    """Register the tables that are among the words; from then on no setting can be changed."""
    con.execute("set TimeZone='UTC'")
    con.execute("set enable_progress_bar=false")
    con.execute("set python_enable_replacements=false")  # a frame of ours in a variable is no table
    con.execute("create schema history")
    for name in sorted(words & set(known)):
        rows = store.read(known[name], as_of=as_of)
        for view, frame in ((f"all_{name}", rows), (f"now_{name}", in_force(rows, known[name]))):
            con.register(view, frame.to_arrow())
        con.execute(f'create view history."{name}" as select * from all_{name}')
        con.execute(f'create view main."{name}" as select * from now_{name}')
    con.execute("set lock_configuration=true")


def _answer(con: "duckdb.DuckDBPyConnection", query: str) -> "pa.Table":  # pyright: ignore[reportUnknownParameterType]  # pyarrow has no types
    """The rows, fetched piece by piece. Raises ConfigurationError where they are more than `ANSWER` bytes."""
    import duckdb
    import pyarrow as pa

    pieces: list[pa.RecordBatch] = []
    size = 0
    reader = con.sql(query).to_arrow_reader(BATCH)
    try:
        for piece in reader:
            pieces.append(piece)
            size += piece.nbytes
            if size > ANSWER:
                raise ConfigurationError(f"the answer has more than {ANSWER:,} bytes; ask for fewer rows or columns")
    except OSError as error:  # Arrow's, for what the engine raises between two pieces
        raise duckdb.OperationalError(str(error)) from error
    return pa.Table.from_batches(pieces, reader.schema)


def _awaited(con: "duckdb.DuckDBPyConnection", query: str, seconds: float) -> "pa.Table":  # pyright: ignore[reportUnknownParameterType]  # pyarrow has no types
    """The answer, worked out in another thread: the engine does not look at signals, and this one does. Raises
    TimeoutError after so many seconds.
    """
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(_answer, con, query)
        try:
            return answer.result(seconds)
        except BaseException:  # Ctrl-C too
            con.interrupt()
            raise


@contextmanager
def _bounded(memory: int) -> Generator[None]:
    """The process gets at most so many bytes more; the engine's own limit leaves some of its functions out. Where the
    system does not show what is in use (no /proc), the engine's limit is all.
    """
    used = Path("/proc/self/statm")
    if not used.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = int(used.read_text().split()[0]) * resource.getpagesize() + memory + ANSWER
    if before[1] != resource.RLIM_INFINITY:
        most = min(most, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
