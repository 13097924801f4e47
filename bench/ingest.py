"""What taking in daily bars costs, and that its memory does not follow the length of the file.

    python -m bench.ingest            # 2,000 names: 60 sessions, then 600, from each kind of file, a fresh process each
    python -m bench.ingest --full     # once: 3,000 names, 2,500 sessions, 7.5M rows, from Parquet as vendors export it, by symbol and date

Each process writes its own file, reads it through `Files` and takes it in, into a store of its own. Peak memory is that of a
process that only reads and ingests; the file is written by another. CPU time, threads included: the wall clock of a shared machine says little.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from quant_assets.market_data.calendars import calendar
from quant_assets.market_data.ingest import ingest
from resources.sources.files import ColumnMapping, Files
from resources.store import DeltaStore

XNYS = calendar("XNYS")
NOW = datetime(2026, 12, 1, tzinfo=UTC)
SMALL, TIMES, NAMES = 60, 10, 2_000
FULL = (3_000, 2_500)
SHAPES = ("date.parquet", "symbol.parquet", "date.csv", "symbol.csv")


def write(path: Path, names: int, sessions: int) -> None:
    """A file of daily bars, by date or by symbol as its name says; one name in a hundred splits once, one in fifty ends early."""
    days = XNYS.between(date(2013, 1, 2), date(2024, 12, 31))[:sessions]
    chance = np.random.default_rng(7)
    close = np.round(50 * np.exp(np.cumsum(chance.normal(0, 0.01, (names, sessions)), axis=1)), 2).clip(1)
    spread = np.round(close * 0.01, 2)
    held = np.ones((names, sessions), dtype=bool)
    for n in range(0, names, 50):
        held[n, sessions // 2 + n % 20 :] = False
    adjusted = close.copy()
    for n in range(7, names, 100):
        ex = sessions // 3 + n % 30
        for prices in (close, spread):
            prices[n, ex:] = np.round(prices[n, ex:] / 2, 2)
        adjusted[n] = close[n]
        adjusted[n, ex - 1] = np.round(
            close[n, ex - 1] / 2, 4
        )  # as each session's own capture said it when the split was at hand
    frame = pl.DataFrame(
        {
            "symbol": pl.Series(np.repeat([f"S{n:04}" for n in range(names)], sessions)),
            "date": pl.Series(days * names, dtype=pl.Date),
            "open": close.ravel(),
            "high": (close + spread).ravel(),
            "low": (close - spread).ravel(),
            "close": close.ravel(),
            "volume": chance.integers(100, 10**7, names * sessions),
            "adj_close": adjusted.ravel(),
        }
    ).filter(pl.Series(held.ravel()))
    if path.stem == "date":
        frame = frame.sort("date", "symbol")
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)


def take(path: Path) -> dict[str, float]:
    """Ingest the file beside itself; captures, rows, seconds, CPU seconds and the peak memory of this process before and after, in MiB."""
    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    source = Files(path, ColumnMapping(session="date", adj_close="adj_close"), XNYS, known_at="close+1h")
    store = DeltaStore(path.with_suffix(path.suffix + ".store"))
    report = ingest(source, store, None, NOW, source.labels(), XNYS)
    seconds = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {
        **{c: report.numbers[c] for c in ("captures", "rows", "bars", "quarantined", "instruments", "actions")},
        **seconds,
        "started": before,
        "peak": peak(),
    }


def peak() -> float:
    """The peak memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def run(folder: Path, shape: str, names: int, sessions: int) -> dict[str, float]:
    """Write and ingest, each in a process of its own, and print a row."""
    path = folder / f"{sessions}" / shape
    path.parent.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "bench.ingest", "write", str(path), str(names), str(sessions)], check=True
    )  # this module, again
    done = subprocess.run(
        [sys.executable, "-m", "bench.ingest", "take", str(path)], check=True, capture_output=True, text=True
    )  # as above
    got = json.loads(done.stdout.splitlines()[-1])
    print(
        f"| {shape} | {got['captures']:,.0f} | {got['rows']:,.0f} | {path.stat().st_size / 2**20:,.0f} | {got['started']:,.0f} | {got['peak']:,.0f} "
        f"| {got['seconds']:,.1f} | {got['cpu']:,.1f} | {got['rows'] / got['cpu']:,.0f} | {1000 * got['cpu'] / got['captures']:,.0f} |",
        flush=True,
    )
    return got


def main(*args: str) -> None:
    """The table."""
    print(
        "| file | captures | rows | file, MiB | memory at start, MiB | peak, MiB | s | CPU-s | rows per CPU-s | CPU-ms per capture |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as made:
        if "--full" in args:
            run(Path(made), "symbol.parquet", *FULL)
            return
        for shape in args or SHAPES:
            one, ten = (run(Path(made), shape, NAMES, SMALL * n)["peak"] for n in (1, TIMES))
            print(f"{shape}: {TIMES} times the input needs {ten / one:.2f} times the memory", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", path, names, sessions]:
            write(Path(path), int(names), int(sessions))
        case ["take", path]:
            print(json.dumps(take(Path(path))))
        case given:
            main(*given)
