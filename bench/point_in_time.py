"""The point-in-time join against Feast (its DuckDB offline store) and DuckDB's ASOF join, on identical answers.

    python -m bench.point_in_time              (some ten minutes on two cores; the first run installs Feast into a
    cache)

Every contestant runs in a process of its own, on as many threads as said, in turns; the spine is in memory and the
views are Parquet files when the clock starts, and it stops when the answer is in memory, as columns. Row by row the
answers are compared. Then it is counted what goes wrong without care: each careless way against the law, which is
checked on a sample.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import polars as pl

from bench.peers.environment import peer_python
from quant_assets.contract import UTC_MICROS, Table, in_force, known_by
from quant_assets.features.point_in_time import View, point_in_time

NAMES, EVENTS, RESTATED, DAYS, THREADS, ROUNDS = 3_000, 400, 0.25, 30, 2, 3
VALUES = ("v0", "v1", "v2")
DAY = 86_400_000_000
PEER = Path(__file__).parent / "peers" / "feast"
Measured = dict[str, float]


def view(random: np.random.Generator, withdrawn: float) -> pl.DataFrame:
    """Every second day an event of each name, known within five days; a quarter restated within sixty, a share of these
    withdrawn. Sorted by key, as tables are read.
    """
    sid, event = np.repeat(np.arange(NAMES), EVENTS), np.tile(np.arange(EVENTS) * 2 * DAY, NAMES)
    known = event + random.integers(1, 5 * DAY, len(event))
    again = np.flatnonzero(random.random(len(event)) < RESTATED)
    columns = {
        "sid": np.append(sid, sid[again]),
        "session": np.append(event, event[again]),
        "known_at": np.append(known, known[again] + random.integers(1, 60 * DAY, len(again))),
    }
    gone = np.append(np.zeros(len(event), bool), random.random(len(again)) < withdrawn)
    values = {v: random.normal(size=len(gone)) for v in VALUES}
    return (
        pl.DataFrame({**columns, **values, **({"withdrawn": gone} if withdrawn else {})})
        .with_columns(pl.col("session", "known_at").cast(UTC_MICROS))
        .sort("sid", "session", "known_at")
    )


def prepare(folder: Path, rows: int, views: int, withdrawn: float = 0.0) -> None:
    """The spine (every name at one cut after the other, as a training set asks) and the views, as Parquet."""
    folder.mkdir()
    per = -(-rows // NAMES)
    cuts = (np.arange(per) * (EVENTS * 2 * DAY // per) + DAY // 2).repeat(NAMES)
    spine = pl.DataFrame({"ts": cuts, "sid": np.tile(np.arange(NAMES), per)}).with_columns(
        pl.col("ts").cast(UTC_MICROS)
    )
    spine.head(rows).with_row_index("row").write_parquet(folder / "spine.parquet")
    random = np.random.default_rng(7)
    for i in range(views):
        view(random, withdrawn).write_parquet(folder / f"view{i}.parquet")


def ours(folder: Path, views: int, days: int) -> Callable[[], pl.DataFrame]:
    """The join of this project."""
    spine, tolerance = pl.read_parquet(folder / "spine.parquet"), timedelta(days=days) if days else None

    def run() -> pl.DataFrame:
        columns = [c for c in pl.read_parquet_schema(folder / "view0.parquet") if c not in VALUES]
        frames = [pl.read_parquet(folder / f"view{i}.parquet", columns=[*columns, *VALUES]) for i in range(views)]
        return point_in_time(
            spine, [View(f"view{i}", frame, VALUES, tolerance=tolerance) for i, frame in enumerate(frames)]
        )

    return run


def asof(folder: Path, views: int, days: int, *, naive: bool = False) -> Callable[[], pl.DataFrame]:
    """DuckDB's ASOF join on known_at: of rows that were the newest event when they became known, or naively of all."""
    con = duckdb.connect(config={"threads": THREADS})
    con.execute("CREATE TABLE spine AS FROM read_parquet($file)", {"file": str(folder / "spine.parquet")})
    newest = (
        ""
        if naive
        else (
            "QUALIFY session = max(session) OVER (PARTITION BY sid ORDER BY known_at, session ROWS UNBOUNDED PRECEDING)"
        )
    )
    known = ", ".join(f"k{i} AS (FROM read_parquet($view{i}) {newest})" for i in range(views))
    fresh = f"k{{i}}.session >= s.ts - INTERVAL {days} DAY" if days else "true"
    values = ", ".join(
        f"CASE WHEN {fresh.format(i=i)} THEN k{i}.{v} END AS view{i}_{v}" for i in range(views) for v in VALUES
    )
    joins = " ".join(f"ASOF LEFT JOIN k{i} ON s.sid = k{i}.sid AND s.ts >= k{i}.known_at" for i in range(views))
    files = {f"view{i}": str(folder / f"view{i}.parquet") for i in range(views)}
    return lambda: con.sql(f"WITH {known} SELECT s.*, {values} FROM spine s {joins}", params=files).pl()


def contest(who: str, folder: Path, views: int, days: int, result: Path | None) -> None:
    """What a process of ours or DuckDB's does: measure once, print, write where asked."""
    run = ours(folder, views, days) if who == "ours" else asof(folder, views, days)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    answer = run()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    peak = next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(
        json.dumps(
            {
                "wall": wall,
                "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "peak": peak / 1024,
            }
        )
    )
    if result:
        answer.write_parquet(result)


