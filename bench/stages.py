"""Seconds of each stage, and the peak of memory, over a simulated market: `make bench`, or bench/stages.py NAMES
SESSIONS.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from desk.day import arrive, derive
from desk.deployment import DEFAULT, load
from desk.workspace import Workspace
from quant_assets.backtest.loop import run
from quant_assets.records import StageReport


def timed(reports: Iterable[StageReport]) -> None:
    """Print each report with the seconds that led to it."""
    started = time.perf_counter()
    for report in reports:
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{report.stage:<24} {report.rows:>12,} {seconds:>9.2f} {peak:>9,.0f}", flush=True)
        started = time.perf_counter()


def main(names: int = 100, sessions: int = 120) -> None:
    """From captures to a research book's NAV, once, in one process."""
    declared = load(DEFAULT)
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace(
            Path(folder),
            msgspec.structs.replace(declared, source=msgspec.structs.replace(declared.source, names=names)),
        )
        begin, _ = ws.span
        last = ws.cuts.calendar.shift(begin, sessions - 1)
        span = ws.cuts.calendar.between(begin, last)
        print(f"{names} names, {sessions} sessions\n{'stage':<24} {'rows':>12} {'seconds':>9} {'peak MiB':>9}")
        timed(arrive(ws, last))
        timed(derive(ws, span))
        for book in ws.books(live=False):
            timed(iter([run(ws.store, ws.strategy_of(book), book, ws.cuts, span)]))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
