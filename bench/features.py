"""Features at full size: a day's update, and a backfill that is killed in the middle and goes on.

    python -m bench.features day                     3,000 names: CPU of publishing one more session, inside the step
    python -m bench.features backfill [--names 3000] [--sessions 2500] [--kill]

A random market with 1.3% of its rows restated a session later, which is what a real vendor does (bench/vintages.py), in
Delta tables under a folder that is removed at the end. CPU is user and system time of the process, peak memory its
VmHWM. `--kill` sends SIGKILL when a part of the blocks stands, starts the same command again, and counts what is there
at the end.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from quant_assets.calendars import Cuts, calendar
from quant_assets.features.catalogue import find_set
from quant_assets.features.publish import publish
from quant_assets.tables import BARS, UNIVERSE
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
FIRST = date(2015, 1, 2)
WARM = 64  # sessions before the first one that is published
RESTATED = 0.013
CHUNK = 250  # sessions that are made and written at once


def sessions(count: int) -> list[date]:
    """The sessions of the market."""
    return CUTS.calendar.between(FIRST, CUTS.calendar.shift(FIRST, count - 1))


def market(root: Path, names: int, count: int, seed: int = 1) -> DeltaStore:
    """Bars of all names and sessions, and a universe with all of them in it."""
    rng, store, days = np.random.default_rng(seed), DeltaStore(root), sessions(count)
    level = np.full(names, np.log(50.0))
    for start in range(0, count, CHUNK):
        part = days[start : start + CHUNK]
        logs = level + np.cumsum(rng.normal(0, 0.02, (len(part), names)), axis=0)
        level = logs[-1]
        close, spread = np.round(np.exp(logs), 2).ravel() + 0.01, np.abs(rng.normal(0, 0.01, (len(part) * names, 3)))
        known = np.repeat(
            np.array([CUTS.of(d).replace(tzinfo=None) - timedelta(hours=2) for d in part], dtype="datetime64[us]"),
            names,
        )
        frame = pl.DataFrame(
            {
                "session": np.repeat(np.array(part, dtype="datetime64[D]"), names),
                "sid": np.tile(np.arange(1, names + 1), len(part)),
                "open": np.round(close * (1 + spread[:, 2] - 0.008), 2),
                "high": np.round(close * (1.01 + spread[:, 0]), 2),
                "low": np.round(close * (0.99 - spread[:, 1]), 2),
                "close": close,
                "volume": rng.integers(10_000, 5_000_000, close.size),
                "adj_close": close,
                "known_at": known,
            }
        )
        frame = frame.with_columns(
            pl.format("S{}", "sid").alias("symbol"),
            pl.lit("bench").alias("source"),
            pl.lit("prices.csv").alias("file"),
            pl.int_range(pl.len(), dtype=pl.Int64).alias("line"),
            pl.col("known_at").dt.replace_time_zone("UTC"),
            capture="session",
            withdrawn=pl.lit(value=False),
        )
        late = frame.filter(pl.Series(rng.random(frame.height) < RESTATED)).with_columns(
            pl.col("volume") + 100, pl.col("known_at") + timedelta(days=1)
        )
        store.append(BARS, pl.concat([frame, late]).with_columns(declared_known_at="known_at").select(*BARS.schema))
    everyone = pl.DataFrame({"sid": np.arange(1, names + 1)}).with_columns(
        pl.lit(days[0]).alias("session"),
        pl.lit("all").alias("universe"),
        until=pl.lit(days[-1] + timedelta(days=1)),
        rank="sid",
        dollar_volume=pl.lit(1.0),
        known_at=pl.lit(CUTS.of(days[0]) - timedelta(hours=3)),
    )
    store.append(UNIVERSE, everyone.select(*UNIVERSE.schema))
    return store


def peak() -> float:
    """GiB that this process had at most."""
    return (
        next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        / 2**20
    )


def day(root: Path, name: str, names: int) -> None:
    """Publish a quarter and then its last sessions one by one: the dearest days, since a block starts at its anchor."""
    count = 189  # to the end of September
    store, features, days = market(root, names, count), find_set(name), sessions(count)
    publish(store, features, "all", CUTS, days[-8:-5])
    spent: list[float] = []
    for one in days[-5:]:
        begun = time.process_time()
        report = publish(store, features, "all", CUTS, [one])
        spent.append(time.process_time() - begun)
        print(f"{one}: {report.rows:,} rows, {spent[-1]:.2f} s CPU", flush=True)
    print(
        f"{name}, {names:,} names, {len(features.features)} features: a day's update takes "
        f"{median(spent):.2f} s CPU in the median of {len(spent)}; peak memory {peak():.2f} GiB"
    )


def fill(root: Path, name: str, count: int) -> None:
    """The backfill itself, in a process of its own: a line a block, and the cost at the end."""
    store, features, days = DeltaStore(root), find_set(name), sessions(count)
    begun = time.perf_counter()

    def tick(done: int, total: int, what: str) -> None:
        spent = time.perf_counter() - begun
        left = f", {spent / done * (total - done):.0f} s left" if done else ""
        print(
            json.dumps({"done": done, "total": total, "what": f"{what}: {spent:.0f} s{left}, {peak():.2f} GiB"}),
            flush=True,
        )

    report = publish(store, features, "all", CUTS, days[WARM:], tick)
    print(
        json.dumps(
            {
                "rows": report.rows,
                "before": report.numbers["published_before"],
                "wall": time.perf_counter() - begun,
                "cpu": time.process_time(),
                "peak": peak(),
            }
        ),
        flush=True,
    )


def filled(command: list[str], *, kill_at: int | None) -> dict[str, float]:
    """Run the backfill and print as it goes; where `kill_at`, SIGKILL it when so many blocks stand.

    Returns its last line, nothing where it was killed.
    """
    last: dict[str, float] = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "POLARS_MAX_THREADS": "2"}
    ) as child:  # this module, in our own interpreter
        for line in child.stdout or ():
            told = json.loads(line)
            if "what" not in told:
                last = told
                continue
            print(f"  {told['done']:3} of {told['total']}  {told['what']}", flush=True)
            if kill_at is not None and told["done"] >= kill_at:
                print("  SIGKILL")
                child.send_signal(signal.SIGKILL)
                break
    return last


def backfill(root: Path, name: str, names: int, count: int, *, kill: bool) -> None:
    """Make the market, fill, count."""
    begun = time.perf_counter()
    store, features = market(root, names, count), find_set(name)
    print(
        f"a market of {names:,} names and {count:,} sessions stands after {time.perf_counter() - begun:.0f} s",
        flush=True,
    )
    command = [
        sys.executable,
        "-m",
        "bench.features",
        "fill",
        "--root",
        str(root),
        "--set",
        name,
        "--sessions",
        str(count),
    ]
    if kill:
        filled(command, kill_at=4)
    told = filled(command, kill_at=None)
    stands = store.read(features.table, as_of=None, columns=())
    rows, twice = stands.height, stands.height - stands.select("session", "sid").n_unique()
    size = sum(f.stat().st_size for f in store.path(features.table).rglob("*.parquet")) / 2**30
    print(
        f"{rows:,} rows × {len(features.features)} features stand, {twice} of them twice, {size:.2f} GiB on "
        f"disk; the run that finished found {told['before']:.0f} sessions published, "
        f"wrote {told['rows']:,.0f} rows in {told['wall']:.0f} s, {told['cpu']:.0f} s CPU, peak memory "
        f"{told['peak']:.2f} GiB"
    )


def main() -> None:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("day", "backfill", "fill"))
    parser.add_argument("--set", default="alpha158")
    parser.add_argument("--names", type=int, default=3_000)
    parser.add_argument("--sessions", type=int, default=2_500)
    parser.add_argument("--kill", action="store_true", help="kill the backfill in the middle, and let it go on")
    parser.add_argument("--root", type=Path, help="of a market that stands (fill)")
    asked = parser.parse_args()
    if asked.what == "fill":
        fill(asked.root, asked.set, asked.sessions)
        return
    with tempfile.TemporaryDirectory(prefix="features-") as folder:
        if asked.what == "day":
            day(Path(folder), asked.set, asked.names)
        else:
            backfill(Path(folder), asked.set, asked.names, asked.sessions, kill=asked.kill)


if __name__ == "__main__":
    main()
