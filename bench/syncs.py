"""What a day pays for being durable: syncs of files and folders, and their seconds, in a day of the small deployment.

python -m bench.syncs

The day is run three times on copies of one home in one process each, under strace, which counts the syncs and times
them in the kernel, and three times without it for the seconds of the whole; the medians are printed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

from tests.jobs.cut_day import SESSION, prepared

TIMES = 3
SYNC = re.compile(r"(fsync|fdatasync)\(\d+<(?P<path>[^>]*)>.*<(?P<seconds>[\d.]+)>$")
KINDS = {
    ".parquet": "data files",
    ".json.tmp": "log entries",
    ".sqlite": "ledger and venue",
    "-wal": "ledger and venue",
    "-journal": "ledger and venue",
}


def kind(path: str) -> str:
    """What a path is of."""
    if Path(path).suffix == "":
        return "folders"
    return next((k for ending, k in KINDS.items() if path.endswith(ending)), "pages and others")


def day(home: Path, *before: str) -> float:
    """Run the day on a copy of the home; the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(home, Path(folder) / "home")
        command = [*before, sys.executable, "-m", "tests.jobs.cut_day", str(copy), str(SESSION)]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ})
        return time.perf_counter() - started


def main() -> None:
    """Print the syncs by kind, and what they are of the day."""
    strace = shutil.which("strace") or sys.exit("bench: the program strace is missing")
    with tempfile.TemporaryDirectory() as folder:
        home, trace = Path(folder) / "home", Path(folder) / "trace"
        prepared(home)
        whole = median(day(home) for _ in range(TIMES))
        rounds: list[tuple[Counter[str], dict[str, float]]] = []
        for _ in range(TIMES):
            day(home, strace, "-f", "--seccomp-bpf", "-y", "-T", "-e", "trace=fsync,fdatasync", "-o", str(trace))
            counts: Counter[str] = Counter()
            seconds: dict[str, float] = {}
            for found in filter(None, map(SYNC.search, trace.read_text().splitlines())):
                counts[kind(found["path"])] += 1
                seconds[kind(found["path"])] = seconds.get(kind(found["path"]), 0.0) + float(found["seconds"])
            rounds.append((counts, seconds))
        for name in sorted(rounds[0][0]):
            spent = median(s.get(name, 0.0) for _, s in rounds)
            print(f"{name:<18} {rounds[0][0][name]:>5} {spent:>8.3f} s")
        spent = median(sum(s.values()) for _, s in rounds)
        print(f"{'all syncs':<18} {rounds[0][0].total():>5} {spent:>8.3f} s, {spent / whole:.1%} of {whole:.1f} s")


if __name__ == "__main__":
    main()