def measured(who: str, folder: Path, views: int, days: int, result: Path | None, *, filtered: bool = True) -> Measured:
    """One run of a contestant in its own process: wall and CPU seconds, peak MiB."""
    threads = {f"{name}_THREADS": str(THREADS) for name in ("POLARS_MAX", "OMP_NUM", "OPENBLAS_NUM")}
    shared = (str(folder), str(views), str(days))
    command = (
        (str(peer_python("feast")), str(PEER / "history.py"), *shared, str(int(filtered)), str(THREADS))
        if who == "feast"
        else (sys.executable, "-m", "bench.point_in_time", who, *shared)
    )
    printed = subprocess.run(
        (*command, *([str(result)] if result else ())),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **threads},
    )  # our own command
    if printed.returncode:
        raise SystemExit(f"bench: {who} failed ({printed.returncode}):\n{printed.stderr[-3000:]}")
    return json.loads(printed.stdout.splitlines()[-1])


def differing(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The rows of `one` of which the other gives any value differently."""
    columns = [c for c in one.columns if c.startswith("view")]
    one, other = one.sort("row"), other.sort("row")
    assert one["row"].equals(other["row"])
    return one.filter(pl.any_horizontal(pl.col(c).ne_missing(other[c]) for c in columns))


def race(folder: Path, rows: int, views: int, days: int) -> None:
    """Print what each contestant needed and how many of its rows are not ours."""
    prepare(folder, rows, views)
    runs: dict[str, list[Measured]] = {"ours": [], "duckdb": [], "feast": []}
    for turn in range(ROUNDS):
        for who, found in runs.items():
            found.append(measured(who, folder, views, days, None if turn else folder / f"{who}.parquet"))
    print(
        f"\n{rows:,} rows × {views} view(s), {f'tolerance {days} days' if days else 'no tolerance'}; median "
        f"of {ROUNDS} turns, {THREADS} threads"
    )
    print(f"{'':10} {'wall s':>9} {'CPU s':>9} {'peak MiB':>9} {'wall ×':>8} {'CPU ×':>8} {'rows that differ':>17}")
    answer, base = (
        pl.read_parquet(folder / "ours.parquet"),
        {c: median(r[c] for r in runs["ours"]) for c in ("wall", "cpu", "peak")},
    )
    for who, found in runs.items():
        wall, cpu, peak = (median(r[c] for r in found) for c in ("wall", "cpu", "peak"))
        other = differing(answer, pl.read_parquet(folder / f"{who}.parquet")).height
        print(
            f"{who:10} {wall:9.2f} {cpu:9.2f} {peak:9,.0f} {wall / base['wall']:8.1f} "
            f"{cpu / base['cpu']:8.1f} {other:17,}",
            flush=True,
        )


def by_the_law(folder: Path, answer: pl.DataFrame, days: int) -> int:
    """How many rows `answer` gives differently from reading the cut alone."""
    frame = pl.read_parquet(folder / "view0.parquet")
    table = Table("view0", "Of the benchmark.", dict(frame.schema), key=("sid", "session", "known_at"))
    wrong = 0
    for row in answer.iter_rows(named=True):
        standing = in_force(known_by(frame.filter(pl.col("sid") == row["sid"]), row["ts"]), table)
        latest = standing.filter(pl.col("session").is_between(row["ts"] - timedelta(days=days), row["ts"])).tail(1)
        wrong += [row[f"view0_{v}"] for v in VALUES] != (
            list(latest.select(VALUES).row(0)) if latest.height else [None] * len(VALUES)
        )
    return wrong


def traps(folder: Path, rows: int, days: int, withdrawn: float) -> None:
    """Print how many rows each careless way gets wrong."""
    prepare(folder, rows, 1, withdrawn)
    answer = ours(folder, 1, days)()
    ways = {"Feast, filtered": True, "Feast, as it comes": False}
    found: dict[str, pl.DataFrame] = {
        "ASOF, newest events": asof(folder, 1, days)(),
        "ASOF on known_at alone": asof(folder, 1, days, naive=True)(),
    }
    for name, filtered in ways.items():
        measured("feast", folder, 1, days, folder / "feast.parquet", filtered=filtered)
        found[name] = pl.read_parquet(folder / "feast.parquet")
    print(
        f"\n{rows:,} rows × 1 view, tolerance {days} days, {RESTATED:.0%} restated, {withdrawn:.0%} of these withdrawn"
    )
    drawn = answer.sample(300, seed=7)
    print(f"of {drawn.height} rows drawn at random, ours differs from the law in {by_the_law(folder, drawn, days)}")
    for name, other in found.items():
        wrong = differing(answer, other)
        some = wrong.head(100)
        print(
            f"{name:24} differs from ours in {wrong.height / rows:7.2%} of rows; of the first {some.height} "
            f"of these, ours differs from the law in {by_the_law(folder, some, days)}",
            flush=True,
        )


def main() -> None:
    """Everything, printed."""
    print(
        f"{NAMES:,} names, {EVENTS} events each, {RESTATED:.0%} of them restated; polars {pl.__version__}, "
        f"duckdb {duckdb.__version__}, {(PEER / 'requirements.in').read_text().strip()}"
    )
    print(f"{os.cpu_count()} cores, load before the start {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        traps(folder / "restated", 100_000, DAYS, 0.0)
        traps(folder / "withdrawn", 100_000, DAYS, 0.1)  # which neither peer has a word for
        race(folder / "unbounded", 100_000, 1, 0)
        race(folder / "full", 1_000_000, 10, DAYS)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        contest(
            sys.argv[1],
            Path(sys.argv[2]),
            int(sys.argv[3]),
            int(sys.argv[4]),
            Path(sys.argv[5]) if len(sys.argv) > 5 else None,
        )  # the result is optional
    else:
        main()
