"""Qlib's Alpha158, the 158 expressions of its own loader without processors: alpha158.py WAY FOLDER [RESULT].

Runs in its own environment (requirements.txt) on the binary data that the benchmark left in FOLDER, on one thread, one process.
WAY is `features` (D.features: the expressions alone), `loader` (Alpha158DL, the documented way, which sorts by session) or `end`
(the loader, then Parquet in RESULT). `features` writes RESULT where given, unmeasured. Prints the measurement as one line of JSON.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# the peer's packages stand in its own environment only

import json
import resource
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import qlib  # noqa: E402  # after the settings
from qlib.contrib.data.loader import Alpha158DL  # noqa: E402  # as above
from qlib.data import D  # noqa: E402  # as above


def main(way: str, folder: Path, result: Path | None) -> None:
    """Measure once, print, write where asked."""
    qlib.init(provider_uri=str(folder), region="us", kernels=1, expression_cache=None, dataset_cache=None, logging_level=40)
    expressions, names = Alpha158DL.get_feature_config()
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    frame = D.features(D.instruments("all"), expressions) if way == "features" else Alpha158DL().load(instruments="all")
    if way == "end":
        frame.columns = names
        frame.to_parquet(result, compression="zstd", use_dictionary=False)
    wall, after, children = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + children.ru_utime + children.ru_stime
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak / 1024, "rows": len(frame)}))
    if way == "features" and result:
        frame.columns = names
        frame.to_parquet(result, compression="zstd", use_dictionary=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)  # the result is optional
