"""Alpha158 against Qlib: the same values first, then the time, memory and writing that they take.

    python -m bench.alpha158                  (a quarter of an hour; the first run installs Qlib into a cache)
    python -m bench.alpha158 --correctness    (the tables alone; Qlib's answers are kept in the cache)
    python -m bench.alpha158 --quick          (a small market, to see that everything runs)

Both read the same float32 bars. Each contestant is a process of its own on one thread; the clock starts after its
imports (and after one call of ours on ten rows, which loads the compiled code) and the peak is that of the process,
imports included.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from bench.alpha158_bars import Market, panel_of, real, synthetic
from bench.alpha158_judge import compare, table, verdicts
from bench.peers.environment import PEERS, cache, peer_python
from bench.peers.qlib.bins import write_bins
from quant_assets.features.alpha158.feature_set import ALPHA158
from quant_assets.records import content_id

NAMES, SESSIONS, CHUNK, ROUNDS = 800, 3_245, 10, 3
CODECS = ("none", "zstd")
WAYS = ("kernel", "stretches", "memory", *CODECS)
Measured = dict[str, float]


def measured(*command: str) -> dict[str, Measured]:
    """What a process of a contestant printed last: of each part wall and CPU seconds, peak MiB.

    Leaves with its words where it fails.
    """
    threads = {f"{name}_THREADS": "1" for name in ("POLARS_MAX", "OMP_NUM", "OPENBLAS_NUM", "NUMBA_NUM")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **threads}
    )  # our own command
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command)} failed ({done.returncode}):\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def qlib(way: str, bins: Path, result: Path, *codecs: str) -> dict[str, Measured]:
    """One run of Qlib (see its script)."""
    return measured(str(peer_python("qlib")), str(PEERS / "qlib" / "alpha158.py"), way, str(bins), str(result), *codecs)


def features(panel: pl.DataFrame) -> pl.DataFrame:
    """The panel's sid and i with the features, NaN where missing."""
    return ALPHA158.kernel(panel).select("sid", "i", *ALPHA158.features)


