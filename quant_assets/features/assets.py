"""2_features: published feature sets and labels, evaluated by anchored blocks: a range equals its days."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from quant_assets.assets import merged, result, sessions_of, staged
from quant_assets.features.labels import publish_labels
from quant_assets.features.publish import publish
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.calendars import Cuts
from quant_assets.ports import Ledger, Store
from quant_assets.signals.strategy import Strategy

GROUP = "2_features"
RUNBOOK = "Runbook: an empty session has its reason in `reason`; values are frozen at the session's cut and never change."


def _published(feature_set: FeatureSet, strategies: Sequence[Strategy], sessions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    universes = sorted({s.universe.name for s in strategies if s.feature_set == feature_set.name})

    @staged(
        GROUP,
        sessions,
        name=f"features_{feature_set.name}",
        deps=["bars", "actions", "universe"],
        kinds={"polars"},
        description=f"{feature_set.table.doc} Version {feature_set.version}, lookback {feature_set.lookback} sessions, reads {', '.join(feature_set.columns)}.\n\n{RUNBOOK}",
    )
    def published(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], ledger: dg.ResourceParam[Ledger], cuts: dg.ResourceParam[Cuts]) -> dg.MaterializeResult[Any]:
        days = sessions_of(context)
        ledger.note_cut(cuts.of(days[-1]))
        return result(merged([publish(store, feature_set, universe, cuts, days) for universe in universes]))

    return published


def build(sessions: dg.PartitionsDefinition[str], feature_sets: Sequence[FeatureSet], strategies: Sequence[Strategy]) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`."""
    horizons = sorted({s.horizon for s in strategies})

    @staged(
        GROUP,
        sessions,
        deps=["bars", "actions"],
        kinds={"polars"},
        description=f"Forward returns from open(t+1) to open(t+1+h), filed under the session in which they become known; h = {horizons}.\n\n{RUNBOOK}",
    )
    def labels(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], cuts: dg.ResourceParam[Cuts]) -> dg.MaterializeResult[Any]:
        return result(merged([publish_labels(store, cuts, h, sessions_of(context)) for h in horizons]))

    return [*(_published(f, strategies, sessions) for f in feature_sets), labels]
