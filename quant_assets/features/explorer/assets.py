"""9_research: the page of each feature set over a range, linked from its asset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from quant_assets.assets import sessions_of, staged
from quant_assets.calendars import Cuts
from quant_assets.features.audit.audit import standing
from quant_assets.features.explorer.reading import explorer
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Store
from quant_assets.strategy import Strategy, universes_of

GROUP = "9_research"


def build(
    sessions: dg.PartitionsDefinition[str],
    feature_sets: Sequence[FeatureSet],
    strategies: Sequence[Strategy],
    reports: Path,
    notice: str,
) -> Sequence[dg.AssetsDefinition]:
    """An asset for each set: over a range one page for each universe in which it is published, written to `reports`."""
    return [_explored(f, universes_of(strategies, f.name), sessions, reports, notice) for f in feature_sets]


def _explored(
    feature_set: FeatureSet,
    universes: Sequence[str],
    sessions: dg.PartitionsDefinition[str],
    reports: Path,
    notice: str,
) -> dg.AssetsDefinition:
    @staged(
        GROUP,
        sessions,
        name=f"explorer_{feature_set.name}",
        deps=[feature_set.table.name],
        kinds={"html"},
        description=f"What each feature of {feature_set.name} foresees, how long and how surely, and how it moves: coverage, distribution, rank IC with decay, quantile returns, turnover, correlation.\n\nRunbook: `quant features explore {feature_set.name}`.",
    )
    def explored(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], cuts: dg.ResourceParam[Cuts]
    ) -> dg.MaterializeResult[Any]:
        days, found = sessions_of(context), standing(store, feature_set)
        passed = {"passed": True, "failed": False}.get(found.state)
        pages = {
            u: explorer(
                store,
                feature_set,
                u,
                cuts,
                days[0],
                days[-1],
                folder=reports,
                audit=found.reason,
                audit_passed=passed,
                notice=notice,
            )
            for u in universes
        }
        return dg.MaterializeResult(
            metadata={f"page_{u}": dg.MetadataValue.path(str(page)) for u, page in pages.items()}
            | {"pages": len(pages), "audit": found.state}
        )

    return explored
