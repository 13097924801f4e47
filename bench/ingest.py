"""What taking in daily bars costs, and that its memory does not follow the length of the file.

    python -m bench.ingest                      # 2,000 names: 60 sessions, then 600, from each shape of file
    python -m bench.ingest --full               # ten years of 3,000 and of 500 names, from each shape of file
    python -m bench.ingest --full --beside REF  # each beside the way of another commit, which must leave the same rows

Shapes: Parquet or CSV, by date or by symbol and then date, as vendors export them, with and without (`bare`) adjusted
closes; and `drops`, a folder of daily deliveries that list their names. Each process takes one file in, into a store of
its own; the file is written by another process. CPU time, threads included: the wall clock of a shared machine says
little.
"""

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from quant_assets.calendars import calendar
from quant_assets.market_data.ingest import ingest
from quant_assets.records import frame_hash
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS, QUARANTINE
from resources.sources.files import ColumnMapping, Files
from resources.sources.vendor_drops import VendorDrops
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
NOW = datetime(2026, 12, 1, tzinfo=UTC)
SMALL, TIMES, NAMES = 60, 10, 2_000
TEN_YEARS = 2_500
FULL = (3_000, 500)  # names
SHAPES = ("symbol.parquet", "date.parquet", "bare.parquet", "symbol.csv", "date.csv", "drops")
HERE = Path(__file__).resolve().parents[1]


def market(names: int, sessions: int) -> pl.DataFrame:
    """Daily bars by symbol and date; one name in a hundred splits once, one in fifty ends early."""
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
        # as each session's own capture said it when the split was at hand
        adjusted[n, ex - 1] = np.round(close[n, ex - 1] / 2, 4)
    return pl.DataFrame(
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


def write(path: Path, names: int, sessions: int) -> None:
    """The market as a file of the shape that `path` is named by."""
    frame = market(names, sessions)
    match path.name:
        case "drops":
            drops(path, frame)
        case "bare.parquet":
            frame.drop("adj_close").write_parquet(path)
        case _:
            frame = frame.sort("date", "symbol") if path.stem == "date" else frame
            frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)


def drops(folder: Path, frame: pl.DataFrame) -> None:
    """A delivery a session, with the rows of the session and of the one before, and what is listed under which name."""
    folder.mkdir()
    by_day = frame.partition_by("date", as_dict=True, maintain_order=True)
    before = None
    for (day,), rows in sorted(by_day.items()):
        prices = rows if before is None else pl.concat([before, rows])
        listed = "".join(f"{s}\tCompany {s}\n" for s in rows["symbol"])
        before = rows
        # the key is a date
        known = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)  # pyright: ignore[reportArgumentType, reportCallIssue]
        with tarfile.open(folder / f"{day:%Y%m%d}.tar.gz", "w:gz", compresslevel=1) as archive:
            for name, text in (("prices.csv", prices.write_csv()), ("symbols.txt", listed)):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(text), int(known.timestamp())
                archive.addfile(member, io.BytesIO(text.encode()))


def source(path: Path) -> Files | VendorDrops:
    """The file as a source."""
    if path.name == "drops":
        return VendorDrops(path)
    adjusted = None if path.stem == "bare" else "adj_close"
    return Files(path, ColumnMapping(session="date", adj_close=adjusted), XNYS, known_at="close+1h")


def take(path: Path, into: Path) -> dict[str, float | str]:
    """Ingest the file; captures, rows, seconds, CPU seconds, the peak memory of this process before and after (MiB),
    and a hash of the rows.
    """
    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    given = source(path)
    store = DeltaStore(into)
    report = ingest(given, store, None, NOW, given.labels(), XNYS)
    spent = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": peak()}
    counted = {c: report.numbers[c] for c in ("captures", "rows", "bars", "quarantined", "instruments", "actions")}
    return {**counted, **spent, "started": before, "same": left(store)}


def left(store: DeltaStore) -> str:
    """A hash of all rows of all tables that ingest writes, a year at a time."""
    digest = hashlib.sha256()
    for table in (CAPTURES, BARS, ACTIONS, LISTINGS, QUARANTINE):
        for year in range(2012, 2027):
            rows = store.read(table, as_of=None, first=date(year, 1, 1), last=date(year, 12, 31))
            digest.update(frame_hash(rows.select(sorted(rows.columns))).encode())
    return digest.hexdigest()[:12]


def peak() -> float:
    """The peak memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def taken(path: Path, tree: Path, into: Path) -> dict[str, float]:
    """`take` in a process of its own, by the code of `tree`."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "take", str(path), str(into)],
        check=True, capture_output=True, text=True, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def run(folder: Path, shape: str, names: int, sessions: int, trees: dict[str, Path]) -> dict[str, float]:
    """Write and ingest, each in a process of its own, and print a row for each tree; what the last one said."""
    path = folder / f"{names}-{sessions}" / shape
    path.parent.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "bench.ingest", "write", str(path), str(names), str(sessions)], check=True)
    size = sum(f.stat().st_size for f in ([path] if path.is_file() else path.iterdir())) / 2**20
    answers = {way: taken(path, tree, path.parent / f"{shape}.{way}") for way, tree in trees.items()}
    for way, got in answers.items():
        print(
            f"| {shape} | {names:,} | {way} | {got['captures']:,.0f} | {got['rows']:,.0f} | {size:,.0f} "
            f"| {got['started']:,.0f} | {got['peak']:,.0f} | {got['seconds']:,.1f} | {got['cpu']:,.1f} "
            f"| {got['rows'] / got['cpu']:,.0f} | {1000 * got['cpu'] / got['captures']:,.1f} | {got['same']} |",
            flush=True,
        )
    return [*answers.values()][-1]


def main(*args: str) -> None:
    """The table."""
    print(
        "| file | names | way | captures | rows | file, MiB | memory at start, MiB | peak, MiB | s | CPU-s "
        "| rows per CPU-s | CPU-ms per capture | rows' hash |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        flush=True,
    )
    other = args[args.index("--beside") + 1] if "--beside" in args else None
    shapes = [a for a in args if a in SHAPES] or SHAPES
    with tempfile.TemporaryDirectory() as made:
        trees = {"this": HERE}
        if other is not None:
            # the git of whoever runs this
            subprocess.run(["git", "worktree", "add", "--detach", f"{made}/other", other], check=True, cwd=HERE)  # noqa: S607
            trees = {other: Path(made) / "other", **trees}
        try:
            for shape in shapes:
                if "--full" in args:
                    for names in FULL:
                        run(Path(made), shape, names, TEN_YEARS, trees)
                    continue
                one, ten = (run(Path(made), shape, NAMES, SMALL * n, trees)["peak"] for n in (1, TIMES))
                print(f"{shape}: {TIMES} times the input needs {ten / one:.2f} times the memory", flush=True)
        finally:
            if other is not None:
                # as above
                subprocess.run(["git", "worktree", "remove", "--force", f"{made}/other"], check=True, cwd=HERE)  # noqa: S607


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", path, names, sessions]:
            write(Path(path), int(names), int(sessions))
        case ["take", path, into]:
            print(json.dumps(take(Path(path), Path(into))))
        case given:
            main(*given)
