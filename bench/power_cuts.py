"""Cuts the power at 500 points of a day, or as many as are given, and holds the home that is left after each.

python -m bench.power_cuts 500

In a model: the writes, names and syncs of a day are recorded by strace, and of what was not synced any part is kept.
For real, where it is allowed: an ext4 file system is shut down without a flush of its journal, a tenth as often.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.jobs.cut_day import Day, cuts, prepared
from tests.resources.cut_states import states
from tests.resources.cut_work import Undisturbed
from tests.resources.recorded_writes import record

AGAIN = 25  # of the homes, one in so many is run to its end


def of_a_day(number: int, seed: int, scratch: Path) -> Counter[str]:
    """What the homes are like that are cut in a day of the small deployment."""
    prepared(scratch / "home")
    return Counter(cuts(Day(scratch / "home", scratch), number, seed, scratch, AGAIN))


def of_the_store(number: int, seed: int, scratch: Path) -> Counter[str]:
    """What the homes are like that are cut while tables are appended to, compacted and vacuumed."""
    home = scratch / "home"
    home.mkdir()
    recording = record([sys.executable, "-m", "tests.resources.cut_work", str(home)], home, scratch)
    undisturbed = Undisturbed(home, [what for _, what in recording.marks])

    def ends() -> Iterator[str]:
        for n, (at, left) in enumerate(states(recording, number, seed, scratch)):
            yield undisturbed.check(left, recording.reported(at))
            if n % AGAIN == 0:
                undisturbed.goes_on(left)

    return Counter(ends())


def for_real(number: int, seed: int, scratch: Path) -> Counter[str]:
    """What the homes are like that are on a file system that is shut down; empty where none can be mounted."""
    unshare = shutil.which("unshare") or sys.exit("bench: the program unshare is missing")
    cut = [unshare, "-m", sys.executable, "-m", "tests.resources.real_cut", str(scratch), str(number), str(seed)]
    done = subprocess.run(cut, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"no file system of its own here: {done.stderr.splitlines()[-1]}")
        return Counter()
    return Counter(json.loads(done.stdout))


def main(number: int) -> None:
    """Raises AssertionError where a home is neither as in an undisturbed run nor refused with the way back."""
    seed = random.randrange(1 << 30)  # noqa: S311  # not for secrets
    print(f"seed {seed}")
    parts = (("a day, in the model", of_a_day, number), ("the store, in the model", of_the_store, number))
    for name, part, times in (*parts, ("the store, for real", for_real, max(number // 10, 1))):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            ends = part(times, seed, Path(scratch))
        refused = {why: n for why, n in ends.items() if why != "whole"}
        print(
            f"{name}: {ends.total()} cuts, {ends['whole']} homes whole with all that was reported, "
            f"{sum(refused.values())} refused, {time.perf_counter() - started:.0f} s"
        )
        for why, n in refused.items():
            print(f"  {n} × {why}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 500)
