"""Every feature set on a vendor's real captures: what publishing and auditing cost, what each family of factors
foresees, and a page on each.

    python -m bench.real_features [HOME]         (QUANT_SHARED_DATA, or ../shared/data; HOME is made anew, default
    .quant/real_features)

The universe of that panel was chosen with hindsight: the IC tables show that the machinery measures, not that a factor
pays.
"""

import os
import resource
import shutil
import sys
import time
from datetime import date
from pathlib import Path

import msgspec
import polars as pl

from bench.leaks import stored as audited
from bench.real_panel import BEGIN, LAST, STRATEGY, workspace
from desk.day import arrive
from desk.ledger import TABLES
from desk.notebook import Notebook
from quant_assets.features.audit.audit import standing
from quant_assets.features.audit.gate import audit_if_due
from quant_assets.features.catalogue import OF_SESSIONS
from quant_assets.features.explorer.measures import Measures, explore
from quant_assets.features.explorer.reading import explorer, forward
from quant_assets.features.publish import publish
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.universe import update

HORIZONS = (1, 5, 20)


def opened(home: Path, data: Path) -> Notebook:
    """The real panel's workspace, with the companies' filings."""
    import yaml

    filings = next(
        f for f in yaml.safe_load(Path(__file__).with_name("real_feeds.yaml").read_text()) if f["dataset"] == "filings"
    )
    ws = workspace(home, data)
    ws.deployment = msgspec.structs.replace(
        ws.deployment, feeds=({**filings, "kind": "tabular", "files": str(data.parent / filings["files"])},)
    )
    return Notebook(ws.home, ws.deployment)


def published(ws: Notebook, one: FeatureSet, sessions: list[date]) -> str:
    """A row of the table of costs."""
    begun = time.process_time()
    report = publish(ws.store, one, STRATEGY.universe.name, ws.cuts, sessions)
    spent = time.process_time() - begun
    size = sum(f.stat().st_size for f in (ws.home / TABLES / one.table.name).rglob("*.parquet")) / 2**20
    return (
        f"| {one.name} | {len(one.features)} | {report.rows:,} | "
        f"{report.numbers['new_nulls'] / max(report.numbers['values'], 1):.1%} | {spent:.1f} | {size:.0f} |"
    )


def measured(ws: Notebook, one: FeatureSet, sessions: list[date]) -> Measures:
    """What the set foresees over the range."""
    values = ws.features(one.name, sessions[0], sessions[-1]).select("session", "sid", *one.features)
    return explore(
        one,
        values,
        forward(ws.store, ws.cuts, sessions, HORIZONS, values.select("sid").unique(), None),
        horizons=HORIZONS,
    )


def families(one: FeatureSet, found: Measures, most: int = 8) -> None:
    """The families of a set with the largest mean |IC| over 20 sessions."""
    print(
        f"\n{one.name}: families by mean |IC| over {HORIZONS[-1]} sessions, and the best feature of "
        f"each\n\n| family | features | mean abs IC 1 | 5 | 20 | best over 20 | IC | t "
        f"|\n|---|---:|---:|---:|---:|---|---:|---:|"
    )
    by = {(r["family"], r["horizon"]): r for r in found.families.rows(named=True)}
    last = found.families.filter(pl.col("horizon") == HORIZONS[-1]).sort(
        "mean_abs_ic", descending=True, nulls_last=True
    )
    for row in last.head(most).rows(named=True):
        ics = " | ".join(f"{by[row['family'], h]['mean_abs_ic']:.4f}" for h in HORIZONS)
        print(
            f"| {row['family']} | {row['features']} | {ics} | {row['best']} | {row['best_ic']:+.4f} | "
            f"{row['best_t']:+.2f} |"
        )


def main(home: Path, data: Path) -> None:
    """The whole of it, printed as the tables of docs/benchmarks.md."""
    shutil.rmtree(home, ignore_errors=True)
    ws, begun = opened(home, data), time.perf_counter()
    for report in arrive(ws, LAST):
        print(f"{report.stage}: {report.rows:,} rows", flush=True)
    sessions = ws.cuts.calendar.between(BEGIN, LAST)
    update(ws.store, ws.cuts, STRATEGY.universe, sessions)
    print(
        f"data stands after {time.perf_counter() - begun:.0f} s\n\n| set | features | rows | missing | CPU "
        f"s | MiB |\n|---|---:|---:|---:|---:|---:|"
    )
    for one in OF_SESSIONS:
        print(published(ws, one, sessions), flush=True)
    print()
    audited(home)
    for one in OF_SESSIONS:
        families(one, measured(ws, one, sessions))
        begun = time.process_time()
        audit_if_due(ws.store, one, STRATEGY.universe.name, ws.cuts, LAST, now=ws.cuts.of(LAST))
        verdict = standing(ws.store, one)
        page = explorer(
            ws.store,
            one,
            STRATEGY.universe.name,
            ws.cuts,
            sessions[0],
            sessions[-1],
            folder=ws.reports,
            audit=verdict.reason,
            audit_passed=verdict.state == "passed",
        )
        print(
            f"\npage: {page.name}, {page.stat().st_size / 2**20:.1f} MiB, {time.process_time() - begun:.0f} "
            f"s CPU with its audit",
            flush=True,
        )
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    shared = Path(os.environ.get("QUANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "pystock"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(".quant/real_features"), shared)
