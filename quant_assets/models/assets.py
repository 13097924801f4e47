"""3_models: champions trained at month ends, and the scores that they give each session."""

from collections.abc import Sequence

import dagster as dg

from quant_assets.assets import staged
from quant_assets.stage import Stages
from quant_assets.tables import FEATURE_DRIFT

GROUP = "3_models"
RUNBOOK = (
    "Runbook: a session without a champion is NO_TRADE(MODEL_MISSING); "
    "train with `quant backfill` or the job `retrain`."
)


def build(
    sessions: dg.PartitionsDefinition[str], stages: Stages, inputs: Sequence[str]
) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`, with the assets of the feature sets as `inputs`; drift where the
    stages have it. A session that ends no month trains nothing, and says so.
    """
    champion = staged(
        stages["champion"],
        sessions,
        group_name=GROUP,
        deps=[*inputs, "labels"],
        kinds={"lightgbm", "mlflow"},
        description="Trained on what was known at the month end's cut, validated walk-forward with purge and embargo, "
        f"promoted by rule; used from the next session.\n\n{RUNBOOK}",
    )
    scores = staged(
        stages["scores"],
        sessions,
        group_name=GROUP,
        deps=[*inputs, "champion"],
        kinds={"lightgbm"},
        description=f"The champion's score of each member, from the stored model text.\n\n{RUNBOOK}",
    )
    if "feature_drift" not in stages:
        return [champion, scores]
    feature_drift = staged(
        stages["feature_drift"],
        sessions,
        group_name=GROUP,
        deps=[*inputs, "scores"],
        kinds={"polars"},
        description=f"{FEATURE_DRIFT.doc}\n\nRunbook: over the strategy's limit the drift guardrail refuses; "
        "`quant features drift` draws the page, retraining or a limit with a reason is the way out.",
    )
    return [champion, scores, feature_drift]
