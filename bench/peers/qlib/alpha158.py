"""Qlib's Alpha158, the 158 expressions of its own loader without processors: alpha158.py WAY FOLDER RESULT [CODEC...].

Runs in its own environment (requirements.txt) on the binary data that the benchmark left in FOLDER, on one thread, one
process. WAY is `features` (D.features: the expressions alone) or `loader` (Alpha158DL, the documented way, which sorts
by session). The frame is then written to RESULT as Parquet, once for each CODEC. Prints a line of JSON: for the way and
for each codec what it took (wall and CPU seconds, those of child processes included) and the peak of the process so far
(MiB).
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportUnknownLambdaType=false
# the peer's packages stand in its own environment only

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import qlib  # noqa: E402  # after the settings
from qlib.contrib.data.loader import Alpha158DL  # noqa: E402  # as above
from qlib.data import D  # noqa: E402  # as above


def cpu() -> float:
    """Seconds of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What `work` returns, and what it took."""
    before, started = cpu(), time.perf_counter()
    out = work()
    took = {"wall": time.perf_counter() - started, "cpu": cpu() - before}
    peak = next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return out, {**took, "peak": peak / 1024}


def main(way: str, folder: Path, result: Path, codecs: list[str]) -> None:
    """Measure once, print."""
    qlib.init(
        provider_uri=str(folder), region="us", kernels=1, expression_cache=None, dataset_cache=None, logging_level=40
    )
    expressions, names = Alpha158DL.get_feature_config()
    ways: dict[str, Callable[[], Any]] = {
        "features": lambda: D.features(D.instruments("all"), expressions),
        "loader": lambda: Alpha158DL().load(instruments="all"),
    }
    frame, took = timed(ways[way])
    frame.columns = names
    found = {way: took}
    for codec in codecs:
        _, found[codec] = timed(partial(frame.to_parquet, result, compression=codec, use_dictionary=False))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