def stretches(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """`rows` (sorted by sid), `CHUNK` names at a time: a name needs no other, and what is small is made again in the
    same memory.
    """
    starts = rows["sid"].search_sorted(rows["sid"].unique().sort().gather_every(CHUNK)).to_list()
    return (rows.slice(start, end - start) for start, end in zip(starts, [*starts[1:], rows.height], strict=True))


def bars_to_features(bars: Path, result: Path, codec: str) -> None:
    """Bars from Parquet to features in Parquet, a stretch at a time."""
    schema = pa.schema(
        [
            ("sid", pa.int64()),
            ("i", pa.int32()),
            *(pa.field(f, pa.float32(), nullable=False) for f in ALPHA158.features),
        ]
    )
    with pq.ParquetWriter(
        result, schema, compression=codec, use_dictionary=False, write_statistics=False, write_batch_size=1 << 20
    ) as file:
        for some in stretches(pl.read_parquet(bars)):
            computed = features(panel_of(some))
            file.write_table(pa.Table.from_arrays([c.to_arrow() for c in computed.get_columns()], schema=schema))


def contest(way: str, folder: Path) -> None:
    """What a process of ours does: measure once and print.

    `kernel` and `stretches` compute from a panel, at once or a stretch at a time (each let go before the next, as when
    it is written); `memory` from bars in Parquet to one frame; a codec writes Parquet too.
    """
    panel = pl.read_parquet(folder / "panel.parquet") if way in {"kernel", "stretches"} else pl.DataFrame()
    ways: dict[str, Callable[[], object]] = {
        "kernel": lambda: features(panel),
        "stretches": lambda: deque(map(features, stretches(panel)), maxlen=0),
        "memory": lambda: features(panel_of(pl.read_parquet(folder / "bars.parquet"))),
    }
    work = ways.get(way) or partial(bars_to_features, folder / "bars.parquet", folder / "ours.parquet", way)
    features(panel_of(synthetic(1, 10)[0]))
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    peak = next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(
        json.dumps(
            {
                way: {
                    "wall": wall,
                    "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                    "peak": peak / 1024,
                }
            }
        )
    )


def qlib_answer(name: str, market: Market) -> Path:
    """The file of Qlib's features of the market, computed once for these bars and pins: instrument, datetime and the
    158.
    """
    bars, sessions = market
    key = content_id(
        name, bars.hash_rows(seed=7).sum(), len(sessions), (PEERS / "qlib" / "requirements.txt").read_text(), length=12
    )
    answer = cache() / "alpha158" / f"{name}-{key}.parquet"
    if not answer.exists():
        answer.parent.mkdir(parents=True, exist_ok=True)
        print(f"  Qlib evaluates {bars.height:,} bars of {bars['sid'].n_unique():,} names ({name}) …", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            write_bins(bars, sessions, Path(folder) / "bins")
            qlib("features", Path(folder) / "bins", unfinished := answer.with_suffix(".unfinished"), "zstd")
        unfinished.rename(answer)
    return answer


def correctness(name: str, market: Market) -> None:
    """Print the table of families, and who is right where they differ."""
    bars, _ = market
    answer, panel = qlib_answer(name, market), panel_of(bars)
    ours = features(panel.with_columns(selected=pl.lit(value=True)))  # halted sessions too: Qlib has rows there
    found = compare(ours, answer, ALPHA158.features)
    print(
        f"\n{name}: {bars['sid'].n_unique():,} names, {panel.height:,} rows of which "
        f"{panel.height - bars.height:,} are halted, {panel.height * len(ALPHA158.features):,} values\n"
    )
    print(table(found), flush=True)
    for line in verdicts(found, panel, ours, answer):
        print(line, flush=True)


def prepare(folder: Path, names: int, sessions: int) -> None:
    """The same market as Qlib's binary data, as bars in Parquet and as a panel.

    Nobody is listed late: every name has every session.
    """
    bars, days = synthetic(names, sessions, late=0.0, early=0.0)
    write_bins(bars, days, folder / "bins")
    bars.write_parquet(folder / "bars.parquet")
    panel = panel_of(bars)
    panel.write_parquet(folder / "panel.parquet")
    print(
        f"\n{names:,} names × {sessions:,} sessions: {panel.height:,} rows, "
        f"{panel.height * len(ALPHA158.features):,} values; one thread",
        flush=True,
    )


def speed(folder: Path, names: int, sessions: int) -> None:
    """Print what each contestant needed: Qlib once each way, ours the median of `ROUNDS`."""
    prepare(folder, names, sessions)
    runs: list[dict[str, Measured]] = []
    for turn in range(ROUNDS):
        print(f"  ours, {turn + 1} of {ROUNDS} …", flush=True)
        runs.append(
            {way: measured(sys.executable, "-m", "bench.alpha158", "contest", way, str(folder))[way] for way in WAYS}
        )
    ours = {way: {c: median(r[way][c] for r in runs) for c in ("cpu", "wall", "peak")} for way in WAYS}
    theirs: dict[str, dict[str, Measured]] = {}
    for way, codecs in {"features": (), "loader": CODECS}.items():
        print(f"  Qlib, {way} …", flush=True)
        theirs[way] = qlib(way, folder / "bins", folder / "qlib.parquet", *codecs)
    print("\n| | CPU s | wall s | peak MiB | CPU × | wall × | memory |\n|---|--:|--:|--:|--:|--:|--:|")
    shown("Qlib, `D.features`", theirs["features"]["features"], ours["kernel"])
    shown("ours, the kernel on a panel", ours["kernel"], ours["kernel"])
    shown("Qlib, `D.features`", theirs["features"]["features"], ours["stretches"])
    shown(f"ours, the kernel on {CHUNK} names at a time", ours["stretches"], ours["stretches"])
    shown("Qlib, `Alpha158DL.load` from its data", theirs["loader"]["loader"], ours["memory"])
    shown("ours, from Parquet to features in memory", ours["memory"], ours["memory"])
    for codec in CODECS:
        load, write = theirs["loader"]["loader"], theirs["loader"][codec]
        both = {"cpu": load["cpu"] + write["cpu"], "wall": load["wall"] + write["wall"], "peak": write["peak"]}
        shown(f"Qlib, from its data to Parquet ({codec})", both, ours[codec])
        shown(f"ours, from Parquet to Parquet ({codec}), {CHUNK} names at a time", ours[codec], ours[codec])


def shown(who: str, it: Measured, against: Measured) -> None:
    """Print a line of the table."""
    print(
        f"| {who} | {it['cpu']:.2f} | {it['wall']:.2f} | {it['peak']:,.0f} | "
        f"{it['cpu'] / against['cpu']:.1f} | {it['wall'] / against['wall']:.1f} | "
        f"{against['peak'] / it['peak']:.2f} |",
        flush=True,
    )


def main(asked: list[str]) -> None:
    """Everything that was asked for, printed."""
    if unknown := set(asked) - {"--quick", "--correctness"}:
        raise SystemExit(f"bench: {', '.join(sorted(unknown))} is no option; there are --quick and --correctness")
    quick = "--quick" in asked
    print(
        f"{(PEERS / 'qlib' / 'requirements.in').read_text().strip()}, Python {sys.version.split()[0]}, "
        f"polars {pl.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    correctness("synthetic", synthetic(*((32, 400) if quick else (160, 700))))
    market = None if quick else real()
    if market:
        correctness("real", market)
    elif not quick:
        print("\nthe real panel is not here: set QUANT_SHARED_DATA to the folder that holds pystock/")
    if "--correctness" not in asked:
        with tempfile.TemporaryDirectory() as folder:
            speed(Path(folder), *((40, 600) if quick else (NAMES, SESSIONS)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["contest"]:
        contest(sys.argv[2], Path(sys.argv[3]))
    else:
        try:
            main(sys.argv[1:])
        except KeyboardInterrupt:
            raise SystemExit("\nbench: stopped; what Qlib had finished is in the cache") from None
