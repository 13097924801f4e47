"""What the store costs: a day at the beginning and at the end of a long history, and its files against plain Parquet.

`python -m bench.store`: 3,000 names and 2,500 sessions, compacted every week and not at all; 500 names of minute bars
for 20 sessions. CPU time of the whole process, threads included, for the wall clock of a shared machine says little.
Medians of ten.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from quant_assets.contract import Table
from quant_assets.tables import BARS, feature_table
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.tables.maintenance import compact
from resources.tables.maintenance import statistics as laid
from resources.tables.store import DeltaStore

WEEK, AROUND = 5, 10
FEATURES = feature_table("wide", tuple(f"f{n}" for n in range(158)))


def weekdays(number: int) -> list[date]:
    """So many sessions, Monday to Friday."""
    days = (date(2015, 1, 5) + timedelta(days=n) for n in range(2 * number))
    return [d for d in days if d.weekday() < WEEK][:number]


def _rows(table: Table, columns: dict[str, object], session: date) -> pl.DataFrame:
    known = datetime(session.year, session.month, session.day, 22, tzinfo=UTC)
    given = {
        "withdrawn": False,
        "source": "simulated",
        "capture": session,
        "file": f"prices_{session}.csv",
        "known_at": known,
        "declared_known_at": known,
        **columns,
    }
    frame = pl.select(
        [(v if isinstance(v, pl.Expr) else pl.lit(v)).alias(c) for c, v in given.items() if c in table.schema]
    )
    return table.conform(frame.select(*table.schema))


def bars(session: date, names: int) -> pl.DataFrame:
    """One session of daily bars: a walk in cents per name."""
    chance = np.random.default_rng(session.toordinal())
    close = np.round(20 + 5 * np.arange(names) % 300 + chance.normal(0, 2, names), 2)
    spread = np.round(np.abs(chance.normal(0, 0.5, names)), 2)
    prices = {
        "open": np.round(close + chance.normal(0, 0.3, names), 2),
        "high": close + spread,
        "low": close - spread,
        "close": close,
        "adj_close": close,
    }
    numbers = {
        **{c: pl.Series(np.round(v, 2)) for c, v in prices.items()},
        "volume": pl.Series(chance.integers(100, 10**7, names)),
        "line": pl.int_range(2, names + 2, eager=True),
    }
    return _rows(
        BARS,
        {
            "session": session,
            "sid": pl.int_range(10**15, 10**15 + names, eager=True),
            "symbol": pl.Series([f"S{n:04}" for n in range(names)]),
            **numbers,
        },
        session,
    )


def minutes(session: date, names: int) -> pl.DataFrame:
    """One session of minute bars."""
    chance, open_at = (
        np.random.default_rng(session.toordinal()),
        datetime(session.year, session.month, session.day, 14, 30, tzinfo=UTC),
    )
    n = 390 * names
    close = pl.Series(np.round(20 + np.repeat(np.arange(names), 390) % 300 + chance.normal(0, 0.5, n), 2))
    ts = pl.Series([open_at + timedelta(minutes=m) for m in range(390)] * names, dtype=INTRADAY_BARS.schema["ts"])
    named = {
        "ts": ts,
        "venue": "XNYS",
        "symbol": pl.Series(np.repeat([f"S{k:03}" for k in range(names)], 390)),
        "seconds": pl.lit(60, dtype=pl.Int32),
    }
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return _rows(
        INTRADAY_BARS,
        {
            **named,
            **prices,
            "volume": pl.Series(chance.integers(1, 10**5, n).astype(float)),
            "line": pl.int_range(n, eager=True),
        },
        session,
    )


def features(session: date, names: int) -> pl.DataFrame:
    """One session of 158 computed values per name."""
    chance = np.random.default_rng(session.toordinal())
    values = {f"f{n}": pl.Series(chance.normal(size=names)) for n in range(158)}
    return _rows(
        FEATURES, {"session": session, "sid": pl.int_range(names, eager=True), "version": "v1", **values}, session
    )


def cpu(act: Callable[[], object]) -> float:
    """CPU milliseconds of this process, all its threads, while `act` runs."""
    before = time.process_time()
    act()
    return 1_000 * (time.process_time() - before)


def history(
    store: DeltaStore, table: Table, made: Callable[[date], pl.DataFrame], sessions: list[date], *, weekly: bool
) -> None:
    """Append session by session, and print what a day costs in the first ten and in the last ten."""
    costs: list[tuple[float, float]] = []
    upkeep = 0.0
    for n, session in enumerate(sessions, 1):
        frame = made(session)
        if n <= AROUND or n > len(sessions) - AROUND:
            costs.append(
                (
                    cpu(lambda f=frame: store.append(table, f)),
                    cpu(lambda s=session: store.read(table, as_of=None, first=s, last=s)),
                )
            )
        else:
            store.append(table, frame)
        if weekly and n % WEEK == 0:
            upkeep += cpu(lambda: compact(store, table))
    (early_write, early_read), (late_write, late_read) = (
        [statistics.median(c) for c in zip(*half, strict=True)] for half in (costs[1:AROUND], costs[-AROUND:])
    )
    old = statistics.median(cpu(lambda s=s: store.read(table, as_of=None, first=s, last=s)) for s in sessions[:AROUND])
    found = laid(store, table, set())
    print(
        f"{table.name}: {found.rows:,} rows in {len(sessions):,} sessions, "
        f"{'compacted every week' if weekly else 'not compacted'}: {found.files} files, "
        f"{found.bytes / 1e6:,.0f} MB"
    )
    print(
        f"  append of a day  {early_write:8.1f} CPU-ms at session {AROUND:,}, {late_write:8.1f} at "
        f"{len(sessions):,}: {late_write / early_write:.2f} times"
    )
    print(
        f"  read of a day    {early_read:8.1f} CPU-ms at session {AROUND:,}, {late_read:8.1f} at "
        f"{len(sessions):,}: {late_read / early_read:.2f} times; of the first sessions, at the end {old:.1f}"
    )
    print(f"  compaction       {upkeep / len(sessions):8.1f} CPU-ms a session, on average", flush=True)


def against_parquet(table: Table, frame: pl.DataFrame, what: str) -> None:
    """CPU and bytes of the same rows through the store and through Polars' own writer, the best of three."""
    ours, theirs, sizes = [], [], (0, 1)
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            store, plain = DeltaStore(Path(folder)), Path(folder) / "plain.parquet"
            # private methods: the write alone, without the comparison with the stored rows
            store._create(table)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            write = store._commit  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            ours.append(cpu(lambda write=write: write(table, frame)))
            theirs.append(cpu(lambda plain=plain: frame.write_parquet(plain)))
            sizes = (laid(store, table, set()).bytes, plain.stat().st_size)
    print(
        f"{what}: {min(ours):,.0f} CPU-ms and {sizes[0] / 1e6:.2f} MB, plain Parquet {min(theirs):,.0f} and "
        f"{sizes[1] / 1e6:.2f}: {min(ours) / min(theirs):.2f} times the CPU, {sizes[0] / sizes[1]:.2f} "
        f"times the bytes",
        flush=True,
    )


def main(names: int = 3_000, sessions: int = 2_500) -> None:
    """Print all of it."""
    days = weekdays(sessions)
    year = pl.concat([bars(d, names) for d in days[:250]])
    against_parquet(BARS, BARS.conform(year), f"a year of bars ({year.height:,} rows)")
    against_parquet(BARS, bars(days[0], names), f"a day of bars ({names:,} rows)")
    against_parquet(INTRADAY_BARS, minutes(days[0], 500), "a day of minute bars (195,000 rows)")
    against_parquet(
        FEATURES, FEATURES.conform(pl.concat([features(d, names) for d in days[:20]])), "20 sessions of 158 features"
    )
    with tempfile.TemporaryDirectory() as folder:
        history(DeltaStore(Path(folder)), INTRADAY_BARS, lambda d: minutes(d, 500), days[:20], weekly=False)
    for weekly in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            history(DeltaStore(Path(folder)), BARS, lambda d: bars(d, names), days, weekly=weekly)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
