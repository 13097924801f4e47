"""3_models: champions cut at month ends, and the scores that they give each session."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from quant_assets.assets import merged, result, sessions_of, staged
from quant_assets.calendars import Cuts
from quant_assets.features.catalogue import find_set
from quant_assets.models.drift import measure
from quant_assets.models.drift_page import drift_page
from quant_assets.models.scoring import score
from quant_assets.models.training import retrain
from quant_assets.ports import ModelRegistry, Notifier, Store
from quant_assets.strategy import Strategy
from quant_assets.tables import FEATURE_DRIFT

GROUP = "3_models"
RUNBOOK = "Runbook: a session without a champion is NO_TRADE(MODEL_MISSING); train with `quant backfill` or the job `retrain`."


def build(
    sessions: dg.PartitionsDefinition[str],
    month_ends: dg.PartitionsDefinition[str],
    strategies: Sequence[Strategy],
    folder: Path,
) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets: `champion` partitioned by `month_ends`, `scores` and `feature_drift` by `sessions`. Pages are written to `folder`."""
    inputs = sorted({f"features_{s.feature_set}" for s in strategies})
    learnt = [
        dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping()) for name in (*inputs, "labels")
    ]  # all sessions up to the cut

    @staged(
        GROUP,
        month_ends,
        each=True,
        deps=learnt,
        kinds={"lightgbm", "mlflow"},
        description=f"Trained on what was known at the month end's cut, validated walk-forward with purge and embargo, promoted by rule; used from the next session.\n\n{RUNBOOK}",
    )
    def champion(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        cuts: dg.ResourceParam[Cuts],
        notifier: dg.ResourceParam[Notifier],
        strategies: dg.ResourceParam[Sequence[Strategy]],
    ) -> dg.MaterializeResult[Any]:
        cut = sessions_of(context)[-1]
        return result(
            merged(
                [retrain(store, registry, find_set(s.feature_set), s, cuts, cut, notifier=notifier) for s in strategies]
            )
        )

    @staged(
        GROUP,
        sessions,
        deps=[*inputs, dg.AssetDep("champion", partition_mapping=dg.AllPartitionMapping())],
        kinds={"lightgbm"},
        description=f"The champion's score of each member, from the stored model text.\n\n{RUNBOOK}",
    )
    def scores(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        cuts: dg.ResourceParam[Cuts],
        strategies: dg.ResourceParam[Sequence[Strategy]],
    ) -> dg.MaterializeResult[Any]:
        return result(
            merged([score(store, find_set(s.feature_set), s, cuts, sessions_of(context)) for s in strategies])
        )

    @staged(
        GROUP,
        sessions,
        deps=[*inputs, "scores"],
        kinds={"polars"},
        description=f"{FEATURE_DRIFT.doc}\n\nRunbook: over the strategy's limit the drift guardrail refuses; `quant features drift` draws the page, retraining or a limit with a reason is the way out.",
    )
    def feature_drift(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        cuts: dg.ResourceParam[Cuts],
        strategies: dg.ResourceParam[Sequence[Strategy]],
    ) -> dg.MaterializeResult[Any]:
        days = sessions_of(context)
        reports = [measure(store, find_set(s.feature_set), s, cuts, days) for s in strategies]
        pages = {
            f"drift_{s.name}": dg.MetadataValue.path(str(page))
            for s in strategies
            if (page := drift_page(store, s, days[-1], folder))
        }
        return result(merged(reports), extra=pages)

    return [champion, scores, feature_drift]
