"""9_research: the page of each feature set over a range, linked from its asset."""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import dagster as dg

from quant_assets.assets import ranged
from quant_assets.calendars import Cuts
from quant_assets.features.audit.audit import standing
from quant_assets.features.explorer.reading import explorer
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import StageReport
from quant_assets.stage import Stage
from quant_assets.strategy import Strategy, universes_of

GROUP = "9_research"


def build(
    quarters: dg.PartitionsDefinition[str], feature_sets: Sequence[FeatureSet], strategies: Sequence[Strategy]
) -> Sequence[dg.AssetsDefinition]:
    """An asset for each set: over a range one page for each universe in which it is published."""
    return [
        ranged(
            (f"explorer_{f.name}",),
            [Stage(f"explorer_{f.name}", (f.table.name,), ("pages",), partial(explore, one=f, strategies=strategies))],
            quarters,
            group_name=GROUP,
            deps=[dg.AssetKey(["history", f.table.name])],
            kinds={"html"},
            description=f"What each feature of {f.name} foresees, how long and how surely, and how it moves: coverage, "
            "distribution, rank IC with decay, quantile returns, turnover, correlation.\n\n"
            f"Runbook: `quant features explore {f.name}`.",
        )
        for f in feature_sets
    ]


def explore(
    store: Store,
    cuts: Cuts,
    reports: Path,
    notice: str,
    sessions: Sequence[date],
    one: FeatureSet,
    strategies: Sequence[Strategy],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Write a page of the set for each universe in which it is published."""
    found, first, last = standing(store, one), min(sessions), max(sessions)
    passed = {"passed": True, "failed": False}.get(found.state)
    write = partial(explorer, store, one, folder=reports, audit=found.reason, audit_passed=passed, notice=notice)
    pages = {
        f"page_{u}": str(write(u, cuts, first, last, progress=progress)) for u in universes_of(strategies, one.name)
    }
    yield StageReport(
        stage=f"explorer {one.name}",
        first=first,
        last=last,
        state="done",
        reason=found.state,
        numbers={"pages": len(pages)},
        links=pages,
    )
