"""4_signals: one decision for each instrument and session: trade, or NO_TRADE and why."""

from collections.abc import Sequence

import dagster as dg

from quant_assets.assets import staged
from quant_assets.stage import Stages
from quant_assets.tables import DECISIONS

GROUP = "4_signals"


def build(sessions: dg.PartitionsDefinition[str], stages: Stages) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`."""
    decisions = staged(
        stages["decisions"],
        sessions,
        group_name=GROUP,
        deps=["scores", "universe", "verdicts"],
        kinds={"polars"},
        description=f"{DECISIONS.doc}\n\nRunbook: `quant why SESSION` counts the refusals and says what to do; "
        "`quant replay DECISION_ID` rebuilds one.",
    )
    return [decisions]
